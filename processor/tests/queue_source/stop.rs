//! A stop ends what was begun and gives back what was not, at once.

use std::time::Duration;

use millstream_test_support::faults::{Fault, Rule};
use tokio::time::Instant;

use crate::world::{ROWS, World, numbered};

fn slow(seconds: u64) -> Rule {
    Rule::on("TransactWriteItems", Fault::Delay(Duration::from_secs(seconds)))
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_ends_and_the_rest_is_seen_again_at_once() {
    let world = World::new("mail", ROWS).await;
    world.db.faults().add(slow(5));
    for (id, n) in numbered(400, 1) {
        world.send(&id, n);
    }
    let reading = world.read().await;
    world.until(|| world.db.faults().count("TransactWriteItems") > 0 && world.receives().contains(&0)).await;
    let received = world.receives().iter().filter(|receives| **receives > 0).count();
    let told = Instant::now();
    reading.stop().await;
    assert!(told.elapsed() <= Duration::from_secs(7), "{:?}", told.elapsed());
    let left = world.queues.held(&world.url);
    let rows = world.rows().await.len();
    assert!(left.iter().all(|held| held.is_visible), "{left:?}");
    assert!(rows > 0 && left.iter().any(|held| held.receives == 1), "{rows} rows of {received} messages");
    assert_eq!(rows + left.len(), 400, "what was begun is deleted, and nothing else");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_cut_off_and_seen_again_at_once() {
    for queue in ["mail", "mail.fifo"] {
        let world = World::new(queue, ROWS).await;
        world.db.faults().add(slow(3_600));
        world.send("one", 1);
        let reading = world.read().await;
        world.until(|| world.db.faults().count("TransactWriteItems") > 0).await;
        let told = Instant::now();
        reading.stop().await;
        assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
        let left = world.queues.held(&world.url);
        assert!(left.len() == 1 && left[0].is_visible, "{left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_an_empty_queue_stops_at_once() {
    let world = World::new("mail", ROWS).await;
    let reading = world.read().await;
    world.until(|| world.queues.faults().count("GetQueueAttributes") > 0).await;
    let told = Instant::now();
    reading.stop().await;
    assert!(told.elapsed() <= Duration::from_secs(1), "{:?}", told.elapsed());
}
