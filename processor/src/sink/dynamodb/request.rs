//! The conditions and updates of each write, made without I/O.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use millstream_projections::item::{AttributeName, Key, Value};
use millstream_projections::{Guard, ProjectionName};

/// Marks a row as removed, where a projection keeps its tombstones inline.
pub const REMOVED: &str = "ms:removed";
/// When DynamoDB's time to live may drop an inline tombstone; the table's time to live has to name this attribute.
pub const EXPIRES: &str = "ms:expires";

/// An item in the SDK's types.
pub type SdkItem = HashMap<String, AttributeValue>;

/// The attribute that holds a projection's guard.
pub fn guard_attribute(projection: &ProjectionName) -> String {
    format!("ms:{projection}")
}

/// An expression with the names and values it speaks of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expression {
    /// The condition.
    pub condition: String,
    /// The update, for an UpdateItem.
    pub update: String,
    /// `#name` to attribute names.
    pub names: HashMap<String, String>,
    /// `:value` to values.
    pub values: SdkItem,
}

/// Which rows a guarded write may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// A row of ours that is older.
    ChangeGuarded,
    /// A row of ours that is older, or one without a guard: it is adopted.
    ChangeOwn,
    /// As `ChangeOwn`, and a row that is not there.
    ChangeOwnOrCreate,
    /// As `ChangeOwn`, and a row that follows from another source item.
    TakeOver,
    /// As `TakeOver`, and a row that is not there.
    TakeOverOrCreate,
}

/// The condition that the row's guard lets this version in.
pub fn guarded(projection: &ProjectionName, guard: &Guard, key: &Key, may: May) -> Expression {
    let mut expression = Expression::default();
    expression.name("#guard", &guard_attribute(projection));
    expression.value(":guard", AttributeValue::S(guard.to_string()));
    expression.value(":own", AttributeValue::S(guard.own_prefix()));
    let free = match may {
        May::ChangeGuarded => "(begins_with(#guard, :own) AND #guard < :guard)",
        // Without a guard: the row is not there, or it is adopted.
        May::ChangeOwn | May::ChangeOwnOrCreate => {
            "(attribute_not_exists(#guard) OR (begins_with(#guard, :own) AND #guard < :guard))"
        }
        May::TakeOver | May::TakeOverOrCreate => {
            "(attribute_not_exists(#guard) OR NOT begins_with(#guard, :own) OR #guard < :guard)"
        }
    };
    expression.condition = match may {
        May::ChangeGuarded => free.to_owned(),
        May::ChangeOwn | May::TakeOver => {
            expression.row_name(key);
            format!("attribute_exists(#row) AND {free}")
        }
        May::ChangeOwnOrCreate | May::TakeOverOrCreate => free.to_owned(),
    };
    expression
}

/// The condition that there is no row.
pub fn absent(key: &Key) -> Expression {
    let mut expression = Expression::default();
    expression.row_name(key);
    expression.condition = "attribute_not_exists(#row)".to_owned();
    expression
}

/// The condition that the row still carries the guard that was seen on it.
pub fn unchanged(projection: &ProjectionName, seen: &str) -> Expression {
    let mut expression = Expression::default();
    expression.name("#guard", &guard_attribute(projection));
    expression.value(":seen", AttributeValue::S(seen.to_owned()));
    expression.condition = "#guard = :seen".to_owned();
    expression
}

/// The condition that no tombstone of this version or a later one stands at a ledger key.
pub fn no_newer_tombstone(guard: &Guard) -> Expression {
    let mut expression = Expression::default();
    expression.name("#version", crate::ledger::VERSION);
    expression.value(":version", AttributeValue::S(guard.version.to_string()));
    expression.condition = "attribute_not_exists(#version) OR #version < :version".to_owned();
    expression
}

impl Expression {
    /// Adds that the row still has the attributes it was found by.
    pub fn and_found_by(mut self, found_by: Option<&Key>) -> Self {
        for (place, (name, value)) in found_by.into_iter().flatten().enumerate() {
            let (name_at, value_at) = (format!("#by{place}"), format!(":by{place}"));
            self.condition.push_str(&format!(" AND {name_at} = {value_at}"));
            self.name(&name_at, name);
            self.value(&value_at, value.clone().into());
        }
        self
    }

    /// The update that sets and removes attributes, and stores the guard.
    pub fn updating<'a>(
        mut self,
        set: impl Iterator<Item = (&'a AttributeName, &'a Value)>,
        remove: &[AttributeName],
    ) -> Self {
        self.update = "SET #guard = :guard".to_owned();
        for (place, (name, value)) in set.enumerate() {
            let (name_at, value_at) = (format!("#set{place}"), format!(":set{place}"));
            self.update.push_str(&format!(", {name_at} = {value_at}"));
            self.name(&name_at, name);
            self.value(&value_at, value.clone().into());
        }
        for (place, name) in remove.iter().enumerate() {
            let name_at = format!("#remove{place}");
            self.update.push_str(if place == 0 { " REMOVE " } else { ", " });
            self.update.push_str(&name_at);
            self.name(&name_at, name);
        }
        self
    }

    /// Adds another condition that has to hold as well, with names and values of its own.
    pub(super) fn and(&mut self, other: Self) {
        self.condition = format!("({}) AND ({})", self.condition, other.condition);
        self.names.extend(other.names);
        self.values.extend(other.values);
    }

    /// The values, or nothing where the expression has none: an empty map is refused by DynamoDB.
    pub fn some_values(&self) -> Option<SdkItem> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }

    pub(super) fn row_name(&mut self, key: &Key) {
        if let Some(name) = key.keys().next() {
            self.name("#row", name);
        }
    }

    pub(super) fn name(&mut self, at: &str, name: &str) {
        self.names.insert(at.to_owned(), name.to_owned());
    }

    pub(super) fn value(&mut self, at: &str, value: AttributeValue) {
        self.values.insert(at.to_owned(), value);
    }
}

/// A key in the SDK's types.
pub fn sdk_key(key: &Key) -> SdkItem {
    key.iter().map(|(name, value)| (name.to_string(), value.clone().into())).collect()
}

/// The key of a row, from an item that has at least these attributes.
pub fn key_of(item: &SdkItem, names: &[AttributeName]) -> Option<Key> {
    names
        .iter()
        .map(|name| item.get(&**name).map(|value| (name.clone(), Value::from(value.clone()))))
        .collect()
}

/// The guard that a row carries.
pub fn stored_guard<'a>(item: &'a SdkItem, projection: &ProjectionName) -> Option<&'a str> {
    item.get(&guard_attribute(projection)).and_then(|value| value.as_s().ok()).map(String::as_str)
}
