//! Requests to one SQS queue. Each entry of a batch is judged on its own: HTTP 200 says nothing of a single message.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Builder;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName, QueueAttributeName,
};

use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::{fault, kind_of_code};

/// The most messages of one request.
pub(crate) const BATCH: usize = 10;
/// How much longer than its wait a receive may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One queue.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    client: Client,
    url: Arc<str>,
}

/// What became of one entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It was done.
    Done,
    /// The receipt is over: others have received the message, or it is not there any more.
    Gone,
    /// It was not done.
    Failed(Fault),
}

/// How to receive.
#[derive(Debug, Clone)]
pub(crate) struct Receive {
    /// The most messages, up to [`BATCH`].
    pub(crate) most: usize,
    /// How long to wait for one, in whole seconds. With 0 SQS asks only some of its servers.
    pub(crate) wait: Duration,
    /// How long the messages stay out of sight of others, in whole seconds.
    pub(crate) visibility: Duration,
    /// Whether the attributes come along.
    pub(crate) with_attributes: bool,
    /// Of a FIFO queue: two receives with the same name get the same messages, so that a lost answer locks no group.
    pub(crate) attempt: Option<String>,
}

impl Queue {
    /// The queue with this URL. Makes no request.
    pub(crate) fn new(client: Client, url: Arc<str>) -> Self {
        Self { client, url }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> &Arc<str> {
        &self.url
    }

    /// Some of its attributes; what it does not have is left out.
    pub(crate) async fn attributes(
        &self,
        names: &[QueueAttributeName],
    ) -> Result<HashMap<QueueAttributeName, String>, Fault> {
        let request = self.client.get_queue_attributes().queue_url(&*self.url);
        let answer = request.set_attribute_names(Some(names.to_vec())).send().await;
        let answer = answer.map_err(|error| whole(fault(self.doing("GetQueueAttributes"), &error)))?;
        Ok(answer.attributes.unwrap_or_default())
    }

    /// The next messages; none if there was none for as long as the wait.
    pub(crate) async fn receive(&self, how: &Receive) -> Result<Vec<Message>, Fault> {
        let mut request = self
            .client
            .receive_message()
            .queue_url(&*self.url)
            .max_number_of_messages(i32::try_from(how.most.min(BATCH)).unwrap_or(1))
            .wait_time_seconds(seconds(how.wait))
            .visibility_timeout(seconds(how.visibility))
            .set_receive_request_attempt_id(how.attempt.clone());
        if how.with_attributes {
            request = request.message_system_attribute_names(MessageSystemAttributeName::All);
            request = request.message_attribute_names("All");
        }
        let patience = TimeoutConfig::builder().operation_attempt_timeout(how.wait + PATIENCE).build();
        let sent = request.customize().config_override(Builder::new().timeout_config(patience)).send().await;
        let answer = sent.map_err(|error| whole(fault(self.doing("ReceiveMessage"), &error)))?;
        Ok(answer.messages.unwrap_or_default())
    }

    /// Deletes up to [`BATCH`] messages; gives what became of each.
    pub(crate) async fn delete(&self, receipts: &[&str]) -> Result<Vec<Entry>, Fault> {
        let doing = || self.doing("DeleteMessageBatch");
        let entry = |(place, receipt): (usize, &&str)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(place.to_string());
            let entry = entry.receipt_handle(*receipt).build();
            entry.map_err(|error| Fault::from_error(FaultKind::Rejected, doing(), &error))
        };
        let entries = receipts.iter().enumerate().map(entry).collect::<Result<Vec<_>, Fault>>()?;
        let request = self.client.delete_message_batch().queue_url(&*self.url);
        let answer = request.set_entries(Some(entries)).send().await;
        let answer = answer.map_err(|error| whole(fault(doing(), &error)))?;
        let done = answer.successful().iter().map(|done| done.id()).collect();
        Ok(judge(receipts.len(), &done, answer.failed(), &doing()))
    }

    /// From now on up to [`BATCH`] messages stay out of sight of others, each for so many whole seconds; gives what became of
    /// each.
    pub(crate) async fn set_visibility(&self, messages: &[(&str, Duration)]) -> Result<Vec<Entry>, Fault> {
        let doing = || self.doing("ChangeMessageVisibilityBatch");
        let entry = |(place, (receipt, visibility)): (usize, &(&str, Duration))| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(place.to_string());
            let entry = entry.receipt_handle(*receipt).visibility_timeout(seconds(*visibility)).build();
            entry.map_err(|error| Fault::from_error(FaultKind::Rejected, doing(), &error))
        };
        let entries = messages.iter().enumerate().map(entry).collect::<Result<Vec<_>, Fault>>()?;
        let request = self.client.change_message_visibility_batch().queue_url(&*self.url);
        let answer = request.set_entries(Some(entries)).send().await;
        let answer = answer.map_err(|error| whole(fault(doing(), &error)))?;
        let done = answer.successful().iter().map(|done| done.id()).collect();
        Ok(judge(messages.len(), &done, answer.failed(), &doing()))
    }

    fn doing(&self, call: &str) -> String {
        format!("{call} of queue {}", self.url)
    }
}

/// A request that is refused as a whole says nothing of a single message.
fn whole(fault: Fault) -> Fault {
    let kind = if fault.kind == FaultKind::Rejected { FaultKind::Misconfigured } else { fault.kind };
    Fault { kind, ..fault }
}

/// What became of each entry. One that the answer names nowhere was not done as far as anyone knows.
fn judge(count: usize, done: &HashSet<&str>, failed: &[BatchResultErrorEntry], doing: &str) -> Vec<Entry> {
    let one = |place: usize| {
        let id = place.to_string();
        match failed.iter().find(|failed| failed.id() == id) {
            Some(failed) => refused(failed, doing),
            None if done.contains(id.as_str()) => Entry::Done,
            None => {
                let cause = "the answer names the entry neither as done nor as failed".to_owned();
                Entry::Failed(Fault { kind: FaultKind::Unavailable, causes: vec![doing.to_owned(), cause] })
            }
        }
    };
    (0..count).map(one).collect()
}

fn refused(failed: &BatchResultErrorEntry, doing: &str) -> Entry {
    // Older ways to speak to SQS put its own name before some codes. A FIFO queue calls a receipt that is over an
    // invalid parameter.
    let code = failed.code().rsplit('.').next().unwrap_or_default();
    if matches!(code, "ReceiptHandleIsInvalid" | "MessageNotInflight" | "InvalidParameterValue") {
        return Entry::Gone;
    }
    let kind = match (kind_of_code(failed.code()), failed.sender_fault()) {
        // SQS says the fault is its own, whatever the code.
        (FaultKind::Misconfigured | FaultKind::Rejected, false) => FaultKind::Unavailable,
        (kind, _) => kind,
    };
    let cause = format!("{}: {}", failed.code(), failed.message().unwrap_or("no message"));
    Entry::Failed(Fault { kind, causes: vec![doing.to_owned(), cause] })
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(id: &str, code: &str, sender_fault: bool) -> BatchResultErrorEntry {
        BatchResultErrorEntry::builder().id(id).code(code).sender_fault(sender_fault).build().unwrap()
    }

    #[test]
    fn each_entry_is_judged_on_its_own() {
        let refused = [
            failed("1", "ReceiptHandleIsInvalid", true),
            failed("2", "AWS.SimpleQueueService.MessageNotInflight", true),
            failed("3", "InternalError", false),
            failed("4", "SomethingNew", false),
            failed("5", "AccessDenied", true),
        ];
        let entries = judge(7, &HashSet::from(["0"]), &refused, "delete");
        let kinds = entries.iter().map(|entry| match entry {
            Entry::Done => "done",
            Entry::Gone => "gone",
            Entry::Failed(fault) => fault.kind.as_str(),
        });
        let expected = ["done", "gone", "gone", "unavailable", "unavailable", "misconfigured", "unavailable"];
        assert_eq!(kinds.collect::<Vec<_>>(), expected);
    }
}
