//! What one effect would meet: the same rules as the sink's conditions, on a row that was read.

use std::collections::BTreeMap;

use millstream_processor::sink::dynamodb::request::{REMOVED, guard_attribute};
use millstream_projections::effect::{Effect, Reach, Tombstones, Write};
use millstream_projections::item::{Key, same};
use millstream_projections::{Guard, ProjectionName, Value};

use super::Verdict;

/// A row, its attributes in the order of their names.
pub(super) type Row = BTreeMap<String, Value>;

/// What an effect would do to a row.
#[derive(Debug, PartialEq)]
pub(super) struct Decided {
    pub(super) verdict: Verdict,
    pub(super) note: Option<&'static str>,
    /// The row as it would be; `None` if it would be gone, or is not there.
    pub(super) after: Option<Row>,
}

/// What is known of removals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory<'a> {
    /// The version up to which the ledger remembers a removal.
    pub(super) tombstone: Option<&'a str>,
    /// Whether the change is so old that a removal after it may be forgotten.
    pub(super) fades: bool,
}

/// Whose version stands in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    NoRow,
    NoGuard,
    Older,
    Same,
    Newer,
    Others,
}

/// Decides for a row as it stands.
pub(super) fn decide(
    effect: &Effect,
    projection: &ProjectionName,
    found_by: Option<&Key>,
    row: Option<&Row>,
    memory: Memory<'_>,
) -> Decided {
    let stands = stands(&effect.guard, projection, row);
    let write = |after: Option<Row>| Decided { verdict: Verdict::WouldWrite, note: None, after };
    let keep =
        |verdict: Verdict, note: &'static str| Decided { verdict, note: Some(note), after: row.cloned() };
    match stands {
        Stands::Same => return keep(Verdict::Stale, "the row has this very version"),
        Stands::Newer => return keep(Verdict::Superseded, "the row has a newer version"),
        Stands::NoRow | Stands::NoGuard | Stands::Older | Stands::Others => {}
    }
    let removed = memory.tombstone.is_some_and(|version| version >= effect.guard.version.as_str());
    match &effect.write {
        Write::Put { item, tombstones, .. } => {
            // A row that is there and not another's shows itself that nothing removed it since.
            let asks_ledger = matches!(stands, Stands::NoRow | Stands::Others);
            if *tombstones == Tombstones::Ledger && asks_ledger && removed {
                return keep(Verdict::Superseded, "a later change removed the row");
            }
            if *tombstones != Tombstones::Never && asks_ledger && memory.fades {
                return keep(
                    Verdict::TooOld,
                    "a later change may have removed the row, which is forgotten by now",
                );
            }
            write(Some(item.iter().map(|(name, value)| (name.clone(), value.clone())).collect()))
        }
        Write::Delete { tombstones: Tombstones::Ledger } if removed => {
            keep(Verdict::Superseded, "the row is known to be removed")
        }
        Write::Delete { tombstones } => match (tombstones, stands) {
            (Tombstones::Never, _) => keep(Verdict::Stale, "rows are never removed"),
            (_, Stands::Others) => keep(Verdict::Stale, "the row is another item's by now"),
            (Tombstones::Ledger, _) => write(None),
            (Tombstones::Inline, _) => write(Some(Row::from([(REMOVED.to_owned(), Value::Bool(true))]))),
        },
        Write::Patch { set, remove, reach } => match row {
            None => keep(Verdict::Stale, "there is no row"),
            Some(row) if !has(row, found_by) => {
                keep(Verdict::Stale, "the row moved away from the index's key")
            }
            Some(_) if !within(*reach, stands) => keep(Verdict::Stale, "the row is not this item's"),
            Some(row) => {
                let mut after = row.clone();
                after.extend(set.iter().map(|(name, value)| (name.to_string(), value.clone())));
                remove.iter().for_each(|name| drop(after.remove(&**name)));
                write(Some(after))
            }
        },
        Write::Drop { reach } => match row {
            None => keep(Verdict::Stale, "there is no row"),
            Some(row) if !has(row, found_by) => {
                keep(Verdict::Stale, "the row moved away from the index's key")
            }
            Some(_) if !within(*reach, stands) => keep(Verdict::Stale, "the row is not this item's"),
            Some(_) => write(None),
        },
        Write::Publish(_) | Write::Fold(_) => write(None),
    }
}

/// The guard that a row carries for a projection.
pub(super) fn guard_of<'a>(projection: &ProjectionName, row: Option<&'a Row>) -> Option<&'a str> {
    match row?.get(&guard_attribute(projection)) {
        Some(Value::S(guard)) => Some(guard),
        _ => None,
    }
}

fn stands(guard: &Guard, projection: &ProjectionName, row: Option<&Row>) -> Stands {
    if row.is_none() {
        return Stands::NoRow;
    }
    let Some(stored) = guard_of(projection, row) else { return Stands::NoGuard };
    if !guard.owns(stored) {
        return Stands::Others;
    }
    match stored.cmp(guard.to_string().as_str()) {
        std::cmp::Ordering::Less => Stands::Older,
        std::cmp::Ordering::Equal => Stands::Same,
        std::cmp::Ordering::Greater => Stands::Newer,
    }
}

/// Whether a write that reaches so far may change a row on which this stands.
fn within(reach: Reach, stands: Stands) -> bool {
    match stands {
        Stands::Older => true,
        Stands::NoGuard => reach != Reach::Own,
        Stands::Others => reach == Reach::Others,
        Stands::NoRow | Stands::Same | Stands::Newer => false,
    }
}

fn has(row: &Row, found_by: Option<&Key>) -> bool {
    found_by.into_iter().flatten().all(|(name, value)| row.get(&**name).is_some_and(|has| same(has, value)))
}

#[cfg(test)]
mod tests;
