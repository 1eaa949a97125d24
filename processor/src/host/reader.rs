//! A plain reader of one stream, for one process: shards in the order of their lineage, each to its end.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::types::{Shard, ShardIteratorType};
use millstream_projections::SourceName;

use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::fault;
use crate::source::{Delivery, stream_record};

/// Reads one stream from its oldest record on.
pub struct StreamReader {
    client: Client,
    source: SourceName,
    stream: Arc<str>,
    waiting: VecDeque<String>,
    known: HashSet<String>,
    iterator: Option<String>,
}

impl StreamReader {
    /// Opens a table's stream by the stream's ARN.
    pub fn new(client: Client, source: SourceName, stream: impl Into<Arc<str>>) -> Self {
        Self {
            client,
            source,
            stream: stream.into(),
            waiting: VecDeque::new(),
            known: HashSet::new(),
            iterator: None,
        }
    }

    /// The next page; empty if there is nothing new at the moment. What was read is not read again.
    pub async fn page(&mut self) -> Result<Vec<Delivery>, Fault> {
        if self.iterator.is_none() {
            self.open_next_shard().await?;
        }
        let Some(iterator) = self.iterator.clone() else { return Ok(Vec::new()) };
        let doing = format!("GetRecords of stream {}", self.stream);
        let page = self.client.get_records().shard_iterator(iterator).send().await;
        let page = page.map_err(|error| fault(doing, &error))?;
        // No further iterator: the shard is closed and read to its end. This last page can hold records.
        self.iterator = page.next_shard_iterator;
        let records = page.records.unwrap_or_default();
        Ok(records
            .into_iter()
            .map(|record| stream_record::decode(record, &self.source, &self.stream))
            .collect())
    }

    async fn open_next_shard(&mut self) -> Result<(), Fault> {
        if self.waiting.is_empty() {
            self.discover().await?;
        }
        let Some(shard) = self.waiting.pop_front() else { return Ok(()) };
        let iterator = self
            .client
            .get_shard_iterator()
            .stream_arn(&*self.stream)
            .shard_id(&shard)
            .shard_iterator_type(ShardIteratorType::TrimHorizon)
            .send()
            .await
            .map_err(|error| fault(format!("GetShardIterator of shard {shard}"), &error))?;
        self.iterator = iterator.shard_iterator;
        Ok(())
    }

    /// Finds shards that were not read yet, parents before their children.
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
        self.waiting = lineage(found, &self.known).into();
        self.known.extend(self.waiting.iter().cloned());
        Ok(())
    }
}

/// The shards not known yet, so that no child comes before a parent that is listed too.
fn lineage(shards: Vec<Shard>, known: &HashSet<String>) -> Vec<String> {
    let mut waiting: Vec<Shard> =
        shards.into_iter().filter(|shard| shard.shard_id().is_some_and(|id| !known.contains(id))).collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let listed: HashSet<String> = waiting.iter().filter_map(|shard| shard.shard_id.clone()).collect();
        let (later, ready): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|shard| shard.parent_shard_id().is_some_and(|id| listed.contains(id)));
        if ready.is_empty() {
            // A listing that is a circle cannot be ordered; its shards are read all the same.
            ordered.extend(later.into_iter().filter_map(|shard| shard.shard_id));
            break;
        }
        ordered.extend(ready.into_iter().filter_map(|shard| shard.shard_id));
        waiting = later;
    }
    ordered
}
