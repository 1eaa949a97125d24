//! One run: a seed decides how many workers, shards and items there are, and what goes wrong and when.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use millstream_processor::poller::Until;
use millstream_processor::poller::settings::OnGap;
use millstream_processor::poller::state::{Checkpoint, Session, ShardRow, ShardState, StateStore};
use millstream_test_support::streams::ScriptedStreams;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::fleet::{Fleet, clock};
use crate::judge::Judge;
use crate::memory_state::MemoryState;
use crate::network::{CHANNELS, Channel, Fault};
use crate::shape::{Kind, Shape};
use crate::sink::Rows;
use crate::source::Source;
use crate::watch::Watch;

mod quiet;

pub(crate) use quiet::quiet_gap;

/// How long it may take to be done with everything when nothing goes wrong any more: a key that met faults waits for up
/// to 30 s, and a child may be listed late.
const DRAIN: Duration = Duration::from_secs(75);
/// How long a run that ends by itself may take.
const ONCE: Duration = Duration::from_secs(60);

/// What is to be undone, or done, later.
#[derive(Debug, Clone)]
enum Later {
    Thaw(Session),
    Heal(Session, Channel),
    Start,
}

/// What a run was like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// The same in every run of the seed.
    pub(crate) digest: u64,
}

struct Run {
    shape: Shape,
    chance: Chance,
    judge: Arc<Judge>,
    fleet: Fleet,
    source: Source,
    watch: Watch,
    later: Vec<(Instant, Later)>,
    /// Workers that are to be replaced, one after the other.
    deploying: VecDeque<Session>,
    /// The one that is being replaced.
    replaced: Option<Session>,
    waiting: usize,
    /// Whether an operator lets a worker go on where something was lost, while others stand still there.
    is_mended: bool,
}

/// Runs a seed; what went wrong, with the last that happened before it.
pub(crate) fn run(seed: u64, shape: &Shape) -> Result<Outcome, String> {
    in_simulated_time(async {
        let mut run = Run::new(seed, shape.clone());
        run.all().await;
        run.verdict(seed)?;
        let case = run.judge.case();
        Ok(Outcome { counts: case.counts.clone(), digest: case.digest })
    })
}

fn in_simulated_time<T>(run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(run)
}

impl Run {
    fn new(seed: u64, shape: Shape) -> Self {
        let stream = ScriptedStreams::new("Orders");
        let table = MemoryState::new("simulation", clock(&stream));
        let rows = Arc::new(Rows::default());
        let judge = Judge::new(stream.arn(), table.clone(), rows.clone(), shape.settings.ttl);
        let chance = Chance::of(seed, "source");
        let mut source = Source::new(stream.clone(), judge.clone(), chance, shape.shards, shape.items);
        let mut start = Checkpoint::TrimHorizon;
        if shape.latest {
            let since = stream.now_ms() / 1_000 + 60;
            source.asked_since(since);
            source.write(shape.items * 4);
            stream.advance(Duration::from_secs(60));
            start = Checkpoint::Since(since);
        }
        let settings = shape.settings.clone();
        let fleet = Fleet::new(seed, stream, table, rows, judge.clone(), settings, start);
        Self {
            watch: Watch::new(&shape.settings, shape.look),
            shape,
            chance: Chance::of(seed, "run"),
            judge,
            fleet,
            source,
            later: Vec::new(),
            deploying: VecDeque::new(),
            replaced: None,
            waiting: 0,
            is_mended: false,
        }
    }

    /// What went wrong, with the last that happened before it.
    fn verdict(&self, seed: u64) -> Result<(), String> {
        let (lines, shape) = (self.judge.lines(), &self.shape);
        match &self.judge.case().accusation {
            Some(wrong) => Err(format!("{lines}\nseed {seed}: {wrong}\n{shape:?}")),
            None => Ok(()),
        }
    }

    fn rows(&self) -> Vec<ShardRow> {
        self.fleet.table.shards(&self.judge.stream).now_or_never().unwrap().unwrap()
    }

    async fn all(&mut self) {
        self.fleet.slow = self.shape.slow;
        for _ in 0..self.shape.workers {
            self.fleet.start(Until::Told);
        }
        self.trouble().await;
        self.drain().await;
        self.stop().await;
        self.once().await;
        self.audit();
    }

    fn is_over(&self) -> bool {
        self.judge.case().accusation.is_some()
    }

    /// Things go wrong.
    async fn trouble(&mut self) {
        let end = Instant::now() + self.shape.trouble;
        let (mut write_at, mut trouble_at) = (Instant::now(), Instant::now());
        let mut look_at = Instant::now();
        while Instant::now() < end && !self.is_over() {
            if write_at <= Instant::now() {
                let count = self.chance.within(1..self.shape.burst);
                self.source.write(count);
                write_at = Instant::now() + self.chance.millis(self.shape.writes.clone());
            }
            if trouble_at <= Instant::now() {
                let kind = *self.chance.pick(&self.shape.kinds);
                self.happens(kind);
                trouble_at = Instant::now() + self.chance.millis(self.shape.pace.clone());
            }
            if look_at <= Instant::now() {
                self.look();
                look_at = Instant::now() + self.shape.look;
            }
            let later = self.later.iter().map(|(at, _)| *at);
            let next = later.chain([write_at, trouble_at, look_at, end]).min().unwrap();
            tokio::time::sleep_until(next).await;
            self.undo(Instant::now());
        }
    }

    fn look(&mut self) {
        for _ in 0..self.fleet.reap() {
            // As a service manager does with a process that failed.
            self.restart();
        }
        self.deploy();
        let (fleet, table) = (&self.fleet.standing, &self.fleet.table);
        self.waiting = self.watch.look(&self.judge, table, fleet);
    }

    fn restart(&mut self) {
        let at = Instant::now() + self.chance.millis(300..6_000);
        self.later.push((at, Later::Start));
    }

    /// Goes on with a deploy: the next worker is stopped when the last one is replaced.
    fn deploy(&mut self) {
        if let Some(session) = &self.replaced {
            if self.fleet.is_running(session) {
                return;
            }
            self.replaced = None;
            self.fleet.start(Until::Told);
        }
        self.replaced = self.deploying.pop_front();
        if let Some(session) = &self.replaced {
            self.fleet.stop(session);
        }
    }

    /// Undoes what is due.
    fn undo(&mut self, now: Instant) {
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now);
        self.later = later;
        for (_, due) in due {
            match due {
                Later::Thaw(session) if self.fleet.is_running(&session) => self.fleet.freeze(&session, false),
                Later::Heal(session, channel) if self.fleet.is_running(&session) => {
                    self.fleet.weather(&session, channel, Fault::default());
                }
                Later::Thaw(_) | Later::Heal(..) => {}
                Later::Start => drop(self.fleet.start(Until::Told)),
            }
        }
    }

    fn happens(&mut self, kind: Kind) {
        let working = self.fleet.working();
        let ttl = self.shape.settings.ttl.as_millis() as u64;
        let some = |chance: &mut Chance| (!working.is_empty()).then(|| chance.pick(&working).clone());
        let session = some(&mut self.chance);
        match (kind, session) {
            (Kind::Split, _) if self.source.there().count() < 3 * self.shape.shards as usize + 4 => {
                self.source.split();
            }
            (Kind::Kill, Some(session)) => {
                self.judge.count("kill");
                self.fleet.kill(&session);
                if self.chance.percent(70) || working.len() == 1 {
                    self.restart();
                }
            }
            (Kind::Stall, Some(session)) => {
                self.judge.count("stall");
                let long = self.chance.millis(100..ttl * 5 / 2);
                self.fleet.freeze(&session, true);
                self.later.push((Instant::now() + long, Later::Thaw(session)));
            }
            (Kind::Cut(channel), Some(session)) => {
                self.judge.count("cut");
                self.strikes(session, channel, Fault { cut: true, ..Fault::default() }, ttl * 2);
            }
            (Kind::Throttle, Some(session)) => {
                let throttled = self.chance.within(5..70);
                let channel = *self.chance.pick(&CHANNELS);
                self.strikes(session, channel, Fault { throttled, ..Fault::default() }, ttl);
            }
            (Kind::Loss, Some(session)) => {
                let lossy = self.chance.within(5..50);
                let channel = *self.chance.pick(&CHANNELS);
                self.strikes(session, channel, Fault { lossy, ..Fault::default() }, ttl);
            }
            (Kind::Slow, Some(session)) => {
                let slow = self.chance.within(100..6_000);
                self.strikes(session, Channel::Sink, Fault { slow, ..Fault::default() }, ttl * 2);
            }
            (Kind::Deploy, _) if self.deploying.is_empty() && self.replaced.is_none() => {
                self.judge.count("deploy");
                self.deploying = working.into();
            }
            (Kind::Join, _) if self.fleet.count() < 6 => drop(self.fleet.start(Until::Told)),
            (Kind::Leave, Some(session)) if working.len() > 1 => self.fleet.stop(&session),
            (Kind::Expire, _) => self.source.advance(Duration::from_secs(16 * 60)),
            (Kind::Trim, _) => self.source.trim(),
            (Kind::Forget, _) => self.source.forget(),
            (Kind::Night, _) => self.night(&working),
            _ => {}
        }
    }

    fn strikes(&mut self, session: Session, channel: Channel, fault: Fault, at_most: u64) {
        self.fleet.weather(&session, channel, fault);
        let long = self.chance.millis(200..at_most);
        self.later.push((Instant::now() + long, Later::Heal(session, channel)));
    }

    /// Nobody works for a long time.
    fn night(&mut self, working: &[Session]) {
        self.judge.count("night");
        for session in working {
            self.fleet.kill(session);
            self.restart();
        }
        let hours = *self.chance.pick(&[1, 5, 25, 100]);
        self.source.advance(Duration::from_secs(hours * 3_600));
    }

    /// Nothing goes wrong any more: everything has to be done soon.
    async fn drain(&mut self) {
        self.fleet.slow = 0;
        for session in self.fleet.working() {
            for channel in CHANNELS {
                self.fleet.weather(&session, channel, Fault::default());
            }
            self.fleet.freeze(&session, false);
        }
        self.deploying.clear();
        if self.shape.settings.on_gap == OnGap::Halt && self.chance.percent(60) {
            self.judge.count("mend");
            self.is_mended = true;
            self.fleet.go_on();
            self.fleet.start(Until::Told);
        }
        if !self.is_over() {
            self.source.write_all();
        }
        let end = Instant::now() + DRAIN + self.shape.settings.ttl;
        while !self.is_over() {
            self.undo(Instant::now());
            self.look();
            if self.fleet.working().is_empty() && self.later.is_empty() && self.replaced.is_none() {
                self.fleet.start(Until::Told);
            }
            let Some(undone) = self.undone() else { return };
            if Instant::now() > end {
                return self.judge.accuse(format!("it is not done in time: {undone}"));
            }
            tokio::time::sleep(self.shape.look).await;
        }
    }

    /// What is still to be done.
    fn undone(&self) -> Option<String> {
        if self.waiting > 0 {
            return Some(format!("{} shards are nobody's", self.waiting));
        }
        for shard in self.source.there() {
            let row = self.fleet.table.row(&self.judge.stream, &shard);
            match row {
                None => return Some(format!("nobody knows shard {shard}")),
                Some(row) if row.state == ShardState::Gap && self.is_mended => {
                    return Some(format!("it stands still: {row:?}"));
                }
                Some(row) if row.state == ShardState::Open && !self.source.is_open(&shard) => {
                    if !self.is_held_up(&shard) {
                        return Some(format!("it has not ended: {row:?}"));
                    }
                }
                Some(_) => {}
            }
        }
        let mut case = self.judge.case();
        let record = case.books.unsettled(|shard| self.is_wanted(shard));
        record.map(|record| format!("{record:?}"))
    }

    /// Whether somebody knows a shard, and may read it.
    fn is_wanted(&self, shard: &str) -> bool {
        self.fleet.table.row(&self.judge.stream, shard).is_some() && !self.is_held_up(shard)
    }

    /// Whether a shard waits for an operator, or for one that does.
    fn is_held_up(&self, shard: &str) -> bool {
        if self.is_mended {
            return false;
        }
        let row = self.fleet.table.row(&self.judge.stream, shard);
        row.is_some_and(|row| {
            row.state == ShardState::Gap || row.parent.is_some_and(|parent| self.is_held_up(&parent))
        })
    }

    /// All workers stop, and leave nothing behind.
    async fn stop(&mut self) {
        while !self.is_over() {
            self.fleet.reap();
            let working = self.fleet.working();
            if let Some(session) = working.first() {
                self.fleet.stop(session);
            } else if self.fleet.count() == 0 {
                break;
            }
            tokio::time::sleep(self.shape.look).await;
        }
        if self.is_over() {
            return;
        }
        for row in self.rows() {
            let is_done = matches!(row.state, ShardState::Ended | ShardState::Gap);
            // What went to one that had died is found when that is known.
            let went = |owner: &Session| {
                let standing = &self.fleet.standing[owner];
                standing.has_left || !standing.is_leaving || standing.disturbed_at.is_some()
            };
            if !is_done && !row.owner.as_ref().is_none_or(went) {
                self.judge.accuse(format!("all have stopped, and somebody owns {row:?}"));
            }
        }
    }

    /// A worker that ends when everything is done finds nothing to do.
    async fn once(&mut self) {
        if self.is_over() {
            return;
        }
        let session = self.fleet.start(Until::Drained);
        let end = Instant::now() + ONCE;
        while self.fleet.count() > 0 && !self.is_over() {
            if Instant::now() > end {
                return self.judge.accuse("a worker that shall end when all is done does not".to_owned());
            }
            tokio::time::sleep(self.shape.look).await;
            self.fleet.reap();
        }
        if self.judge.case().again.get(&session).is_some_and(|count| *count > 0) {
            self.judge.accuse("what was done before all stopped in good order was done again".to_owned());
        }
    }

    /// The end: what is there is what has to be there.
    fn audit(&self) {
        if self.is_over() {
            return;
        }
        let wrong = {
            let case = self.judge.case();
            let untold = case.books.untold(|shard| self.is_wanted(shard));
            untold.or_else(|| case.books.differs(|id| self.fleet.rows.row(id)))
        };
        if let Some(wrong) = wrong {
            self.judge.accuse(wrong);
        }
        self.judge.note(&format!("{:?}", self.source.stream.calls()));
    }
}
