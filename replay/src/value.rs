//! Values as a person reads them, or hidden: what a terminal gets, and what may go into a ticket.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millstream_projections::Value;
use millstream_projections::item::type_name;

/// A value in short: text in quotes, numbers as they are, maps and lists as in JSON, sets in `<>`.
pub(crate) fn text(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// What a value is, and not which: its type and its size.
pub(crate) fn hidden(value: &Value) -> String {
    let (size, unit) = match value {
        Value::S(text) | Value::N(text) => (text.chars().count(), "characters"),
        Value::B(bytes) => (bytes.len(), "bytes"),
        Value::M(map) => (map.len(), "members"),
        Value::L(list) => (list.len(), "members"),
        Value::Ss(set) | Value::Ns(set) => (set.len(), "members"),
        Value::Bs(set) => (set.len(), "members"),
        Value::Bool(_) | Value::Null(_) => return format!("<{}>", type_name(value)),
    };
    format!("<{}, {size} {unit}>", type_name(value))
}

/// Every text inside a value that would give it away.
pub(crate) fn secrets<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::S(text) | Value::N(text) => found.push(text),
        Value::Ss(set) | Value::Ns(set) => found.extend(set.iter().map(String::as_str)),
        Value::M(map) => map.values().for_each(|value| secrets(value, found)),
        Value::L(list) => list.iter().for_each(|value| secrets(value, found)),
        Value::B(_) | Value::Bs(_) | Value::Bool(_) | Value::Null(_) => {}
    }
}

/// A text on one line, without anything that a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::S(text) => quoted(text, out),
        Value::N(digits) => out.push_str(digits),
        Value::Bool(bool) => {
            // Writing to a text cannot fail, here and below.
            let _ = write!(out, "{bool}");
        }
        Value::Null(_) => out.push_str("null"),
        Value::B(bytes) => binary(bytes, out),
        Value::L(list) => members(("[", "]"), list, out, write),
        Value::M(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            self::members(("{", "}"), &members, out, |(name, value), out| {
                quoted(name, out);
                out.push_str(": ");
                write(value, out);
            });
        }
        Value::Ss(set) => members(("<", ">"), set, out, |text, out| quoted(text, out)),
        Value::Ns(set) => members(("<", ">"), set, out, |digits, out| out.push_str(digits)),
        Value::Bs(set) => members(("<", ">"), set, out, |bytes, out| binary(bytes, out)),
    }
}

fn members<T>(brackets: (&str, &str), all: &[T], out: &mut String, one: impl Fn(&T, &mut String)) {
    out.push_str(brackets.0);
    for (place, member) in all.iter().enumerate() {
        if place > 0 {
            out.push_str(", ");
        }
        one(member, out);
    }
    out.push_str(brackets.1);
}

fn quoted(text: &str, out: &mut String) {
    let _ = write!(out, "\"{}\"", text.escape_debug());
}

fn binary(bytes: &[u8], out: &mut String) {
    let _ = write!(out, "base64({})", STANDARD.encode(bytes));
}
