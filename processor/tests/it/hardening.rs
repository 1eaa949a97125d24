//! Corners that a review found: what a bad deployment, a slow batch or a strange answer must not do.

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodbstreams::types::StreamViewType;
use bytes::Bytes;
use millstream_processor::host::reader::StreamReader;
use millstream_processor::projections::SourceName;
use millstream_test_support::faults::{Fault, Rule};
use millstream_test_support::lambda_event;
use serde_json::json;

use crate::world::{World, sequence};

const PLACES: &str = r#"
[source.items]
table = "Items"
[projection.mirror]
kind = "replica"
from = "items"
table = "Mirror"
key = { place = "{home}#{id}" }
set = { label = "{label}" }
"#;

async fn event(world: &World, table: &str) -> serde_json::Value {
    let arn = world.db.stream_arn(table).await;
    lambda_event::event(&arn, &world.db.read_stream(table).await)
}

#[tokio::test]
async fn removed_item_leaves_no_row_after_a_change_without_key() {
    let world = World::new(PLACES).await;
    world.source("Items", "id").await;
    world.table("Mirror", "place").await;
    world.db.put("Items", json!({ "id": "1", "home": "x", "label": "a" })).await;
    world.db.put("Items", json!({ "id": "1", "label": "b" })).await; // poison: no `home`
    world.db.delete("Items", json!({ "id": "1" })).await;
    for record in world.db.read_stream("Items").await {
        world.deliver("Items", &[record]).await;
    }
    assert_eq!(world.letters().await.len(), 1);
    assert_eq!(world.rows("Mirror").await, Vec::<serde_json::Value>::new(), "the source has no item");
}

#[tokio::test]
async fn moved_item_has_one_row_after_a_change_without_key() {
    let world = World::new(PLACES).await;
    world.source("Items", "id").await;
    world.table("Mirror", "place").await;
    world.db.put("Items", json!({ "id": "1", "home": "x", "label": "a" })).await;
    world.db.put("Items", json!({ "id": "1", "label": "b" })).await;
    world.db.put("Items", json!({ "id": "1", "home": "y", "label": "c" })).await;
    world.deliver_all("Items").await;
    assert_eq!(world.rows("Mirror").await, [json!({ "place": "y#1", "label": "c" })]);
}

const DROP: &str = r#"
[source.companies]
table = "Company"
[projection.name]
kind = "copy"
from = "companies"
table = "Statistics"
match = { index = "by-company", key = { companyId = "{companyId}" } }
set = { companyName = "{name}" }
on_delete = "delete"
"#;

async fn statistics(toml: &str) -> World {
    let world = World::new(toml).await;
    world.source("Company", "companyId").await;
    let index = ("by-company", "companyId", Some("year"));
    world.db.create_table_with_index("Statistics", "id", None, None, index).await;
    world
}

async fn statistic(world: &World, id: &str) {
    world.db.put("Statistics", json!({ "id": id, "companyId": "c1", "year": "2024", "sales": 7 })).await;
}

#[tokio::test]
async fn a_removal_delivered_twice_spares_rows_made_after_it() {
    for key in [
        "key = { id = \"{companyId}\" }",
        "match = { index = \"by-company\", key = { companyId = \"{companyId}\" } }",
    ] {
        let toml =
            DROP.replace("match = { index = \"by-company\", key = { companyId = \"{companyId}\" } }", key);
        let world = statistics(&toml).await;
        world.db.put("Company", json!({ "companyId": "c1", "name": "Mill" })).await;
        statistic(&world, "c1").await;
        world.db.delete("Company", json!({ "companyId": "c1" })).await;
        world.deliver_all("Company").await;
        assert!(world.rows("Statistics").await.is_empty());
        // The company is founded again, its change is done, and then the owner makes a row again.
        world.db.put("Company", json!({ "companyId": "c1", "name": "Mill 2" })).await;
        world.deliver_all("Company").await;
        statistic(&world, "c1").await;
        let records = world.db.read_stream("Company").await;
        world.deliver("Company", &records[1..2]).await;
        assert_eq!(world.rows("Statistics").await.len(), 1, "another owner's row is gone: {key}");
    }
}

#[tokio::test]
async fn a_stream_without_images_under_a_declared_version_makes_no_letters() {
    for view in [StreamViewType::KeysOnly, StreamViewType::NewImage] {
        let toml = PLACES
            .replace("{home}#{id}", "{id}")
            .replace("table = \"Mirror\"", "table = \"Mirror\"\nversion = \"v\"");
        let world = World::new(&toml).await;
        world.db.create_table("Items", "id", None, Some(view.clone())).await;
        world.table("Mirror", "place").await;
        world.db.put("Items", json!({ "id": "1", "label": "a", "v": 1 })).await;
        world.db.delete("Items", json!({ "id": "1" })).await;
        let _ = world.invoke(event(&world, "Items").await).await;
        assert_eq!(world.letters().await.len(), 0, "{view:?}");
    }
}

#[tokio::test]
async fn a_match_key_without_the_partition_key_makes_no_letters() {
    let world = statistics(&DROP.replace("companyId = \"{companyId}\" }", "year = \"{companyId}\" }")).await;
    world.db.put("Company", json!({ "companyId": "c1", "name": "Mill" })).await;
    let _ = world.invoke(event(&world, "Company").await).await;
    assert_eq!(world.letters().await.len(), 0);
}

#[tokio::test]
async fn a_set_that_names_the_tables_key_makes_no_letters() {
    let world = statistics(&DROP.replace("set = { companyName", "set = { id")).await;
    statistic(&world, "1").await;
    world.db.put("Company", json!({ "companyId": "c1", "name": "Mill" })).await;
    let _ = world.invoke(event(&world, "Company").await).await;
    assert_eq!(world.letters().await.len(), 0);
}

#[tokio::test]
async fn an_index_that_is_still_being_filled_makes_no_letters() {
    let world = statistics(DROP).await;
    world.db.put("Company", json!({ "companyId": "c1", "name": "Mill" })).await;
    let body = r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"Cannot read from backfilling global secondary index: by-company"}"#;
    world.db.faults().add(Rule::on("Query", Fault::Answer(400, body)).table("Statistics"));
    let description = r#"{"Table":{"TableName":"Statistics","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],
        "GlobalSecondaryIndexes":[{"IndexName":"by-company","IndexStatus":"CREATING","Backfilling":true,
        "KeySchema":[{"AttributeName":"companyId","KeyType":"HASH"}]}]}}"#;
    world.db.faults().add(Rule::on("DescribeTable", Fault::Answer(200, description)));
    let _ = world.invoke(event(&world, "Company").await).await;
    assert_eq!(world.letters().await.len(), 0);
}

const EMIT: &str = r#"
[source.companies]
table = "Company"
[source.events]
queue = "https://sqs.eu-west-1.amazonaws.com/000000000000/events"
[projection.changed]
kind = "emit"
from = "companies"
topic = "arn:aws:sns:eu-west-1:000000000000:changed"
include = ["name"]
[projection.names]
kind = "replica"
from = "events"
table = "Names"
key = { companyId = "{companyId}" }
set = { name = "{name}" }
"#;

#[tokio::test]
async fn a_topic_of_another_region_makes_no_letters() {
    let world = World::new(EMIT).await;
    world.source("Company", "companyId").await;
    world.topics.create("changed");
    let body = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidParameter</Code><Message>Invalid parameter: TopicArn</Message></Error></ErrorResponse>";
    world.topics.faults().add(Rule::on("PublishBatch", Fault::Answer(400, body)));
    for id in ["c1", "c2", "c3"] {
        world.db.put("Company", json!({ "companyId": id, "name": "Mill" })).await;
    }
    let _ = world.invoke(event(&world, "Company").await).await;
    assert_eq!(world.letters().await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_old_message_that_is_throttled_stays_in_its_queue() {
    let world = World::new(EMIT).await;
    world.source("Company", "companyId").await;
    world.table("Names", "companyId").await;
    let topic = world.topics.create("changed");
    world.db.put("Company", json!({ "companyId": "c1", "name": "Mill" })).await;
    world.deliver_all("Company").await;
    // The consumer was off for two days; the queue keeps its messages for up to 14.
    let now = world.db.now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    world.clock.set(now + 48 * 3600);
    world.db.faults().add(Rule::any(Fault::Throttle).table("Names"));
    let _ = world.invoke(world.queue_event(&topic, "events")).await;
    assert_eq!(world.letters().await.len(), 0);
}

#[tokio::test]
async fn an_index_that_is_added_is_seen_by_a_warm_function() {
    let world = World::new(DROP).await;
    world.source("Company", "companyId").await;
    world.table("Statistics", "id").await;
    world.db.put("Company", json!({ "companyId": "c1", "name": "Mill" })).await;
    let event = Bytes::from(event(&world, "Company").await.to_string());
    let host = world.host();
    let deadline = SystemTime::now() + Duration::from_secs(60);
    host.handle(event.clone(), deadline).await.expect_err("no index");
    world.db.perform("DeleteTable", json!({ "TableName": "Statistics" })).await;
    let index = ("by-company", "companyId", None);
    world.db.create_table_with_index("Statistics", "id", None, None, index).await;
    host.handle(event, deadline).await.expect("the deployment is mended");
}

#[tokio::test(start_paused = true)]
async fn a_503_without_json_is_tried_again() {
    let world = World::new(&PLACES.replace("{home}#{id}", "{id}")).await;
    world.source("Items", "id").await;
    world.table("Mirror", "place").await;
    world.db.put("Items", json!({ "id": "1", "label": "a" })).await;
    let html = "<html><body>503 Service Unavailable</body></html>";
    world.db.faults().add(Rule::any(Fault::Answer(503, html)).table("Mirror").first(1));
    world.deliver_all("Items").await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_503_is_tried_again() {
    let world = World::new(&PLACES.replace("{home}#{id}", "{id}")).await;
    world.source("Items", "id").await;
    world.table("Mirror", "place").await;
    world.db.put("Items", json!({ "id": "1", "label": "a" })).await;
    world.db.faults().add(Rule::any(Fault::Answer(503, "")).table("Mirror").first(1));
    world.deliver_all("Items").await;
}

#[tokio::test(start_paused = true)]
async fn poison_at_the_head_of_a_slow_batch_becomes_a_letter() {
    let toml = format!("[pipeline]\nconcurrency = 1\n{}", PLACES.replace("{home}#{id}", "{id}"));
    let world = World::new(&toml).await;
    world.source("Items", "id").await;
    world.table("Mirror", "place").await;
    world.db.put("Items", json!({ "id": "poison" })).await;
    for number in 0..80 {
        world.db.put("Items", json!({ "id": format!("{number:03}"), "label": "a" })).await;
    }
    world.db.faults().add(Rule::any(Fault::Delay(Duration::from_secs(1))).table("Mirror"));
    let mut records = world.db.read_stream("Items").await;
    let mut invocations = 0;
    while let Some(lowest) = world.report("Items", &records).await {
        records = records.into_iter().skip_while(|record| sequence(record) != lowest).collect();
        invocations += 1;
        assert!(
            invocations < 6,
            "after {invocations} invocations {} records are left, {} letters",
            records.len(),
            world.letters().await.len()
        );
    }
}

#[tokio::test]
async fn a_publish_batch_has_room_for_its_attributes() {
    let world = World::new(EMIT).await;
    world.source("Company", "companyId").await;
    world.topics.create("changed");
    for id in 0..2 {
        world.db.put("Company", json!({ "companyId": format!("c{id}"), "name": "" })).await;
    }
    world.deliver_all("Company").await;
    let body = world.topics.published("arn:aws:sns:eu-west-1:000000000000:changed")[0].message.len();
    for id in 2..4 {
        let name = "x".repeat(128 * 1024 - body);
        world.db.put("Company", json!({ "companyId": format!("c{id}"), "name": name })).await;
    }
    world.topics.faults().clear_requests();
    let records = world.db.read_stream("Company").await;
    world.deliver("Company", &records[2..]).await;
    for request in world.topics.requests() {
        let form = request.body.as_object().expect("a form");
        let size: usize = form
            .iter()
            .filter(|(name, _)| name.ends_with(".Message") || name.contains("MessageAttributes"))
            .map(|(_, value)| value.as_str().unwrap_or_default().len())
            .sum();
        assert!(size <= 256 * 1024, "{size} bytes of bodies and attributes in one PublishBatch");
    }
}

async fn streamed() -> (World, StreamReader) {
    let world = World::new(PLACES).await;
    world.source("Items", "id").await;
    for id in 0..8 {
        world.db.put("Items", json!({ "id": id.to_string() })).await;
    }
    let arn = world.db.stream_arn("Items").await;
    let name = SourceName::new("items").expect("a name");
    let reader = StreamReader::new(world.db.streams(), name, arn);
    (world, reader)
}

#[tokio::test]
async fn a_throttled_get_shard_iterator_loses_no_shard() {
    let (world, mut reader) = streamed().await;
    world.db.faults().add(Rule::on("GetShardIterator", Fault::Throttle).first(1));
    let mut seen = 0;
    for _ in 0..10 {
        seen += reader.page().await.map_or(0, |page| page.len());
    }
    assert_eq!(seen, 8);
}

#[tokio::test]
async fn two_open_shards_are_both_read() {
    let (world, mut reader) = streamed().await;
    world.db.split_shards("Items");
    for id in 100..130 {
        world.db.put("Items", json!({ "id": id.to_string() })).await;
    }
    let mut seen = 0;
    for _ in 0..100 {
        seen += reader.page().await.expect("a page").len();
    }
    assert_eq!(seen, 38);
}

#[tokio::test]
async fn an_expired_iterator_is_asked_for_again() {
    let (world, mut reader) = streamed().await;
    reader.page().await.expect("a page");
    world.db.faults().add(Rule::on("GetRecords", Fault::ExpiredIterator).first(1));
    world.db.put("Items", json!({ "id": "late" })).await;
    reader.page().await.expect_err("the iterator is dead");
    assert_eq!(reader.page().await.expect("a new iterator").len(), 1, "what was read is not read again");
}

#[tokio::test]
async fn an_item_that_never_belonged_takes_no_rows_with_it() {
    let toml = DROP.replace(
        "table = \"Statistics\"",
        "table = \"Statistics\"\nwhere = \"new.status == 'ACTIVE' && event.source == 'companies'\"",
    );
    for (toml, view) in [
        (toml.clone(), StreamViewType::NewAndOldImages),
        (toml.replace(" && event.source == 'companies'", ""), StreamViewType::NewImage),
    ] {
        let world = World::new(&toml).await;
        world.db.create_table("Company", "companyId", None, Some(view.clone())).await;
        let index = ("by-company", "companyId", None);
        world.db.create_table_with_index("Statistics", "id", None, None, index).await;
        statistic(&world, "1").await;
        for name in ["Mill", "Mill 2"] {
            world.db.put("Company", json!({ "companyId": "c1", "name": name, "status": "DRAFT" })).await;
        }
        world.deliver_all("Company").await;
        assert_eq!(
            world.rows("Statistics").await.len(),
            1,
            "{view:?}: never belonged, yet its rows are dropped"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_with_too_many_rows_ends_before_the_stream_forgets_it() {
    let world = statistics(DROP).await;
    for id in 0..80 {
        statistic(&world, &id.to_string()).await;
    }
    world.db.put("Company", json!({ "companyId": "c1", "name": "Mill" })).await;
    world.db.faults().add(Rule::on("UpdateItem", Fault::Delay(Duration::from_secs(8))).table("Statistics"));
    let now = world.db.now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let records = world.db.read_stream("Company").await;
    for hours in [1, 5, 10, 15, 19, 21, 22, 23] {
        world.clock.set(now + hours * 3600);
        if world.report("Company", &records).await.is_none() {
            return;
        }
    }
    panic!(
        "23 h old, never done, {} letters, {} rows written",
        world.letters().await.len(),
        world.rows("Statistics").await.iter().filter(|row| row.get("companyName").is_some()).count()
    );
}

#[tokio::test]
async fn without_the_right_to_describe_a_table_a_poison_record_blocks_nobody() {
    let toml = PLACES.replace("{home}#{id}", "{id}");
    let world = World::new(&toml.replace("set = {", "set = { more = \"{label}\", ")).await;
    world.source("Items", "id").await;
    world.table("Mirror", "place").await;
    world.db.put("Items", json!({ "id": "big", "label": "x".repeat(300_000) })).await;
    world.db.put("Items", json!({ "id": "good", "label": "a" })).await;
    world.db.faults().add(Rule::on("DescribeTable", Fault::AccessDenied));
    world.deliver_all("Items").await;
    assert_eq!((world.letters().await.len(), world.rows("Mirror").await.len()), (1, 1));
}
