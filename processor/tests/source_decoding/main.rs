//! From what AWS sends to changes: golden events, bad records, and the same change over every wire.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails in a helper of a test fails the test")]

mod golden;
mod properties;
mod traps;
mod wires;

use bytes::Bytes;
use millstream_processor::source::lambda_event::{EventError, Received, decode};
use millstream_processor::source::{SourceKey, Sources};
use millstream_projections::{Change, ChangeKind, Item, KeyDigest, SourceName};

const STREAM: &str = include_str!("../golden/stream.json");
const KEYS_ONLY: &str = include_str!("../golden/stream_keys_only.json");
const QUEUE: &str = include_str!("../golden/queue_enveloped.json");
const FIFO: &str = include_str!("../golden/queue_raw_fifo.json");
const TOPIC: &str = include_str!("../golden/topic.json");
const STREAM_ARN: &str =
    "arn:aws:dynamodb:eu-west-1:123456789012:table/CompanyProfile/stream/2026-11-20T09:14:07.512";

/// All that a change says, in a form that can be compared.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    source: String,
    kind: ChangeKind,
    expired: bool,
    keys: Item,
    new: Option<Item>,
    old: Option<Item>,
    version: String,
    created_at: Option<u64>,
    digest: KeyDigest,
}

impl Seen {
    fn of(change: &Change) -> Self {
        Self {
            source: change.source.to_string(),
            kind: change.kind,
            expired: change.expired,
            keys: change.keys.item().unwrap().clone(),
            new: change.new.as_ref().map(|image| image.item().unwrap().clone()),
            old: change.old.as_ref().map(|image| image.item().unwrap().clone()),
            version: change.version.to_string(),
            created_at: change.created_at,
            digest: change.digest().unwrap(),
        }
    }
}

fn name(text: &str) -> SourceName {
    SourceName::new(text).unwrap()
}

fn sources() -> Sources {
    Sources::new([
        (name("companies"), SourceKey::Table("CompanyProfile".to_owned())),
        (name("orders"), SourceKey::Table("Orders".to_owned())),
        (
            name("events"),
            SourceKey::Queue("https://sqs.eu-west-1.amazonaws.com/123456789012/company-events".to_owned()),
        ),
        (name("fifo"), SourceKey::Queue("company-events.fifo".to_owned())),
        (name("topic"), SourceKey::Topic("arn:aws:sns:eu-west-1:123456789012:company-changed".to_owned())),
    ])
}

fn received(event: &str) -> Result<Received, EventError> {
    decode(Bytes::copy_from_slice(event.as_bytes()), &sources())
}

/// Everything in the event, whatever the source: a change, or why there is none.
fn all(event: &str) -> Vec<Result<Seen, String>> {
    let batches = received(event).unwrap().batches;
    let deliveries = batches.into_iter().flat_map(|batch| batch.deliveries);
    deliveries
        .map(|delivery| delivery.change.map(|change| Seen::of(&change)).map_err(|why| why.cause))
        .collect()
}
