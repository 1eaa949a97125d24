//! Reads what effects would meet: rows, tombstones, and what an index finds.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_processor::outcome::Fault;
use millstream_projections::ProjectionName;
use millstream_projections::effect::{Effect, Target, Write};
use millstream_projections::item::{Key, same};
use serde_json::value::RawValue;

use super::decide::{Decided, Memory, Row, decide, guard_of};
use super::{EffectPlan, Planner, Verdict};
use crate::show::{AttributeDifference, Difference};

/// What starts the names of Millstream's own attributes.
const OWN: &str = "ms:";
/// How many of the rows that an index finds are looked at; the verdict on a letter needs no more.
const MAX_FOUND: usize = 100;

impl Planner<'_> {
    /// Plans one effect: one row, each of the rows that an index finds, or an event. `fades`: the change is so old that
    /// a removal after it may be forgotten.
    pub(super) async fn effect(
        &self,
        projection: &ProjectionName,
        effect: &Effect,
        fades: bool,
    ) -> Result<Vec<EffectPlan>, Fault> {
        if let Write::Fold(fold) = &effect.write {
            return self.fold(projection, effect, fold, fades).await;
        }
        match &effect.target {
            Target::Row { table, key } => {
                Ok(vec![self.row(projection, effect, (table, key), None, fades).await?])
            }
            Target::Found { table, index, key } => {
                let mut plans = Vec::new();
                let mut from = None;
                loop {
                    let rows = &self.desk.pipeline.rows;
                    let find = || rows.find(table, index, key, from.clone());
                    let page = self.desk.retried("query", find).await?;
                    for row in &page.rows {
                        plans.push(self.row(projection, effect, (table, row), Some(key), fades).await?);
                    }
                    from = page.next;
                    if from.is_none() || plans.len() >= MAX_FOUND {
                        return Ok(plans);
                    }
                }
            }
            Target::Topic { .. } | Target::Shared { .. } => Ok(vec![EffectPlan {
                projection: projection.to_string(),
                write: effect.write.kind(),
                resource: effect.target.resource().to_string(),
                key: BTreeMap::new(),
                verdict: Verdict::WouldWrite,
                note: None,
                standing: None,
                attributes: Vec::new(),
                event: self.event(&effect.write),
            }]),
        }
    }

    async fn row(
        &self,
        projection: &ProjectionName,
        effect: &Effect,
        (table, key): (&Arc<str>, &Key),
        found_by: Option<&Key>,
        fades: bool,
    ) -> Result<EffectPlan, Fault> {
        let rows = &self.desk.rows;
        let target = Target::Row { table: table.clone(), key: key.clone() };
        let current = self.desk.retried("read a row", || rows.current(table, key)).await?;
        let tombstone = match &effect.write {
            Write::Put { .. } | Write::Delete { .. } => {
                let read = || rows.tombstone(projection, &effect.guard, &target);
                self.desk.retried("read the ledger", read).await?
            }
            Write::Patch { .. } | Write::Drop { .. } | Write::Publish(_) | Write::Fold(_) => None,
        };
        let current: Option<Row> = current.map(|item| item.into_inner().into_iter().collect());
        let memory = Memory { tombstone: tombstone.as_deref(), fades };
        let decided = decide(effect, projection, found_by, current.as_ref(), memory);
        let standing = guard_of(projection, current.as_ref()).map(version).or(tombstone);
        Ok(EffectPlan {
            projection: projection.to_string(),
            write: effect.write.kind(),
            resource: table.to_string(),
            key: key.iter().map(|(name, value)| (name.to_string(), self.shown(value))).collect(),
            verdict: decided.verdict,
            note: decided.note,
            standing,
            attributes: self.differences(current.as_ref(), &decided),
            event: None,
        })
    }

    /// The current row beside the resulting one, without the attributes that are our own.
    pub(super) fn differences(&self, before: Option<&Row>, decided: &Decided) -> Vec<AttributeDifference> {
        let mut sides: BTreeMap<&String, [Option<&_>; 2]> = BTreeMap::new();
        for (side, row) in [before, decided.after.as_ref()].into_iter().enumerate() {
            for (name, value) in row.into_iter().flatten().filter(|(name, _)| !name.starts_with(OWN)) {
                sides.entry(name).or_default()[side] = Some(value);
            }
        }
        let difference = |(name, [old, new]): (&String, [Option<&_>; 2])| AttributeDifference {
            name: name.clone(),
            difference: match (old, new) {
                (None, _) => Difference::Added,
                (Some(_), None) => Difference::Removed,
                (Some(old), Some(new)) if same(old, new) => Difference::Same,
                (Some(_), Some(_)) => Difference::Changed,
            },
            old: old.map(|value| self.shown(value)),
            new: new.map(|value| self.shown(value)),
        };
        sides.into_iter().map(difference).collect()
    }

    fn event(&self, write: &Write) -> Option<Box<RawValue>> {
        match write {
            Write::Publish(event) if !self.redact => RawValue::from_string(event.body.clone()).ok(),
            _ => None,
        }
    }
}

/// The version of a guard, or the whole of one that is not ours.
fn version(guard: &str) -> String {
    guard.split_once('/').map_or(guard, |(_, version)| version).to_owned()
}
