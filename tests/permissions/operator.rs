//! What operators do: look, plan, edit, discard, import, and look at pollers.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use millstream_processor::host::poll;
use millstream_processor::letters::{LetterFilter, LetterHead, LetterState};
use millstream_processor::wiring;
use millstream_projections::KeyDigest;
use millstream_replay::discard::discard;
use millstream_replay::edit;
use millstream_replay::plan::plan;
use serde_json::json;

use crate::flows::{Flow, other_owners_rows};
use crate::world::{Stage, THINGS};

/// Every flow of its own.
pub(crate) const OPERATOR: &[Flow] = &[
    ("letters are listed, shown, planned, edited, discarded and logged", |stage| Box::pin(mends(stage))),
    ("records are fetched from the stream", |stage| Box::pin(fetches(stage))),
    ("pollers, queues and letters are looked at", |stage| Box::pin(looks(stage))),
];

async fn mends(stage: &mut Stage) {
    other_owners_rows(stage).await;
    for id in ["a", "b"] {
        let thing = json!({ "id": id, "slot": id, "who": "ann", "n": 1 });
        stage.put(thing).await;
    }
    // Imported, and not applied: there is something to plan.
    let records = stage.world.db.read_stream(THINGS).await;
    let arn = stage.world.db.stream_arn(THINGS).await;
    stage.import(&millstream_test_support::lambda_event::event(&arn, &records)).await;
    let desk = stage.desk();
    let letters = desk.letters();
    let list = async |filter: LetterFilter| -> Vec<LetterHead> {
        letters.list(&filter).filter_map(async |head| head.ok()).collect().await
    };
    let heads = list(LetterFilter::default()).await;
    let projection = stage.world.config.projections[0].name.clone();
    list(LetterFilter { projection: Some(projection), ..LetterFilter::default() }).await;
    let digest = heads.first().and_then(|head| KeyDigest::from_text(head.digest.as_deref()?));
    list(LetterFilter { digest, ..LetterFilter::default() }).await;
    plan(&desk, &LetterFilter::default(), false).collect::<Vec<_>>().await;
    drop(desk.lacking_keys(&LetterFilter::default(), &HashSet::new()).await);
    for head in heads {
        let Ok(Some(letter)) = letters.load(&head.id).await else { continue };
        drop(edit::replace(&desk, &letter, &edit::draft(&letter)).await);
        drop(letters.original(&head.id).await);
        drop(discard(&desk, &head.id, "not needed").await);
        assert_ne!(letters.state(&head.id).await.ok().flatten(), Some(LetterState::Open));
    }
    drop(letters.trail().try_collect::<Vec<_>>().await);
    letters.release().await;
}

async fn fetches(stage: &mut Stage) {
    stage.put(json!({ "id": "a", "slot": "a", "who": "ann", "n": 1 })).await;
    let records = stage.world.db.read_stream(THINGS).await;
    let number = records[0].dynamodb().unwrap().sequence_number().unwrap().to_owned();
    let arn = stage.world.db.stream_arn(THINGS).await;
    let described = stage.world.db.perform("DescribeStream", json!({ "StreamArn": arn })).await;
    let document = json!({
        "requestContext": { "requestId": "r", "functionArn": "arn:f", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 4 },
        "version": "1.0", "timestamp": "2025-06-15T16:00:00Z",
        "DDBStreamBatchInfo": {
            "shardId": described["StreamDescription"]["Shards"][0]["ShardId"],
            "startSequenceNumber": number, "endSequenceNumber": number,
            "approximateArrivalOfFirstRecord": "2025-06-14T12:06:40Z",
            "approximateArrivalOfLastRecord": "2025-06-14T12:06:41Z",
            "batchSize": 1, "streamArn": arn,
        },
    });
    stage.import_document(&document.to_string()).await;
}

async fn looks(stage: &mut Stage) {
    let config = &stage.world.config;
    let state =
        wiring::state(config, &stage.aws(), "default".into(), wiring::ATTEMPT_TIMEOUT, stage.clock.clone());
    drop(state.workers().await);
    for found in poll::streams(config, &stage.aws(), Duration::from_millis(100)).await {
        let Ok(stream) = found.stream else { continue };
        drop(state.shards(&stream).await);
        drop(state.gaps(&stream).await);
    }
    poll::queue_depths(config, &stage.aws()).await;
    drop(stage.pipeline().letters.waiting().await);
}
