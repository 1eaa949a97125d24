//! From one Lambda event, of a stream, a queue or a topic, to the deliveries in it.
//!
//! The event is parsed once, with borrowed texts and with keys and images left as they stand. Only when a record does
//! not fit is every record looked at alone, so that one bad record costs one letter and not the batch.

use bytes::Bytes;
use millstream_projections::{Change, SourceName};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::message_json::{QueueRecord, TopicRecord};
use super::records::{LambdaEvent, Records};
use super::stream_json::StreamRecord;
use super::{Batch, Delivery, DeliveryId, Raw, Sources, Undecodable, shape};

/// What one Lambda event held.
#[derive(Debug)]
pub struct Received {
    /// The wire it came by, which decides how the host reports.
    pub wire: Wire,
    /// The deliveries, grouped by source, in the order in which they came.
    pub batches: Vec<Batch>,
}

/// The wires that Lambda events come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// A DynamoDB stream.
    Stream,
    /// An SQS queue.
    Queue,
    /// An SNS topic that invokes the function itself.
    Topic,
}

impl Wire {
    pub(super) fn from_event_source(name: &str) -> Option<Self> {
        match name {
            "aws:dynamodb" => Some(Self::Stream),
            "aws:sqs" => Some(Self::Queue),
            "aws:sns" => Some(Self::Topic),
            _ => None,
        }
    }
}

/// Why a whole Lambda event cannot be taken: nothing in it may be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// It is no JSON.
    #[error("event is not JSON: {cause}")]
    NotJson {
        /// What the parser said.
        cause: String,
    },
    /// It is no event that we know.
    #[error(
        "event has none of the known shapes, `Records` of eventSource `aws:dynamodb`, `aws:sqs` or `aws:sns`: saw {seen}"
    )]
    UnknownShape {
        /// What it has instead.
        seen: String,
    },
    /// It comes from something that the config does not read.
    #[error("no source of the config covers `{arn}`; known: {known}")]
    UnknownSource {
        /// The ARN of the stream, queue or topic.
        arn: String,
        /// The sources of the config.
        known: String,
    },
    /// A record lacks what the event cannot do without.
    #[error("record {index} of the event lacks {missing}")]
    Incomplete {
        /// Which record, counted from 0.
        index: usize,
        /// What is missing, and what follows from that.
        missing: String,
    },
}

impl EventError {
    pub(super) fn not_json(error: &serde_json::Error) -> Self {
        Self::NotJson { cause: error.to_string() }
    }
}

/// Decodes one Lambda event.
///
/// An error means that nothing of the event was understood well enough to be reported by name: the whole invocation
/// has to fail. A single record that cannot be understood is a delivery whose `change` says why.
pub fn decode(event: Bytes, sources: &Sources) -> Result<Received, EventError> {
    let event = LambdaEvent::new(event);
    let text = std::str::from_utf8(event.json())
        .map_err(|error| EventError::NotJson { cause: format!("not UTF-8: {error}") })?;
    let wire = shape::of(text)?;
    let batches = match wire {
        Wire::Stream => batches::<StreamRecord<'_>>(&event, text, sources),
        Wire::Queue => batches::<QueueRecord<'_>>(&event, text, sources),
        Wire::Topic => batches::<TopicRecord<'_>>(&event, text, sources),
    }?;
    Ok(Received { wire, batches })
}

/// A record of one of the wires, as Lambda writes it.
pub(super) trait WireRecord<'a>: Deserialize<'a> {
    /// What names the record in the host's report.
    const NAMED_BY: &'static str;
    /// What names the stream, queue or topic that it comes from.
    const FROM: &'static str;

    /// The stream, queue or topic that it comes from.
    fn arn(&self) -> Option<&str>;

    /// How the host names it, or `None` if it could not be reported.
    fn id(&self) -> Option<DeliveryId>;

    /// What it says. `json` is the text that the record was parsed from.
    fn change(self, json: &Bytes, source: &SourceName) -> Result<Change, Undecodable>;

    /// What can still be told of a record that does not fit.
    fn remains(json: &str) -> Remains;
}

/// What is left of a record that does not fit.
pub(super) struct Remains {
    pub(super) arn: Option<String>,
    pub(super) id: Option<DeliveryId>,
}

/// One record: as it should be, or what is left of it with the reason.
enum Entry<R> {
    Fits(R),
    Unfit(Remains, Undecodable),
}

impl<'a, R: WireRecord<'a>> Entry<R> {
    fn arn(&self) -> Option<&str> {
        match self {
            Self::Fits(record) => record.arn(),
            Self::Unfit(remains, _) => remains.arn.as_deref(),
        }
    }
}

fn batches<'a, R: WireRecord<'a>>(
    event: &LambdaEvent,
    text: &'a str,
    sources: &Sources,
) -> Result<Vec<Batch>, EventError> {
    let entries = entries::<R>(text)?;
    // Lambda reads one stream at a time, so a record that lost its ARN shares that of its neighbours. This only decides
    // who is told of it: without an ARN of its own it stays undecodable.
    let neighbour = entries.iter().find_map(Entry::arn).map(str::to_owned);
    let mut groups = Groups { sources, batches: Vec::new(), last: None, expected: entries.len() };
    for (index, entry) in entries.into_iter().enumerate() {
        let arn = entry.arn().or(neighbour.as_deref()).ok_or_else(|| EventError::Incomplete {
            index,
            missing: format!("`{}`, so its source is unknown", R::FROM),
        })?;
        let batch = groups.batch(arn)?;
        let delivery = deliver(entry, event, index, &batch.source)?;
        batch.deliveries.push(delivery);
    }
    Ok(groups.batches)
}

/// Parses all records at once, or each alone if one of them does not fit.
fn entries<'a, R: WireRecord<'a>>(text: &'a str) -> Result<Vec<Entry<R>>, EventError> {
    if let Ok(event) = serde_json::from_str::<Records<R>>(text) {
        return Ok(event.records.into_iter().map(Entry::Fits).collect());
    }
    let event: Records<&'a RawValue> =
        serde_json::from_str(text).map_err(|error| EventError::not_json(&error))?;
    let alone = |record: &'a RawValue| match serde_json::from_str::<R>(record.get()) {
        Ok(record) => Entry::Fits(record),
        Err(error) => Entry::Unfit(R::remains(record.get()), Undecodable::new(error.to_string())),
    };
    Ok(event.records.into_iter().map(alone).collect())
}

fn deliver<'a, R: WireRecord<'a>>(
    entry: Entry<R>,
    event: &LambdaEvent,
    index: usize,
    source: &SourceName,
) -> Result<Delivery, EventError> {
    let (id, change) = match entry {
        Entry::Fits(record) => (record.id(), record.change(event.json(), source)),
        Entry::Unfit(remains, why) => (remains.id, Err(why)),
    };
    let id = id.ok_or_else(|| EventError::Incomplete {
        index,
        missing: match &change {
            Ok(_) => format!("a usable `{}`, so it could not be reported", R::NAMED_BY),
            Err(why) => format!("a usable `{}`, so it could not be reported ({})", R::NAMED_BY, why.cause),
        },
    })?;
    Ok(Delivery { id, change, raw: Raw::Nth { event: event.clone(), index } })
}

/// Batches in the making.
struct Groups<'s> {
    sources: &'s Sources,
    batches: Vec<Batch>,
    /// The ARN seen last and its batch: neighbours nearly always share it.
    last: Option<(String, usize)>,
    expected: usize,
}

impl Groups<'_> {
    fn batch(&mut self, arn: &str) -> Result<&mut Batch, EventError> {
        let place = match &self.last {
            Some((last, place)) if last == arn => *place,
            _ => {
                let place = self.place(arn)?;
                self.last = Some((arn.to_owned(), place));
                place
            }
        };
        Ok(&mut self.batches[place])
    }

    fn place(&mut self, arn: &str) -> Result<usize, EventError> {
        let source = self
            .sources
            .resolve(arn)
            .ok_or_else(|| EventError::UnknownSource { arn: arn.to_owned(), known: self.sources.known() })?;
        if let Some(place) = self.batches.iter().position(|batch| batch.source == *source) {
            return Ok(place);
        }
        let room = if self.batches.is_empty() { self.expected } else { 0 };
        self.batches.push(Batch { source: source.clone(), deliveries: Vec::with_capacity(room) });
        Ok(self.batches.len() - 1)
    }
}
