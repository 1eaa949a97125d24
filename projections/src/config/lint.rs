//! What is right but may surprise: found by reading the config alone, without a look at any table.

/// Two projections that write to one table.
mod rows;

use super::settings::RETENTION;
use super::source::{SourceConfig, SourceKind, Start};
use super::{Config, Kind, ProjectionConfig};
use crate::event::rfc3339;
use crate::item::{AttributeName, RESERVED};
use crate::kinds::index::Index;
use crate::template::Template;

pub(super) use rows::may_meet;

/// Something that is right but may surprise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The line of the file, from 1.
    pub line: usize,
    /// What it is about: `projection.orders`.
    pub subject: String,
    /// What may surprise.
    pub text: String,
    /// What to do about it.
    pub advice: String,
}

/// All that may surprise in a config, in the order of the file.
pub fn lint(config: &Config) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for source in &config.sources {
        of_source(source, config, &mut warnings);
    }
    for (place, projection) in config.projections.iter().enumerate() {
        let mut found = Found { projection, warnings: &mut warnings };
        found.unnoticed_changes();
        found.one_row_for_all();
        found.nested_names();
        if let Kind::Index(index) = &projection.kind {
            found.lookups(index);
        }
        found.optional_in_where();
        if let Some(source) = config.source(&projection.from) {
            found.missing_images(source);
            found.follows_itself(source);
        }
        for earlier in &config.projections[..place] {
            if let Some((text, advice)) = rows::shared(projection, earlier) {
                found.warn(text, advice);
            }
        }
    }
    warnings.sort_by_key(|warning| warning.line);
    warnings
}

fn of_source(source: &SourceConfig, config: &Config, warnings: &mut Vec<Warning>) {
    let mut warn = |text: &str, advice: &str| {
        let (text, advice) = (text.to_owned(), advice.to_owned());
        warnings.push(Warning {
            line: source.line,
            subject: format!("source.{}", source.name),
            text,
            advice,
        });
    };
    match source.start {
        Start::TrimHorizon => {}
        Start::Latest => warn(
            "start = \"latest\" can miss the changes made while the poller starts for the first time",
            "use trim-horizon: guards make old changes harmless",
        ),
        Start::Since(at) => {
            let age = config.read_at.unwrap_or(at).saturating_sub(at);
            if age > RETENTION.as_secs() {
                let text = format!(
                    "start = \"{}\" is more than 24 h ago, and the stream remembers no more: it means trim-horizon",
                    rfc3339(at)
                );
                warn(&text, "leave it out: it only says where a stream begins that was never read");
            }
        }
    }
    if let SourceKind::Topic(topic) = &source.kind {
        if topic.ends_with(".fifo") {
            warn(
                "a FIFO topic delivers to queues only, never to a Lambda",
                "subscribe a queue and name it: queue = \"https://…\"",
            );
        } else {
            warn(
                "a topic that invokes the Lambda directly cannot be told which messages failed",
                "put a queue in between: queue = \"https://…\"",
            );
        }
    }
    if config.projections_of(&source.name).next().is_none() {
        warn(
            "no projection follows it: its changes are read and forgotten",
            "remove it, or give it a projection",
        );
    }
}

/// What is found about one projection.
struct Found<'a> {
    projection: &'a ProjectionConfig,
    warnings: &'a mut Vec<Warning>,
}

impl Found<'_> {
    fn warn(&mut self, text: impl Into<String>, advice: impl Into<String>) {
        self.warnings.push(Warning {
            line: self.projection.line,
            subject: format!("projection.{}", self.projection.name),
            text: text.into(),
            advice: advice.into(),
        });
    }

    /// An attribute that is written or told, and whose change alone fires nothing.
    fn unnoticed_changes(&mut self) {
        let kind = &self.projection.kind;
        let changed = &kind.selection().changed;
        if changed.is_empty() {
            return;
        }
        if let Kind::Replica(replica) = kind
            && replica.set.is_empty()
        {
            self.warn(
                "keeps the whole item, but only a change of an attribute in `changed` is written",
                "leave `changed` out, or name what to keep in `set`",
            );
            return;
        }
        let mut unnoticed: Vec<&str> =
            read_by(kind).into_iter().filter(|name| !contains(changed, name)).collect();
        // Attributes of the key never change without being another item, but only the source knows its key.
        unnoticed.retain(|name| !kind.key().iter().any(|(_, template)| reads(template, name)));
        if !unnoticed.is_empty() {
            let names = super::suggest::list(&unnoticed);
            self.warn(
                format!("a change of {names} alone is not noticed: it is not in `changed`"),
                "add it to `changed`, unless it never changes",
            );
        }
    }

    fn one_row_for_all(&mut self) {
        let key = self.projection.kind.key();
        if key.is_empty() || !key.iter().all(|(_, template)| matches!(template, Template::Literal(_))) {
            return;
        }
        match self.projection.kind {
            Kind::Aggregate(_) => self.warn(
                "the group is the same for every item: all changes wait for one another at one totals row",
                "spread it, if changes are many: shards = 8, with `{ms:shard}` in the group",
            ),
            Kind::Replica(_) | Kind::Copy(_) | Kind::Index(_) | Kind::Emit(_) => self.warn(
                "the key is the same for every item: all of them share one row",
                "put an attribute of the item into the key",
            ),
        }
    }

    /// A lookup row by one value that is no key of the source: other items may well have the same.
    fn lookups(&mut self, index: &Index) {
        let placeholders = index.key.iter().flat_map(|(_, template)| template.placeholders());
        let mut paths: Vec<&str> = placeholders.map(|placeholder| &**placeholder.path.root()).collect();
        paths.sort_unstable();
        paths.dedup();
        let [path] = paths.as_slice() else { return };
        if !index.unique {
            self.warn(
                format!("is not unique, but its key reads `{path}` alone: the second item with the same value becomes a letter"),
                format!("add the source's key: key = {{ value = \"{{{path}}}\", id = \"{{id}}\" }}"),
            );
        }
        if !index.set.is_empty() && index.set.iter().all(|(_, template)| !reads_an_item(template)) {
            self.warn(
                "its rows lead to no item: `set` reads nothing of it",
                "add the source's key to `set`, or leave `set` out",
            );
        }
    }

    /// `customer.name` in a list of attributes is one attribute whose name has a dot.
    fn nested_names(&mut self) {
        let selection = self.projection.kind.selection();
        let include: &[AttributeName] = match &self.projection.kind {
            Kind::Emit(emit) => &emit.include,
            Kind::Replica(_) | Kind::Copy(_) | Kind::Aggregate(_) | Kind::Index(_) => &[],
        };
        let names = selection.changed.iter().chain(include).chain(&selection.version);
        let dotted: Vec<&str> = names.map(|name| &**name).filter(|name| name.contains(['.', '['])).collect();
        if !dotted.is_empty() {
            let names = super::suggest::list(&dotted);
            self.warn(
                format!("{names} is read as the name of one top-level attribute, not as a path"),
                "name the top-level attribute",
            );
        }
    }

    /// What a template takes to be optional, `where` reads without asking: an item without it becomes a letter.
    fn optional_in_where(&mut self) {
        let Some(condition) = &self.projection.kind.selection().condition else { return };
        let optional = self.projection.kind.values().into_iter().filter(|placeholder| placeholder.optional);
        let unasked = optional
            .map(|placeholder| placeholder.path.root())
            .map(|root| format!("new.{root}"))
            .find(|attribute| {
                speaks_of(condition.text(), attribute)
                    && !condition.text().contains(&format!("has({attribute}"))
            });
        if let Some(attribute) = unasked {
            let by = if self.projection.kind.is_fold() { "a template" } else { "`set`" };
            self.warn(
                format!("`where` reads `{attribute}`, which {by} takes to be optional: an item without it becomes a letter"),
                format!("ask first: has({attribute}) && …"),
            );
        }
    }

    fn missing_images(&mut self, source: &SourceConfig) {
        let (view, kind) = (source.view, &self.projection.kind);
        let name = view.as_str();
        if let Kind::Emit(emit) = kind {
            let both = view.has_new() && view.has_old();
            if !both && !emit.include.is_empty() {
                let side = if view.has_new() { "after" } else { "before" };
                let text =
                    format!("with stream_view = \"{name}\" events carry the item {side} the change only");
                self.warn(text, "give the table's stream NEW_AND_OLD_IMAGES");
            }
            return;
        }
        if kind.is_fold() {
            if !view.has_old() {
                let text = format!(
                    "with stream_view = \"{name}\" what an item contributed before is only in the ledger: \
                     each modification and removal takes a second request"
                );
                self.warn(text, "give the table's stream NEW_AND_OLD_IMAGES");
            }
            return;
        }
        let placeholders = kind.key().iter().flat_map(|(_, template)| template.placeholders());
        let mut names: Vec<&str> = placeholders.map(|placeholder| &**placeholder.path.root()).collect();
        names.dedup();
        if !view.has_old() && !names.is_empty() {
            let names = super::suggest::list(&names);
            self.warn(
                format!("with stream_view = \"{name}\" the former row is found by the source's key alone: {names} has to be part of it"),
                "give the table's stream NEW_AND_OLD_IMAGES if it is not",
            );
        }
    }

    /// A projection into its own source is told of its own writes.
    fn follows_itself(&mut self, source: &SourceConfig) {
        let kind = &self.projection.kind;
        let selection = kind.selection();
        let fenced = selection.condition.is_some() || !selection.changed.is_empty();
        if let SourceKind::Table(table) = &source.kind
            && table == kind.resource()
            && !fenced
        {
            self.warn(
                "writes to the table it follows: every write is a change again, without end",
                "leave its own rows out by `where`, or its own writes by `changed`",
            );
        }
    }
}

/// The top-level attributes of the source that end up in a row or an event.
fn read_by(kind: &Kind) -> Vec<&str> {
    let mut names: Vec<&str> = match kind {
        Kind::Emit(emit) => emit.include.iter().map(|name| &**name).collect(),
        Kind::Replica(_) | Kind::Copy(_) | Kind::Aggregate(_) | Kind::Index(_) => {
            kind.values().into_iter().map(|placeholder| &**placeholder.path.root()).collect()
        }
    };
    names.sort_unstable();
    names.dedup();
    names
}

fn contains(names: &[AttributeName], name: &str) -> bool {
    names.iter().any(|it| **it == *name)
}

/// Whether a template reads anything that is not Millstream's own.
fn reads_an_item(template: &Template) -> bool {
    template.placeholders().any(|placeholder| !placeholder.path.root().starts_with(RESERVED))
}

fn reads(template: &Template, name: &str) -> bool {
    template.placeholders().any(|placeholder| **placeholder.path.root() == *name)
}

/// Whether a CEL text has the attribute as a whole word.
fn speaks_of(text: &str, attribute: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(attribute).any(|(at, _)| !text[at + attribute.len()..].starts_with(word))
}
