//! Keys that wait behind letters, and when they need not any more.

use futures_util::StreamExt;
use millstream_processor::holds::Released;
use millstream_processor::letters::{LetterFilter, LetterHead, LetterId};
use millstream_processor::outcome::Fault;
use millstream_projections::{KeyDigest, ProjectionName, SourceName, Version};

use crate::desk::Desk;

/// One key of a projection that keeps an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OrderedKey {
    pub(crate) source: SourceName,
    pub(crate) projection: ProjectionName,
    pub(crate) digest: KeyDigest,
}

/// Whether a key was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freed {
    /// Nothing waits any more: its next change goes through as it comes.
    Free,
    /// A letter still waits, or one is on its way to the store.
    Waits,
}

impl Desk {
    /// The letters of a key that wait, in the order of their versions.
    pub(crate) async fn waiting(&self, key: &OrderedKey) -> Result<Vec<LetterHead>, Fault> {
        let filter = LetterFilter {
            projection: Some(key.projection.clone()),
            source: Some(key.source.clone()),
            digest: Some(key.digest),
            ..LetterFilter::default()
        };
        let mut waiting: Vec<LetterHead> = Vec::new();
        let mut heads = self.letters().list(&filter);
        while let Some(head) = heads.next().await {
            // One that cannot be read might be the first: nothing of the key can go on.
            waiting.push(head?);
        }
        waiting.sort_by(|a, b| a.version.cmp(&b.version));
        Ok(waiting)
    }

    /// Lets a key go once the latest change that is held has been done or discarded. `done` is the latest version that
    /// is known to be; without it, the letter of the latest held version itself has to be closed.
    pub(crate) async fn let_go(&self, key: &OrderedKey, done: Option<&Version>) -> Result<Freed, Fault> {
        let holds = &self.pipeline.holds;
        let look = || holds.look(&key.projection, key.digest);
        let Some(held) = self.retried("read a held key", look).await? else { return Ok(Freed::Free) };
        if done.is_none_or(|done| *done < held.last) && !self.is_closed(key, &held.last).await? {
            return Ok(Freed::Waits);
        }
        let release = || holds.release(&key.projection, key.digest, &held.last);
        match self.retried("let a key go", release).await? {
            Released::Free => Ok(Freed::Free),
            Released::More => Ok(Freed::Waits),
        }
    }

    /// Whether the letter that the key is held for waits and is not listed: a list that lags behind, or someone else who
    /// has it. Nothing later may go before it.
    pub(crate) async fn lacks_first(&self, key: &OrderedKey, listed: &[LetterHead]) -> Result<bool, Fault> {
        let look = || self.pipeline.holds.look(&key.projection, key.digest);
        let Some(held) = self.retried("read a held key", look).await? else { return Ok(false) };
        let first = listed.first().and_then(|head| head.version.as_deref());
        let comes_later = first.is_none_or(|first| first > held.first.as_str());
        Ok(comes_later && !self.is_closed(key, &held.first).await?)
    }

    /// A list may lag behind; the state of a letter by its name does not.
    async fn is_closed(&self, key: &OrderedKey, version: &Version) -> Result<bool, Fault> {
        let id = LetterId::of_change(&key.source, Some(&key.projection), key.digest, version);
        Ok(self.letters().state(&id).await?.is_some_and(|state| !state.waits()))
    }

    /// Every held key of the projections that keep an order, for those that `wanted` admits.
    pub(crate) async fn held_keys(
        &self,
        wanted: impl Fn(&SourceName, &ProjectionName) -> bool,
    ) -> Result<Vec<OrderedKey>, Fault> {
        let mut keys = Vec::new();
        for source in &self.sources {
            let ordered = self.pipeline.routes.of(source).iter().filter(|it| it.keeps_order());
            for projection in ordered.map(|it| it.name()).filter(|name| wanted(source, name)) {
                let read = || self.pipeline.holds.keys(projection);
                let held = self.retried("read held keys", read).await?;
                keys.extend(held.into_iter().map(|digest| OrderedKey {
                    source: source.clone(),
                    projection: projection.clone(),
                    digest,
                }));
            }
        }
        Ok(keys)
    }
}
