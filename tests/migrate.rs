//! `millstream migrate kcl` as a real process, against a lease table in the embedded DynamoDB, and `millstream run` after it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail their test"
)]

use std::collections::BTreeSet;
use std::ops::Deref;

use serde_json::{Value, json};

use self::world::{PACE, World, text};

#[expect(dead_code, reason = "the tests of `run` use the rest")]
mod world;

const LEASES: &str = "orders-app";
const MIGRATE: &str = "migrate kcl --lease-table orders-app --wait 1s";
/// What stands for KCL's worker.
const WORKER: &str = "8f8f0b2a-5c5e-4f0e-9a3e-0d2f3c1e7b11";

#[tokio::test(flavor = "multi_thread")]
async fn the_poller_goes_on_where_kcl_stopped() {
    let world = Shop::set_up().await;
    // Of the first shard all is done, of one of the next two a part, of the others nothing.
    world.write(0..8).await;
    world.database.split_shards("Orders");
    world.write(8..40).await;
    let shards = world.shards().await;
    let done = world.records(&shards[1]).await;
    // Each order is written twice: of some both are done, of some the first.
    let (before, after) = done.split_at(done.len() * 3 / 4);
    let (last, _) = &before[before.len() - 1];
    world.lease(&shards[0], "SHARD_END").await;
    world.lease(&shards[1], last).await;
    world.lease(&shards[2], "TRIM_HORIZON").await;
    world.database.roll_shards("Orders");
    world.write(40..60).await;

    let output = world.output(&format!("{MIGRATE} --dry-run")).await;
    let page = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{page}{}", text(&output.stderr));
    for said in
        ["lease table orders-app: 3 leases", WORKER, "SHARD_END", last, "nothing is written: --dry-run"]
    {
        assert!(page.contains(said), "`{said}` is not in {page}");
    }
    assert!(page.contains("4 shards to read, 1 done"), "{page}");
    assert_eq!(world.database.scan_all("t-state").await, Vec::<Value>::new());

    let output = world.output(MIGRATE).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("written. `millstream run --consumer default` goes on"));
    let output = world.output(&format!("run --once {PACE}")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    let is_left = |order: &String| after.iter().any(|(_, left)| left == order);
    let not_read = before.iter().map(|(_, order)| order.clone()).filter(|order| !is_left(order));
    let not_read: BTreeSet<String> = (0..8).map(name).chain(not_read).collect();
    let expected: BTreeSet<String> = (0..60).map(name).filter(|order| !not_read.contains(order)).collect();
    assert_eq!(world.rows().await, expected);
    let output = world.output(MIGRATE).await;
    assert_eq!(output.status.code(), Some(1), "a poller was at work");
    assert!(text(&output.stderr).contains("consumer default knows shards of source orders already"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_an_object_and_comes_to_the_same_end_twice() {
    let world = Shop::set_up().await;
    world.write(0..3).await;
    let shards = world.shards().await;
    world.lease(&shards[0], "TRIM_HORIZON").await;
    for (present, arguments) in [(0, ""), (1, ""), (0, "--consumer other")] {
        let output = world.output(&format!("{MIGRATE} --json {arguments}")).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let object: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&object["written"], &object["refusals"]), (&json!(true), &json!([])));
        assert_eq!((&object["leases"], &object["heldBy"]), (&json!(1), &json!([WORKER])));
        let stream = &object["streams"][0];
        assert_eq!((&stream["source"], &stream["present"]), (&json!("orders"), &json!(present)));
        let shard = &stream["shards"][0];
        assert_eq!((&shard["shard"], &shard["why"]), (&json!(shards[0]), &json!("oldest")));
        assert_eq!((&shard["state"], &shard["checkpoint"]), (&json!("open"), &json!("trimHorizon")));
        assert_eq!(shard["lease"]["position"], "TRIM_HORIZON");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_still_runs_is_not_robbed() {
    let world = Shop::set_up().await;
    world.write(0..3).await;
    let shards = world.shards().await;
    world.lease(&shards[0], "LATEST").await;
    let renew = async {
        for counter in 8_u64.. {
            world.renew(&shards[0], counter).await;
            tokio::task::yield_now().await;
        }
    };
    let output = tokio::select! {
        output = world.output(MIGRATE) => output,
        () = renew => unreachable!("it renews for ever"),
    };
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    // All that has to be done is told at once.
    for expected in ["the KCL application still runs", WORKER, "--since", &*shards[0], "nothing is written"] {
        assert!(said.contains(expected), "`{expected}` is not in {said}");
    }
    assert_eq!(world.database.scan_all("t-state").await, Vec::<Value>::new());
    let since = "--since 2025-06-15T15:00:00Z";
    let output = world.output(&format!("{MIGRATE} {since}")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("2025-06-15T15:00:00Z"), "{}", text(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrongly_ends_with_2_and_what_fails_with_1() {
    let world = Shop::set_up().await;
    for (code, arguments, because) in [
        (2, "migrate kcl".to_owned(), "--lease-table"),
        (2, format!("{MIGRATE} --source nobody"), "has no such source"),
        (2, format!("{MIGRATE} --source news"), "it is a topic, and has no stream"),
        (2, format!("{MIGRATE} --since 9999-01-01T00:00:00Z"), "it has not come yet"),
        (2, format!("{MIGRATE} --consumer a/b"), "--consumer"),
        (2, "migrate kcl --lease-table orders-app --wait 30".to_owned(), "--wait"),
        (1, "migrate kcl --lease-table nowhere --wait 1s".to_owned(), "nowhere"),
        (1, MIGRATE.to_owned(), "lease table orders-app has no lease"),
    ] {
        let output = world.output(&arguments).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert!(said.contains(because), "{arguments}: {said}");
    }
}

/// A world with the lease table of an application.
struct Shop(World);

impl Deref for Shop {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl Shop {
    async fn set_up() -> Self {
        let world = World::set_up().await;
        world.database.create_table(LEASES, "leaseKey", None, None).await;
        Self(world)
    }

    /// The orders that are in the read model.
    async fn rows(&self) -> BTreeSet<String> {
        let rows = self.database.scan_all("Rows").await;
        rows.iter().map(|row| row["orderId"].as_str().unwrap().to_owned()).collect()
    }

    /// The ids of all shards, oldest first.
    async fn shards(&self) -> Vec<String> {
        let arn = self.database.stream_arn("Orders").await;
        let described = self.database.perform("DescribeStream", json!({ "StreamArn": arn })).await;
        let shards = described["StreamDescription"]["Shards"].as_array().unwrap().clone();
        shards.iter().map(|shard| shard["ShardId"].as_str().unwrap().to_owned()).collect()
    }

    /// The records of a shard: their sequence numbers and orders.
    async fn records(&self, shard: &str) -> Vec<(String, String)> {
        let arn = self.database.stream_arn("Orders").await;
        let ask = json!({ "StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
        let iterator = self.database.perform("GetShardIterator", ask).await;
        let page = self.database.perform("GetRecords", iterator).await;
        let record = |record: &Value| {
            let change = &record["dynamodb"];
            let order = change["Keys"]["orderId"]["S"].as_str().unwrap();
            (change["SequenceNumber"].as_str().unwrap().to_owned(), order.to_owned())
        };
        page["Records"].as_array().expect("a page has records").iter().map(record).collect()
    }

    /// A lease as KCL 3 writes it.
    async fn lease(&self, shard: &str, checkpoint: &str) {
        let row = json!({
            "leaseKey": shard,
            "leaseOwner": WORKER,
            "leaseCounter": 7,
            "checkpoint": checkpoint,
            "checkpointSubSequenceNumber": 0,
            "ownerSwitchesSinceCheckpoint": 0,
            "startingHashKey": "0",
            "endingHashKey": "1",
            "throughputKBps": 0.5,
            "entityType": "LEASE",
        });
        self.database.put(LEASES, row).await;
    }

    async fn renew(&self, shard: &str, counter: u64) {
        let update = json!({
            "TableName": LEASES,
            "Key": { "leaseKey": { "S": shard } },
            "UpdateExpression": "SET leaseCounter = :counter",
            "ExpressionAttributeValues": { ":counter": { "N": counter.to_string() } },
        });
        self.database.perform("UpdateItem", update).await;
    }
}

fn name(order: u32) -> String {
    format!("order-{order:04}")
}
