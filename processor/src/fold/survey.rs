//! Reads what the statistics of a totals row rest on: which values its items have, and how many have each.
//!
//! The row's revision is read first. Everything that changes a value's row changes the revision in the same transaction,
//! so what is read afterwards is either what stood under that revision, or the transaction that rests on it is refused. A
//! row that is not there has no revision, and no values either; should it have come and gone meanwhile, or have been
//! deleted by hand, the number of items that each value had still has to be what was read.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_projections::fold::{Shows, Statistic, TotalsRules, sort_key};
use millstream_projections::item::AttributeName;
use millstream_projections::{Item, ProjectionName, Value};

use super::actions::rules_digest;
use super::pack::TotalsRow;
use crate::ledger::{revision, values_column};
use crate::outcome::Fault;
use crate::sink::fold::{FoldSink, From, Revision, VALUES_PAGE, ValueCount, ValueMove};

/// What was read, and what follows from it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Survey {
    /// The revision that all of this rests on.
    pub(super) revision: Revision,
    /// The row, if it is there.
    pub(super) row: Option<Item>,
    /// The statistics as they are after the transaction.
    pub(super) statistics: BTreeMap<AttributeName, Option<Value>>,
    /// How many items have the values that change.
    pub(super) values: Vec<ValueMove>,
}

/// Surveys one totals row.
pub(super) async fn survey(
    sink: &dyn FoldSink,
    projection: &ProjectionName,
    rules: &TotalsRules,
    (bytes, totals): (&[u8], &TotalsRow),
) -> Result<Survey, Fault> {
    let row = sink.totals(&totals.row).await?;
    let revision = row.as_ref().and_then(|row| revision(projection, row));
    // What stands on a row that someone made anew, or under other rules, is not known to be right.
    let same_rules = format!("{}/", rules_digest(rules));
    let is_known = revision.as_ref().is_some_and(|revision| revision.starts_with(&same_rules));
    let mut survey =
        Survey { revision: Revision(revision), row, statistics: BTreeMap::new(), values: Vec::new() };
    let mut columns = by_column(totals);
    if !is_known {
        for statistic in &rules.statistics {
            columns.entry(statistic.column.clone()).or_default();
        }
    }
    for (name, changes) in columns {
        let id = values_column(projection, bytes, &name);
        let column = Column { sink, moves: moves(sink, &id, &changes).await?, id };
        for statistic in rules.statistics.iter().filter(|it| it.column == name) {
            let known =
                survey.row.as_ref().filter(|_| is_known).and_then(|row| row.get(&*statistic.attribute));
            let value = column.statistic(statistic, known).await?;
            survey.statistics.insert(statistic.attribute.clone(), value);
        }
        survey.values.extend(column.moves.into_values());
    }
    Ok(survey)
}

/// The changes of one column, by the order of the values.
type Changes = BTreeMap<Vec<u8>, (Value, i64)>;

fn by_column(totals: &TotalsRow) -> BTreeMap<Arc<str>, Changes> {
    let mut columns: BTreeMap<Arc<str>, Changes> = BTreeMap::new();
    for ((column, order), change) in &totals.values {
        columns.entry(column.clone()).or_default().insert(order.clone(), change.clone());
    }
    columns
}

/// By the order of the values.
type Moves = BTreeMap<Vec<u8>, ValueMove>;

async fn moves(sink: &dyn FoldSink, id: &str, changes: &Changes) -> Result<Moves, Fault> {
    let orders: Vec<Vec<u8>> = changes.keys().cloned().collect();
    let counts: BTreeMap<Vec<u8>, u64> =
        sink.counts(id, &orders).await?.into_iter().map(|count| (count.order, count.items)).collect();
    let moved = changes.iter().map(|(order, (value, more))| {
        let had = counts.get(order).copied().unwrap_or(0);
        let items = had.saturating_add_signed(*more);
        let (column, order, value) = (id.to_owned(), order.clone(), value.clone());
        (order.clone(), ValueMove { column, order, value, had, items })
    });
    Ok(moved.collect())
}

/// One column of one totals row.
struct Column<'a> {
    sink: &'a dyn FoldSink,
    id: String,
    moves: Moves,
}

impl Column<'_> {
    async fn statistic(&self, statistic: &Statistic, known: Option<&Value>) -> Result<Option<Value>, Fault> {
        match statistic.shows {
            Shows::Min => self.extreme(From::Least, known).await,
            Shows::Max => self.extreme(From::Greatest, known).await,
            Shows::Distinct => self.distinct(known).await.map(Some),
        }
    }

    /// The first value from one end that an item has.
    async fn extreme(&self, from: From, known: Option<&Value>) -> Result<Option<Value>, Fault> {
        let moved = self.moves.iter().filter(|(_, moved)| moved.items > 0);
        let moved = moved.map(|(order, moved)| (order.clone(), moved.value.clone()));
        let entered = match from {
            From::Least => moved.min_by(|a, b| a.0.cmp(&b.0)),
            From::Greatest => moved.max_by(|a, b| a.0.cmp(&b.0)),
        };
        let known = known.and_then(|value| Some((sort_key(value).ok()?, value.clone())));
        let stands = |order: &Vec<u8>| self.moves.get(order).is_none_or(|moved| moved.items > 0);
        let stood = match known {
            Some(known) if stands(&known.0) => Some(known),
            _ => self.first(from).await?,
        };
        let first = stood.into_iter().chain(entered).reduce(|a, b| match from {
            From::Least if b.0 < a.0 => b,
            From::Greatest if b.0 > a.0 => b,
            From::Least | From::Greatest => a,
        });
        Ok(first.map(|(_, value)| value))
    }

    /// The first value from one end that an item had, and still has.
    async fn first(&self, from: From) -> Result<Option<(Vec<u8>, Value)>, Fault> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.sink.values(&self.id, from, after.as_deref()).await?;
            let is_last = page.len() < VALUES_PAGE;
            after = page.last().map(|count| count.order.clone());
            let stands = |count: &ValueCount| match self.moves.get(&count.order) {
                Some(moved) => moved.items > 0,
                None => count.items > 0,
            };
            if let Some(count) = page.into_iter().find(stands) {
                return Ok(Some((count.order, count.value)));
            }
            if is_last {
                return Ok(None);
            }
        }
    }

    /// How many different values there are.
    async fn distinct(&self, known: Option<&Value>) -> Result<Value, Fault> {
        let known = match known {
            Some(Value::N(text)) => text.parse::<i64>().ok(),
            _ => None,
        };
        let had = match known {
            Some(had) => had,
            None => self.count().await?,
        };
        let more: i64 =
            self.moves.values().map(|moved| i64::from(moved.items > 0) - i64::from(moved.had > 0)).sum();
        Ok(Value::N((had + more).max(0).to_string()))
    }

    async fn count(&self) -> Result<i64, Fault> {
        let (mut values, mut after) = (0, None::<Vec<u8>>);
        loop {
            let page = self.sink.values(&self.id, From::Least, after.as_deref()).await?;
            values += page.iter().filter(|count| count.items > 0).count() as i64;
            if page.len() < VALUES_PAGE {
                return Ok(values);
            }
            after = page.last().map(|count| count.order.clone());
        }
    }
}
