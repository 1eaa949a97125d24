//! Documents of failed batches from an SQS queue: taken, and deleted only when their letters are safe.

use std::time::Duration;

use aws_sdk_sqs::Client;

use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::fault;

/// How long a message stays out of sight while it is worked on. What is not deleted comes back by itself.
const VISIBILITY: Duration = Duration::from_secs(120);
/// A receive waits so long for a message: a short one asks a part of SQS's servers only, and may find nothing.
const WAIT_SECONDS: i32 = 1;

/// One message of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its name, which stays the same when it comes again.
    pub id: String,
    /// What it says.
    pub body: String,
    receipt: String,
}

/// A queue that an on-failure destination fills.
#[derive(Debug, Clone)]
pub struct FailureQueue {
    client: Client,
    url: String,
}

impl FailureQueue {
    /// Makes no request.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// The next messages; empty if there are none at the moment. They stay out of sight of others for a while.
    pub async fn receive(&self) -> Result<Vec<Message>, Fault> {
        let request = self.client.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let visibility = i32::try_from(VISIBILITY.as_secs()).unwrap_or(i32::MAX);
        let sent = request.wait_time_seconds(WAIT_SECONDS).visibility_timeout(visibility).send().await;
        let received = sent.map_err(|error| fault(format!("ReceiveMessage from {}", self.url), &error))?;
        let messages = received.messages.unwrap_or_default().into_iter();
        messages
            .map(|message| match (message.message_id, message.receipt_handle) {
                (Some(id), Some(receipt)) => {
                    Ok(Message { id, body: message.body.unwrap_or_default(), receipt })
                }
                _ => Err(Fault::new(FaultKind::Unavailable, "SQS gave a message without its id or receipt")),
            })
            .collect()
    }

    /// Keeps a message out of sight for as long again.
    pub async fn prolong(&self, message: &Message) -> Result<(), Fault> {
        let request = self.client.change_message_visibility().queue_url(&self.url);
        let visibility = i32::try_from(VISIBILITY.as_secs()).unwrap_or(i32::MAX);
        let sent = request.receipt_handle(&message.receipt).visibility_timeout(visibility).send().await;
        sent.map_err(|error| fault(format!("ChangeMessageVisibility in {}", self.url), &error)).map(drop)
    }

    /// Deletes a message whose letters are safe.
    pub async fn delete(&self, message: &Message) -> Result<(), Fault> {
        let request = self.client.delete_message().queue_url(&self.url).receipt_handle(&message.receipt);
        request.send().await.map_err(|error| fault(format!("DeleteMessage from {}", self.url), &error))?;
        Ok(())
    }
}
