//! Reads one shard, page by page, from where it was left.

use std::sync::Arc;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::error::ProvideErrorMetadata;
use aws_sdk_dynamodbstreams::operation::get_records::GetRecordsError;
use aws_sdk_dynamodbstreams::operation::get_shard_iterator::GetShardIteratorError;
use aws_sdk_dynamodbstreams::types::{Record, ShardIteratorType};

use super::state::Checkpoint;
use crate::outcome::Fault;
use crate::sink::fault::fault;

/// How far a shard is read, which may be further than it is done.
#[derive(Debug)]
pub(super) struct Cursor {
    client: Client,
    stream: Arc<str>,
    shard: Arc<str>,
    iterator: Option<String>,
    /// The last record that was read, as the stream writes its number.
    last: Option<String>,
    /// The first number of the shard, as long as nothing was read; none, if what is lost before the first read is no loss.
    first: Option<String>,
}

/// What one request gave.
#[derive(Debug)]
pub(super) enum Page {
    /// Some records; an open shard can have none.
    Records {
        /// Oldest first.
        records: Vec<Record>,
        /// Whether the shard is closed and this was its last page.
        ended: bool,
    },
    /// The iterator lived too long, or there was none yet: ask again.
    Again,
    /// The stream forgot what comes next.
    Trimmed,
    /// The shard is not there any more.
    Gone,
}

impl Cursor {
    /// A cursor that starts after what is done.
    pub(super) fn new(client: Client, stream: Arc<str>, shard: Arc<str>, done: &Checkpoint) -> Self {
        let (last, first) = match done {
            Checkpoint::After(sequence) => (Some(sequence.clone()), None),
            Checkpoint::From(sequence) => (None, Some(sequence.clone())),
            Checkpoint::TrimHorizon | Checkpoint::Since(_) => (None, None),
        };
        Self { client, stream, shard, iterator: None, last, first }
    }

    /// The last record that was read.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Starts again at the oldest record that the stream has.
    pub(super) fn rewind(&mut self) {
        (self.iterator, self.last, self.first) = (None, None, None);
    }

    /// The next page. After a fault the next call goes on where this one failed.
    pub(super) async fn page(&mut self) -> Result<Page, Fault> {
        let Some(iterator) = self.iterator.take() else { return self.ask().await };
        match self.client.get_records().shard_iterator(&iterator).send().await {
            Ok(page) => {
                let records = page.records.unwrap_or_default();
                let number = |record: &Record| record.dynamodb()?.sequence_number().map(str::to_owned);
                self.last = records.last().and_then(number).or(self.last.take());
                // The last page of a closed shard has no further iterator, and can hold records.
                self.iterator = page.next_shard_iterator;
                Ok(Page::Records { records, ended: self.iterator.is_none() })
            }
            Err(error) => match error.as_service_error() {
                // No data is lost: it is asked for again, after the last record that was read.
                Some(GetRecordsError::ExpiredIteratorException(_)) => Ok(Page::Again),
                Some(GetRecordsError::TrimmedDataAccessException(_)) => Ok(self.trimmed()),
                Some(GetRecordsError::ResourceNotFoundException(_)) => Ok(Page::Gone),
                _ => {
                    self.iterator = Some(iterator);
                    Err(fault(format!("GetRecords of shard {}", self.shard), &error))
                }
            },
        }
    }

    /// The oldest record can go between the request for an iterator and the one for its records; whoever asked for the oldest
    /// that there is has lost nothing.
    fn trimmed(&self) -> Page {
        match self.last.is_some() || self.first.is_some() {
            true => Page::Trimmed,
            false => Page::Again,
        }
    }

    async fn ask(&mut self) -> Result<Page, Fault> {
        let (from, number) = match (&self.last, &self.first) {
            (Some(last), _) => (ShardIteratorType::AfterSequenceNumber, Some(last.clone())),
            (None, Some(first)) => (ShardIteratorType::AtSequenceNumber, Some(first.clone())),
            (None, None) => (ShardIteratorType::TrimHorizon, None),
        };
        let request = self.client.get_shard_iterator().stream_arn(&*self.stream).shard_id(&*self.shard);
        let sent = request.shard_iterator_type(from).set_sequence_number(number).send().await;
        match sent {
            Ok(answer) => {
                self.iterator = answer.shard_iterator;
                match self.iterator {
                    Some(_) => Ok(Page::Again),
                    None => Ok(Page::Records { records: Vec::new(), ended: true }),
                }
            }
            Err(error) => match error.as_service_error() {
                Some(GetShardIteratorError::TrimmedDataAccessException(_)) => Ok(self.trimmed()),
                Some(GetShardIteratorError::ResourceNotFoundException(_)) => Ok(Page::Gone),
                // A first number that the stream does not take says nothing about what there is.
                Some(other) if self.first.is_some() && other.code() == Some("ValidationException") => {
                    tracing::warn!(shard = %self.shard, first = ?self.first, "shard is read from its oldest record");
                    self.first = None;
                    Ok(Page::Again)
                }
                _ => Err(fault(format!("GetShardIterator of shard {}", self.shard), &error)),
            },
        }
    }
}
