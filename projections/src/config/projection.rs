//! `[projection.<name>]`, validated and built.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::de::DeTable;

use super::error::Section;
use super::field::{At, Field, keys_of, refuse_rest, take};
use super::raw::{RawCommon, RawCopy, RawEmit, RawMatch, RawReplica};
use super::source::{choice, table_name, topic_arn};
use super::suggest;
use super::templates::{Place, name, names, templates};
use crate::condition::{Condition, ConditionError};
use crate::effect::Tombstones;
use crate::kinds::Templates;
use crate::kinds::copy::{Copy, OnDelete, Rows};
use crate::kinds::emit::Emit;
use crate::kinds::replica::Replica;
use crate::kinds::selection::Selection;
use crate::name::{ProjectionName, SourceName};
use crate::projection::Projection;

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
    /// Events for other services.
    Emit(Arc<Emit>),
}

impl ProjectionConfig {
    /// The projection itself.
    pub fn build(&self) -> Arc<dyn Projection> {
        match &self.kind {
            Kind::Replica(replica) => replica.clone(),
            Kind::Copy(copy) => copy.clone(),
            Kind::Emit(emit) => emit.clone(),
        }
    }
}

impl Kind {
    /// The word in the file.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Replica(_) => "replica",
            Self::Copy(_) => "copy",
            Self::Emit(_) => "emit",
        }
    }

    /// Which changes concern it.
    pub fn selection(&self) -> &Selection {
        match self {
            Self::Replica(replica) => &replica.selection,
            Self::Copy(copy) => &copy.selection,
            Self::Emit(emit) => &emit.selection,
        }
    }

    /// The table or topic it writes to.
    pub fn resource(&self) -> &Arc<str> {
        match self {
            Self::Replica(replica) => &replica.table,
            Self::Copy(copy) => &copy.table,
            Self::Emit(emit) => &emit.topic,
        }
    }

    /// The templates that find its rows; none of an `emit`.
    pub fn key(&self) -> &Templates {
        match self {
            Self::Replica(replica) => &replica.key,
            Self::Copy(copy) => copy.rows.key(),
            Self::Emit(_) => const { &Templates::new() },
        }
    }

    /// The templates of the attributes it writes.
    pub fn set(&self) -> &Templates {
        match self {
            Self::Replica(replica) => &replica.set,
            Self::Copy(copy) => &copy.set,
            Self::Emit(_) => const { &Templates::new() },
        }
    }
}

/// Kinds of the design that this version does not have.
const LATER: [&str; 2] = ["aggregate", "index"];

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
    let word = common.kind.required(section, "kind", "say what it keeps: \"replica\", \"copy\" or \"emit\"");
    let from = from(common.from, sources, section);
    let selection = selection(common.condition, common.changed, common.version, section);
    let base = name.clone().zip(selection);
    let At { offset, value: word } = word?;
    let kind = match word.as_str() {
        "replica" => replica(rest(table, section), base, section).map(Arc::new).map(Kind::Replica),
        "copy" => copy(rest(table, section), base, section).map(Arc::new).map(Kind::Copy),
        "emit" => emit(rest(table, section), base, section).map(Arc::new).map(Kind::Emit),
        unknown => {
            unknown_kind(unknown, offset, section);
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

fn unknown_kind(word: &str, offset: usize, section: &mut Section<'_>) {
    const KINDS: [&str; 3] = ["replica", "copy", "emit"];
    if LATER.contains(&word) {
        let advice = format!("known are {}", suggest::list(&KINDS));
        section.error(offset, "kind", format!("this version does not have the kind `{word}` yet"), advice);
    } else {
        section.error(offset, "kind", format!("`{word}` is not a kind"), suggest::instead_of(word, &KINDS));
    }
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

fn replica(raw: RawReplica, base: Base, section: &mut Section<'_>) -> Option<Replica> {
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
        for (name, template) in set {
            if key.iter().any(|(key_name, key_template)| key_name == name && key_template != template) {
                let what = format!("says something else than `key.{name}`");
                let advice = "leave it out: the attributes of the key are part of the row anyway";
                section.error(set_at.unwrap_or(section.offset), &format!("set.{name}"), what, advice);
            }
        }
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
    let selection = counting_moves(selection, &key);
    Some(Replica { name, selection, table: table?, key, set: set?, tombstones })
}

/// An item that moves to another row counts whatever `changed` names: its former row would stand for ever.
fn counting_moves(mut selection: Selection, key: &Templates) -> Selection {
    if !selection.changed.is_empty() {
        for placeholder in key.iter().flat_map(|(_, template)| template.placeholders()) {
            let root = placeholder.path.root();
            if !selection.changed.contains(root) {
                selection.changed.push(root.clone());
            }
        }
    }
    selection
}

const KEY_ADVICE: &str = "say how a row is found: key = { id = \"{id}\" }";
const ROWS_ADVICE: &str =
    "write key = { … } for one row by its primary key, or match = { index = \"…\", key = { … } } for many";

fn copy(raw: RawCopy, base: Base, section: &mut Section<'_>) -> Option<Copy> {
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
    let selection = counting_moves(selection, rows.key());
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

fn emit(raw: RawEmit, base: Base, section: &mut Section<'_>) -> Option<Emit> {
    let topic = raw.topic.required(section, "topic", "give the ARN of the SNS topic to publish to");
    let topic = topic.and_then(|at| topic_arn(at, section));
    let include = names(raw.include, section, "include");
    let (name, selection) = base?;
    Some(Emit { name, selection, topic: topic?, include: include? })
}

fn target_table(field: Field<String>, section: &mut Section<'_>) -> Option<Arc<str>> {
    let at = field.required(section, "table", "name the table to write to")?;
    table_name(at, section, "table")
}
