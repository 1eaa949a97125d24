//! From the items of one transaction to its actions, and whom each action is for.

use std::collections::{BTreeMap, HashMap};

use millstream_projections::decimal::Decimal;
use millstream_projections::fold::{Rules, TotalsRules};
use millstream_projections::item::AttributeName;
use millstream_projections::{Item, KeyDigest, Value};

use super::entry::Touch;
use super::pack::{Chunk, TotalsRow};
use super::survey::Survey;
use crate::sink::fold::{Action, Numbers, Only, Revision, Seen, Settle, ValueMove};

/// Whom an action is for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Owner {
    /// The ledger row of an item, by its place in the chunk.
    Ledger(usize),
    /// A lookup row of an item.
    Lookup(usize, Vec<u8>),
    /// A totals row.
    Totals(Vec<u8>),
    /// How many items have a value in a totals row.
    Value(Vec<u8>),
}

/// What was seen of totals rows that may have become empty, where one is there.
pub(super) type Emptied = HashMap<Vec<u8>, Option<Item>>;

/// The actions of a chunk with their owners.
pub(super) fn actions(
    chunk: &Chunk,
    emptied: &Emptied,
    surveys: &BTreeMap<Vec<u8>, Survey>,
) -> Vec<(Owner, Action)> {
    let mut actions = Vec::with_capacity(crate::sink::fold::MAX_ACTIONS);
    for (place, (_, turn)) in chunk.entries.iter().enumerate() {
        actions.push((Owner::Ledger(place), Action::Ledger(turn.ledger.clone())));
        for (row, _, touch) in &turn.touches {
            if let Touch::Lookup(action) = touch {
                actions.push((Owner::Lookup(place, row.clone()), action.clone()));
            }
        }
    }
    let rules = chunk.totals_rules();
    for (bytes, totals) in &chunk.totals {
        let action = match surveys.get(bytes) {
            Some(survey) => {
                let value = |moved: &ValueMove| (Owner::Value(bytes.clone()), Action::Value(moved.clone()));
                actions.extend(survey.values.iter().map(value));
                Some(with_statistics(totals, rules, survey, chunk.revision()))
            }
            None => numbers(totals, rules, emptied.get(bytes)),
        };
        actions.extend(action.map(|action| (Owner::Totals(bytes.clone()), action)));
    }
    actions
}

/// The action of a totals row of which only numbers change; none if they do not.
fn numbers(totals: &TotalsRow, rules: &TotalsRules, seen: Option<&Option<Item>>) -> Option<Action> {
    if totals.add.values().all(Decimal::is_zero) && !totals.is_entered {
        return None;
    }
    let (row, add) = (totals.row.clone(), totals.add.clone());
    let Some((count, fewer)) = shrinks(totals, rules) else {
        return Some(Action::Add { row, add, only: Only::Always });
    };
    Some(match seen {
        // A row that is left with items has more of them than go.
        None => Action::Add { row, add, only: Only::Above(count, -&fewer) },
        // Nobody counts less than nothing.
        Some(None) => Action::Absent { row },
        Some(Some(seen)) if is_left_empty(seen, &add) => {
            Action::DropEmpty { row, seen: numbers_of(seen, &add), revision: None }
        }
        // DynamoDB says best what is wrong with it.
        Some(Some(seen)) if seen.get(&*count).is_some() && number(seen, &count).is_none() => {
            Action::Add { row, add, only: Only::Always }
        }
        Some(Some(seen)) => {
            let only = Only::Unchanged(numbers_of(seen, &add));
            Action::Add { row, add, only }
        }
    })
}

/// The attribute that counts, and by how much, where a row that counts nothing any more has to go, and this might be it.
fn shrinks(totals: &TotalsRow, rules: &TotalsRules) -> Option<(AttributeName, Decimal)> {
    let count = rules.count.clone().filter(|_| rules.delete_empty)?;
    let by = totals.add.get(&count)?;
    by.is_negative().then(|| (count, by.clone()))
}

/// Whether all that a row adds up is zero afterwards.
fn is_left_empty(row: &Item, add: &Numbers) -> bool {
    let is_zero = |(name, more): (&AttributeName, &Decimal)| match row.get(&**name) {
        None => more.is_zero(),
        Some(_) => number(row, name).is_some_and(|now| (&now + more).is_zero()),
    };
    add.iter().all(is_zero)
}

/// What a row says of the attributes that are added up; none where it has no such attribute.
fn numbers_of(row: &Item, add: &Numbers) -> Seen {
    add.keys().map(|name| (name.clone(), number(row, name))).collect()
}

/// A number in a row.
fn number(row: &Item, attribute: &str) -> Option<Decimal> {
    match row.get(attribute) {
        Some(Value::N(text)) => Decimal::parse(text).ok(),
        _ => None,
    }
}

/// The action of a totals row whose statistics change with its numbers.
fn with_statistics(totals: &TotalsRow, rules: &TotalsRules, survey: &Survey, next: Revision) -> Action {
    let row = totals.row.clone();
    match (&survey.row, shrinks(totals, rules)) {
        (None, Some(_)) => Action::Absent { row },
        (Some(seen), Some(_)) if is_left_empty(seen, &totals.add) => Action::DropEmpty {
            row,
            seen: numbers_of(seen, &totals.add),
            revision: Some(survey.revision.clone()),
        },
        _ => Action::Settle(Settle {
            row,
            add: totals.add.clone(),
            statistics: survey.statistics.clone(),
            seen: survey.revision.clone(),
            next,
        }),
    }
}

impl Chunk {
    /// How totals rows are kept. Rows that an earlier config kept, and this one does not, are only left.
    pub(super) fn totals_rules(&self) -> &TotalsRules {
        static NONE: TotalsRules = TotalsRules { count: None, delete_empty: false, statistics: Vec::new() };
        let rules =
            self.entries.first().and_then(|(entry, _)| entry.candidate()).map(|(_, fold)| &*fold.rules);
        match rules {
            Some(Rules::Totals(rules)) => rules,
            Some(Rules::Lookup { .. }) | None => &NONE,
        }
    }

    /// A change is folded once: it names what nothing else does. With it stands by which rules.
    fn revision(&self) -> Revision {
        let by = rules_digest(self.totals_rules());
        Revision(self.entries.first().map(|(_, turn)| format!("{by}/{}", turn.ledger.guard)))
    }
}

/// Tells apart what statistics are kept: under other rules, what a row shows is not known to be right.
pub(super) fn rules_digest(rules: &TotalsRules) -> KeyDigest {
    let text: Vec<String> = rules.statistics.iter().map(|statistic| format!("{statistic:?}")).collect();
    KeyDigest::of_bytes(text.join("\n").as_bytes())
}
