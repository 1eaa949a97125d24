//! Letters that fail again, limits, and two operators at once.

use std::sync::Mutex;
use std::time::Duration;

use millstream_processor::letters::LetterState;
use millstream_replay::apply::{Brake, Outcome, Pace, Progress, Stopped, apply};
use serde_json::json;
use tokio::time::Instant;

use crate::world::{ORDERS, World, all, apply_all, mended};

async fn poison(world: &World, orders: usize) {
    for number in 0..orders {
        world.order(&format!("o{number}"), None).await;
    }
    world.deliver(ORDERS).await;
}

#[tokio::test]
async fn a_replay_that_is_rejected_keeps_the_letter_and_adds_an_attempt() {
    for world in World::each().await {
        poison(&world, 1).await;
        let applied = apply_all(&world.desk(ORDERS)).await;
        assert_eq!((applied.failed, applied.replayed), (1, 0));
        let letters = world.letters(&[]).await;
        assert_eq!((letters.len(), letters[0].head.attempts.len()), (1, 2));
        assert!(world.trail().await[0].result.contains("failed again"), "{:?}", world.trail().await);
        assert_eq!(apply_all(&world.desk(&mended())).await.replayed, 1);
    }
}

#[tokio::test]
async fn a_wrong_deployment_leaves_the_letters_as_they_were() {
    let world = World::table().await;
    poison(&world, 1).await;
    let applied = apply_all(&world.desk(&mended().replace("\"Accounting\"", "\"Nowhere\""))).await;
    assert_eq!(applied.failed, 1);
    assert_eq!(world.letters(&[]).await[0].head.attempts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn rate_limit_and_failures_are_kept() {
    let world = World::table().await;
    poison(&world, 6).await;
    let brake = Brake::default();

    let pace = Pace { stop_after: Some(2), concurrency: 1, ..Pace::default() };
    let applied = apply(&world.desk(ORDERS), all(), pace, &brake, &|_| ()).await.unwrap();
    assert_eq!((applied.failed, applied.stopped), (2, Some(Stopped::Failures)));

    let pace = Pace { limit: Some(2), ..Pace::default() };
    let desk = world.desk(&mended());
    let applied = apply(&desk, all(), pace, &brake, &|_| ()).await.unwrap();
    assert_eq!((applied.replayed, applied.stopped), (2, Some(Stopped::Limit)));

    let starts = Mutex::new(Vec::new());
    let start = Instant::now();
    let tell = |progress: Progress<'_>| {
        if let Progress::Letter(_) = progress {
            starts.lock().unwrap().push(start.elapsed().as_secs());
        }
    };
    let pace = Pace { interval: Some(Duration::from_secs(10)), ..Pace::default() };
    let applied = apply(&desk, all(), pace, &brake, &tell).await.unwrap();
    assert_eq!((applied.chosen, applied.replayed), (4, 4));
    assert_eq!(*starts.lock().unwrap(), [0, 10, 20, 30]);
    assert_eq!(world.rows().await.len(), 6);
}

#[tokio::test]
async fn what_is_stopped_goes_on_with_the_next_apply() {
    for world in World::each().await {
        poison(&world, 5).await;
        let (desk, brake) = (world.desk(&mended()), Brake::default());
        let stop = |progress: Progress<'_>| {
            if let Progress::Letter(_) = progress {
                brake.pull();
            }
        };
        let pace = Pace { concurrency: 1, ..Pace::default() };
        let first = apply(&desk, all(), pace, &brake, &stop).await.unwrap();
        assert_eq!((first.replayed, first.stopped), (1, Some(Stopped::Brake)));
        let second = apply_all(&desk).await;
        assert_eq!((second.chosen, second.replayed), (4, 4));
        assert_eq!(world.rows().await.len(), 5);
    }
}

#[tokio::test]
async fn two_operators_at_once_do_no_harm() {
    for world in World::each().await {
        poison(&world, 12).await;
        let (kim, lee) = (world.desk_of(&mended(), "kim"), world.desk_of(&mended(), "lee"));
        let (a, b) = tokio::join!(apply_all(&kim), apply_all(&lee));
        assert!(a.is_clean() && b.is_clean(), "{a:?} {b:?}");
        assert_eq!(world.rows().await.len(), 12);
        assert!(world.letters(&[]).await.is_empty());
        let closed = world.letters(&[LetterState::Replayed, LetterState::Superseded]).await;
        assert_eq!(closed.len(), 12);
    }
}

#[tokio::test]
async fn letters_of_one_key_are_taken_up_in_the_order_of_their_versions() {
    let world = World::table().await;
    let strict = mended().replace("total = ", "note = \"{note}\", total = ");
    for total in [1, 2, 3] {
        world.order("o1", Some(total)).await;
    }
    world.deliver(&strict).await;
    let told = Mutex::new(Vec::new());
    let tell = |progress: Progress<'_>| {
        if let Progress::Letter(done) = progress {
            told.lock().unwrap().push(done.outcome.clone());
        }
    };
    apply(&world.desk(&mended()), all(), Pace::default(), &Brake::default(), &tell).await.unwrap();
    assert_eq!(*told.lock().unwrap(), vec![Outcome::Replayed { written: 1 }; 3]);
    assert_eq!(world.rows().await, [json!({ "orderId": "o1", "total": 3 })]);
}
