//! Paths into an item: `customer.name`, `lines[0].sku`, and `'odd.name'` for names with special characters.

use std::fmt;
use std::sync::Arc;

use crate::change::View;
use crate::image::ImageError;
use crate::item::Value;

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not an attribute path: {why}")]
pub struct PathError {
    path: String,
    why: &'static str,
}

/// A path that starts at a top-level attribute and goes down through maps and lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    root: Arc<str>,
    steps: Vec<Step>,
    text: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

impl Path {
    /// Reads a path. A name with `.`, `[`, `{` or `'` in it stands in single quotes, a quote in it doubled.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let fail = |why| PathError { path: text.to_owned(), why };
        let (root, mut rest) = name(text).map_err(fail)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let (digits, after) = inner.split_once(']').ok_or_else(|| fail("a `[` has no `]`"))?;
                steps.push(Step::Index(digits.parse().map_err(|_| fail("a list index is a whole number"))?));
                rest = after;
            } else if let Some(inner) = rest.strip_prefix('.') {
                let (step, after) = name(inner).map_err(fail)?;
                steps.push(Step::Name(step));
                rest = after;
            } else {
                return Err(fail("names are separated by `.`"));
            }
        }
        Ok(Self { root: root.into(), steps, text: text.into() })
    }

    /// The top-level attribute that the path starts at.
    pub fn root(&self) -> &Arc<str> {
        &self.root
    }

    /// Whether the path is one top-level attribute.
    pub fn is_top_level(&self) -> bool {
        self.steps.is_empty()
    }

    /// Follows the path in one side of a change; `None` where a name or index is missing.
    pub fn find(&self, view: View<'_>) -> Result<Option<Value>, ImageError> {
        let Some(mut value) = view.attribute(&self.root)? else { return Ok(None) };
        for step in &self.steps {
            let next = match (step, value) {
                (Step::Name(name), Value::M(mut map)) => map.remove(name),
                (Step::Index(index), Value::L(list)) => list.into_iter().nth(*index),
                _ => None,
            };
            let Some(next) = next else { return Ok(None) };
            value = next;
        }
        Ok(Some(value))
    }
}

/// Takes one name, quoted or plain, from the front of `text`.
fn name(text: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = text.strip_prefix('\'') else {
        let end = text.find(['.', '[', '\'', '{', '}', ']']).unwrap_or(text.len());
        return match end {
            0 => Err("a name is missing"),
            _ => Ok((text[..end].to_owned(), &text[end..])),
        };
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('\'').ok_or("a quote is not closed")?;
        name.push_str(part);
        match after.strip_prefix('\'') {
            Some(after) => {
                name.push('\'');
                rest = after;
            }
            None if name.is_empty() => return Err("a name is missing"),
            None => return Ok((name, after)),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
