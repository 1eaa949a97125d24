//! Tells of a trouble that comes again and again: once, then at growing intervals, and once when it is over.

use std::time::Duration;

use tokio::time::Instant;

/// How long it is not told of again: at first, and at most.
const SILENCE: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(3_600)];
/// A trouble is over only when it has not come back for so long: what comes and goes is one.
const CALM: Duration = Duration::from_secs(10);

/// One kind of trouble of one thing.
#[derive(Debug, Default)]
pub(super) struct Complaint(Option<Spell>);

/// A trouble that is not over.
#[derive(Debug)]
struct Spell {
    began: Instant,
    last: Instant,
    is_on: bool,
    times: u64,
    silence: Duration,
    speak_at: Instant,
}

/// How often something was met, and over what time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) times: u64,
    seconds: u64,
}

impl Spell {
    fn told(&self) -> Told {
        Told { times: self.times, seconds: self.last.duration_since(self.began).as_secs() }
    }
}

impl Complaint {
    /// The trouble was met, maybe again; what to tell, if it is time to.
    pub(super) fn met(&mut self, now: Instant) -> Option<Told> {
        let spell = self.0.get_or_insert(Spell {
            began: now,
            last: now,
            is_on: true,
            times: 0,
            silence: SILENCE[0],
            speak_at: now,
        });
        (spell.last, spell.is_on) = (now, true);
        spell.times += 1;
        if now < spell.speak_at {
            return None;
        }
        spell.speak_at = now + spell.silence;
        spell.silence = (spell.silence * 2).min(SILENCE[1]);
        Some(spell.told())
    }

    /// It is not there now.
    pub(super) fn went(&mut self) {
        if let Some(spell) = &mut self.0 {
            spell.is_on = false;
        }
    }

    /// Tells, once, that it is over.
    pub(super) fn tell_over(&mut self, shard: &str, what: &'static str) {
        if let Some(Told { times, seconds }) = self.over(Instant::now()) {
            tracing::info!(%shard, times, seconds, "{what}");
        }
    }

    fn over(&mut self, now: Instant) -> Option<Told> {
        let is_over = |spell: &mut Spell| !spell.is_on && now.duration_since(spell.last) >= CALM;
        self.0.take_if(is_over).map(|spell| spell.told())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told when a trouble is met (`!`), is gone (`.`), or is only looked after (` `), each a so many seconds later.
    #[track_caller]
    fn check(step: u64, steps: &str, expected: &[(usize, Option<Told>, Option<Told>)]) {
        let (start, mut complaint) = (Instant::now(), Complaint::default());
        let mut heard = Vec::new();
        for (place, what) in steps.chars().enumerate() {
            let now = start + Duration::from_secs(step * place as u64);
            let met = match what {
                '!' => complaint.met(now),
                '.' => {
                    complaint.went();
                    None
                }
                _ => None,
            };
            let over = complaint.over(now);
            if met.or(over).is_some() {
                heard.push((place, met, over));
            }
        }
        assert_eq!(heard, expected);
    }

    fn told(times: u64, seconds: u64) -> Option<Told> {
        Some(Told { times, seconds })
    }

    #[test]
    fn it_is_told_at_once_and_then_at_growing_intervals() {
        let met = |place: usize| (place, told(place as u64 + 1, 10 * place as u64), None);
        // After 0 s, 30 s, 90 s, 210 s, 450 s.
        check(10, &"!".repeat(50), &[met(0), met(3), met(9), met(21), met(45)]);
    }

    #[test]
    fn it_is_told_once_that_it_is_over_and_then_it_may_begin_anew() {
        check(
            5,
            "!.    !!. ",
            &[(0, told(1, 0), None), (2, None, told(1, 0)), (6, told(1, 0), None), (9, None, told(2, 5))],
        );
    }

    #[test]
    fn what_comes_and_goes_is_one_trouble() {
        check(5, "!.!.!.!..", &[(0, told(1, 0), None), (6, told(4, 30), None), (8, None, told(4, 30))]);
        check(5, "!        ", &[(0, told(1, 0), None)]);
    }

    #[test]
    fn the_intervals_grow_to_an_hour() {
        let (start, mut complaint) = (Instant::now(), Complaint::default());
        let at: Vec<u64> = (0..6 * 3_600)
            .filter(|second| complaint.met(start + Duration::from_secs(*second)).is_some())
            .collect();
        let last: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(last, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600, 3_600]);
    }
}
