//! What a fold would meet: the ledger row of its source item, and the rows that the item contributes to.

use std::collections::BTreeMap;

use millstream_processor::outcome::Fault;
use millstream_processor::sink::fold::Contributed;
use millstream_projections::decimal::Decimal;
use millstream_projections::effect::Effect;
use millstream_projections::fold::{Beside, Fold, Part, Rules, Share, Totals, TotalsRules};
use millstream_projections::{Guard, ProjectionName, Value};

use super::decide::{Decided, Row, guard_of};
use super::{EffectPlan, Planner, Verdict};

impl Planner<'_> {
    /// Plans one fold: one line for each row that it changes, or one that says why it changes none.
    pub(super) async fn fold(
        &self,
        projection: &ProjectionName,
        effect: &Effect,
        fold: &Fold,
        fades: bool,
    ) -> Result<Vec<EffectPlan>, Fault> {
        let folds = &self.desk.pipeline.folds;
        let read = || folds.contributed(projection, effect.guard.digest);
        let contributed = self.desk.retried("read the ledger", read).await?;
        let standing = contributed.as_ref().and_then(|row| row.version.as_ref()).map(ToString::to_string);
        let none = |verdict, note| EffectPlan {
            projection: projection.to_string(),
            write: effect.write.kind(),
            resource: effect.target.resource().to_string(),
            key: BTreeMap::new(),
            verdict,
            note: Some(note),
            standing: standing.clone(),
            attributes: Vec::new(),
            event: None,
        };
        if let Some((verdict, note)) = refused(&effect.guard, fold, contributed.as_ref(), fades) {
            return Ok(vec![none(verdict, note)]);
        }
        let before = contributed.map(|row| row.contribution).unwrap_or_default();
        let mut plans = Vec::new();
        for changed in before.beside(&fold.after).iter().filter(|row| row.before != row.after) {
            let Some(share) = changed.after.or(changed.before) else { continue };
            let current = || self.desk.rows.current(&share.table, &share.key);
            let current = self.desk.retried("read a row", current).await?;
            let current: Option<Row> = current.map(|item| item.into_inner().into_iter().collect());
            let decided = decide(projection, effect, fold, changed, current.as_ref());
            plans.push(EffectPlan {
                resource: share.table.to_string(),
                key: share.key.iter().map(|(name, value)| (name.to_string(), self.shown(value))).collect(),
                verdict: decided.verdict,
                note: decided.note,
                attributes: self.differences(current.as_ref(), &decided),
                ..none(decided.verdict, "")
            });
        }
        if plans.is_empty() {
            plans.push(none(Verdict::WouldWrite, "its rows stay as they are, the ledger learns its version"));
        }
        Ok(plans)
    }
}

/// Why nothing would be folded, if that is so.
fn refused(
    guard: &Guard,
    fold: &Fold,
    contributed: Option<&Contributed>,
    fades: bool,
) -> Option<(Verdict, &'static str)> {
    let Some(contributed) = contributed else {
        let note = "a later change may have removed the item, which is forgotten by now";
        return (fades && !fold.after.is_empty()).then_some((Verdict::TooOld, note));
    };
    match contributed.version.as_ref() {
        Some(seen) if *seen == guard.version => Some((Verdict::Stale, "the ledger has this very version")),
        Some(seen) if *seen > guard.version => Some((Verdict::Superseded, "the ledger has a newer version")),
        // A ledger row shows itself that no removal was forgotten.
        Some(_) | None => None,
    }
}

fn decide(
    projection: &ProjectionName,
    effect: &Effect,
    fold: &Fold,
    changed: &Beside<'_>,
    row: Option<&Row>,
) -> Decided {
    let stored = guard_of(projection, row);
    let others = stored.is_some_and(|stored| !effect.guard.owns(stored));
    // A row that Millstream did not write is taken over, or left alone.
    let strange = row.is_some() && stored.is_none() && *fold.rules == Rules::Lookup { unique: true };
    let write = |after: Option<Row>| Decided { verdict: Verdict::WouldWrite, note: None, after };
    let keep =
        |verdict: Verdict, note: &'static str| Decided { verdict, note: Some(note), after: row.cloned() };
    let Beside { before, after, place, .. } = *changed;
    match (before.map(|share| &share.part), after.map(|share| &share.part)) {
        (_, Some(Part::Lookup { .. })) if others => {
            keep(Verdict::StillRejected, "the row belongs to another item")
        }
        (_, Some(Part::Lookup { .. })) if strange => {
            keep(Verdict::StillRejected, "the row is there already, and not of this index")
        }
        (_, Some(Part::Lookup { .. })) => {
            let item = place.and_then(|place| fold.items.get(place)).into_iter().flat_map(|item| item.iter());
            let item = item.map(|(name, value)| (name.clone(), value.clone()));
            write(Some(item.chain(key_of(after)).collect()))
        }
        (Some(Part::Lookup { .. }), None) if others => {
            keep(Verdict::Stale, "the row is another item's by now")
        }
        (Some(Part::Lookup { .. }), None) if strange => {
            keep(Verdict::Stale, "the row is not of this index any more")
        }
        (Some(Part::Lookup { .. }), None) => write(None),
        (before, after_part) => {
            let shrinks = shrinks(&fold.rules, before, after_part);
            if shrinks && row.is_none() {
                return write(None);
            }
            let mut next = row.cloned().unwrap_or_else(|| key_of(after.or(changed.before)).collect());
            add(&mut next, totals(before), |number| -number);
            add(&mut next, totals(after_part), Decimal::clone);
            let mut added =
                [before, after_part].into_iter().filter_map(totals).flat_map(|part| part.add.keys());
            let is_empty = shrinks && added.all(|name| number(&next, name).is_zero());
            write((!is_empty).then_some(next))
        }
    }
}

/// Whether a totals row counts less than before, and goes when nothing is left.
fn shrinks(rules: &Rules, before: Option<&Part>, after: Option<&Part>) -> bool {
    let Rules::Totals(TotalsRules { count: Some(count), delete_empty: true, .. }) = rules else {
        return false;
    };
    let counts = |part| totals(part).and_then(|totals| totals.add.get(count)).cloned().unwrap_or_default();
    (&counts(after) - &counts(before)).is_negative()
}

fn key_of(share: Option<&Share>) -> impl Iterator<Item = (String, Value)> {
    let key = share.into_iter().flat_map(|share| &share.key);
    key.map(|(name, value)| (name.to_string(), value.clone()))
}

fn totals(part: Option<&Part>) -> Option<&Totals> {
    match part {
        Some(Part::Totals(totals)) => Some(totals),
        Some(Part::Lookup { .. }) | None => None,
    }
}

/// Adds an item's numbers to a row, or takes them back. What the row shows of values follows when it is written.
fn add(row: &mut Row, totals: Option<&Totals>, sign: impl Fn(&Decimal) -> Decimal) {
    for (name, number) in totals.into_iter().flat_map(|totals| &totals.add) {
        let next = &self::number(row, name) + &sign(number);
        row.insert(name.to_string(), Value::N(next.to_string()));
    }
}

fn number(row: &Row, name: &str) -> Decimal {
    match row.get(name) {
        Some(Value::N(text)) => Decimal::parse(text).unwrap_or_default(),
        _ => Decimal::default(),
    }
}
