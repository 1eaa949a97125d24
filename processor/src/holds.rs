//! Held keys: once a letter of a key stands in a projection that keeps an order, later changes of the key wait behind it.
//!
//! In the ledger, one row a projection names its held keys, and one row a held key says from which version to which.
//! A key is held, prolonged and let go by conditional writes, so that workers and operators agree.

use std::collections::HashSet;

use futures_util::future::BoxFuture;
use millstream_projections::{KeyDigest, ProjectionName, Version};

use crate::outcome::Fault;

/// Held keys in the ledger.
mod table;

pub use table::LedgerHolds;

/// The most keys of one projection that can be held. A row of DynamoDB names them all.
pub const MAX_KEYS: u64 = 1_024;
/// The most changes of one key that can be held. Whoever lets more than that pile up has a deployment to mend.
pub const MAX_CHANGES: u64 = 1_024;

/// One held key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The version that failed. Everything later waits; this one may be tried again.
    pub first: Version,
    /// The latest version that waits.
    pub last: Version,
    /// How many versions that is.
    pub changes: u64,
}

/// How holding a version ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// The key is held up to this version at least.
    Held,
    /// The key was let go meanwhile: nothing has to wait any more.
    LetGo,
}

/// How letting a key go ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// The key is free, or was not held.
    Free,
    /// A later version is held meanwhile: it has to be replayed first.
    More,
}

/// Remembers held keys.
///
/// `hold` with `behind` says that the version only waits behind another one: it never holds a key anew. When `hold` gives
/// `Ok(Held)`, every reader that starts afterwards sees the key held. More than [`MAX_KEYS`] or [`MAX_CHANGES`] is a
/// fault that leaves the change unfinished: nothing is dropped. Each method is safe to repeat.
pub trait Holds: Send + Sync {
    /// The held keys of a projection.
    fn keys<'a>(&'a self, projection: &'a ProjectionName)
    -> BoxFuture<'a, Result<HashSet<KeyDigest>, Fault>>;

    /// How far a key is held; `None` if it is not.
    fn look<'a>(
        &'a self,
        projection: &'a ProjectionName,
        key: KeyDigest,
    ) -> BoxFuture<'a, Result<Option<Held>, Fault>>;

    /// Holds a key up to a version.
    fn hold<'a>(
        &'a self,
        projection: &'a ProjectionName,
        key: KeyDigest,
        version: &'a Version,
        behind: bool,
    ) -> BoxFuture<'a, Result<Holding, Fault>>;

    /// Lets a key go, if nothing later than `version` is held.
    fn release<'a>(
        &'a self,
        projection: &'a ProjectionName,
        key: KeyDigest,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<Released, Fault>>;
}

/// Holds nothing: for a replay, which is how what is held gets done.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHolds;

impl Holds for NoHolds {
    fn keys<'a>(&'a self, _: &'a ProjectionName) -> BoxFuture<'a, Result<HashSet<KeyDigest>, Fault>> {
        Box::pin(std::future::ready(Ok(HashSet::new())))
    }

    fn look<'a>(&'a self, _: &'a ProjectionName, _: KeyDigest) -> BoxFuture<'a, Result<Option<Held>, Fault>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn hold<'a>(
        &'a self,
        _: &'a ProjectionName,
        _: KeyDigest,
        _: &'a Version,
        _: bool,
    ) -> BoxFuture<'a, Result<Holding, Fault>> {
        Box::pin(std::future::ready(Ok(Holding::Held)))
    }

    fn release<'a>(
        &'a self,
        _: &'a ProjectionName,
        _: KeyDigest,
        _: &'a Version,
    ) -> BoxFuture<'a, Result<Released, Fault>> {
        Box::pin(std::future::ready(Ok(Released::Free)))
    }
}
