//! Held keys: later events of a key wait behind its letter, in order, and other keys do not.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodbstreams::types::Record;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_processor::holds::{self, Freed, Held, Holding, Holds, LedgerHolds, OrderedKey};
use millstream_processor::letters::{Closing, Letter, LetterState, LetterStore};
use millstream_processor::outcome::{Fault as Refusal, FaultKind};
use millstream_processor::projections::{KeyDigest, ProjectionName, SourceName, Version};
use millstream_processor::wiring::{self, Aws};
use millstream_test_support::faults::{Fault, Rule};
use millstream_test_support::lambda_event;
use serde_json::{Value, json};
use tokio::sync::Notify;

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

fn store(world: &World) -> Arc<dyn LetterStore> {
    let aws = Aws::from_config(world.db.sdk_config());
    wiring::letters(&world.config, &aws, world.clock.clone())
}

fn key_of(letter: &Letter) -> OrderedKey {
    OrderedKey {
        source: SourceName::new("companies").expect("a name"),
        projection: ProjectionName::new("changed").expect("a name"),
        digest: letter.head.digest.as_deref().and_then(KeyDigest::from_text).expect("a digest"),
    }
}

/// The versions of the letters, in their order.
fn versions(letters: &[Letter]) -> Vec<Version> {
    let version = |letter: &Letter| Version::from_text(letter.head.version.as_deref().expect("a version"));
    let mut versions: Vec<Version> = letters.iter().map(version).collect();
    versions.sort();
    versions
}

async fn close(world: &World, key: &OrderedKey, version: &Version, state: LetterState) {
    let closing = Closing { state, at: 0, by: "kim".to_owned(), reason: "a test".to_owned() };
    let closed = store(world).close(&key.letter(version), 0, &closing).await.expect("the store");
    assert!(closed, "it waited");
}

async fn let_go(world: &World, key: &OrderedKey) -> Freed {
    holds::let_go(&holds(world), &*store(world), key).await.expect("the ledger")
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
    let held = holds(&world).look(&key_of(&letters[0])).await.expect("the ledger").expect("held");
    assert_eq!(held.versions().cloned().collect::<Vec<_>>(), versions(&letters));
    assert!(names(&world, &topic).is_empty());
}

#[tokio::test]
async fn a_key_that_was_let_go_flows_again() {
    let (world, topic) = companies().await;
    poison(&world, "c1").await;
    put(&world, "c1", "one").await;
    world.deliver_all("Company").await;
    let letters = world.letters().await;
    let (key, versions) = (key_of(&letters[0]), versions(&letters));
    close(&world, &key, &versions[1], LetterState::Replayed).await;
    assert_eq!(let_go(&world, &key).await, Freed::Waits, "the first waits still");
    close(&world, &key, &versions[0], LetterState::Replayed).await;
    assert_eq!(let_go(&world, &key).await, Freed::Free);
    assert_eq!(let_go(&world, &key).await, Freed::Free, "it may be done twice");
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

#[tokio::test]
async fn a_letter_that_was_edited_is_not_closed_by_its_change_that_goes_through() {
    let (world, topic) = companies().await;
    refuse(&world, "one", 1);
    put(&world, "c1", "one").await;
    put(&world, "c1", "two").await;
    world.deliver_all("Company").await;
    let letters = world.letters().await;
    let (key, versions) = (key_of(&letters[0]), versions(&letters));
    let id = key.letter(&versions[0]);
    assert!(store(&world).edit(&id, 0, &"{}".into()).await.expect("the store"));
    world.deliver_all("Company").await;
    assert_eq!(names(&world, &topic), ["one"]);
    assert_eq!(state(&world, &key, &versions[0]).await, Some(LetterState::Open));
    assert_eq!(held(&world, &key).await.map(|held| held.changes()), Some(2));
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
        for request in 1..20 {
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

/// The event of this name is refused the first times.
fn refuse(world: &World, name: &str, times: usize) {
    let refuse =
        Fault::FailEntries { containing: name.to_owned(), code: "InvalidParameter", sender_fault: true };
    world.topics.faults().add(Rule::on("PublishBatch", refuse).first(times));
}

async fn held(world: &World, key: &OrderedKey) -> Option<Held> {
    holds(world).look(key).await.expect("the ledger")
}

async fn state(world: &World, key: &OrderedKey, version: &Version) -> Option<LetterState> {
    store(world).state(&key.letter(version)).await.expect("the store")
}

#[tokio::test]
async fn what_has_had_its_turn_is_done_when_it_comes_again() {
    for closed in [LetterState::Replayed, LetterState::Discarded] {
        let (world, topic) = companies().await;
        refuse(&world, "one", 1);
        for name in ["one", "two", "three"] {
            put(&world, "c1", name).await;
        }
        world.deliver_all("Company").await;
        let letters = world.letters().await;
        let (key, versions) = (key_of(&letters[0]), versions(&letters));
        for version in &versions[..2] {
            close(&world, &key, version, closed).await;
        }
        let before = held(&world, &key).await.expect("the third waits");
        // The cause has gone: the first would go through, after what was replayed or although it was discarded.
        world.deliver_all("Company").await;
        assert!(names(&world, &topic).is_empty());
        assert_eq!(held(&world, &key).await.map(|held| held.later), Some(before.later));
        let mut states = Vec::new();
        for version in &versions {
            states.push(state(&world, &key, version).await);
        }
        assert_eq!(states, [Some(closed), Some(closed), Some(LetterState::Held)]);
    }
}

#[tokio::test]
async fn a_discarded_change_that_fails_again_holds_nothing() {
    let (world, topic) = companies().await;
    poison(&world, "c1").await;
    world.deliver_all("Company").await;
    let letters = world.letters().await;
    let (key, versions) = (key_of(&letters[0]), versions(&letters));
    close(&world, &key, &versions[0], LetterState::Discarded).await;
    assert_eq!(let_go(&world, &key).await, Freed::Free);
    put(&world, "c1", "one").await;
    let records = world.db.read_stream("Company").await;
    // What is behind it in one batch cannot know yet that nothing has to wait.
    assert_eq!(world.report("Company", &records).await.as_deref(), Some(sequence(&records[1])));
    assert_eq!(held(&world, &key).await, None);
    assert_eq!(state(&world, &key, &versions[0]).await, Some(LetterState::Discarded));
    world.deliver("Company", &records[1..]).await;
    assert_eq!(names(&world, &topic), ["one"]);
}

#[tokio::test]
async fn a_key_that_nothing_waits_behind_is_freed_by_what_comes_again() {
    let (world, topic) = companies().await;
    poison(&world, "c1").await;
    put(&world, "c1", "one").await;
    world.deliver_all("Company").await;
    let letters = world.letters().await;
    let key = key_of(&letters[0]);
    // Whoever closed them died before the key was free.
    for version in versions(&letters) {
        close(&world, &key, &version, LetterState::Replayed).await;
    }
    world.deliver_all("Company").await;
    assert_eq!(held(&world, &key).await, None);
    let seen = world.db.read_stream("Company").await.len();
    put(&world, "c1", "two").await;
    let records = world.db.read_stream("Company").await;
    world.deliver("Company", &records[seen..]).await;
    assert_eq!(names(&world, &topic), ["two"]);
}

#[tokio::test]
async fn a_change_that_goes_through_although_its_letter_never_came_frees_its_key() {
    let (world, topic) = companies().await;
    refuse(&world, "one", 1);
    put(&world, "c1", "one").await;
    let records = world.db.read_stream("Company").await;
    let letters = world.config.state.letters_table();
    world.db.faults().add(Rule::on("PutItem", Fault::Crash).table(&letters));
    let arn = world.db.stream_arn("Company").await;
    tokio::select! {
        answer = world.invoke(lambda_event::event(&arn, &records)) => panic!("{answer:?}"),
        () = world.db.faults().crashed() => world.db.faults().revive(),
    }
    world.db.faults().clear();
    let projection = ProjectionName::new("changed").expect("a name");
    assert_eq!(holds(&world).keys(&projection).await.expect("the ledger").len(), 1);
    world.deliver("Company", &records).await;
    assert_eq!(names(&world, &topic), ["one"]);
    assert!(holds(&world).keys(&projection).await.expect("the ledger").is_empty());
}

#[tokio::test]
async fn versions_that_do_not_fit_into_a_row_stop_the_shard() {
    let (world, _) = companies().await;
    poison(&world, "c1").await;
    world.deliver_all("Company").await;
    let key = key_of(&world.letters().await[0]);
    let long = |letter: &str| Version::from_text(&format!("3{}", letter.repeat(100 * 1024)));
    let holds = holds(&world);
    for version in [long("a"), long("b")] {
        assert_eq!(holds.hold(&key, &version, true, 0).await, Ok(Holding::Held));
    }
    let refused = holds.hold(&key, &long("c"), true, 0).await.expect_err("256 KB are full");
    assert_eq!(refused.kind, FaultKind::Misconfigured, "{refused}");
    assert_eq!(held(&world, &key).await.map(|held| held.changes()), Some(3));
}

/// Where in the work of a process something else happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    BeforeHold,
    AfterHold,
    BeforeTouch,
    BeforeRelease,
}

/// The ledger's holds, with what happens meanwhile elsewhere, once each.
struct Meanwhile {
    inner: LedgerHolds,
    events: Mutex<Vec<(Step, BoxFuture<'static, ()>)>>,
}

impl Meanwhile {
    fn new(world: &World) -> Self {
        Self { inner: holds(world), events: Mutex::default() }
    }

    fn at(self, step: Step, event: impl Future<Output = ()> + Send + 'static) -> Self {
        self.events.lock().expect("no panic").push((step, event.boxed()));
        self
    }

    async fn reach(&self, step: Step) {
        let event = {
            let mut events = self.events.lock().expect("no panic");
            let place = events.iter().position(|(at, _)| *at == step);
            place.map(|place| events.remove(place).1)
        };
        if let Some(event) = event {
            event.await;
        }
    }
}

impl Holds for Meanwhile {
    fn keys<'a>(
        &'a self,
        projection: &'a ProjectionName,
    ) -> BoxFuture<'a, Result<std::collections::HashSet<KeyDigest>, Refusal>> {
        self.inner.keys(projection)
    }

    fn look<'a>(&'a self, key: &'a OrderedKey) -> BoxFuture<'a, Result<Option<Held>, Refusal>> {
        self.inner.look(key)
    }

    fn hold<'a>(
        &'a self,
        key: &'a OrderedKey,
        version: &'a Version,
        behind: bool,
        at: u64,
    ) -> BoxFuture<'a, Result<Holding, Refusal>> {
        async move {
            self.reach(Step::BeforeHold).await;
            let held = self.inner.hold(key, version, behind, at).await;
            self.reach(Step::AfterHold).await;
            held
        }
        .boxed()
    }

    fn touch<'a>(
        &'a self,
        key: &'a OrderedKey,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<Holding, Refusal>> {
        async move {
            self.reach(Step::BeforeTouch).await;
            self.inner.touch(key, version).await
        }
        .boxed()
    }

    fn release<'a>(&'a self, key: &'a OrderedKey, seen: &'a Held) -> BoxFuture<'a, Result<bool, Refusal>> {
        async move {
            self.reach(Step::BeforeRelease).await;
            self.inner.release(key, seen).await
        }
        .boxed()
    }

    fn forget<'a>(
        &'a self,
        key: &'a OrderedKey,
        seen: &'a Held,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, Refusal>> {
        self.inner.forget(key, seen, version)
    }
}

/// One change of a key is a letter, and is refused again when it comes again.
async fn refused_twice() -> (Arc<World>, String, OrderedKey, Version) {
    let (world, topic) = companies().await;
    refuse(&world, "one", 2);
    put(&world, "c1", "one").await;
    world.deliver_all("Company").await;
    let letters = world.letters().await;
    let (key, version) = (key_of(&letters[0]), versions(&letters).remove(0));
    (Arc::new(world), topic, key, version)
}

/// An operator closes the letter, and lets the key go.
async fn closes(world: Arc<World>, key: OrderedKey, version: Version, state: LetterState) {
    close(&world, &key, &version, state).await;
    assert_eq!(let_go(&world, &key).await, Freed::Free);
}

/// Delivers everything to a worker to which something happens; all of it has to be done.
async fn deliver_with(world: &World, meanwhile: Meanwhile) {
    let mut host = world.host();
    host.pipeline.holds = Arc::new(meanwhile);
    let records = world.db.read_stream("Company").await;
    let event = lambda_event::event(&world.db.stream_arn("Company").await, &records);
    let deadline = SystemTime::now() + Duration::from_secs(60);
    let answer = host.handle(event.to_string().into(), deadline).await.expect("an answer");
    assert!(answer.batch_item_failures.is_empty(), "{answer:?}");
}

#[tokio::test]
async fn a_letter_that_is_discarded_before_it_is_stored_again_leaves_its_key_free() {
    for step in [Step::BeforeHold, Step::AfterHold] {
        let (world, topic, key, version) = refused_twice().await;
        let discards = closes(world.clone(), key.clone(), version.clone(), LetterState::Discarded);
        deliver_with(&world, Meanwhile::new(&world).at(step, discards)).await;
        assert_eq!(state(&world, &key, &version).await, Some(LetterState::Discarded), "{step:?}");
        assert_eq!(held(&world, &key).await, None, "{step:?}");
        put(&world, "c1", "two").await;
        let records = world.db.read_stream("Company").await;
        world.deliver("Company", &records[1..]).await;
        assert_eq!(names(&world, &topic), ["two"], "{step:?}");
    }
}

#[tokio::test]
async fn a_letter_that_waits_again_after_its_key_was_let_go_holds_it_again() {
    let (world, topic, key, version) = refused_twice().await;
    let replays = closes(world.clone(), key.clone(), version.clone(), LetterState::Replayed);
    deliver_with(&world, Meanwhile::new(&world).at(Step::AfterHold, replays)).await;
    assert_eq!(state(&world, &key, &version).await, Some(LetterState::Open));
    let held = held(&world, &key).await.expect("a letter that waits holds its key");
    assert!(held.contains(&version));
    put(&world, "c1", "two").await;
    let records = world.db.read_stream("Company").await;
    world.deliver("Company", &records[1..]).await;
    assert!(names(&world, &topic).is_empty());
}

#[tokio::test]
async fn a_letter_that_is_replayed_between_store_and_touch_leaves_its_key_free() {
    let (world, topic, key, version) = refused_twice().await;
    let replays = closes(world.clone(), key.clone(), version.clone(), LetterState::Replayed);
    deliver_with(&world, Meanwhile::new(&world).at(Step::BeforeTouch, replays)).await;
    assert_eq!(state(&world, &key, &version).await, Some(LetterState::Replayed));
    assert_eq!(held(&world, &key).await, None);
    put(&world, "c1", "two").await;
    let records = world.db.read_stream("Company").await;
    world.deliver("Company", &records[1..]).await;
    assert_eq!(names(&world, &topic), ["two"]);
}

#[tokio::test]
async fn who_saw_a_letter_closed_that_waits_again_does_not_let_its_key_go() {
    let (world, _, key, version) = refused_twice().await;
    let [worker_holds, operator_looked, worker_done] = std::array::from_fn(|_| Arc::new(Notify::new()));
    let waits = {
        let (holds, looked) = (worker_holds.clone(), operator_looked.clone());
        async move {
            holds.notify_one();
            looked.notified().await;
        }
    };
    let worker = async {
        deliver_with(&world, Meanwhile::new(&world).at(Step::AfterHold, waits)).await;
        worker_done.notify_one();
    };
    let operator = async {
        worker_holds.notified().await;
        close(&world, &key, &version, LetterState::Replayed).await;
        let (looked, done) = (operator_looked.clone(), worker_done.clone());
        let waits = async move {
            looked.notify_one();
            done.notified().await;
        };
        let holds = Meanwhile::new(&world).at(Step::BeforeRelease, waits);
        holds::let_go(&holds, &*store(&world), &key).await.expect("the ledger")
    };
    let ((), freed) = tokio::join!(worker, operator);
    assert_eq!(freed, Freed::Waits);
    assert_eq!(state(&world, &key, &version).await, Some(LetterState::Open));
    assert!(held(&world, &key).await.is_some_and(|held| held.contains(&version)));
}

#[tokio::test]
async fn what_comes_to_be_held_while_a_key_is_let_go_keeps_it() {
    let (world, topic) = companies().await;
    poison(&world, "c1").await;
    world.deliver_all("Company").await;
    let letters = world.letters().await;
    let (key, versions) = (key_of(&letters[0]), versions(&letters));
    close(&world, &key, &versions[0], LetterState::Replayed).await;
    let [operator_looked, worker_done] = std::array::from_fn(|_| Arc::new(Notify::new()));
    let waits = {
        let (looked, done) = (operator_looked.clone(), worker_done.clone());
        async move {
            looked.notify_one();
            done.notified().await;
        }
    };
    let meanwhile = Meanwhile::new(&world).at(Step::BeforeRelease, waits);
    let letters = store(&world);
    let worker = async {
        operator_looked.notified().await;
        put(&world, "c1", "one").await;
        let records = world.db.read_stream("Company").await;
        world.deliver("Company", &records[1..]).await;
        worker_done.notify_one();
    };
    let (freed, ()) = tokio::join!(holds::let_go(&meanwhile, &*letters, &key), worker);
    let freed = freed.expect("the ledger");
    assert_eq!(freed, Freed::Waits);
    assert_eq!(states(&world.letters().await), [LetterState::Held]);
    assert!(names(&world, &topic).is_empty());
}

#[tokio::test]
async fn a_damaged_letter_holds_its_own_key_and_no_other() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let letters = directory.path().join("letters");
    let world = World::new(&format!("{COMPANIES}[letters]\nstore = {{ directory = {letters:?} }}\n")).await;
    world.source("Company", "id").await;
    let topic = world.topics.create("changed");
    poison(&world, "c1").await;
    world.deliver_all("Company").await;
    let first = world.letters().await.remove(0).head;
    let file = letters.join(format!("{}.json", first.id));
    std::fs::write(&file, "scribble").expect("it can be written");

    put(&world, "c1", "one").await;
    put(&world, "c2", "two").await;
    // It brings the first change again as well: that one is stored anew beside what is damaged.
    world.deliver_all("Company").await;
    assert_eq!(names(&world, &topic), ["two"]);
    let key = OrderedKey {
        source: SourceName::new("companies").expect("a name"),
        projection: ProjectionName::new("changed").expect("a name"),
        digest: first.digest.as_deref().and_then(KeyDigest::from_text).expect("a digest"),
    };
    let held = held(&world, &key).await.expect("its key waits");
    let mut states = Vec::new();
    for version in held.versions() {
        states.push(state(&world, &key, version).await);
    }
    assert_eq!(states, [Some(LetterState::Open), Some(LetterState::Held)]);

    // The turn of a letter that is closed has come, whatever is damaged behind it.
    close(&world, &key, &held.first, LetterState::Discarded).await;
    std::fs::write(letters.join(format!("{}.json", key.letter(&held.later[0]))), "scribble")
        .expect("written");
    assert_eq!(let_go(&world, &key).await, Freed::Waits);
    world.deliver("Company", &world.db.read_stream("Company").await[..1]).await;
    assert_eq!(names(&world, &topic), ["two"]);
}

#[tokio::test]
async fn a_letter_is_closed_by_its_change_although_the_store_is_throttled_once() {
    let (world, topic) = companies().await;
    refuse(&world, "one", 1);
    put(&world, "c1", "one").await;
    world.deliver_all("Company").await;
    let letters = world.letters().await;
    let (key, version) = (key_of(&letters[0]), versions(&letters).remove(0));
    let table = world.config.state.letters_table();
    let rule = world.db.faults().add(Rule::on("UpdateItem", Fault::Throttle).table(&table).first(1));
    world.deliver_all("Company").await;
    assert_eq!((names(&world, &topic), world.db.faults().fired(rule)), (vec!["one".to_owned()], 1));
    assert_eq!(state(&world, &key, &version).await, Some(LetterState::Replayed));
    assert_eq!(held(&world, &key).await, None);
}
