//! What the state table is told of a shard: how far it is, what was lost of it, and its end.

use std::time::Duration;

use tokio::time::Instant;

use super::{BACKOFF, Ended, Work};
use crate::outcome::Fault;
use crate::poller::cursor::Cursor;
use crate::poller::lineage::{self, Listed};
use crate::poller::settings::OnGap;
use crate::poller::state::{Checkpoint, Child, GapRow, Held};

/// How often the last checkpoint of a worker is tried.
const LAST_TRIES: usize = 3;
/// How long a shard that has ended waits at most until it asks for its children again: a stream that was switched off has none.
const CHILDLESS: Duration = Duration::from_secs(60);

impl Work {
    /// The stream forgot what comes next, or has the shard no more.
    pub(super) async fn gap(&mut self, gone: bool) -> Option<Ended> {
        if let Some(ended) = self.store().await {
            return Some(ended);
        }
        let (state, halt) = (self.shared.state.clone(), self.shared.settings.on_gap == OnGap::Halt);
        let after = self.cursor.as_ref().and_then(Cursor::last).map(str::to_owned);
        let found_at = self.shared.pipeline.clock.unix_seconds();
        let gap = GapRow { shard: self.claim.shard.clone(), after, before: None, found_at };
        tracing::error!(shard = %self.claim.shard, after = ?gap.after, halt, "the stream forgot what was not read of a shard");
        metrics::counter!("millstream_gap_total", "source" => self.shared.source.to_string()).increment(1);
        match state.gap(&self.claim, &gap, halt).await {
            Ok(Held::Done) if halt => Some(Ended::Gap),
            Ok(Held::Done) => {
                (self.at_end, self.gap_met, self.gap) = (gone, None, Some(gap));
                if let Some(cursor) = &mut self.cursor {
                    cursor.rewind();
                }
                None
            }
            Ok(Held::Lost) => Some(Ended::Lost),
            Err(fault) => {
                self.read_at = Instant::now() + BACKOFF[1];
                tracing::error!(shard = %self.claim.shard, cause = %fault, "a gap cannot be recorded now");
                None
            }
        }
    }

    /// The first record that is read after a gap is where the gap ends.
    pub(super) fn ends_gap(&mut self, number: Option<&str>) {
        if let Some(gap) = self.gap.as_mut().filter(|gap| gap.before.is_none()) {
            gap.before = number.map(str::to_owned);
        }
    }

    /// Stores how far the shard is, if that changed, or if it is in doubt whose it is.
    pub(super) async fn store(&mut self) -> Option<Ended> {
        if let Some(gap) = self.gap.take_if(|gap| gap.before.is_some()) {
            match self.shared.state.gap(&self.claim, &gap, false).await {
                Ok(Held::Done) => {}
                Ok(Held::Lost) => return Some(Ended::Lost),
                Err(_) => self.gap = Some(gap),
            }
        }
        let now = self.standing();
        if now == self.stored && !self.is_in_doubt {
            return None;
        }
        let acks = self.desk.acks();
        match self.shared.state.checkpoint(&self.claim, &now.0, &acks, now.2.as_deref(), now.3).await {
            Ok(Held::Done) => {
                (self.stored, self.is_in_doubt) = (now, false);
                None
            }
            Ok(Held::Lost) => Some(Ended::Lost),
            // The next one holds all that this one did.
            Err(fault) => {
                tracing::warn!(shard = %self.claim.shard, cause = %fault, "checkpoint is not stored now");
                None
            }
        }
    }

    /// How far the shard is.
    fn standing(&self) -> (Checkpoint, String, Option<String>, Option<u64>) {
        let at = self.desk.watermark().map(|sequence| Checkpoint::After(sequence.unpadded().to_owned()));
        let checkpoint = at.unwrap_or_else(|| self.stored.0.clone());
        let trouble = self.unreadable.clone().or_else(|| self.trouble.clone());
        // Who cannot beat does not read either, and has no need to write that down.
        let behind = match self.shared.is_alive() {
            true => self.behind.since(self.shared.pipeline.clock.unix_seconds()),
            false => self.stored.3,
        };
        (checkpoint, self.desk.acks().to_text(), trouble, behind)
    }

    /// Stores how far the shard is for whoever reads it next: what is not stored is done again.
    pub(super) async fn store_last(&mut self) -> Ended {
        for _ in 0..LAST_TRIES {
            if let Some(ended) = self.store().await {
                return ended;
            }
            if self.standing() == self.stored {
                break;
            }
            tokio::time::sleep(BACKOFF[0]).await;
        }
        Ended::Stopped
    }

    /// Ends the shard and adds its children. Those that no listing shows yet are asked for again.
    pub(super) async fn end(&mut self) -> Option<Ended> {
        if let Some(ended) = self.store().await {
            return Some(ended);
        }
        let shard = &self.claim.shard;
        let parent = match &self.stored.0 {
            // It was seen open: what follows cannot be older than what was read.
            Checkpoint::TrimHorizon if self.was_open => Checkpoint::After(String::new()),
            stored => stored.clone(),
        };
        let ended = async {
            let listed = self.shared.children.of(shard).await?;
            let begins = |listed: &Listed| lineage::begins(&parent, listed);
            let child = |listed: Listed| Child { begins: begins(&listed), shard: listed.shard };
            let children: Vec<Child> = listed.into_iter().map(child).collect();
            if children.is_empty() && self.is_known_childless {
                return Ok((true, Held::Done));
            }
            let held = self.shared.state.end(&self.claim, &children).await?;
            Ok::<_, Fault>((children.is_empty(), held))
        };
        match ended.await {
            Ok((_, Held::Lost)) => return Some(Ended::Lost),
            Ok((false, Held::Done)) => return Some(Ended::Shard),
            Ok((true, Held::Done)) => {
                if !self.is_known_childless {
                    tracing::warn!(%shard, "shard has ended, and no listing shows its children yet");
                }
                self.is_known_childless = true;
                self.tell();
            }
            Err(fault) => tracing::warn!(%shard, cause = %fault, "shard cannot be ended now"),
        }
        let longest = if self.is_known_childless { CHILDLESS } else { BACKOFF[1] };
        self.backoff = (self.backoff * 2).clamp(BACKOFF[0], longest);
        self.read_at = Instant::now() + self.backoff;
        None
    }
}
