//! Two projections that write to one table: whether they may meet in a row, and what comes of it.

use super::super::{Kind, ProjectionConfig, suggest};
use crate::item::AttributeName;
use crate::kinds::copy::Rows;
use crate::template::{Part, Template};

/// What comes of it, and what to do about it, where a projection may write the rows of an earlier one.
pub(super) fn shared(
    projection: &ProjectionConfig,
    earlier: &ProjectionConfig,
) -> Option<(String, &'static str)> {
    let (ours, theirs, other) = (&projection.kind, &earlier.kind, &earlier.name);
    if ours.resource() != theirs.resource() || !may_meet(ours, theirs) {
        return None;
    }
    match (ours, theirs) {
        (Kind::Emit(_), _) | (_, Kind::Emit(_)) => None,
        (Kind::Index(_), Kind::Index(_)) => Some((
            format!("may ask for the same rows as `{other}`: whichever comes second becomes a letter"),
            "use another table, or begin the keys with different text",
        )),
        (Kind::Replica(_) | Kind::Index(_), Kind::Replica(_) | Kind::Index(_)) => Some((
            format!("may put the same rows as `{other}`: each would overwrite what the other put"),
            "use another table, or begin the keys with different text",
        )),
        (part @ (Kind::Copy(_) | Kind::Aggregate(_)), whole @ (Kind::Replica(_) | Kind::Index(_)))
        | (whole @ (Kind::Replica(_) | Kind::Index(_)), part @ (Kind::Copy(_) | Kind::Aggregate(_))) => {
            Some(overwritten(whole, part, earlier))
        }
        (Kind::Copy(_) | Kind::Aggregate(_), Kind::Copy(_) | Kind::Aggregate(_)) => {
            side_by_side(ours, theirs, earlier)
        }
    }
}

fn overwritten(whole: &Kind, part: &Kind, other: &ProjectionConfig) -> (String, &'static str) {
    let (other, whole) = (&other.name, article(whole));
    let advice = match part {
        Kind::Copy(_) => "let the replica set these attributes, or copy to another table",
        Kind::Replica(_) | Kind::Aggregate(_) | Kind::Index(_) | Kind::Emit(_) => "use another table",
    };
    let part = article(part);
    (
        format!(
            "writes to the same table as `{other}`: {whole} puts whole rows, without what {part} added to them"
        ),
        advice,
    )
}

fn article(kind: &Kind) -> String {
    let word = kind.word();
    format!("{} {word}", if word.starts_with(['a', 'e', 'i']) { "an" } else { "a" })
}

/// Two that write some attributes each.
fn side_by_side(ours: &Kind, theirs: &Kind, earlier: &ProjectionConfig) -> Option<(String, &'static str)> {
    let other = &earlier.name;
    let their_attributes = attributes(theirs);
    let ours_too = attributes(ours);
    let both: Vec<&str> =
        ours_too.iter().filter(|name| their_attributes.contains(name)).map(|name| &**name).collect();
    if !both.is_empty() {
        let names = suggest::list(&both);
        return Some(match (ours, theirs) {
            (Kind::Copy(_), Kind::Copy(_)) => (
                format!(
                    "copies {names} to the same table as `{other}`: the guards of the two know nothing of each other"
                ),
                "copy to attributes of different names",
            ),
            _ => (
                format!("keeps {names} in the same rows as `{other}`: the two know nothing of each other"),
                "keep them in attributes of different names",
            ),
        });
    }
    let deletes = |kind: &Kind| matches!(kind, Kind::Aggregate(aggregate) if aggregate.keeps.delete_empty);
    (deletes(ours) || deletes(theirs)).then(|| {
        (
            format!("shares rows with `{other}`, and on_empty = \"delete\" takes them from both"),
            "use another table, or on_empty = \"keep\"",
        )
    })
}

/// The attributes that a projection writes in rows that are not its own as a whole.
fn attributes(kind: &Kind) -> Vec<AttributeName> {
    match kind {
        Kind::Aggregate(aggregate) => aggregate.keeps.attributes(),
        Kind::Replica(_) | Kind::Copy(_) | Kind::Index(_) | Kind::Emit(_) => {
            kind.set().iter().map(|(name, _)| name.clone()).collect()
        }
    }
}

/// Whether two projections may write the same row; what an index finds may be any row.
pub(in crate::config) fn may_meet(a: &Kind, b: &Kind) -> bool {
    let by_index = |kind: &Kind| matches!(kind, Kind::Copy(copy) if matches!(copy.rows, Rows::Many { .. }));
    if by_index(a) || by_index(b) {
        return true;
    }
    let apart = |name: &AttributeName, template: &Template| {
        b.key().iter().any(|(other, theirs)| other == name && begin_apart(template, theirs))
    };
    !a.key().iter().any(|(name, template)| apart(name, template))
}

/// Whether two templates begin with different text, so that their values differ for any two items.
fn begin_apart(a: &Template, b: &Template) -> bool {
    match (a, b) {
        (Template::Literal(a), Template::Literal(b)) => a != b,
        _ => match (beginning(a), beginning(b)) {
            (Some(a), Some(b)) => !a.starts_with(b) && !b.starts_with(a),
            _ => false,
        },
    }
}

fn beginning(template: &Template) -> Option<&str> {
    match template {
        Template::Literal(crate::item::Value::S(text)) => Some(text),
        Template::Text(parts) => match parts.first() {
            Some(Part::Text(text)) => Some(text),
            Some(Part::Value(_)) | None => None,
        },
        Template::Literal(_) | Template::Attribute(_) => None,
    }
}
