//! The JSON Schema of the file, for editors: made from the structs that read it.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::raw::{
    RawAggregate, RawCommon, RawCopy, RawEmit, RawIndex, RawLetters, RawPipeline, RawPoller, RawReplica,
    RawSource, RawState,
};

/// The whole schema. Definitions are written out where they are used: the file is small, and no name leaks.
pub(super) fn schema() -> Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12()
        .with(|it| it.inline_subschemas = true)
        .into_generator();
    let common = section::<RawCommon>(&mut generator);
    let kinds = [
        kind("replica", &common, section::<RawReplica>(&mut generator)),
        kind("copy", &common, section::<RawCopy>(&mut generator)),
        kind("aggregate", &common, section::<RawAggregate>(&mut generator)),
        kind("index", &common, section::<RawIndex>(&mut generator)),
        kind("emit", &common, section::<RawEmit>(&mut generator)),
    ];
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "millstream.toml",
        "description": "Sources of changes, and the projections that follow them. `${VAR}` and `${VAR:-default}` in any text come from the environment.",
        "type": "object",
        "required": ["source", "projection"],
        "additionalProperties": false,
        "properties": {
            "source": { "type": "object", "additionalProperties": closed(section::<RawSource>(&mut generator)) },
            "state": closed(section::<RawState>(&mut generator)),
            "letters": closed(section::<RawLetters>(&mut generator)),
            "pipeline": closed(section::<RawPipeline>(&mut generator)),
            "poller": closed(section::<RawPoller>(&mut generator)),
            "projection": { "type": "object", "additionalProperties": { "oneOf": kinds } }
        }
    })
}

fn section<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    T::json_schema(generator).to_value()
}

fn closed(mut section: Value) -> Value {
    section["additionalProperties"] = json!(false);
    section
}

/// One kind of projection: the keys of all kinds and its own, with its own word for `kind`.
fn kind(word: &str, common: &Value, mut own: Value) -> Value {
    for part in ["properties", "required"] {
        match (&common[part], &mut own[part]) {
            (Value::Object(more), Value::Object(to)) => to.extend(more.clone()),
            (Value::Array(more), Value::Array(to)) => to.extend(more.iter().cloned()),
            (more, to) => *to = more.clone(),
        }
    }
    own["properties"]["kind"]["const"] = json!(word);
    closed(own)
}
