//! Waiting between attempts: exponential backoff with full jitter, on the `backoff` crate, which nothing else names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backoff::backoff::Backoff;
use backoff::exponential::{ExponentialBackoff, ExponentialBackoffBuilder};

use crate::clock::Deadline;
use crate::outcome::{Fault, Verdict};

/// How long and how often a write is tried again.
#[derive(Clone)]
pub struct RetryPolicy {
    /// The longest first wait.
    pub initial: Duration,
    /// The longest wait at all.
    pub max: Duration,
    /// No further attempt starts when this much time has passed since the first.
    pub elapsed: Duration,
    /// Chance: a number from 0 up to 1, drawn for each wait.
    pub chance: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl RetryPolicy {
    /// A policy with true chance.
    pub fn new(initial: Duration, max: Duration, elapsed: Duration) -> Self {
        Self { initial, max, elapsed, chance: Arc::new(rand::random::<f64>) }
    }

    /// Other waits, by the same chance.
    pub fn with(&self, initial: Duration, max: Duration, elapsed: Duration) -> Self {
        Self { initial, max, elapsed, chance: self.chance.clone() }
    }

    /// Starts counting the attempts at one thing.
    pub fn start(&self) -> Waits {
        let mut backoff = ExponentialBackoffBuilder::<TokioClock>::new()
            .with_initial_interval(self.initial)
            .with_max_interval(self.max)
            .with_multiplier(2.0)
            // The crate jitters around the interval; full jitter, which spreads best, is drawn below.
            .with_randomization_factor(0.0)
            .with_max_elapsed_time(Some(self.elapsed))
            .build();
        // The builder starts at the machine's own time, whatever clock it is given.
        backoff.reset();
        Waits { backoff, chance: self.chance.clone() }
    }

    /// Runs `attempt` until it ends, its fault is not one to retry, or no time is left.
    ///
    /// `Err` with a transient kind means that the time was used up by retries.
    pub async fn run<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        deadline: Deadline,
        doing: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Fault> {
        let mut waits: Option<Waits> = None;
        let mut wait = Duration::ZERO;
        loop {
            if !deadline.allows_start_in(wait) {
                return Err(Fault::out_of_time(doing));
            }
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let Some(result) = deadline.cut(attempt()).await else {
                return Err(Fault::out_of_time(doing));
            };
            let fault = match result {
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            };
            match fault.kind.verdict() {
                Verdict::Unfinished | Verdict::Letter => return Err(fault),
                Verdict::Retry => match waits.get_or_insert_with(|| self.start()).next_wait() {
                    Some(next) if deadline.allows_start_in(next) => wait = next,
                    Some(_) | None => return Err(fault),
                },
            }
        }
    }
}

/// The waits between the attempts at one thing.
pub struct Waits {
    backoff: ExponentialBackoff<TokioClock>,
    chance: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl Waits {
    /// How long to wait before the next attempt; `None` when there shall be none.
    pub fn next_wait(&mut self) -> Option<Duration> {
        self.backoff.next_backoff().map(|interval| interval.mul_f64((self.chance)()))
    }
}

/// Tokio's clock for the `backoff` crate, so that paused time in tests is the only time there is.
#[derive(Debug, Clone, Copy, Default)]
struct TokioClock;

impl backoff::Clock for TokioClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}
