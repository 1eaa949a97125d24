//! `[state]`, `[letters]` and `[pipeline]`, validated.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::duration;
use super::error::Section;
use super::field::{At, Field};
use super::names;
use super::raw::{RawLetters, RawPipeline, RawPlace, RawState, RawStore};

/// Our own tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What their names start with.
    pub prefix: String,
    /// How long a removal is remembered; longer than any letter is kept.
    pub tombstones: Duration,
}

impl State {
    /// The table of tombstones.
    pub fn ledger_table(&self) -> String {
        format!("{}ledger", self.prefix)
    }

    /// The table of values, where an aggregate keeps a least, a greatest or a number of different ones.
    pub fn values_table(&self) -> String {
        format!("{}values", self.prefix)
    }

    /// The table of what the pollers agree on, where they run.
    pub fn state_table(&self) -> String {
        format!("{}state", self.prefix)
    }

    /// The table of letters, where they are kept in one.
    pub fn letters_table(&self) -> String {
        format!("{}{LETTERS}", self.prefix)
    }
}

/// The longest of the names that follow the prefix.
const LETTERS: &str = "letters";

/// Dead letters: where they are kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letters {
    /// Where.
    pub store: LettersStore,
    /// For how long.
    pub keep: Duration,
}

/// Where letters are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LettersStore {
    /// In the table [`State::letters_table`].
    Table,
    /// In an SQS queue, by its URL.
    Queue(Arc<str>),
    /// As JSON files in a directory.
    Directory(PathBuf),
}

/// How fast the pipeline is, and how patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineSettings {
    /// How many targets are written at once.
    pub concurrency: NonZeroUsize,
    /// The age at which a change that still meets transient faults becomes a letter.
    pub hold: Duration,
    /// How long before a Lambda's deadline nothing new is started.
    pub deadline_margin: Duration,
    /// The first wait after a transient fault.
    pub retry_initial: Duration,
    /// The longest wait between two attempts.
    pub retry_max: Duration,
    /// How long one write is tried in one batch.
    pub retry_elapsed: Duration,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Enough for the journeys of a busy batch, and well below the sockets of a small Lambda.
const CONCURRENCY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
/// Beyond this a single table throttles long before the pipeline does.
const MAX_CONCURRENCY: i64 = 1024;
/// Ten years: a time to live far beyond any recovery.
const FOREVER: Duration = Duration::from_secs(3_650 * 86_400);
/// A stream keeps its records this long.
pub(super) const RETENTION: Duration = DAY;
/// The longest that SQS keeps a message.
const QUEUE_RETENTION: Duration = Duration::from_secs(14 * 86_400);
/// A Lambda lives this long.
const LAMBDA: Duration = Duration::from_secs(15 * 60);

pub(super) fn state(raw: RawState, section: &mut Section<'_>) -> State {
    let prefix = raw.prefix.value(section, "prefix").map_or_else(
        || "millstream-".to_owned(),
        |At { offset, value }| {
            if let Err(what) = names::table(&format!("{value}{LETTERS}")) {
                section.error(
                    offset,
                    "prefix",
                    what,
                    "it begins the names of tables: use a-z, A-Z, 0-9, `-`, `_` and `.`",
                );
            }
            value
        },
    );
    let tombstones = limited(raw.tombstones, section, "tombstones", 30 * DAY, DAY..=FOREVER);
    State { prefix, tombstones }
}

pub(super) fn letters(raw: RawLetters, section: &mut Section<'_>) -> Letters {
    let store =
        raw.store.value(section, "store").and_then(|at| store(at, section)).unwrap_or(LettersStore::Table);
    let keep = limited(raw.keep, section, "keep", 14 * DAY, DAY..=FOREVER);
    let keep = match &store {
        // A queue forgets by its own retention, which nobody tells us: a tombstone has to outlive the longest there is.
        LettersStore::Queue(_) => keep.max(QUEUE_RETENTION),
        LettersStore::Table | LettersStore::Directory(_) => keep,
    };
    Letters { store, keep }
}

const STORES: &str = "use \"table\", { queue = \"https://…\" } or { directory = \"letters/\" }";

fn store(raw: At<RawStore>, section: &mut Section<'_>) -> Option<LettersStore> {
    let At { offset, value } = raw;
    let RawPlace { directory, queue } = match value {
        RawStore::Word(word) if word == "table" => return Some(LettersStore::Table),
        RawStore::Word(word) => {
            section.error(offset, "store", format!("`{word}` is not a store of letters"), STORES);
            return None;
        }
        RawStore::Place(place) => place,
    };
    match (directory.offset(), queue.offset()) {
        (None, None) => section.error(offset, "store", "names no place", STORES),
        (Some(_), Some(_)) => section.error(offset, "store", "names two places", STORES),
        (Some(_), None) | (None, Some(_)) => {}
    }
    if let Some(At { offset, value }) = queue.value(section, "store.queue") {
        if !names::is_queue_url(&value) {
            let what = format!("`{value}` is not the URL of a queue");
            section.error(offset, "store.queue", what, names::QUEUE_ADVICE);
        }
        return Some(LettersStore::Queue(value.into()));
    }
    let path = directory.value(section, "store.directory")?;
    if path.value.is_empty() {
        section.error(path.offset, "store.directory", "is empty", "name a directory: \"letters/\"");
    }
    Some(LettersStore::Directory(path.value.into()))
}

/// A letter that outlives a tombstone could bring a removed row back when it is replayed.
pub(super) fn tombstones_outlive(state: &State, letters: &Letters, offset: usize, section: &mut Section<'_>) {
    if state.tombstones <= letters.keep {
        let (tombstones, keep) = (duration::text(state.tombstones), duration::text(letters.keep));
        section.error(
            offset,
            "tombstones",
            format!("{tombstones} is not longer than letters.keep = {keep}: a replayed letter could bring a removed row back"),
            "make `state.tombstones` longer, or `letters.keep` shorter",
        );
    }
}

pub(super) fn pipeline(raw: RawPipeline, section: &mut Section<'_>) -> PipelineSettings {
    let concurrency = raw.concurrency.value(section, "concurrency").and_then(|At { offset, value }| {
        let in_range = (1..=MAX_CONCURRENCY).contains(&value);
        let count = usize::try_from(value).ok().filter(|_| in_range).and_then(NonZeroUsize::new);
        if count.is_none() {
            let what = format!("{value} is out of range");
            section.error(offset, "concurrency", what, format!("use 1 to {MAX_CONCURRENCY}"));
        }
        count
    });
    let retry_max_at = raw.retry_max.offset().or(raw.retry_initial.offset());
    let elapsed_at = raw.retry_elapsed.offset().or(raw.retry_max.offset());
    let millisecond = Duration::from_millis(1);
    let settings = PipelineSettings {
        concurrency: concurrency.unwrap_or(CONCURRENCY),
        hold: limited(raw.hold, section, "hold", 20 * 60 * MINUTE, MINUTE..=RETENTION),
        deadline_margin: limited(
            raw.deadline_margin,
            section,
            "deadline_margin",
            2 * SECOND,
            SECOND / 10..=MINUTE,
        ),
        retry_initial: limited(
            raw.retry_initial,
            section,
            "retry_initial",
            SECOND / 20,
            millisecond..=MINUTE,
        ),
        retry_max: limited(raw.retry_max, section, "retry_max", 5 * SECOND, millisecond..=MINUTE),
        retry_elapsed: limited(raw.retry_elapsed, section, "retry_elapsed", MINUTE, millisecond..=LAMBDA),
    };
    let steps = [
        ("retry_max", settings.retry_max, "retry_initial", settings.retry_initial, retry_max_at),
        ("retry_elapsed", settings.retry_elapsed, "retry_max", settings.retry_max, elapsed_at),
    ];
    for (key, value, lower_key, lower, offset) in steps {
        if value < lower {
            let what =
                format!("{} is less than {lower_key} = {}", duration::text(value), duration::text(lower));
            let offset = offset.unwrap_or(section.offset);
            section.error(offset, key, what, format!("make it at least `{lower_key}`"));
        }
    }
    settings
}

/// A duration between its limits; its default where the key is missing or wrong.
pub(super) fn limited(
    field: Field<String>,
    section: &mut Section<'_>,
    key: &str,
    default: Duration,
    limits: RangeInclusive<Duration>,
) -> Duration {
    let Some(At { offset, value }) = field.value(section, key) else { return default };
    let Some(duration) = duration::parse(&value) else {
        let example = duration::text(default);
        let advice = format!("write a whole number and ms, s, m, h or d: \"{example}\"");
        section.error(offset, key, format!("`{value}` is not a duration"), advice);
        return default;
    };
    if !limits.contains(&duration) {
        let (from, to) = (duration::text(*limits.start()), duration::text(*limits.end()));
        section.error(offset, key, format!("{value} is out of range"), format!("use {from} to {to}"));
        return default;
    }
    duration
}
