//! Which changes concern a projection (`where`, `changed`) and what orders them (`version`).

use crate::change::{Change, ChangeKind};
use crate::condition::{Condition, Side};
use crate::item::AttributeName;
use crate::projection::Reject;
use crate::version::{Guard, Version};

/// The part of the settings that every kind has.
#[derive(Debug, Default)]
pub struct Selection {
    /// Which items belong to the projection; all of them without it.
    pub condition: Option<Condition>,
    /// Which attributes have to differ for a modification to count; any of them if empty.
    pub changed: Vec<AttributeName>,
    /// The attribute of the source item that holds its version; the stream's own without it.
    pub version: Option<AttributeName>,
}

/// Whether the item belonged to the projection before the change, and whether it does after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Movement {
    /// It may have belonged before.
    pub before: bool,
    /// It belongs now.
    pub after: bool,
}

impl Selection {
    /// How the change moves the item in or out of the projection; `None` if it does not concern the projection.
    pub fn movement(&self, change: &Change) -> Result<Option<Movement>, Reject> {
        let after = change.kind != ChangeKind::Remove && self.holds_after(change)?;
        let before = change.kind != ChangeKind::Insert && self.may_have_held_before(change);
        let movement = Movement { before, after };
        let concerns = before != after || (after && self.touched(change)?);
        Ok(concerns.then_some(movement))
    }

    /// The guard of everything that follows from the change.
    pub fn guard(&self, change: &Change) -> Result<Guard, Reject> {
        let Some(name) = &self.version else { return Ok(change.guard()?) };
        let Some(value) = change.latest().attribute(name)? else {
            return Err(Reject::new(format!("the item has no attribute `{name}`, which holds its version")));
        };
        let version = Version::declared(&value, change.kind == ChangeKind::Remove)?;
        Ok(Guard { digest: change.digest()?, version })
    }

    fn holds_after(&self, change: &Change) -> Result<bool, Reject> {
        let Some(condition) = &self.condition else { return Ok(true) };
        if change.new.is_none() && condition.reads_images() {
            let cause = format!("the stream carries no new image, which where `{}` reads", condition.text());
            return Err(Reject::deployment(cause));
        }
        condition.holds(change, Side::After)
    }

    /// Where the old image cannot tell, the item is taken to have belonged: a needless removal does no harm.
    fn may_have_held_before(&self, change: &Change) -> bool {
        let Some(condition) = &self.condition else { return true };
        let unknowable = condition.reads_old() || condition.reads_event() || change.old.is_none();
        unknowable || condition.holds(change, Side::Before).unwrap_or(true)
    }

    fn touched(&self, change: &Change) -> Result<bool, Reject> {
        let (Some(old), Some(new)) = (&change.old, &change.new) else { return Ok(true) };
        if self.changed.is_empty() || change.kind != ChangeKind::Modify {
            return Ok(true);
        }
        for name in &self.changed {
            if !old.same_attribute(new, name)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
