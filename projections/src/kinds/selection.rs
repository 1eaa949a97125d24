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
    /// It belonged before, or may have.
    pub before: bool,
    /// Whether `before` is more than a guess: the change tells what the item was like.
    pub certain: bool,
    /// It belongs now.
    pub after: bool,
}

impl Selection {
    /// How the change moves the item in or out of the projection; `None` if it does not concern the projection.
    pub fn movement(&self, change: &Change) -> Result<Option<Movement>, Reject> {
        let after = change.kind != ChangeKind::Remove && self.holds_after(change)?;
        let held = if change.kind == ChangeKind::Insert { Some(false) } else { self.held_before(change) };
        let movement = Movement { before: held.unwrap_or(true), certain: held.is_some(), after };
        let before = movement.before;
        let concerns = before != after || (after && self.touched(change)?);
        Ok(concerns.then_some(movement))
    }

    /// The guard of everything that follows from the change.
    pub fn guard(&self, change: &Change) -> Result<Guard, Reject> {
        let Some(name) = &self.version else { return Ok(change.guard()?) };
        let view = change.latest();
        let Some(value) = view.attribute(name)? else {
            if view.image.is_none() {
                let cause = format!("the stream carries no image that holds the version attribute `{name}`");
                return Err(Reject::deployment(cause));
            }
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

    /// Whether the item belonged before the change; `None` where the change cannot tell.
    fn held_before(&self, change: &Change) -> Option<bool> {
        let Some(condition) = &self.condition else { return Some(true) };
        let unknowable = condition.reads_old() || condition.reads_event() || change.old.is_none();
        if unknowable { None } else { condition.holds(change, Side::Before).ok() }
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
