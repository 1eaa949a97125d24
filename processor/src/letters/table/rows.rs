//! The rows of the letters' table, made and read without any I/O.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest, Sha256};

use crate::letters::{Attempt, Letter, LetterHead, LetterId, history};

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
/// The attributes of a head that say where its record is, as a projection expression.
pub(super) const PLACE_ATTRIBUTES: &str = "recordId, recordParts, recordSize";

/// The bytes of one chunk: below the 400 KB of an item, with room for its names.
pub(super) const CHUNK: usize = 350 * 1024;
/// The longest text that an index takes as a range key. Only a declared version can be longer; the record has it whole.
const MAX_RANGE_KEY: usize = 1024;

const RECORD_ID: &str = "recordId";
const RECORD_PARTS: &str = "recordParts";
const RECORD_SIZE: &str = "recordSize";
const KEY: &str = "key";
const VERSION: &str = "version";

/// Where a record is, and what it has to be.
#[derive(Debug, PartialEq, Eq)]
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
    pub(super) fn of_row(row: &Item) -> Option<Self> {
        Some(Self {
            id: row.get(RECORD_ID)?.as_s().ok()?.clone(),
            parts: read_number(row, RECORD_PARTS)?.try_into().ok()?,
            size: read_number(row, RECORD_SIZE)?.try_into().ok()?,
        })
    }
}

/// The one update that makes a head, or adds an attempt to it.
pub(super) struct HeadUpdate {
    pub(super) expression: String,
    pub(super) condition: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: Item,
}

/// The update that stores a letter. Without a `place` the head keeps the record it has.
pub(super) fn head_update(
    letter: &Letter,
    place: Option<&RecordPlace>,
    expires: u64,
) -> Result<HeadUpdate, String> {
    let attempts: Vec<Attempt> = letter.head.attempts.iter().map(history::bounded).collect();
    let mut row = lasting_attributes(&letter.head)?;
    row.insert(FIRST_AT.to_owned(), number(letter.head.first_at()));
    let mut update = HeadUpdate {
        expression:
            "SET #attempts = list_append(if_not_exists(#attempts, :nothing), :attempts), #expires = :expires"
                .to_owned(),
        condition: "attribute_not_exists(#attempts) OR size(#attempts) < :max".to_owned(),
        names: HashMap::new(),
        values: HashMap::new(),
    };
    update.name(ATTEMPTS);
    update.name(EXPIRES);
    update.value("nothing", AttributeValue::L(Vec::new()));
    update.value("attempts", serde_dynamo::to_attribute_value(attempts).map_err(|error| error.to_string())?);
    update.value("expires", number(expires));
    update.value("max", number(history::MAX_ATTEMPTS as u64));
    for (name, value) in row {
        let _ = write!(update.expression, ", #{name} = if_not_exists(#{name}, :{name})");
        update.name(&name);
        update.value(&name, value);
    }
    if let Some(place) = place {
        let attributes = [
            (RECORD_ID, AttributeValue::S(place.id.clone())),
            (RECORD_PARTS, number(place.parts.into())),
            (RECORD_SIZE, number(place.size as u64)),
        ];
        for (name, value) in attributes {
            let _ = write!(update.expression, ", #{name} = :{name}");
            update.name(name);
            update.value(name, value);
        }
    }
    Ok(update)
}

impl HeadUpdate {
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
