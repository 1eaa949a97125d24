//! Attribute names and the templates of `key`, `match.key` and `set`, validated.

use super::error::Section;
use super::field::{At, Field};
use super::raw::{RawTemplates, RawValue};
use crate::item::{AttributeName, RESERVED, Value};
use crate::kinds::Templates;
use crate::template::{Template, TemplateError};

/// What templates are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The primary key of a table: one or two attributes.
    Key,
    /// The key of an index: up to four partition and four sort attributes.
    IndexKey,
    /// Attributes of a row.
    Set,
}

impl Place {
    fn most(self) -> usize {
        match self {
            Self::Key => 2,
            Self::IndexKey => 8,
            Self::Set => usize::MAX,
        }
    }
}

/// Validates the templates of one table of attributes; `None` if something is wrong that was noted.
pub(super) fn templates(
    at: At<RawTemplates>,
    section: &mut Section<'_>,
    key: &str,
    place: Place,
) -> Option<Templates> {
    let At { offset, value: entries } = at;
    let count = entries.0.len();
    if place != Place::Set && !(1..=place.most()).contains(&count) {
        let what = format!("has {count} attributes");
        section.error(offset, key, what, format!("a key has 1 to {}", place.most()));
        return None;
    }
    let mut templates = Templates::with_capacity(count);
    for (name_at, field) in entries.0 {
        let key = format!("{key}.{}", name_at.value);
        let name = name(name_at, section, &key);
        let template = field.value(section, &key).and_then(|at| template(at, section, &key, place));
        templates.extend(name.zip(template));
    }
    (templates.len() == count).then_some(templates)
}

fn template(at: At<RawValue>, section: &mut Section<'_>, key: &str, place: Place) -> Option<Template> {
    let At { offset, value } = at;
    let template = match value {
        RawValue::Number(digits) => Template::Literal(Value::N(digits)),
        RawValue::Bool(bool) => Template::Literal(Value::Bool(bool)),
        RawValue::Text(text) => match Template::parse(&text) {
            Ok(template) => template,
            Err(error) => {
                let advice = match error {
                    TemplateError::Brace(_) => "",
                    TemplateError::Path(_) => "write a path like {name}, {customer.name} or {lines[0].sku}",
                };
                section.error(offset, key, error.to_string(), advice);
                return None;
            }
        },
    };
    if place == Place::Set {
        return Some(template);
    }
    let (what, advice) = match &template {
        Template::Literal(Value::Bool(_)) => {
            ("a key attribute cannot be true or false", "use text or a number")
        }
        Template::Literal(Value::S(text)) if text.is_empty() => {
            ("a key attribute cannot be empty", "use \"{path}\"")
        }
        template if template.is_optional() => ("a key attribute cannot be optional", "leave the `?` out"),
        _ => return Some(template),
    };
    section.error(offset, key, what, advice);
    None
}

/// The name of a top-level attribute.
pub(super) fn name(at: At<String>, section: &mut Section<'_>, key: &str) -> Option<AttributeName> {
    let At { offset, value } = at;
    if value.is_empty() {
        section.error(offset, key, "is an empty name", "name a top-level attribute");
        return None;
    }
    if value.starts_with(RESERVED) {
        let what =
            format!("`{value}` is reserved: attributes that start with `{RESERVED}` are Millstream's guards");
        section.error(offset, key, what, "choose another name");
        return None;
    }
    Some(value.into())
}

/// A list of top-level attributes: empty if the key is missing, `None` if something is wrong that was noted.
pub(super) fn names(
    field: Field<Vec<Field<String>>>,
    section: &mut Section<'_>,
    key: &str,
) -> Option<Vec<AttributeName>> {
    if field.offset().is_none() {
        return Some(Vec::new());
    }
    let At { offset, value: list } = field.value(section, key)?;
    if list.is_empty() {
        section.error(offset, key, "is an empty list", "name top-level attributes, or leave it out");
        return None;
    }
    let count = list.len();
    let mut names = Vec::<AttributeName>::with_capacity(count);
    for field in list {
        let offset = field.offset().unwrap_or(offset);
        let Some(name) = field.value(section, key).and_then(|at| name(at, section, key)) else { continue };
        if names.contains(&name) {
            section.error(offset, key, format!("names `{name}` twice"), "name it once");
        }
        names.push(name);
    }
    (names.len() == count).then_some(names)
}
