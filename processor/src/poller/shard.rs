//! Works one shard from its checkpoint to its end: reads ahead, works on many keys at once, and remembers how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodbstreams::Client;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use millstream_projections::SourceName;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::Health;
use super::behind::Behind;
use super::children::Children;
use super::complaint::Complaint;
use super::cursor::{Cursor, Page};
use super::desk::{Desk, Taken};
use super::settings::Settings;
use super::state::{Checkpoint, Claim, GapRow, ShardRow, ShardState, StateStore};
use crate::clock::Deadline;
use crate::meter;
use crate::outcome::{Fault, FaultKind};
use crate::pipeline::Pipeline;
use crate::report::Report;
use crate::source::Batch;

/// What becomes of what the stream answers.
mod reading;
/// What the state table is told of a shard.
mod record;

/// How many batches of one shard run at once: while one waits for a slow key, others go on with the rest.
const BATCHES: usize = 4;
/// How many records of one shard are read and not done; one page more than this is the most.
const READ_AHEAD: usize = 4_000;
/// How large they are; likewise.
const READ_AHEAD_BYTES: u64 = 8 << 20;
/// How large all of a source's together are, beside one page for each shard, without which a stuck shard would stop others.
const ROOM: u64 = 128 << 20;
/// How often the checkpoint is stored while it moves.
const STORE_EVERY: Duration = Duration::from_secs(1);
/// How long a shard waits after a fault of the stream itself: at first, and at most.
const BACKOFF: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];

/// What every shard of one source shares.
pub(super) struct Shared {
    pub(super) pipeline: Pipeline,
    pub(super) client: Client,
    pub(super) source: SourceName,
    pub(super) state: Arc<dyn StateStore>,
    pub(super) settings: Settings,
    /// Tells when this worker last beat.
    pub(super) health: watch::Receiver<Health>,
    /// How large all records of the source are that are read and not done.
    pub(super) bytes: AtomicU64,
    /// Finds what follows shards that have ended.
    pub(super) children: Children,
    /// How many more batches this worker may have under way.
    pub(super) batches: Arc<Semaphore>,
}

impl Shared {
    /// Near the time when others may take this worker for dead, nothing new starts: what was started before ends until then.
    fn is_alive(&self) -> bool {
        self.health.borrow().beaten.is_some_and(|beaten| beaten.elapsed() < self.settings.pause_after())
    }

    /// How often others could take this worker for dead so far.
    fn lapses(&self) -> u64 {
        self.health.borrow().lapses
    }
}

/// What the work on a shard is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Read and write.
    Work,
    /// Bring what was started to its end, store the checkpoint, and stop.
    Stop,
    /// Stop at once: the shard is another's.
    Drop,
}

/// Why the work on a shard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was told to; everything that is done is in the checkpoint.
    Stopped,
    /// The shard is read to its end, and its children have rows.
    Shard,
    /// The shard is another worker's by now.
    Lost,
    /// The stream forgot a part of it, and it waits for an operator.
    Gap,
}

/// How far a shard is, for whoever waits until all is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lag {
    /// Whether everything that was there is read and done.
    pub(super) is_drained: bool,
}

/// One shard at work.
pub(super) struct Work {
    shared: Arc<Shared>,
    claim: Claim,
    /// None while it reads.
    cursor: Option<Cursor>,
    reading: Option<BoxFuture<'static, (Cursor, Result<Page, Fault>)>>,
    desk: Desk,
    /// Records that are older, in seconds since 1970, are skipped.
    since: Option<u64>,
    at_end: bool,
    /// Whether the stream forgot what comes next, and if so, whether the whole shard is gone.
    gap_met: Option<bool>,
    /// A gap that is recorded, and where it ends is not yet.
    gap: Option<GapRow>,
    is_known_childless: bool,
    /// Whether a page came that was not the last.
    was_open: bool,
    /// Whether the stream said before that it does not have the shard: a new one can be unknown for a moment.
    was_gone: bool,
    /// How often in turn a read gave nothing but the means to read.
    agains: u32,
    /// How many pages without records came one after another.
    empty_pages: u32,
    asked_at: Instant,
    read_at: Instant,
    idle: Duration,
    backoff: Duration,
    /// What of [`Shared::bytes`] is this shard's.
    bytes: u64,
    stored: (Checkpoint, String, Option<String>, Option<u64>),
    /// How many lapses of this worker were seen.
    lapses: u64,
    /// Whether others may have taken the shard meanwhile: then it is asked before anything starts.
    is_in_doubt: bool,
    /// Why nothing can be written, and why nothing can be read.
    trouble: Option<String>,
    unreadable: Option<String>,
    behind: Behind,
    /// Changes that could not be done, and pages that could not be read: who watches is told of neither each time.
    undone: Complaint,
    unread: Complaint,
    lag: watch::Sender<Lag>,
}

type Running = FuturesUnordered<BoxFuture<'static, (Taken, Report)>>;

impl Work {
    /// The work on a shard that this session owns.
    pub(super) fn new(shared: Arc<Shared>, claim: Claim, row: &ShardRow, lag: watch::Sender<Lag>) -> Self {
        let since = match row.checkpoint {
            Checkpoint::Since(seconds) => Some(seconds),
            Checkpoint::TrimHorizon | Checkpoint::From(_) | Checkpoint::After(_) => None,
        };
        let (client, stream, shard) = (shared.client.clone(), claim.stream.clone(), claim.shard.clone());
        let now = shared.pipeline.clock.unix_seconds();
        let lapses = shared.lapses();
        Self {
            cursor: Some(Cursor::new(client, stream, shard, &row.checkpoint)),
            reading: None,
            desk: Desk::new(row.acks.clone()),
            since,
            at_end: row.state == ShardState::EndedNoChildren,
            gap_met: None,
            gap: None,
            is_known_childless: row.state == ShardState::EndedNoChildren,
            was_open: false,
            was_gone: false,
            agains: 0,
            empty_pages: 0,
            asked_at: Instant::now(),
            read_at: Instant::now(),
            idle: Duration::ZERO,
            backoff: Duration::ZERO,
            bytes: 0,
            stored: (row.checkpoint.clone(), row.acks.to_text(), row.trouble.clone(), row.behind_since),
            lapses,
            is_in_doubt: false,
            trouble: None,
            unreadable: None,
            behind: Behind::new(row, shared.settings.idle, now),
            undone: Complaint::default(),
            unread: Complaint::default(),
            lag,
            shared,
            claim,
        }
    }

    /// Works until the shard ends, is lost, or an order says so.
    pub(super) async fn run(mut self, mut orders: watch::Receiver<Order>) -> Ended {
        let mut running = Running::new();
        let mut store_at = Instant::now() + STORE_EVERY;
        loop {
            let order = *orders.borrow_and_update();
            match order {
                Order::Drop => return Ended::Lost,
                Order::Stop if running.is_empty() => return self.store_last().await,
                Order::Stop | Order::Work => {}
            }
            let works = order == Order::Work && self.shared.is_alive() && !self.is_in_doubt();
            if works {
                self.start(&mut running);
                if let Some(ended) = self.finish_what_is_read().await {
                    return ended;
                }
            }
            let wake_at = self.wake_at(works, running.len()).min(store_at);
            let ended = tokio::select! {
                biased;
                changed = orders.changed() => changed.is_err().then_some(Ended::Stopped),
                Some((taken, report)) = running.next() => {
                    self.finished(taken, &report);
                    None
                }
                (cursor, page) = next(&mut self.reading) => {
                    (self.cursor, self.reading) = (Some(cursor), None);
                    self.read(page).await
                }
                () = tokio::time::sleep_until(wake_at) => None,
            };
            if let Some(ended) = ended {
                return ended;
            }
            if Instant::now() >= store_at {
                store_at = Instant::now() + STORE_EVERY;
                self.tell();
                self.undone.tell_over(&self.claim.shard, "no change is unfinished any more");
                self.unread.tell_over(&self.claim.shard, "shard can be read again");
                if let Some(ended) = self.store().await {
                    return ended;
                }
            }
        }
    }

    /// Whether others could take the shard, and this worker does not know yet whether they did. The next write tells.
    fn is_in_doubt(&mut self) -> bool {
        let lapses = self.shared.lapses();
        self.is_in_doubt |= std::mem::replace(&mut self.lapses, lapses) != lapses;
        self.is_in_doubt
    }

    /// Once all that was read is done: the shard's end, or the gap that was met.
    async fn finish_what_is_read(&mut self) -> Option<Ended> {
        if self.desk.open() > 0 || Instant::now() < self.read_at {
            return None;
        }
        match self.gap_met {
            Some(gone) => self.gap(gone).await,
            None if self.at_end => self.end().await,
            None => None,
        }
    }

    /// Starts what can be started: batches of what was read, and the next page.
    fn start(&mut self, running: &mut Running) {
        while running.len() < BATCHES {
            let taken = self.desk.take(Instant::now());
            if taken.is_empty() {
                break;
            }
            running.push(self.batch(taken));
        }
        let may_read = self.goes_on() && self.has_room() && Instant::now() >= self.read_at;
        if let Some(mut cursor) = self.cursor.take_if(|_| may_read) {
            self.asked_at = Instant::now();
            self.reading = Some(
                async move {
                    let page = cursor.page().await;
                    (cursor, page)
                }
                .boxed(),
            );
        }
    }

    /// Whether there may be more to read, and a place to put it.
    fn goes_on(&self) -> bool {
        let fits = self.desk.open() < READ_AHEAD && self.desk.bytes() < READ_AHEAD_BYTES;
        !self.at_end && self.gap_met.is_none() && fits
    }

    /// Whether the other shards of the source leave room for what this one would read.
    fn has_room(&self) -> bool {
        self.desk.bytes() == 0 || self.shared.bytes.load(Ordering::Relaxed) < ROOM
    }

    /// Tells the other shards of the source how much this one holds.
    fn weigh(&mut self, bytes: u64) {
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shared.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// When there is something to do although nothing happened.
    fn wake_at(&self, works: bool, running: usize) -> Instant {
        let now = Instant::now();
        let far = now + BACKOFF[1];
        if !works {
            return far;
        }
        let read_at = match self.goes_on() && !self.has_room() {
            // Nobody tells when others are done.
            true => Some(self.read_at.max(now + self.shared.settings.busy)),
            false => (self.read_at > now).then_some(self.read_at),
        };
        let next_try = if running < BATCHES { self.desk.next_try(now) } else { None };
        read_at.into_iter().chain(next_try).min().unwrap_or(far)
    }

    fn batch(&self, mut taken: Taken) -> BoxFuture<'static, (Taken, Report)> {
        let (shared, lapses) = (self.shared.clone(), self.lapses);
        async move {
            // Closed it never is.
            let _turn = shared.batches.acquire().await;
            if !shared.is_alive() || shared.lapses() != lapses {
                // Its turn came too late: the shard may be another's.
                let fault = Fault::out_of_time("begin");
                let unfinished = vec![Some(fault); taken.deliveries.len()];
                return (taken, Report { unfinished, ..Report::default() });
            }
            let slice = shared.settings.slice();
            let deadline = Deadline::before(Instant::now() + slice, slice / 5);
            let deliveries = std::mem::take(&mut taken.deliveries);
            let batch = Batch { source: shared.source.clone(), deliveries };
            let report = shared.pipeline.run(&batch, deadline).await;
            taken.deliveries = batch.deliveries;
            (taken, report)
        }
        .boxed()
    }

    fn finished(&mut self, taken: Taken, report: &Report) {
        let trouble = report.first_fault().filter(|fault| fault.kind == FaultKind::Misconfigured);
        self.trouble = trouble.map(ToString::to_string);
        if let Some(fault) = report.first_fault() {
            let unfinished = report.unfinished.iter().flatten().count();
            if let Some(told) = self.undone.met(Instant::now()) {
                let (shard, times) = (&self.claim.shard, told.times);
                tracing::warn!(%shard, unfinished, times, cause = %fault, "changes are unfinished and come again");
            }
        }
        self.desk.give_back(taken, &report.unfinished, Instant::now());
        self.weigh(self.desk.bytes());
        if !self.desk.has_late() {
            self.undone.went();
        }
        self.tell();
    }

    /// Tells how far the shard is behind: at every page, also at an empty one, and while nothing comes of it.
    fn tell(&mut self) {
        let is_at_rest = match self.at_end {
            true => self.is_known_childless,
            false => self.empty_pages >= reading::EMPTY_PAGES && self.gap_met.is_none(),
        };
        let is_drained = self.desk.open() == 0 && is_at_rest;
        self.lag.send_replace(Lag { is_drained });
        let now = self.shared.pipeline.clock.unix_seconds();
        self.behind.done(self.desk.watermark());
        let seconds = self.behind.since(now).map_or(0, |since| now.saturating_sub(since));
        meter::lag(&self.shared.source, &self.claim.shard, seconds);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.weigh(0);
    }
}

/// The end of a read that is under way; never, where none is.
async fn next<T>(reading: &mut Option<BoxFuture<'static, T>>) -> T {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}
