//! `kind = "aggregate"`, validated.

use std::num::NonZeroU32;

use super::super::error::Section;
use super::super::field::{At, Field};
use super::super::raw::{RawAggregate, RawTemplates};
use super::super::source::choice;
use super::super::templates::{Place, name, templates};
use super::{Base, counting, target_table};
use crate::change::SHARD;
use crate::item::AttributeName;
use crate::kinds::Templates;
use crate::kinds::aggregate::{Aggregate, Keeps, parts_of_average};

/// What one BatchGetItem reads: so many rows of a group can be read at once.
const MAX_SHARDS: u32 = 100;

/// What one transaction holds, with room for items that move to another group: so many values of an item are compared or
/// told apart.
const MAX_COLUMNS: usize = 45;
/// What one update expression of DynamoDB holds, 4 KB: so many attributes a totals row has.
const MAX_ATTRIBUTES: usize = 100;

const GROUP_ADVICE: &str = "say which items belong together: group = { customerId = \"{customerId}\" }";

pub(super) fn build(raw: RawAggregate, base: Base, section: &mut Section<'_>) -> Option<Aggregate> {
    let table = target_table(raw.table, section);
    let shards = shards(raw.shards, section);
    let group_at = raw.group.offset().unwrap_or(section.offset);
    let place = Place::Group { shards: shards.is_some_and(|shards| shards.get() > 1) };
    let group = raw.group.required(section, "group", GROUP_ADVICE);
    let group = group.and_then(|at| templates(at, section, "group", place));
    if let (Some(group), Some(shards)) = (&group, shards) {
        spread(group, shards, raw.distinct.offset(), group_at, section);
    }

    let (mut claims, delete_at) = (Claims::of(group.as_ref()), raw.on_empty.offset());
    let counted = raw.count.offset();
    let count = raw.count.value(section, "count").and_then(|at| {
        let offset = at.offset;
        let count = name(at, section, "count")?;
        claims.claim(&count, "count", offset, section);
        Some(count)
    });
    let mut table_of = |field, key, place| kept(field, (key, place), &mut claims, section);
    let sum = table_of(raw.sum, "sum", Place::Numbers);
    let avg = table_of(raw.avg, "avg", Place::Numbers);
    let min = table_of(raw.min, "min", Place::Values);
    let max = table_of(raw.max, "max", Place::Values);
    let distinct = table_of(raw.distinct, "distinct", Place::Values);
    let delete_empty = choice(raw.on_empty, section, "on_empty", [("keep", false), ("delete", true)]);
    if delete_empty && counted.is_none() {
        let what = "a row is deleted when it counts no items, and it does not count them";
        section.error(delete_at.unwrap_or(section.offset), "on_empty", what, "add count = \"…\"");
    }
    if claims.nothing_kept && counted.is_none() {
        let advice = "give it at least one of `count`, `sum`, `avg`, `min`, `max` and `distinct`";
        section.error_here("", "keeps no totals", advice);
    }
    if counted.is_some() && count.is_none() {
        return None;
    }
    let keeps =
        Keeps { count, sum: sum?, avg: avg?, min: min?, max: max?, distinct: distinct?, delete_empty };
    let (((name, selection), group), shards) = base.zip(group).zip(shards)?;
    let selection = counting(selection, group.iter().chain(keeps.templates()));
    let aggregate = Aggregate::new((name, selection), table?, (group, shards), keeps);
    limits(&aggregate, section);
    Some(aggregate)
}

/// What has to hold so that DynamoDB takes every change of a totals row.
fn limits(aggregate: &Aggregate, section: &mut Section<'_>) {
    let advice = "keep the others by another aggregate";
    let columns = aggregate.columns();
    if columns > MAX_COLUMNS {
        let what = format!(
            "`min`, `max` and `distinct` have {columns} different templates: {MAX_COLUMNS} are possible"
        );
        section.error_here("", what, advice);
    }
    let attributes = aggregate.keeps.attributes().len();
    if attributes > MAX_ATTRIBUTES {
        let what = format!("keeps {attributes} attributes: {MAX_ATTRIBUTES} are possible, an `avg` is two");
        section.error_here("", what, advice);
    }
}

fn shards(field: Field<i64>, section: &mut Section<'_>) -> Option<NonZeroU32> {
    if field.offset().is_none() {
        return Some(NonZeroU32::MIN);
    }
    let At { offset, value } = field.value(section, "shards")?;
    let shards = u32::try_from(value).ok().filter(|count| *count <= MAX_SHARDS).and_then(NonZeroU32::new);
    if shards.is_none() {
        let advice = format!("use 1 to {MAX_SHARDS}");
        section.error(offset, "shards", format!("{value} is out of range"), advice);
    }
    shards
}

/// What has to hold where the totals of one group are spread over several rows.
fn spread(
    group: &Templates,
    shards: NonZeroU32,
    distinct_at: Option<usize>,
    group_at: usize,
    section: &mut Section<'_>,
) {
    if shards.get() == 1 {
        return;
    }
    let mut placeholders = group.iter().flat_map(|(_, template)| template.placeholders());
    if !placeholders.any(|placeholder| **placeholder.path.root() == *SHARD) {
        let what = format!("does not use `{{{SHARD}}}`, so the {shards} shards would be one row");
        let advice =
            format!("make it part of the key: group = {{ customerId = \"{{customerId}}#{{{SHARD}}}\" }}");
        section.error(group_at, "group", what, advice);
    }
    if let Some(offset) = distinct_at {
        let what = "cannot be added up over shards: a value may be in several of them";
        section.error(
            offset,
            "distinct",
            what,
            "leave `shards` out, or count them in an aggregate of their own",
        );
    }
}

/// One of the tables of what is kept; empty without it, `None` if something is wrong that was noted.
fn kept(
    field: Field<RawTemplates>,
    (key, place): (&str, Place),
    claims: &mut Claims,
    section: &mut Section<'_>,
) -> Option<Templates> {
    let Some(offset) = field.offset() else { return Some(Templates::new()) };
    claims.nothing_kept = false;
    let at = field.value(section, key)?;
    if at.value.0.is_empty() {
        section.error(offset, key, "is empty", "leave it out");
    }
    let kept = templates(at, section, key, place)?;
    for (name, _) in &kept {
        let key = format!("{key}.{name}");
        claims.claim(name, &key, offset, section);
        if key.starts_with("avg.") {
            let (sum, count) = parts_of_average(name);
            claims.claim(&sum, &key, offset, section);
            claims.claim(&count, &key, offset, section);
        }
    }
    Some(kept)
}

/// The attributes of the totals row so far, and the key of the file that keeps each.
struct Claims {
    claimed: Vec<(AttributeName, String)>,
    nothing_kept: bool,
}

impl Claims {
    fn of(group: Option<&Templates>) -> Self {
        let group = group.into_iter().flatten();
        let claimed = group.map(|(name, _)| (name.clone(), format!("group.{name}"))).collect();
        Self { claimed, nothing_kept: true }
    }

    /// Every attribute of a totals row is kept by one key of the file.
    fn claim(&mut self, name: &AttributeName, key: &str, offset: usize, section: &mut Section<'_>) {
        match self.claimed.iter().find(|(claimed, _)| claimed == name) {
            None => self.claimed.push((name.clone(), key.to_owned())),
            Some((_, other)) => {
                let what = format!("`{name}` is what `{other}` keeps already");
                section.error(offset, key, what, "choose another name");
            }
        }
    }
}
