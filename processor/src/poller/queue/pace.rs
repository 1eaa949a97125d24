//! How often and how much is received: more side by side while there are messages, little and seldom while nothing gets done.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::outcome::FaultKind;
use crate::sqs::BATCH;

/// How many receives are under way at once.
const RECEIVES: usize = 8;
/// An empty answer is not asked for again sooner than this after it was: who does not wait as asked is not to be flooded.
const EMPTY: Duration = Duration::from_secs(1);
/// How long the queue is left alone after a fault that may pass: at first, and at most.
const FAULT: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];
/// How long it is left alone after a batch of which nothing could be done, or while it may not be read; likewise.
const NOTHING: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// How long a message waits that could not be done, by how often it was received: at first, and at most.
const BACK: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(300)];

/// Chance: a number from 0 up to 1.
pub(super) type Chance = Arc<dyn Fn() -> f64 + Send + Sync>;

/// When to receive next.
pub(super) struct Pace {
    chance: Chance,
    /// How many receives may be under way.
    wanted: usize,
    receive_at: Instant,
    fault: Duration,
    nothing: Duration,
    /// What failed last, if that was one message or group.
    stuck: Option<Arc<str>>,
}

impl Pace {
    pub(super) fn new(chance: Chance, now: Instant) -> Self {
        let (fault, nothing) = (Duration::ZERO, Duration::ZERO);
        Self { chance, wanted: 1, receive_at: now, fault, nothing, stuck: None }
    }

    /// How many messages to ask for now, while so many receives are under way; none if it is not the time.
    pub(super) fn most(&self, receives: usize, has_work: bool, now: Instant) -> Option<usize> {
        let is_slow = !self.nothing.is_zero();
        match (now < self.receive_at, is_slow) {
            (true, _) => None,
            (false, false) => (receives < self.wanted).then_some(BATCH),
            // One message tells whether it is better: each receive that leads to nothing counts for the queue's redrive policy.
            (false, true) => (receives == 0 && !has_work).then_some(1),
        }
    }

    /// When the next receive may begin.
    pub(super) fn receive_at(&self) -> Instant {
        self.receive_at
    }

    /// A receive that began then gave so many messages.
    pub(super) fn received(&mut self, count: usize, began: Instant) {
        self.fault = Duration::ZERO;
        self.wanted = if count == 0 { 1 } else { (self.wanted + 1).min(RECEIVES) };
        if count == 0 {
            self.receive_at = self.receive_at.max(began + EMPTY);
        }
    }

    /// The queue did not give an answer.
    pub(super) fn failed(&mut self, kind: FaultKind, now: Instant) {
        self.wanted = 1;
        if !self.fault.is_zero() && now < self.receive_at {
            return;
        }
        let limits = if kind == FaultKind::Misconfigured { NOTHING } else { FAULT };
        self.fault = (self.fault * 2).clamp(limits[0], limits[1]);
        self.wait(self.fault, now);
    }

    /// Nothing of a batch could be done, and `alone` is the one message or group that it was about, if there was one. Batches
    /// that ran side by side count once. What fails again and again alone waits for itself, and holds up no other.
    pub(super) fn nothing_done(&mut self, alone: Option<Arc<str>>, now: Instant) {
        let is_known = alone.is_some() && alone == self.stuck;
        self.stuck = alone;
        if !self.nothing.is_zero() && now < self.receive_at {
            return;
        }
        self.wanted = 1;
        if !is_known {
            self.nothing = (self.nothing * 2).clamp(NOTHING[0], NOTHING[1]);
        }
        self.wait(self.nothing, now);
    }

    /// Something of a batch was done.
    pub(super) fn some_done(&mut self) {
        (self.nothing, self.stuck) = (Duration::ZERO, None);
    }

    /// In how many whole seconds a message shall come again that was received so often.
    pub(super) fn back_in(&self, count: u32) -> Duration {
        let doubled = BACK[0] * 2_u32.saturating_pow(count.saturating_sub(1).min(16));
        Duration::from_secs_f64(self.jittered(doubled.min(BACK[1])).as_secs_f64().ceil())
    }

    fn wait(&mut self, time: Duration, now: Instant) {
        self.receive_at = self.receive_at.max(now + self.jittered(time));
    }

    /// Half of it for sure, the rest by chance: workers that were stopped by the same thing do not come back together.
    fn jittered(&self, time: Duration) -> Duration {
        time.mul_f64(0.5 + (self.chance)() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(chance: f64) -> (Pace, Instant) {
        let now = Instant::now();
        (Pace::new(Arc::new(move || chance), now), now)
    }

    #[track_caller]
    fn check_waits(pace: &mut Pace, now: Instant, again: impl Fn(&mut Pace, Instant), seconds: &[f64]) {
        let mut now = now;
        for expected in seconds {
            again(pace, now);
            let at = pace.receive_at();
            assert_eq!((at - now).as_secs_f64(), *expected);
            again(pace, now);
            assert_eq!(pace.receive_at(), at, "what went wrong at once counts once");
            now = at;
        }
    }

    #[test]
    fn receives_grow_with_the_messages_and_end_with_them() {
        let (mut pace, now) = pace(0.0);
        assert_eq!(pace.most(0, false, now), Some(BATCH));
        assert_eq!(pace.most(1, false, now), None, "one waits for all that may come");
        for _ in 0..20 {
            pace.received(1, now);
        }
        assert_eq!((pace.most(7, true, now), pace.most(8, true, now)), (Some(BATCH), None));
        pace.received(0, now);
        assert_eq!(pace.most(0, false, now), None, "an answer that came at once is not asked for at once");
        let later = now + EMPTY;
        assert_eq!((pace.most(0, true, later), pace.most(1, true, later)), (Some(BATCH), None));
    }

    #[test]
    fn a_fault_is_waited_out_and_forgotten_by_an_answer() {
        let (mut pace, now) = pace(1.0);
        let throttled = |pace: &mut Pace, now| pace.failed(FaultKind::Throttled, now);
        check_waits(&mut pace, now, throttled, &[0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]);
        let later = pace.receive_at();
        pace.received(1, later);
        check_waits(&mut pace, later, throttled, &[0.2, 0.4]);
    }

    #[test]
    fn while_nothing_gets_done_one_message_is_tried_now_and_then() {
        let (mut pace, now) = pace(1.0);
        let nothing = |pace: &mut Pace, now| pace.nothing_done(None, now);
        check_waits(&mut pace, now, nothing, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
        let later = pace.receive_at();
        assert_eq!(pace.most(0, false, now), None);
        assert_eq!((pace.most(0, false, later), pace.most(0, true, later)), (Some(1), None));
        assert_eq!(pace.most(1, false, later), None);
        pace.some_done();
        assert_eq!(pace.most(0, true, later), Some(BATCH));
    }

    #[test]
    fn a_message_that_fails_again_and_again_holds_up_no_other() {
        let (mut pace, mut now) = pace(1.0);
        let mut fail = |pace: &mut Pace, name: &str, seconds| {
            pace.nothing_done(Some(name.into()), now);
            assert_eq!(pace.receive_at() - now, Duration::from_secs(seconds), "{name}");
            now = pace.receive_at();
        };
        for _ in 0..10 {
            fail(&mut pace, "one", 1);
        }
        fail(&mut pace, "two", 2);
        fail(&mut pace, "one", 4);
        fail(&mut pace, "one", 4);
        pace.some_done();
        fail(&mut pace, "one", 1);
    }

    #[test]
    fn a_message_comes_back_later_each_time_in_whole_seconds() {
        let (low, high) = (pace(0.0).0, pace(0.999).0);
        let in_seconds = |pace: &Pace| [1, 2, 3, 8, 9, 1_000].map(|count| pace.back_in(count).as_secs());
        assert_eq!(in_seconds(&low), [1, 2, 4, 128, 150, 150]);
        assert_eq!(in_seconds(&high), [2, 4, 8, 256, 300, 300]);
    }
}
