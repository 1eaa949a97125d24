//! What comes by a queue becomes rows or letters, and is deleted then.

use millstream_test_support::faults::{Fault, Rule};
use serde_json::{Value, json};

use crate::world::{HASTY, ROWS, World, enveloped, event, numbered};

#[tokio::test(start_paused = true)]
async fn messages_with_and_without_the_envelope_of_sns_become_rows() {
    for queue in ["mail", "mail.fifo"] {
        let world = World::new(queue, ROWS).await;
        let group = |id: &'static str| queue.ends_with(".fifo").then_some(id);
        world.queues.send(&world.url, &event("raw", 1), group("raw"));
        world.queues.send(&world.url, &enveloped(&event("wrapped", 1)), group("wrapped"));
        world.queues.send(&world.url, &enveloped(&event("raw", 2)), group("raw"));
        world.drain().await;
        assert_eq!(world.rows().await, [("raw".to_owned(), 2), ("wrapped".to_owned(), 1)], "{queue}");
        assert_eq!(world.queues.held(&world.url), []);
    }
}

#[tokio::test(start_paused = true)]
async fn many_messages_are_received_side_by_side_and_deleted_by_ten() {
    let world = World::new("mail", ROWS).await;
    for (id, n) in numbered(1_000, 1) {
        world.send(&id, n);
    }
    world.drain().await;
    assert_eq!(world.rows().await, numbered(1_000, 1));
    assert_eq!(world.queues.held(&world.url), []);
    let requests = world.queues.requests();
    let deletes: Vec<usize> = requests
        .iter()
        .filter(|request| request.operation == "DeleteMessageBatch")
        .map(|request| request.body["Entries"].as_array().unwrap().len())
        .collect();
    assert_eq!(deletes.iter().sum::<usize>(), 1_000);
    assert!(deletes.iter().all(|entries| *entries <= 10), "{deletes:?}");
    assert!(deletes.len() <= 150, "deletes are put together: {}", deletes.len());
}

#[tokio::test(start_paused = true)]
async fn poison_becomes_a_letter_and_is_deleted() {
    for queue in ["mail", "mail.fifo"] {
        let world = World::new(queue, ROWS).await;
        let group = queue.ends_with(".fifo").then_some("one");
        let lacks_n = event("lacks", 1).replace("\"n\":{", "\"m\":{");
        for body in ["no JSON", r#"{"no":"event"}"#, &lacks_n, &event("good", 1)] {
            world.queues.send(&world.url, body, group);
        }
        world.drain().await;
        assert_eq!(world.rows().await, [("good".to_owned(), 1)]);
        assert_eq!(world.queues.held(&world.url), []);

        let letters = world.letters().await;
        let mut bodies: Vec<String> = Vec::new();
        for letter in &letters {
            let record: Value = serde_json::from_slice(&letter.record).unwrap();
            assert_eq!(record["eventSource"], "aws:sqs");
            assert_eq!(record["eventSourceARN"], format!("arn:aws:sqs:eu-west-1:000000000000:{queue}"));
            assert_eq!(record["attributes"]["MessageGroupId"], json!(group));
            assert!(record["receiptHandle"].is_null(), "a receipt is nobody else's: {record}");
            assert_eq!((letter.head.source.as_str(), letter.head.tries()), ("mail", 1));
            bodies.push(record["body"].as_str().unwrap().to_owned());
        }
        bodies.sort();
        assert_eq!(bodies, ["no JSON".to_owned(), lacks_n, r#"{"no":"event"}"#.to_owned()]);
    }
}

#[tokio::test(start_paused = true)]
async fn poison_that_comes_again_is_the_same_letter() {
    let world = World::new("mail", &format!("{HASTY}{ROWS}")).await;
    world.queues.faults().add(Rule::on("DeleteMessageBatch", Fault::Unavailable).first(10));
    world.queues.send(&world.url, "no JSON", None);
    world.drain().await;
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].head.tries() > 1, "it was received again: {:?}", letters[0].head);
}
