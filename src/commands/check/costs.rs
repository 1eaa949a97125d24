//! The table of what each projection costs.

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use millstream_projections::config::Config;
use millstream_projections::config::cost::{Cost, Units, costs};

/// Every projection with the write units of each kind of change, and what else is to know of them.
pub(super) fn table(config: &Config) -> String {
    let costs = costs(config);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["write units of", "insert", "modify", "move", "remove"]);
    let mut notes: Vec<(&str, Vec<&str>)> = Vec::new();
    for cost in &costs {
        table.add_row(row(cost));
        match notes.iter_mut().find(|(note, _)| *note == cost.note) {
            Some((_, projections)) => projections.push(cost.projection.as_str()),
            None => notes.push((cost.note, vec![cost.projection.as_str()])),
        }
    }
    let notes: Vec<String> = notes.iter().map(|(note, of)| format!("{}: {note}.\n", of.join(", "))).collect();
    let totals = costs.iter().any(|cost| cost.insert.totals > 0);
    let totals = if totals { TOTALS_LEGEND } else { "" };
    format!("{table}\n{}\n{LEGEND}{totals}", notes.concat())
}

const LEGEND: &str = "\
`row` is the size of the row in KB, rounded up, before or after the write, whichever is larger; `found` stands for
every row that the index finds. `move` is a change that gives the item another row; an item that begins or ceases to
match `where` is an insert or a remove. A write that turns out stale costs the same. Indexes of the target table cost
extra where they hold what was written.
";

/// What is to know where totals are kept.
const TOTALS_LEGEND: &str = "\
`totals` is likewise the size of the totals row. It counts once a transaction, which up to about 98 items of a batch
share; the units beside it are each item's own.
";

fn row(cost: &Cost) -> [String; 5] {
    let units = |units: Units| match cost.each_found_row {
        true if units.row > 0 => format!("{units} found"),
        _ => units.to_string(),
    };
    let moved = cost.moved.map_or_else(|| "–".to_owned(), units);
    [cost.projection.to_string(), units(cost.insert), units(cost.modify), moved, units(cost.remove)]
}
