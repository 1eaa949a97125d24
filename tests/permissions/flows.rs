//! What happens to the things of a config, whoever brings their changes: each flow makes some requests that no other makes.

use futures_util::future::BoxFuture;
use millstream_projections::config::Kind;
use millstream_projections::kinds::copy::Rows;
use millstream_test_support::faults::{Fault, Rule};
use serde_json::json;

use crate::world::{Stage, THINGS};

/// Something that happens, with its name.
pub(crate) type Flow = (&'static str, for<'a> fn(&'a mut Stage) -> BoxFuture<'a, ()>);

/// Every flow that begins with a change of a table.
pub(crate) const CHANGES: &[Flow] = &[
    ("a thing comes, changes and goes", |stage| Box::pin(comes_changes_goes(stage))),
    ("a row changes hands", |stage| Box::pin(changes_hands(stage))),
    ("a record is poison until it is mended", |stage| Box::pin(poison(stage))),
    ("the table refuses a write", |stage| Box::pin(refused(stage))),
    ("a totals row was deleted by hand", |stage| Box::pin(totals_gone(stage))),
    ("an event fails, and goes through when it comes again", |stage| Box::pin(held(stage))),
];

fn thing(id: &str, number: i64) -> serde_json::Value {
    json!({ "id": id, "slot": id, "who": "ann", "n": number, "text": format!("text {number}") })
}

async fn comes_changes_goes(stage: &mut Stage) {
    other_owners_rows(stage).await;
    stage.put(thing("a", 1)).await;
    stage.put(thing("b", 2)).await;
    stage.deliver().await;
    stage.put(thing("a", 3)).await;
    stage.deliver().await;
    let mut moved = thing("b", 2);
    (moved["slot"], moved["who"]) = (json!("elsewhere"), json!("bob"));
    stage.put(moved).await;
    stage.deliver().await;
    // Rows that were made since the copies were.
    other_owners_rows(stage).await;
    stage.delete("a").await;
    stage.delete("b").await;
    stage.deliver().await;
}

/// A copy only goes to rows that are there.
pub(crate) async fn other_owners_rows(stage: &Stage) {
    for projection in &stage.world.config.projections {
        let Kind::Copy(copy) = &projection.kind else { continue };
        for id in ["a", "b"] {
            let (name, _) = &copy.rows.key()[0];
            let mut row = json!({ "row": format!("row of {id}") });
            row[&**name] = json!(id);
            if matches!(copy.rows, Rows::One(_)) {
                row.as_object_mut().unwrap().remove("row");
            }
            stage.world.db.put(&copy.table, row).await;
        }
    }
}

async fn changes_hands(stage: &mut Stage) {
    for id in ["a", "b"] {
        let mut thing = thing(id, 1);
        thing["slot"] = json!("the same");
        stage.put(thing).await;
        stage.deliver().await;
    }
    stage.delete("a").await;
    stage.deliver().await;
}

async fn poison(stage: &mut Stage) {
    let mut poison = thing("a", 1);
    poison.as_object_mut().unwrap().remove("n");
    stage.put(poison).await;
    stage.deliver().await;
    // Where an order is kept, this one waits.
    stage.put(thing("a", 1)).await;
    stage.deliver().await;
    stage.deliver_again().await;
}

async fn refused(stage: &mut Stage) {
    let targets: Vec<String> =
        stage.world.config.projections.iter().map(|it| it.kind.resource().to_string()).collect();
    other_owners_rows(stage).await;
    for table in &targets {
        for operation in ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"] {
            stage.world.db.faults().add(Rule::on(operation, Fault::Validation).table(table));
        }
    }
    stage.put(thing("a", 1)).await;
    stage.deliver().await;
    stage.world.db.faults().clear();
    stage.deliver_again().await;
}

async fn totals_gone(stage: &mut Stage) {
    stage.put(thing("a", 1)).await;
    stage.deliver().await;
    for projection in &stage.world.config.projections {
        if let Kind::Aggregate(aggregate) = &projection.kind {
            stage.world.db.delete(&aggregate.table, json!({ "who": "ann" })).await;
        }
    }
    stage.delete("a").await;
    stage.deliver().await;
}

async fn held(stage: &mut Stage) {
    fail_events(stage, "");
    stage.put(thing("a", 1)).await;
    stage.put(thing("b", 1)).await;
    stage.deliver().await;
    // One of them goes through, the other fails again.
    fail_events(stage, r#""S":"b""#);
    stage.deliver_again().await;
}

fn fail_events(stage: &Stage, containing: &str) {
    let containing = containing.to_owned();
    let failing = Fault::FailEntries { containing, code: "InvalidParameter", sender_fault: true };
    stage.world.topics.faults().clear();
    stage.world.topics.faults().add(Rule::on("PublishBatch", failing));
}

/// What Lambda itself does with the role of a function that reads streams, when a mapping is made and while it polls.
pub(crate) const STREAM_MAPPING: &[Flow] = &[("Lambda polls the stream", |stage| Box::pin(polls(stage)))];

async fn polls(stage: &mut Stage) {
    stage.put(thing("a", 1)).await;
    let (streams, arn) = (stage.aws().streams(), stage.world.db.stream_arn(THINGS).await);
    // Lambda refuses to make the mapping for a role that may not do all four.
    drop(streams.list_streams().table_name(THINGS).send().await);
    let Ok(described) = streams.describe_stream().stream_arn(&arn).send().await else { return };
    let shards = described.stream_description.unwrap().shards.unwrap();
    let iterator = streams.get_shard_iterator().stream_arn(&arn).set_shard_id(shards[0].shard_id.clone());
    let iterator = iterator.shard_iterator_type("TRIM_HORIZON".into()).send().await;
    let Ok(iterator) = iterator else { return };
    drop(streams.get_records().set_shard_iterator(iterator.shard_iterator).send().await);
}
