//! The entries of a PublishBatch, made without I/O.

use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use millstream_projections::version::KeyDigest;

use crate::outcome::{Fault, FaultKind};
use crate::sink::{Entry, KIND, MAX_PUBLISH_BYTES};

/// The type of a text attribute.
pub(in crate::sink) const TEXT: &str = "String";

/// Whether a topic is FIFO: its name says so.
pub fn is_fifo(topic: &str) -> bool {
    topic.ends_with(".fifo")
}

/// One entry; its id is its place in the batch.
pub fn entry(place: usize, entry: &Entry<'_>, fifo: bool) -> Result<PublishBatchRequestEntry, Fault> {
    let size = entry.bytes();
    if size > MAX_PUBLISH_BYTES {
        let cause =
            format!("the event has {size} bytes, an SNS message at most {MAX_PUBLISH_BYTES}: include less");
        return Err(Fault::new(FaultKind::Rejected, cause));
    }
    let kind = MessageAttributeValue::builder().data_type(TEXT).string_value(entry.event.kind);
    let kind = kind.build().map_err(unbuildable)?;
    let mut request = PublishBatchRequestEntry::builder()
        .id(place.to_string())
        .message(&entry.event.body)
        .message_attributes(KIND, kind);
    if fifo {
        // A deduplication id has at most 128 characters; an event's id may have more.
        let deduplication = KeyDigest::of_bytes(entry.event.id.as_bytes());
        request =
            request.message_group_id(entry.group.as_str()).message_deduplication_id(deduplication.as_str());
    }
    request.build().map_err(unbuildable)
}

fn unbuildable(error: aws_sdk_sns::error::BuildError) -> Fault {
    Fault::from_error(FaultKind::Rejected, "event cannot be built", &error)
}
