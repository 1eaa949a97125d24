//! Held keys: once a letter of a key stands in a projection that keeps an order, later changes of the key wait behind it.
//!
//! In the ledger, one row a projection names its held keys, and one row a held key names the versions that wait. From
//! a version follows the id of its letter ([`OrderedKey::letter`](crate::holds::OrderedKey::letter)), so what waits is found by name and not by a list.
//!
//! # Who lets a key go, and when
//! A key may go when the letter of every version that is held is closed. Workers store letters and operators close them
//! at the same time, each with several requests. Three rules keep a letter that waits from being one that nothing waits
//! behind:
//! 1. A worker *holds* the version, then *stores* its letter, then *touches* the row.
//! 2. Whoever lets go, or takes a version out whose letter is absent, *reads* the row, then *looks* at the letters, then
//!    writes, if the row's *stamp* is still the one that was read. Every write of the row gives it another stamp.
//! 3. A letter that was closed stays closed if its change comes again and only waits, or if it was discarded.
//!
//! Let a worker store at `s` and touch at `t`, and let someone read at `r`, look at `l` and let go at `g`; `r < l < g`.
//! * `t < g`: the stamp did not change from `r` to `g`, so `t < r`, and `s < l`: the letter was seen as it was stored,
//!   or closed after that.
//! * `g < t`: the touch finds that the version is not held. If the letter is closed its turn has come and gone. If it
//!   waits it was seen before `s`, when it was closed or absent: it comes late, after a change that went out rightfully,
//!   and is held anew before its record counts as done. Then the worker looks once more: whoever closed the letter
//!   before the key was held anew did not see that, so the worker lets go for him.
//! * The worker dies before `t`: its record is unfinished and comes again, and all of this with it.
//!
//! Of two that let go, one finds another stamp, or no row. A key that is held anew in between has another stamp too.

use std::collections::HashSet;

use futures_util::future::BoxFuture;
use millstream_projections::{KeyDigest, ProjectionName, SourceName, Version};

use crate::letters::{LetterId, LetterState, LetterStore};
use crate::outcome::{Fault, FaultKind};

/// Holds nothing.
mod none;
/// Held keys in the ledger.
mod table;

pub use none::NoHolds;
pub use table::LedgerHolds;

/// The most keys of one projection that can be held. A row of DynamoDB names them all.
pub const MAX_KEYS: u64 = 1_024;
/// The most changes of one key that can be held: 64 KB of a row, where versions are those of a stream. Those that are done
/// count until the key is let go. Whoever lets more than that pile up has a deployment to mend.
pub const MAX_CHANGES: u64 = 1_024;
/// The most bytes of versions that a row has. Declared versions may be long, and an item of DynamoDB has 400 KB.
pub const MAX_BYTES: usize = 256 * 1024;

/// How often a row that others change in the same moment is read again.
const ROUNDS: usize = 8;

/// One key of a projection that keeps an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OrderedKey {
    /// Where its changes come from.
    pub source: SourceName,
    /// The projection.
    pub projection: ProjectionName,
    /// The source item.
    pub digest: KeyDigest,
}

impl OrderedKey {
    /// The letter of one of its changes.
    pub fn letter(&self, version: &Version) -> LetterId {
        LetterId::of_change(&self.source, Some(&self.projection), self.digest, version)
    }
}

/// What is held of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The version that failed. Everything later waits; this one may be tried again, while its letter waits.
    pub first: Version,
    /// The others, in their order.
    pub later: Vec<Version>,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Another one after each change of the row.
    pub stamp: String,
}

impl Held {
    /// All versions, in their order.
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = &Version> {
        std::iter::once(&self.first).chain(&self.later)
    }

    /// How many versions are held.
    pub fn changes(&self) -> u64 {
        self.later.len() as u64 + 1
    }

    /// Whether a version is one of them.
    pub fn contains(&self, version: &Version) -> bool {
        self.first == *version || self.later.binary_search(version).is_ok()
    }
}

/// How holding a version ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// The version is held.
    Held,
    /// It is not: the key, or the version, was let go meanwhile.
    LetGo,
}

/// Whether a key was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freed {
    /// Nothing waits any more: its next change goes through as it comes.
    Free,
    /// A letter still waits, or is not there, or one is on its way to the store.
    Waits,
}

/// Remembers held keys.
///
/// When `hold` gives `Ok(Held)`, every reader that starts afterwards sees the version held. More than [`MAX_KEYS`],
/// [`MAX_CHANGES`] or [`MAX_BYTES`] is a fault that leaves the change unfinished: nothing is dropped. Each method is
/// safe to repeat; where it gives a `bool`, `false` may also mean that it was done before.
pub trait Holds: Send + Sync {
    /// The held keys of a projection.
    fn keys<'a>(&'a self, projection: &'a ProjectionName)
    -> BoxFuture<'a, Result<HashSet<KeyDigest>, Fault>>;

    /// What is held of a key; `None` if nothing is.
    fn look<'a>(&'a self, key: &'a OrderedKey) -> BoxFuture<'a, Result<Option<Held>, Fault>>;

    /// Holds a version. With `behind` it only waits behind another one: it never holds a key anew. `at` is the time, in
    /// seconds since 1970.
    fn hold<'a>(
        &'a self,
        key: &'a OrderedKey,
        version: &'a Version,
        behind: bool,
        at: u64,
    ) -> BoxFuture<'a, Result<Holding, Fault>>;

    /// Says that the letter of a version has been stored: who read the row before that cannot let the key go any more.
    /// `LetGo`: the version is not held, and nothing was changed.
    fn touch<'a>(
        &'a self,
        key: &'a OrderedKey,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<Holding, Fault>>;

    /// Lets a key go; `false` if its row is not the one that was seen.
    fn release<'a>(&'a self, key: &'a OrderedKey, seen: &'a Held) -> BoxFuture<'a, Result<bool, Fault>>;

    /// Takes one version out, and lets the key go if it is the only one; `false` if the row is not the one that was seen.
    fn forget<'a>(
        &'a self,
        key: &'a OrderedKey,
        seen: &'a Held,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, Fault>>;
}

/// Lets a key go if the letter of every version that is held is closed.
pub async fn let_go(holds: &dyn Holds, letters: &dyn LetterStore, key: &OrderedKey) -> Result<Freed, Fault> {
    for _ in 0..ROUNDS {
        let Some(held) = holds.look(key).await? else { return Ok(Freed::Free) };
        // The latest is the likeliest to wait.
        for version in held.versions().rev() {
            if closed(letters, &key.letter(version)).await?.is_none() {
                return Ok(Freed::Waits);
            }
        }
        if holds.release(key, &held).await? {
            return Ok(Freed::Free);
        }
    }
    Ok(Freed::Waits)
}

/// In which state a letter is closed, as far as it can be read: one that cannot be may still wait. It concerns its own key,
/// and no other.
pub(crate) async fn closed(letters: &dyn LetterStore, id: &LetterId) -> Result<Option<LetterState>, Fault> {
    match letters.closed(id).await {
        Err(fault) if fault.kind == FaultKind::Rejected => {
            tracing::warn!(letter = %id, cause = %fault, "a letter cannot be read; its key waits");
            Ok(None)
        }
        told => told,
    }
}

/// Takes a version out whose letter is absent, and lets the key go if nothing else is held; `false` if the version is not
/// held, or its letter is there, or may be ([`LetterStore::knows_absence`]).
pub async fn forget_absent(
    holds: &dyn Holds,
    letters: &dyn LetterStore,
    key: &OrderedKey,
    version: &Version,
) -> Result<bool, Fault> {
    if !letters.knows_absence() {
        return Ok(false);
    }
    for _ in 0..ROUNDS {
        let Some(held) = holds.look(key).await?.filter(|held| held.contains(version)) else {
            return Ok(false);
        };
        if letters.state(&key.letter(version)).await?.is_some() {
            return Ok(false);
        }
        if holds.forget(key, &held, version).await? {
            return Ok(true);
        }
    }
    Err(raced(key))
}

/// Someone else was at the key in the same moment: look again.
fn raced(key: &OrderedKey) -> Fault {
    let OrderedKey { projection, digest, .. } = key;
    Fault::new(
        FaultKind::Conflict,
        format!("projection {projection}: the held key {digest} was changed meanwhile"),
    )
}
