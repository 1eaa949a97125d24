//! The rows of the letters' table, made and read without any I/O.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest, Sha256};

use crate::letters::{Attempt, Closing, Letter, LetterHead, LetterId, LetterState, Stored, history};

/// One row.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The table's hash key.
pub(super) const ID: &str = "id";
/// The table's range key.
pub(super) const PART: &str = "part";
/// When DynamoDB's time to live may drop the row, in seconds since 1970.
pub(super) const EXPIRES: &str = "expires";
/// The attempts of a head.
pub(super) const ATTEMPTS: &str = "attempts";
/// How many attempts were left out after the first.
pub(super) const SKIPPED: &str = "skipped";
/// When the letter first failed: the order of lists.
pub(super) const FIRST_AT: &str = "firstAt";
/// The bytes of a chunk.
pub(super) const BYTES: &str = "bytes";
/// The `part` of a head.
pub(super) const HEAD: u32 = 0;
/// Where the letter stands.
pub(super) const STATE: &str = "state";
/// The bytes of one chunk: below the 400 KB of an item, with room for its names.
pub(super) const CHUNK: usize = 350 * 1024;
/// The longest text that an index takes as a range key. Only a declared version can be longer; the record has it whole.
const MAX_RANGE_KEY: usize = 1024;

/// The attributes of a head that say where a record of it is.
pub(super) struct PlaceNames {
    id: &'static str,
    parts: &'static str,
    size: &'static str,
}

/// The record as it is to be replayed.
const RECORD: PlaceNames = PlaceNames { id: "recordId", parts: "recordParts", size: "recordSize" };
/// The record as it was before its first edit.
const ORIGINAL: PlaceNames = PlaceNames { id: "originalId", parts: "originalParts", size: "originalSize" };

const CLOSING: &str = "closing";
const EDITED: &str = "edited";
const KEY: &str = "key";
const VERSION: &str = "version";

/// Where a record is, and what it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordPlace {
    /// The `id` of its chunks.
    pub(super) id: String,
    /// How many there are, counted from 1.
    pub(super) parts: u32,
    /// How many bytes they have together.
    pub(super) size: usize,
}

impl RecordPlace {
    /// The place of a record.
    pub(super) fn new(id: &LetterId, record: &[u8]) -> Self {
        let hash = Sha256::digest(record)[..16].iter().fold(String::new(), |mut text, byte| {
            // Writing to a text cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        let parts = record.len().div_ceil(CHUNK) as u32;
        Self { id: format!("{id}#{hash}"), parts, size: record.len() }
    }

    /// The place that a head names.
    fn of_row(row: &Item, names: &PlaceNames) -> Option<Self> {
        Some(Self {
            id: row.get(names.id)?.as_s().ok()?.clone(),
            parts: read_number(row, names.parts)?.try_into().ok()?,
            size: read_number(row, names.size)?.try_into().ok()?,
        })
    }
}

/// What a head says beside its history: enough to decide what may be done to it.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) state: LetterState,
    /// As it stands there, so that a condition can ask for it.
    pub(super) closing: Option<AttributeValue>,
    pub(super) edited: u32,
    pub(super) expires: u64,
    /// None in a damaged head.
    pub(super) record: Option<RecordPlace>,
    pub(super) original: Option<RecordPlace>,
}

impl Standing {
    /// The attributes that it is read from.
    pub(super) const ATTRIBUTES: [&str; 10] = [
        STATE,
        CLOSING,
        EDITED,
        EXPIRES,
        RECORD.id,
        RECORD.parts,
        RECORD.size,
        ORIGINAL.id,
        ORIGINAL.parts,
        ORIGINAL.size,
    ];

    /// Reads it; `None` if the row has no state.
    pub(super) fn of_row(row: &Item) -> Option<Self> {
        Some(Self {
            state: LetterState::from_text(row.get(STATE)?.as_s().ok()?)?,
            closing: row.get(CLOSING).cloned(),
            edited: read_number(row, EDITED).and_then(|edited| edited.try_into().ok()).unwrap_or_default(),
            expires: read_number(row, EXPIRES).unwrap_or_default(),
            record: RecordPlace::of_row(row, &RECORD),
            original: RecordPlace::of_row(row, &ORIGINAL),
        })
    }
}

/// How many attempts a history may have for what a store adds to it.
pub(super) fn room(letter: &Letter, found: Option<&Standing>) -> u64 {
    let past = usize::from(found.is_some_and(|found| found.closing.is_some()));
    history::MAX_ATTEMPTS.saturating_sub(letter.head.attempts.len() + past) as u64
}

/// One update of a head, under a condition.
#[derive(Default)]
pub(super) struct HeadUpdate {
    pub(super) set: Vec<String>,
    pub(super) remove: Vec<String>,
    pub(super) conditions: Vec<String>,
    pub(super) names: HashMap<String, String>,
    pub(super) values: Item,
}

/// What becomes of a letter that is stored in a state over what was found. What has expired is not there any more.
pub(super) fn becomes(state: LetterState, found: Option<&Standing>, now: u64) -> Stored {
    let closed = found.filter(|found| !found.state.waits() && found.expires > now);
    match closed.map(|closed| closed.state) {
        Some(closed) if closed == LetterState::Discarded || state == LetterState::Held => {
            Stored::Closed(closed)
        }
        Some(_) | None => Stored::Waits,
    }
}

/// The update that stores a letter over what was found, which must still be so, and makes it what it `becomes`. Without
/// a `place` the head keeps the record it has.
pub(super) fn store(
    letter: &Letter,
    found: Option<&Standing>,
    becomes: Stored,
    place: Option<&RecordPlace>,
    expires: u64,
) -> Result<HeadUpdate, String> {
    let mut update = HeadUpdate::default();
    let reopened = found.filter(|found| !found.state.waits() && becomes == Stored::Waits);
    let past = reopened.and_then(|closed| closed.closing.clone());
    // A closing that nobody can read is nothing that a history could keep.
    let past = past.and_then(|closing| serde_dynamo::from_attribute_value::<_, Closing>(closing).ok());
    let past = past.as_ref().map(Attempt::of_closing);
    let attempts: Vec<Attempt> = past.iter().chain(&letter.head.attempts).map(history::bounded).collect();
    let attempts = serde_dynamo::to_attribute_value(attempts).map_err(|error| error.to_string())?;
    update.value("nothing", AttributeValue::L(Vec::new()));
    update.value(ATTEMPTS, attempts);
    update.name(ATTEMPTS);
    update.set.push("#attempts = list_append(if_not_exists(#attempts, :nothing), :attempts)".to_owned());
    update.put(EXPIRES, number(expires));
    match found {
        None => update.conditions.push("attribute_not_exists(#attempts)".to_owned()),
        Some(found) => {
            update.value("most", number(room(letter, Some(found))));
            update.conditions.push("size(#attempts) <= :most".to_owned());
            update.stands_as(found);
        }
    }
    let mut row = lasting_attributes(&letter.head)?;
    row.insert(FIRST_AT.to_owned(), number(letter.head.first_at()));
    let fails = |found: &Standing| found.state.waits() && letter.head.state == LetterState::Open;
    if reopened.is_some() || found.is_some_and(fails) {
        row.remove(STATE);
        update.put(STATE, AttributeValue::S(letter.head.state.as_str().to_owned()));
    }
    if reopened.is_some() {
        update.name(CLOSING);
        update.remove.push("#closing".to_owned());
    }
    for (name, value) in row {
        update.name(&name);
        update.value(&name, value);
        update.set.push(format!("#{name} = if_not_exists(#{name}, :{name})"));
    }
    if let Some(place) = place {
        update.place(&RECORD, place);
    }
    Ok(update)
}

/// The update that closes a letter that waits, was edited so often, and has not expired.
pub(super) fn close(closing: &Closing, seen: u32, now: u64) -> Result<HeadUpdate, String> {
    let mut update = HeadUpdate::default();
    update.put(STATE, AttributeValue::S(closing.state.as_str().to_owned()));
    update.put(CLOSING, serde_dynamo::to_attribute_value(closing).map_err(|error| error.to_string())?);
    update.waits();
    update.edited(seen);
    update.name(EXPIRES);
    update.value("now", number(now));
    update.conditions.push("#expires > :now".to_owned());
    Ok(update)
}

/// The update that puts another record in the place of the one that was found.
pub(super) fn edit(found: &Standing, was: &RecordPlace, place: &RecordPlace) -> HeadUpdate {
    let mut update = HeadUpdate::default();
    update.stands_as(found);
    // The chunks of the new record outlive the head as it was found. Who stores the letter again meanwhile lets the
    // head live longer, and only the chunks that it found.
    update.name(EXPIRES);
    update.value("was_expires", number(found.expires));
    update.conditions.push("#expires = :was_expires".to_owned());
    update.put(EDITED, number(u64::from(found.edited) + 1));
    update.place(&RECORD, place);
    if found.original.is_none() {
        update.place(&ORIGINAL, was);
    }
    update
}

impl HeadUpdate {
    /// The update expression.
    pub(super) fn expression(&self) -> String {
        let mut expression = format!("SET {}", self.set.join(", "));
        if !self.remove.is_empty() {
            let _ = write!(expression, " REMOVE {}", self.remove.join(", "));
        }
        expression
    }

    /// The condition expression.
    pub(super) fn condition(&self) -> String {
        self.conditions.join(" AND ")
    }

    fn put(&mut self, name: &str, value: AttributeValue) {
        self.name(name);
        self.value(name, value);
        self.set.push(format!("#{name} = :{name}"));
    }

    fn place(&mut self, names: &PlaceNames, place: &RecordPlace) {
        self.put(names.id, AttributeValue::S(place.id.clone()));
        self.put(names.parts, number(place.parts.into()));
        self.put(names.size, number(place.size as u64));
    }

    /// Only a letter that waits. A head that is not there does not.
    fn waits(&mut self) {
        self.name(STATE);
        let states: Vec<String> = LetterState::ALL
            .into_iter()
            .filter(|state| state.waits())
            .map(|state| {
                self.value(state.as_str(), AttributeValue::S(state.as_str().to_owned()));
                format!(":{}", state.as_str())
            })
            .collect();
        self.conditions.push(format!("#state IN ({})", states.join(", ")));
    }

    /// Only while nobody closed, opened or edited it since it was read.
    fn stands_as(&mut self, found: &Standing) {
        let record = found.record.as_ref().map(|place| AttributeValue::S(place.id.clone()));
        let wanted = [
            (STATE, Some(AttributeValue::S(found.state.as_str().to_owned()))),
            (CLOSING, found.closing.clone()),
            (RECORD.id, record),
        ];
        for (name, value) in wanted {
            self.name(name);
            match value {
                None => self.conditions.push(format!("attribute_not_exists(#{name})")),
                Some(value) => {
                    self.value(&format!("was_{name}"), value);
                    self.conditions.push(format!("#{name} = :was_{name}"));
                }
            }
        }
        self.edited(found.edited);
    }

    /// Only while it was edited so often and no more.
    fn edited(&mut self, times: u32) {
        self.name(EDITED);
        self.value("was_edited", number(times.into()));
        // A head from before letters could be edited has no count.
        let none = if times == 0 { "attribute_not_exists(#edited) OR " } else { "" };
        self.conditions.push(format!("({none}#edited = :was_edited)"));
    }

    /// Every name goes by a placeholder: several of ours are words of the expression language.
    fn name(&mut self, name: &str) {
        self.names.insert(format!("#{name}"), name.to_owned());
    }

    fn value(&mut self, name: &str, value: AttributeValue) {
        self.values.insert(format!(":{name}"), value);
    }
}

/// What the first store of a letter sets for good.
fn lasting_attributes(head: &LetterHead) -> Result<BTreeMap<String, AttributeValue>, String> {
    let plain = LetterHead { key: None, attempts: Vec::new(), ..head.clone() };
    let row: Item = serde_dynamo::to_item(plain).map_err(|error| error.to_string())?;
    let mut row: BTreeMap<String, AttributeValue> = row.into_iter().collect();
    row.remove(ID);
    row.remove(ATTEMPTS);
    // Only `close` closes.
    row.remove(CLOSING);
    if let Some(AttributeValue::S(version)) = row.get_mut(VERSION) {
        version.truncate(version.floor_char_boundary(MAX_RANGE_KEY));
    }
    if let Some(key) = &head.key {
        let key = key.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        row.insert(KEY.to_owned(), AttributeValue::M(key));
    }
    Ok(row)
}

/// Reads a head; the error says what is wrong with it.
pub(super) fn head(mut row: Item) -> Result<LetterHead, String> {
    let key = row.remove(KEY);
    let skipped = read_number(&row, SKIPPED);
    let mut head: LetterHead = serde_dynamo::from_item(row).map_err(|error| error.to_string())?;
    head.key = match key {
        None => None,
        Some(AttributeValue::M(key)) => {
            Some(key.into_iter().map(|(name, value)| (name, value.into())).collect())
        }
        Some(_) => return Err("its `key` is not a map".to_owned()),
    };
    let first = head.attempts.first_mut().ok_or("it has no attempts")?;
    first.skipped += skipped.unwrap_or_default();
    Ok(head)
}

/// The primary key of a row.
pub(super) fn key(id: &str, part: u32) -> Item {
    HashMap::from([(ID.to_owned(), AttributeValue::S(id.to_owned())), (PART.to_owned(), number(part.into()))])
}

/// A whole number as DynamoDB has it.
pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A whole number of a row.
pub(super) fn read_number(row: &Item, name: &str) -> Option<u64> {
    row.get(name)?.as_n().ok()?.parse().ok()
}
