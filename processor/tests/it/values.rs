//! Values of every type and size arrive as they left.

use serde_json::{Value, json};

use crate::world::World;

const WHOLE: &str = r#"
[source.things]
table = "Things"

[projection.mirror]
kind = "replica"
from = "things"
table = "Mirror"
key = { id = "{id}" }

[projection.parts]
kind = "replica"
from = "things"
table = "Parts"
key = { id = "PART#{id}" }
set = { nested = "{map.list[1].deep?}", odd = "{'odd.name'?}", number = "{number?}", fixed = 7 }
"#;

async fn things() -> World {
    let world = World::new(WHOLE).await;
    world.source("Things", "id").await;
    world.table("Mirror", "id").await;
    world.table("Parts", "id").await;
    world
}

fn without_guards(item: &Value) -> Value {
    let mut item = item.clone();
    item.as_object_mut().expect("an item").retain(|name, _| !name.starts_with("ms:"));
    item
}

#[tokio::test]
async fn every_type_survives_whole() {
    let world = things().await;
    let item = json!({
        "id": { "S": "1" },
        "number": { "N": "12345678901234567890123456789012345678" },
        "small": { "N": "0.00000000000000000000000000000000000001" },
        "negative": { "N": "-0.5" },
        "binary": { "B": "AP8Q" },
        "empty": { "S": "" },
        "none": { "NULL": true },
        "yes": { "BOOL": true },
        "texts": { "SS": ["b", "a"] },
        "numbers": { "NS": ["3", "1.5"] },
        "binaries": { "BS": ["AA==", "/w=="] },
        "map": { "M": { "list": { "L": [{ "N": "1" }, { "M": { "deep": { "S": "found" } } }] }, "e": { "M": {} } } },
        "odd.name": { "S": "dotted" },
        "unicode ß 🦀": { "S": "\u{1F980} \" \\ \n" },
    });
    world.db.put_typed("Things", item).await;
    world.deliver_all("Things").await;
    let stored = world.db.get_typed("Things", json!({ "id": { "S": "1" } })).await.expect("the source");
    let mirror = world.db.get_typed("Mirror", json!({ "id": { "S": "1" } })).await.expect("the mirror");
    assert_eq!(without_guards(&mirror), stored);
    let parts = world.db.get_typed("Parts", json!({ "id": { "S": "PART#1" } })).await.expect("the parts");
    let expected = json!({
        "id": { "S": "PART#1" }, "nested": { "S": "found" }, "odd": { "S": "dotted" }, "fixed": { "N": "7" },
        "number": { "N": "12345678901234567890123456789012345678" },
    });
    assert_eq!(without_guards(&parts), expected);
}

#[tokio::test]
async fn an_item_near_the_limit_of_400_kb_is_mirrored() {
    let world = things().await;
    // The mirror also holds its guard: what is left below 409,600 bytes leaves room for it.
    let big = "x".repeat(409_000);
    world.db.put("Things", json!({ "id": "1", "big": big })).await;
    world.db.put("Things", json!({ "id": "1", "big": big, "n": 1 })).await;
    world.deliver_all("Things").await;
    let mirror = world.db.get("Mirror", json!({ "id": "1" })).await.expect("the mirror");
    assert_eq!(mirror["big"].as_str().map(str::len), Some(409_000));
}

#[tokio::test]
async fn an_item_that_leaves_no_room_for_the_guard_becomes_a_letter_with_all_of_it() {
    let world = things().await;
    let big = "x".repeat(409_590);
    world.db.put("Things", json!({ "id": "1", "b": big })).await;
    world.deliver_all("Things").await;
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].record.len() > 409_590);
}
