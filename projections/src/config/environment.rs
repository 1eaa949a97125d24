//! `${VAR}` and `${VAR:-default}` in the strings of a config, resolved before anything else reads them.

use std::borrow::Cow;

use toml::de::{DeTable, DeValue};

use super::error::Report;

/// Looks a variable up; the config itself reads no environment.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Resolves every string of a document in its place, so that errors found later still know their line.
pub(super) fn resolve(root: &mut DeTable<'_>, lookup: Lookup<'_>, report: &mut Report) {
    table(root, &mut Vec::new(), lookup, report);
}

fn table(table: &mut DeTable<'_>, path: &mut Vec<String>, lookup: Lookup<'_>, report: &mut Report) {
    for (key, found) in table.iter_mut() {
        path.push(key.get_ref().to_string());
        let offset = found.span().start;
        value(found.get_mut(), offset, path, lookup, report);
        path.pop();
    }
}

fn value(
    value_at: &mut DeValue<'_>,
    offset: usize,
    path: &mut Vec<String>,
    lookup: Lookup<'_>,
    report: &mut Report,
) {
    match value_at {
        DeValue::String(text) => match resolved(text, lookup) {
            Ok(None) => {}
            Ok(Some(resolved)) => *text = Cow::Owned(resolved),
            Err((what, advice)) => {
                let (section, key) = place(path);
                report.error(offset, (&section, &key), what, advice);
                report.poison(offset);
            }
        },
        DeValue::Array(list) => {
            for element in list.iter_mut() {
                let offset = element.span().start;
                value(element.get_mut(), offset, path, lookup, report);
            }
        }
        DeValue::Table(inner) => table(inner, path, lookup, report),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

/// The section and the key of a path through the document.
fn place(path: &[String]) -> (String, String) {
    let depth = if matches!(path[0].as_str(), "source" | "projection") { 2 } else { 1 };
    let (section, key) = path.split_at(depth.min(path.len()));
    (section.join("."), key.join("."))
}

/// The text with its variables replaced; `None` if it names none. `$${` is `${` itself.
fn resolved(text: &str, lookup: Lookup<'_>) -> Result<Option<String>, (String, String)> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, variable) = (&rest[..at], &rest[at + 2..]);
        if let Some(escaped) = before.strip_suffix('$') {
            resolved.push_str(escaped);
            resolved.push_str("${");
            rest = variable;
            continue;
        }
        resolved.push_str(before);
        let Some((inner, after)) = variable.split_once('}') else {
            return Err((
                "`${` has no `}`".to_owned(),
                "write `${NAME}`, or `$${` for the characters themselves".to_owned(),
            ));
        };
        resolved.push_str(&replacement(inner, lookup)?);
        rest = after;
    }
    resolved.push_str(rest);
    Ok(Some(resolved))
}

fn replacement(inner: &str, lookup: Lookup<'_>) -> Result<String, (String, String)> {
    let (name, default) =
        inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        let advice = "write `${NAME}` or `${NAME:-default}`, of letters, digits and `_`";
        return Err((format!("`{name}` is not the name of an environment variable"), advice.to_owned()));
    }
    // As in a shell, `:-` also replaces a variable that is set to nothing.
    match (lookup(name), default) {
        (Some(value), _) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (Some(empty), None) => Ok(empty),
        (None, None) => {
            let advice = format!("set it, or give a default: `${{{name}:-default}}`");
            Err((format!("the environment variable `{name}` is not set"), advice))
        }
    }
}
