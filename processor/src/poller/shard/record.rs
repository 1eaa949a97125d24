//! What the state table is told of a shard: how far it is, what was lost of it, and its end.

use std::sync::Arc;

use tokio::time::Instant;

use super::{BACKOFF, Ended, Work};
use crate::outcome::Fault;
use crate::poller::cursor::Cursor;
use crate::poller::listing;
use crate::poller::settings::OnGap;
use crate::poller::state::{Checkpoint, GapRow, Held};

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

    /// Stores how far the shard is, if that changed.
    pub(super) async fn store(&mut self) -> Option<Ended> {
        if let Some(gap) = self.gap.take_if(|gap| gap.before.is_some()) {
            match self.shared.state.gap(&self.claim, &gap, false).await {
                Ok(Held::Done) => {}
                Ok(Held::Lost) => return Some(Ended::Lost),
                Err(_) => self.gap = Some(gap),
            }
        }
        let at = self.desk.watermark().map(|sequence| Checkpoint::After(sequence.unpadded().to_owned()));
        let checkpoint = at.unwrap_or_else(|| self.stored.0.clone());
        let acks = self.desk.acks();
        let now = (checkpoint, acks.to_text(), self.trouble.clone());
        if now == self.stored {
            return None;
        }
        match self.shared.state.checkpoint(&self.claim, &now.0, &acks, now.2.as_deref()).await {
            Ok(Held::Done) => {
                self.stored = now;
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

    /// Ends the shard and adds its children. Those that no listing shows yet are asked for again.
    pub(super) async fn end(&mut self) -> Option<Ended> {
        if let Some(ended) = self.store().await {
            return Some(ended);
        }
        let (stream, shard) = (&self.claim.stream, &self.claim.shard);
        let ended = async {
            let listed = listing::children(&self.shared.client, stream, shard).await?;
            let children: Vec<Arc<str>> = listed.into_iter().map(|child| child.shard).collect();
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
                self.tell(None);
            }
            Err(fault) => tracing::warn!(%shard, cause = %fault, "shard cannot be ended now"),
        }
        self.backoff = (self.backoff * 2).clamp(BACKOFF[0], BACKOFF[1]);
        self.read_at = Instant::now() + self.backoff;
        None
    }
}
