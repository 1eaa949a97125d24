//! `replica`: rows that the projection owns, one a source item, put and deleted as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use super::selection::Selection;
use super::{Templates, key};
use crate::change::{Change, View};
use crate::effect::{Effect, Effects, Target, Tombstones, Write};
use crate::item::{Item, Key, RESERVED};
use crate::name::ProjectionName;
use crate::projection::{Projection, Reject};
use crate::version::Guard;

/// The settings of a `replica`, validated.
#[derive(Debug)]
pub struct Replica {
    /// Its name.
    pub name: ProjectionName,
    /// Which changes concern it.
    pub selection: Selection,
    /// The table that holds the rows.
    pub table: Arc<str>,
    /// The primary key of a row.
    pub key: Templates,
    /// The attributes of a row; every attribute of the source item where it is empty.
    pub set: Templates,
    /// How a removal is remembered.
    pub tombstones: Tombstones,
}

impl Projection for Replica {
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
            && self.tombstones != Tombstones::Never
        {
            effects.push(self.delete(before, guard.clone()));
        }
        match after {
            None => {}
            Some(Ok(after)) => effects.push(self.put(after, change.after(), stays, guard)?),
            // The row it had is not found by any later change: it has to go now.
            Some(Err(reject)) => return Err(reject.after(effects)),
        }
        Ok(effects)
    }
}

impl Replica {
    fn key_after(&self, change: &Change) -> Result<Key, Reject> {
        if change.new.is_none() {
            return Err(Reject::deployment(
                "the stream carries no new image: a replica needs NEW_AND_OLD_IMAGES or NEW_IMAGE",
            ));
        }
        key(&self.key, change.after())
    }

    /// The row's key before the change; none where the old item had none, since then it had no row either.
    fn key_before(&self, change: &Change) -> Result<Option<Key>, Reject> {
        match (key(&self.key, change.before()), &change.old) {
            (Ok(key), _) => Ok(Some(key)),
            (Err(_), Some(_)) => Ok(None),
            (Err(reject), None) => Err(Reject::deployment(format!(
                "the stream carries no old image, so the row's former key is unknown: {reject}"
            ))),
        }
    }

    fn put(&self, key: Key, after: View<'_>, expect_row: bool, guard: Guard) -> Result<Effect, Reject> {
        let mut item = match (self.set.is_empty(), after.image) {
            (true, Some(image)) => without_guards(image.item()?),
            _ => Item::default(),
        };
        for (name, template) in &self.set {
            if let Some(value) = template.value(after)? {
                item.insert(name.to_string(), value);
            }
        }
        item.extend(key.iter().map(|(name, value)| (name.to_string(), value.clone())));
        let write = Write::Put { item, tombstones: self.tombstones, expect_row };
        Ok(Effect { target: self.row(key), guard, write })
    }

    fn delete(&self, key: Key, guard: Guard) -> Effect {
        Effect { target: self.row(key), guard, write: Write::Delete { tombstones: self.tombstones } }
    }

    fn row(&self, key: Key) -> Target {
        Target::Row { table: self.table.clone(), key }
    }
}

/// A source that is a target itself carries guards and tombstones, which mean nothing on another row: a copied
/// `ms:expires` would let the time to live take the row.
fn without_guards(item: &Item) -> Item {
    let own = item.iter().filter(|(name, _)| !name.starts_with(RESERVED));
    own.map(|(name, value)| (name.clone(), value.clone())).collect::<HashMap<_, _>>().into()
}
