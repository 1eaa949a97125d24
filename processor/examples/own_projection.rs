//! A Lambda function with a projection of its own beside those of the config.

use std::process::ExitCode;
use std::sync::Arc;

use millstream_processor::projections::effect::{Effect, Target, Tombstones, Write};
use millstream_processor::projections::{
    Change, ChangeKind, Effects, Item, Projection, ProjectionName, Reject, Value,
};

/// Keeps the number of lines of each order, which no template can count.
struct LineCount(ProjectionName);

impl Projection for LineCount {
    fn name(&self) -> &ProjectionName {
        &self.0
    }

    fn project(&self, change: &Change) -> Result<Effects, Reject> {
        let tombstones = Tombstones::Ledger;
        let key =
            change.keys.item()?.iter().map(|(name, value)| (name.as_str().into(), value.clone())).collect();
        let write = match (&change.new, change.kind) {
            (Some(new), ChangeKind::Insert | ChangeKind::Modify) => {
                let Some(Value::L(lines)) = new.attribute("lines")? else {
                    return Err(Reject::new("an order has a list `lines`"));
                };
                let mut row: Item = change.keys.item()?.clone();
                row.insert("lineCount".to_owned(), Value::N(lines.len().to_string()));
                Write::Put { item: row, tombstones, expect_row: change.kind == ChangeKind::Modify }
            }
            _ => Write::Delete { tombstones },
        };
        let target = Target::Row { table: "OrderLineCounts".into(), key };
        Ok(vec![Effect { target, guard: change.guard()?, write }])
    }
}

fn main() -> ExitCode {
    millstream_processor::host::runtime::main(|registry| match ProjectionName::new("line-count") {
        Ok(name) => registry.add("orders", Arc::new(LineCount(name))),
        // The name is a constant: a test would have found it.
        Err(_) => Ok(()),
    })
}
