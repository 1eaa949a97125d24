//! The event that `emit` writes is what a subscriber reads.

use millstream_projections::effect::Write;
use millstream_projections::event::{ReceivedEvent, rfc3339};
use millstream_projections::{Change, Image, KeyDigest};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::support::{config, item, moved};

const EMIT: &str = "[projection.told]\nkind = 'emit'\nfrom = 'items'\ninclude = ['name', 'n', 'map']\n\
                    topic = 'arn:aws:sns:eu-west-1:1:t'\n";

fn body(change: &Change) -> String {
    let effects = config(EMIT).projections[0].build().project(change).unwrap();
    match &effects[0].write {
        Write::Publish(publish) => publish.body.clone(),
        other => panic!("{other:?}"),
    }
}

fn check(old: &Json, new: &Json, kind: &str, expected_old: Option<Json>, expected_new: Option<Json>) {
    let change = moved(old, new);
    let body = body(&change);
    let event: ReceivedEvent<'_> = serde_json::from_str(&body).unwrap();
    let guard = change.guard().unwrap();
    assert_eq!(event.subject, guard.digest.as_str());
    assert_eq!(event.msversion, guard.version.as_str());
    assert_eq!(event.id, format!("told/{guard}"));
    assert_eq!(event.time.as_deref(), Some("2026-01-01T00:00:00Z"));
    assert_eq!(event.data.kind, kind);
    let read = |raw: Option<&serde_json::value::RawValue>| {
        raw.map(|raw| Image::from_json(raw.get().to_owned().into()).item().unwrap().clone())
    };
    assert_eq!(read(event.data.old), expected_old.as_ref().map(item));
    assert_eq!(read(event.data.new), expected_new.as_ref().map(item));
    let keys = read(Some(event.data.keys)).unwrap();
    assert_eq!(KeyDigest::of(&keys).as_str(), event.subject);
}

#[test]
fn both_sides_travel_with_what_is_included() {
    let (old, new) =
        (json!({"id": "1", "name": "a", "x": 1}), json!({"id": "1", "name": "b", "n": 1.5, "x": 2}));
    let (told_old, told_new) = (json!({"name": "a"}), json!({"name": "b", "n": 1.5}));
    check(&Json::Null, &new, "INSERT", None, Some(told_new.clone()));
    check(&old, &new, "MODIFY", Some(told_old.clone()), Some(told_new));
    check(&old, &Json::Null, "REMOVE", Some(told_old), None);
}

#[test]
fn the_same_change_gives_the_same_bytes() {
    let maps =
        json!({"g": 7, "c": 3, "a": 1, "e": {"y": 2, "x": 1}, "b": [{"n": 2, "m": 1}], "f": 6, "d": 4});
    let body = body(&moved(&Json::Null, &json!({"id": "1", "name": "a", "map": maps, "n": 3})));
    let new = concat!(
        r#""new":{"map":{"M":{"a":{"N":"1"},"b":{"L":[{"M":{"m":{"N":"1"},"n":{"N":"2"}}}]},"c":{"N":"3"},"#,
        r#""d":{"N":"4"},"e":{"M":{"x":{"N":"1"},"y":{"N":"2"}}},"f":{"N":"6"},"g":{"N":"7"}}},"#,
        r#""n":{"N":"3"},"name":{"S":"a"}}"#
    );
    assert!(body.contains(new), "{body}");
    assert!(body.starts_with(r#"{"specversion":"1.0","id":"told/"#), "{body}");
    let event: Json = serde_json::from_str(&body).unwrap();
    assert_eq!((&event["type"], &event["source"]), (&json!("told.insert"), &json!("/millstream/items")));
}

proptest! {
    #[test]
    fn any_text_and_number_survives(name in any::<String>(), n in "-?[1-9][0-9]{0,37}") {
        let mut new = moved(&Json::Null, &json!({"id": "1"}));
        let mut whole = item(&json!({"id": "1", "name": name}));
        whole.insert("n".to_owned(), millstream_projections::Value::N(n.clone()));
        new.new = Some(Image::from_item(whole));
        let body = body(&new);
        let event: ReceivedEvent<'_> = serde_json::from_str(&body).unwrap();
        let image = Image::from_json(event.data.new.unwrap().get().to_owned().into());
        prop_assert_eq!(image.attribute("name").unwrap(), Some(millstream_projections::Value::S(name)));
        prop_assert_eq!(image.attribute("n").unwrap(), Some(millstream_projections::Value::N(n)));
    }
}

#[test]
fn times_are_civil() {
    for (seconds, expected) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_767_225_599, "2025-12-31T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(rfc3339(seconds), expected);
    }
}
