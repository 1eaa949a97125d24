//! `kind = "index"`, validated.

use super::super::error::Section;
use super::super::raw::RawIndex;
use super::super::templates::{Place, path, templates};
use super::{Base, KEY_ADVICE, contradictions, counting, target_table};
use crate::change::EACH;
use crate::item::AttributeName;
use crate::kinds::Templates;
use crate::kinds::index::Index;
use crate::template::Template;

pub(super) fn build(raw: RawIndex, base: Base, section: &mut Section<'_>) -> Option<Index> {
    let table = target_table(raw.table, section);
    let each_at = raw.each.offset();
    let each = raw.each.value(section, "each").and_then(|at| path(at, section, "each"));
    let place = Place::LookupKey { each: each_at.is_some() };
    let key = raw.key.required(section, "key", KEY_ADVICE);
    let key = key.and_then(|at| templates(at, section, "key", place));
    if let (Some(offset), Some(key)) = (each_at, &key) {
        let mut placeholders = key.iter().flat_map(|(_, template)| template.placeholders());
        if !placeholders.any(|placeholder| **placeholder.path.root() == *EACH) {
            let what = format!("`key` does not use `{{{EACH}}}`, so all elements would share one row");
            section.error(offset, "each", what, format!("write key = {{ tag = \"{{{EACH}}}\" }}"));
        }
    }
    let set_at = raw.set.offset();
    let place = Place::LookupSet { each: each_at.is_some() };
    let set = match raw.set.value(section, "set") {
        Some(at) if at.value.0.is_empty() => {
            section.error(at.offset, "set", "is empty", "leave it out to keep the source item's key");
            None
        }
        Some(at) => templates(at, section, "set", place),
        None => set_at.is_none().then(Templates::new),
    };
    if let (Some(key), Some(set)) = (&key, &set) {
        contradictions(key, set, set_at.unwrap_or(section.offset), section);
    }
    let unique_at = raw.unique.offset();
    let unique = raw.unique.value(section, "unique").map(|at| at.value);
    if each.is_some() != each_at.is_some() || unique.is_some() != unique_at.is_some() {
        return None;
    }
    let (((name, selection), key), set) = base.zip(key).zip(set)?;
    let element = each.iter().map(|each| (AttributeName::from(EACH), Template::Attribute(each.clone())));
    let element: Templates = element.collect();
    let selection = counting(selection, key.iter().chain(&set).chain(&element));
    Some(Index::new((name, selection), table?, (key, set), each, unique.unwrap_or(true)))
}
