//! Values made from a change: `"{path}"` keeps the attribute's type, `"COMPANY#{companyId}"` is text.

use std::fmt;
use std::sync::Arc;

use crate::change::View;
use crate::item::{Value, type_name};
use crate::path::{Path, PathError};
use crate::projection::Reject;

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace has no partner; a literal brace is doubled.
    #[error(
        "`{0}` has a brace without its partner: write `{{path}}`, and `{{{{` or `}}}}` for a brace itself"
    )]
    Brace(String),
    /// What stands between braces is no path.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// How one value is made from one side of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    /// A value that is the same for every change.
    Literal(Value),
    /// One attribute with its type.
    Attribute(Placeholder),
    /// Text with attributes in it.
    Text(Vec<Part>),
}

/// A path in braces; `{path?}` may be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Placeholder {
    /// Where the value stands.
    pub path: Path,
    /// Whether it may be missing.
    pub optional: bool,
}

/// A piece of a text template.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text as it stands.
    Text(Arc<str>),
    /// A string or number of the change, as text.
    Value(Placeholder),
}

impl Template {
    /// Reads a template from the text of the config.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = parts(text)?;
        match parts.as_mut_slice() {
            [] => Ok(Self::Literal(Value::S(String::new()))),
            [Part::Text(text)] => Ok(Self::Literal(Value::S(text.to_string()))),
            [Part::Value(placeholder)] => Ok(Self::Attribute(placeholder.clone())),
            _ => Ok(Self::Text(parts)),
        }
    }

    /// Makes the value; `None` if an optional path is missing.
    pub fn value(&self, view: View<'_>) -> Result<Option<Value>, Reject> {
        match self {
            Self::Literal(value) => Ok(Some(value.clone())),
            Self::Attribute(placeholder) => placeholder.find(view),
            Self::Text(parts) => text(parts, view),
        }
    }

    /// The first path that has to be there and is not.
    pub(crate) fn missing(&self, view: View<'_>) -> Result<Option<&Path>, Reject> {
        for placeholder in self.placeholders().filter(|placeholder| !placeholder.optional) {
            if placeholder.path.find(view)?.is_none() {
                return Ok(Some(&placeholder.path));
            }
        }
        Ok(None)
    }

    /// The placeholders it reads.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        let (one, many) = match self {
            Self::Literal(_) => (None, &[][..]),
            Self::Attribute(placeholder) => (Some(placeholder), &[][..]),
            Self::Text(parts) => (None, parts.as_slice()),
        };
        one.into_iter().chain(many.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Value(placeholder) => Some(placeholder),
        }))
    }

    /// Whether the value may be left out of a row.
    pub fn is_optional(&self) -> bool {
        self.placeholders().any(|placeholder| placeholder.optional)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(Value::S(text)) => write_text(f, text),
            Self::Literal(Value::N(digits)) => f.write_str(digits),
            Self::Literal(Value::Bool(bool)) => write!(f, "{bool}"),
            Self::Literal(other) => write!(f, "{other:?}"),
            Self::Attribute(placeholder) => fmt::Display::fmt(placeholder, f),
            Self::Text(parts) => parts.iter().try_for_each(|part| match part {
                Part::Text(text) => write_text(f, text),
                Part::Value(placeholder) => fmt::Display::fmt(placeholder, f),
            }),
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str(&text.replace('{', "{{").replace('}', "}}"))
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}{}}}", self.path, if self.optional { "?" } else { "" })
    }
}

impl Placeholder {
    fn find(&self, view: View<'_>) -> Result<Option<Value>, Reject> {
        match self.path.find(view)? {
            None if !self.optional => Err(Reject::missing(&self.path)),
            found => Ok(found),
        }
    }
}

fn text(parts: &[Part], view: View<'_>) -> Result<Option<Value>, Reject> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(piece) => text.push_str(piece),
            Part::Value(placeholder) => match placeholder.find(view)? {
                None => return Ok(None),
                Some(Value::S(piece) | Value::N(piece)) => text.push_str(&piece),
                Some(other) => {
                    return Err(Reject::new(format!(
                        "`{}` is of type {} and cannot be part of a text: only S and N can",
                        placeholder.path,
                        type_name(&other)
                    )));
                }
            },
        }
    }
    Ok(Some(Value::S(text)))
}

fn parts(template: &str) -> Result<Vec<Part>, TemplateError> {
    let unbalanced = || TemplateError::Brace(template.to_owned());
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        let after = &rest[at + 1..];
        if let Some(escaped) = after.strip_prefix(brace) {
            literal.push_str(brace);
            rest = escaped;
            continue;
        }
        if brace == "}" {
            return Err(unbalanced());
        }
        let end = closing(after).ok_or_else(unbalanced)?;
        if !literal.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut literal).into()));
        }
        let inner = &after[..end];
        let (path, optional) = inner.strip_suffix('?').map_or((inner, false), |path| (path, true));
        parts.push(Part::Value(Placeholder { path: Path::parse(path)?, optional }));
        rest = &after[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Text(literal.into()));
    }
    Ok(parts)
}

/// Where the brace closes, passing over braces inside a quoted name.
fn closing(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '\'';
        (c == '}' && !quoted).then_some(at)
    })
}
