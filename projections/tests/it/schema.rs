//! The JSON Schema for editors.

use millstream_projections::config::Config;
use serde_json::Value;

/// Every key that may be written, as a path through the schema, with its description.
fn keys(schema: &Value, path: &str, found: &mut Vec<(String, bool)>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.push((path.clone(), inner["description"].as_str().is_some_and(|text| !text.is_empty())));
        keys(inner, &path, found);
    }
    keys_in(&schema["additionalProperties"], &format!("{path}.*"), found);
    for inner in ["anyOf", "oneOf"].iter().flat_map(|word| schema[word].as_array()).flatten() {
        keys_in(inner, path, found);
    }
}

fn keys_in(schema: &Value, path: &str, found: &mut Vec<(String, bool)>) {
    if schema.is_object() {
        keys(schema, path, found);
    }
}

#[test]
fn every_key_is_described() {
    let mut found = Vec::new();
    keys(&Config::schema(), "", &mut found);
    let sections = [".source", ".projection"];
    let silent: Vec<_> =
        found.iter().filter(|(path, described)| !described && !sections.contains(&path.as_str())).collect();
    assert_eq!(silent, Vec::<&(String, bool)>::new());
    for key in [
        ".source.*.table",
        ".projection.*.match.index",
        ".letters.store.directory",
        ".pipeline.hold",
        ".poller.ttl",
    ] {
        assert!(found.iter().any(|(path, _)| path == key), "{key} is missing in {found:?}");
    }
}

#[test]
fn nothing_else_may_be_written() {
    let schema = Config::schema();
    let projection = &schema["properties"]["projection"]["additionalProperties"]["oneOf"];
    for (place, kind) in ["replica", "copy", "aggregate", "index", "emit"].iter().enumerate() {
        assert_eq!(projection[place]["properties"]["kind"]["const"], *kind);
        assert_eq!(projection[place]["additionalProperties"], false);
        let required = projection[place]["required"].as_array().unwrap();
        assert!(["kind", "from"].iter().all(|key| required.contains(&Value::from(*key))), "{required:?}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn every_key_is_in_the_reference() {
    let reference = include_str!("../../../docs/CONFIG.md");
    let mut found = Vec::new();
    keys(&Config::schema(), "", &mut found);
    let unexplained: Vec<_> = found
        .iter()
        .filter_map(|(path, _)| path.rsplit('.').next())
        .filter(|key| !reference.contains(&format!("`{key}`")) && !reference.contains(&format!("{key} = ")))
        .filter(|key| !reference.contains(&format!("`[{key}")))
        .collect();
    assert_eq!(unexplained, Vec::<&str>::new());
}
