//! The workers: real pollers, each behind its own wires, which start, stop, stall and die.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use millstream_processor::clock::Clock;
use millstream_processor::holds::NoHolds;
use millstream_processor::outcome::Fault;
use millstream_processor::pipeline::{Limits, Pipeline};
use millstream_processor::poller::settings::{OnGap, Settings};
use millstream_processor::poller::state::{Checkpoint, Session};
use millstream_processor::poller::{Health, Poller, StreamSource, Until};
use millstream_processor::projections::SourceName;
use millstream_processor::projections::config::Config;
use millstream_processor::retry::RetryPolicy;
use millstream_processor::wiring::{self, Aws};
use millstream_test_support::streams::ScriptedStreams;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::judge::Judge;
use crate::letters::NoLetters;
use crate::memory_state::MemoryState;
use crate::network::{CHANNELS, Channel, Wires};
use crate::sink::{Rows, WorkerSink};
use crate::state::WorkerState;
use crate::streams;
use crate::watch::Standing;

const CONFIG: &str = r#"
[source.orders]
table = "Orders"
[projection.rows]
kind = "replica"
from = "orders"
table = "Rows"
key = { id = "{id}" }
set = { n = "{n}" }
[projection.events]
kind = "emit"
from = "orders"
topic = "arn:aws:sns:eu-west-1:000000000000:orders"
include = ["n"]
"#;

/// How long a worker may take to stop before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// The stream's time of day.
struct StreamClock(ScriptedStreams);

impl Clock for StreamClock {
    fn unix_seconds(&self) -> u64 {
        self.0.now_ms() / 1_000
    }
}

pub(crate) fn clock(stream: &ScriptedStreams) -> Arc<dyn Clock> {
    Arc::new(StreamClock(stream.clone()))
}

/// All workers that there were.
pub(crate) struct Fleet {
    seed: u64,
    pub(crate) stream: ScriptedStreams,
    pub(crate) table: MemoryState,
    pub(crate) rows: Arc<Rows>,
    pub(crate) judge: Arc<Judge>,
    settings: Settings,
    /// How much more every write to the sink of a worker that starts takes, in milliseconds, less than.
    pub(crate) slow: u64,
    start: Checkpoint,
    pipeline: Pipeline,
    workers: Vec<Worker>,
    pub(crate) standing: BTreeMap<Session, Standing>,
}

/// A worker that runs.
struct Worker {
    session: Session,
    wires: Arc<Wires>,
    until: Until,
    task: JoinHandle<Result<(), Fault>>,
    /// Dropped only with the worker: a sender that goes would be an order.
    stop: Option<oneshot::Sender<()>>,
    stopped_at: Option<Instant>,
}

impl Fleet {
    pub(crate) fn new(
        seed: u64,
        stream: ScriptedStreams,
        table: MemoryState,
        rows: Arc<Rows>,
        judge: Arc<Judge>,
        settings: Settings,
        start: Checkpoint,
    ) -> Self {
        let config = Config::parse("simulation.toml", CONFIG, &|_| None).unwrap();
        let jitter = Mutex::new(Chance::of(seed, "jitter"));
        let [initial, max, elapsed] = [50, 1_000, 5_000].map(Duration::from_millis);
        let chance: Arc<dyn Fn() -> f64 + Send + Sync> =
            Arc::new(move || jitter.lock().unwrap().within(0..1_000) as f64 / 1_000.0);
        let pipeline = Pipeline {
            letters: Arc::new(NoLetters(judge.clone())),
            holds: Arc::new(NoHolds),
            limits: Limits {
                concurrency: 4,
                hold: Duration::from_secs(365 * 86_400),
                retry: RetryPolicy { initial, max, elapsed, chance },
            },
            ..wiring::pipeline(&config, &Aws::from_config(stream.sdk_config()), clock(&stream))
        };
        let (workers, standing) = (Vec::new(), BTreeMap::new());
        let slow = 0;
        Self { seed, stream, table, rows, judge, settings, slow, start, pipeline, workers, standing }
    }

    /// Starts one more worker.
    pub(crate) fn start(&mut self, until: Until) -> Session {
        let number = self.standing.len();
        let hash = Chance::of(self.seed, &format!("session {number}")).next() as u16;
        let session = Session(format!("w{number}-{hash:04x}").into());
        let chance = Chance::of(self.seed, &format!("wires {number}"));
        let wires = Wires::new(chance, self.settings.patience());
        self.judge.note(&format!("{session} starts"));
        wires.change(|weather| weather.on_mut(Channel::Sink).slow = self.slow);
        self.judge.case().wires.insert(session.clone(), wires.clone());
        let (judge, table, rows) = (self.judge.clone(), self.table.clone(), self.rows.clone());
        let state =
            WorkerState { session: session.clone(), wires: wires.clone(), table, judge: judge.clone() };
        let sink = Arc::new(WorkerSink { session: session.clone(), wires: wires.clone(), rows, judge });
        let source = SourceName::new("orders").unwrap();
        let poller = Poller {
            pipeline: Pipeline { rows: sink.clone(), topics: sink, ..self.pipeline.clone() },
            client: streams::client(&self.stream, &wires),
            state: Arc::new(state),
            sources: vec![StreamSource {
                source,
                stream: self.stream.arn().into(),
                start: self.start.clone(),
            }],
            settings: self.settings.clone(),
            session: session.clone(),
            host: "host/1".to_owned(),
            health: watch::Sender::new(Health::default()),
        };
        let (stop, told) = oneshot::channel();
        let stopped = async move {
            if told.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let task = tokio::spawn(async move { poller.run(until, stopped).await });
        let started = Standing { started_at: Some(Instant::now()), ..Standing::default() };
        self.standing.insert(session.clone(), started);
        let told = session.clone();
        self.workers.push(Worker { session: told, wires, until, task, stop: Some(stop), stopped_at: None });
        session
    }

    /// Who starts from here on goes on where something was lost.
    pub(crate) fn go_on(&mut self) {
        self.settings.on_gap = OnGap::Continue;
    }

    /// The workers that were not told to stop.
    pub(crate) fn working(&self) -> Vec<Session> {
        let working = self.workers.iter().filter(|worker| worker.stop.is_some());
        working.map(|worker| worker.session.clone()).collect()
    }

    pub(crate) fn is_running(&self, session: &Session) -> bool {
        self.workers.iter().any(|worker| worker.session == *session)
    }

    pub(crate) fn count(&self) -> usize {
        self.workers.len()
    }

    /// Tells a worker to stop.
    pub(crate) fn stop(&mut self, session: &Session) {
        self.judge.note(&format!("{session} is told to stop"));
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.session == *session) else { return };
        worker.stopped_at = Some(Instant::now());
        worker.wires.change(|weather| weather.told_at = Some(Instant::now()));
        self.standing.get_mut(session).unwrap().is_leaving = true;
        if let Some(stop) = worker.stop.take() {
            let _ = stop.send(());
        }
    }

    /// A worker dies at once.
    pub(crate) fn kill(&mut self, session: &Session) {
        self.judge.note(&format!("{session} dies"));
        let Some(at) = self.workers.iter().position(|worker| worker.session == *session) else { return };
        let worker = self.workers.remove(at);
        worker.task.abort();
        worker.wires.change(|weather| weather.dead = true);
        self.disturbed(session);
    }

    /// Nothing of a worker goes out or comes in any more, until it is thawed.
    pub(crate) fn freeze(&mut self, session: &Session, frozen: bool) {
        self.judge.note(&format!("{session} {}", if frozen { "stalls" } else { "comes back" }));
        let wires = self.judge.case().wires[session].clone();
        wires.change(|weather| weather.frozen = frozen);
        self.disturbed(session);
    }

    /// Something goes wrong, or well again, on one of a worker's channels.
    pub(crate) fn weather(&mut self, session: &Session, channel: Channel, fault: crate::network::Fault) {
        self.judge.note(&format!("{session} {channel:?}: {fault:?}"));
        let wires = self.judge.case().wires[session].clone();
        wires.change(|weather| *weather.on_mut(channel) = fault);
        wires.trouble(channel);
        if channel == Channel::State {
            self.disturbed(session);
        }
    }

    /// Sees which workers have ended, and kills those that take too long. Gives those that ended as no worker should.
    pub(crate) fn reap(&mut self) -> usize {
        let mut failed = 0;
        for session in self.workers.iter().map(|worker| worker.session.clone()).collect::<Vec<_>>() {
            let Some(at) = self.workers.iter().position(|worker| worker.session == session) else { continue };
            let worker = &mut self.workers[at];
            if let Some(ended) = (&mut worker.task).now_or_never() {
                let worker = self.workers.remove(at);
                failed += usize::from(self.ended(&worker, ended.unwrap()));
            } else if worker.stopped_at.is_some_and(|at| at.elapsed() > GRACE) {
                let since = worker.stopped_at;
                let is_calm = worker.wires.weather().is_well()
                    && CHANNELS.iter().all(|channel| worker.wires.troubled_at(*channel) < since)
                    && self.standing[&session].disturbed_at < since;
                self.kill(&session);
                if is_calm {
                    self.judge.accuse(format!("{session} does not stop within {GRACE:?}"));
                }
            }
        }
        failed
    }

    /// Tells whether a worker ended that was to go on.
    fn ended(&mut self, worker: &Worker, ended: Result<(), Fault>) -> bool {
        let session = &worker.session;
        self.judge.note(&format!("{session} has ended: {ended:?}"));
        worker.wires.change(|weather| weather.dead = true);
        let was_told = worker.stop.is_none() || worker.until == Until::Drained;
        if ended.is_ok() && !was_told {
            self.judge.accuse(format!("{session} ended by itself"));
        }
        match ended {
            Ok(()) => self.standing.get_mut(session).unwrap().has_left = true,
            Err(_) => self.disturbed(session),
        }
        !was_told
    }

    fn disturbed(&mut self, session: &Session) {
        self.standing.get_mut(session).unwrap().disturbed_at = Some(Instant::now());
    }
}
