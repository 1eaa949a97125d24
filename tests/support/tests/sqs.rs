//! The SQS in the process does what ministack does, as far as a reader of queues can see.
#![expect(clippy::unwrap_used, reason = "a helper that fails has to fail its test")]

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName, QueueAttributeName,
};
use millstream_test_support::emulators::Ministack;
use millstream_test_support::faults::{Fault, Rule};
use millstream_test_support::sqs::Queues;

/// A queue, and its messages as the last receive gave them.
struct Reader {
    client: Client,
    url: String,
    received: Vec<Message>,
}

impl Reader {
    /// What a receive gives: each body, and how often it was received.
    async fn receive(&mut self, wait: i32) -> String {
        let request = self.client.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
        let received = request.wait_time_seconds(wait).visibility_timeout(30).send().await.unwrap();
        let messages = received.messages.unwrap_or_default();
        let count = MessageSystemAttributeName::ApproximateReceiveCount;
        let told = messages
            .iter()
            .map(|it| format!("{}*{}", it.body().unwrap(), it.attributes().unwrap()[&count]))
            .collect::<Vec<_>>();
        self.received.extend(messages);
        told.join(" ")
    }

    fn receipt(&self, body: &str) -> &str {
        let found = self.received.iter().rev().find(|it| it.body() == Some(body));
        found.and_then(Message::receipt_handle).unwrap_or("no receipt")
    }

    /// Which of the messages were deleted.
    async fn delete(&self, bodies: &[&str]) -> String {
        let entry = |body: &&str| {
            let entry =
                DeleteMessageBatchRequestEntry::builder().id(*body).receipt_handle(self.receipt(body));
            entry.build().unwrap()
        };
        let request = self.client.delete_message_batch().queue_url(&self.url);
        let entries = bodies.iter().map(entry).collect();
        let answer = request.set_entries(Some(entries)).send().await.unwrap();
        answer.successful().iter().map(|it| it.id().to_owned()).collect::<Vec<_>>().join(" ")
    }

    /// Which of the messages are hidden for so long now.
    async fn hide(&self, bodies: &[&str], seconds: i32) -> String {
        let entry = |body: &&str| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(*body);
            entry.receipt_handle(self.receipt(body)).visibility_timeout(seconds).build().unwrap()
        };
        let request = self.client.change_message_visibility_batch().queue_url(&self.url);
        let entries = bodies.iter().map(entry).collect();
        let answer = request.set_entries(Some(entries)).send().await.unwrap();
        answer.successful().iter().map(|it| it.id().to_owned()).collect::<Vec<_>>().join(" ")
    }

    async fn attribute(&self, name: QueueAttributeName) -> String {
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        request.attribute_names(name.clone()).send().await.unwrap().attributes.unwrap()[&name].clone()
    }

    /// A queue with a1, b1, a2, b2, a3: of two groups, if it keeps an order.
    async fn check(&mut self, is_fifo: bool) {
        assert_eq!(self.receive(0).await, "a1*1 b1*1 a2*1 b2*1 a3*1");
        assert_eq!(self.receive(0).await, "");
        assert_eq!(self.attribute(QueueAttributeName::ApproximateNumberOfMessages).await, "0");
        assert_eq!(self.attribute(QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await, "5");
        assert_eq!(self.attribute(QueueAttributeName::VisibilityTimeout).await, "40");
        let name = if is_fifo { "mail.fifo" } else { "mail" };
        let arn = self.attribute(QueueAttributeName::QueueArn).await;
        assert_eq!(arn, format!("arn:aws:sqs:eu-west-1:000000000000:{name}"));

        assert_eq!(self.hide(&["a2", "x"], 0).await, "a2");
        // The first of the group is in flight.
        assert_eq!(self.receive(1).await, if is_fifo { "" } else { "a2*2" });
        assert_eq!(self.delete(&["a1", "a3"]).await, "a1 a3");
        assert_eq!(self.hide(&["b1", "b2"], 0).await, "b1 b2");
        assert_eq!(self.receive(1).await, if is_fifo { "b1*2 a2*2 b2*2" } else { "b1*2 b2*2" });
        assert_eq!(self.delete(&["b1", "b2", "a2"]).await, "b1 b2 a2");
        assert_eq!(self.receive(0).await, "");
    }
}

const MESSAGES: [&str; 5] = ["a1", "b1", "a2", "b2", "a3"];

#[tokio::test]
async fn ministack_and_the_double_do_the_same() {
    let ministack = Ministack::start().await;
    for name in ["mail", "mail.fifo"] {
        let is_fifo = name.ends_with(".fifo");
        let client = Client::new(&ministack.sdk_config());
        let mut request = client.create_queue().queue_name(name);
        request = request.attributes(QueueAttributeName::VisibilityTimeout, "40");
        if is_fifo {
            request = request.attributes(QueueAttributeName::FifoQueue, "true");
        }
        let url = request.send().await.unwrap().queue_url.unwrap();
        for body in MESSAGES {
            let mut request = client.send_message().queue_url(&url).message_body(body);
            if is_fifo {
                request = request.message_group_id(&body[..1]).message_deduplication_id(body);
            }
            request.send().await.unwrap();
        }
        Reader { client, url, received: Vec::new() }.check(is_fifo).await;
    }
    for name in ["mail", "mail.fifo"] {
        let (queues, is_fifo) = (Queues::new(), name.ends_with(".fifo"));
        let url = queues.create(name, Duration::from_secs(40));
        for body in MESSAGES {
            queues.send(&url, body, is_fifo.then_some(&body[..1]));
        }
        Reader { client: queues.sqs(), url, received: Vec::new() }.check(is_fifo).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_receive_waits_for_a_message_and_no_longer_than_it_says() {
    let queues = Queues::new();
    let url = queues.create("mail", Duration::from_secs(30));
    let mut reader = Reader { client: queues.sqs(), url: url.clone(), received: Vec::new() };
    let began = tokio::time::Instant::now();
    assert_eq!(reader.receive(20).await, "");
    assert_eq!(began.elapsed(), Duration::from_secs(20));
    let send = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        queues.send(&url, "late", None)
    };
    let (told, _) = tokio::join!(reader.receive(20), send);
    assert_eq!((told.as_str(), began.elapsed()), ("late*1", Duration::from_secs(25)));
    // It comes again when its time out of sight is over.
    assert_eq!(reader.receive(20).await, "");
    assert_eq!(reader.receive(20).await, "late*2");
    assert_eq!(began.elapsed(), Duration::from_secs(55));
}

#[tokio::test(start_paused = true)]
async fn a_receive_of_the_same_name_gives_the_same_messages() {
    let queues = Queues::new();
    let url = queues.create("mail.fifo", Duration::from_secs(30));
    queues.send(&url, "a1", Some("a"));
    queues.faults().add(Rule::on("ReceiveMessage", Fault::LoseReply).first(1));
    let receive = |name: &str| {
        let request = queues.sqs().receive_message().queue_url(&url).receive_request_attempt_id(name);
        async move { request.send().await.map(|it| it.messages.unwrap_or_default().len()).ok() }
    };
    assert_eq!(receive("one").await, None);
    assert_eq!((receive("two").await, receive("one").await), (Some(0), Some(1)));
    assert_eq!(queues.held(&url)[0].receives, 1);
}

#[tokio::test(start_paused = true)]
async fn entries_fail_by_what_their_messages_say() {
    let queues = Queues::new();
    let url = queues.create("mail", Duration::from_secs(30));
    for body in ["good", "bad"] {
        queues.send(&url, body, None);
    }
    let fault =
        Fault::FailEntries { containing: "bad".to_owned(), code: "InternalError", sender_fault: false };
    queues.faults().add(Rule::on("DeleteMessageBatch", fault).first(1));
    let mut reader = Reader { client: queues.sqs(), url, received: Vec::new() };
    reader.receive(0).await;
    assert_eq!(reader.delete(&["bad", "good"]).await, "good");
    assert_eq!(reader.delete(&["bad"]).await, "bad");
}
