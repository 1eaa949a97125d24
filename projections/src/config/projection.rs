//! `[projection.<name>]`, validated and built. Each kind has a file of its own.

mod aggregate;
mod copy;
mod emit;
mod index;
mod replica;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::de::DeTable;

use super::error::Section;
use super::field::{At, Field, keys_of, refuse_rest, take};
use super::lint::may_meet;
use super::raw::RawCommon;
use super::source::table_name;
use super::suggest;
use super::templates::{name, names};
use crate::condition::{Condition, ConditionError};
use crate::item::{AttributeName, RESERVED};
use crate::kinds::Templates;
use crate::kinds::aggregate::Aggregate;
use crate::kinds::copy::Copy;
use crate::kinds::emit::Emit;
use crate::kinds::index::Index;
use crate::kinds::replica::Replica;
use crate::kinds::selection::Selection;
use crate::name::{ProjectionName, SourceName};
use crate::projection::Projection;
use crate::template::{Placeholder, Template};

/// One projection, ready to be built.
#[derive(Debug, Clone)]
pub struct ProjectionConfig {
    /// Its name.
    pub name: ProjectionName,
    /// The source whose changes it follows.
    pub from: SourceName,
    /// What it keeps.
    pub kind: Kind,
    /// The line of the file, from 1.
    pub line: usize,
}

/// What a projection keeps, with its settings.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Rows that it owns.
    Replica(Arc<Replica>),
    /// Attributes on rows that another owner made.
    Copy(Arc<Copy>),
    /// Totals of groups of items.
    Aggregate(Arc<Aggregate>),
    /// Rows by which an item is found by other attributes than its key.
    Index(Arc<Index>),
    /// Events for other services.
    Emit(Arc<Emit>),
}

impl ProjectionConfig {
    /// The projection itself.
    pub fn build(&self) -> Arc<dyn Projection> {
        match &self.kind {
            Kind::Replica(replica) => replica.clone(),
            Kind::Copy(copy) => copy.clone(),
            Kind::Aggregate(aggregate) => aggregate.clone(),
            Kind::Index(index) => index.clone(),
            Kind::Emit(emit) => emit.clone(),
        }
    }

    /// Notes an index that takes rows over, and cannot tell those of another index from rows that nobody guards.
    pub(super) fn takes_over(&self, earlier: &[Self], section: &mut Section<'_>) {
        let Kind::Index(own) = &self.kind else { return };
        for other in earlier {
            let Kind::Index(index) = &other.kind else { continue };
            let adopts = !own.unique || !index.unique;
            if adopts && own.table == index.table && may_meet(&self.kind, &other.kind) {
                let what = format!(
                    "may ask for the same rows as `{}`, and one would take over the other's",
                    other.name
                );
                let advice = "use another table, begin the keys with different text, or leave `unique = false` out of both";
                section.error_here("", what, advice);
            }
        }
    }
}

impl Kind {
    /// The word in the file.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Replica(_) => "replica",
            Self::Copy(_) => "copy",
            Self::Aggregate(_) => "aggregate",
            Self::Index(_) => "index",
            Self::Emit(_) => "emit",
        }
    }

    /// Whether it keeps the values of its items in a table of its own.
    pub fn keeps_values(&self) -> bool {
        matches!(self, Self::Aggregate(aggregate) if aggregate.keeps.has_statistics())
    }

    /// Which changes concern it.
    pub fn selection(&self) -> &Selection {
        match self {
            Self::Replica(replica) => &replica.selection,
            Self::Copy(copy) => &copy.selection,
            Self::Aggregate(aggregate) => &aggregate.selection,
            Self::Index(index) => &index.selection,
            Self::Emit(emit) => &emit.selection,
        }
    }

    /// The table or topic it writes to.
    pub fn resource(&self) -> &Arc<str> {
        match self {
            Self::Replica(replica) => &replica.table,
            Self::Copy(copy) => &copy.table,
            Self::Aggregate(aggregate) => &aggregate.table,
            Self::Index(index) => &index.table,
            Self::Emit(emit) => &emit.topic,
        }
    }

    /// The templates that find its rows; none of an `emit`.
    pub fn key(&self) -> &Templates {
        match self {
            Self::Replica(replica) => &replica.key,
            Self::Copy(copy) => copy.rows.key(),
            Self::Aggregate(aggregate) => &aggregate.group,
            Self::Index(index) => &index.key,
            Self::Emit(_) => const { &Templates::new() },
        }
    }

    /// The templates of the attributes it sets; an `aggregate` has totals in their place.
    pub fn set(&self) -> &Templates {
        match self {
            Self::Replica(replica) => &replica.set,
            Self::Copy(copy) => &copy.set,
            Self::Index(index) => &index.set,
            Self::Aggregate(_) | Self::Emit(_) => const { &Templates::new() },
        }
    }

    /// What it reads of an item for its rows; of a replica and a copy without their keys.
    pub fn values(&self) -> Vec<&Placeholder> {
        match self {
            Self::Aggregate(aggregate) => placeholders(aggregate.keeps.templates()),
            Self::Index(index) => placeholders(index.key.iter().chain(&index.set)),
            Self::Replica(_) | Self::Copy(_) | Self::Emit(_) => placeholders(self.set()),
        }
    }

    /// Whether the ledger knows what each item contributed, so that no old image is needed to take it back.
    pub fn is_fold(&self) -> bool {
        matches!(self, Self::Aggregate(_) | Self::Index(_))
    }
}

/// What templates read of an item; what Millstream makes itself is left out.
fn placeholders<'t>(
    templates: impl IntoIterator<Item = &'t (AttributeName, Template)>,
) -> Vec<&'t Placeholder> {
    let placeholders = templates.into_iter().flat_map(|(_, template)| template.placeholders());
    placeholders.filter(|placeholder| !placeholder.path.root().starts_with(RESERVED)).collect()
}

/// The kinds, in the order of the documentation.
const KINDS: [&str; 5] = ["replica", "copy", "aggregate", "index", "emit"];
const KIND_ADVICE: &str = "say what it keeps: \"replica\", \"copy\", \"aggregate\", \"index\" or \"emit\"";
const KEY_ADVICE: &str = "say how a row is found: key = { id = \"{id}\" }";

/// Guard attributes of these names would be those of inline tombstones, `ms:removed` and `ms:expires`.
const TAKEN: [&str; 2] = ["removed", "expires"];

/// Validates one projection; `None` if something is wrong that was noted.
pub(super) fn projection(
    name: &str,
    mut table: DeTable<'_>,
    sources: &[&str],
    line: usize,
    section: &mut Section<'_>,
) -> Option<ProjectionConfig> {
    let name = projection_name(name, section);
    let common: RawCommon = take(&mut table, section);
    let word = common.kind.required(section, "kind", KIND_ADVICE);
    let from = from(common.from, sources, section);
    let selection = selection(common.condition, common.changed, common.version, section);
    let base = name.clone().zip(selection);
    let At { offset, value: word } = word?;
    let kind = match word.as_str() {
        "replica" => replica::build(rest(table, section), base, section).map(Arc::new).map(Kind::Replica),
        "copy" => copy::build(rest(table, section), base, section).map(Arc::new).map(Kind::Copy),
        "aggregate" => {
            aggregate::build(rest(table, section), base, section).map(Arc::new).map(Kind::Aggregate)
        }
        "index" => index::build(rest(table, section), base, section).map(Arc::new).map(Kind::Index),
        "emit" => emit::build(rest(table, section), base, section).map(Arc::new).map(Kind::Emit),
        unknown => {
            let what = format!("`{unknown}` is not a kind");
            section.error(offset, "kind", what, suggest::instead_of(unknown, &KINDS));
            None
        }
    };
    Some(ProjectionConfig { name: name?, from: from?, kind: kind?, line })
}

/// What all kinds have: the name, and which changes concern them. None if something is wrong with it.
type Base = Option<(ProjectionName, Selection)>;

/// Reads the keys of one kind; whatever is left is no key of it.
fn rest<T: DeserializeOwned + Default>(mut table: DeTable<'_>, section: &mut Section<'_>) -> T {
    let raw = take(&mut table, section);
    refuse_rest(&table, &[keys_of::<RawCommon>(), keys_of::<T>()], section);
    raw
}

fn projection_name(name: &str, section: &mut Section<'_>) -> Option<ProjectionName> {
    if TAKEN.contains(&name) {
        let what = format!("the guard `ms:{name}` would be an attribute of inline tombstones");
        section.error_here("", what, "choose another name");
        return None;
    }
    ProjectionName::new(name).map_err(|error| section.error_here("", error.to_string(), "rename it")).ok()
}

fn from(field: Field<String>, sources: &[&str], section: &mut Section<'_>) -> Option<SourceName> {
    let At { offset, value } = field.required(section, "from", "name the source whose changes it follows")?;
    if sources.contains(&value.as_str()) {
        // A source whose own name is wrong is an error of that source.
        return SourceName::new(&value).ok();
    }
    section.error(
        offset,
        "from",
        format!("there is no source `{value}`"),
        suggest::instead_of(&value, sources),
    );
    None
}

fn selection(
    condition: Field<String>,
    changed: Field<Vec<Field<String>>>,
    version: Field<String>,
    section: &mut Section<'_>,
) -> Option<Selection> {
    let asked = condition.offset().is_some();
    let condition = condition.value(section, "where").and_then(|At { offset, value }| {
        let noted = |error: ConditionError| {
            let advice = match error {
                ConditionError::Syntax { .. } => "write it like \"has(new.status) && new.status != 'DRAFT'\"",
                ConditionError::Variable { .. } => "",
            };
            section.error(offset, "where", error.to_string(), advice);
        };
        Condition::parse(&value).map_err(noted).ok()
    });
    let changed = names(changed, section, "changed");
    let versioned = version.offset().is_some();
    let version = version.value(section, "version").and_then(|at| name(at, section, "version"));
    if condition.is_some() != asked || version.is_some() != versioned {
        return None;
    }
    Some(Selection { condition, changed: changed?, version })
}

/// An attribute of the key that `set` makes something else of.
fn contradictions(key: &Templates, set: &Templates, set_at: usize, section: &mut Section<'_>) {
    for (name, template) in set {
        if key.iter().any(|(key_name, key_template)| key_name == name && key_template != template) {
            let what = format!("says something else than `key.{name}`");
            let advice = "leave it out: the attributes of the key are part of the row anyway";
            section.error(set_at, &format!("set.{name}"), what, advice);
        }
    }
}

/// What these templates read counts whatever `changed` names: an item that moves to another row would leave its former
/// row behind for ever, and a total would go wrong.
fn counting<'t>(
    mut selection: Selection,
    templates: impl IntoIterator<Item = &'t (AttributeName, Template)>,
) -> Selection {
    if !selection.changed.is_empty() {
        for placeholder in placeholders(templates) {
            let root = placeholder.path.root();
            if !selection.changed.contains(root) {
                selection.changed.push(root.clone());
            }
        }
    }
    selection
}

fn target_table(field: Field<String>, section: &mut Section<'_>) -> Option<Arc<str>> {
    let at = field.required(section, "table", "name the table to write to")?;
    table_name(at, section, "table")
}
