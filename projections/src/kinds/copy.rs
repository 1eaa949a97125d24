//! `copy`: attributes on rows that another owner made, found by their key or through an index.

use std::collections::HashMap;
use std::sync::Arc;

use super::selection::{Movement, Selection};
use super::{Templates, key};
use crate::change::{Change, View};
use crate::effect::{Effect, Effects, Reach, Target, Write};
use crate::item::Key;
use crate::name::ProjectionName;
use crate::projection::{Projection, Reject};
use crate::version::Guard;

/// The settings of a `copy`, validated.
#[derive(Debug)]
pub struct Copy {
    /// Its name.
    pub name: ProjectionName,
    /// Which changes concern it.
    pub selection: Selection,
    /// The table whose rows carry the copy.
    pub table: Arc<str>,
    /// How the rows are found.
    pub rows: Rows,
    /// The attributes that are copied.
    pub set: Templates,
    /// What happens to the copy when its source goes.
    pub on_delete: OnDelete,
}

/// How the rows that carry a copy are found.
#[derive(Debug)]
pub enum Rows {
    /// One row by its primary key.
    One(Templates),
    /// Every row that an index has under this key.
    Many {
        /// The index.
        index: Arc<str>,
        /// The key to query it by.
        key: Templates,
    },
}

impl Rows {
    /// The templates of the key that the rows are found by.
    pub fn key(&self) -> &Templates {
        match self {
            Self::One(key) | Self::Many { key, .. } => key,
        }
    }
}

/// What happens to a copy when its source item goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    /// The copied attributes are removed.
    Clear,
    /// They stay as they were.
    Keep,
    /// The rows go too.
    Delete,
}

impl Projection for Copy {
    fn name(&self) -> &ProjectionName {
        &self.name
    }

    fn project(&self, change: &Change) -> Result<Effects, Reject> {
        let Some(movement) = self.selection.movement(change)? else { return Ok(Effects::new()) };
        let guard = self.selection.guard(change)?;
        let before = if movement.before { self.key_before(change)? } else { None };
        let after = if movement.after { Some(self.key_after(change)) } else { None };

        let mut effects = Effects::with_capacity(2);
        let stays = matches!((&before, &after), (Some(before), Some(Ok(after))) if before == after);
        if let Some(before) = before
            && !stays
        {
            effects.extend(self.end(before, guard.clone(), movement));
        }
        match after {
            None => {}
            Some(Ok(after)) => effects.push(self.set(after, change.after(), guard)?),
            // The rows it had are not found by any later change: they have to lose the copy now.
            Some(Err(reject)) => return Err(reject.after(effects)),
        }
        Ok(effects)
    }
}

impl Copy {
    fn key_after(&self, change: &Change) -> Result<Key, Reject> {
        if change.new.is_none() {
            return Err(Reject::deployment(
                "the stream carries no new image: a copy needs NEW_AND_OLD_IMAGES or NEW_IMAGE",
            ));
        }
        key(self.rows.key(), change.after())
    }

    /// The key before the change; none where the old item had none, since then nothing was copied from it.
    fn key_before(&self, change: &Change) -> Result<Option<Key>, Reject> {
        match (key(self.rows.key(), change.before()), &change.old) {
            (Ok(key), _) => Ok(Some(key)),
            (Err(_), Some(_)) => Ok(None),
            (Err(reject), None) => Err(Reject::deployment(format!(
                "the stream carries no old image, so the rows that hold the copy are unknown: {reject}"
            ))),
        }
    }

    fn set(&self, key: Key, after: View<'_>, guard: Guard) -> Result<Effect, Reject> {
        let mut set = HashMap::with_capacity(self.set.len());
        let mut remove = Vec::new();
        for (name, template) in &self.set {
            match template.value(after)? {
                Some(value) => drop(set.insert(name.clone(), value)),
                None => remove.push(name.clone()),
            }
        }
        Ok(Effect {
            target: self.target(key),
            guard,
            write: Write::Patch { set, remove, reach: Reach::Others },
        })
    }

    /// The rows that held the copy hold it no longer.
    fn end(&self, key: Key, guard: Guard, movement: Movement) -> Option<Effect> {
        let reach = match (&self.rows, movement.certain) {
            // It may never have belonged: then there are no rows of its own, and others are none of its business.
            (_, false) => Reach::Own,
            // A row that the index finds belongs to this source item while it matches.
            (Rows::Many { .. }, true) => Reach::Others,
            // A row found by its own key may meanwhile carry what another source item put there, which has to stay.
            (Rows::One(_), true) => Reach::Unguarded,
        };
        let write = match self.on_delete {
            OnDelete::Keep => return None,
            OnDelete::Delete => Write::Drop { reach },
            OnDelete::Clear => Write::Patch {
                set: HashMap::new(),
                remove: self.set.iter().map(|(name, _)| name.clone()).collect(),
                reach,
            },
        };
        Some(Effect { target: self.target(key), guard, write })
    }

    fn target(&self, key: Key) -> Target {
        let table = self.table.clone();
        match &self.rows {
            Rows::One(_) => Target::Row { table, key },
            Rows::Many { index, .. } => Target::Found { table, index: index.clone(), key },
        }
    }
}
