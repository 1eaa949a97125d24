//! Tells how many letters wait, as gauges. One worker counts for all, now and then: so it costs little, and sums over workers are right.
//!
//! A fault of the store or of the state table is told, and ends nothing: the gauges stay at the last count that was complete.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::complaint::Complaint;
use super::members::Members;
use super::shares;
use super::state::{Session, StateStore};
use super::{Health, Poller};
use crate::clock::Clock;
use crate::letters::{LetterStore, Tally, Waiting};
use crate::outcome::Fault;

/// How often letters are counted.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// Counting takes at most such a part of the time: who has a hundred thousand letters counts them less often.
const PART: u32 = 20;
/// How often the gauges are set, at least: one that nobody sets is soon not told any more.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// What stands for the letters when they are shared out like a shard.
const LETTERS: &str = "letters";

/// What counts the letters, if it is this worker's turn.
pub struct LetterGauges {
    letters: Arc<dyn LetterStore>,
    state: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    session: Session,
    health: watch::Receiver<Health>,
    members: Members,
    tell_every: Duration,
    projections: Vec<String>,
    /// The last count that was complete.
    tally: Option<Tally>,
    uncounted: Complaint,
}

type Counting = BoxFuture<'static, (Result<Waiting, Fault>, Duration)>;

impl LetterGauges {
    /// Gauges for the letters of these projections, and of those that are no more. Counts nothing yet.
    pub fn new<'a>(poller: &Poller, projections: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            letters: poller.pipeline.letters.clone(),
            state: poller.state.clone(),
            clock: poller.pipeline.clock.clone(),
            session: poller.session.clone(),
            health: poller.health.subscribe(),
            members: Members::new(poller.session.clone(), poller.settings.ttl),
            tell_every: TELL_EVERY.min(poller.settings.ttl),
            projections: projections.into_iter().map(str::to_owned).collect(),
            tally: None,
            uncounted: Complaint::default(),
        }
    }

    /// Counts and tells until it is dropped, or at once no more where the store cannot count.
    pub async fn run(mut self) {
        // Nobody gives a turn to a worker that has not joined the others.
        if self.health.wait_for(|health| health.beaten.is_some()).await.is_err() {
            return;
        }
        let mut ticks = tokio::time::interval(self.tell_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut counting, mut count_at): (Option<Counting>, _) = (None, Instant::now());
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if !self.is_our_turn().await {
                        (self.tally, counting, count_at) = (None, None, Instant::now());
                    } else if counting.is_none() && Instant::now() >= count_at {
                        counting = Some(self.count());
                    }
                    self.tell();
                }
                (waiting, took) = next(&mut counting) => {
                    (counting, count_at) = (None, Instant::now() + COUNT_EVERY.max(took * PART));
                    if !self.counted(waiting) {
                        return;
                    }
                    self.tell();
                }
            }
        }
    }

    /// Every worker comes to the same result. Letters that only this host sees, nobody else counts.
    async fn is_our_turn(&mut self) -> bool {
        if !self.letters.is_shared() {
            return true;
        }
        // The poller itself tells of a state table that cannot be read; meanwhile it is the turn of whose turn it was.
        if let Ok(rows) = self.state.workers().await {
            self.members.observe(rows, Instant::now());
        }
        shares::owner_of(LETTERS, self.members.live()) == Some(&self.session)
    }

    fn count(&self) -> Counting {
        let (letters, began) = (self.letters.clone(), Instant::now());
        async move { (letters.waiting().await, began.elapsed()) }.boxed()
    }

    /// Takes a count; `false` if there will be none.
    fn counted(&mut self, waiting: Result<Waiting, Fault>) -> bool {
        match waiting {
            // Whoever owns the queue has the numbers of the queue.
            Ok(Waiting::Messages(_)) => return false,
            Ok(Waiting::Letters(counted)) => {
                let mut tally = Tally::of_projections(self.projections.iter().map(String::as_str));
                tally.projections.extend(counted.projections);
                self.tally = Some(tally);
                self.uncounted = Complaint::default();
            }
            Err(fault) => {
                if let Some(told) = self.uncounted.met(Instant::now()) {
                    tracing::warn!(times = told.times, cause = %fault, "letters cannot be counted now");
                }
            }
        }
        true
    }

    fn tell(&self) {
        let (now, Some(tally)) = (self.clock.unix_seconds(), &self.tally) else { return };
        for (name, count) in &tally.projections {
            for (state, letters) in &count.letters {
                let labels = [("projection", name.clone()), ("state", (*state).to_owned())];
                metrics::gauge!("millstream_letters", &labels).set(*letters as f64);
            }
            let age = count.oldest.map_or(0, |oldest| now.saturating_sub(oldest));
            metrics::gauge!("millstream_oldest_letter_seconds", "projection" => name.clone()).set(age as f64);
        }
    }
}

/// The end of a count that is under way; never, where none is.
async fn next(counting: &mut Option<Counting>) -> (Result<Waiting, Fault>, Duration) {
    match counting {
        Some(counting) => counting.await,
        None => std::future::pending().await,
    }
}
