//! The records that a pointer points at, read from the stream while it still has them.

use std::sync::Arc;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::operation::get_records::GetRecordsError;
use aws_sdk_dynamodbstreams::operation::get_shard_iterator::GetShardIteratorError;
use aws_sdk_dynamodbstreams::types::{Record, ShardIteratorType};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_projections::SourceName;
use millstream_projections::version::SequenceNumber;

use super::Pointer;
use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::fault;
use crate::source::{Delivery, stream_record};

/// An open shard may have empty pages; so many in a row mean that the records are not there yet, or never will be.
const EMPTY_PAGES: usize = 100;

/// What a stream still has of a range.
#[derive(Debug)]
pub struct Found {
    /// The records, oldest first. Where a mapping reads a shard in parallel, records of its other batches lie between
    /// those of this one: there can be more than the batch had, never fewer.
    pub deliveries: Vec<Delivery>,
    /// Whether the beginning, or all of it, is older than what the stream keeps.
    pub trimmed: bool,
}

/// Reads ranges of streams. It changes nothing, and does not try again by itself.
pub trait RangeReader: Send + Sync {
    /// Everything that is left of a range.
    fn read<'a>(
        &'a self,
        pointer: &'a Pointer,
        source: &'a SourceName,
    ) -> BoxFuture<'a, Result<Found, Fault>>;
}

/// Reads ranges through the Streams API.
#[derive(Debug, Clone)]
pub struct StreamRanges {
    client: Client,
}

impl StreamRanges {
    /// Makes no request.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

impl RangeReader for StreamRanges {
    fn read<'a>(
        &'a self,
        pointer: &'a Pointer,
        source: &'a SourceName,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        self.range(pointer, source).boxed()
    }
}

/// What one step through a shard met.
enum Step<T> {
    /// It went on.
    On(T),
    /// What was asked for is older than what the stream keeps.
    Trimmed,
    /// The shard is gone altogether.
    Gone,
    /// The iterator lived too long.
    Expired,
}

impl StreamRanges {
    async fn range(&self, pointer: &Pointer, source: &SourceName) -> Result<Found, Fault> {
        let mut walk = Walk::new(pointer, source)?;
        let mut iterator: Option<String> = None;
        loop {
            let step = match &iterator {
                None => self.iterator(pointer, &walk.start).await?,
                Some(iterator) => match self.page(pointer, iterator).await? {
                    Step::On((records, next)) => match walk.take(records, next.is_none()) {
                        Some(found) => return Ok(found),
                        None => Step::On(next),
                    },
                    Step::Trimmed => Step::Trimmed,
                    Step::Gone => Step::Gone,
                    Step::Expired => Step::Expired,
                },
            };
            iterator = match step {
                Step::On(next) => next,
                Step::Expired => None,
                // What is left of the range stands at the horizon; a horizon that moves on is asked for again.
                Step::Trimmed => {
                    walk.start = Start::Horizon;
                    walk.trimmed = true;
                    None
                }
                Step::Gone => return Ok(walk.end(true)),
            };
        }
    }

    async fn iterator(&self, pointer: &Pointer, start: &Start) -> Result<Step<Option<String>>, Fault> {
        let (kind, number) = match start {
            Start::At(number) => (ShardIteratorType::AtSequenceNumber, Some(number.clone())),
            Start::After(number) => (ShardIteratorType::AfterSequenceNumber, Some(number.clone())),
            Start::Horizon => (ShardIteratorType::TrimHorizon, None),
        };
        let request = self.client.get_shard_iterator().stream_arn(&pointer.stream).shard_id(&pointer.shard);
        let sent = request.shard_iterator_type(kind).set_sequence_number(number).send().await;
        match sent {
            Ok(answer) => Ok(Step::On(answer.shard_iterator)),
            Err(error) => match error.as_service_error() {
                Some(GetShardIteratorError::TrimmedDataAccessException(_)) => Ok(Step::Trimmed),
                Some(GetShardIteratorError::ResourceNotFoundException(_)) => Ok(Step::Gone),
                _ => Err(fault(format!("GetShardIterator of shard {}", pointer.shard), &error)),
            },
        }
    }

    async fn page(
        &self,
        pointer: &Pointer,
        iterator: &str,
    ) -> Result<Step<(Vec<Record>, Option<String>)>, Fault> {
        match self.client.get_records().shard_iterator(iterator).send().await {
            Ok(page) => Ok(Step::On((page.records.unwrap_or_default(), page.next_shard_iterator))),
            Err(error) => match error.as_service_error() {
                Some(GetRecordsError::TrimmedDataAccessException(_)) => Ok(Step::Trimmed),
                Some(GetRecordsError::ResourceNotFoundException(_)) => Ok(Step::Gone),
                Some(GetRecordsError::ExpiredIteratorException(_)) => Ok(Step::Expired),
                _ => Err(fault(format!("GetRecords of shard {}", pointer.shard), &error)),
            },
        }
    }
}

/// How far a range is read.
struct Walk<'a> {
    source: &'a SourceName,
    stream: Arc<str>,
    from: SequenceNumber,
    to: SequenceNumber,
    start: Start,
    deliveries: Vec<Delivery>,
    trimmed: bool,
    /// How many pages in a row had nothing.
    empty: usize,
}

/// Where to go on in a shard.
enum Start {
    At(String),
    After(String),
    Horizon,
}

impl<'a> Walk<'a> {
    fn new(pointer: &Pointer, source: &'a SourceName) -> Result<Self, Fault> {
        let bound = |text: &str| {
            SequenceNumber::new(text).map_err(|error| Fault::new(FaultKind::Rejected, error.to_string()))
        };
        Ok(Self {
            source,
            stream: pointer.stream.as_str().into(),
            from: bound(&pointer.from)?,
            to: bound(&pointer.to)?,
            start: Start::At(pointer.from.clone()),
            deliveries: Vec::new(),
            trimmed: false,
            empty: 0,
        })
    }

    /// Takes a page; gives what was found once the range is at its end.
    fn take(&mut self, records: Vec<Record>, shard_ends: bool) -> Option<Found> {
        self.empty = if records.is_empty() { self.empty + 1 } else { 0 };
        for record in records {
            let Some(number) = sequence(&record) else { continue };
            self.start = Start::After(number.unpadded().to_owned());
            if number >= self.from && number <= self.to {
                self.deliveries.push(stream_record::decode(record, self.source, &self.stream));
            }
            if number >= self.to {
                return Some(self.end(false));
            }
        }
        // Without the last record of the range, its end is gone.
        (shard_ends || self.empty >= EMPTY_PAGES).then(|| self.end(true))
    }

    fn end(&mut self, trimmed: bool) -> Found {
        Found { deliveries: std::mem::take(&mut self.deliveries), trimmed: self.trimmed || trimmed }
    }
}

fn sequence(record: &Record) -> Option<SequenceNumber> {
    SequenceNumber::new(record.dynamodb()?.sequence_number()?).ok()
}
