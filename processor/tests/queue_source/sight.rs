//! Messages stay out of others' sight while they are worked on, and no longer.

use std::time::Duration;

use millstream_test_support::faults::{Fault, Rule};
use tokio::time::Instant;

use crate::world::{EVENTS, ROWS, VISIBILITY, World, numbered};

/// A write that takes this long.
fn slow(seconds: u64) -> Rule {
    Rule::on("TransactWriteItems", Fault::Delay(Duration::from_secs(seconds)))
}

#[tokio::test(start_paused = true)]
async fn a_slow_target_makes_nothing_come_twice() {
    for queue in ["mail", "mail.fifo"] {
        let world = World::new(queue, ROWS).await;
        world.db.faults().add(slow(200));
        for (id, n) in numbered(15, 1) {
            world.send(&id, n);
        }
        let (one, other) = (world.read().await, world.read().await);
        tokio::time::sleep(Duration::from_secs(199)).await;
        assert_eq!(world.receives(), [1; 15], "{queue}");
        world.emptied().await;
        assert_eq!(world.rows().await, numbered(15, 1));
        let prolonged = world.queues.faults().count("ChangeMessageVisibilityBatch");
        // Every 10 s, in as few requests as there can be, and none for what is done.
        assert!((2 * 19..=3 * 20).contains(&prolonged), "{prolonged}");
        one.stop().await;
        other.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_prolongation_that_fails_is_tried_again_in_time() {
    let world = World::new("mail.fifo", ROWS).await;
    world.db.faults().add(slow(100));
    world.queues.faults().add(Rule::on("ChangeMessageVisibilityBatch", Fault::Unavailable).chance(70, 3));
    world.send("one", 1);
    let reading = world.read().await;
    tokio::time::sleep(Duration::from_secs(99)).await;
    assert_eq!(world.receives(), [1]);
    world.emptied().await;
    reading.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_fifo_batch_that_others_may_see_is_cut_off() {
    let world = World::new("mail.fifo", EVENTS).await;
    let slow = Rule::on("PublishBatch", Fault::Delay(VISIBILITY * 2)).first(1);
    world.topics.faults().add(slow);
    world.queues.faults().add(Rule::on("ChangeMessageVisibilityBatch", Fault::Unavailable));
    let began = Instant::now();
    world.send("one", 1);
    let reading = world.read().await;
    world.emptied().await;
    assert!(began.elapsed() < VISIBILITY * 2, "it was received again: {:?}", began.elapsed());
    assert_eq!(world.events(), [("one".to_owned(), 1)]);
    tokio::time::sleep(VISIBILITY * 4).await;
    assert_eq!(world.events().len(), 1, "what was cut off is not published after what came again");
    reading.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_a_standard_queue_goes_on_and_is_deleted() {
    let world = World::new("mail", ROWS).await;
    world.db.faults().add(slow(VISIBILITY.as_secs() * 2).first(1));
    world.queues.faults().add(Rule::on("ChangeMessageVisibilityBatch", Fault::AccessDenied));
    world.send("one", 1);
    let reading = world.read().await;
    world.emptied().await;
    assert_eq!(world.rows().await, [("one".to_owned(), 1)]);
    reading.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_had_that_died_comes_again() {
    let world = World::new("mail.fifo", EVENTS).await;
    world.topics.faults().add(Rule::on("PublishBatch", Fault::Crash).first(1));
    world.send("one", 1);
    let dead = world.read().await;
    world.topics.faults().crashed().await;
    dead.kill();
    world.topics.faults().revive();
    let began = Instant::now();
    let reading = world.read().await;
    world.emptied().await;
    assert!(began.elapsed() <= VISIBILITY + Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(world.events(), [("one".to_owned(), 1)]);
    reading.stop().await;
}
