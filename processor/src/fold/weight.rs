//! How many bytes DynamoDB counts, about: transactions and rows have their limits.

use millstream_projections::fold::{Contribution, Part};
use millstream_projections::{Item, Value};

/// What a contribution counts in a ledger row.
pub(super) fn weigh_contribution(contribution: &Contribution) -> usize {
    let part = |part: &Part| match part {
        Part::Totals(totals) => {
            64 * (totals.add.len() + 1) + totals.values.values().map(weigh_value).sum::<usize>()
        }
        Part::Lookup { .. } => 32,
    };
    let shares = contribution.shares().iter().zip(contribution.rows());
    shares.map(|(share, row)| 64 + row.len() + part(&share.part)).sum()
}

/// What an item counts.
pub(super) fn weigh(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + weigh_value(value)).sum()
}

fn weigh_value(value: &Value) -> usize {
    let texts = |set: &[String]| set.iter().map(|text| text.len() + 1).sum();
    match value {
        Value::S(text) | Value::N(text) => text.len(),
        Value::B(bytes) => bytes.len(),
        Value::Bool(_) | Value::Null(_) => 1,
        Value::M(map) => {
            3 + map.iter().map(|(name, value)| name.len() + 1 + weigh_value(value)).sum::<usize>()
        }
        Value::L(list) => 3 + list.iter().map(|value| 1 + weigh_value(value)).sum::<usize>(),
        Value::Ss(set) | Value::Ns(set) => texts(set),
        Value::Bs(set) => set.iter().map(|bytes| bytes.len() + 1).sum(),
    }
}
