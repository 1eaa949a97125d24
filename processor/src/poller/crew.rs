//! One worker among others: takes shards, hands them over, starts and ends the work on them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::sharing::{DISCOVER_AGAIN, DISCOVER_CHILDREN, DISCOVER_EVERY};
use super::children::Children;
use super::members::Members;
use super::shard::{Ended, Lag, Order, Shared, Work};
use super::shares;
use super::state::{Checkpoint, Claim, Held, Session, ShardRow, ShardState, WorkerRow};
use super::{Poller, StreamSource, streams};
use crate::meter;
use crate::outcome::Fault;

mod sharing;

/// How many batches of one worker run at once, whatever number of shards they are from.
const BATCHES: usize = 64;

/// A shard that this worker reads.
struct Job {
    claim: Claim,
    orders: watch::Sender<Order>,
    lag: watch::Receiver<Lag>,
    /// Whom it goes to when its work has stopped.
    to: Option<Session>,
    /// Where it stood still at a gap when this worker took it.
    resumed_at: Option<Checkpoint>,
}

/// What is read of one source.
#[derive(Clone)]
struct Source {
    /// In the order in which they are read.
    streams: Vec<StreamSource>,
    /// Whether there may be others that go before.
    is_looked_up: bool,
}

/// A stream, and one of its shards.
type Place = (Arc<str>, Arc<str>);

/// How the work on a shard ended.
type Finished = Result<(Place, Ended), tokio::task::JoinError>;

/// What this worker has, and what it knows of the others.
pub(super) struct Crew<'a> {
    poller: &'a Poller,
    sources: Vec<Source>,
    /// When the streams are to be looked up again.
    look_up_at: Instant,
    shared: HashMap<Arc<str>, Arc<Shared>>,
    members: Members,
    jobs: BTreeMap<Place, Job>,
    running: JoinSet<(Place, Ended)>,
    /// When the rows of all shards are to be read again, at the latest.
    refresh_at: Instant,
    /// When each stream is to be listed again, by whoever lists it.
    discover_at: HashMap<Arc<str>, Instant>,
    /// Since when listings of a stream lack shards that are there.
    incomplete_since: HashMap<Arc<str>, Instant>,
    /// Streams of which shards have ended here since they were listed.
    ended_here: HashSet<Arc<str>>,
    /// When all children should be listed of shards that have ended, here, at one who has gone, or before this worker came.
    settled_at: Instant,
    /// Bounds what all shards do at once.
    batches: Arc<Semaphore>,
    /// Whether the last look found a shard that somebody should read, and nobody does.
    has_unread: bool,
    is_leaving: bool,
}

impl<'a> Crew<'a> {
    pub(super) fn new(poller: &'a Poller) -> Self {
        let now = Instant::now();
        let source = |newest: &StreamSource| Source { streams: vec![newest.clone()], is_looked_up: false };
        Self {
            poller,
            sources: poller.sources.iter().map(source).collect(),
            look_up_at: now,
            shared: HashMap::new(),
            members: Members::new(poller.session.clone(), poller.settings.ttl),
            jobs: BTreeMap::new(),
            running: JoinSet::new(),
            refresh_at: now,
            discover_at: HashMap::new(),
            incomplete_since: HashMap::new(),
            ended_here: HashSet::new(),
            settled_at: now + DISCOVER_CHILDREN,
            batches: Arc::new(Semaphore::new(BATCHES)),
            has_unread: true,
            is_leaving: false,
        }
    }

    /// Whether everything that there is to read is done.
    pub(super) fn is_drained(&self) -> bool {
        !self.has_unread && self.jobs.values().all(|job| job.lag.borrow().is_drained)
    }

    /// Looks at the others, and at the shards where something may have changed.
    pub(super) async fn look(&mut self) {
        match self.poller.state.workers().await {
            Ok(rows) => {
                if self.members.observe(rows, Instant::now()) {
                    self.refresh_at = Instant::now();
                }
            }
            Err(fault) => return tracing::warn!(cause = %fault, "the other workers cannot be seen now"),
        }
        if self.members.has_lost() {
            // Shards may have ended there whose children were listed in part only.
            self.discover_soon();
        }
        self.sweep().await;
        if Instant::now() < self.refresh_at {
            return;
        }
        self.refresh_at = Instant::now() + self.poller.settings.ttl;
        self.has_unread = false;
        self.look_up_streams().await;
        for source in self.sources.clone() {
            if !source.is_looked_up {
                (self.has_unread, self.refresh_at) = (true, self.look_up_at.min(self.refresh_at));
                continue;
            }
            self.share_out_all(&source.streams).await;
        }
    }

    /// Shares out the streams of one source, in their order.
    async fn share_out_all(&mut self, streams: &[StreamSource]) {
        let mut halted = Some(0);
        for (place, stream) in streams.iter().enumerate() {
            let is_superseded = place + 1 < streams.len();
            let standing = self.share_out(stream, is_superseded).await;
            if let Err(fault) = &standing {
                tracing::warn!(stream = %stream.stream, cause = %fault, "shards cannot be shared out now");
                (self.has_unread, self.refresh_at) = (true, Instant::now());
            }
            halted = halted.zip(standing.as_ref().ok()).map(|(halted, standing)| halted + standing.halted);
            if is_superseded && !standing.is_ok_and(|standing| standing.is_over) {
                // What follows holds later changes of the same items.
                self.has_unread = true;
                break;
            }
        }
        if let Some((source, halted)) = streams.last().map(|newest| &newest.source).zip(halted) {
            meter::halted(source, halted);
        }
    }

    /// Streams are listed again when what is not listed now should be.
    fn discover_soon(&mut self) {
        self.settled_at = Instant::now() + DISCOVER_CHILDREN;
        self.discover_at.values_mut().for_each(|at| *at = self.settled_at.min(*at));
    }

    /// Removes the rows of the dead, one worker each: whoever comes could not tell for a while that they are.
    async fn sweep(&self) {
        let live = self.members.live();
        let is_mine =
            |dead: &&WorkerRow| shares::owner_of(&dead.session.0, live) == Some(&self.poller.session);
        for dead in self.members.all_dead().filter(is_mine) {
            match self.poller.state.sweep(dead).await {
                Ok(()) => tracing::warn!(session = %dead.session, host = dead.host, "a worker has died"),
                Err(fault) => tracing::warn!(cause = %fault, "a dead worker's row is not removed now"),
            }
        }
    }

    /// A table whose stream was switched off and on has another one.
    async fn look_up_streams(&mut self) {
        if Instant::now() < self.look_up_at {
            return;
        }
        self.look_up_at = Instant::now() + DISCOVER_EVERY;
        let (client, state) = (&self.poller.client, &*self.poller.state);
        for source in &mut self.sources {
            let Some(newest) = source.streams.last().cloned() else { continue };
            match streams::of(client, state, &newest).await {
                Ok(found) => {
                    let is_new =
                        |it: &&StreamSource| source.streams.iter().all(|known| known.stream != it.stream);
                    for stream in found.iter().filter(is_new) {
                        tracing::info!(source = %stream.source, stream = &*stream.stream, "a stream is found");
                        // Of those before it the last shards may not be known.
                        self.discover_at.clear();
                    }
                    *source = Source { streams: found, is_looked_up: true };
                }
                // Nothing is read of a source before it is known where it begins.
                Err(fault) => {
                    tracing::warn!(source = %newest.source, cause = %fault, "streams cannot be looked up now");
                    self.look_up_at = Instant::now() + DISCOVER_AGAIN;
                }
            }
        }
    }

    /// Starts the work on a shard that this worker owns, if it is not at work already.
    fn start(&mut self, source: &StreamSource, row: &ShardRow) {
        let place = (source.stream.clone(), row.shard.clone());
        if self.jobs.contains_key(&place) {
            return;
        }
        let (shared, claim) = (self.shared(source), self.claim_of(&source.stream, row));
        let (orders, ordered) = watch::channel(Order::Work);
        let (lag, lagging) = watch::channel(Lag::default());
        let work = Work::new(shared, claim.clone(), row, lag);
        tracing::info!(shard = %row.shard, epoch = row.epoch, "shard is read");
        let resumed_at = (row.state == ShardState::Gap).then(|| row.checkpoint.clone());
        self.jobs.insert(place.clone(), Job { claim, orders, lag: lagging, to: None, resumed_at });
        self.running.spawn(async move { (place, work.run(ordered).await) });
    }

    /// What all shards of a stream share.
    fn shared(&mut self, source: &StreamSource) -> Arc<Shared> {
        let (poller, batches) = (self.poller, &self.batches);
        let shared = self.shared.entry(source.stream.clone()).or_insert_with(|| {
            Arc::new(Shared {
                pipeline: poller.pipeline.clone(),
                client: poller.client.clone(),
                source: source.source.clone(),
                state: poller.state.clone(),
                settings: poller.settings.clone(),
                health: poller.health.subscribe(),
                bytes: AtomicU64::new(0),
                children: Children::new(
                    poller.client.clone(),
                    source.stream.clone(),
                    poller.pipeline.limits.retry.clone(),
                ),
                batches: batches.clone(),
            })
        });
        shared.clone()
    }

    /// Whether nothing is done yet beyond the gap at which a shard stood still: another would meet the gap again.
    fn passes_gap(&self, source: &StreamSource, row: &ShardRow) -> bool {
        let job = self.jobs.get(&(source.stream.clone(), row.shard.clone()));
        job.is_some_and(|job| job.resumed_at.as_ref() == Some(&row.checkpoint))
    }

    fn stop(&mut self, source: &StreamSource, shard: &Arc<str>, to: Option<Session>) {
        if let Some(job) = self.jobs.get_mut(&(source.stream.clone(), shard.clone())) {
            job.to = to;
            job.orders.send_replace(Order::Stop);
        }
    }

    /// Waits until the work on a shard ends; for ever, while nothing is at work. Dropped, it forgets nothing.
    pub(super) async fn finished(&mut self) -> Finished {
        match self.running.join_next().await {
            None => std::future::pending().await,
            Some(ended) => ended,
        }
    }

    /// Does what follows from the end of the work on a shard, and on all others that have ended by now.
    pub(super) async fn ended(&mut self, first: Finished) {
        (self.refresh_at, self.has_unread) = (Instant::now(), true);
        let mut stopped: BTreeMap<Option<Session>, Vec<Claim>> = BTreeMap::new();
        let mut next = Some(first);
        while let Some(ended) = next {
            if let Some(job) = self.take_ended(ended) {
                stopped.entry(job.to).or_default().push(job.claim);
            }
            next = self.running.try_join_next();
        }
        for (to, claims) in stopped {
            if let Err(fault) = self.hand_over(&claims, to.as_ref()).await {
                let shards = claims.len();
                tracing::warn!(shards, to = ?to, cause = %fault, "shards are not handed over now");
            }
        }
    }

    /// A shard that is to be handed over.
    fn take_ended(&mut self, ended: Finished) -> Option<Job> {
        let (place, ended) = match ended {
            Ok(ended) => ended,
            Err(died) => {
                // Its row still names this worker: the next look starts it again.
                tracing::error!(cause = %died, "the work on a shard died");
                self.jobs.retain(|_, job| !job.orders.is_closed());
                return None;
            }
        };
        let (job, shard) = (self.jobs.remove(&place)?, &place.1);
        match ended {
            Ended::Stopped => return Some(job),
            Ended::Shard => {
                tracing::info!(%shard, "shard has ended");
                self.discover_soon();
                self.ended_here.insert(place.0);
            }
            Ended::Lost => tracing::warn!(%shard, "shard is another worker's"),
            Ended::Gap => tracing::error!(%shard, "shard stands still: data was lost"),
        }
        None
    }

    async fn hand_over(&self, claims: &[Claim], to: Option<&Session>) -> Result<(), Fault> {
        let mut left = Vec::new();
        for (claim, held) in claims.iter().zip(self.poller.state.hand_over_all(claims, to).await?) {
            match held {
                Held::Done => tracing::info!(shard = %claim.shard, ?to, "shard is handed over"),
                // The other has gone, or this shard has.
                Held::Lost => left.push(claim.clone()),
            }
        }
        // The next look of this worker finds another for what is still its own; if there is none, whoever looks next does.
        if self.is_leaving && to.is_some() && !left.is_empty() {
            self.poller.state.hand_over_all(&left, None).await?;
        }
        Ok(())
    }

    /// Hands over everything.
    pub(super) async fn leave(mut self, patience: Duration) {
        self.is_leaving = true;
        let own = self.poller.session.clone();
        let others: Vec<Session> =
            self.members.live().iter().filter(|session| **session != own).cloned().collect();
        for ((_, shard), job) in &mut self.jobs {
            job.to = shares::owner_of(shard, &others).cloned();
            job.orders.send_replace(Order::Stop);
        }
        let all = async {
            self.let_go_unread().await;
            while let Some(ended) = self.running.join_next().await {
                self.ended(ended).await;
            }
        };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("some shards are left to those who find that this worker has gone");
        }
    }
}
