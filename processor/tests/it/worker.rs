//! A worker as the property tests drive it: it delivers a table's stream from its checkpoint on, in a process that may die.

use aws_sdk_dynamodbstreams::types::Record;
use millstream_test_support::faults::Fault;
use millstream_test_support::lambda_event;
use serde_json::Value;

use crate::world::{World, sequence};

/// A deployment, and how far its worker is in the stream of one table.
pub(crate) struct Worker {
    pub(crate) world: World,
    pub(crate) table: &'static str,
    pub(crate) checkpoint: usize,
}

impl Worker {
    pub(crate) fn new(world: World, table: &'static str) -> Self {
        Self { world, table, checkpoint: 0 }
    }

    /// The next records after the checkpoint.
    pub(crate) async fn next(&self, records: usize) -> Vec<Record> {
        let all = self.world.db.read_stream(self.table).await;
        all.into_iter().skip(self.checkpoint).take(records).collect()
    }

    /// Records from before the checkpoint, as they come again.
    pub(crate) async fn past(&self, from: usize, records: usize) -> Vec<Record> {
        let all = self.world.db.read_stream(self.table).await;
        all.into_iter().take(self.checkpoint).skip(from).take(records).collect()
    }

    /// Delivers a batch in order and moves the checkpoint as far as the report allows.
    pub(crate) async fn work(&mut self, batch: Vec<Record>) {
        let done = match self.deliver(&batch).await {
            Some(None) => batch.len(),
            Some(Some(lowest)) => batch.iter().take_while(|record| sequence(record) != lowest).count(),
            None => 0,
        };
        self.checkpoint += done;
    }

    /// Delivers a batch in another order: the checkpoint moves only if all of it is done.
    pub(crate) async fn work_unordered(&mut self, batch: Vec<Record>) {
        if self.deliver(&batch).await == Some(None) {
            self.checkpoint += batch.len();
        }
    }

    /// One invocation: the lowest unfinished record, or `None` if the process died or the invocation failed.
    pub(crate) async fn deliver(&self, batch: &[Record]) -> Option<Option<String>> {
        if batch.is_empty() {
            return Some(None);
        }
        let arn = self.world.db.stream_arn(self.table).await;
        let response = self.invoke(lambda_event::event(&arn, batch)).await?;
        let lowest = response["batchItemFailures"][0]["itemIdentifier"].as_str();
        Some(lowest.map(str::to_owned))
    }

    /// Runs the function once, in a process that may die.
    pub(crate) async fn invoke(&self, event: Value) -> Option<Value> {
        let faults = self.world.db.faults();
        let answer = tokio::select! {
            answer = self.world.invoke(event) => answer.ok(),
            () = faults.crashed() => None,
        };
        if faults.is_crashed() {
            faults.revive();
        }
        answer
    }

    /// Faults pass, and everything that is not done is delivered until it is.
    pub(crate) async fn finish(&mut self) {
        self.world.db.faults().clear();
        loop {
            let batch = self.next(5).await;
            if batch.is_empty() {
                break;
            }
            self.work(batch).await;
        }
    }
}

/// A text attribute of a record's key.
pub(crate) fn key_of(record: &Record, attribute: &str) -> String {
    let keys = record.dynamodb().and_then(|change| change.keys()).expect("a record has keys");
    keys[attribute].as_s().expect("a text").clone()
}

/// One of the faults that pass, by a number.
pub(crate) fn fault(kind: usize) -> Fault {
    let faults = [
        Fault::Throttle,
        Fault::InternalError,
        Fault::TransactionConflict,
        Fault::LoseReply,
        Fault::Reset,
        Fault::Timeout,
        Fault::AccessDenied,
    ];
    faults[kind % faults.len()].clone()
}
