//! A letter as a terminal shows it.

use std::fmt::{Formatter, Result};

use millstream_processor::letters::{Attempt, Closing};
use millstream_projections::event::rfc3339;

use super::{AttributeDifference, Content, Difference, Shown, ShownChange, ShownRecord, ShownValue};
use crate::value::{printable, text};

/// The widest name or value of the table of attributes; `--json` has them whole.
const WIDEST: usize = 48;
/// How much of a record that nobody can read is shown.
const EXCERPT: usize = 2_000;

pub(super) fn letter(shown: &Shown, f: &mut Formatter<'_>) -> Result {
    head(shown, f)?;
    if let Some(last) = shown.attempts.last() {
        fault(last, f)?;
    }
    if shown.tries > 1 {
        attempts(&shown.attempts, f)?;
    }
    match &shown.content {
        Content::Change(change) => self::change(change, f),
        Content::Undecodable(cause) => undecodable(shown, cause, f),
    }
}

fn head(shown: &Shown, f: &mut Formatter<'_>) -> Result {
    writeln!(f, "Letter {} ({})", shown.id, shown.state)?;
    writeln!(f, "  source      {}", printable(&shown.source))?;
    let projection = shown.projection.as_deref().unwrap_or("none: the record could not be decoded");
    writeln!(f, "  projection  {}", printable(projection))?;
    if let Some(key) = &shown.key {
        let members: Vec<String> =
            key.iter().map(|(name, value)| format!("{} = {}", printable(name), value_text(value))).collect();
        writeln!(f, "  key         {}", members.join(", "))?;
    }
    if let Some(version) = &shown.version {
        writeln!(f, "  version     {}", printable(version))?;
    }
    writeln!(f, "  config      {}", printable(&shown.config))?;
    write!(f, "  record      {} bytes", shown.size)?;
    match shown.edited {
        0 => writeln!(f)?,
        1 => writeln!(f, ", edited once; the original is kept")?,
        times => writeln!(f, ", edited {times} times; the original is kept")?,
    }
    if let Some(Closing { at, by, reason, .. }) = &shown.closing {
        writeln!(f, "  closed      {} by {}: {}", rfc3339(*at), printable(by), printable(reason))?;
    }
    Ok(())
}

fn fault(attempt: &Attempt, f: &mut Formatter<'_>) -> Result {
    writeln!(f, "\nFault: {}", printable(&attempt.fault))?;
    for (depth, cause) in attempt.causes.iter().enumerate() {
        let because = if depth == 0 { "" } else { "because: " };
        writeln!(f, "  {:indent$}{because}{}", "", printable(cause), indent = depth * 2)?;
    }
    Ok(())
}

fn attempts(attempts: &[Attempt], f: &mut Formatter<'_>) -> Result {
    writeln!(f, "\nAttempts")?;
    for attempt in attempts {
        let cause = attempt.causes.last().map_or_else(String::new, |cause| printable(cause));
        writeln!(f, "  {} {}: {cause}", rfc3339(attempt.at), printable(&attempt.fault))?;
        if attempt.skipped > 0 {
            writeln!(f, "  … {} more, no longer kept …", attempt.skipped)?;
        }
    }
    Ok(())
}

fn change(change: &ShownChange, f: &mut Formatter<'_>) -> Result {
    write!(f, "\nChange: {}", change.kind)?;
    if change.expired {
        write!(f, " by its time to live")?;
    }
    if let Some(at) = change.created_at {
        write!(f, " at {}", rfc3339(at))?;
    }
    if change.attributes.is_empty() {
        return writeln!(f, "\n  the stream carries no images");
    }
    let differ = change.attributes.iter().filter(|it| it.difference != Difference::Same).count();
    writeln!(f, ", {differ} of {} attributes differ", change.attributes.len())?;
    let rows: Vec<[String; 3]> = std::iter::once(["attribute", "old", "new"].map(str::to_owned))
        .chain(change.attributes.iter().map(row))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (name, old) = (width(0), width(1));
    let marks = std::iter::once(' ').chain(change.attributes.iter().map(|it| mark(it.difference)));
    for (mark, row) in marks.zip(&rows) {
        let line = format!("{mark} {:name$}  {:old$}  {}", row[0], row[1], row[2]);
        writeln!(f, "  {}", line.trim_end())?;
    }
    Ok(())
}

fn row(attribute: &AttributeDifference) -> [String; 3] {
    let side =
        |value: &Option<ShownValue>| value.as_ref().map_or_else(|| "-".to_owned(), |it| cut(&value_text(it)));
    [cut(&printable(&attribute.name)), side(&attribute.old), side(&attribute.new)]
}

fn mark(difference: Difference) -> char {
    match difference {
        Difference::Added => '+',
        Difference::Removed => '-',
        Difference::Changed => '~',
        Difference::Same => ' ',
    }
}

fn undecodable(shown: &Shown, cause: &str, f: &mut Formatter<'_>) -> Result {
    writeln!(f, "\nRecord: it cannot be decoded: {}", printable(cause))?;
    let (text, kind) = match &shown.record {
        None => return Ok(()),
        Some(ShownRecord::Json(json)) => (json.get(), ""),
        Some(ShownRecord::Bytes { base64 }) => (base64.as_str(), "base64 "),
    };
    let end = text.floor_char_boundary(EXCERPT);
    let rest = if end < text.len() { " …" } else { "" };
    writeln!(f, "  {kind}{}{rest}", printable(&text[..end]))
}

fn value_text(value: &ShownValue) -> String {
    match value {
        ShownValue::Value(value) => text(value),
        ShownValue::Hidden(kind) => kind.clone(),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(WIDEST) {
        None => text.to_owned(),
        Some(_) => text.chars().take(WIDEST - 1).chain(['…']).collect(),
    }
}
