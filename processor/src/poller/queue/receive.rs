//! Receives from a queue, and reads what SQS says of each message.

use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use tokio::time::Instant;

use super::QueueReader;
use super::inbox::Arrived;
use crate::outcome::Fault;
use crate::source::queue_message::{self, system};
use crate::sqs::Receive;

/// How long a receive of a FIFO queue whose answer was lost can be asked for again under the same name; SQS says 5 minutes.
const ATTEMPT: Duration = Duration::from_secs(240);

/// Names of receives of a FIFO queue whose answers were lost: else the groups in them would be locked until their time out
/// of sight is over.
#[derive(Debug, Default)]
pub(super) struct Attempts(Vec<Attempt>);

/// The name of a receive, and when it was first used.
pub(super) type Attempt = (String, Instant);

impl Attempts {
    /// A name for the next receive.
    pub(super) fn next(&mut self) -> Attempt {
        let now = Instant::now();
        self.0.retain(|(_, since)| now.duration_since(*since) < ATTEMPT);
        self.0.pop().unwrap_or_else(|| (format!("{:032x}", rand::random::<u128>()), now))
    }

    /// The answer was lost.
    pub(super) fn lost(&mut self, attempt: Option<Attempt>) {
        self.0.extend(attempt);
    }
}

/// One receive.
pub(super) async fn receive(
    reader: &QueueReader,
    most: usize,
    wait: Duration,
    attempt: Option<&Attempt>,
) -> Result<Vec<Arrived>, Fault> {
    let how = Receive {
        most,
        wait,
        visibility: reader.visibility,
        with_attributes: true,
        attempt: attempt.map(|(name, _)| name.clone()),
    };
    let messages = reader.queue.receive(&how).await?;
    Ok(messages.into_iter().filter_map(|message| arrived(reader, message)).collect())
}

fn arrived(reader: &QueueReader, message: Message) -> Option<Arrived> {
    let number = |name| system(&message, &name).and_then(|text| text.parse::<u64>().ok());
    let Some(receipt) = message.receipt_handle() else {
        // SQS sends no such message, and nothing can be told of it.
        tracing::error!(source = %reader.source, "a message without a receipt was left out");
        return None;
    };
    let group = system(&message, &MessageSystemAttributeName::MessageGroupId);
    let count = number(MessageSystemAttributeName::ApproximateReceiveCount).unwrap_or(1);
    Some(Arrived {
        message: message.message_id().unwrap_or_default().into(),
        receipt: receipt.into(),
        // Standard queues may have groups too, to share them fairly.
        group: group.filter(|_| reader.is_fifo()).map(Into::into),
        count: u32::try_from(count).unwrap_or(u32::MAX),
        sent: number(MessageSystemAttributeName::SentTimestamp).map(|millis| millis / 1_000),
        bytes: message.body().map_or(0, str::len),
        delivery: queue_message::decode(message, &reader.source, &reader.arn),
    })
}
