//! The CloudEvents 1.0 form in which `emit` tells other services of a change, and in which they read it again.
//!
//! `data` holds the images in DynamoDB's own JSON (`{"S": "…"}`): numbers of 38 digits, sets and binary survive, and
//! every AWS SDK reads it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::item::{Item, Value};

/// The version of the CloudEvents specification that events follow.
pub const SPEC_VERSION: &str = "1.0";

/// One event as it is written: attributes in a fixed order, so that the same change gives the same bytes.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    /// Always [`SPEC_VERSION`].
    pub specversion: &'static str,
    /// Derived from projection, source key and version.
    pub id: &'a str,
    /// `/millstream/<source>`.
    pub source: String,
    /// `<projection>.<insert|modify|remove>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digest of the source item's key; events of one subject are ordered by `msversion`.
    pub subject: &'a str,
    /// When the change happened, to the second, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Always `application/json`.
    pub datacontenttype: &'static str,
    /// The version of the change; greater is later among events of one subject, compared as text.
    pub msversion: &'a str,
    /// The change.
    pub data: Data,
}

/// The change inside an event.
#[derive(Debug, Serialize)]
pub struct Data {
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub kind: &'static str,
    /// Whether DynamoDB's time to live removed the item.
    pub expired: bool,
    /// The primary key of the source item.
    #[serde(serialize_with = "in_order")]
    pub keys: BTreeMap<String, Value>,
    /// The included attributes after the change.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_in_order")]
    pub new: Option<BTreeMap<String, Value>>,
    /// The included attributes before the change.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_in_order")]
    pub old: Option<BTreeMap<String, Value>>,
}

/// One event as it is read: borrowed, images left as they are.
#[derive(Debug, Deserialize)]
pub struct ReceivedEvent<'a> {
    /// The event's id.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The digest of the source item's key.
    #[serde(borrow)]
    pub subject: Cow<'a, str>,
    /// When the change happened.
    #[serde(borrow, default)]
    pub time: Option<Cow<'a, str>>,
    /// The version of the change.
    #[serde(borrow)]
    pub msversion: Cow<'a, str>,
    /// The change.
    #[serde(borrow)]
    pub data: ReceivedData<'a>,
}

/// The change inside an event that is read.
#[derive(Debug, Deserialize)]
pub struct ReceivedData<'a> {
    /// `INSERT`, `MODIFY` or `REMOVE`.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// Whether DynamoDB's time to live removed the item.
    #[serde(default)]
    pub expired: bool,
    /// The primary key, as JSON.
    #[serde(borrow)]
    pub keys: &'a RawValue,
    /// The included attributes after the change, as JSON.
    #[serde(borrow, default)]
    pub new: Option<&'a RawValue>,
    /// The included attributes before the change, as JSON.
    #[serde(borrow, default)]
    pub old: Option<&'a RawValue>,
}

fn in_order<S: Serializer>(item: &BTreeMap<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(item.iter().map(|(name, value)| (name, Ordered(value))))
}

fn some_in_order<S: Serializer>(
    item: &Option<BTreeMap<String, Value>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match item {
        Some(item) => in_order(item, serializer),
        None => serializer.serialize_none(),
    }
}

/// A value whose maps are written in the order of their names, at every depth: a map's own order is that of its hashing.
struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::M(map) => {
                let map: BTreeMap<&str, Ordered<'_>> =
                    map.iter().map(|(name, value)| (name.as_str(), Ordered(value))).collect();
                serializer.collect_map([("M", map)])
            }
            Value::L(list) => {
                let list: Vec<Ordered<'_>> = list.iter().map(Ordered).collect();
                serializer.collect_map([("L", list)])
            }
            scalar => scalar.serialize(serializer),
        }
    }
}

/// A key's attributes in the order of their names.
pub(crate) fn sorted(item: &Item) -> BTreeMap<String, Value> {
    item.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whole seconds since 1970 as RFC 3339 in UTC (days to civil date after Howard Hinnant's algorithm).
pub fn rfc3339(seconds: u64) -> String {
    let (days, second) = ((seconds / 86_400) as i64, seconds % 86_400);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
