//! A topic inside the process, with a queue subscribed to it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_processor::outcome::Fault;
use millstream_processor::sink::{Entry, TopicSink};
use serde::Serialize;

/// One message of the queue.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Its id: that of the event.
    pub(crate) id: String,
    /// The event in the envelope of SNS.
    pub(crate) body: Bytes,
}

/// The topic, and what lies in the queue behind it.
#[derive(Default)]
pub(crate) struct LocalTopic {
    queue: Mutex<Vec<Message>>,
}

impl LocalTopic {
    /// Takes all messages out of the queue.
    ///
    /// They come ordered by the source item and its version. In which order they were published hangs on the moment in
    /// which concurrent requests ended; how they are delivered shall hang on the seed alone.
    pub(crate) fn take(&self) -> Vec<Message> {
        let mut messages = std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        messages.sort_by(|a, b| a.id.cmp(&b.id));
        messages
    }

    /// Whether nothing lies in the queue.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl TopicSink for LocalTopic {
    fn publish<'a>(
        &'a self,
        topic: &'a Arc<str>,
        entries: &'a [Entry<'a>],
    ) -> BoxFuture<'a, Vec<Result<(), Fault>>> {
        let messages = entries.iter().map(|entry| message(topic, entry));
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).extend(messages);
        std::future::ready(vec![Ok(()); entries.len()]).boxed()
    }
}

/// What SNS puts around a message that goes to a queue.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<'a> {
    r#type: &'static str,
    message_id: &'a str,
    topic_arn: &'a str,
    message: &'a str,
    timestamp: &'static str,
    signature_version: &'static str,
    signature: &'static str,
}

fn message(topic: &str, entry: &Entry<'_>) -> Message {
    let envelope = Envelope {
        r#type: "Notification",
        message_id: &entry.event.id,
        topic_arn: topic,
        message: &entry.event.body,
        timestamp: "2026-01-01T00:00:00.000Z",
        signature_version: "1",
        signature: "none: this topic lives inside the demo",
    };
    // Strings alone always make JSON; were it not so, the event itself is a form that subscribers read as well.
    let body = serde_json::to_vec(&envelope).map_or_else(|_| entry.event.body.clone().into(), Bytes::from);
    Message { id: entry.event.id.clone(), body }
}
