//! A plain reader of one stream, for one process: open shards in turn, children after their parents.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::types::{Record, Shard, ShardIteratorType};
use millstream_projections::SourceName;

use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::fault;
use crate::source::{Delivery, stream_record};

/// Reads one stream from its oldest record on.
pub struct StreamReader {
    client: Client,
    source: SourceName,
    stream: Arc<str>,
    /// Shards that are being read, the one whose turn it is first.
    open: VecDeque<OpenShard>,
    /// Shards that were found and not yet opened, parents before their children.
    waiting: VecDeque<Shard>,
    known: HashSet<String>,
}

/// How far one shard is read.
struct OpenShard {
    id: String,
    iterator: Option<String>,
    last: Option<String>,
}

impl StreamReader {
    /// Opens a table's stream by the stream's ARN.
    pub fn new(client: Client, source: SourceName, stream: impl Into<Arc<str>>) -> Self {
        Self {
            client,
            source,
            stream: stream.into(),
            open: VecDeque::new(),
            waiting: VecDeque::new(),
            known: HashSet::new(),
        }
    }

    /// The next page of the next shard; empty if that has nothing new at the moment. What was read is not read again, and
    /// a fault loses nothing: the next call goes on where this one failed.
    pub async fn page(&mut self) -> Result<Vec<Delivery>, Fault> {
        self.open_shards().await?;
        let Some(mut shard) = self.open.pop_front() else { return Ok(Vec::new()) };
        let page = self.read(&mut shard).await;
        match &page {
            // Closed and read to its end: its children may come now.
            Ok((_, true)) => {}
            Ok((_, false)) | Err(_) => self.open.push_back(shard),
        }
        let (records, _) = page?;
        let decode = |record| stream_record::decode(record, &self.source, &self.stream);
        Ok(records.into_iter().map(decode).collect())
    }

    /// One page of a shard, and whether the shard has ended.
    async fn read(&self, shard: &mut OpenShard) -> Result<(Vec<Record>, bool), Fault> {
        let iterator = match shard.iterator.take() {
            Some(iterator) => iterator,
            None => match self.iterator(shard).await? {
                Some(iterator) => iterator,
                None => return Ok((Vec::new(), true)),
            },
        };
        let doing = format!("GetRecords of shard {} of stream {}", shard.id, self.stream);
        let sent = self.client.get_records().shard_iterator(&iterator).send().await;
        let page = match sent {
            Ok(page) => page,
            Err(error) => {
                let expired = error.as_service_error().is_some_and(|it| it.is_expired_iterator_exception());
                // An expired iterator is asked for again, after the last record that was read.
                shard.iterator = (!expired).then_some(iterator);
                return Err(fault(doing, &error));
            }
        };
        let records = page.records.unwrap_or_default();
        let last = records.last().and_then(|record| record.dynamodb()?.sequence_number().map(str::to_owned));
        shard.last = last.or(shard.last.take());
        // The last page of a closed shard has no further iterator, and can hold records.
        shard.iterator = page.next_shard_iterator;
        let ended = shard.iterator.is_none();
        Ok((records, ended))
    }

    async fn iterator(&self, shard: &OpenShard) -> Result<Option<String>, Fault> {
        let from = match shard.last {
            Some(_) => ShardIteratorType::AfterSequenceNumber,
            None => ShardIteratorType::TrimHorizon,
        };
        self.client
            .get_shard_iterator()
            .stream_arn(&*self.stream)
            .shard_id(&shard.id)
            .shard_iterator_type(from)
            .set_sequence_number(shard.last.clone())
            .send()
            .await
            .map(|answer| answer.shard_iterator)
            .map_err(|error| fault(format!("GetShardIterator of shard {}", shard.id), &error))
    }

    /// Opens every shard whose parent is read to its end, or is not there any more.
    async fn open_shards(&mut self) -> Result<(), Fault> {
        if self.open.is_empty() && self.waiting.is_empty() {
            self.discover().await?;
        }
        let unread: HashSet<String> = self
            .open
            .iter()
            .map(|shard| shard.id.clone())
            .chain(self.waiting.iter().filter_map(|shard| shard.shard_id.clone()))
            .collect();
        let is_ready = |shard: &Shard| shard.parent_shard_id().is_none_or(|parent| !unread.contains(parent));
        let (ready, later): (VecDeque<_>, VecDeque<_>) = self.waiting.drain(..).partition(is_ready);
        self.waiting = later;
        // A listing that is a circle has no ready shard; its first one is read all the same.
        let first = if ready.is_empty() && self.open.is_empty() { self.waiting.pop_front() } else { None };
        let opened = ready.into_iter().chain(first).filter_map(|shard| shard.shard_id);
        self.open.extend(opened.map(|id| OpenShard { id, iterator: None, last: None }));
        Ok(())
    }

    /// Finds shards that were not read yet.
    async fn discover(&mut self) -> Result<(), Fault> {
        let mut from = None;
        let mut found: Vec<Shard> = Vec::new();
        loop {
            let page = self
                .client
                .describe_stream()
                .stream_arn(&*self.stream)
                .set_exclusive_start_shard_id(from)
                .send()
                .await
                .map_err(|error| fault(format!("DescribeStream {}", self.stream), &error))?;
            let description = page.stream_description.ok_or_else(|| {
                Fault::new(
                    FaultKind::Unavailable,
                    format!("DescribeStream {} describes no stream", self.stream),
                )
            })?;
            found.extend(description.shards.unwrap_or_default());
            // Only an empty last shard means the end.
            match description.last_evaluated_shard_id {
                Some(last) => from = Some(last),
                None => break,
            }
        }
        found.retain(|shard| shard.shard_id().is_some_and(|id| !self.known.contains(id)));
        self.known.extend(found.iter().filter_map(|shard| shard.shard_id.clone()));
        self.waiting = found.into();
        Ok(())
    }
}
