//! The same against ministack's SNS and SQS, in real time: a server that is not ours.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use millstream_test_support::emulators::Ministack;
use millstream_test_support::faults::{Fault, Rule};

use crate::world::{EVENTS, HASTY, ROWS, World, event};

/// How soon a condition is looked at again.
const AGAIN: Duration = Duration::from_millis(50);
/// It ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(90);

struct Server {
    ministack: Ministack,
    sqs: aws_sdk_sqs::Client,
}

impl Server {
    async fn start() -> Self {
        let ministack = Ministack::start().await;
        Self { sqs: aws_sdk_sqs::Client::new(&ministack.sdk_config()), ministack }
    }

    async fn queue(&self, name: &str, visibility: u64) -> String {
        let mut request = self.sqs.create_queue().queue_name(name);
        request = request.attributes(QueueAttributeName::VisibilityTimeout, visibility.to_string());
        if name.ends_with(".fifo") {
            request = request.attributes(QueueAttributeName::FifoQueue, "true");
        }
        request.send().await.unwrap().queue_url.unwrap()
    }

    async fn send(&self, url: &str, id: &str, n: u64) {
        let mut request = self.sqs.send_message().queue_url(url).message_body(event(id, n));
        if url.ends_with(".fifo") {
            request = request.message_group_id(id).message_deduplication_id(format!("{id}-{n}"));
        }
        request.send().await.unwrap();
    }

    async fn attribute(&self, url: &str, name: QueueAttributeName) -> String {
        let request = self.sqs.get_queue_attributes().queue_url(url).attribute_names(name.clone());
        request.send().await.unwrap().attributes.unwrap()[&name].clone()
    }

    /// How many messages can be received, and how many are in flight.
    async fn counts(&self, url: &str) -> (u64, u64) {
        let visible = self.attribute(url, QueueAttributeName::ApproximateNumberOfMessages).await;
        let in_flight = self.attribute(url, QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await;
        (visible.parse().unwrap(), in_flight.parse().unwrap())
    }

    async fn until(&self, url: &str, counts: (u64, u64)) {
        let looks = async {
            while self.counts(url).await != counts {
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, looks).await.unwrap();
    }
}

#[tokio::test]
async fn what_sns_delivers_raw_or_not_becomes_rows() {
    let server = Server::start().await;
    let sns = aws_sdk_sns::Client::new(&server.ministack.sdk_config());
    let topic = sns.create_topic().name("changed").send().await.unwrap().topic_arn.unwrap();
    for (name, raw) in [("wrapped", "false"), ("raw", "true")] {
        let url = server.queue(name, 30).await;
        let arn = server.attribute(&url, QueueAttributeName::QueueArn).await;
        let subscribe = sns.subscribe().topic_arn(&topic).protocol("sqs").endpoint(arn);
        subscribe.attributes("RawMessageDelivery", raw).send().await.unwrap();
        for n in 1..=25 {
            let id = format!("item-{:02}", n % 12);
            sns.publish().topic_arn(&topic).message(event(&id, n)).send().await.unwrap();
        }
        let world = World::elsewhere(server.sqs.clone(), url.clone(), ROWS).await;
        world.drain().await;
        let latest = |item: u64| (1..=25).rev().find(|n| n % 12 == item).unwrap();
        let expected: Vec<_> = (0..12).map(|item| (format!("item-{item:02}"), latest(item))).collect();
        assert_eq!(world.rows().await, expected, "{name}");
        assert_eq!(server.counts(&url).await, (0, 0), "{name}");
    }
}

#[tokio::test]
async fn a_fifo_queue_keeps_the_order_of_a_group_whose_first_message_fails() {
    let server = Server::start().await;
    let url = server.queue("mail.fifo", 30).await;
    for n in 1..=12 {
        server.send(&url, "slow", n).await;
        server.send(&url, "quick", n).await;
    }
    let world = World::elsewhere(server.sqs.clone(), url.clone(), &format!("{HASTY}{EVENTS}")).await;
    let fault =
        Fault::FailEntries { containing: "slow".to_owned(), code: "InternalError", sender_fault: false };
    world.topics.faults().add(Rule::on("PublishBatch", fault).first(12));
    world.drain().await;
    assert_eq!(server.counts(&url).await, (0, 0));
    for group in ["slow", "quick"] {
        let mut published: Vec<u64> =
            world.events().into_iter().filter(|(id, _)| id == group).map(|(_, n)| n).collect();
        published.dedup();
        assert_eq!(published, (1..=12).collect::<Vec<_>>(), "{group}");
    }
}

#[tokio::test]
async fn a_slow_target_makes_nothing_come_twice() {
    let server = Server::start().await;
    let url = server.queue("mail", 20).await;
    let world = World::elsewhere(server.sqs.clone(), url.clone(), ROWS).await;
    world.db.faults().add(Rule::on("TransactWriteItems", Fault::Delay(Duration::from_secs(23))));
    server.send(&url, "one", 1).await;
    // The second would find the message if the first did not keep it out of sight.
    let (one, other) = (world.read().await, world.read().await);
    server.until(&url, (0, 1)).await;
    server.until(&url, (0, 0)).await;
    assert_eq!(world.rows().await, [("one".to_owned(), 1)]);
    assert_eq!(world.db.faults().count("TransactWriteItems"), 1);
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn what_is_cut_off_by_a_stop_is_seen_again_at_once() {
    let server = Server::start().await;
    for name in ["mail", "mail.fifo"] {
        let url = server.queue(name, 30).await;
        let world = World::elsewhere(server.sqs.clone(), url.clone(), ROWS).await;
        world.db.faults().add(Rule::on("TransactWriteItems", Fault::Delay(Duration::from_secs(3_600))));
        server.send(&url, "one", 1).await;
        let reading = world.read().await;
        server.until(&url, (0, 1)).await;
        reading.stop().await;
        assert_eq!(server.counts(&url).await, (1, 0), "{name}");
    }
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_named() {
    let server = Server::start().await;
    let url = server.queue("mail", 30).await;
    let world = World::elsewhere(server.sqs.clone(), url.clone(), ROWS).await;
    server.sqs.delete_queue().queue_url(&url).send().await.unwrap();
    let says = world.open().await.err().unwrap().to_string();
    assert!(says.starts_with(&format!("misconfigured: source mail, queue {url}")), "{says}");
    assert!(says.contains("make the queue, or correct `queue` in [source.mail]"), "{says}");
}
