//! Chance that a seed decides: the same numbers in every run, whatever else draws beside it.

use std::ops::Range;
use std::time::Duration;

/// A stream of numbers (SplitMix64): quick, and good enough to pick what goes wrong.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The numbers of one part of a run: parts that are named differently do not draw from each other.
    pub(crate) fn of(seed: u64, part: &str) -> Self {
        let mut chance = Self(seed);
        for byte in part.bytes() {
            chance.0 = chance.0.wrapping_mul(31).wrapping_add(u64::from(byte));
            chance.next();
        }
        chance
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// One of some things; there has to be one.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.within(0..of.len() as u64) as usize]
    }
}
