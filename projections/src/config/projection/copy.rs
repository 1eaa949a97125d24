//! `kind = "copy"`, validated.

use super::super::error::Section;
use super::super::field::At;
use super::super::raw::{RawCopy, RawMatch};
use super::super::source::{choice, table_name};
use super::super::templates::{Place, templates};
use super::{Base, counting, target_table};
use crate::kinds::copy::{Copy, OnDelete, Rows};

const ROWS_ADVICE: &str =
    "write key = { … } for one row by its primary key, or match = { index = \"…\", key = { … } } for many";

pub(super) fn build(raw: RawCopy, base: Base, section: &mut Section<'_>) -> Option<Copy> {
    let table = target_table(raw.table, section);
    if raw.key.offset().is_some() == raw.rows.offset().is_some() {
        let what = if raw.key.offset().is_some() {
            "has both `key` and `match`"
        } else {
            "has neither `key` nor `match`"
        };
        section.error_here("", what, ROWS_ADVICE);
    }
    let one =
        raw.key.value(section, "key").and_then(|at| templates(at, section, "key", Place::Key)).map(Rows::One);
    let many = raw.rows.value(section, "match").and_then(|at| many(at, section));
    let set_at = raw.set.offset();
    let set =
        raw.set.required(section, "set", "name at least one attribute to copy: set = { name = \"{name}\" }");
    let set = set.and_then(|at| {
        if at.value.0.is_empty() {
            section.error(at.offset, "set", "is empty", "name at least one attribute to copy");
        }
        templates(at, section, "set", Place::Set)
    });
    let rows = one.or(many);
    if let (Some(rows), Some(set)) = (&rows, &set) {
        for (name, _) in
            set.iter().filter(|(name, _)| rows.key().iter().any(|(key_name, _)| key_name == name))
        {
            let what = "is an attribute that the rows are found by";
            let advice = "leave it out: a row that changed it would be another row";
            section.error(set_at.unwrap_or(section.offset), &format!("set.{name}"), what, advice);
        }
    }
    let words = [("clear", OnDelete::Clear), ("keep", OnDelete::Keep), ("delete", OnDelete::Delete)];
    let on_delete = choice(raw.on_delete, section, "on_delete", words);
    let ((name, selection), rows) = base.zip(rows)?;
    let selection = counting(selection, rows.key());
    Some(Copy { name, selection, table: table?, rows, set: set?, on_delete })
}

fn many(at: At<RawMatch>, section: &mut Section<'_>) -> Option<Rows> {
    let At { offset, value: raw } = at;
    if raw.index.offset().is_none() {
        section.error(offset, "match", "names no index", ROWS_ADVICE);
    }
    if raw.key.offset().is_none() {
        section.error(offset, "match", "has no key", ROWS_ADVICE);
    }
    let index = raw.index.value(section, "match.index").and_then(|at| table_name(at, section, "match.index"));
    let key = raw.key.value(section, "match.key");
    let key = key.and_then(|at| templates(at, section, "match.key", Place::IndexKey));
    Some(Rows::Many { index: index?, key: key? })
}
