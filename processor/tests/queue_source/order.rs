//! FIFO: a group is worked on in its order, whatever goes wrong.

use std::collections::HashMap;
use std::time::Duration;

use millstream_test_support::faults::{Fault, Rule};
use proptest::prelude::*;

use crate::world::{EVENTS, HASTY, ROWS, World};

fn fail(containing: &str) -> Fault {
    Fault::FailEntries { containing: containing.to_owned(), code: "InternalError", sender_fault: false }
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_message_that_failed_waits_for_it_and_other_groups_do_not() {
    let world = World::new("mail.fifo", &format!("{HASTY}{EVENTS}")).await;
    let rule = world.topics.faults().add(Rule::on("PublishBatch", fail("slow")));
    for n in 1..=3 {
        world.send("slow", n);
        world.send("quick", n);
    }
    let reading = world.read().await;
    world.until(|| world.receives()[0] == 4).await;
    assert_eq!(world.events(), [1, 2, 3].map(|n| ("quick".to_owned(), n)), "only the other group went on");
    world.topics.faults().remove(rule);
    world.emptied().await;
    assert_eq!(world.events()[3..], [1, 2, 3].map(|n| ("slow".to_owned(), n)));
    reading.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_comes_back_after_a_while_and_not_only_when_its_time_out_of_sight_is_over() {
    let world = World::new("mail.fifo", &format!("{HASTY}{EVENTS}")).await;
    world.topics.faults().add(Rule::on("PublishBatch", fail("slow")).first(4));
    let began = tokio::time::Instant::now();
    world.send("slow", 1);
    world.send("slow", 2);
    let reading = world.read().await;
    world.emptied().await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(world.events(), [1, 2].map(|n| ("slow".to_owned(), n)));
    reading.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_done_after_one_that_is_not_goes_back_as_well() {
    let world = World::new("mail.fifo", &format!("{HASTY}{ROWS}")).await;
    world.db.faults().add(Rule::any(Fault::Unavailable).containing("first").first(10));
    world.queues.send(&world.url, &crate::world::event("first", 1), Some("one"));
    world.queues.send(&world.url, &crate::world::event("second", 1), Some("one"));
    let reading = world.read().await;
    world.until(|| world.receives() == [2, 2]).await;
    world.emptied().await;
    assert_eq!(world.rows().await, [("first".to_owned(), 1), ("second".to_owned(), 1)]);
    reading.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_receive_whose_answer_is_lost_locks_no_group() {
    let world = World::new("mail.fifo", EVENTS).await;
    world.queues.faults().add(Rule::on("ReceiveMessage", Fault::LoseReply).first(1));
    world.send("one", 1);
    let began = tokio::time::Instant::now();
    let reading = world.read().await;
    world.emptied().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(world.events().len(), 1);
    reading.stop().await;
}

/// What goes wrong on the way, and how often.
#[derive(Debug, Clone)]
struct Chances {
    seed: u64,
    groups: u64,
    messages: u64,
    readers: usize,
    percent: u64,
}

fn chances() -> impl Strategy<Value = Chances> {
    (any::<u64>(), 1_u64..5, 1_u64..16, 1_usize..4, 0_u64..40).prop_map(
        |(seed, groups, messages, readers, percent)| Chances { seed, groups, messages, readers, percent },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_group_is_published_whole_and_in_its_order(chances in chances()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(check(&chances));
    }
}

/// Several workers, faults of the sink and of the queue itself: each message comes out first after those before it.
async fn check(chances: &Chances) {
    let world = World::new("mail.fifo", &format!("{HASTY}{EVENTS}")).await;
    let rule =
        |operation, fault, salt| Rule::on(operation, fault).chance(chances.percent, chances.seed ^ salt);
    for (salt, fault) in [fail(""), Fault::LoseReply, Fault::Throttle].into_iter().enumerate() {
        world.topics.faults().add(rule("PublishBatch", fault, salt as u64));
    }
    let calls = ["ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"];
    for (salt, operation) in (10..).zip(calls) {
        world.queues.faults().add(rule(operation, Fault::LoseReply, salt));
        world.queues.faults().add(rule(operation, Fault::Unavailable, salt + 10));
    }
    world.queues.faults().add(rule("DeleteMessageBatch", fail(""), 30));
    for n in 1..=chances.messages {
        for group in 0..chances.groups {
            world.send(&format!("group-{group}"), n);
        }
    }
    let mut readings = Vec::new();
    for _ in 0..chances.readers {
        readings.push(world.read().await);
    }
    world.emptied().await;
    for reading in readings {
        reading.stop().await;
    }
    let mut latest: HashMap<String, u64> = HashMap::new();
    for (group, n) in world.events() {
        let latest = latest.entry(group.clone()).or_default();
        // What was done may come again, as at least once means; what was not done is never passed over.
        assert!(n <= *latest + 1, "{group}: {n} after {latest} in {chances:?}");
        *latest = n.max(*latest);
    }
    assert_eq!(latest.len() as u64, chances.groups);
    assert!(latest.values().all(|n| *n == chances.messages), "{latest:?} in {chances:?}");
}
