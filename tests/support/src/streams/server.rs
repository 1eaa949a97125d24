//! The protocol: what each operation answers, from what the stream is at that moment.

use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::{Value, json};

use super::state::State;
use crate::connector::{Call, Reply, Service};
use crate::engine::{Refused, read_json, refusal, reply};
use crate::faults::Fault;

/// How many requests were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// `DescribeStream`.
    pub describe_stream: u64,
    /// `GetShardIterator`.
    pub get_shard_iterator: u64,
    /// `GetRecords`.
    pub get_records: u64,
    /// `ListStreams`.
    pub list_streams: u64,
}

impl Calls {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.describe_stream + self.get_shard_iterator + self.get_records + self.list_streams
    }
}

#[derive(Debug)]
pub(super) struct Server {
    table: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(super) fn new(table: String, state: Arc<Mutex<State>>) -> Self {
        Self { table, state }
    }
}

impl Service for Server {
    fn read(&self, request: &HttpRequest) -> Call {
        let (operation, body) = read_json(request);
        Call { operation, tables: vec![self.table.clone()], body }
    }

    fn may_block(&self) -> bool {
        false
    }

    fn answer(&self, call: &Call) -> Reply {
        let mut state = self.state.lock().expect("no test panics while it holds the stream");
        let answer = match call.operation.as_str() {
            "DescribeStream" => state.describe(&call.body).map(|it| it.to_string()),
            "GetShardIterator" => state.iterator(&call.body).map(|it| it.to_string()),
            "GetRecords" => state.page(&call.body),
            "ListStreams" => Ok(state.list_streams(&call.body).to_string()),
            unknown => Err(validation(&format!("the double lacks {unknown}"))),
        };
        match answer {
            Ok(body) => reply(200, body),
            Err(refused) => reply(refused.status, refused.body.to_string()),
        }
    }

    fn answer_partly(&self, _call: &Call, fault: &Fault) -> Reply {
        panic!("{fault:?} is for SNS, not for a stream")
    }

    fn refuse(&self, call: &Call, fault: &Fault) -> Reply {
        refusal(call, fault)
    }
}

impl State {
    /// Whether a request is for this stream.
    pub(super) fn check_arn(&self, body: &Value) -> Result<(), Refused> {
        let asked = body["StreamArn"].as_str().unwrap_or_default();
        if asked == self.arn() {
            return Ok(());
        }
        Err(Refused::new(
            "ResourceNotFoundException",
            &format!("Requested resource not found: Stream: {asked}"),
        ))
    }
}

/// How many are asked for at most.
pub(super) fn limit(body: &Value, most: usize) -> Result<usize, Refused> {
    match body["Limit"].as_u64() {
        None => Ok(most),
        Some(asked) if (1..=most as u64).contains(&asked) => Ok(asked as usize),
        Some(asked) => Err(validation(&format!("Limit {asked} is not between 1 and {most}"))),
    }
}

pub(super) fn validation(message: &str) -> Refused {
    Refused {
        status: 400,
        body: json!({ "__type": "com.amazon.coral.validate#ValidationException", "message": message }),
    }
}
