//! Attribute names, and the templates of keys and of what is written beside them, validated.

use super::error::Section;
use super::field::{At, Field};
use super::raw::{RawTemplates, RawValue};
use crate::change::{EACH, SHARD};
use crate::item::{AttributeName, RESERVED, Value};
use crate::kinds::Templates;
use crate::template::{Placeholder, Template, TemplateError};

/// What templates are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The primary key of a table: one or two attributes.
    Key,
    /// The key of an index: up to four partition and four sort attributes.
    IndexKey,
    /// The primary key of a totals row, which is one of several where there are shards.
    Group { shards: bool },
    /// The primary key of a lookup row, which may be of one element of a list.
    LookupKey { each: bool },
    /// Attributes of a lookup row.
    LookupSet { each: bool },
    /// Attributes of a row.
    Set,
    /// Numbers to add up.
    Numbers,
    /// Values to compare.
    Values,
}

impl Place {
    /// How many attributes a key can have.
    fn most(self) -> Option<usize> {
        match self {
            Self::Key | Self::Group { .. } | Self::LookupKey { .. } => Some(2),
            Self::IndexKey => Some(8),
            Self::LookupSet { .. } | Self::Set | Self::Numbers | Self::Values => None,
        }
    }

    /// The value that Millstream itself makes for the templates of this place.
    fn made(self) -> Option<&'static str> {
        match self {
            Self::Group { shards: true } => Some(SHARD),
            Self::LookupKey { each: true } | Self::LookupSet { each: true } => Some(EACH),
            Self::Group { .. } | Self::LookupKey { .. } | Self::LookupSet { .. } => None,
            Self::Key | Self::IndexKey | Self::Set | Self::Numbers | Self::Values => None,
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
    if let Some(most) = place.most()
        && !(1..=most).contains(&count)
    {
        section.error(offset, key, format!("has {count} attributes"), format!("a key has 1 to {most}"));
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
        RawValue::Text(value) => parsed(At { offset, value }, section, key)?,
    };
    let unread = template.placeholders().find_map(|placeholder| unreadable(placeholder, place));
    let unfit = unfit(&template, place).map(|(what, advice)| (what.to_owned(), advice));
    match unread.or(unfit) {
        None => Some(template),
        Some((what, advice)) => {
            section.error(offset, key, what, advice);
            None
        }
    }
}

fn parsed(at: At<String>, section: &mut Section<'_>, key: &str) -> Option<Template> {
    let noted = |error: TemplateError| {
        let advice = match error {
            TemplateError::Brace(_) => "",
            TemplateError::Path(_) => "write a path like {name}, {customer.name} or {lines[0].sku}",
        };
        section.error(at.offset, key, error.to_string(), advice);
    };
    Template::parse(&at.value).map_err(noted).ok()
}

/// One path, alone: what `each` goes through.
pub(super) fn path(at: At<String>, section: &mut Section<'_>, key: &str) -> Option<Placeholder> {
    let offset = at.offset;
    let (what, advice) = match parsed(at, section, key)? {
        Template::Attribute(placeholder) => match unreadable(&placeholder, Place::Set) {
            None => return Some(placeholder),
            Some(wrong) => wrong,
        },
        other => (format!("`{other}` is not a path alone"), "write it like \"{tags?}\""),
    };
    section.error(offset, key, what, advice);
    None
}

/// What is wrong with a template in its place, and what would be right.
fn unfit(template: &Template, place: Place) -> Option<(&'static str, &'static str)> {
    match place {
        Place::Set | Place::LookupSet { .. } => None,
        Place::Numbers => match template {
            Template::Attribute(_) | Template::Literal(Value::N(_)) => None,
            Template::Literal(_) | Template::Text(_) => {
                Some(("is no number and cannot be added up", "use one path alone, \"{total}\", or a number"))
            }
        },
        Place::Values => match template {
            Template::Attribute(_) | Template::Text(_) => None,
            Template::Literal(_) => Some(("is the same for every item", "use \"{path}\"")),
        },
        Place::Key | Place::IndexKey | Place::Group { .. } | Place::LookupKey { .. } => match template {
            Template::Literal(Value::Bool(_)) => {
                Some(("a key attribute cannot be true or false", "use text or a number"))
            }
            Template::Literal(Value::S(text)) if text.is_empty() => {
                Some(("a key attribute cannot be empty", "use \"{path}\""))
            }
            template if template.is_optional() && !matches!(place, Place::LookupKey { .. }) => {
                Some(("a key attribute cannot be optional", "leave the `?` out"))
            }
            _ => None,
        },
    }
}

/// What is wrong with reading a name that is Millstream's own, and what would be right.
fn unreadable(placeholder: &Placeholder, place: Place) -> Option<(String, &'static str)> {
    let path = &placeholder.path;
    let root: &str = path.root();
    if !root.starts_with(RESERVED) {
        return None;
    }
    if Some(root) == place.made() {
        let parts = root == SHARD && !path.is_top_level();
        return parts.then(|| (format!("`{{{path}}}` goes into a number"), "write {ms:shard}"));
    }
    let (what, advice) = match (root, place) {
        (SHARD, Place::Group { .. }) => ("needs `shards`", "write shards = 8, or leave it out"),
        (SHARD, _) => ("is for the `group` of an aggregate with `shards`", "name an attribute of the item"),
        (EACH, Place::LookupKey { .. } | Place::LookupSet { .. }) => {
            ("needs `each`", "write each = \"{tags?}\", or leave it out")
        }
        (EACH, _) => ("is for `key` and `set` of an index with `each`", "name an attribute of the item"),
        _ => {
            let what = format!(
                "`{{{path}}}` reads one of Millstream's own attributes, which start with `{RESERVED}`"
            );
            return Some((what, "name an attribute of the item"));
        }
    };
    Some((format!("`{{{path}}}` {what}"), advice))
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
