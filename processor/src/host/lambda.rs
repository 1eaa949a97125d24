//! The Lambda behind an event source mapping, a queue or a topic: one event in, one truthful report out.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use crate::clock::Deadline;
use crate::meter;
use crate::outcome::{Fault, FaultKind};
use crate::pipeline::Pipeline;
use crate::report::Report;
use crate::source::lambda_event::{EventError, Wire, decode};
use crate::source::{Batch, Sources};

/// What the event source mapping is told: everything that is not named here may be forgotten.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// What has to come again.
    pub batch_item_failures: Vec<ItemFailure>,
}

/// One record or message that has to come again.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    /// A sequence number, or a message id.
    pub item_identifier: String,
}

/// Why an invocation fails as a whole: the whole batch comes again.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The event is none that is known.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A topic's notifications can only be asked for again as a whole.
    #[error("notification is unfinished: {0}")]
    Notification(Fault),
    /// Nothing of the batch could be done, since this deployment lacks something.
    #[error("nothing of the batch could be done: {0}")]
    Misconfigured(Fault),
}

/// Handles the events of one function.
pub struct LambdaHost {
    /// What every batch runs through.
    pub pipeline: Pipeline,
    /// How the wires name the sources.
    pub sources: Sources,
    /// How long before its deadline an invocation starts nothing new.
    pub margin: Duration,
}

impl LambdaHost {
    /// Handles one event that has to be answered by `deadline`.
    pub async fn handle(&self, event: Bytes, deadline: SystemTime) -> Result<Response, InvocationError> {
        let deadline = self.deadline(deadline);
        let received = decode(event, &self.sources)?;
        let mut response = Response::default();
        for batch in &received.batches {
            let report = self.pipeline.run(batch, deadline).await;
            // What was received to close a letter is for the operators.
            let _ = deadline.cut(self.pipeline.letters.release()).await;
            log(batch, &report);
            if received.wire == Wire::Stream {
                meter::lag_of(batch, self.pipeline.clock.unix_seconds());
            }
            let identifiers: Vec<&str> = match received.wire {
                Wire::Stream => report.lowest_unfinished(&batch.deliveries).into_iter().collect(),
                Wire::Queue => report.unfinished_messages(&batch.deliveries),
                Wire::Topic => match report.first_fault() {
                    Some(fault) => return Err(InvocationError::Notification(fault.clone())),
                    None => Vec::new(),
                },
            };
            if let Some(fault) = misconfigured_throughout(&report) {
                return Err(InvocationError::Misconfigured(fault.clone()));
            }
            let failures = identifiers.into_iter().map(|id| ItemFailure { item_identifier: id.to_owned() });
            response.batch_item_failures.extend(failures);
        }
        Ok(response)
    }

    fn deadline(&self, deadline: SystemTime) -> Deadline {
        let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
        Deadline::before(Instant::now() + left, self.margin)
    }
}

/// Where nothing at all was done, failing as a whole forgets nothing either, and shows in the function's errors.
fn misconfigured_throughout(report: &Report) -> Option<&Fault> {
    let nothing_done = report.unfinished.iter().all(Option::is_some);
    report.first_fault().filter(|fault| nothing_done && fault.kind == FaultKind::Misconfigured)
}

fn log(batch: &Batch, report: &Report) {
    let unfinished = report.unfinished.iter().flatten().count();
    let (source, changes, letters) = (&batch.source, batch.deliveries.len(), report.letters.len());
    match report.first_fault() {
        Some(fault) => {
            tracing::error!(%source, changes, letters, unfinished, cause = %fault, "batch is unfinished")
        }
        None => tracing::info!(%source, changes, letters, unfinished, "batch done"),
    }
}
