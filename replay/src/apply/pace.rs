//! How fast letters are taken up, and when no more are: rate, limit, failures, and a hand on the brake.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// As good as never, and within what every clock can hold.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A hand on the brake. Clones are one brake.
#[derive(Debug, Clone)]
pub struct Brake(Arc<watch::Sender<bool>>);

impl Default for Brake {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Brake {
    /// Lets nothing new start. What is under way ends.
    pub fn pull(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was pulled.
    pub fn is_pulled(&self) -> bool {
        *self.0.borrow()
    }

    async fn pulled(&self) {
        let mut pulled = self.0.subscribe();
        // The sender lives as long as this does.
        let _ = pulled.wait_for(|pulled| *pulled).await;
    }
}

/// The limits of one apply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// The shortest time between the starts of two letters.
    pub interval: Option<Duration>,
    /// The most letters that are taken up.
    pub limit: Option<u64>,
    /// After so many failures nothing new starts.
    pub stop_after: Option<u64>,
    /// How many keys are worked on side by side.
    pub concurrency: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { interval: None, limit: None, stop_after: None, concurrency: 8 }
    }
}

/// Why no more letters were taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The brake was pulled.
    Brake,
    /// As many letters as were asked for.
    Limit,
    /// As many failures as were allowed.
    Failures,
}

/// Lets letters start.
pub(super) struct Gate<'a> {
    pace: Pace,
    brake: &'a Brake,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    started: u64,
    failures: u64,
    /// When the next letter may start.
    next: Option<Instant>,
    stopped: Option<Stopped>,
}

impl<'a> Gate<'a> {
    pub(super) fn new(pace: Pace, brake: &'a Brake) -> Self {
        Self { pace, brake, state: Mutex::default() }
    }

    /// Waits for a letter's turn; `false` if nothing more is to start.
    pub(super) async fn admit(&self) -> bool {
        let Some(at) = self.turn() else { return false };
        tokio::select! {
            biased;
            () = self.brake.pulled() => {}
            () = tokio::time::sleep_until(at) => {}
        }
        // What happened while it waited counts.
        let mut state = self.lock();
        let stopped = self.stop(&state);
        state.stopped = state.stopped.or(stopped);
        if stopped.is_some() {
            state.started -= 1;
        }
        stopped.is_none()
    }

    pub(super) fn failed(&self) {
        self.lock().failures += 1;
    }

    pub(super) fn stopped(&self) -> Option<Stopped> {
        self.lock().stopped
    }

    /// When the next letter may start. The turn is taken with it.
    fn turn(&self) -> Option<Instant> {
        let mut state = self.lock();
        let full = self.pace.limit.is_some_and(|limit| state.started >= limit);
        if let Some(stopped) = self.stop(&state).or(full.then_some(Stopped::Limit)) {
            state.stopped = state.stopped.or(Some(stopped));
            return None;
        }
        state.started += 1;
        let now = Instant::now();
        let at = state.next.map_or(now, |next| next.max(now));
        // A time that the clock cannot hold never comes.
        state.next = self.pace.interval.map(|interval| at.checked_add(interval).unwrap_or(at + NEVER));
        Some(at)
    }

    fn stop(&self, state: &State) -> Option<Stopped> {
        let failures = self.pace.stop_after.is_some_and(|most| state.failures >= most);
        self.brake.is_pulled().then_some(Stopped::Brake).or(failures.then_some(Stopped::Failures))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_spaces_the_starts_and_no_idle_time_is_saved_up() {
        let brake = Brake::default();
        let pace = Pace { interval: Some(Duration::from_millis(500)), ..Pace::default() };
        let gate = Gate::new(pace, &brake);
        let start = Instant::now();
        for expected in [0, 500, 1_000] {
            assert!(gate.admit().await);
            assert_eq!(start.elapsed(), Duration::from_millis(expected));
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        let start = Instant::now();
        for expected in [0, 500] {
            assert!(gate.admit().await);
            assert_eq!(start.elapsed(), Duration::from_millis(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_no_clock_holds_never_comes() {
        let brake = Brake::default();
        let gate = Gate::new(Pace { interval: Some(Duration::MAX), ..Pace::default() }, &brake);
        assert!(gate.admit().await);
        let day = Duration::from_secs(24 * 60 * 60);
        assert!(tokio::time::timeout(day, gate.admit()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_and_the_failures_stop_it() {
        let brake = Brake::default();
        let gate = Gate::new(Pace { limit: Some(2), ..Pace::default() }, &brake);
        assert!(gate.admit().await && gate.admit().await && !gate.admit().await);
        assert_eq!(gate.stopped(), Some(Stopped::Limit));

        let gate = Gate::new(Pace { stop_after: Some(2), ..Pace::default() }, &brake);
        gate.failed();
        assert!(gate.admit().await);
        gate.failed();
        assert!(!gate.admit().await);
        assert_eq!(gate.stopped(), Some(Stopped::Failures));
    }

    #[tokio::test(start_paused = true)]
    async fn the_brake_wakes_those_that_wait_for_their_turn() {
        let brake = Brake::default();
        let pace = Pace { interval: Some(Duration::from_secs(3_600)), ..Pace::default() };
        let gate = Gate::new(pace, &brake);
        assert!(gate.admit().await);
        let pull = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            brake.pull();
        };
        let start = Instant::now();
        let (admitted, ()) = tokio::join!(gate.admit(), pull);
        assert!(!admitted);
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
}
