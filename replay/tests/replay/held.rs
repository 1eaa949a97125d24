//! Held keys when something goes wrong: lists with gaps, letters that never came, others at work in the same moment.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::BoxStream;
use millstream_processor::letters::{
    AuditEntry, Closing, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore, Stored,
};
use millstream_processor::outcome::{Fault as Refusal, FaultKind};
use millstream_processor::sink::{Entry, TopicSink};
use millstream_replay::apply::{Brake, Outcome, Pace, Progress, Selection, apply};
use millstream_replay::desk::Desk;
use millstream_replay::discard::{Discarded, discard};
use millstream_replay::edit;
use millstream_test_support::faults::{Fault, Rule};
use serde_json::json;

use crate::world::{EVENTS, World, all, apply_all, mended_events};

async fn put(world: &World, n: u64) {
    let mut order = json!({ "orderId": "o1", "n": n });
    if n > 1 {
        order["status"] = json!("PAID");
    }
    world.db.put("Orders", order).await;
}

/// v1 failed, v2 and v3 wait behind it.
async fn held(world: &World) {
    for n in 1..=3 {
        put(world, n).await;
    }
    world.deliver(EVENTS).await;
    assert!(world.published().is_empty());
}

/// The letters in the order of their versions.
async fn letters(world: &World) -> Vec<Letter> {
    let mut letters = world.letters(&LetterState::ALL).await;
    letters.sort_by(|a, b| a.head.version.cmp(&b.head.version));
    letters
}

/// A store whose lists miss letters, as an index does that lags behind.
struct Lagging {
    inner: Arc<dyn LetterStore>,
    unseen: HashSet<LetterId>,
}

impl LetterStore for Lagging {
    fn store<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<Stored, Refusal>> {
        self.inner.store(letter)
    }

    fn list<'a>(&'a self, filter: &'a LetterFilter) -> BoxStream<'a, Result<LetterHead, Refusal>> {
        let seen = |head: &LetterHead| !self.unseen.contains(&head.id);
        self.inner.list(filter).filter(move |head| std::future::ready(head.as_ref().is_ok_and(seen))).boxed()
    }

    fn load<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Letter>, Refusal>> {
        self.inner.load(id)
    }

    fn close<'a>(
        &'a self,
        id: &'a LetterId,
        seen: u32,
        closing: &'a Closing,
    ) -> BoxFuture<'a, Result<bool, Refusal>> {
        self.inner.close(id, seen, closing)
    }

    fn edit<'a>(
        &'a self,
        id: &'a LetterId,
        seen: u32,
        record: &'a Bytes,
    ) -> BoxFuture<'a, Result<bool, Refusal>> {
        self.inner.edit(id, seen, record)
    }

    fn original<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Bytes>, Refusal>> {
        self.inner.original(id)
    }

    fn audit<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<(), Refusal>> {
        self.inner.audit(entry)
    }

    fn trail(&self) -> BoxStream<'_, Result<AuditEntry, Refusal>> {
        self.inner.trail()
    }
}

#[tokio::test]
async fn a_list_that_misses_letters_of_a_key_reorders_and_forgets_nothing() {
    for unseen in [&[1][..], &[2], &[1, 2], &[0], &[0, 1]] {
        let world = World::table().await;
        held(&world).await;
        let ids: Vec<LetterId> = letters(&world).await.into_iter().map(|letter| letter.head.id).collect();
        let mut desk = world.desk(&mended_events());
        let unseen = unseen.iter().map(|place| ids[*place].clone()).collect();
        desk.pipeline.letters = Arc::new(Lagging { inner: desk.pipeline.letters.clone(), unseen });
        apply_all(&desk).await;
        // The first failed, and was not chosen where it was not seen: nothing goes before it.
        let rest = apply_all(&world.desk(&mended_events())).await;
        assert!(rest.is_clean(), "{rest:?}");
        assert_eq!(world.published(), [1, 2, 3]);
        put(&world, 4).await;
        world.deliver_from(&mended_events(), 3).await;
        assert_eq!(world.published(), [1, 2, 3, 4]);
    }
}

#[tokio::test]
async fn a_letter_that_cannot_be_read_stops_no_key_but_its_own() {
    let [_, world] = World::each().await;
    held(&world).await;
    let files = world.letter_files().unwrap();
    std::fs::write(files.join(format!("{}.json", "0".repeat(24))), "scribble").unwrap();
    let applied = apply_all(&world.desk(&mended_events())).await;
    assert_eq!((applied.replayed, applied.still_held), (3, 0), "{applied:?}");
    assert!(applied.faults.iter().all(|fault| fault.contains("is damaged")), "{applied:?}");
    assert_eq!(world.published(), [1, 2, 3]);
}

/// v1 was held, and its worker died before its letter was stored. The stream has forgotten it.
async fn without_first_letter() -> World {
    let world = World::table().await;
    put(&world, 1).await;
    world.db.faults().add(Rule::on("PutItem", Fault::Crash).table("millstream-letters"));
    tokio::select! {
        () = world.deliver(EVENTS) => panic!("it has no letter"),
        () = world.db.faults().crashed() => {}
    }
    world.db.faults().clear();
    world.db.faults().revive();
    world
}

#[tokio::test]
async fn a_key_that_waits_for_a_letter_that_never_came_is_told_and_mended() {
    let world = without_first_letter().await;
    put(&world, 2).await;
    world.deliver_from(EVENTS, 1).await;
    let desk = world.desk(&mended_events());
    let applied = apply_all(&desk).await;
    assert_eq!((applied.replayed, applied.behind, applied.still_held), (0, 1, 1), "{applied:?}");
    assert!(world.published().is_empty(), "nothing goes before what is missing");

    let lacking = desk.lacking_keys(&LetterFilter::default(), &HashSet::new()).await.unwrap();
    assert_eq!((lacking.len(), lacking[0].missing.len()), (1, 1), "{lacking:?}");
    let missing = &lacking[0].missing[0];
    assert_eq!((lacking[0].projection.as_str(), lacking[0].since > 0), ("order-changed", true));
    assert_eq!(applied.faults, [lacking[0].text()]);
    for part in [lacking[0].digest.as_str(), "order-changed", missing.id.as_str()] {
        assert!(applied.faults[0].contains(part), "{part}: {applied:?}");
    }
    assert_eq!(discard(&desk, &missing.id, "it is lost").await.unwrap(), Discarded::Done);
    assert_eq!(discard(&desk, &missing.id, "again").await.unwrap(), Discarded::Unknown);
    let trail = world.trail().await;
    assert_eq!((trail.len(), &trail[0].letter), (1, &Some(missing.id.clone())));
    assert!(trail[0].result.starts_with("it is lost; "), "{trail:?}");
    assert!(desk.lacking_keys(&LetterFilter::default(), &HashSet::new()).await.unwrap().is_empty());

    let applied = apply_all(&desk).await;
    assert!(applied.is_clean(), "{applied:?}");
    put(&world, 3).await;
    world.deliver_from(&mended_events(), 2).await;
    assert_eq!(world.published(), [2, 3]);
}

#[tokio::test]
async fn a_key_that_waits_for_nothing_but_a_letter_that_never_came_is_free_without_it() {
    let world = without_first_letter().await;
    let desk = world.desk(&mended_events());
    let applied = apply_all(&desk).await;
    assert_eq!((applied.chosen, applied.still_held, applied.faults.len()), (0, 1, 1), "{applied:?}");
    let lacking = desk.lacking_keys(&LetterFilter::default(), &HashSet::new()).await.unwrap();
    // It is taken out, and nobody hears of it.
    world.db.faults().add(Rule::on("TransactWriteItems", Fault::LoseReply).first(1));
    assert_eq!(discard(&desk, &lacking[0].missing[0].id, "it is lost").await.unwrap(), Discarded::Done);
    assert_eq!(world.trail().await.len(), 1);
    put(&world, 2).await;
    world.deliver_from(&mended_events(), 1).await;
    assert_eq!(world.published(), [2]);
}

#[tokio::test]
async fn a_letter_that_never_came_is_stored_when_its_change_comes_again() {
    let world = without_first_letter().await;
    put(&world, 2).await;
    world.deliver(EVENTS).await;
    let applied = apply_all(&world.desk(&mended_events())).await;
    assert!(applied.is_clean(), "{applied:?}");
    assert_eq!(world.published(), [1, 2]);
}

#[tokio::test]
async fn a_discard_that_died_before_its_key_was_free_is_mended_by_the_next() {
    for world in World::each().await {
        put(&world, 1).await;
        world.deliver(EVENTS).await;
        let id = letters(&world).await.remove(0).head.id;
        // The first request after the letter was closed and noted.
        world.db.faults().add(Rule::on("TransactWriteItems", Fault::Crash));
        let desk = world.desk(&mended_events());
        tokio::select! {
            done = discard(&desk, &id, "none of it") => panic!("{done:?}"),
            () = world.db.faults().crashed() => {}
        }
        world.db.faults().clear();
        world.db.faults().revive();
        let again = discard(&world.desk(&mended_events()), &id, "none of it").await.unwrap();
        assert_eq!(again, Discarded::WasClosed(LetterState::Discarded));
        put(&world, 2).await;
        world.deliver_from(&mended_events(), 1).await;
        assert_eq!(world.published(), [2]);
    }
}

#[tokio::test]
async fn what_was_discarded_holds_nothing_when_it_comes_again() {
    for world in World::each().await {
        put(&world, 1).await;
        world.deliver(EVENTS).await;
        let id = letters(&world).await.remove(0).head.id;
        discard(&world.desk(EVENTS), &id, "none of it").await.unwrap();
        world.deliver(EVENTS).await;
        put(&world, 2).await;
        world.deliver_from(EVENTS, 1).await;
        assert_eq!(world.published(), [2]);
        assert!(world.letters(&[]).await.is_empty());
    }
}

/// A topic to which something happens once, just before it is published to.
struct Meanwhile {
    inner: Arc<dyn TopicSink>,
    event: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl TopicSink for Meanwhile {
    fn publish<'a>(
        &'a self,
        topic: &'a Arc<str>,
        entries: &'a [Entry<'a>],
    ) -> BoxFuture<'a, Vec<Result<(), Refusal>>> {
        let event = self.event.lock().unwrap().take();
        async move {
            if let Some(event) = event {
                event.await;
            }
            self.inner.publish(topic, entries).await
        }
        .boxed()
    }
}

fn meanwhile(desk: &mut Desk, event: impl Future<Output = ()> + Send + 'static) {
    let (inner, event) = (desk.pipeline.topics.clone(), Mutex::new(Some(event.boxed())));
    desk.pipeline.topics = Arc::new(Meanwhile { inner, event });
}

async fn told(desk: &Desk, selection: Selection) -> Vec<Outcome> {
    let told = Mutex::new(Vec::new());
    let tell = |progress: Progress<'_>| {
        if let Progress::Letter(done) = progress {
            told.lock().unwrap().push(done.outcome.clone());
        }
    };
    apply(desk, selection, Pace::default(), &Brake::default(), &tell).await.unwrap();
    told.into_inner().unwrap()
}

#[tokio::test]
async fn a_letter_that_is_edited_while_it_is_replayed_stays_to_be_replayed_as_it_is_now() {
    for world in World::each().await {
        held(&world).await;
        let letter = letters(&world).await.remove(0);
        let mut desk = world.desk(&mended_events());
        let edits = {
            let (desk, letter) = (world.desk_of(&mended_events(), "lee"), letter.clone());
            async move {
                let text =
                    edit::draft(&letter).replace("\"n\": {", "\"status\": { \"S\": \"NEW\" }, \"n\": {");
                edit::replace(&desk, &letter, &text).await.unwrap();
            }
        };
        meanwhile(&mut desk, edits);
        let behind = || Outcome::Behind(letter.head.id.clone());
        assert_eq!(told(&desk, all()).await, [Outcome::Edited, behind(), behind()]);
        let now = letters(&world).await.remove(0);
        assert_eq!((now.head.state, now.head.edited), (LetterState::Open, 1));
        let applied = apply_all(&desk).await;
        assert!(applied.is_clean() && applied.replayed == 3, "{applied:?}");
        assert_eq!(world.published(), [1, 1, 2, 3]);
    }
}

#[tokio::test]
async fn a_letter_that_is_discarded_while_it_is_replayed_and_fails_stays_discarded() {
    for world in World::each().await {
        held(&world).await;
        let letters = letters(&world).await;
        let mut desk = world.desk(&mended_events());
        let discards = {
            let (desk, id) = (world.desk_of(&mended_events(), "lee"), letters[0].head.id.clone());
            async move { assert_eq!(discard(&desk, &id, "no").await.unwrap(), Discarded::Done) }
        };
        meanwhile(&mut desk, discards);
        let refuse =
            Fault::FailEntries { containing: String::new(), code: "InvalidParameter", sender_fault: true };
        world.topics.faults().add(Rule::on("PublishBatch", refuse).first(1));
        let outcomes = told(&desk, all()).await;
        assert_eq!(outcomes[0], Outcome::WasClosed, "{outcomes:?}");
        assert_eq!(world.published(), [2, 3]);
        assert_eq!(world.letters(&[LetterState::Discarded]).await.len(), 1);
        assert!(world.letters(&[]).await.is_empty());
    }
}

#[tokio::test]
async fn what_waited_and_fails_when_it_is_replayed_is_open_and_goes_in_its_place() {
    for world in World::each().await {
        held(&world).await;
        let [first, second, third] = <[Letter; 3]>::try_from(letters(&world).await).unwrap();
        discard(&world.desk(EVENTS), &first.head.id, "no").await.unwrap();
        // Nothing of the kind is in any order.
        let broken = EVENTS.replace("new.status", "new.nothing");
        let failed = told(&world.desk(&broken), all()).await;
        assert!(matches!(&failed[0], Outcome::Rejected(_)), "{failed:?}");
        assert_eq!(failed[1..], [Outcome::Behind(second.head.id.clone())]);
        let now = world.desk(EVENTS).letters().load(&second.head.id).await.unwrap().unwrap().head;
        let faults: Vec<&str> = now.attempts.iter().map(|attempt| attempt.fault.as_str()).collect();
        assert_eq!((now.state, &faults[..]), (LetterState::Open, &["held", "rejected"][..]));

        // It is no follower any more: what waits behind it does not take it along, and does not overtake it.
        let filter = LetterFilter { fault: Some(FaultKind::Held), ..LetterFilter::default() };
        let desk = world.desk(&mended_events());
        let behind = told(&desk, Selection::Filter(filter)).await;
        assert_eq!(behind, [Outcome::Behind(second.head.id.clone())]);
        assert_eq!(third.head.state, LetterState::Held);
        assert!(world.published().is_empty());
        assert!(apply_all(&desk).await.is_clean());
        assert_eq!(world.published(), [2, 3]);
    }
}

#[tokio::test]
async fn a_discard_whose_answer_was_lost_is_done_and_noted() {
    let world = World::table().await;
    put(&world, 1).await;
    world.deliver(EVENTS).await;
    let id = letters(&world).await.remove(0).head.id;
    let lost = Rule::on("UpdateItem", Fault::LoseReply).table("millstream-letters").first(1);
    let lost = world.db.faults().add(lost);
    let desk = world.desk(&mended_events());
    assert_eq!(discard(&desk, &id, "none of it").await.unwrap(), Discarded::Done);
    assert_eq!(world.db.faults().fired(lost), 1);
    let trail = world.trail().await;
    assert_eq!((trail.len(), trail[0].action.as_str()), (1, "discard"));
    assert_eq!(discard(&desk, &id, "none of it").await, Ok(Discarded::WasClosed(LetterState::Discarded)));
    put(&world, 2).await;
    world.deliver_from(&mended_events(), 1).await;
    assert_eq!(world.published(), [2]);
}

#[tokio::test]
async fn a_discard_that_cannot_be_noted_frees_its_key_all_the_same() {
    let world = World::table().await;
    put(&world, 1).await;
    world.deliver(EVENTS).await;
    let id = letters(&world).await.remove(0).head.id;
    world.db.faults().add(Rule::on("PutItem", Fault::AccessDenied).table("millstream-letters"));
    discard(&world.desk(&mended_events()), &id, "none of it").await.unwrap_err();
    world.db.faults().clear();
    put(&world, 2).await;
    world.deliver_from(&mended_events(), 1).await;
    assert_eq!(world.published(), [2]);
}

#[tokio::test]
async fn letters_that_were_seen_are_not_looked_for() {
    let world = World::table().await;
    held(&world).await;
    let seen: HashSet<LetterId> = letters(&world).await.into_iter().map(|letter| letter.head.id).collect();
    let desk = world.desk(EVENTS);
    for (seen, reads) in [(seen, 2), (HashSet::new(), 5)] {
        let before = world.db.faults().count("GetItem");
        assert!(desk.lacking_keys(&LetterFilter::default(), &seen).await.unwrap().is_empty());
        assert_eq!(
            world.db.faults().count("GetItem") - before,
            reads,
            "the projection's row, the key's, the letters"
        );
    }
}

#[tokio::test]
async fn where_no_letter_was_agreed_to_only_keys_are_let_go() {
    let world = World::table().await;
    held(&world).await;
    let desk = world.desk(&mended_events());
    let keys = || Selection::Keys(LetterFilter::default());
    let applied = apply(&desk, keys(), Pace::default(), &Brake::default(), &|_| ()).await.unwrap();
    assert!(applied.is_clean() && applied.replayed == 0 && world.published().is_empty(), "{applied:?}");
    // Whoever closed them died before the key was free.
    let closing =
        Closing { state: LetterState::Discarded, at: 0, by: "lee".to_owned(), reason: "no".to_owned() };
    for letter in letters(&world).await {
        assert!(desk.letters().close(&letter.head.id, 0, &closing).await.unwrap());
    }
    apply(&desk, keys(), Pace::default(), &Brake::default(), &|_| ()).await.unwrap();
    put(&world, 4).await;
    world.deliver_from(&mended_events(), 3).await;
    assert_eq!(world.published(), [4]);
}

#[tokio::test]
async fn what_is_left_when_it_is_stopped_counts_what_was_chosen_and_what_waits_behind_it() {
    // Stopped after the first letter of a key whose others were not chosen, and after all of that key.
    for (taken_up, left) in [(1, 2 + 1), (3, 1)] {
        let world = World::table().await;
        held(&world).await;
        world.db.put("Orders", json!({ "orderId": "o2", "n": 9 })).await;
        world.deliver_from(EVENTS, 3).await;
        let filter = LetterFilter { states: vec![LetterState::Open], ..LetterFilter::default() };
        let (brake, told) = (Brake::default(), Mutex::new(0));
        let tell = |progress: Progress<'_>| {
            if let Progress::Letter(_) = progress {
                let mut told = told.lock().unwrap();
                *told += 1;
                if *told == taken_up {
                    brake.pull();
                }
            }
        };
        let pace = Pace { concurrency: 1, ..Pace::default() };
        let desk = world.desk(&mended_events());
        let applied = apply(&desk, Selection::Filter(filter), pace, &brake, &tell).await.unwrap();
        assert_eq!((applied.chosen, applied.replayed, applied.left), (2, taken_up, left), "{applied:?}");
    }
}
