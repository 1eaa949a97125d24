//! Changes and items written as plain JSON, configs written as the few lines that matter.

use std::sync::OnceLock;

use millstream_projections::config::{Config, ConfigErrors};
use millstream_projections::item::Value;
use millstream_projections::version::SequenceNumber;
use millstream_projections::{Change, ChangeKind, Image, Item, SourceName, Version};
use serde_json::Value as Json;

/// Plain JSON as a DynamoDB value: text is S, a number N, a list L, an object M.
pub(crate) fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null(true),
        Json::Bool(bool) => Value::Bool(*bool),
        Json::Number(number) => Value::N(number.to_string()),
        Json::String(text) => Value::S(text.clone()),
        Json::Array(list) => Value::L(list.iter().map(value).collect()),
        Json::Object(map) => Value::M(map.iter().map(|(name, json)| (name.clone(), value(json))).collect()),
    }
}

/// A plain JSON object as an item.
pub(crate) fn item(json: &Json) -> Item {
    let map = json.as_object().expect("an object");
    map.iter()
        .map(|(name, json)| (name.clone(), value(json)))
        .collect::<std::collections::HashMap<_, _>>()
        .into()
}

/// A change of the item whose key is `id`, or whatever `key` names; a missing side is `null`.
pub(crate) fn change(kind: ChangeKind, key: &str, old: &Json, new: &Json) -> Change {
    let side = |json: &Json| (!json.is_null()).then(|| Image::from_item(item(json)));
    let (old_image, new_image) = (side(old), side(new));
    let known = if new.is_null() { old } else { new };
    let keys = item(&serde_json::json!({ key: known[key] }));
    let sequence = SequenceNumber::new("100000000000000000001").expect("a sequence number");
    Change {
        source: SourceName::new("items").expect("a name"),
        kind,
        expired: false,
        keys: Image::from_item(keys),
        new: new_image,
        old: old_image,
        version: Version::of_stream("2026-01-01T00:00:00.000", &sequence),
        created_at: Some(1_767_225_600),
        digest: OnceLock::new(),
    }
}

/// An insertion, a modification or a removal, by the sides that are there.
pub(crate) fn moved(old: &Json, new: &Json) -> Change {
    let kind = match (old.is_null(), new.is_null()) {
        (true, _) => ChangeKind::Insert,
        (false, false) => ChangeKind::Modify,
        (false, true) => ChangeKind::Remove,
    };
    change(kind, "id", old, new)
}

/// A text as JSON.
pub(crate) fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// A config that has one table as its source, `items`, and no environment.
pub(crate) fn parse(projections: &str) -> Result<Config, ConfigErrors> {
    let text = format!("[source.items]\ntable = \"Items\"\n{projections}");
    Config::parse("m.toml", &text, &|_| None)
}

/// As `parse`, of a config that is right.
pub(crate) fn config(projections: &str) -> Config {
    parse(projections).unwrap_or_else(|errors| panic!("{errors}"))
}
