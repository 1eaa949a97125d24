//! A real topic with a real queue subscribed to it, made for the demo and removed after it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::types::QueueAttributeName;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_processor::outcome::Fault;
use millstream_processor::sink::fault::fault;
use millstream_processor::sink::sns::SnsSink;
use millstream_processor::sink::{Entry, TopicSink};

use super::DemoError;

/// How long one ReceiveMessage waits for messages, in seconds.
const WAIT_SECONDS: i32 = 1;
/// The most messages of one ReceiveMessage.
const MOST: i32 = 10;
/// A message that is not deleted comes again after this time.
const VISIBILITY: Duration = Duration::from_secs(30);

/// The topic and the queue.
pub(crate) struct RemoteTopic {
    sns: aws_sdk_sns::Client,
    sqs: aws_sdk_sqs::Client,
    /// The topic's ARN.
    pub(crate) topic: String,
    /// The queue's URL.
    pub(crate) queue: String,
    sink: Arc<Recorder>,
    received: HashSet<String>,
}

/// One message as the queue gave it.
pub(crate) struct Received {
    /// The queue's own id.
    pub(crate) id: String,
    /// The body.
    pub(crate) body: Bytes,
    /// What deletes it.
    pub(crate) receipt: String,
}

impl RemoteTopic {
    /// Makes both and subscribes the queue.
    pub(crate) async fn create(config: &SdkConfig, name: &str) -> Result<Self, DemoError> {
        let (sns, sqs) = (aws_sdk_sns::Client::new(config), aws_sdk_sqs::Client::new(config));
        let created = sns.create_topic().name(name).send().await;
        let created = created.map_err(|error| fault(format!("CreateTopic {name}"), &error))?;
        let topic = created.topic_arn.unwrap_or_default();
        let created = sqs
            .create_queue()
            .queue_name(name)
            .attributes(QueueAttributeName::VisibilityTimeout, VISIBILITY.as_secs().to_string())
            .send()
            .await
            .map_err(|error| fault(format!("CreateQueue {name}"), &error));
        // The pipeline retries by itself.
        let once =
            config.clone().into_builder().retry_config(aws_config::retry::RetryConfig::disabled()).build();
        let sink = Arc::new(Recorder {
            inner: SnsSink::new(aws_sdk_sns::Client::new(&once)),
            published: Mutex::default(),
        });
        let mut this = Self { sns, sqs, topic, queue: String::new(), sink, received: HashSet::new() };
        let subscribed = match created {
            Ok(created) => {
                this.queue = created.queue_url.unwrap_or_default();
                this.subscribe().await
            }
            Err(fault) => Err(fault.into()),
        };
        match subscribed {
            Ok(()) => Ok(this),
            Err(error) => {
                this.remove().await?;
                Err(error)
            }
        }
    }

    async fn subscribe(&self) -> Result<(), DemoError> {
        let (topic, queue) = (&self.topic, &self.queue);
        let asked =
            self.sqs.get_queue_attributes().queue_url(queue).attribute_names(QueueAttributeName::QueueArn);
        let attributes =
            asked.send().await.map_err(|error| fault(format!("GetQueueAttributes of {queue}"), &error))?;
        let arn = attributes.attributes.and_then(|mut all| all.remove(&QueueAttributeName::QueueArn));
        let arn = arn.ok_or_else(|| DemoError::new(format!("queue {queue} tells no ARN")))?;
        let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" }, "Action": "sqs:SendMessage",
            "Resource": arn, "Condition": { "ArnEquals": { "aws:SourceArn": topic } },
        }]});
        let allowed = self.sqs.set_queue_attributes().queue_url(queue);
        let allowed = allowed.attributes(QueueAttributeName::Policy, policy.to_string()).send().await;
        allowed.map_err(|error| fault(format!("SetQueueAttributes of {queue}"), &error))?;
        let subscribed = self.sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(arn).send().await;
        subscribed.map_err(|error| fault(format!("Subscribe to topic {topic}"), &error))?;
        Ok(())
    }

    /// What events go to.
    pub(crate) fn sink(&self) -> Arc<dyn TopicSink> {
        self.sink.clone()
    }

    /// Whether everything that was published has been received at least once.
    pub(crate) fn is_drained(&self) -> bool {
        let published = self.sink.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.iter().all(|event| self.received.contains(event))
    }

    /// Some messages, as the queue gives them.
    pub(crate) async fn receive(&self) -> Result<Vec<Received>, DemoError> {
        let asked = self.sqs.receive_message().queue_url(&self.queue);
        let answer = asked.max_number_of_messages(MOST).wait_time_seconds(WAIT_SECONDS).send().await;
        let answer = answer.map_err(|error| fault(format!("ReceiveMessage from {}", self.queue), &error))?;
        let messages = answer.messages.unwrap_or_default().into_iter().filter_map(|message| {
            let (id, body, receipt) = (message.message_id?, message.body?, message.receipt_handle?);
            Some(Received { id, body: body.into(), receipt })
        });
        Ok(messages.collect())
    }

    /// The message is done: it shall not come again. Its event is noted as received.
    pub(crate) async fn done(&mut self, message: Received) -> Result<(), DemoError> {
        self.received.extend(event_id(&message.body));
        let deleted =
            self.sqs.delete_message().queue_url(&self.queue).receipt_handle(message.receipt).send().await;
        deleted.map(drop).map_err(|error| fault(format!("DeleteMessage from {}", self.queue), &error).into())
    }

    /// Removes what was made. A subscription goes with its topic.
    pub(crate) async fn remove(&self) -> Result<(), DemoError> {
        let topic = self.sns.delete_topic().topic_arn(&self.topic).send().await;
        if !self.queue.is_empty() {
            let deleted = self.sqs.delete_queue().queue_url(&self.queue).send().await;
            deleted.map_err(|error| fault(format!("DeleteQueue {}", self.queue), &error))?;
        }
        topic.map(drop).map_err(|error| fault(format!("DeleteTopic {}", self.topic), &error).into())
    }
}

/// The id of the event inside an envelope of SNS.
fn event_id(body: &[u8]) -> Option<String> {
    let envelope: serde_json::Value = serde_json::from_slice(body).ok()?;
    let event: serde_json::Value = serde_json::from_str(envelope.get("Message")?.as_str()?).ok()?;
    Some(event.get("id")?.as_str()?.to_owned())
}

/// Publishes, and remembers what was published, so that the end of the queue can be told.
struct Recorder {
    inner: SnsSink,
    published: Mutex<HashSet<String>>,
}

impl TopicSink for Recorder {
    fn publish<'a>(
        &'a self,
        topic: &'a Arc<str>,
        entries: &'a [Entry<'a>],
    ) -> BoxFuture<'a, Vec<Result<(), Fault>>> {
        async move {
            let results = self.inner.publish(topic, entries).await;
            let published = entries.iter().zip(&results).filter(|(_, result)| result.is_ok());
            let ids = published.map(|(entry, _)| entry.event.id.clone());
            self.published.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
            results
        }
        .boxed()
    }
}
