//! What a stream does that it need not do: decided by a seed and the number of the request.

use crate::faults::draw;

/// How long at most a child is not listed yet, or a closed shard is still listed as open.
const LATE_MS: u64 = 5_000;

/// The whims of one request, or of one change to the shards.
#[derive(Debug)]
pub(super) struct Whims {
    seed: u64,
    drawn: u64,
}

impl Whims {
    pub(super) fn of_request(seed: u64, number: u64) -> Self {
        Self { seed: draw(seed, 2 * number), drawn: 0 }
    }

    pub(super) fn of_change(seed: u64, number: u64) -> Self {
        Self { seed: draw(seed, 2 * number + 1), drawn: 0 }
    }

    /// True once in `n` times.
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.drawn += 1;
        draw(self.seed, self.drawn) % n.max(1)
    }

    /// How late a listing shows a change: in half of the cases not at all.
    pub(super) fn lateness_ms(&mut self) -> u64 {
        if self.one_in(2) { 0 } else { self.below(LATE_MS) }
    }

    pub(super) fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            all.swap(last, other);
        }
    }
}
