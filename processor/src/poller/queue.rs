//! Reads one queue: receives side by side, works in batches, deletes what is done and gives back what is not.
//!
//! **At least once.** A message is deleted when each projection has written it, found it stale, or has a letter of it that its
//! store confirmed. What is not deleted comes again: what failed after a while that grows with how often it was received, what
//! was not begun when the worker stops at once, and what a worker that died had in hand when its time out of sight is over.
//!
//! **Out of sight.** While a message is in hand, its time out of sight is prolonged at a third of it. That time is the queue's
//! own, within 10 s and 5 min. Where it cannot be prolonged, a FIFO queue's batch is cut off, since others may go on with its
//! groups; on a standard queue two workers may do the same work, which guards allow.
//!
//! **FIFO.** SQS gives out a group to one receive at a time, and what was received of it is worked on in one batch. The first
//! message that is not done goes back with all that follows it in its group. One way is left in which an earlier message can
//! come after a later one: it was done, and deleting it failed for good. Then it is stale.
//!
//! **A redrive policy** counts every receive. So while nothing of a batch can be done, which is what a wrong deployment looks
//! like, one message is tried now and then, and the rest stays where it is.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use millstream_projections::SourceName;
use tokio::sync::watch;
use tokio::time::Instant;

use self::work::Work;
use super::Until;
use crate::clock::Deadline;
use crate::outcome::{Fault, FaultKind};
use crate::pipeline::Pipeline;
use crate::sqs::Queue;

/// What is told of a fault that stands.
mod complaint;
/// The messages in hand.
mod inbox;
/// How often and how much is received.
mod pace;
/// Receives, and reads what SQS says of each message.
mod receive;
/// Deletes and gives back.
mod settle;
/// What is told: log, lag, trouble.
mod voice;
/// One queue at work.
mod work;

/// How long a message stays out of sight at least, and at most, whatever the queue's own time is: below, prolonging would be
/// most of the work; above, what a dead worker had in hand would be missed for too long. It is prolonged as long as needed.
const VISIBILITY: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(300)];
/// A receive waits so long for a message.
const WAIT: Duration = Duration::from_secs(20);
/// The same where an answer without messages is to tell that there is nothing left; all of the queue's servers are asked.
const SHORT_WAIT: Duration = Duration::from_secs(3);

/// Reads one queue.
pub struct QueueReader {
    /// The source in the config.
    pub source: SourceName,
    queue: Queue,
    /// What the queue's messages say they come from.
    arn: Arc<str>,
    visibility: Duration,
    pub(crate) pipeline: Pipeline,
    health: watch::Sender<QueueHealth>,
}

/// How the reading of a queue is, for whoever watches it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueHealth {
    /// What has to be mended before messages get done, if that is so.
    pub trouble: Option<Arc<str>>,
    /// Whether it gives back what it has, and receives nothing more.
    pub is_leaving: bool,
    /// When the last message was settled.
    pub worked_at: Option<Instant>,
    /// When a receive began that gave nothing, while nothing was in hand and nothing that was given back was out of sight.
    pub quiet_since: Option<Instant>,
}

/// How many messages a queue has, approximately, as SQS says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// That can be received.
    pub visible: u64,
    /// That someone has received.
    pub in_flight: u64,
    /// That cannot be received yet.
    pub delayed: u64,
}

impl QueueReader {
    /// Asks the queue what has to be known of it.
    pub async fn open(
        source: SourceName,
        client: aws_sdk_sqs::Client,
        url: Arc<str>,
        pipeline: Pipeline,
    ) -> Result<Self, Fault> {
        let queue = Queue::new(client, url);
        let names = [QueueAttributeName::QueueArn, QueueAttributeName::VisibilityTimeout];
        let ask = || queue.attributes(&names);
        let retry = &pipeline.limits.retry;
        let asked = retry.run(Deadline::NONE, "ask a queue for its attributes", ask).await;
        let mut known = asked.map_err(|fault| advised(&source, &queue, fault))?;
        let arn = known.remove(&names[0]).ok_or_else(|| {
            let fault = Fault::new(FaultKind::Misconfigured, "the answer tells no ARN");
            advised(&source, &queue, fault)
        })?;
        let own = known.get(&names[1]).and_then(|seconds| seconds.parse().ok());
        let visibility = own.map_or(VISIBILITY[0], Duration::from_secs).clamp(VISIBILITY[0], VISIBILITY[1]);
        let health = watch::Sender::new(QueueHealth::default());
        Ok(Self { source, queue, arn: arn.into(), visibility, pipeline, health })
    }

    /// The queue's URL.
    pub fn url(&self) -> &str {
        self.queue.url()
    }

    /// How the reading is.
    pub fn health(&self) -> watch::Receiver<QueueHealth> {
        self.health.subscribe()
    }

    /// Reads until it is told to stop, which `stop` says, or whose sender is dropped.
    ///
    /// An error means that the queue may not be read from the beginning. A fault that comes later is no end.
    pub async fn run(self: Arc<Self>, until: Until, stop: watch::Receiver<bool>) -> Result<(), Fault> {
        let wait = match until {
            Until::Told => WAIT,
            Until::Drained => SHORT_WAIT,
        };
        let ended = Work::new(self.clone(), wait).run(stop).await;
        ended.map_err(|fault| advised(&self.source, &self.queue, fault))
    }

    /// Whether the queue keeps an order.
    fn is_fifo(&self) -> bool {
        self.arn.ends_with(".fifo")
    }

    /// The queue's name, by which its lag is told.
    fn name(&self) -> &str {
        self.arn.rsplit(':').next().unwrap_or(&self.arn)
    }
}

/// How many messages a queue has.
pub async fn depth(client: aws_sdk_sqs::Client, url: Arc<str>) -> Result<Depth, Fault> {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
    ];
    let known = Queue::new(client, url).attributes(&names).await?;
    let count = |name| known.get(name).and_then(|count| count.parse().ok()).unwrap_or_default();
    Ok(Depth { visible: count(&names[0]), in_flight: count(&names[1]), delayed: count(&names[2]) })
}

/// A fault of the queue itself, with the way out where that is known.
fn advised(source: &SourceName, queue: &Queue, fault: Fault) -> Fault {
    let says = |word: &str| fault.causes.iter().any(|cause| cause.contains(word));
    let advice = if says("NonExistentQueue") || says("QueueDoesNotExist") {
        Some(format!(
            "make the queue, or correct `queue` in [source.{source}]; it is looked for in the Region and the account that this \
             worker's AWS configuration names"
        ))
    } else if says("AccessDenied") {
        let actions = "sqs:GetQueueAttributes, ReceiveMessage, DeleteMessage and ChangeMessageVisibility";
        Some(format!(
            "allow this worker {actions} on the queue, or leave its queues to others with --no-queues"
        ))
    } else {
        None
    };
    let at = format!("source {source}, queue {}", queue.url());
    Fault { kind: fault.kind, causes: std::iter::once(at).chain(fault.causes).chain(advice).collect() }
}
