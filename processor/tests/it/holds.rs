//! Held keys: later events of a key wait behind its letter, in order, and other keys do not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodbstreams::types::Record;
use millstream_processor::holds::{Holds, LedgerHolds, Released};
use millstream_processor::letters::{Letter, LetterState};
use millstream_processor::projections::{KeyDigest, ProjectionName, Version};
use millstream_processor::wiring::Aws;
use millstream_test_support::faults::{Fault, Rule};
use millstream_test_support::lambda_event;
use serde_json::{Value, json};

use crate::world::{World, sequence};

const COMPANIES: &str = r#"
[source.companies]
table = "Company"

[projection.changed]
kind = "emit"
from = "companies"
where = "new.open"
topic = "arn:aws:sns:eu-west-1:000000000000:changed"
include = ["name"]
"#;

async fn companies() -> (World, String) {
    let world = World::new(COMPANIES).await;
    world.source("Company", "id").await;
    let topic = world.topics.create("changed");
    (world, topic)
}

async fn put(world: &World, id: &str, name: &str) {
    world.db.put("Company", json!({ "id": id, "name": name, "open": true })).await;
}

/// An item that `where` cannot judge.
async fn poison(world: &World, id: &str) {
    world.db.put("Company", json!({ "id": id, "name": "poison" })).await;
}

fn names(world: &World, topic: &str) -> Vec<String> {
    let published = world.topics.published(topic);
    let events =
        published.iter().map(|message| serde_json::from_str::<Value>(&message.message).expect("JSON"));
    events.filter_map(|event| event["data"]["new"]["name"]["S"].as_str().map(str::to_owned)).collect()
}

fn states(letters: &[Letter]) -> Vec<LetterState> {
    let mut by_version: Vec<_> =
        letters.iter().map(|letter| (&letter.head.version, letter.head.state)).collect();
    by_version.sort();
    by_version.into_iter().map(|(_, state)| state).collect()
}

fn holds(world: &World) -> LedgerHolds {
    let aws = Aws::from_config(world.db.sdk_config());
    LedgerHolds::new(aws.dynamodb(), world.config.state.ledger_table().into())
}

fn projection() -> ProjectionName {
    ProjectionName::new("changed").expect("a name")
}

fn subject(letter: &Letter) -> (KeyDigest, Version) {
    let digest = letter.head.digest.as_deref().and_then(KeyDigest::from_text).expect("a digest");
    (digest, Version::from_text(letter.head.version.as_deref().expect("a version")))
}

#[tokio::test]
async fn later_changes_of_the_key_wait_behind_its_letter_and_other_keys_do_not() {
    let (world, topic) = companies().await;
    put(&world, "c1", "one 1").await;
    poison(&world, "c1").await;
    put(&world, "c1", "one 2").await;
    put(&world, "c2", "two 1").await;
    put(&world, "c1", "one 3").await;
    world.deliver_all("Company").await;
    assert_eq!(names(&world, &topic), ["one 1", "two 1"]);
    assert_eq!(states(&world.letters().await), [LetterState::Open, LetterState::Held, LetterState::Held]);

    // Of a later batch too.
    let seen = world.db.read_stream("Company").await.len();
    put(&world, "c1", "one 4").await;
    put(&world, "c2", "two 2").await;
    let records = world.db.read_stream("Company").await;
    world.deliver("Company", &records[seen..]).await;
    assert_eq!(names(&world, &topic), ["one 1", "two 1", "two 2"]);
    assert_eq!(world.letters().await.len(), 4);
}

#[tokio::test]
async fn what_is_held_comes_again_without_being_counted_twice() {
    let (world, topic) = companies().await;
    poison(&world, "c1").await;
    put(&world, "c1", "one").await;
    put(&world, "c1", "two").await;
    for _ in 0..3 {
        world.deliver_all("Company").await;
    }
    let letters = world.letters().await;
    assert_eq!(states(&letters), [LetterState::Open, LetterState::Held, LetterState::Held]);
    let (key, _) = subject(&letters[0]);
    let held = holds(&world).look(&projection(), key).await.expect("the ledger").expect("held");
    assert_eq!(held.changes, 3);
    assert!(names(&world, &topic).is_empty());
}

#[tokio::test]
async fn a_key_that_was_let_go_flows_again() {
    let (world, topic) = companies().await;
    poison(&world, "c1").await;
    put(&world, "c1", "one").await;
    world.deliver_all("Company").await;
    let letters = world.letters().await;
    let mut versions: Vec<_> = letters.iter().map(|letter| subject(letter).1).collect();
    versions.sort();
    let (key, _) = subject(&letters[0]);
    let holds = holds(&world);
    let released = holds.release(&projection(), key, &versions[0]).await.expect("the ledger");
    assert_eq!(released, Released::More, "one waits still");
    let released = holds.release(&projection(), key, &versions[1]).await.expect("the ledger");
    assert_eq!(released, Released::Free);
    let seen = world.db.read_stream("Company").await.len();
    put(&world, "c1", "two").await;
    let records = world.db.read_stream("Company").await;
    world.deliver("Company", &records[seen..]).await;
    assert_eq!(names(&world, &topic), ["two"]);
}

#[tokio::test]
async fn an_event_that_sns_refuses_holds_its_key() {
    let (world, topic) = companies().await;
    put(&world, "c1", &"x".repeat(300_000)).await;
    put(&world, "c1", "after it").await;
    put(&world, "c2", "beside it").await;
    world.deliver_all("Company").await;
    assert_eq!(names(&world, &topic), ["beside it"]);
    assert_eq!(states(&world.letters().await), [LetterState::Open, LetterState::Held]);
}

#[tokio::test]
async fn the_change_itself_may_be_tried_again_and_frees_its_key() {
    let (world, topic) = companies().await;
    put(&world, "c1", "one").await;
    let refuse =
        Fault::FailEntries { containing: "one".to_owned(), code: "InvalidParameter", sender_fault: true };
    world.topics.faults().add(Rule::on("PublishBatch", refuse).first(1));
    world.deliver_all("Company").await;
    assert!(names(&world, &topic).is_empty());
    // The same record comes again, and its cause has gone.
    world.deliver_all("Company").await;
    assert!(world.letters().await.is_empty(), "a replay must not publish it again, after later ones");
    put(&world, "c1", "two").await;
    let records = world.db.read_stream("Company").await;
    world.deliver("Company", &records[1..]).await;
    assert_eq!(names(&world, &topic), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_is_down_leaves_the_change_unfinished_and_publishes_nothing_out_of_order() {
    let (world, topic) = companies().await;
    poison(&world, "c1").await;
    put(&world, "c1", "one").await;
    let records = world.db.read_stream("Company").await;
    let ledger = world.config.state.ledger_table();
    for operation in ["GetItem", "TransactWriteItems"] {
        let rule = world.db.faults().add(Rule::on(operation, Fault::Unavailable).table(&ledger));
        assert_eq!(
            world.report("Company", &records).await.as_deref(),
            Some(sequence(&records[0])),
            "{operation}"
        );
        assert!(names(&world, &topic).is_empty(), "{operation}");
        world.db.faults().remove(rule);
    }
    world.deliver("Company", &records).await;
    assert_eq!(world.letters().await.len(), 2);
}

#[tokio::test]
async fn too_many_held_changes_stop_the_shard_and_drop_nothing() {
    let (world, _) = companies().await;
    poison(&world, "c1").await;
    for round in 0..4 {
        put(&world, "c1", &format!("one {round}")).await;
    }
    poison(&world, "c2").await;
    let records = world.db.read_stream("Company").await;
    assert_eq!(limited(&world, &records[..5], 8, 3).await, sequence(&records[3]), "the fourth of the key");
    assert_eq!(limited(&world, &records[5..], 1, 3).await, sequence(&records[5]), "the second key");
    // With room for them, all of it is taken.
    world.deliver("Company", &records).await;
    assert_eq!(world.letters().await.len(), 6);
}

/// Delivers to a host with little room for held keys; gives the lowest unfinished record.
async fn limited(world: &World, records: &[Record], keys: u64, changes: u64) -> String {
    let arn = world.db.stream_arn("Company").await;
    let mut host = world.host();
    host.pipeline.holds = Arc::new(holds(world).with_limits(keys, changes));
    let event = lambda_event::event(&arn, records);
    let deadline = SystemTime::now() + Duration::from_secs(60);
    match host.handle(event.to_string().into(), deadline).await {
        Ok(response) => response.batch_item_failures[0].item_identifier.clone(),
        // Nothing at all was done: the whole batch comes again, from its first record on.
        Err(error) => {
            assert!(error.to_string().contains("wait behind letters"), "{error}");
            sequence(&records[0]).to_owned()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_at_any_request_leaves_every_change_published_or_waiting_in_order() {
    for after in [false, true] {
        for request in 1..14 {
            let (world, topic) = companies().await;
            put(&world, "c1", "before").await;
            poison(&world, "c1").await;
            put(&world, "c1", "after").await;
            let records = world.db.read_stream("Company").await;
            let fault = if after { Fault::CrashAfter } else { Fault::Crash };
            world.db.faults().add(Rule::any(fault).nth(request));
            let arn = world.db.stream_arn("Company").await;
            let event = lambda_event::event(&arn, &records);
            tokio::select! {
                answer = world.invoke(event) => drop(answer),
                () = world.db.faults().crashed() => world.db.faults().revive(),
            }
            world.db.faults().clear();
            world.deliver("Company", &records).await;
            let names = names(&world, &topic);
            assert!(names.iter().all(|name| name == "before") && !names.is_empty(), "{names:?} at {request}");
            assert_eq!(
                states(&world.letters().await),
                [LetterState::Open, LetterState::Held],
                "at {request}"
            );
        }
    }
}
