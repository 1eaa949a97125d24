//! `[source.<name>]`, validated.

use std::sync::Arc;

use super::error::Section;
use super::field::{At, Field};
use super::moment;
use super::names;
use super::raw::RawSource;
use super::suggest;
use crate::name::SourceName;

/// Where changes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// Its name.
    pub name: SourceName,
    /// What it is.
    pub kind: SourceKind,
    /// Where the poller starts in a stream it has never read.
    pub start: Start,
    /// What a table's stream carries.
    pub view: StreamView,
    /// The line of the file, from 1.
    pub line: usize,
}

/// What a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// A table, read by its stream.
    Table(Arc<str>),
    /// An SQS queue with events of an `emit`, by its URL.
    Queue(Arc<str>),
    /// An SNS topic with events of an `emit`, by its ARN.
    Topic(Arc<str>),
}

impl SourceKind {
    /// The table's name, the queue's URL or the topic's ARN.
    pub fn resource(&self) -> &Arc<str> {
        match self {
            Self::Table(resource) | Self::Queue(resource) | Self::Topic(resource) => resource,
        }
    }

    /// The key in the file that names it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Table(_) => "table",
            Self::Queue(_) => "queue",
            Self::Topic(_) => "topic",
        }
    }
}

/// Where a reader starts in a stream it has never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest record the stream still has.
    #[default]
    TrimHorizon,
    /// At what comes next.
    Latest,
    /// At what was made at this time or later, in seconds since 1970.
    Since(u64),
}

/// What a stream carries beside the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamView {
    /// The item before and after.
    #[default]
    NewAndOldImages,
    /// The item after.
    NewImage,
    /// The item before.
    OldImage,
    /// Nothing.
    KeysOnly,
}

impl StreamView {
    /// All of them.
    const ALL: [Self; 4] = [Self::NewAndOldImages, Self::NewImage, Self::OldImage, Self::KeysOnly];

    /// DynamoDB's own word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewAndOldImages => "NEW_AND_OLD_IMAGES",
            Self::NewImage => "NEW_IMAGE",
            Self::OldImage => "OLD_IMAGE",
            Self::KeysOnly => "KEYS_ONLY",
        }
    }

    /// Whether the item after the change is there.
    pub fn has_new(self) -> bool {
        matches!(self, Self::NewAndOldImages | Self::NewImage)
    }

    /// Whether the item before the change is there.
    pub fn has_old(self) -> bool {
        matches!(self, Self::NewAndOldImages | Self::OldImage)
    }
}

/// Validates one source; `None` if something is wrong that was noted.
pub(super) fn source(
    name: &str,
    raw: RawSource,
    now: Option<u64>,
    line: usize,
    section: &mut Section<'_>,
) -> Option<SourceConfig> {
    let name = SourceName::new(name).map_err(|error| section.error_here("", error.to_string(), "rename it"));
    let is_table = raw.table.offset().is_some();
    for (key, offset) in [("start", raw.start.offset()), ("stream_view", raw.stream_view.offset())] {
        if let Some(offset) = offset
            && !is_table
        {
            section.error(
                offset,
                key,
                "is about a table's stream, which this source has not",
                "leave it out",
            );
        }
    }
    let start = start(raw.start, now, section);
    let views = StreamView::ALL.map(|view| (view.as_str(), view));
    let view = choice(raw.stream_view, section, "stream_view", views);
    let kind = kind(raw.table, raw.queue, raw.topic, section);
    Some(SourceConfig { name: name.ok()?, kind: kind?, start, view, line })
}

/// How far the clock of whoever wrote the file may be ahead of ours.
const SKEW: u64 = 60;

fn start(field: Field<String>, now: Option<u64>, section: &mut Section<'_>) -> Start {
    let Some(At { offset, value }) = field.value(section, "start") else { return Start::default() };
    let words = [("trim-horizon", Start::TrimHorizon), ("latest", Start::Latest)];
    if let Some((_, start)) = words.iter().find(|(word, _)| *word == value) {
        return *start;
    }
    let Some(seconds) = moment::parse(&value) else {
        let (what, advice) = match suggest::nearest(&value, &words.map(|(word, _)| word)) {
            Some(near) => ("is not a choice", format!("did you mean `{near}`?")),
            None => ("is not a start", STARTS.to_owned()),
        };
        section.error(offset, "start", format!("`{value}` {what}"), advice);
        return Start::default();
    };
    if now.is_some_and(|now| seconds > now + SKEW) {
        let what = format!("{value} is still to come");
        section.error(offset, "start", what, "use a time that has passed, or \"latest\"");
    }
    Start::Since(seconds)
}

const STARTS: &str = "use \"trim-horizon\", \"latest\", or a time in RFC 3339: \"2025-06-15T15:00:00Z\"";

fn kind(
    table: Field<String>,
    queue: Field<String>,
    topic: Field<String>,
    section: &mut Section<'_>,
) -> Option<SourceKind> {
    let given = [table.offset(), queue.offset(), topic.offset()].into_iter().flatten().count();
    if given != 1 {
        let what = if given == 0 {
            "names no `table`, `queue` or `topic`"
        } else {
            "has more than one of `table`, `queue` and `topic`"
        };
        section.error_here("", what, "give exactly one of them");
    }
    let table = table.value(section, "table").and_then(|at| table_name(at, section, "table"));
    let queue = queue.value(section, "queue").and_then(|At { offset, value }| {
        let valid = names::is_queue_url(&value);
        if !valid {
            section.error(
                offset,
                "queue",
                format!("`{value}` is not the URL of a queue"),
                names::QUEUE_ADVICE,
            );
        }
        valid.then(|| value.into())
    });
    let topic = topic.value(section, "topic").and_then(|at| topic_arn(at, section));
    (table.map(SourceKind::Table)).or(queue.map(SourceKind::Queue)).or(topic.map(SourceKind::Topic))
}

/// A table's name, of a source or a target.
pub(super) fn table_name(at: At<String>, section: &mut Section<'_>, key: &str) -> Option<Arc<str>> {
    match names::table(&at.value) {
        Ok(()) => Some(at.value.into()),
        Err(what) => {
            section.error(at.offset, key, what, names::TABLE_ADVICE);
            None
        }
    }
}

/// A topic's ARN, of a source or a target.
pub(super) fn topic_arn(at: At<String>, section: &mut Section<'_>) -> Option<Arc<str>> {
    let valid = names::is_topic_arn(&at.value);
    if !valid {
        let what = format!("`{}` is not the ARN of an SNS topic", at.value);
        section.error(at.offset, "topic", what, names::TOPIC_ADVICE);
    }
    valid.then(|| at.value.into())
}

/// One of a few words; the first of them where the key is missing or wrong.
pub(super) fn choice<T: Copy, const N: usize>(
    field: Field<String>,
    section: &mut Section<'_>,
    key: &str,
    words: [(&str, T); N],
) -> T {
    let default = words[0].1;
    let Some(At { offset, value }) = field.value(section, key) else { return default };
    if let Some((_, chosen)) = words.iter().find(|(word, _)| *word == value) {
        return *chosen;
    }
    let known = words.map(|(word, _)| word);
    section.error(offset, key, format!("`{value}` is not a choice"), suggest::instead_of(&value, &known));
    default
}
