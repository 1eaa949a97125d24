//! `millstream.toml`: raw, validated, built. Pure: the text and the environment come from the caller.

/// What each kind of projection costs to write.
pub mod cost;
/// Durations as text.
pub mod duration;
/// What is wrong with a config.
pub mod error;
/// What is right but may surprise.
pub mod lint;
/// Points in time as text.
pub mod moment;
/// `[poller]`.
pub mod poller;
/// `[projection.<name>]`.
pub mod projection;
/// `[state]`, `[letters]` and `[pipeline]`.
pub mod settings;
/// `[source.<name>]`.
pub mod source;

mod environment;
mod field;
mod names;
mod raw;
mod schema;
mod suggest;
mod templates;
mod view;

use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use toml::de::{DeTable, DeValue};

pub use error::{ConfigError, ConfigErrors};
pub use lint::{Warning, lint};
pub use poller::{Listen, OnGap, PollerSettings};
pub use projection::{Kind, ProjectionConfig};
pub use settings::{Letters, LettersStore, PipelineSettings, State};
pub use source::{SourceConfig, SourceKind, Start, StreamView};

use error::{Lines, Report, Section};
use field::{keys_of, refuse_rest, take};

use crate::name::SourceName;

/// A config that was checked: what is in here can be built.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where changes come from, in the order of the file.
    pub sources: Vec<SourceConfig>,
    /// What follows from them, in the order of the file.
    pub projections: Vec<ProjectionConfig>,
    /// Our own tables.
    pub state: State,
    /// Dead letters.
    pub letters: Letters,
    /// How fast, and how patient.
    pub pipeline: PipelineSettings,
    /// How the workers of `millstream run` keep time.
    pub poller: PollerSettings,
    /// When it was read, in seconds since 1970, where that was told: what a time in it means hangs on it.
    pub read_at: Option<u64>,
    /// Tells configs apart: 16 hex digits of SHA-256 over the file's values, variables resolved, order and layout apart.
    pub hash: String,
}

impl Config {
    /// Reads and checks a config. `file` is only what errors call it; `env` looks up the variables that the text names.
    /// No time in it is taken for past or future: [`parse_at`](Self::parse_at) does that.
    pub fn parse(file: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        Self::read(file, text, env, None)
    }

    /// Reads and checks a config at a time, in seconds since 1970: a `start` that is still to come is an error.
    pub fn parse_at(
        file: &str,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
        now: u64,
    ) -> Result<Self, ConfigErrors> {
        Self::read(file, text, env, Some(now))
    }

    fn read(
        file: &str,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
        now: Option<u64>,
    ) -> Result<Self, ConfigErrors> {
        let lines = Lines::of(text);
        let mut report = Report::default();
        let (mut root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let offset = error.span().map_or(text.len(), |span| span.start);
            report.error(offset, ("", ""), format!("is not TOML: {}", error.message()), "");
        }
        // What a broken document seems to say is not worth a word.
        if !errors.is_empty() {
            return Err(report.into_errors(file, &lines));
        }
        environment::resolve(root.get_mut(), env, &mut report);
        let hash = hash(root.get_ref());
        let config = Self { read_at: now, hash, ..read(root.into_inner(), now, &lines, &mut report) };
        if report.is_empty() { Ok(config) } else { Err(report.into_errors(file, &lines)) }
    }

    /// The JSON Schema of the file, for editors.
    pub fn schema() -> serde_json::Value {
        schema::schema()
    }

    /// The projections that follow one source.
    pub fn projections_of<'a>(
        &'a self,
        source: &'a SourceName,
    ) -> impl Iterator<Item = &'a ProjectionConfig> {
        self.projections.iter().filter(move |projection| projection.from == *source)
    }

    /// A source by its name.
    pub fn source(&self, name: &SourceName) -> Option<&SourceConfig> {
        self.sources.iter().find(|source| source.name == *name)
    }
}

/// The sections of the file.
const SECTIONS: [&str; 6] = ["source", "state", "letters", "pipeline", "poller", "projection"];

fn read(mut root: DeTable<'_>, now: Option<u64>, lines: &Lines, report: &mut Report) -> Config {
    let kept_at = place_of(&root, "state", "tombstones").or(place_of(&root, "letters", "keep")).unwrap_or(0);
    let source_tables = tables(&mut root, "source", report);
    let names: Vec<String> = source_tables.iter().map(|table| table.name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let sources = sources(source_tables, now, lines, report);
    let projection_tables = tables(&mut root, "projection", report);
    let projections = projections(projection_tables, &names, &sources, lines, report);

    let state = one(&mut root, "state", report, settings::state);
    let letters = one(&mut root, "letters", report, settings::letters);
    let pipeline = one(&mut root, "pipeline", report, settings::pipeline);
    let poller = one(&mut root, "poller", report, poller::poller);
    let mut section = Section { report, header: "state".to_owned(), offset: 0 };
    settings::tombstones_outlive(&state, &letters, kept_at, &mut section);
    section.header.clear();
    refuse_rest(&root, &[&SECTIONS], &mut section);
    Config { sources, projections, state, letters, pipeline, poller, read_at: now, hash: String::new() }
}

/// One `[source.<name>]` or `[projection.<name>]` as it is written.
struct Named<'i> {
    name: String,
    offset: usize,
    table: DeTable<'i>,
}

/// Takes the tables of `[<word>.<name>]` out of the document, in the order of the file.
fn tables<'i>(root: &mut DeTable<'i>, word: &str, report: &mut Report) -> Vec<Named<'i>> {
    let form = format!("write [{word}.<name>]");
    let Some((key, value)) = root.remove_entry(word) else {
        report.error(0, ("", word), "there is none", form);
        return Vec::new();
    };
    let DeValue::Table(found) = value.into_inner() else {
        report.error(key.span().start, ("", word), "is not a section", form);
        return Vec::new();
    };
    let mut tables = Vec::with_capacity(found.len());
    for (key, value) in found {
        let (offset, name) = (key.span().start, key.into_inner().into_owned());
        match value.into_inner() {
            DeValue::Table(table) => tables.push(Named { name, offset, table }),
            _ => report.error(offset, (word, &name), "is not a section of its own", form.clone()),
        }
    }
    tables.sort_by_key(|table| table.offset);
    tables
}

fn sources(
    tables: Vec<Named<'_>>,
    now: Option<u64>,
    lines: &Lines,
    report: &mut Report,
) -> Vec<SourceConfig> {
    let mut sources: Vec<SourceConfig> = Vec::with_capacity(tables.len());
    for Named { name, offset, mut table } in tables {
        let mut section = Section { report, header: format!("source.{name}"), offset };
        let raw = take(&mut table, &mut section);
        refuse_rest(&table, &[keys_of::<raw::RawSource>()], &mut section);
        let Some(source) = source::source(&name, raw, now, lines.line(offset), &mut section) else {
            continue;
        };
        if let Some(twin) = sources.iter().find(|other| other.kind == source.kind) {
            let what = format!("is the same {} as source `{}`", source.kind.word(), twin.name);
            section.error_here("", what, "make it one source: any number of projections can follow it");
        }
        sources.push(source);
    }
    sources
}

fn projections(
    tables: Vec<Named<'_>>,
    names: &[&str],
    sources: &[SourceConfig],
    lines: &Lines,
    report: &mut Report,
) -> Vec<ProjectionConfig> {
    let mut projections: Vec<ProjectionConfig> = Vec::with_capacity(tables.len());
    for Named { name, offset, table } in tables {
        let mut section = Section { report, header: format!("projection.{name}"), offset };
        let line = lines.line(offset);
        let Some(projection) = projection::projection(&name, table, names, line, &mut section) else {
            continue;
        };
        if let Some(source) = sources.iter().find(|source| source.name == projection.from) {
            view::check(&projection, source, &mut section);
        }
        projection.takes_over(&projections, &mut section);
        projections.push(projection);
    }
    projections
}

/// Reads one of the sections that stand once in the file; all of their keys have defaults.
fn one<R: DeserializeOwned + Default, T>(
    root: &mut DeTable<'_>,
    word: &str,
    report: &mut Report,
    validate: fn(R, &mut Section<'_>) -> T,
) -> T {
    let entry = root.remove_entry(word);
    let offset = entry.as_ref().map_or(0, |(key, _)| key.span().start);
    let mut section = Section { report, header: word.to_owned(), offset };
    let mut raw = R::default();
    match entry.map(|(_, value)| value.into_inner()) {
        None => {}
        Some(DeValue::Table(mut table)) => {
            raw = take(&mut table, &mut section);
            refuse_rest(&table, &[keys_of::<R>()], &mut section);
        }
        Some(_) => section.error_here("", "is not a section", format!("write [{word}]")),
    }
    validate(raw, &mut section)
}

fn place_of(root: &DeTable<'_>, section: &str, key: &str) -> Option<usize> {
    match root.get(section)?.get_ref() {
        DeValue::Table(table) => Some(table.get(key)?.span().start),
        _ => None,
    }
}

/// The digest of the values that a document has once its variables are resolved.
fn hash(root: &DeTable<'_>) -> String {
    let mut canonical = Vec::new();
    write_table(&mut canonical, root);
    Sha256::digest(&canonical)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_table(out: &mut Vec<u8>, table: &DeTable<'_>) {
    let mut entries: Vec<(&str, &DeValue<'_>)> =
        table.iter().map(|(key, value)| (&**key.get_ref(), value.get_ref())).collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    write_part(out, b'{', &(entries.len() as u64).to_be_bytes());
    for (key, value) in entries {
        write_part(out, b'k', key.as_bytes());
        write_value(out, value);
    }
}

fn write_value(out: &mut Vec<u8>, value: &DeValue<'_>) {
    match value {
        DeValue::String(text) => write_part(out, b's', text.as_bytes()),
        DeValue::Integer(integer) => write_part(out, b'i', integer.to_string().as_bytes()),
        DeValue::Float(float) => write_part(out, b'f', float.to_string().as_bytes()),
        DeValue::Boolean(bool) => write_part(out, b'b', &[u8::from(*bool)]),
        DeValue::Datetime(datetime) => write_part(out, b'd', datetime.to_string().as_bytes()),
        DeValue::Array(list) => {
            write_part(out, b'[', &(list.len() as u64).to_be_bytes());
            list.iter().for_each(|element| write_value(out, element.get_ref()));
        }
        DeValue::Table(table) => write_table(out, table),
    }
}

/// Each part with its length, so that no two documents share a form.
fn write_part(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}
