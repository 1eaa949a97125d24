//! Keys that wait behind letters, what waits of them, and when they need not any more.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt};
use millstream_processor::holds::{self, Freed, Held};
use millstream_processor::letters::{LetterFilter, LetterId, LetterState};
use millstream_processor::outcome::Fault;
use millstream_projections::{ProjectionName, SourceName, Version};
use serde::Serialize;

use crate::desk::Desk;

pub(crate) use millstream_processor::holds::OrderedKey;

/// How many keys are looked at side by side.
const AT_ONCE: usize = 8;

/// A change of a key that keeps its order, whose turn is still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Its letter.
    pub(crate) id: LetterId,
    /// Its version, as far as the letter's head has it.
    pub(crate) version: Option<Version>,
    /// Where its letter stands; `None` if it is not there.
    pub(crate) state: Option<LetterState>,
}

impl Turn {
    /// Whether the change never failed and only waits for its turn. One that failed in a replay is none any more.
    pub(crate) fn is_follower(&self) -> bool {
        self.state == Some(LetterState::Held)
    }
}

/// A key that waits for letters which are not there: whoever held it died before they were stored, or they expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LackingKey {
    /// The source.
    pub source: String,
    /// The projection.
    pub projection: String,
    /// The digest of the source item's key.
    pub digest: String,
    /// Since when the key is held, in seconds since 1970.
    pub since: u64,
    /// What is not there, in the order of the versions. Each can be discarded by its id.
    pub missing: Vec<MissingLetter>,
    /// Whether that is certain. Letters of a queue may be in someone else's hands.
    pub certain: bool,
}

/// A letter that a key waits for, and that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingLetter {
    /// The id that it would have.
    pub id: LetterId,
    /// The version of its change.
    pub version: String,
}

impl Desk {
    /// The changes of a key whose turn is still to come, in the order of their versions. Those of a held key are known by
    /// name: no list has to be complete, and no other letter has to be readable.
    pub(crate) async fn waiting(&self, key: &OrderedKey) -> Result<Vec<Turn>, Fault> {
        match self.held(key).await? {
            Some(held) => self.turns(key, &held).await,
            None => self.listed(key).await,
        }
    }

    /// What is held of a key.
    pub(crate) async fn held(&self, key: &OrderedKey) -> Result<Option<Held>, Fault> {
        self.retried("read a held key", || self.pipeline.holds.look(key)).await
    }

    /// Those of the versions that are held whose letters are not closed.
    pub(crate) async fn turns(&self, key: &OrderedKey, held: &Held) -> Result<Vec<Turn>, Fault> {
        let ids: Vec<LetterId> = held.versions().map(|version| key.letter(version)).collect();
        let states = self.letters().states(&ids).await?;
        let turns = held.versions().cloned().zip(ids).zip(states);
        let turns = turns.map(|((version, id), state)| Turn { id, version: Some(version), state });
        Ok(turns.filter(|turn| turn.state.is_none_or(LetterState::waits)).collect())
    }

    /// The letters of a key that is not held: imported ones, or such as came from elsewhere.
    async fn listed(&self, key: &OrderedKey) -> Result<Vec<Turn>, Fault> {
        let filter = LetterFilter {
            projection: Some(key.projection.clone()),
            source: Some(key.source.clone()),
            digest: Some(key.digest),
            ..LetterFilter::default()
        };
        // One that cannot be read might be the first: nothing of the key can go on.
        let heads = self.letters().list(&filter).map_ok(|head| Turn {
            id: head.id,
            version: head.version.as_deref().map(Version::from_text),
            state: Some(head.state),
        });
        let mut waiting: Vec<Turn> = heads.try_collect().await?;
        waiting.sort_by(|a, b| a.version.cmp(&b.version));
        Ok(waiting)
    }

    /// Lets a key go if nothing of it waits.
    pub(crate) async fn let_go(&self, key: &OrderedKey) -> Result<Freed, Fault> {
        let let_go = || holds::let_go(&*self.pipeline.holds, self.letters(), key);
        self.retried("let a key go", let_go).await
    }

    /// Takes a version out whose letter is not there; `false` if it is not held, or its letter has come.
    pub(crate) async fn forget_absent(&self, key: &OrderedKey, version: &Version) -> Result<bool, Fault> {
        let forget = || holds::forget_absent(&*self.pipeline.holds, self.letters(), key, version);
        self.retried("let a version go", forget).await
    }

    /// Every held key of the projections that keep an order, for those that a filter admits.
    pub(crate) async fn held_keys(&self, filter: &LetterFilter) -> Result<Vec<OrderedKey>, Fault> {
        let mut keys = Vec::new();
        let of = |wanted: &Option<SourceName>, source: &SourceName| {
            wanted.as_ref().is_none_or(|wanted| wanted == source)
        };
        let wants = |name: &ProjectionName| filter.projection.as_ref().is_none_or(|wanted| wanted == name);
        for source in self.sources.iter().filter(|source| of(&filter.source, source)) {
            let ordered = self.pipeline.routes.of(source).iter().filter(|it| it.keeps_order());
            for projection in ordered.map(|it| it.name()).filter(|name| wants(name)) {
                let read = || self.pipeline.holds.keys(projection);
                let mut held: Vec<_> = self.retried("read held keys", read).await?.into_iter().collect();
                held.retain(|digest| filter.digest.is_none_or(|wanted| wanted == *digest));
                held.sort_unstable();
                keys.extend(held.into_iter().map(|digest| OrderedKey {
                    source: source.clone(),
                    projection: projection.clone(),
                    digest,
                }));
            }
        }
        Ok(keys)
    }

    /// The held keys that wait for letters which are not there. A worker holds a key a moment before it stores the letter,
    /// so what is not there now may be there when it is looked for again. Of a filter, the source, the projection and
    /// the digest count. Letters that were `seen` just now are there.
    pub async fn lacking_keys(
        &self,
        filter: &LetterFilter,
        seen: &HashSet<LetterId>,
    ) -> Result<Vec<LackingKey>, Fault> {
        let look = |key: OrderedKey| async move { Ok((self.held(&key).await?, key)) };
        let keys = futures_util::stream::iter(self.held_keys(filter).await?).map(look).buffered(AT_ONCE);
        let keys: Vec<(Option<Held>, OrderedKey)> = keys.try_collect().await?;
        let keys: Vec<_> = keys.into_iter().filter_map(|(held, key)| Some((key, held?))).collect();
        let mut ids = Vec::new();
        for (key, held) in &keys {
            ids.extend(held.versions().map(|version| key.letter(version)).filter(|id| !seen.contains(id)));
        }
        let states = self.letters().states(&ids).await?;
        let absent = ids.into_iter().zip(states).filter(|(_, state)| state.is_none());
        let absent: HashSet<LetterId> = absent.map(|(id, _)| id).collect();
        Ok(keys.iter().filter_map(|(key, held)| self.lacking_of(key, held, &absent)).collect())
    }

    /// What is not there of a held key; `None` if nothing lacks.
    pub(crate) async fn lacking(&self, key: &OrderedKey) -> Result<Option<LackingKey>, Fault> {
        let Some(held) = self.held(key).await? else { return Ok(None) };
        let turns = self.turns(key, &held).await?.into_iter();
        let absent = turns.filter(|turn| turn.state.is_none()).map(|turn| turn.id).collect();
        Ok(self.lacking_of(key, &held, &absent))
    }

    fn lacking_of(&self, key: &OrderedKey, held: &Held, absent: &HashSet<LetterId>) -> Option<LackingKey> {
        let missing =
            |version: &Version| MissingLetter { id: key.letter(version), version: version.to_string() };
        let missing: Vec<MissingLetter> =
            held.versions().map(missing).filter(|missing| absent.contains(&missing.id)).collect();
        (!missing.is_empty()).then(|| LackingKey {
            source: key.source.to_string(),
            projection: key.projection.to_string(),
            digest: key.digest.to_string(),
            since: held.since,
            missing,
            certain: self.letters().knows_absence(),
        })
    }

    /// Whether there is anything of that name: a letter, one that was closed, or a change that is held for it.
    pub async fn is_known(&self, id: &LetterId) -> Result<bool, Fault> {
        Ok(self.letters().state(id).await?.is_some() || self.held_by_name(id).await?.is_some())
    }

    /// The held change whose letter has that id, whether the letter is there or not.
    pub(crate) async fn held_by_name(&self, id: &LetterId) -> Result<Option<(OrderedKey, Version)>, Fault> {
        for key in self.held_keys(&LetterFilter::default()).await? {
            let Some(held) = self.held(&key).await? else { continue };
            if let Some(version) = held.versions().find(|version| key.letter(version) == *id) {
                return Ok(Some((key.clone(), version.clone())));
            }
        }
        Ok(None)
    }
}

impl LackingKey {
    /// In words.
    pub fn text(&self) -> String {
        let ids: Vec<&str> = self.missing.iter().map(|missing| missing.id.as_str()).collect();
        let (what, it) = match ids.len() {
            1 => ("a letter that is", "it"),
            _ => ("letters that are", "them"),
        };
        let or = if self.certain { "" } else { ", or in someone else's hands" };
        format!(
            "key {} of projection {} waits for {what} not there{or}: {}; a stream that still has the change brings it again, else discard {it}",
            self.digest,
            self.projection,
            ids.join(", ")
        )
    }
}
