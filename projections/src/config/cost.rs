//! What each kind of projection costs to write, in DynamoDB's write units (WCU, or WRU on demand).
//!
//! A write has as many units as the row has KB, rounded up, and the larger of the row before and after counts. In a
//! transaction every action has twice as many. A write whose condition fails, as a stale one does, has its units too.

use std::fmt;

use super::{Config, Kind, ProjectionConfig};
use crate::effect::Tombstones;
use crate::kinds::aggregate::Aggregate;
use crate::kinds::copy::{OnDelete, Rows};
use crate::kinds::index::Index;
use crate::name::ProjectionName;

/// What one change costs: `row` times the units of the row, `totals` times those of the totals row, and some units and
/// requests that do not depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Units {
    /// Times the units of the row.
    pub row: u32,
    /// Times the units of the totals row, which the changes of a batch share: up to about 98 of them one write.
    pub totals: u32,
    /// Units of our own tables, whose rows are below 1 KB.
    pub ledger: u32,
    /// Events; ten share one request.
    pub events: u32,
}

impl Units {
    /// The write units for a row of so many KB, rounded up, if no other change shares the totals row.
    pub fn of_row(self, kilobytes: u32) -> u32 {
        (self.row + self.totals) * kilobytes + self.ledger
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.row, self.totals, self.ledger, self.events) {
            (0, 0, 0, 0) => f.write_str("0"),
            (0, 0, 0, _) => f.write_str("0 (1/10 publish)"),
            (row, 0, 0, _) => write!(f, "{row} × row"),
            (row, 0, ledger, _) => write!(f, "{row} × row + {ledger}"),
            (_, totals, ledger, _) => write!(f, "{totals} × totals + {ledger}"),
        }
    }
}

/// What a projection costs for each kind of change that concerns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// The projection.
    pub projection: ProjectionName,
    /// Whether all of it counts once for every row that the index finds, rather than once for the change.
    pub each_found_row: bool,
    /// A new item, or one that begins to match.
    pub insert: Units,
    /// A change of an item that stays in its row.
    pub modify: Units,
    /// A change that moves the item to another row; none of an `emit`, which has no rows.
    pub moved: Option<Units>,
    /// An item that goes, or no longer matches.
    pub remove: Units,
    /// What else is to know.
    pub note: &'static str,
}

/// The costs of all projections, in the order of the file.
pub fn costs(config: &Config) -> Vec<Cost> {
    config.projections.iter().map(cost).collect()
}

/// The cost of one projection.
pub fn cost(projection: &ProjectionConfig) -> Cost {
    let name = projection.name.clone();
    match &projection.kind {
        Kind::Replica(replica) => of_replica(name, replica.tombstones),
        Kind::Copy(copy) => of_copy(name, &copy.rows, copy.on_delete),
        Kind::Aggregate(aggregate) => of_aggregate(name, aggregate),
        Kind::Index(index) => of_index(name, index),
        Kind::Emit(_) => {
            let event = Units { events: 1, ..Units::default() };
            let note = "an event is billed by 64 KB of the request";
            Cost {
                insert: event,
                modify: event,
                moved: None,
                remove: event,
                note,
                projection: name,
                each_found_row: false,
            }
        }
    }
}

const NOTHING: Units = Units { row: 0, totals: 0, ledger: 0, events: 0 };
const ONE_WRITE: Units = Units { row: 1, ..NOTHING };
const TWO_WRITES: Units = Units { row: 2, ..NOTHING };
/// The row, and a check or a put of its tombstone or its ledger row, each at twice the units.
const TRANSACTION: Units = Units { row: 2, ledger: 2, ..NOTHING };

fn of_replica(projection: ProjectionName, tombstones: Tombstones) -> Cost {
    let (insert, moved, remove, note) = match tombstones {
        Tombstones::Ledger => {
            let note = "rows that appear or go take a transaction with the ledger";
            (TRANSACTION, Units { row: 4, ledger: 4, ..NOTHING }, TRANSACTION, note)
        }
        Tombstones::Inline => (
            ONE_WRITE,
            TWO_WRITES,
            ONE_WRITE,
            "a marker stays in the row's place until the time to live drops it",
        ),
        Tombstones::Never => (ONE_WRITE, ONE_WRITE, NOTHING, "rows are never removed"),
    };
    Cost { projection, each_found_row: false, insert, modify: ONE_WRITE, moved: Some(moved), remove, note }
}

fn of_copy(projection: ProjectionName, rows: &Rows, on_delete: OnDelete) -> Cost {
    let (moved, remove) = match on_delete {
        OnDelete::Clear | OnDelete::Delete => (TWO_WRITES, ONE_WRITE),
        OnDelete::Keep => (ONE_WRITE, NOTHING),
    };
    let (each_found_row, note) = match rows {
        Rows::One(_) => (false, "no row there: 1 unit for the failed condition"),
        Rows::Many { .. } => (true, "and a query: half a read unit for each 4 KB of the index"),
    };
    Cost {
        projection,
        each_found_row,
        insert: ONE_WRITE,
        modify: ONE_WRITE,
        moved: Some(moved),
        remove,
        note,
    }
}

/// Everything is part of a transaction: the ledger row of the item, the totals row, and one row of our table of
/// values for each that comes or goes.
fn of_aggregate(projection: ProjectionName, aggregate: &Aggregate) -> Cost {
    let columns = aggregate.columns() as u32;
    let units = |rows: u32, values: u32| Units { totals: 2 * rows, ledger: 2 + 2 * values, ..NOTHING };
    let note = match columns {
        0 => "`totals` is written once for the changes of a batch, up to 98 at a time",
        _ => {
            "`totals` is written once for the changes of a batch, up to 98 at a time; a value of `min`, `max` or \
             `distinct` that stays costs nothing, and where a least or greatest one goes, the next is queried"
        }
    };
    Cost {
        projection,
        each_found_row: false,
        insert: units(1, columns),
        modify: units(1, 2 * columns),
        moved: Some(units(2, 2 * columns)),
        remove: units(1, columns),
        note,
    }
}

fn of_index(projection: ProjectionName, index: &Index) -> Cost {
    let note = match index.each {
        None => "a row that stays as it is is not written: 2",
        Some(_) => {
            "`row` is every element's row that comes, goes or changes; one that stays as it is is not written"
        }
    };
    Cost {
        projection,
        each_found_row: false,
        insert: TRANSACTION,
        modify: TRANSACTION,
        moved: Some(Units { row: 4, ledger: 2, ..NOTHING }),
        remove: TRANSACTION,
        note,
    }
}
