//! `copy`: attributes on rows that another owner made, by key and through an index.

use aws_sdk_dynamodbstreams::types::StreamViewType;
use millstream_test_support::lambda_event;
use serde_json::{Value, json};

use crate::world::World;

const BY_INDEX: &str = r#"
[source.companies]
table = "Company"

[projection.name]
kind = "copy"
from = "companies"
changed = ["name"]
table = "Statistics"
match = { index = "by-company", key = { companyId = "{companyId}" } }
set = { companyName = "{name}", motto = "{motto?}" }
"#;

const BY_KEY: &str = r#"
[source.companies]
table = "Company"

[projection.name]
kind = "copy"
from = "companies"
table = "Billing"
key = { companyId = "{companyId}" }
set = { companyName = "{name}" }

[projection.vat]
kind = "copy"
from = "companies"
table = "Billing"
key = { companyId = "{companyId}" }
set = { vat = "{vat?}" }
"#;

async fn by_index(toml: &str) -> World {
    let world = World::new(toml).await;
    world.source("Company", "companyId").await;
    let index = ("by-company", "companyId", None);
    world.db.create_table_with_index("Statistics", "id", None, None, index).await;
    world
}

async fn by_key() -> World {
    let world = World::new(BY_KEY).await;
    world.source("Company", "companyId").await;
    world.table("Billing", "companyId").await;
    world
}

async fn name(world: &World, id: &str, name: &str) {
    world.db.put("Company", json!({ "companyId": id, "name": name })).await;
}

async fn statistic(world: &World, id: &str) -> Value {
    world.db.get("Statistics", json!({ "id": id })).await.expect("the row")
}

#[tokio::test]
async fn every_row_of_the_index_takes_the_name_and_keeps_its_own() {
    let world = by_index(BY_INDEX).await;
    for number in 0..3 {
        world
            .db
            .put("Statistics", json!({ "id": number.to_string(), "companyId": "c1", "sales": number }))
            .await;
    }
    world.db.put("Statistics", json!({ "id": "x", "companyId": "c2", "sales": 7 })).await;
    name(&world, "c1", "Mill & Co").await;
    world.deliver_all("Company").await;
    for number in 0..3 {
        let row = statistic(&world, &number.to_string()).await;
        assert_eq!((&row["companyName"], &row["sales"]), (&json!("Mill & Co"), &json!(number)));
    }
    assert_eq!(statistic(&world, "x").await.get("companyName"), None);
}

#[tokio::test]
async fn a_change_that_touches_no_watched_attribute_writes_nothing() {
    let world = by_index(BY_INDEX).await;
    world.db.put("Statistics", json!({ "id": "1", "companyId": "c1" })).await;
    name(&world, "c1", "Mill").await;
    world.db.put("Company", json!({ "companyId": "c1", "name": "Mill", "employees": 3 })).await;
    let records = world.db.read_stream("Company").await;
    world.deliver("Company", &records[..1]).await;
    world.db.clear_requests();
    world.deliver("Company", &records[1..]).await;
    assert_eq!(world.db.requests().len(), 0);
}

#[tokio::test]
async fn a_removed_company_clears_the_copy_and_older_changes_do_not_bring_it_back() {
    let world = by_index(BY_INDEX).await;
    world.db.put("Statistics", json!({ "id": "1", "companyId": "c1", "sales": 1 })).await;
    name(&world, "c1", "Mill").await;
    world.db.delete("Company", json!({ "companyId": "c1" })).await;
    let records = world.db.read_stream("Company").await;
    for batch in [&records[..1], &records[1..], &records[..1], &records[..]] {
        world.deliver("Company", batch).await;
    }
    assert_eq!(world.rows("Statistics").await, [json!({ "id": "1", "companyId": "c1", "sales": 1 })]);
}

#[tokio::test]
async fn keep_and_delete_do_what_they_say() {
    for (on_delete, rows) in [("keep", 1), ("delete", 0)] {
        let world = by_index(&format!("{BY_INDEX}on_delete = \"{on_delete}\"\n")).await;
        world.db.put("Statistics", json!({ "id": "1", "companyId": "c1" })).await;
        name(&world, "c1", "Mill").await;
        world.db.delete("Company", json!({ "companyId": "c1" })).await;
        world.deliver_all("Company").await;
        assert_eq!(world.rows("Statistics").await.len(), rows, "{on_delete}");
    }
}

#[tokio::test]
async fn rows_on_many_pages_of_the_index_are_all_found() {
    let world = by_index(BY_INDEX).await;
    // DynamoDB ends a page of a query at 1 MB: these rows fill several.
    let filler = "x".repeat(100_000);
    for number in 0..35 {
        let row = json!({ "id": format!("{number:02}"), "companyId": "c1", "filler": filler });
        world.db.put("Statistics", row).await;
    }
    name(&world, "c1", "Mill").await;
    world.db.clear_requests();
    world.deliver_all("Company").await;
    let queries = world.db.requests().iter().filter(|request| request.operation == "Query").count();
    assert!(queries > 1, "the index is read in {queries} page");
    for row in world.db.scan_all("Statistics").await {
        assert_eq!(row["companyName"], "Mill");
    }
}

#[tokio::test]
async fn a_row_that_moved_to_another_company_takes_that_companys_name() {
    let world = by_index(BY_INDEX).await;
    world.db.put("Statistics", json!({ "id": "1", "companyId": "c1" })).await;
    name(&world, "c1", "First").await;
    world.deliver_all("Company").await;
    let stored = statistic(&world, "1").await;
    // The owner moves the row; the guard of the first company still stands on it.
    let mut moved = stored.clone();
    moved["companyId"] = json!("c2");
    world.db.put("Statistics", moved).await;
    name(&world, "c2", "Second").await;
    world.deliver_all("Company").await;
    assert_eq!(statistic(&world, "1").await["companyName"], "Second");
    // The first company's changes find it no more.
    name(&world, "c1", "First again").await;
    world.deliver_all("Company").await;
    assert_eq!(statistic(&world, "1").await["companyName"], "Second");
}

#[tokio::test]
async fn two_projections_patch_one_row_without_disturbing_each_other() {
    let world = by_key().await;
    world.db.put("Billing", json!({ "companyId": "c1", "limit": 5 })).await;
    world.db.put("Company", json!({ "companyId": "c1", "name": "A", "vat": "1" })).await;
    world.db.put("Company", json!({ "companyId": "c1", "name": "B", "vat": "2" })).await;
    world.deliver_all("Company").await;
    let expected = json!({ "companyId": "c1", "limit": 5, "companyName": "B", "vat": "2" });
    assert_eq!(world.rows("Billing").await, [expected]);
    let row = world.db.get("Billing", json!({ "companyId": "c1" })).await.expect("the row");
    assert!(row["ms:name"].is_string() && row["ms:vat"].is_string());
}

#[tokio::test]
async fn the_end_of_a_copy_by_key_leaves_alone_what_another_item_copied_there() {
    let world = World::new(
        r#"
[source.users]
table = "Users"

[projection.owner]
kind = "copy"
from = "users"
table = "Mailboxes"
key = { address = "{address}" }
set = { owner = "{userId}" }
"#,
    )
    .await;
    world.source("Users", "userId").await;
    world.table("Mailboxes", "address").await;
    for address in ["a", "b"] {
        world.db.put("Mailboxes", json!({ "address": address })).await;
    }
    world.db.put("Users", json!({ "userId": "u1", "address": "a" })).await;
    world.db.put("Users", json!({ "userId": "u1", "address": "b" })).await;
    world.db.put("Users", json!({ "userId": "u2", "address": "a" })).await;
    let records = world.db.read_stream("Users").await;
    world.deliver("Users", &records[..1]).await;
    // The next owner of the address is heard of before the first one moves away.
    world.deliver("Users", &records[2..]).await;
    world.deliver("Users", &records[1..2]).await;
    let expected = [json!({ "address": "a", "owner": "u2" }), json!({ "address": "b", "owner": "u1" })];
    assert_eq!(world.rows("Mailboxes").await, expected);
}

#[tokio::test]
async fn a_copy_never_makes_a_row() {
    let world = by_key().await;
    name(&world, "c1", "Mill").await;
    world.db.delete("Company", json!({ "companyId": "c1" })).await;
    world.deliver_all("Company").await;
    assert_eq!(world.rows("Billing").await.len(), 0);
}

#[tokio::test]
async fn an_optional_path_that_goes_missing_is_removed_by_the_patch() {
    let world = by_key().await;
    world.db.put("Billing", json!({ "companyId": "c1" })).await;
    world.db.put("Company", json!({ "companyId": "c1", "name": "A", "vat": "1" })).await;
    world.deliver_all("Company").await;
    name(&world, "c1", "A").await;
    world.deliver_all("Company").await;
    assert_eq!(world.rows("Billing").await, [json!({ "companyId": "c1", "companyName": "A" })]);
}

#[tokio::test]
async fn a_stream_of_keys_only_can_still_clear_but_not_set() {
    let toml = BY_KEY.replace("table = \"Company\"", "table = \"Company\"\nstream_view = \"KEYS_ONLY\"");
    let parsed = millstream_processor::projections::config::Config::parse("test.toml", &toml, &|_| None);
    if let Ok(config) = &parsed {
        let warnings = millstream_processor::projections::config::lint::lint(config);
        assert!(!warnings.is_empty(), "a copy from a stream of keys only is told of");
    }
    let world = World::new(BY_KEY).await;
    world.db.create_table("Company", "companyId", None, Some(StreamViewType::KeysOnly)).await;
    world.table("Billing", "companyId").await;
    world.db.put("Billing", json!({ "companyId": "c1", "companyName": "old" })).await;
    name(&world, "c1", "Mill").await;
    let records = world.db.read_stream("Company").await;
    let arn = world.db.stream_arn("Company").await;
    let error =
        world.invoke(lambda_event::event(&arn, &records)).await.expect_err("nothing done").to_string();
    assert!(error.contains("no new image") && error.contains("projection name"), "{error}");
    assert!(world.letters().await.is_empty(), "a stream that is set up wrongly must not fill the letters");
    world.db.delete("Company", json!({ "companyId": "c1" })).await;
    let records = world.db.read_stream("Company").await;
    world.deliver("Company", &records[1..]).await;
    assert_eq!(world.rows("Billing").await, [json!({ "companyId": "c1" })]);
}
