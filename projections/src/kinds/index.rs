//! `index`: lookup rows, by which an item is found by other attributes than its key, or by each element of a list or set.

use std::collections::HashMap;
use std::sync::Arc;

use super::selection::Selection;
use super::{Templates, fits_key};
use crate::change::{Change, EACH, View};
use crate::effect::{Effect, Effects, Target, Write};
use crate::fold::{Contribution, Fold, Part, Rules, SameRow, Share, attributes_digest};
use crate::item::{Item, Key, Value, type_name};
use crate::name::ProjectionName;
use crate::projection::{Projection, Reject};
use crate::template::{Placeholder, Template};

/// The settings of an `index`, validated.
#[derive(Debug)]
pub struct Index {
    /// Its name.
    pub name: ProjectionName,
    /// Which changes concern it.
    pub selection: Selection,
    /// The table that holds the lookup rows.
    pub table: Arc<str>,
    /// The primary key of a lookup row; an item that lacks an optional attribute of it has no row.
    pub key: Templates,
    /// The other attributes; the source item's key where it is empty.
    pub set: Templates,
    /// The list or set of which every element has a row of its own.
    pub each: Option<Placeholder>,
    /// Whether a row that is not Millstream's is refused, and not adopted.
    pub unique: bool,
    rules: Arc<Rules>,
}

/// What an item contributes, and the rows that this speaks of, in the same order.
type Rows = (Contribution, Vec<Item>);

impl Projection for Index {
    fn name(&self) -> &ProjectionName {
        &self.name
    }

    fn project(&self, change: &Change) -> Result<Effects, Reject> {
        let Some(movement) = self.selection.movement(change)? else { return Ok(Effects::new()) };
        let guard = self.selection.guard(change)?;
        if movement.after && change.new.is_none() {
            return Err(Reject::deployment(
                "the stream carries no new image: an index needs NEW_AND_OLD_IMAGES or NEW_IMAGE",
            ));
        }
        // Only a hint: what cannot be told is nothing.
        let guess = movement.before.then(|| self.rows(change.before()).ok()).flatten().unwrap_or_default().0;
        let (after, items) = if movement.after { self.rows(change.after())? } else { Rows::default() };
        let source_key = change.keys.item()?.clone();
        let fold = Fold { source_key, guess, after, items, rules: self.rules.clone() };
        let target = Target::Shared { table: self.table.clone() };
        Ok(vec![Effect { target, guard, write: Write::Fold(Box::new(fold)) }])
    }
}

impl Index {
    /// An index of these settings.
    pub fn new(
        (name, selection): (ProjectionName, Selection),
        table: Arc<str>,
        (key, set): (Templates, Templates),
        each: Option<Placeholder>,
        unique: bool,
    ) -> Self {
        let rules = Arc::new(Rules::Lookup { unique });
        Self { name, selection, table, key, set, each, unique, rules }
    }

    fn rows(&self, view: View<'_>) -> Result<Rows, Reject> {
        let mut rows = Vec::new();
        match &self.each {
            None => rows.extend(self.row(view)?),
            Some(each) => {
                for element in elements(each, view)? {
                    rows.extend(self.row(view.with(EACH, &element))?);
                }
            }
        }
        let mut items: HashMap<Vec<u8>, Item> = HashMap::with_capacity(rows.len());
        let shares = rows.into_iter().map(|(share, item)| {
            items.insert(share.row(), item);
            share
        });
        let contribution = Contribution::new(shares.collect()).map_err(|same| self.clash(&same))?;
        let items = contribution.rows().iter().map(|row| items.remove(row).unwrap_or_default()).collect();
        Ok((contribution, items))
    }

    fn row(&self, view: View<'_>) -> Result<Option<(Share, Item)>, Reject> {
        let Some(key) = self.key(view)? else { return Ok(None) };
        let item = self.item(&key, view)?;
        let part = Part::Lookup { digest: attributes_digest(&item) };
        Ok(Some((Share::new(self.table.clone(), key, part), item)))
    }

    /// The key of a row; none where an optional attribute of it is missing.
    fn key(&self, view: View<'_>) -> Result<Option<Key>, Reject> {
        let mut key = Key::new();
        for (name, template) in &self.key {
            let Some(value) = template.value(view)? else { return Ok(None) };
            fits_key(&value).map_err(|what| Reject::new(format!("`key.{name}` = `{template}` {what}")))?;
            key.insert(name.clone(), value);
        }
        Ok(Some(key))
    }

    /// The attributes of a row beside its key.
    fn item(&self, key: &Key, view: View<'_>) -> Result<Item, Reject> {
        if self.set.is_empty() {
            return source_key(key, view);
        }
        let mut item = HashMap::with_capacity(self.set.len());
        for (name, template) in self.set.iter().filter(|(name, _)| !key.contains_key(name)) {
            if let Some(value) = template.value(view)? {
                item.insert(name.to_string(), value);
            }
        }
        Ok(item.into())
    }

    fn clash(&self, SameRow(key): &SameRow) -> Reject {
        let names = key.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let each = self.each.as_ref().map(|each| format!("elements of `{}`", each.path)).unwrap_or_default();
        Reject::new(format!(
            "two {each} ask for the same row, with the same {names} and different attributes; let the key tell them apart"
        ))
    }
}

/// The source item's key attributes, which lead from a lookup row to the item.
fn source_key(key: &Key, view: View<'_>) -> Result<Item, Reject> {
    let mut item = HashMap::new();
    for (name, value) in view.keys.item()?.iter() {
        match key.get(name.as_str()) {
            None => drop(item.insert(name.clone(), value.clone())),
            Some(same) if same == value => {}
            Some(_) => {
                return Err(Reject::deployment(format!(
                    "the source's own key has an attribute `{name}` too, which the row could not hold beside `key.{name}`; \
                     rename that, or say in `set` what the row holds"
                )));
            }
        }
    }
    Ok(item.into())
}

fn elements(each: &Placeholder, view: View<'_>) -> Result<Vec<Value>, Reject> {
    Ok(match Template::Attribute(each.clone()).value(view)? {
        None => Vec::new(),
        Some(Value::L(list)) => list,
        Some(Value::Ss(set)) => set.into_iter().map(Value::S).collect(),
        Some(Value::Ns(set)) => set.into_iter().map(Value::N).collect(),
        Some(Value::Bs(set)) => set.into_iter().map(Value::B).collect(),
        Some(other) => {
            let found = type_name(&other);
            let what =
                format!("`each` = `{}` is of type {found}: only a list or a set has elements", each.path);
            return Err(Reject::new(what));
        }
    })
}
