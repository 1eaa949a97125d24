//! The built-in kinds of projections. Each file holds one kind: its settings, validated, and what it does.

/// Totals of groups of items.
pub mod aggregate;
/// Attributes on rows that another owner made.
pub mod copy;
/// Events for other services.
pub mod emit;
/// Rows by which an item is found by other attributes than its key.
pub mod index;
/// Rows that the projection owns.
pub mod replica;
/// What all kinds share: which changes concern a projection, and under which version.
pub mod selection;

use crate::change::View;
use crate::item::{AttributeName, Key, Value, type_name};
use crate::projection::Reject;
use crate::template::Template;

/// Attributes made from a change, in the order of the config.
pub type Templates = Vec<(AttributeName, Template)>;

/// Makes a key; every attribute of a key has to be there.
pub(crate) fn key(templates: &Templates, view: View<'_>) -> Result<Key, Reject> {
    templates
        .iter()
        .map(|(name, template)| match template.value(view)? {
            Some(value) => Ok((name.clone(), value)),
            None => Err(Reject::new(format!("key attribute `{name}` is missing: it cannot be optional"))),
        })
        .collect()
}

/// The most bytes that an attribute of a primary key can have; of a sort key it is half of that.
const MAX_KEY_BYTES: usize = 2_048;

/// Whether a primary key can hold a value; otherwise what is wrong with it, without the value.
pub(crate) fn fits_key(value: &Value) -> Result<(), String> {
    let length = match value {
        Value::N(_) => return Ok(()),
        Value::S(text) => text.len(),
        Value::B(bytes) => bytes.len(),
        other => return Err(format!("is of type {}: a key holds S, N and B only", type_name(other))),
    };
    match length {
        0 => Err("is empty, which no key can be".to_owned()),
        1..=MAX_KEY_BYTES => Ok(()),
        _ => Err(format!("has {length} bytes, and a key holds {MAX_KEY_BYTES} at most")),
    }
}
