//! Time and its limits. Waiting goes through tokio's clock, which tests can pause; the wall clock is injected here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Tells the time of day. Nothing is ever ordered by it: it dates letters and measures ages.
pub trait Clock: Send + Sync {
    /// Seconds since 1970.
    fn unix_seconds(&self) -> u64;
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_seconds(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

/// Until when a batch may be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    start_before: Option<Instant>,
    cut_at: Option<Instant>,
    end: Option<Instant>,
}

impl Deadline {
    /// No limit but that of the retries.
    pub const NONE: Self = Self { start_before: None, cut_at: None, end: None };

    /// Nothing starts within `margin` of `end`; what still runs after half the margin is given up as unfinished.
    pub fn before(end: Instant, margin: Duration) -> Self {
        let start_before = end.checked_sub(margin).unwrap_or(end);
        let cut_at = end.checked_sub(margin / 2).unwrap_or(end);
        Self { start_before: Some(start_before), cut_at: Some(cut_at), end: Some(end) }
    }

    /// The time that is left for letters when nothing else starts any more: without it a batch that always takes too
    /// long could never put aside what keeps it from its end.
    pub fn for_letters(&self) -> Self {
        let Some((cut_at, end)) = self.cut_at.zip(self.end) else { return *self };
        let left = end.duration_since(cut_at);
        Self { start_before: Some(cut_at + left / 2), cut_at: Some(cut_at + left * 3 / 4), end: Some(end) }
    }

    /// Whether something that waits for `wait` may still start after that.
    pub fn allows_start_in(&self, wait: Duration) -> bool {
        self.start_before.is_none_or(|end| Instant::now() + wait < end)
    }

    /// Runs `work` until the cut; `None` if it was given up, in which case nobody knows whether it was done.
    pub async fn cut<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self.cut_at {
            None => Some(work.await),
            Some(at) => tokio::time::timeout_at(at, work).await.ok(),
        }
    }
}
