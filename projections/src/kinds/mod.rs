//! The built-in kinds of projections. Each file holds one kind: its settings, validated, and what it does.

/// Attributes on rows that another owner made.
pub mod copy;
/// Events for other services.
pub mod emit;
/// Rows that the projection owns.
pub mod replica;
/// What all kinds share: which changes concern a projection, and under which version.
pub mod selection;

use crate::change::View;
use crate::item::{AttributeName, Key};
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
