//! `aggregate`: totals of groups of items: how many, how much, the least, the greatest, and how many different ones.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::selection::Selection;
use super::{Templates, fits_key};
use crate::change::{Change, SHARD, View};
use crate::decimal::Decimal;
use crate::effect::{Effect, Effects, Target, Write};
use crate::fold::{
    Contribution, Fold, Part, Rules, Share, Shows, Statistic, Totals, TotalsRules, comparable,
};
use crate::item::{AttributeName, Key, Value, type_name};
use crate::name::ProjectionName;
use crate::projection::{Projection, Reject};
use crate::template::Template;

/// The settings of an `aggregate`, validated.
#[derive(Debug)]
pub struct Aggregate {
    /// Its name.
    pub name: ProjectionName,
    /// Which changes concern it.
    pub selection: Selection,
    /// The table that holds the totals rows.
    pub table: Arc<str>,
    /// The primary key of a totals row.
    pub group: Templates,
    /// Over how many rows the totals of one group are spread.
    pub shards: NonZeroU32,
    /// What is kept of a group's items.
    pub keeps: Keeps,
    columns: Vec<Column>,
    rules: Arc<Rules>,
}

/// What is kept of a group's items.
#[derive(Debug, Default)]
pub struct Keeps {
    /// The attribute that counts them.
    pub count: Option<AttributeName>,
    /// Numbers that are added up.
    pub sum: Templates,
    /// Numbers that are added up and counted, so that readers divide.
    pub avg: Templates,
    /// Values of which the least is kept.
    pub min: Templates,
    /// Values of which the greatest is kept.
    pub max: Templates,
    /// Values of which the different ones are counted.
    pub distinct: Templates,
    /// Whether a row that counts no items any more is deleted.
    pub delete_empty: bool,
}

impl Keeps {
    /// The templates of all values that are kept.
    pub fn templates(&self) -> impl Iterator<Item = &(AttributeName, Template)> {
        [&self.sum, &self.avg, &self.min, &self.max, &self.distinct].into_iter().flatten()
    }

    /// Whether more than sums is kept, which takes reads and a table of values.
    pub fn has_statistics(&self) -> bool {
        [&self.min, &self.max, &self.distinct].into_iter().any(|kept| !kept.is_empty())
    }

    /// The attributes that a totals row has beside its key.
    pub fn attributes(&self) -> Vec<AttributeName> {
        let shown = [&self.sum, &self.min, &self.max, &self.distinct];
        let shown = shown.into_iter().flatten().map(|(name, _)| name.clone());
        let parts = self.avg.iter().flat_map(|(name, _)| <[_; 2]>::from(parts_of_average(name)));
        self.count.iter().cloned().chain(shown).chain(parts).collect()
    }

    /// The values of which more than their sum is kept, one column a template.
    fn columns(&self) -> Vec<Column> {
        let mut columns: Vec<Column> = Vec::new();
        for (attribute, template) in [&self.min, &self.max, &self.distinct].into_iter().flatten() {
            let name: Arc<str> = template.to_string().into();
            if !columns.iter().any(|column| column.name == name) {
                columns.push(Column { name, attribute: attribute.clone(), template: template.clone() });
            }
        }
        columns
    }

    fn rules(&self) -> TotalsRules {
        let shown = [(Shows::Min, &self.min), (Shows::Max, &self.max), (Shows::Distinct, &self.distinct)];
        let statistics = shown.into_iter().flat_map(|(shows, templates)| {
            templates.iter().map(move |(attribute, template)| Statistic {
                attribute: attribute.clone(),
                shows,
                column: template.to_string().into(),
            })
        });
        TotalsRules {
            count: self.count.clone(),
            delete_empty: self.delete_empty,
            statistics: statistics.collect(),
        }
    }
}

/// The two attributes of which an average is the quotient.
pub fn parts_of_average(name: &str) -> (AttributeName, AttributeName) {
    (format!("{name}_sum").into(), format!("{name}_count").into())
}

/// See [`Totals::values`].
#[derive(Debug)]
struct Column {
    name: Arc<str>,
    /// The first attribute that shows something of it, for messages.
    attribute: AttributeName,
    template: Template,
}

impl Projection for Aggregate {
    fn name(&self) -> &ProjectionName {
        &self.name
    }

    fn project(&self, change: &Change) -> Result<Effects, Reject> {
        let Some(movement) = self.selection.movement(change)? else { return Ok(Effects::new()) };
        let guard = self.selection.guard(change)?;
        if movement.after && change.new.is_none() {
            return Err(Reject::deployment(
                "the stream carries no new image: an aggregate needs NEW_AND_OLD_IMAGES or NEW_IMAGE",
            ));
        }
        let shard = Value::N(guard.digest.shard(self.shards).to_string());
        let contribution = |view: View<'_>| self.contribution(view.with(SHARD, &shard));
        // Only a hint: what cannot be told is nothing.
        let guess = movement.before.then(|| contribution(change.before()).ok()).flatten().unwrap_or_default();
        let after = if movement.after { contribution(change.after())? } else { Contribution::default() };
        let fold = Fold {
            source_key: change.keys.item()?.clone(),
            guess,
            after,
            items: Vec::new(),
            rules: self.rules.clone(),
        };
        let target = Target::Shared { table: self.table.clone() };
        Ok(vec![Effect { target, guard, write: Write::Fold(Box::new(fold)) }])
    }
}

impl Aggregate {
    /// An aggregate of these settings.
    pub fn new(
        (name, selection): (ProjectionName, Selection),
        table: Arc<str>,
        (group, shards): (Templates, NonZeroU32),
        keeps: Keeps,
    ) -> Self {
        let (columns, rules) = (keeps.columns(), Arc::new(Rules::Totals(keeps.rules())));
        Self { name, selection, table, group, shards, keeps, columns, rules }
    }

    /// How many values of an item are compared or told apart, each with rows of its own in our table of values.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    fn contribution(&self, view: View<'_>) -> Result<Contribution, Reject> {
        let key = self.group(view)?;
        let totals = Totals { add: self.numbers(view)?, values: self.values(view)? };
        let share = Share::new(self.table.clone(), key, Part::Totals(totals));
        Ok(share.into())
    }

    fn group(&self, view: View<'_>) -> Result<Key, Reject> {
        let attribute = |(name, template): &(AttributeName, Template)| {
            let value = template
                .value(view)
                .or_else(|reject| Err(ungrouped(name, template, view)?.unwrap_or(reject)))?;
            // The config lets no template of a group be optional.
            let value = value.unwrap_or(Value::Null(true));
            fits_key(&value).map_err(|what| Reject::new(format!("`group.{name}` = `{template}` {what}")))?;
            Ok((name.clone(), value))
        };
        self.group.iter().map(attribute).collect()
    }

    fn numbers(&self, view: View<'_>) -> Result<BTreeMap<AttributeName, Decimal>, Reject> {
        let mut add = BTreeMap::new();
        add.extend(self.keeps.count.iter().map(|count| (count.clone(), Decimal::one())));
        for (name, template) in &self.keeps.sum {
            add.insert(name.clone(), number(name, template, view)?.unwrap_or_default());
        }
        for (name, template) in &self.keeps.avg {
            let number = number(name, template, view)?;
            let (sum, count) = parts_of_average(name);
            add.insert(count, number.as_ref().map_or_else(Decimal::default, |_| Decimal::one()));
            add.insert(sum, number.unwrap_or_default());
        }
        Ok(add)
    }

    fn values(&self, view: View<'_>) -> Result<BTreeMap<Arc<str>, Value>, Reject> {
        let mut values = BTreeMap::new();
        for Column { name, attribute, template } in &self.columns {
            let Some(value) = template.value(view)? else { continue };
            comparable(&value).map_err(|error| {
                Reject::new(format!("`{attribute}` compares `{template}`, which {error}"))
            })?;
            values.insert(name.clone(), value);
        }
        Ok(values)
    }
}

/// What to say of an item that has no group, if that is why there is no value.
fn ungrouped(name: &str, template: &Template, view: View<'_>) -> Result<Option<Reject>, Reject> {
    Ok(template.missing(view)?.map(|path| {
        let what = format!("the item has no attribute `{path}`, which makes `group.{name}`");
        Reject::new(format!("{what}; leave such items out by `where`"))
    }))
}

/// A number to add; none where an optional one is missing.
fn number(attribute: &str, template: &Template, view: View<'_>) -> Result<Option<Decimal>, Reject> {
    let refuse = |what: &dyn std::fmt::Display| {
        Reject::new(format!("`{attribute}` adds up `{template}`, which {what}"))
    };
    match template.value(view)? {
        None => Ok(None),
        Some(Value::N(digits)) => Decimal::parse(&digits).map(Some).map_err(|error| refuse(&error)),
        Some(other) => Err(refuse(&format!("is of type {}: only N can be added up", type_name(&other)))),
    }
}
