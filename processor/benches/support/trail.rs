//! Numbered records, from when each is put into a scripted stream to when its row is in the read model.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream_test_support::embedded::Embedded;
use millstream_test_support::faults::Logged;
use millstream_test_support::streams::{NewRecord, ScriptedStreams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::PATIENCE;
use crate::worker::TARGET;

/// How large an item is.
pub(crate) const BYTES: usize = 1_000;

/// Numbered records: when each was put, and when the store had it.
pub(crate) struct Trail {
    items: u64,
    /// What a request takes from when the store has it to when it is done.
    request: Duration,
    put_at: Arc<Mutex<Vec<Instant>>>,
    /// The number of the next record of each item that is not written.
    next: Vec<u64>,
    /// How many records are written; a row that says more than one record says them all.
    pub(crate) covered: u64,
}

impl Trail {
    /// So many items, of which none was ever put.
    pub(crate) fn new(items: u64, request: Duration) -> Self {
        Self { items, request, put_at: Arc::default(), next: (0..items).collect(), covered: 0 }
    }

    /// Puts what this follows.
    pub(crate) fn writer(&self, streams: &ScriptedStreams) -> Writer {
        Writer { items: self.items, streams: streams.clone(), put_at: self.put_at.clone() }
    }

    /// How many records were put.
    pub(crate) fn put(&self) -> u64 {
        self.put_at.lock().expect("no thread panics holding it").len() as u64
    }

    /// How long each record took that was written according to these requests.
    pub(crate) fn follow(&mut self, requests: &[Logged]) -> Vec<Duration> {
        let put_at = self.put_at.lock().expect("no thread panics holding it");
        let mut took = Vec::new();
        let written = requests.iter().flat_map(|request| rows(request).map(move |row| (row, request.at)));
        for (row, at) in written {
            let number = row["total"]["N"].as_str().and_then(|it| it.parse::<u64>().ok());
            let number = number.expect("a row as it was written");
            let next = &mut self.next[(number % self.items) as usize];
            while *next <= number {
                took.push(at + self.request - put_at[*next as usize]);
                *next += self.items;
                self.covered += 1;
            }
        }
        took
    }

    /// Follows until all that was put is written; gives what [`Trail::follow`] would.
    pub(crate) async fn follow_to_the_end(&mut self, store: &Embedded) -> Vec<Duration> {
        let (all, mut took) = (self.put(), Vec::new());
        let done = async {
            while self.covered < all {
                sleep(Duration::from_millis(50)).await;
                took.extend(self.follow(&store.faults().take_requests()));
            }
        };
        timeout(PATIENCE, done).await.expect("everything is written in the end");
        took
    }
}

/// The rows of the read model that a request writes. A row that was not there before is written in a transaction.
fn rows(request: &Logged) -> impl Iterator<Item = &Value> {
    let alone = (request.operation == "PutItem").then_some(&request.body);
    let together = request.body["TransactItems"].as_array().into_iter().flatten().map(|it| &it["Put"]);
    alone.into_iter().chain(together).filter(|it| it["TableName"] == TARGET).map(|it| &it["Item"])
}

/// Puts the next record: each is a change of one of the items, in turn.
pub(crate) struct Writer {
    items: u64,
    streams: ScriptedStreams,
    put_at: Arc<Mutex<Vec<Instant>>>,
}

impl Writer {
    /// Puts the next record to a shard.
    pub(crate) fn put(&self, shard: &str) {
        let mut put_at = self.put_at.lock().expect("no thread panics holding it");
        let number = put_at.len() as u64;
        let id = json!({ "S": format!("order-{:06}", number % self.items) });
        let image = |total: u64| {
            json!({
                "orderId": id, "total": { "N": total.to_string() }, "customer": { "S": "customer-0007" },
                "body": { "S": "x".repeat(BYTES) },
            })
        };
        let record = NewRecord {
            keys: json!({ "orderId": id }),
            old: number.checked_sub(self.items).map(image),
            new: Some(image(number)),
            expired: false,
            made_at: None,
        };
        self.streams.put(shard, record);
        put_at.push(Instant::now());
    }
}
