//! What becomes of what the stream answers: records for the desk, and when it is asked again.

use std::time::Duration;

use aws_sdk_dynamodbstreams::types::Record;
use tokio::time::Instant;

use super::{BACKOFF, Ended, Work};
use crate::outcome::{Fault, FaultKind};
use crate::poller::cursor::Page;
use crate::poller::desk;
use crate::source::stream_record;

/// How many pages without records make it likely that there is nothing to read: a stream can give some on the way to records.
pub(super) const EMPTY_PAGES: u32 = 5;
/// A page has at most so many records, and about so many bytes: there is more, most likely.
const FULL: usize = 1_000;
const FULL_BYTES: u64 = 900_000;
/// Who is so many seconds behind asks for the next page at once. The stream tells times in whole seconds.
const BEHIND: u64 = 2;
/// An iterator that was too old, and a new one.
const USUAL_AGAINS: u32 = 3;
/// How soon a shard is asked for again that the stream does not know.
const AGAIN: Duration = Duration::from_secs(3);
impl Work {
    /// What a read gave.
    pub(super) async fn read(&mut self, page: Result<Page, Fault>) -> Option<Ended> {
        match page {
            Ok(Page::Again) => {
                self.agains += 1;
                if self.agains > USUAL_AGAINS {
                    self.read_at = Instant::now() + BACKOFF[0];
                }
                None
            }
            Ok(Page::Records { records, ended }) => {
                self.took(records, ended);
                None
            }
            // What was read before is brought to its end first: a gap is as small as it can be.
            Ok(Page::Gone) if !self.was_gone => {
                (self.was_gone, self.read_at) = (true, Instant::now() + AGAIN);
                None
            }
            Ok(gap @ (Page::Trimmed | Page::Gone)) => {
                self.gap_met = Some(matches!(gap, Page::Gone));
                None
            }
            Err(fault) => {
                self.backoff = (self.backoff * 2).clamp(BACKOFF[0], BACKOFF[1]);
                self.read_at = Instant::now() + self.backoff;
                let is_wrong = matches!(fault.kind, FaultKind::Misconfigured | FaultKind::Rejected);
                self.unreadable = is_wrong.then(|| fault.to_string());
                if let Some(told) = self.unread.met(Instant::now()) {
                    let (shard, times) = (&self.claim.shard, told.times);
                    tracing::warn!(%shard, times, cause = %fault, "shard cannot be read now");
                }
                None
            }
        }
    }

    fn took(&mut self, records: Vec<Record>, ended: bool) {
        (self.backoff, self.at_end, self.unreadable) = (Duration::ZERO, ended, None);
        (self.agains, self.was_gone) = (0, false);
        self.unread.went();
        self.behind.page(self.shared.pipeline.clock.unix_seconds(), ended);
        self.was_open |= !ended;
        self.empty_pages = if records.is_empty() { self.empty_pages.saturating_add(1) } else { 0 };
        let (count, mut size, mut newest) = (records.len(), 0, None);
        for record in records {
            let bytes = record.dynamodb().and_then(|body| body.size_bytes()).unwrap_or_default();
            let bytes = u64::try_from(bytes).unwrap_or_default();
            let number = record.dynamodb().and_then(|body| body.sequence_number());
            self.ends_gap(number);
            let delivery = stream_record::decode(record, &self.shared.source, &self.claim.stream);
            let made = delivery.change.as_ref().ok().and_then(|change| change.created_at);
            (size, newest) = (size + bytes, made.max(newest));
            // The checkpoint stays where it is until something is done: else the next owner would not know what to skip.
            if self.since.is_none_or(|since| made.is_none_or(|made| made >= since)) {
                if let Some(sequence) = desk::sequence(&delivery) {
                    self.behind.read(sequence, made);
                }
                self.desk.put(delivery, bytes);
            }
        }
        self.weigh(self.desk.bytes());
        let age = newest.map_or(0, |made| self.shared.pipeline.clock.unix_seconds().saturating_sub(made));
        let goes_on = count >= FULL || size >= FULL_BYTES || age >= BEHIND;
        self.read_at = self.asked_at + self.pace(count == 0, ended || goes_on);
        self.tell();
    }

    /// How long after a request the next one comes: at once while there is more to read, soon while records come, and later
    /// each time when there are none. A few pages without records can come although there is more.
    fn pace(&mut self, is_empty: bool, goes_on: bool) -> Duration {
        let settings = &self.shared.settings;
        self.idle = match is_empty {
            true if self.empty_pages < EMPTY_PAGES => settings.busy,
            true => (self.idle * 2).max(settings.busy).min(settings.idle),
            false => Duration::ZERO,
        };
        match (goes_on, is_empty) {
            (true, _) => Duration::ZERO,
            (false, true) => self.idle,
            (false, false) => settings.busy,
        }
    }
}
