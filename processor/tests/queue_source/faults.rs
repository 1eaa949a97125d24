//! What goes wrong with the queue, or with a target, is waited out; nothing is lost, and nothing is done without end.

use std::time::Duration;

use millstream_processor::outcome::FaultKind;
use millstream_test_support::faults::{Fault, Rule};
use tokio::time::Instant;

use crate::world::{HASTY, ROWS, World, event, numbered};

#[tokio::test(start_paused = true)]
async fn a_queue_that_may_not_be_read_is_named_with_what_to_do() {
    let denied = "allow this worker sqs:GetQueueAttributes, ReceiveMessage";
    for (fault, advice) in [(Fault::TableMissing, "make the queue"), (Fault::AccessDenied, denied)] {
        let world = World::new("mail", ROWS).await;
        let rule = world.queues.faults().add(Rule::on("GetQueueAttributes", fault.clone()));
        let refused = world.open().await.err().unwrap();
        let says = refused.to_string();
        let names = format!("misconfigured: source mail, queue {}", world.url);
        assert!(says.starts_with(&names) && says.contains(advice), "{says}");

        world.queues.faults().remove(rule);
        world.queues.faults().add(Rule::on("ReceiveMessage", fault));
        let refused = world.read().await.failed().await;
        let says = refused.to_string();
        assert!(
            says.starts_with(&names) && says.contains("ReceiveMessage") && says.contains(advice),
            "{says}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_away_is_asked_less_often_and_read_again() {
    let world = World::new("mail", ROWS).await;
    world.send("one", 1);
    let reading = world.read().await;
    world.emptied().await;
    let rule = world.queues.faults().add(Rule::on("ReceiveMessage", Fault::AccessDenied));
    world.until(|| reading.trouble().is_some()).await;
    let before = world.queues.faults().count("ReceiveMessage");
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = world.queues.faults().count("ReceiveMessage") - before;
    assert!((8..=20).contains(&asked), "{asked} times in ten minutes");
    world.queues.faults().remove(rule);
    world.send("two", 1);
    world.emptied().await;
    world.until(|| reading.trouble().is_none()).await;
    assert_eq!(world.rows().await.len(), 2);
    reading.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_deployment_leaves_the_messages_where_they_are() {
    let world = World::new("mail", ROWS).await;
    let rule = world.db.faults().add(Rule::any(Fault::TableMissing));
    for (id, n) in numbered(500, 1) {
        world.send(&id, n);
    }
    let reading = world.read().await;
    world.until(|| reading.trouble().is_some()).await;
    assert!(reading.trouble().unwrap().contains("Rows"), "{:?}", reading.trouble());
    tokio::time::sleep(Duration::from_secs(600)).await;
    // One message tells whether it is mended: a redrive policy would move away what is received too often.
    let receives = world.receives();
    let untouched = receives.iter().filter(|receives| **receives == 0).count();
    assert!(receives.len() == 500 && untouched > 350, "{untouched} of {}", receives.len());
    assert!(receives.iter().sum::<u32>() < 200, "{receives:?}");
    assert_eq!(world.letters_without_faults(rule).await, 0);

    world.emptied().await;
    world.until(|| reading.trouble().is_none()).await;
    assert_eq!(world.rows().await, numbered(500, 1));
    reading.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_target_that_is_missing_does_not_hold_up_the_others() {
    let other = ROWS.replace("projection.rows", "projection.other").replace("\"Rows\"", "\"Other\"");
    let only = other.replace("from = \"mail\"", "from = \"mail\"\nwhere = \"new.id == 'item-0003'\"");
    let world = World::new("mail", &format!("{HASTY}{ROWS}{only}")).await;
    for (id, n) in numbered(300, 1) {
        world.send(&id, n);
    }
    let began = Instant::now();
    let reading = world.read().await;
    world.until(|| world.receives().len() == 1).await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    world.until(|| reading.trouble().is_some_and(|trouble| trouble.contains("Other"))).await;
    world.db.create_table("Other", "id", None, None).await;
    world.emptied().await;
    reading.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_delete_whose_answer_is_lost_is_asked_for_again() {
    for queue in ["mail", "mail.fifo"] {
        let world = World::new(queue, ROWS).await;
        world.queues.faults().add(Rule::on("DeleteMessageBatch", Fault::LoseReply).first(2));
        for (id, n) in numbered(10, 1) {
            world.send(&id, n);
        }
        world.drain().await;
        assert_eq!(world.rows().await, numbered(10, 1));
        assert_eq!(world.db.faults().count("TransactWriteItems"), 10, "{queue}: nothing was done twice");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_entries_that_failed_are_deleted_again() {
    let world = World::new("mail", ROWS).await;
    let fails = |containing: &str, code| Fault::FailEntries {
        containing: containing.to_owned(),
        code,
        sender_fault: false,
    };
    world.queues.faults().add(Rule::on("DeleteMessageBatch", fails("item-0003", "InternalError")).first(2));
    for (id, n) in numbered(10, 1) {
        world.send(&id, n);
    }
    world.drain().await;
    assert_eq!(world.queues.held(&world.url), []);
    let requests = world.queues.requests();
    let deletes: Vec<usize> = requests
        .iter()
        .filter(|request| request.operation == "DeleteMessageBatch")
        .map(|request| request.body["Entries"].as_array().unwrap().len())
        .collect();
    assert_eq!(deletes, [10, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn messages_that_may_not_be_deleted_are_not_done_again_and_again() {
    let world = World::new("mail", ROWS).await;
    let rule = world.queues.faults().add(Rule::on("DeleteMessageBatch", Fault::AccessDenied));
    for (id, n) in numbered(20, 1) {
        world.send(&id, n);
    }
    let reading = world.read().await;
    world.until(|| reading.trouble().is_some_and(|trouble| trouble.contains("DeleteMessageBatch"))).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let received: u32 = world.receives().iter().sum();
    assert!(received < 60, "{received} receives of 20 messages in ten minutes");
    world.queues.faults().remove(rule);
    world.emptied().await;
    world.until(|| reading.trouble().is_none()).await;
    reading.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_what_was_given_back() {
    let world = World::new("mail", &format!("{HASTY}{ROWS}")).await;
    world.db.faults().add(Rule::any(Fault::Unavailable).containing("item-0002").first(20));
    for (id, n) in numbered(5, 1) {
        world.send(&id, n);
    }
    world.drain().await;
    assert_eq!(world.queues.held(&world.url), []);
    assert_eq!(world.rows().await, numbered(5, 1));
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_is_drained_by_one_receive() {
    let world = World::new("mail", ROWS).await;
    let began = Instant::now();
    world.drain().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(world.queues.faults().count("ReceiveMessage"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_costs_three_requests_a_minute() {
    let world = World::new("mail", ROWS).await;
    world.queues.send(&world.url, &event("one", 1), None);
    let reading = world.read().await;
    world.emptied().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = world.queues.faults().count("ReceiveMessage");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.queues.faults().count("ReceiveMessage") - before, 30);
    reading.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_target_is_waited_out_without_letters() {
    let world = World::new("mail", &format!("{HASTY}{ROWS}")).await;
    let rule = world.db.faults().add(Rule::any(Fault::Unavailable));
    for (id, n) in numbered(200, 1) {
        world.send(&id, n);
    }
    let reading = world.read().await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(reading.trouble(), None, "{} passes by itself", FaultKind::Unavailable.as_str());
    let receives = world.receives();
    assert!(
        receives.iter().sum::<u32>() < 600,
        "a receive a minute, after those of the beginning: {receives:?}"
    );
    assert_eq!(world.letters_without_faults(rule).await, 0);
    world.emptied().await;
    assert_eq!(world.rows().await, numbered(200, 1));
    reading.stop().await;
}
