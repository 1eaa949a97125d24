//! Sends events to SNS and judges the answers, entry by entry: HTTP 200 says nothing of a single event.

use std::collections::HashSet;
use std::sync::Arc;

use aws_sdk_sns::Client;
use aws_sdk_sns::types::BatchResultErrorEntry;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::request::{entry, is_fifo};
use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::{fault, kind_of_code};
use crate::sink::{Entry, TopicSink};

/// SNS topics as a sink.
pub struct SnsSink {
    client: Client,
}

impl SnsSink {
    /// A sink that publishes through `client`. Makes no request.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    async fn publish_batch(&self, topic: &Arc<str>, entries: &[Entry<'_>]) -> Vec<Result<(), Fault>> {
        let fifo = is_fifo(topic);
        let mut results: Vec<Result<(), Fault>> = vec![Ok(()); entries.len()];
        let mut requests = Vec::with_capacity(entries.len());
        for (place, one) in entries.iter().enumerate() {
            match entry(place, one, fifo) {
                Ok(request) => requests.push(request),
                Err(fault) => results[place] = Err(fault),
            }
        }
        if requests.is_empty() {
            return results;
        }
        let doing = format!("PublishBatch to topic {topic}");
        let sent: Vec<usize> = requests.iter().filter_map(|request| request.id().parse().ok()).collect();
        let answer = self
            .client
            .publish_batch()
            .topic_arn(&**topic)
            .set_publish_batch_request_entries(Some(requests))
            .send()
            .await;
        match answer {
            Err(error) => {
                // Only the result of an entry speaks of one event. A request that is refused as a whole, as for a topic of
                // another region, would be refused for every event.
                let refused = fault(doing, &error);
                let kind = match refused.kind {
                    FaultKind::Rejected => FaultKind::Misconfigured,
                    kind => kind,
                };
                let fault = Fault { kind, ..refused };
                for place in sent {
                    results[place] = Err(fault.clone());
                }
            }
            Ok(answer) => {
                let published: HashSet<&str> =
                    answer.successful().iter().filter_map(|published| published.id()).collect();
                for place in sent {
                    let id = place.to_string();
                    if !published.contains(id.as_str()) {
                        let failed = answer.failed().iter().find(|failed| failed.id() == id);
                        results[place] = Err(entry_fault(&doing, failed));
                    }
                }
            }
        }
        results
    }
}

/// An entry that the answer names nowhere was not published as far as anyone knows.
fn entry_fault(doing: &str, failed: Option<&BatchResultErrorEntry>) -> Fault {
    let Some(failed) = failed else {
        let cause = "the answer names the entry neither as published nor as failed".to_owned();
        return Fault { kind: FaultKind::Unavailable, causes: vec![doing.to_owned(), cause] };
    };
    let kind = match (kind_of_code(failed.code()), failed.sender_fault()) {
        // SNS says the fault is its own, whatever the code.
        (FaultKind::Misconfigured | FaultKind::Rejected, false) => FaultKind::Unavailable,
        (kind, _) => kind,
    };
    let cause = format!("{}: {}", failed.code(), failed.message().unwrap_or("no message"));
    Fault { kind, causes: vec![doing.to_owned(), cause] }
}

impl TopicSink for SnsSink {
    fn publish<'a>(
        &'a self,
        topic: &'a Arc<str>,
        entries: &'a [Entry<'a>],
    ) -> BoxFuture<'a, Vec<Result<(), Fault>>> {
        self.publish_batch(topic, entries).boxed()
    }
}
