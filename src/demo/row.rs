//! Rows as the demo makes them and the oracle compares them.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;

/// One item: attribute names to values.
pub(crate) type Row = BTreeMap<String, AttributeValue>;

/// A text.
pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number.
pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// An amount of cents as a number with a fraction.
pub(crate) fn amount(cents: u64) -> AttributeValue {
    AttributeValue::N(format!("{}.{:02}", cents / 100, cents % 100))
}

/// A row of some attributes.
pub(crate) fn row<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Row {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
