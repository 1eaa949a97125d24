//! Who takes over from the Kinesis Client Library: reads its leases, and writes what follows from them.

use std::time::Duration;

use millstream_processor::host::poll;
use millstream_processor::permissions::Role;
use millstream_processor::poller::kcl::{Order, Takeover};
use millstream_test_support::faults::{Fault, Rule};
use serde_json::json;

use crate::flows::Flow;
use crate::world::{Stage, THINGS};
use crate::{check, config, kind};

const LEASES: &str = "things-app";
const LISTED: &str = "shardId-00000001700000000000-00000009";
const GONE: &str = "shardId-00000001700000000000-00000004";
/// A listing that lacks the shard that there is.
const LISTING: &str = r#"{ "StreamDescription": { "Shards": [{
    "ShardId": "shardId-00000001700000000000-00000009",
    "SequenceNumberRange": { "StartingSequenceNumber": "100000000000000000000" }
}] } }"#;

const TAKEOVER: &[Flow] = &[("leases are taken over", |stage| Box::pin(takes_over(stage)))];

/// One shard is read on, though it is not listed, and one is gone.
async fn takes_over(stage: &mut Stage) {
    stage.put(json!({ "id": "a", "slot": "a", "who": "ann", "n": 1 })).await;
    let db = &stage.world.db;
    let described = db.perform("DescribeStream", json!({ "StreamArn": db.stream_arn(THINGS).await })).await;
    db.create_table(LEASES, "leaseKey", None, None).await;
    let there = described["StreamDescription"]["Shards"][0]["ShardId"].as_str().unwrap();
    for shard in [there, LISTED, GONE] {
        let lease = json!({ "leaseKey": shard, "leaseCounter": 7, "checkpoint": "TRIM_HORIZON" });
        db.put(LEASES, lease).await;
    }
    db.faults().add(Rule::on("DescribeStream", Fault::Answer(200, LISTING)));
    let (config, aws) = (&stage.world.config, stage.aws());
    let takeover = Takeover::new(config, &aws, "default".into(), stage.clock.clone());
    let order =
        Order { lease_table: LEASES.into(), wait: Duration::from_secs(1), since: None, accepts_gaps: true };
    let sources = poll::streams(config, &aws, Duration::from_millis(100)).await;
    let written = async { takeover.write(&takeover.plan(&order, &sources, async {}).await?).await };
    let written = written.await;
    assert!(written.is_ok() || !stage.authority.denied().is_empty(), "{written:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration() {
    let toml = config(&[kind("a replica that keeps its rows")]);
    check("any", &toml, Role::Migration, &["--lease-table", LEASES], &[TAKEOVER]).await;
}
