//! Watches how long a shard that can be read is without a worker that reads it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use millstream_processor::poller::lineage::is_readable;
use millstream_processor::poller::settings::{OnGap, Settings};
use millstream_processor::poller::state::{Session, ShardRow, StateStore};
use tokio::time::Instant;

use crate::judge::Judge;
use crate::memory_state::MemoryState;
use crate::network::Channel;

/// How much longer than the time to live a dead worker's shard may wait.
const SLACK: Duration = Duration::from_secs(2);
/// How long a shard may wait whose worker went in good order.
const ORDERLY: Duration = Duration::from_secs(2);

/// For how long a worker may not have found its streams, and when it asks for them again.
const NEW: Duration = Duration::from_secs(30);
const LOOKS_UP_AGAIN: Duration = Duration::from_secs(6);

/// What the fleet tells of its workers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// Whether it was told to stop.
    pub(crate) is_leaving: bool,
    /// Whether its process ended as it should.
    pub(crate) has_left: bool,
    /// When it came.
    pub(crate) started_at: Option<Instant>,
    /// When it last was not as the others may expect: it stalled, died, was cut off, or came back from that.
    pub(crate) disturbed_at: Option<Instant>,
}

/// One run's watch.
pub(crate) struct Watch {
    limit: Duration,
    on_gap: OnGap,
    every: Duration,
    /// Since when a shard waits, and for whom.
    waiting: BTreeMap<Arc<str>, (Option<Session>, Instant)>,
}

impl Watch {
    /// Looks so often.
    pub(crate) fn new(settings: &Settings, every: Duration) -> Self {
        Self { limit: settings.ttl + SLACK, on_gap: settings.on_gap, every, waiting: BTreeMap::new() }
    }

    /// Looks once; tells how many shards wait.
    pub(crate) fn look(
        &mut self,
        judge: &Judge,
        table: &MemoryState,
        fleet: &BTreeMap<Session, Standing>,
    ) -> usize {
        let rows = table.shards(&judge.stream).now_or_never().unwrap().unwrap();
        let known: HashMap<&str, &ShardRow> = rows.iter().map(|row| (&*row.shard, row)).collect();
        let is_readable = |row: &&ShardRow| is_readable(row, &known, self.on_gap);
        let now = Instant::now();
        let well = |session: &Session| {
            judge.case().wires.get(session).is_some_and(|wires| wires.weather().is_well())
        };
        // Who has come since waits for as long as the others did.
        let stays = |(session, it): (&Session, &Standing)| {
            (well(session) && !it.is_leaving).then_some(it.started_at).flatten()
        };
        let eldest = fleet.iter().filter_map(stays).min().unwrap_or(now);
        let mut waiting = BTreeMap::new();
        for row in rows.iter().filter(is_readable) {
            if row.owner.as_ref().is_some_and(well) {
                continue;
            }
            let before = self.waiting.remove(&row.shard).filter(|(owner, _)| *owner == row.owner);
            let since = before.map_or(now, |(_, since)| since);
            let since = since.max(eldest);
            waiting.insert(row.shard.clone(), (row.owner.clone(), since));
            let (calm_since, is_orderly) = terms(judge, row, fleet);
            let since = calm_since.map_or(since, |calm| calm.max(since));
            let waits = now.saturating_duration_since(since);
            // It may be for one to take it who has died, and nobody knows that yet.
            let is_unknown = |(session, it): (&Session, &Standing)| {
                let died = it.disturbed_at.filter(|_| !it.has_left && !well(session));
                died.is_some_and(|at| now.duration_since(at.max(eldest)) < self.limit)
            };
            let is_orderly = is_orderly && !fleet.iter().any(is_unknown);
            let limit = if is_orderly { ORDERLY } else { self.limit };
            if waits > limit + self.every {
                judge.accuse(format!("nobody reads {row:?} for {waits:?}; {limit:?} is the limit"));
            }
        }
        self.waiting = waiting;
        self.waiting.len()
    }
}

/// Since when nothing else disturbs what has to happen about a shard, and whether its worker went in good order.
fn terms(judge: &Judge, row: &ShardRow, fleet: &BTreeMap<Session, Standing>) -> (Option<Instant>, bool) {
    let owner = row.owner.as_ref();
    let has_left = owner.is_none_or(|owner| fleet.get(owner).is_some_and(|it| it.has_left));
    // A shard that nobody ever had is found by the others when they look at all rows again.
    let is_orderly = has_left && row.epoch > 0;
    let disturbed = fleet.iter().filter(|(session, _)| Some(*session) != owner).flat_map(|(session, it)| {
        let wires = judge.case().wires.get(session).cloned();
        let troubled = |channel| wires.as_ref().and_then(|wires| wires.troubled_at(channel));
        // Who has just come takes nothing before it knows the streams, for which it asks again after a while.
        let is_new = it.started_at.is_some_and(|at| at.elapsed() < NEW);
        let is_cut = wires.as_ref().is_some_and(|wires| wires.weather().on(Channel::Streams).cut);
        let troubled_at = if is_cut { Some(Instant::now()) } else { troubled(Channel::Streams) };
        let asks = troubled_at.filter(|_| is_new).map(|at| at + LOOKS_UP_AGAIN);
        [it.disturbed_at, troubled(Channel::State), asks, it.started_at.filter(|_| is_orderly)]
    });
    // It may have been given to one that stalled, and left as soon as it was back.
    let itself =
        owner.and_then(|owner| fleet.get(owner)).filter(|it| it.has_left).and_then(|it| it.disturbed_at);
    (disturbed.flatten().max().max(itself), is_orderly)
}
