//! The contract of a projection, and why a record can never be projected.

use std::fmt;

use crate::change::Change;
use crate::effect::Effects;
use crate::image::ImageError;
use crate::name::ProjectionName;
use crate::path::Path;
use crate::version::VersionError;

/// Turns a change into the writes that ought to follow from it.
///
/// `project` is synchronous, pure and total: the same change gives the same effects, whenever, wherever and however
/// often it is asked. It is called with duplicates, out of order between items, and again in a replay; what makes that
/// safe is the guard in each effect, not the projection.
///
/// `Ok` with no effects means the change does not concern this projection. `Err` means that this record can *never* be
/// projected under this configuration: the record becomes a letter with that cause and the shard goes on. A projection
/// must not fail for what may pass (it does no I/O, so nothing can).
pub trait Projection: Send + Sync {
    /// The name in the config, in the guard's attribute and in the metrics.
    fn name(&self) -> &ProjectionName;

    /// What ought to be written for this change.
    fn project(&self, change: &Change) -> Result<Effects, Reject>;

    /// Whether the changes of one key have to go out in their order, as events do: then later changes of a key wait
    /// behind a letter of it. Rows need no order, since their guards know which change is newer.
    fn keeps_order(&self) -> bool {
        false
    }
}

/// Why a record can never be projected. Its text reaches the letter.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct Reject {
    cause: String,
    deployment: bool,
    effects: Effects,
}

impl Reject {
    /// A rejection with its cause, in words that tell the reader what to mend.
    pub fn new(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), deployment: false, effects: Effects::new() }
    }

    /// Not this record is at fault but how things are set up: every record would be rejected alike. It is no letter; it
    /// stays unfinished until someone mends the deployment.
    pub fn deployment(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), deployment: true, effects: Effects::new() }
    }

    /// The rejection of a record of which some effects ought to happen all the same: what the item had before has to go,
    /// since no later change will find it.
    pub fn after(self, effects: Effects) -> Self {
        Self { effects, ..self }
    }

    /// What ought to happen all the same. Nothing where the deployment is at fault.
    pub fn into_effects(self) -> Effects {
        if self.deployment { Effects::new() } else { self.effects }
    }

    /// Whether the deployment is at fault, and not the record.
    pub fn is_deployment(&self) -> bool {
        self.deployment
    }

    /// A path that has to be there is not.
    pub(crate) fn missing(path: &Path) -> Self {
        Self::new(format!("the item has no attribute `{path}`; write `{{{path}?}}` where it may be missing"))
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl From<ImageError> for Reject {
    fn from(error: ImageError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<VersionError> for Reject {
    fn from(error: VersionError) -> Self {
        Self::new(error.to_string())
    }
}
