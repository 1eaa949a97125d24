//! Which of the known shapes a Lambda event has, told by its first record without reading the others.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::lambda_event::{EventError, Wire};
use super::records::{Text, members};

/// The wire that an event came by.
///
/// An event whose `Records` are empty says nothing of its wire and asks for nothing: it passes as one of a stream.
pub(super) fn of(text: &str) -> Result<Wire, EventError> {
    let mut probe = Probe::default();
    let read = serde_json::Deserializer::from_str(text).deserialize_map(&mut probe);
    match (probe.wire, read) {
        (Some(wire), _) => Ok(wire),
        (None, Err(error)) if !error.is_data() => Err(EventError::not_json(&error)),
        (None, _) if probe.has_records && probe.seen.is_empty() => Ok(Wire::Stream),
        (None, _) => Err(EventError::UnknownShape { seen: seen(text, &probe) }),
    }
}

#[derive(Default)]
struct Probe {
    wire: Option<Wire>,
    has_records: bool,
    /// What the records have in place of a source that is known.
    seen: String,
}

/// What tells the wires apart; SNS writes it with a capital letter.
#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow, default, rename = "eventSource", alias = "EventSource")]
    source: Option<Text<'a>>,
}

impl Probe {
    fn look(&mut self, record: &str) {
        match serde_json::from_str::<Peek<'_>>(record).ok().and_then(|peek| peek.source) {
            Some(source) => {
                self.wire = Wire::from_event_source(&source);
                self.seen = format!("records of eventSource `{}`", &*source);
            }
            None if self.seen.is_empty() => {
                self.seen = format!("records without eventSource: {}", keys(record))
            }
            None => {}
        }
    }
}

impl<'de> Visitor<'de> for &mut Probe {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event with `Records`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Text<'de>>()? {
            if &*name == "Records" {
                map.next_value_seed(RecordsProbe(self))?;
            } else {
                map.next_value::<serde::de::IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct RecordsProbe<'p>(&'p mut Probe);

impl<'de> DeserializeSeed<'de> for RecordsProbe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, decoder: D) -> Result<(), D::Error> {
        decoder.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RecordsProbe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        self.0.has_records = true;
        while let Some(record) = records.next_element::<&'de RawValue>()? {
            self.0.look(record.get());
            if self.0.wire.is_some() {
                // Nothing more is asked: an error is how a visitor leaves early.
                return Err(A::Error::custom("the wire is known"));
            }
        }
        Ok(())
    }
}

fn seen(text: &str, probe: &Probe) -> String {
    match text.trim_start().as_bytes().first() {
        Some(b'{') if probe.seen.is_empty() => format!("an object with {}", keys(text)),
        Some(b'{') => probe.seen.clone(),
        Some(b'[') => "a list".to_owned(),
        _ => "a single value".to_owned(),
    }
}

/// How many names an error lists: enough to recognise an event, too few to fill a log.
const MAX_KEYS: usize = 12;

fn keys(json: &str) -> String {
    let members = members(json);
    if members.is_empty() {
        return "no keys".to_owned();
    }
    let names: Vec<_> = members.iter().take(MAX_KEYS).map(|(name, _)| format!("`{name}`")).collect();
    format!("the keys {}", names.join(", "))
}
