//! One worker among others: takes shards, hands them over, starts and ends the work on them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lineage::{self, is_readable};
use super::members::Members;
use super::shard::{Ended, Lag, Order, Shared, Work};
use super::shares;
use super::state::{Claim, Held, Session, ShardRow, ShardState, WorkerRow};
use super::{Poller, StreamSource, listing, streams};
use crate::outcome::Fault;

/// How often all shards of a stream are listed anew, by one of the workers, and each looks up the streams of its tables.
const DISCOVER_EVERY: Duration = Duration::from_secs(600);
/// What stands for the listing of a stream when it is shared out like a shard.
const DISCOVERY: &str = "discovery";

/// A shard that this worker reads.
struct Job {
    claim: Claim,
    orders: watch::Sender<Order>,
    lag: watch::Receiver<Lag>,
    /// Whom it goes to when its work has stopped.
    to: Option<Session>,
}

/// A stream, and one of its shards.
type Place = (Arc<str>, Arc<str>);

/// How the work on a shard ended.
type Finished = Result<(Place, Ended), tokio::task::JoinError>;

/// What this worker has, and what it knows of the others.
pub(super) struct Crew<'a> {
    poller: &'a Poller,
    /// Of each source its streams, in the order in which they are read.
    sources: Vec<Vec<StreamSource>>,
    /// When the streams are to be looked up again.
    look_up_at: Instant,
    shared: HashMap<Arc<str>, Arc<Shared>>,
    members: Members,
    jobs: HashMap<Place, Job>,
    running: JoinSet<(Place, Ended)>,
    /// When the rows of all shards are to be read again, at the latest.
    refresh_at: Instant,
    discover_at: HashMap<Arc<str>, Instant>,
    /// Whether the last look found a shard that somebody should read, and nobody does.
    has_unread: bool,
    is_leaving: bool,
}

impl<'a> Crew<'a> {
    pub(super) fn new(poller: &'a Poller) -> Self {
        let now = Instant::now();
        Self {
            poller,
            sources: poller.sources.iter().map(|source| vec![source.clone()]).collect(),
            look_up_at: now,
            shared: HashMap::new(),
            members: Members::new(poller.session.clone(), poller.settings.ttl),
            jobs: HashMap::new(),
            running: JoinSet::new(),
            refresh_at: now,
            discover_at: HashMap::new(),
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
        if Instant::now() < self.refresh_at {
            return;
        }
        self.refresh_at = Instant::now() + self.poller.settings.ttl;
        self.has_unread = false;
        self.look_up_streams().await;
        for streams in self.sources.clone() {
            let newest = streams.len() - 1;
            for (place, source) in streams.iter().enumerate() {
                let is_over = self.share_out(source, place < newest).await.unwrap_or_else(|fault| {
                    tracing::warn!(stream = %source.stream, cause = %fault, "shards cannot be shared out now");
                    (self.has_unread, self.refresh_at) = (true, Instant::now());
                    false
                });
                if place < newest && !is_over {
                    // What follows holds later changes of the same items.
                    self.has_unread = true;
                    break;
                }
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
        for known in &mut self.sources {
            let Some(newest) = known.last().cloned() else { continue };
            match streams::of(client, state, &newest).await {
                Ok(found) => {
                    for stream in
                        found.iter().filter(|it| known.iter().all(|known| known.stream != it.stream))
                    {
                        tracing::info!(source = %stream.source, stream = &*stream.stream, "a stream is found");
                    }
                    *known = found;
                }
                Err(fault) => {
                    tracing::warn!(source = %newest.source, cause = %fault, "streams cannot be looked up now")
                }
            }
        }
    }

    /// Takes what is this worker's to read, and hands over what is not. Tells whether the stream is read to its end.
    async fn share_out(&mut self, source: &StreamSource, is_superseded: bool) -> Result<bool, Fault> {
        let state = &self.poller.state;
        let mut rows = state.shards(&source.stream).await?;
        if self.has_to_discover(source, &rows) {
            let listed = listing::all(&self.poller.client, &source.stream, &rows).await?;
            let added =
                lineage::to_add(&listed, &rows, &source.start, self.poller.pipeline.clock.unix_seconds());
            state.add(&source.stream, &added).await?;
            self.discover_at.insert(source.stream.clone(), Instant::now() + DISCOVER_EVERY);
            rows = state.shards(&source.stream).await?;
        }
        let live = self.members.live().to_vec();
        let mut moves = self.poller.settings.moves;
        let known: HashMap<&str, &ShardRow> = rows.iter().map(|row| (&*row.shard, row)).collect();
        let mut free: HashMap<Option<&Session>, Vec<ShardRow>> = HashMap::new();
        for row in rows.iter().filter(|row| is_readable(row, &known)) {
            if is_superseded && row.state == ShardState::EndedNoChildren {
                // What would be its children is in the stream that follows.
                self.stop(source, &row.shard, None);
                continue;
            }
            let wanted = shares::owner_of(&row.shard, &live);
            let is_mine = wanted == Some(&self.poller.session);
            match &row.owner {
                Some(owner) if *owner == self.poller.session => {
                    self.start(source, row);
                    if !is_mine
                        && moves > 0
                        && let Some(to) = wanted.cloned()
                    {
                        moves -= 1;
                        self.stop(source, &row.shard, Some(to));
                    }
                }
                Some(owner) if self.members.is_live(owner) => {}
                owner if is_mine => free.entry(owner.as_ref()).or_default().push(row.clone()),
                Some(_) | None => self.has_unread = true,
            }
        }
        for (owner, shards) in free {
            let dead = owner.and_then(|owner| self.members.dead(owner)).cloned();
            self.claim(source, &shards, dead.as_ref()).await?;
        }
        Ok(rows.iter().all(|row| matches!(row.state, ShardState::Ended | ShardState::EndedNoChildren)))
    }

    fn has_to_discover(&self, source: &StreamSource, rows: &[ShardRow]) -> bool {
        let live = self.members.live();
        let name = format!("{DISCOVERY}/{}", source.stream);
        let is_due = self.discover_at.get(&source.stream).is_none_or(|at| *at <= Instant::now());
        is_due && (rows.is_empty() || shares::owner_of(&name, live) == Some(&self.poller.session))
    }

    async fn claim(
        &mut self,
        source: &StreamSource,
        rows: &[ShardRow],
        dead: Option<&WorkerRow>,
    ) -> Result<(), Fault> {
        let session = &self.poller.session;
        let held = self.poller.state.claim_all(&source.stream, rows, dead, session).await?;
        for (row, held) in rows.iter().zip(held) {
            match held {
                Held::Done => {
                    let owned =
                        ShardRow { owner: Some(session.clone()), epoch: row.epoch + 1, ..row.clone() };
                    self.start(source, &owned);
                }
                Held::Lost => (self.has_unread, self.refresh_at) = (true, Instant::now()),
            }
        }
        Ok(())
    }

    /// Starts the work on a shard that this worker owns, if it is not at work already.
    fn start(&mut self, source: &StreamSource, row: &ShardRow) {
        let place = (source.stream.clone(), row.shard.clone());
        if self.jobs.contains_key(&place) || row.state == ShardState::Gap {
            return;
        }
        let shared = self.shared(source);
        let claim = Claim {
            stream: source.stream.clone(),
            shard: row.shard.clone(),
            owner: self.poller.session.clone(),
            epoch: row.epoch,
        };
        let (orders, ordered) = watch::channel(Order::Work);
        let (lag, lagging) = watch::channel(Lag::default());
        let work = Work::new(shared, claim.clone(), row, lag);
        tracing::info!(shard = %row.shard, epoch = row.epoch, "shard is read");
        self.jobs.insert(place.clone(), Job { claim, orders, lag: lagging, to: None });
        self.running.spawn(async move { (place, work.run(ordered).await) });
    }

    /// What all shards of a stream share.
    fn shared(&mut self, source: &StreamSource) -> Arc<Shared> {
        let poller = self.poller;
        let shared = self.shared.entry(source.stream.clone()).or_insert_with(|| {
            Arc::new(Shared {
                pipeline: poller.pipeline.clone(),
                client: poller.client.clone(),
                source: source.source.clone(),
                state: poller.state.clone(),
                settings: poller.settings.clone(),
                health: poller.health.subscribe(),
                bytes: AtomicU64::new(0),
            })
        });
        shared.clone()
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
        let mut stopped: HashMap<Option<Session>, Vec<Claim>> = HashMap::new();
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
            Ended::Shard => tracing::info!(%shard, "shard has ended"),
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
            while let Some(ended) = self.running.join_next().await {
                self.ended(ended).await;
            }
        };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("some shards are left to those who find that this worker has gone");
        }
    }
}
