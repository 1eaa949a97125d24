//! What `status` tells, before it is a page or JSON.

use std::sync::Arc;

use millstream_processor::outcome::Fault;
use millstream_processor::poller::state::{GapRow, Session, ShardRow, ShardState, WorkerRow};
use millstream_projections::SourceName;
use serde::Serialize;
use tokio::time::Instant;

use super::beats::Beats;
use super::letters::LettersView;
use super::queues::QueueView;

/// One consumer at one moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    pub(super) consumer: Arc<str>,
    pub(super) workers: Vec<WorkerView>,
    pub(super) streams: Vec<StreamView>,
    pub(super) queues: Vec<QueueView>,
    pub(super) letters: LettersView,
    pub(super) totals: Totals,
}

/// One worker.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkerView {
    #[serde(flatten)]
    pub(super) row: WorkerRow,
    /// Whether its heartbeat moved while it was looked at.
    pub(super) heartbeat_moved: bool,
    /// For how long its heartbeat was seen to stand still.
    pub(super) still_seconds: u64,
    /// How many shards it reads.
    pub(super) shards: usize,
}

/// A stream's ARN, its shards and its gaps.
pub(super) type Rows = (Arc<str>, Vec<ShardRow>, Vec<GapRow>);

/// One source and its stream.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StreamView {
    pub(super) source: String,
    pub(super) table: Arc<str>,
    /// The stream's ARN; none where the table cannot be asked for it.
    pub(super) stream: Option<Arc<str>>,
    /// Why there is nothing to tell, where that is so.
    pub(super) fault: Option<String>,
    pub(super) shards: Vec<ShardView>,
    pub(super) gaps: Vec<GapRow>,
}

/// One shard.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShardView {
    #[serde(flatten)]
    pub(super) row: ShardRow,
    /// How long ago its row was written: with its checkpoint, or for a new owner.
    pub(super) age_seconds: u64,
    /// How far it is behind; none if nobody knows, since nobody reads it.
    pub(super) lag_seconds: Option<u64>,
}

/// All of it in numbers.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Totals {
    pub(super) workers: usize,
    pub(super) workers_still: usize,
    pub(super) workers_draining: usize,
    /// Shards that are not read to their end.
    pub(super) shards: usize,
    pub(super) shards_without_owner: usize,
    pub(super) shards_in_trouble: usize,
    pub(super) shards_ended: usize,
    /// The most that an open shard is behind, as far as that is known.
    pub(super) lag_seconds: Option<u64>,
    /// Letters that wait; none if they cannot be counted.
    pub(super) letters: Option<u64>,
    pub(super) gaps: usize,
}

impl ShardView {
    /// A shard as its row says; `is_live` tells whether a worker is alive.
    fn new(row: ShardRow, is_live: impl Fn(&Session) -> bool, now: u64) -> Self {
        let lag_seconds = match (row.state, row.behind_since) {
            (ShardState::Ended | ShardState::Gap, _) => None,
            (ShardState::Open | ShardState::EndedNoChildren, Some(since)) => Some(now.saturating_sub(since)),
            // Who reads it would say so if something waited.
            (ShardState::Open | ShardState::EndedNoChildren, None) => {
                row.owner.as_ref().is_some_and(is_live).then_some(0)
            }
        };
        Self { age_seconds: now.saturating_sub(row.written_at), lag_seconds, row }
    }

    /// Whether all of it is done, and only its name is kept.
    pub(super) fn has_ended(&self) -> bool {
        match self.row.state {
            ShardState::Ended => true,
            ShardState::Open | ShardState::EndedNoChildren | ShardState::Gap => false,
        }
    }

    /// Whether something has to be mended.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.row.trouble.is_some() || self.row.state == ShardState::Gap
    }
}

impl StreamView {
    /// A stream as its rows say, or why they cannot be read.
    pub(super) fn new(
        source: &SourceName,
        table: &Arc<str>,
        rows: Result<Rows, Fault>,
        is_live: impl Fn(&Session) -> bool,
        now: u64,
    ) -> Self {
        let (source, table) = (source.to_string(), table.clone());
        match rows {
            Err(fault) => {
                let fault = Some(fault.to_string());
                Self { source, table, stream: None, fault, shards: Vec::new(), gaps: Vec::new() }
            }
            Ok((stream, rows, gaps)) => {
                let shards = rows.into_iter().map(|row| ShardView::new(row, &is_live, now)).collect();
                Self { source, table, stream: Some(stream), fault: None, shards, gaps }
            }
        }
    }
}

impl View {
    /// Puts together what was seen.
    pub(super) fn new(
        consumer: &Arc<str>,
        beats: &Beats,
        streams: Vec<StreamView>,
        queues: Vec<QueueView>,
        letters: LettersView,
        now: Instant,
    ) -> Self {
        let shards = || streams.iter().flat_map(|stream| &stream.shards);
        let open = || shards().filter(|shard| !shard.has_ended());
        let workers: Vec<WorkerView> = beats
            .all()
            .map(|beat| WorkerView {
                row: beat.row.clone(),
                heartbeat_moved: beat.moved,
                still_seconds: now.duration_since(beat.since).as_secs(),
                shards: open().filter(|shard| shard.row.owner.as_ref() == Some(&beat.row.session)).count(),
            })
            .collect();
        let totals = Totals {
            workers: workers.len(),
            workers_still: workers.iter().filter(|worker| !worker.heartbeat_moved).count(),
            workers_draining: workers.iter().filter(|worker| worker.row.draining).count(),
            shards: open().count(),
            shards_without_owner: open().filter(|shard| shard.row.owner.is_none()).count(),
            shards_in_trouble: open().filter(|shard| shard.is_in_trouble()).count(),
            shards_ended: shards().count() - open().count(),
            lag_seconds: open().filter_map(|shard| shard.lag_seconds).max(),
            letters: letters.count(),
            gaps: streams.iter().map(|stream| stream.gaps.len()).sum(),
        };
        Self { consumer: consumer.clone(), workers, streams, queues, letters, totals }
    }
}
