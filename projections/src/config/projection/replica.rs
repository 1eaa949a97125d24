//! `kind = "replica"`, validated.

use super::super::error::Section;
use super::super::raw::RawReplica;
use super::super::source::choice;
use super::super::templates::{Place, templates};
use super::{Base, KEY_ADVICE, contradictions, counting, target_table};
use crate::effect::Tombstones;
use crate::kinds::Templates;
use crate::kinds::replica::Replica;

pub(super) fn build(raw: RawReplica, base: Base, section: &mut Section<'_>) -> Option<Replica> {
    let table = target_table(raw.table, section);
    let key =
        raw.key.required(section, "key", KEY_ADVICE).and_then(|at| templates(at, section, "key", Place::Key));
    let set_at = raw.set.offset();
    let set = match raw.set.value(section, "set") {
        Some(at) if at.value.0.is_empty() => {
            section.error(at.offset, "set", "is empty", "leave it out to keep the whole item");
            None
        }
        Some(at) => templates(at, section, "set", Place::Set),
        None => set_at.is_none().then(Templates::new),
    };
    if let (Some(key), Some(set)) = (&key, &set) {
        contradictions(key, set, set_at.unwrap_or(section.offset), section);
    }
    let deletes = choice(raw.on_delete, section, "on_delete", [("delete", true), ("keep", false)]);
    if let Some(offset) = raw.tombstones.offset()
        && !deletes
    {
        let what = "rows are never removed with on_delete = \"keep\", so there is no removal to remember";
        section.error(offset, "tombstones", what, "leave one of the two out");
    }
    let words = [("ledger", Tombstones::Ledger), ("inline", Tombstones::Inline)];
    let remembered = choice(raw.tombstones, section, "tombstones", words);
    let tombstones = if deletes { remembered } else { Tombstones::Never };
    let ((name, selection), key) = base.zip(key)?;
    let selection = counting(selection, &key);
    Some(Replica { name, selection, table: table?, key, set: set?, tombstones })
}
