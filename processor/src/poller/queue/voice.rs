//! What a queue's reader tells: its log, its lag, and whether something has to be mended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::QueueReader;
use super::complaint::Complaint;
use crate::meter;
use crate::outcome::{Fault, FaultKind};

/// How often the lag is told while nothing happens.
const TELL: Duration = Duration::from_secs(5);

/// Tells of one queue.
pub(super) struct Voice {
    reader: Arc<QueueReader>,
    receives: Complaint,
    batches: Complaint,
    deletes: Complaint,
    sights: Complaint,
    /// When the oldest message was sent that was received and is not known to be done, in seconds since 1970.
    oldest: Option<u64>,
    tell_at: Instant,
}

impl Voice {
    pub(super) fn new(reader: Arc<QueueReader>) -> Self {
        Self {
            reader,
            receives: Complaint::default(),
            batches: Complaint::default(),
            deletes: Complaint::default(),
            sights: Complaint::default(),
            oldest: None,
            tell_at: Instant::now(),
        }
    }

    /// When there is something to be told although nothing happened.
    pub(super) fn tell_at(&self) -> Instant {
        self.tell_at
    }

    /// The queue answered. `oldest` is when the oldest message in hand was sent.
    pub(super) fn received(&mut self, oldest: Option<u64>) {
        if self.receives.settle() {
            tracing::info!(source = %self.reader.source, "queue can be read again");
        }
        if oldest.is_some() {
            (self.oldest, self.tell_at) = (oldest, Instant::now());
        }
    }

    /// The queue did not answer.
    pub(super) fn not_received(&mut self, fault: &Fault) {
        let source = &self.reader.source;
        if let Some(untold) = self.receives.raise(fault, Instant::now()) {
            tracing::warn!(%source, untold, cause = %fault, "queue cannot be read now");
        }
    }

    /// A batch ended with so many unfinished messages.
    pub(super) fn ran(&mut self, unfinished: usize, fault: Option<&Fault>) {
        let source = &self.reader.source;
        let Some(fault) = fault else {
            if self.batches.settle() {
                tracing::info!(%source, "messages are done again");
            }
            return;
        };
        let Some(untold) = self.batches.raise(fault, Instant::now()) else { return };
        if fault.kind == FaultKind::Misconfigured {
            tracing::error!(%source, unfinished, untold, cause = %fault, "messages come again until this is mended");
        } else {
            tracing::warn!(%source, unfinished, untold, cause = %fault, "messages are unfinished and come again");
        }
    }

    /// Messages were deleted that are done, or could not be.
    pub(super) fn deleted(&mut self, fault: Option<&Fault>) {
        let source = &self.reader.source;
        let Some(fault) = fault else {
            if self.deletes.settle() {
                tracing::info!(%source, "messages can be deleted again");
            }
            return;
        };
        if let Some(untold) = self.deletes.raise(fault, Instant::now()) {
            tracing::error!(%source, untold, cause = %fault, "messages that are done are not deleted now, and come again");
        }
    }

    /// The time out of sight of messages was set.
    pub(super) fn sight_set(&mut self) {
        self.sights.settle();
    }

    /// It could not be: messages come back later than they could, or while they are worked on.
    pub(super) fn sight_kept(&mut self, fault: &Fault) {
        let source = &self.reader.source;
        if let Some(untold) = self.sights.raise(fault, Instant::now()) {
            tracing::warn!(%source, untold, cause = %fault, "the time that messages stay out of sight cannot be changed now");
        }
    }

    /// A batch of a FIFO queue was cut off.
    pub(super) fn cut(&self) {
        let source = &self.reader.source;
        tracing::warn!(%source, "messages of a FIFO queue are in sight of others while they are worked on: they are left to them");
    }

    /// Everything that was received is done.
    pub(super) fn has_nothing(&mut self) {
        (self.oldest, self.tell_at) = (None, Instant::now());
    }

    /// There is nothing in the queue that anything could be wrong with.
    pub(super) fn found_nothing(&mut self) {
        self.has_nothing();
        self.batches.settle();
        self.deletes.settle();
    }

    /// Tells how far the queue is behind, if it is time to, and what has to be mended.
    pub(super) fn tell(&mut self) {
        let all = [&self.receives, &self.batches, &self.deletes, &self.sights];
        let trouble = all.into_iter().find_map(Complaint::trouble);
        self.reader.health.send_if_modified(|health| {
            let is_news = health.trouble != trouble;
            health.trouble = trouble;
            is_news
        });
        let now = Instant::now();
        if now < self.tell_at {
            return;
        }
        self.tell_at = now + TELL;
        let time = self.reader.pipeline.clock.unix_seconds();
        let lag = self.oldest.map_or(0, |sent| time.saturating_sub(sent));
        meter::lag(&self.reader.source, self.reader.name(), lag);
    }
}
