//! The standalone poller: reads streams on any number of hosts, which share the shards out among themselves.
//!
//! Workers agree through one table ([`state`](crate::poller::state)) and hear of each other by nothing else. Each beats for itself and looks at
//! the others' rows; a row that stands still for the time to live, on the observer's own clock, is a dead worker's. Who
//! should read a shard follows from the set of live workers alone ([`shares`](crate::poller::shares)), so nobody has to decide it.

/// How far a shard is done.
pub mod acks;
/// Since when a shard is behind its stream.
mod behind;
/// Finds the shards that follow those that have ended.
mod children;
/// Tells of a trouble that comes again and again.
mod complaint;
/// One worker among others: takes shards, hands them over, starts and ends the work on them.
mod crew;
/// Reads one shard, page by page.
mod cursor;
/// The records of one shard between being read and being done.
mod desk;
/// Takes over from the Kinesis Client Library.
pub mod kcl;
/// Tells how many letters wait.
pub mod letters;
/// Which shards there are, and which of them can be read.
pub mod lineage;
/// Asks a stream for its shards.
mod listing;
/// Who is alive.
pub mod members;
/// Reads one queue.
pub mod queue;
/// All queues of one process.
pub mod queues;
/// How a poller keeps time with others.
pub mod settings;
/// Works one shard from its checkpoint to its end.
mod shard;
/// Who should read which shard.
pub mod shares;
/// What the pollers of one consumer agree on.
pub mod state;
/// Which streams a table has.
mod streams;

use std::sync::Arc;
use std::time::Duration;

use millstream_projections::SourceName;
use tokio::sync::watch;
use tokio::time::Instant;

use self::crew::Crew;
use self::settings::Settings;
use self::state::{Checkpoint, Session, ShardRow, StateStore, WorkerRow};
use crate::clock::Deadline;
use crate::outcome::Fault;
use crate::pipeline::Pipeline;

/// How often a worker looks at the others, within the time to live.
const LOOKS: u32 = 10;
/// How often it looks at least: what is handed to it waits until then.
const LOOK: Duration = Duration::from_secs(1);
/// How long the row of a worker that stops is tried to be removed.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a worker that stops waits for what it started.
const PATIENCE: Duration = Duration::from_secs(9);

/// One stream to read.
#[derive(Debug, Clone)]
pub struct StreamSource {
    /// The source in the config.
    pub source: SourceName,
    /// The stream's ARN.
    pub stream: Arc<str>,
    /// Where to begin in a stream that the consumer has never seen.
    pub start: Checkpoint,
}

/// One worker of a consumer.
pub struct Poller {
    /// What every batch runs through.
    pub pipeline: Pipeline,
    /// Asks the streams.
    pub client: aws_sdk_dynamodbstreams::Client,
    /// What the workers agree on.
    pub state: Arc<dyn StateStore>,
    /// What to read.
    pub sources: Vec<StreamSource>,
    /// How to keep time.
    pub settings: Settings,
    /// This run of this worker.
    pub session: Session,
    /// The host and the process, for people.
    pub host: String,
    /// Tells whoever watches this worker how it is.
    pub health: watch::Sender<Health>,
}

/// How a worker is, for whoever watches it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// When the last heartbeat that was written was begun; none before the worker has joined the others.
    pub beaten: Option<Instant>,
    /// How often two heartbeats were so far apart that others could take the worker for dead in between.
    pub lapses: u64,
    /// Whether it hands over what it has, and takes nothing more.
    pub is_leaving: bool,
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When it is told to.
    Told,
    /// When it is told to, or when everything that was there is done.
    Drained,
}

impl Poller {
    /// Works until it is told to stop, and then hands over all that it has.
    ///
    /// A fault of the state table is not an end: the worker pauses, and goes on when it can beat again.
    pub async fn run(&self, until: Until, stop: impl Future<Output = ()>) -> Result<(), Fault> {
        let mut crew = Crew::new(self);
        let mut row = self.row();
        let joined = Instant::now();
        // A worker that cannot write its own row at the start has a deployment to mend.
        self.pipeline
            .limits
            .retry
            .run(Deadline::NONE, "join the other workers", || self.state.beat(&row))
            .await?;
        self.health.send_modify(|health| health.beaten = Some(joined));
        {
            // A look at many shards can take long: the heart beats beside it, and a beat that is under way is not cut off: it
            // would come after the ones that follow.
            let (quit, quits) = watch::channel(());
            let mut beats = std::pin::pin!(self.beat(&mut row, quits));
            let mut work = std::pin::pin!(self.work(&mut crew, until, stop));
            tokio::select! {
                biased;
                () = &mut beats => {}
                () = &mut work => {
                    drop(quit);
                    beats.await;
                }
            }
        }
        row.heartbeat += 1;
        row.draining = true;
        self.health.send_modify(|health| health.is_leaving = true);
        if let Err(fault) = self.state.beat(&row).await {
            tracing::warn!(cause = %fault, "others are not told now that this worker stops");
        }
        crew.leave(PATIENCE).await;
        let farewell = self.pipeline.limits.retry.with(FAREWELL / 10, FAREWELL / 4, FAREWELL);
        let leave = || self.state.leave(&self.session);
        farewell.run(Deadline::NONE, "leave the other workers", leave).await
    }

    /// Beats until it is told to quit. A beat that failed comes again soon: without it the shards pause.
    async fn beat(&self, row: &mut WorkerRow, mut quits: watch::Receiver<()>) {
        let mut wait = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                _ = quits.changed() => return,
                () = tokio::time::sleep(wait) => {}
            }
            row.heartbeat += 1;
            let started = Instant::now();
            wait = match self.state.beat(row).await {
                Ok(()) => {
                    self.has_beaten(started);
                    self.settings.beat_every().saturating_sub(started.elapsed())
                }
                Err(fault) => {
                    tracing::warn!(cause = %fault, "heartbeat is not written now");
                    self.settings.beat_again()
                }
            };
        }
    }

    fn has_beaten(&self, started: Instant) {
        let may_be_apart = self.settings.ttl - self.settings.patience();
        self.health.send_modify(|health| {
            let apart = health.beaten.map_or(Duration::ZERO, |before| started - before);
            health.lapses += u64::from(apart >= may_be_apart);
            health.beaten = Some(started);
        });
    }

    /// Every shard that the consumer knows of its sources, of earlier streams of their tables too.
    pub async fn shards(&self) -> Result<Vec<(SourceName, ShardRow)>, Fault> {
        let mut all = Vec::new();
        for source in &self.sources {
            for stream in self.state.streams(streams::table(&source.stream)).await? {
                let rows = self.state.shards(&stream).await?;
                all.extend(rows.into_iter().map(|row| (source.source.clone(), row)));
            }
        }
        Ok(all)
    }

    /// Whether the streams can be looked up: a fault that will not pass says what is missing.
    pub async fn check(&self) -> Result<(), Fault> {
        for source in &self.sources {
            let doing = "look up streams";
            let look_up = || streams::of(&self.client, &*self.state, source);
            self.pipeline.limits.retry.run(Deadline::NONE, doing, look_up).await?;
        }
        Ok(())
    }

    /// Shares the work out with the others until it is time to stop, whatever is under way then: a shard that was just claimed
    /// and is not read yet has no owner once this worker's row is gone.
    async fn work(&self, crew: &mut Crew<'_>, until: Until, stop: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = stop => {}
            () = self.rounds(crew, until) => {}
        }
    }

    async fn rounds(&self, crew: &mut Crew<'_>, until: Until) {
        let mut looks = tokio::time::interval((self.settings.ttl / LOOKS).min(LOOK));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // In one order, here and elsewhere: what happens at the same time happens alike in every run of a simulation.
                biased;
                ended = crew.finished() => crew.ended(ended).await,
                _ = looks.tick() => {
                    crew.look().await;
                    if until == Until::Drained && crew.is_drained() {
                        return;
                    }
                }
            }
        }
    }

    fn row(&self) -> WorkerRow {
        WorkerRow {
            session: self.session.clone(),
            heartbeat: 1,
            mail: 0,
            ttl_ms: self.settings.ttl.as_millis() as u64,
            draining: false,
            host: self.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
