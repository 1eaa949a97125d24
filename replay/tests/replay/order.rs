//! Keys that keep their order: what waits behind a letter, and how it is let go.

use millstream_processor::letters::{LetterFilter, LetterState};
use millstream_processor::outcome::FaultKind;
use millstream_replay::apply::{Brake, Pace, Progress, Selection, apply};
use millstream_replay::discard::{Discarded, discard};
use millstream_replay::plan::Verdict;
use serde_json::json;

use crate::world::{EVENTS, World, all, apply_all, mended_events, plans};

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

#[tokio::test]
async fn what_waits_goes_out_in_order_even_while_more_arrives() {
    for world in World::each().await {
        held(&world).await;
        let desk = world.desk(&mended_events());
        let planned = plans(&desk).await;
        let verdicts: Vec<_> = planned.iter().map(|plan| plan.verdict).collect();
        assert_eq!(verdicts, [Verdict::WouldWrite, Verdict::Held, Verdict::Held]);
        assert_eq!(planned[2].behind.as_ref(), Some(&planned[0].id));
        put(&world, 4).await;
        let toml = mended_events();
        let (applied, ()) = tokio::join!(apply_all(&desk), world.deliver_from(&toml, 3));
        assert!(applied.is_clean(), "{applied:?}");
        let rest = apply_all(&desk).await;
        assert!(rest.is_clean() && rest.still_held == 0, "{rest:?}");
        assert_eq!(world.published(), [1, 2, 3, 4]);
        put(&world, 5).await;
        world.deliver_from(&mended_events(), 4).await;
        assert_eq!(world.published(), [1, 2, 3, 4, 5]);
    }
}

#[tokio::test]
async fn a_key_stops_at_its_first_failure() {
    let world = World::table().await;
    held(&world).await;
    let applied = apply_all(&world.desk(EVENTS)).await;
    assert_eq!((applied.failed, applied.behind, applied.replayed), (1, 2, 0));
    assert!(world.published().is_empty());
    let letters = world.letters(&[]).await;
    let tries: Vec<_> = letters.iter().map(|letter| letter.head.tries()).collect();
    assert_eq!(tries, [2, 1, 1]);
}

#[tokio::test]
async fn what_waits_does_not_overtake_a_letter_that_was_not_chosen() {
    let world = World::table().await;
    held(&world).await;
    let desk = world.desk(&mended_events());
    let filter = LetterFilter { fault: Some(FaultKind::Held), ..LetterFilter::default() };
    let tell = |_: Progress<'_>| ();
    let applied = apply(&desk, Selection::Filter(filter), Pace::default(), &Brake::default(), &tell).await;
    let applied = applied.unwrap();
    assert_eq!((applied.behind, applied.replayed), (2, 0));
    assert!(world.published().is_empty());
    // The one that failed takes along what waits behind it.
    let filter = LetterFilter { fault: Some(FaultKind::Rejected), ..LetterFilter::default() };
    apply(&desk, Selection::Filter(filter), Pace::default(), &Brake::default(), &tell).await.unwrap();
    assert_eq!(world.published(), [1, 2, 3]);
}

#[tokio::test]
async fn when_the_first_is_discarded_the_next_can_be_replayed() {
    for world in World::each().await {
        held(&world).await;
        let desk = world.desk(&mended_events());
        let first = world.letters(&[LetterState::Open]).await.remove(0).head.id;
        assert_eq!(discard(&desk, &first, "a test order").await.unwrap(), Discarded::Done);
        let again = discard(&desk, &first, "again").await.unwrap();
        assert_eq!(again, Discarded::WasClosed(LetterState::Discarded));
        let kept = world.letters(&[LetterState::Discarded]).await;
        assert_eq!(kept[0].head.closing.as_ref().unwrap().reason, "a test order");
        let trail = world.trail().await;
        assert_eq!(
            (trail.len(), trail[0].action.as_str(), trail[0].result.as_str()),
            (1, "discard", "a test order")
        );
        assert_eq!(apply_all(&desk).await.replayed, 2);
        assert_eq!(world.published(), [2, 3]);
    }
}

#[tokio::test]
async fn when_the_last_is_discarded_the_key_is_free() {
    let world = World::table().await;
    held(&world).await;
    let desk = world.desk(&mended_events());
    for letter in world.letters(&[]).await {
        discard(&desk, &letter.head.id, "none of it").await.unwrap();
    }
    put(&world, 4).await;
    world.deliver_from(&mended_events(), 3).await;
    assert_eq!(world.published(), [4]);
}

#[tokio::test]
async fn a_limit_in_the_middle_of_a_key_keeps_the_rest_waiting() {
    let world = World::table().await;
    held(&world).await;
    let desk = world.desk(&mended_events());
    let pace = Pace { limit: Some(2), ..Pace::default() };
    apply(&desk, all(), pace, &Brake::default(), &|_| ()).await.unwrap();
    assert_eq!(world.published(), [1, 2]);
    put(&world, 4).await;
    world.deliver_from(&mended_events(), 3).await;
    assert_eq!(world.published(), [1, 2]);
    apply_all(&desk).await;
    assert_eq!(world.published(), [1, 2, 3, 4]);
}
