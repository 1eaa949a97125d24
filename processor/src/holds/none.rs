//! Holds nothing: for a replay, which is how what is held gets done.

use std::collections::HashSet;
use std::future::ready;

use futures_util::future::BoxFuture;
use millstream_projections::{KeyDigest, ProjectionName, Version};

use super::{Held, Holding, Holds, OrderedKey};
use crate::outcome::Fault;

/// Holds nothing, and says that it does.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHolds;

impl Holds for NoHolds {
    fn keys<'a>(&'a self, _: &'a ProjectionName) -> BoxFuture<'a, Result<HashSet<KeyDigest>, Fault>> {
        Box::pin(ready(Ok(HashSet::new())))
    }

    fn look<'a>(&'a self, _: &'a OrderedKey) -> BoxFuture<'a, Result<Option<Held>, Fault>> {
        Box::pin(ready(Ok(None)))
    }

    fn hold<'a>(
        &'a self,
        _: &'a OrderedKey,
        _: &'a Version,
        _: bool,
        _: u64,
    ) -> BoxFuture<'a, Result<Holding, Fault>> {
        Box::pin(ready(Ok(Holding::Held)))
    }

    fn touch<'a>(&'a self, _: &'a OrderedKey, _: &'a Version) -> BoxFuture<'a, Result<Holding, Fault>> {
        Box::pin(ready(Ok(Holding::Held)))
    }

    fn release<'a>(&'a self, _: &'a OrderedKey, _: &'a Held) -> BoxFuture<'a, Result<bool, Fault>> {
        Box::pin(ready(Ok(true)))
    }

    fn forget<'a>(
        &'a self,
        _: &'a OrderedKey,
        _: &'a Held,
        _: &'a Version,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        Box::pin(ready(Ok(true)))
    }
}
