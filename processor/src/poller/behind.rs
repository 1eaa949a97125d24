//! Since when a shard is behind its stream, for whoever asks without reading the stream.
//!
//! It is stored with the checkpoint, and by itself only when a shard falls behind and when it has caught up: a shard where
//! nothing happens writes nothing.

use std::collections::VecDeque;
use std::time::Duration;

use millstream_projections::version::SequenceNumber;

use super::state::{ShardRow, ShardState};

/// In seconds. What was read a moment ago and is done says nothing of what the next page holds; only where that was made
/// long ago, more is to be expected.
const YOUNG: u64 = 5;
/// In seconds, beside the longest rest of an idle shard. One that could not be read for so long may be behind: nobody knows.
const DEAF: u64 = 15;

/// What is known of how far a shard is behind. All times are in seconds since 1970.
#[derive(Debug)]
pub(super) struct Behind {
    /// What its row said before this worker read anything.
    before: Option<u64>,
    /// When the records were made that are read and not done, in their order.
    open: VecDeque<(SequenceNumber, u64)>,
    /// When the newest record of the last page was made; none if that page was empty.
    newest: Option<u64>,
    /// When the stream last answered; none if it has nothing more to say.
    heard: Option<u64>,
    /// How long it may be silent, in seconds.
    silence: u64,
}

impl Behind {
    /// As the row says, until the first page comes. `idle` is how long the shard is left alone at most.
    pub(super) fn new(row: &ShardRow, idle: Duration, now: u64) -> Self {
        let is_read = row.state == ShardState::EndedNoChildren;
        Self {
            before: row.behind_since,
            open: VecDeque::new(),
            newest: None,
            heard: (!is_read).then_some(now),
            silence: 2 * idle.as_secs() + DEAF,
        }
    }

    /// A page came; its records follow. After the last page there is nothing more to hear.
    pub(super) fn page(&mut self, now: u64, is_last: bool) {
        (self.before, self.newest) = (None, None);
        self.heard = (!is_last).then_some(now);
    }

    /// A record was read; where nobody knows when it was made, as the one before it.
    pub(super) fn read(&mut self, sequence: SequenceNumber, made: Option<u64>) {
        let Some(made) = made.or(self.newest) else { return };
        self.newest = self.newest.max(Some(made));
        self.open.push_back((sequence, made));
    }

    /// All is done up to here.
    pub(super) fn done(&mut self, watermark: Option<&SequenceNumber>) {
        while self.open.front().is_some_and(|(sequence, _)| watermark.is_some_and(|at| sequence <= at)) {
            self.open.pop_front();
        }
    }

    /// Since when what was made is not done; none if nothing is known to wait.
    pub(super) fn since(&self, now: u64) -> Option<u64> {
        let oldest = self.open.front().map(|(_, made)| *made);
        let unread = self.newest.filter(|newest| now.saturating_sub(*newest) > YOUNG);
        let unheard = self.heard.filter(|heard| now.saturating_sub(*heard) > self.silence);
        [self.before, oldest.or(unread), unheard].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poller::acks::Acks;
    use crate::poller::state::Checkpoint;

    const NOW: u64 = 1_750_000_000;
    const IDLE: Duration = Duration::from_secs(5);

    fn number(number: u32) -> SequenceNumber {
        SequenceNumber::new(&number.to_string()).unwrap()
    }

    fn behind(behind_since: Option<u64>) -> Behind {
        let row = ShardRow {
            shard: "s".into(),
            parent: None,
            state: ShardState::Open,
            owner: None,
            epoch: 0,
            checkpoint: Checkpoint::TrimHorizon,
            acks: Acks::default(),
            trouble: None,
            behind_since,
            written_at: NOW,
        };
        Behind::new(&row, IDLE, NOW)
    }

    /// Pages of records, each made so long ago, the first of them number 1; how far all is done; and for how long the shard is
    /// behind, `quiet` seconds after the last page.
    #[track_caller]
    fn check(pages: &[&[u64]], done: u32, quiet: u64, expected: Option<u64>) {
        let mut behind = behind(Some(NOW - 1_000));
        let mut sequence = 0;
        for page in pages {
            behind.page(NOW, false);
            for ago in *page {
                sequence += 1;
                behind.read(number(sequence), Some(NOW - ago));
            }
        }
        let now = NOW + quiet;
        behind.done(Some(&number(done)));
        let since = behind.since(now);
        assert_eq!(since.map(|since| now - since), expected, "{pages:?}, done {done}");
    }

    #[test]
    fn a_shard_is_behind_by_its_oldest_record_that_is_not_done() {
        check(&[&[90, 60, 30]], 0, 0, Some(90));
        check(&[&[90, 60, 30]], 1, 0, Some(60));
        check(&[&[90], &[60]], 1, 10, Some(70));
        check(&[&[90, 60], &[]], 1, 0, Some(60));
        check(&[&[2, 1, 0]], 2, 0, Some(0));
    }

    #[test]
    fn where_all_is_done_that_was_read_more_may_be_there() {
        check(&[&[90, 60, 30]], 3, 0, Some(30));
        check(&[&[90, 60, 30], &[]], 3, 0, None);
        check(&[&[3, 2, 1]], 3, 0, None);
        check(&[&[]], 0, 25, None);
    }

    #[test]
    fn a_shard_that_cannot_be_read_is_behind_since_it_could() {
        check(&[&[]], 0, 26, Some(26));
        check(&[&[90], &[]], 1, 60, Some(60));
        check(&[&[90]], 0, 60, Some(150));
    }

    #[test]
    fn a_shard_that_has_ended_has_nothing_more_to_say() {
        let mut behind = behind(None);
        behind.page(NOW, true);
        assert_eq!(behind.since(NOW + 3_600), None);
        behind.read(number(1), Some(NOW - 9));
        assert_eq!(behind.since(NOW + 3_600), Some(NOW - 9));
    }

    #[test]
    fn before_the_first_page_the_row_knows_better() {
        check(&[], 0, 0, Some(1_000));
        assert_eq!(behind(None).since(NOW + 25), None);
        assert_eq!(behind(None).since(NOW + 26), Some(NOW));
    }

    #[test]
    fn a_record_of_an_unknown_time_is_as_old_as_the_one_before_it() {
        let mut behind = behind(None);
        behind.page(NOW, false);
        behind.read(number(1), None);
        assert_eq!(behind.since(NOW), None);
        behind.read(number(2), Some(NOW - 7));
        behind.read(number(3), None);
        behind.done(Some(&number(2)));
        assert_eq!(behind.since(NOW), Some(NOW - 7));
    }
}
