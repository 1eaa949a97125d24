//! What only pollers do: they take shards of dead workers, and go on behind what a stream forgot.

use millstream_processor::poller::settings::OnGap;
use millstream_processor::poller::state::{Session, WorkerRow};
use millstream_processor::wiring;
use serde_json::json;

use crate::flows::Flow;
use crate::world::{Stage, THINGS};

/// Every flow of its own.
pub(crate) const POLLER: &[Flow] = &[
    ("a worker dies and another takes its shard", |stage| Box::pin(takes_over(stage))),
    ("a stream forgot records", |stage| Box::pin(gap(stage))),
    ("a shard ends and has children", |stage| Box::pin(children(stage))),
    ("letters are counted", |stage| Box::pin(counted(stage))),
];

async fn takes_over(stage: &mut Stage) {
    stage.put(json!({ "id": "a", "slot": "a", "who": "ann", "n": 1 })).await;
    stage.deliver().await;
    let state = wiring::state(
        &stage.world.config,
        &stage.aws(),
        "default".into(),
        wiring::ATTEMPT_TIMEOUT,
        stage.clock.clone(),
    );
    let stream = stage.world.db.stream_arn(THINGS).await;
    let (dead, next) = (Session("dead".into()), Session("next".into()));
    let row = WorkerRow {
        session: dead.clone(),
        heartbeat: 1,
        mail: 0,
        ttl_ms: 10_000,
        draining: false,
        host: "host".into(),
        version: "0".into(),
    };
    drop(state.beat(&row).await);
    let shards = state.shards(&stream).await.unwrap_or_default();
    let Some(shard) = shards.first() else { return };
    drop(state.claim(&stream, shard, None, &dead).await);
    let shards = state.shards(&stream).await.unwrap_or_default();
    drop(state.claim(&stream, &shards[0], Some(&row), &next).await);
    drop(state.leave(&next).await);
}

async fn gap(stage: &mut Stage) {
    stage.put(json!({ "id": "a", "slot": "a", "who": "ann", "n": 1 })).await;
    stage.deliver().await;
    stage.put(json!({ "id": "b", "slot": "b", "who": "ann", "n": 1 })).await;
    stage.world.db.trim_stream(THINGS);
    stage.put(json!({ "id": "c", "slot": "c", "who": "ann", "n": 1 })).await;
    stage.poll_with("default", OnGap::Continue).await;
}

async fn children(stage: &mut Stage) {
    stage.put(json!({ "id": "a", "slot": "a", "who": "ann", "n": 1 })).await;
    stage.deliver().await;
    stage.world.db.split_shards(THINGS);
    stage.put(json!({ "id": "b", "slot": "b", "who": "ann", "n": 1 })).await;
    stage.deliver().await;
}

/// As a worker does it for its gauges, when it is its turn.
async fn counted(stage: &mut Stage) {
    drop(stage.pipeline().letters.waiting().await);
}
