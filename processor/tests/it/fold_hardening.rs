//! What a fresh pair of eyes found in folds: odd tables, odd configs, odd moments.

use aws_sdk_dynamodbstreams::types::Record;
use millstream_test_support::faults::{Fault, Rule};
use serde_json::{Value, json};

use crate::world::World;

const ORDERS: &str = r#"
[pipeline]
retry_max = "500ms"
retry_elapsed = "2s"

[source.orders]
table = "Orders"

[projection.by-customer]
kind = "aggregate"
from = "orders"
table = "Customers"
group = { customer = "{customer}" }
count = "orders"
sum = { revenue = "{total?}" }
"#;

const COMPANIES: &str = r#"
[pipeline]
retry_max = "500ms"
retry_elapsed = "2s"

[source.companies]
table = "Companies"

[projection.by-vat]
kind = "index"
from = "companies"
table = "ByVat"
key = { vat = "{vat?}" }
set = { companyId = "{companyId}", name = "{name?}" }
"#;

async fn orders(config: &str) -> World {
    let world = World::new(config).await;
    world.source("Orders", "orderId").await;
    world.table("Customers", "customer").await;
    world
}

async fn companies(config: &str) -> World {
    let world = World::new(config).await;
    world.source("Companies", "companyId").await;
    world.table("ByVat", "vat").await;
    world
}

async fn put(world: &World, id: &str, total: i64) {
    world.db.put("Orders", json!({ "orderId": id, "customer": "a", "total": total })).await;
}

async fn number(world: &World, id: &str, total: &str) {
    let item = json!({ "orderId": { "S": id }, "customer": { "S": "a" }, "total": { "N": total } });
    world.db.put_typed("Orders", item).await;
}

async fn company(world: &World, id: &str, vat: &str) {
    world.db.put("Companies", json!({ "companyId": id, "vat": vat })).await;
}

async fn causes(world: &World) -> Vec<String> {
    let letters = world.letters().await;
    letters.iter().map(|letter| letter.head.fault().expect("a fault").causes.join(": ")).collect()
}

async fn records(world: &World, table: &str) -> Vec<Record> {
    world.db.read_stream(table).await
}

const NONE: Vec<String> = Vec::new();

/// A number may change by more than 38 digits although both the old and the new sum are numbers.
#[tokio::test]
async fn a_number_that_moves_far_is_no_letter_where_the_sum_is_a_number() {
    let world = orders(ORDERS).await;
    number(&world, "o1", "1e30").await;
    world.deliver_all("Orders").await;
    number(&world, "o1", "1e-10").await;
    world.deliver_all("Orders").await;
    assert_eq!(causes(&world).await, NONE);
    let row = world.db.get_typed("Customers", json!({ "customer": { "S": "a" } })).await.expect("a row");
    assert_eq!(row["revenue"]["N"], "0.0000000001");
}

/// And a stale one is stale.
#[tokio::test]
async fn a_number_that_moves_far_is_stale_where_the_ledger_is_newer() {
    let world = orders(ORDERS).await;
    number(&world, "o1", "1e30").await;
    number(&world, "o1", "1e-10").await;
    number(&world, "o1", "1").await;
    let records = records(&world, "Orders").await;
    world.deliver("Orders", &records[2..]).await;
    world.deliver("Orders", &records[1..2]).await;
    assert_eq!(causes(&world).await, NONE);
}

/// Min's template changes its column; every item changes afterwards.
#[tokio::test]
async fn statistics_follow_a_changed_template_once_every_item_has_changed() {
    let config = format!("{ORDERS}min = {{ low = \"{{total}}\" }}\ndistinct = {{ kinds = \"{{total}}\" }}\n");
    let world = orders(&config).await;
    put(&world, "o1", 1).await;
    put(&world, "o2", 2).await;
    world.deliver_all("Orders").await;
    let world = world.with_config(
        &config
            .replace("low = \"{total}\"", "low = \"{total?}\"")
            .replace("kinds = \"{total}\"", "kinds = \"{total?}\""),
    );
    put(&world, "o1", 11).await;
    put(&world, "o2", 12).await;
    world.deliver("Orders", &records(&world, "Orders").await[2..]).await;
    assert_eq!(
        world.rows("Customers").await,
        [json!({ "customer": "a", "orders": 2, "revenue": 23, "low": 11, "kinds": 2 })]
    );
}

/// The same attribute shows the greatest instead of the least.
#[tokio::test]
async fn an_attribute_that_shows_something_else_under_a_new_config_is_made_from_the_values() {
    let config = format!("{ORDERS}min = {{ edge = \"{{total}}\" }}\n");
    let world = orders(&config).await;
    put(&world, "o1", 1).await;
    put(&world, "o2", 9).await;
    world.deliver_all("Orders").await;
    let world = world.with_config(&config.replace("min", "max"));
    put(&world, "o3", 5).await;
    world.deliver("Orders", &records(&world, "Orders").await[2..]).await;
    assert_eq!(world.rows("Customers").await[0]["edge"], 9);
}

/// Sum -> min under the same attribute name: ADD and SET of one attribute overlap.
#[tokio::test]
async fn a_sum_that_becomes_a_least_value_sends_nothing_into_the_letters() {
    let config = format!("{ORDERS}min = {{ low = \"{{total}}\" }}\n");
    let world = orders(&config).await;
    put(&world, "o1", 5).await;
    world.deliver_all("Orders").await;
    let changed = config
        .replace("sum = { revenue = \"{total?}\" }\n", "")
        .replace("min = {", "min = { revenue = \"{total}\",");
    let world = world.with_config(&changed);
    put(&world, "o1", 6).await;
    world.deliver("Orders", &records(&world, "Orders").await[1..]).await;
    assert_eq!(causes(&world).await, NONE);
    assert_eq!(world.rows("Customers").await[0]["revenue"], 6);
}

/// A wrong key under an aggregate with statistics.
#[tokio::test]
async fn a_table_of_another_key_is_no_letter_with_statistics_either() {
    let world = World::new(&format!("{ORDERS}min = {{ low = \"{{total}}\" }}\n")).await;
    world.source("Orders", "orderId").await;
    world.table("Customers", "name").await;
    put(&world, "o1", 5).await;
    let arn = world.db.stream_arn("Orders").await;
    let event = millstream_test_support::lambda_event::event(&arn, &records(&world, "Orders").await);
    let _ = world.invoke(event).await;
    assert_eq!(causes(&world).await, NONE);
}

/// A count that is no number, on_empty = delete.
#[tokio::test(start_paused = true)]
async fn a_count_that_is_no_number_is_a_letter_and_does_not_hold_up_the_shard() {
    let world = orders(&format!("{ORDERS}on_empty = \"delete\"\n")).await;
    put(&world, "o1", 5).await;
    world.deliver_all("Orders").await;
    world.db.put("Customers", json!({ "customer": "a", "orders": "many", "revenue": 5 })).await;
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    assert_eq!(world.report("Orders", &records(&world, "Orders").await[1..]).await, None);
    assert_eq!(causes(&world).await.len(), 1);
}

/// One throttled read of the ledger for a clash.
#[tokio::test(start_paused = true)]
async fn a_throttled_look_at_the_owner_of_a_row_is_tried_again() {
    let world = companies(COMPANIES).await;
    company(&world, "c1", "v1").await;
    world.deliver_all("Companies").await;
    company(&world, "c2", "v1").await;
    world.db.faults().add(Rule::on("GetItem", Fault::Throttle).first(1));
    assert_eq!(world.report("Companies", &records(&world, "Companies").await[1..]).await, None);
    let causes = causes(&world).await;
    assert!(causes.len() == 1 && causes[0].contains("c1"), "{causes:?}");
}

/// The same for a sum that is refused.
#[tokio::test(start_paused = true)]
async fn a_throttled_look_at_the_ledger_before_blame_is_tried_again() {
    let world = orders(ORDERS).await;
    world.db.put("Customers", json!({ "customer": "a", "orders": 1, "revenue": "a lot" })).await;
    put(&world, "o1", 5).await;
    world.db.faults().add(Rule::on("GetItem", Fault::Throttle).first(1));
    assert_eq!(world.report("Orders", &records(&world, "Orders").await).await, None);
}

/// A taker in front of a giver whose ledger was guessed wrong.
#[tokio::test]
async fn a_row_is_taken_from_one_that_moves_away_after_a_missed_change() {
    let world = companies(COMPANIES).await;
    company(&world, "c1", "v1").await;
    world.db.put("Companies", json!({ "companyId": "c1", "vat": "v1", "name": "Amber" })).await;
    world.db.put("Companies", json!({ "companyId": "c2", "vat": "v1" })).await;
    world.db.put("Companies", json!({ "companyId": "c1", "vat": "v3" })).await;
    let records = records(&world, "Companies").await;
    world.deliver("Companies", &records[..1]).await;
    // The second change is missed.
    world.deliver("Companies", &records[2..]).await;
    assert_eq!(causes(&world).await, NONE);
    let row = |vat: &str, id: &str| json!({ "vat": vat, "companyId": id });
    assert_eq!(world.rows("ByVat").await, [row("v3", "c1"), row("v1", "c2")]);
}

async fn rows_after_clash(at_once: bool, again: bool) -> Vec<Value> {
    let world = companies(COMPANIES).await;
    company(&world, "c1", "v1").await;
    company(&world, "c2", "v2").await;
    world.deliver_all("Companies").await;
    company(&world, "c2", "v4").await;
    company(&world, "c2", "v1").await;
    let records = records(&world, "Companies").await;
    if at_once {
        world.deliver("Companies", &records[2..]).await;
    } else {
        world.deliver("Companies", &records[2..3]).await;
        world.deliver("Companies", &records[3..]).await;
    }
    if again {
        world.deliver("Companies", &records[2..]).await;
    }
    world.rows("ByVat").await
}

/// What a clash leaves does not depend on the batches, nor on a redelivery.
#[tokio::test]
async fn what_a_clash_leaves_does_not_depend_on_batches() {
    let one_by_one = rows_after_clash(false, false).await;
    assert_eq!(rows_after_clash(true, true).await, one_by_one, "again");
    assert_eq!(rows_after_clash(true, false).await, one_by_one, "at once");
}

/// Rows of one item that together have more than 4 MB.
#[tokio::test]
async fn rows_of_one_item_that_are_large_together_take_several_transactions() {
    let world = World::new(
        r#"
[source.orders]
table = "Orders"
[projection.by-tag]
kind = "index"
from = "orders"
table = "ByTag"
each = "{tags?}"
key = { tag = "{ms:each}", orderId = "{orderId}" }
set = { body = "{body}" }
"#,
    )
    .await;
    world.source("Orders", "orderId").await;
    world.db.create_table("ByTag", "tag", Some("orderId"), None).await;
    let tags: Vec<String> = (0..60).map(|tag| format!("t{tag}")).collect();
    world.db.put("Orders", json!({ "orderId": "o1", "tags": tags, "body": "x".repeat(100_000) })).await;
    world.db.clear_requests();
    world.deliver_all("Orders").await;
    let largest = world.db.requests().iter().map(|request| request.body.to_string().len()).max();
    assert!(largest < Some(4 * 1024 * 1024), "{largest:?}");
    assert_eq!(world.rows("ByTag").await.len(), 60);
}

/// An old change of which a row can never be written is stale all the same.
#[tokio::test]
async fn a_stale_change_is_stale_although_its_row_is_too_large() {
    let config = COMPANIES.replace("name = \"{name?}\"", "name = \"{name?}\", again = \"{name?}\"");
    let world = companies(&config).await;
    world.db.put("Companies", json!({ "companyId": "c1", "vat": "v1", "name": "x".repeat(300_000) })).await;
    world.db.put("Companies", json!({ "companyId": "c1", "vat": "v2" })).await;
    let records = records(&world, "Companies").await;
    world.deliver("Companies", &records[1..]).await;
    world.deliver("Companies", &records[..1]).await;
    assert_eq!(causes(&world).await, NONE);
}

/// Unprocessed keys are asked for again, but not without a pause.
#[tokio::test(start_paused = true)]
async fn values_that_stay_unread_are_asked_for_after_a_wait() {
    let world = orders(&format!("{ORDERS}min = {{ low = \"{{total}}\" }}\n")).await;
    put(&world, "o1", 5).await;
    world.deliver_all("Orders").await;
    put(&world, "o1", 6).await;
    let records = records(&world, "Orders").await;
    let answer = r#"{"Responses":{},"UnprocessedKeys":{"millstream-values":{"ConsistentRead":true,"Keys":[{"column":{"S":"c"},"order":{"B":"AA=="}},{"column":{"S":"c"},"order":{"B":"AQ=="}}]}}}"#;
    world.db.faults().add(Rule::on("BatchGetItem", Fault::Answer(200, answer)).first(500));
    world.db.clear_requests();
    let _ = world.report("Orders", &records[1..]).await;
    let asked = world.db.requests().iter().filter(|request| request.operation == "BatchGetItem").count();
    assert!(asked < 100, "asked {asked} times");
}

/// Adding a count and on_empty = delete to a running projection.
#[tokio::test]
async fn a_count_that_is_new_deletes_no_row_that_still_has_items() {
    let config = ORDERS.replace("count = \"orders\"\n", "");
    let world = orders(&config).await;
    put(&world, "o1", 5).await;
    put(&world, "o2", 7).await;
    world.deliver_all("Orders").await;
    let world = world.with_config(&format!("{ORDERS}on_empty = \"delete\"\n"));
    put(&world, "o1", 6).await;
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    let records = records(&world, "Orders").await;
    world.deliver("Orders", &records[2..3]).await;
    world.deliver("Orders", &records[3..]).await;
    assert_eq!(world.rows("Customers").await[0]["revenue"], 7);
}

/// A row that is not Millstream's is refused where rows are unique, and so it is not dropped either.
#[tokio::test]
async fn a_unique_index_drops_no_row_that_it_did_not_write() {
    let world = companies(COMPANIES).await;
    company(&world, "c1", "v1").await;
    world.deliver_all("Companies").await;
    world.db.put("ByVat", json!({ "vat": "v1", "companyId": "by hand" })).await;
    world.db.delete("Companies", json!({ "companyId": "c1" })).await;
    world.deliver_all("Companies").await;
    assert_eq!(world.rows("ByVat").await, [json!({ "vat": "v1", "companyId": "by hand" })]);
}

/// An index that takes rows over cannot tell those of another index from rows that nobody guards.
#[test]
fn an_index_takes_no_row_over_that_carries_the_guard_of_another() {
    let one = COMPANIES.replace("set =", "unique = false\nset =");
    let other = one.split("[projection.by-vat]").nth(1).expect("a projection").replace("{vat?}", "{tax?}");
    let refused = refusal(&format!("{one}\n[projection.by-tax]{other}"));
    assert!(refused.contains("may ask for the same rows as `by-vat`"), "{refused}");
}

/// What is wrong with a config.
fn refusal(config: &str) -> String {
    use millstream_processor::projections::config::Config;
    Config::parse("test.toml", config, &|_| None).expect_err("an error").to_string()
}

/// AWS may refuse a key that the table has not as a whole, without reasons.
#[tokio::test]
async fn a_validation_exception_under_a_table_of_another_key_is_no_letter() {
    let world = World::new(ORDERS).await;
    world.source("Orders", "orderId").await;
    world.table("Customers", "name").await;
    put(&world, "o1", 5).await;
    world.db.faults().add(Rule::on("TransactWriteItems", Fault::Validation));
    let arn = world.db.stream_arn("Orders").await;
    let event = millstream_test_support::lambda_event::event(&arn, &records(&world, "Orders").await);
    let _ = world.invoke(event).await;
    assert_eq!(causes(&world).await, NONE);
}

/// A giver that needs several steps.
#[tokio::test]
async fn a_row_is_taken_from_one_that_gives_up_many() {
    let world = World::new(
        r#"
[source.orders]
table = "Orders"
[projection.by-tag]
kind = "index"
from = "orders"
table = "ByTag"
each = "{tags?}"
key = { tag = "{ms:each}" }
"#,
    )
    .await;
    world.source("Orders", "orderId").await;
    world.table("ByTag", "tag").await;
    let tags: Vec<String> = (0..450).map(|tag| format!("t{tag:03}")).collect();
    world.db.put("Orders", json!({ "orderId": "o1", "tags": tags })).await;
    world.deliver_all("Orders").await;
    world.db.put("Orders", json!({ "orderId": "o1" })).await;
    world.db.put("Orders", json!({ "orderId": "o2", "tags": ["t449"] })).await;
    world.deliver("Orders", &records(&world, "Orders").await[1..]).await;
    assert_eq!(causes(&world).await, NONE);
    assert_eq!(world.rows("ByTag").await, [json!({ "tag": "t449", "orderId": "o2" })]);
}

/// What is read to judge ends with the batch as well.
#[tokio::test]
async fn a_slow_look_at_the_owner_of_a_row_outlives_no_deadline() {
    let world = companies(COMPANIES).await;
    company(&world, "c1", "v1").await;
    world.deliver_all("Companies").await;
    company(&world, "c2", "v1").await;
    let arn = world.db.stream_arn("Companies").await;
    let event = millstream_test_support::lambda_event::event(&arn, &records(&world, "Companies").await[1..]);
    let slow = std::time::Duration::from_secs(8);
    world.db.faults().add(Rule::on("GetItem", Fault::Delay(slow)).first(1));
    let started = std::time::Instant::now();
    let deadline = std::time::SystemTime::now() + std::time::Duration::from_secs(4);
    let _ = world.host().handle(bytes::Bytes::from(event.to_string()), deadline).await;
    assert!(started.elapsed() < std::time::Duration::from_secs(4), "{:?}", started.elapsed());
}

/// Whether a row of sums is there does not depend on the batches.
#[tokio::test]
async fn a_sum_of_zero_makes_a_row_in_one_batch_as_in_two() {
    let config = ORDERS.replace("count = \"orders\"\n", "");
    let mut rows = Vec::new();
    for at_once in [true, false] {
        let world = orders(&config).await;
        put(&world, "o1", 5).await;
        put(&world, "o2", -5).await;
        let records = records(&world, "Orders").await;
        if at_once {
            world.deliver("Orders", &records).await;
        } else {
            world.deliver("Orders", &records[..1]).await;
            world.deliver("Orders", &records[1..]).await;
        }
        rows.push(world.rows("Customers").await);
    }
    assert_eq!(rows[0], rows[1]);
}

/// A config whose changes no transaction holds is refused.
#[test]
fn a_config_of_more_columns_than_a_transaction_holds_is_refused() {
    let columns: Vec<String> = (0..49).map(|column| format!("m{column} = \"{{v{column}}}\"")).collect();
    let refused = refusal(&format!("{ORDERS}min = {{ {} }}\n", columns.join(", ")));
    assert!(refused.contains("have 49 different templates: 45 are possible"), "{refused}");
}

/// And of one that is not, a change takes one transaction at most, also where the item moves.
#[tokio::test]
async fn an_item_of_as_many_columns_as_possible_moves() {
    let columns: Vec<String> = (0..45).map(|column| format!("m{column} = \"{{v{column}}}\"")).collect();
    let world = orders(&format!("{ORDERS}min = {{ {} }}\n", columns.join(", "))).await;
    let item = |customer: &str, value: i64| {
        let mut item = json!({ "orderId": "o1", "customer": customer, "total": 1 });
        (0..45).for_each(|column| item[format!("v{column}")] = json!(value));
        item
    };
    world.db.put("Orders", item("a", 1)).await;
    world.deliver_all("Orders").await;
    world.db.put("Orders", item("b", 2)).await;
    world.deliver_all("Orders").await;
    assert_eq!(causes(&world).await, NONE);
    let rows = world.rows("Customers").await;
    assert_eq!((&rows[0]["orders"], &rows[0]["m44"], &rows[1]["m44"]), (&json!(0), &Value::Null, &json!(2)));
}

/// No expression is longer than DynamoDB reads, 4 KB.
#[tokio::test]
async fn no_expression_is_longer_than_dynamodb_reads() {
    let sums = |count: usize| -> String {
        let sums: Vec<String> = (0..count).map(|sum| format!("s{sum} = \"{{total}}\"")).collect();
        ORDERS.replace("revenue = \"{total?}\"", &sums.join(", "))
    };
    assert!(refusal(&sums(300)).contains("keeps 301 attributes: 100 are possible"));
    let world = orders(&sums(99)).await;
    put(&world, "o1", 1).await;
    world.db.clear_requests();
    world.deliver_all("Orders").await;
    let requests = world.db.requests();
    let actions = requests
        .iter()
        .flat_map(|request| request.body["TransactItems"].as_array().cloned().unwrap_or_default());
    let longest =
        actions.filter_map(|action| Some(action["Update"]["UpdateExpression"].as_str()?.len())).max();
    assert!(longest <= Some(4_096), "{longest:?}");
    assert_eq!(world.rows("Customers").await[0]["s98"], 1);
}

/// An item whose contribution the ledger cannot hold leaves nothing half done.
#[tokio::test]
async fn an_item_that_the_ledger_cannot_hold_leaves_nothing_half_done() {
    let prefix = "p".repeat(1_000);
    let world = World::new(&format!(
        r#"
[source.orders]
table = "Orders"
[projection.by-tag]
kind = "index"
from = "orders"
table = "ByTag"
each = "{{tags?}}"
key = {{ tag = "{prefix}{{ms:each}}" }}
"#
    ))
    .await;
    world.source("Orders", "orderId").await;
    world.table("ByTag", "tag").await;
    let tags: Vec<String> = (0..600).map(|tag| format!("t{tag}")).collect();
    world.db.put("Orders", json!({ "orderId": "o1", "tags": tags })).await;
    let report = world.report("Orders", &records(&world, "Orders").await).await;
    let causes = causes(&world).await;
    assert_eq!((report, world.rows("ByTag").await.len(), causes.len()), (None, 0, 1), "{causes:?}");
}

/// Who loses a totals row to another writer waits before it tries again.
#[tokio::test(start_paused = true)]
async fn one_that_lost_a_totals_row_to_another_writer_waits_before_it_tries_again() {
    let world = orders(&format!("{ORDERS}min = {{ low = \"{{total}}\" }}\n")).await;
    put(&world, "o1", 5).await;
    let answer = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"cancelled","CancellationReasons":[{"Code":"None"},{"Code":"None"},{"Code":"ConditionalCheckFailed"}]}"#;
    world.db.faults().add(Rule::on("TransactWriteItems", Fault::Answer(400, answer)).first(20));
    let records = records(&world, "Orders").await;
    world.db.clear_requests();
    let started = tokio::time::Instant::now();
    let report = world.report("Orders", &records).await;
    let commits = world.db.requests().iter().filter(|it| it.operation == "TransactWriteItems").count();
    let took = started.elapsed();
    assert!(took > std::time::Duration::from_millis(100), "{commits} commits in {took:?}, then {report:?}");
}

/// Two workers between a survey and its commit, the row gone and made again in between.
#[tokio::test(start_paused = true)]
async fn a_row_that_went_and_came_again_between_survey_and_commit_is_not_the_same() {
    let config = format!("{ORDERS}distinct = {{ kinds = \"{{total}}\" }}\non_empty = \"delete\"\n");
    let world = orders(&config).await;
    put(&world, "o1", 5).await;
    put(&world, "o2", 6).await;
    world.deliver_all("Orders").await;
    // Someone deletes the row; documented: it begins with the next difference, and statistics are read anew.
    world.db.delete("Customers", json!({ "customer": "a" })).await;
    put(&world, "o3", 5).await;
    put(&world, "o4", 7).await;
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    let records = records(&world, "Orders").await;
    let arn = world.db.stream_arn("Orders").await;
    let event =
        |range: std::ops::Range<usize>| millstream_test_support::lambda_event::event(&arn, &records[range]);
    // The first worker has read everything, and its commit takes a while.
    let slow = std::time::Duration::from_secs(1);
    world.db.faults().add(Rule::on("TransactWriteItems", Fault::Delay(slow)).first(1));
    let first = world.invoke(event(2..3));
    let second = async {
        tokio::time::sleep(slow / 2).await;
        world.invoke(event(3..4)).await.expect("an answer");
        world.invoke(event(4..5)).await.expect("an answer");
    };
    let (answer, ()) = tokio::join!(first, second);
    answer.expect("an answer");
    let values = world.db.scan_all("millstream-values").await;
    let of_five: Vec<_> =
        values.iter().filter(|row| row["value"] == 5).map(|row| row["items"].clone()).collect();
    assert_eq!(of_five, [json!(1)], "o3 alone has 5: {values:?}");
}
