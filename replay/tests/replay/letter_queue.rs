//! Letters in an SQS queue, from the poison record to the empty queue.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::TryStreamExt;
use millstream_processor::letters::LetterFilter;
use millstream_processor::letters::queue::{Patience, QueueLetters};
use millstream_processor::projections::ProjectionName;
use millstream_processor::source::failure::StreamRanges;
use millstream_processor::wiring;
use millstream_replay::desk::Desk;
use millstream_replay::discard::{Discarded, discard};
use millstream_replay::import::Importer;
use millstream_replay::plan::Verdict;
use millstream_test_support::emulators::Ministack;
use serde_json::json;

use crate::import::pointer;
use crate::world::{EVENTS, ORDERS, World, apply_all, mended, mended_events, plans};

/// A deployment whose letters go to a queue of ministack.
struct Queue {
    world: World,
    /// Holds the server up.
    _services: Ministack,
    sqs: aws_sdk_sqs::Client,
    url: String,
}

impl Queue {
    async fn start(attributes: &[(QueueAttributeName, &str)]) -> Self {
        let (world, services) = (World::table().await, Ministack::start().await);
        let sqs = aws_sdk_sqs::Client::new(&services.sdk_config());
        let name = if attributes.is_empty() { "letters" } else { "letters.fifo" };
        let mut create = sqs.create_queue().queue_name(name);
        for (attribute, value) in attributes {
            create = create.attributes(attribute.clone(), *value);
        }
        let url = create.send().await.unwrap().queue_url.unwrap();
        Self { world, _services: services, sqs, url }
    }

    /// A desk as another process has it: what others received it sees when they release it.
    fn desk(&self, toml: &str) -> Desk {
        let mut desk = self.world.desk(toml);
        let ledger = self.world.config(toml).state.ledger_table();
        // This server has one part only, so an answer without messages says that there are none.
        let patience = Patience { wait: Duration::ZERO, ..Patience::default() };
        let (sqs, url) = (self.sqs.clone(), self.url.as_str().into());
        let letters = QueueLetters::new(sqs, url, patience, self.world.db.dynamodb(), ledger.into());
        desk.pipeline.letters = Arc::new(letters);
        desk
    }

    /// How many messages there are, in sight or not.
    async fn messages(&self) -> u64 {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let asked = self.sqs.get_queue_attributes().queue_url(&self.url);
        let asked = asked.set_attribute_names(Some(names.to_vec()));
        let counts = asked.send().await.unwrap().attributes.unwrap();
        names.iter().map(|name| counts[name].parse::<u64>().unwrap()).sum()
    }

    async fn verdicts(&self, toml: &str) -> Vec<Verdict> {
        let desk = self.desk(toml);
        let verdicts = plans(&desk).await.iter().map(|plan| plan.verdict).collect();
        desk.pipeline.letters.release().await;
        verdicts
    }
}

#[tokio::test]
async fn a_poison_record_waits_in_the_queue_until_it_is_replayed() {
    let fifo = [(QueueAttributeName::FifoQueue, "true")];
    for attributes in [&[][..], &fifo[..]] {
        let queue = Queue::start(attributes).await;
        let world = &queue.world;
        for (id, total) in [("o1", Some(1)), ("o2", None), ("o3", Some(3))] {
            world.order(id, total).await;
        }
        world.deliver_to(queue.desk(ORDERS).pipeline, ORDERS, 0).await;
        let good = [json!({ "orderId": "o1", "total": 1 }), json!({ "orderId": "o3", "total": 3 })];
        assert_eq!(world.rows().await, good);
        assert_eq!(queue.messages().await, 1);

        // Nothing was mended: it fails again, and stays.
        assert_eq!(queue.verdicts(ORDERS).await, [Verdict::StillRejected]);
        let desk = queue.desk(ORDERS);
        assert_eq!(apply_all(&desk).await.failed, 1);
        desk.pipeline.letters.release().await;

        // Another attempt is another message, and the letter is one all the same.
        assert_eq!(queue.verdicts(&mended()).await, [Verdict::WouldWrite]);
        let applied = apply_all(&queue.desk(&mended())).await;
        assert!(applied.is_clean() && applied.replayed == 1, "{applied:?}");
        assert_eq!(world.rows().await.len(), 3);
        assert!(world.rows().await.contains(&json!({ "orderId": "o2" })));
        assert_eq!(queue.messages().await, 0);
        assert!(queue.verdicts(&mended()).await.is_empty());

        // Delivered once more it is stale, and the trail is kept although the message is gone.
        world.deliver_to(queue.desk(&mended()).pipeline, &mended(), 0).await;
        assert_eq!(queue.messages().await, 0);
        let trail: Vec<_> = queue.desk(ORDERS).pipeline.letters.trail().try_collect().await.unwrap();
        let results: Vec<_> = trail.iter().map(|entry| entry.result.as_str()).collect();
        assert!(results[0].starts_with("failed again"), "{results:?}");
        assert_eq!(results[1..], ["replayed: 1 written"]);
    }
}

#[tokio::test]
async fn what_waits_in_the_queue_goes_out_in_order_and_what_was_discarded_does_not_come_back() {
    let queue = Queue::start(&[]).await;
    let world = &queue.world;
    for n in 1..=4 {
        let status = if n == 1 { json!({}) } else { json!({ "status": "PAID" }) };
        let mut order = json!({ "orderId": "o1", "n": n });
        order.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
        world.db.put("Orders", order).await;
    }
    let deliver = || world.deliver_to(queue.desk(EVENTS).pipeline, EVENTS, 0);
    deliver().await;
    let desk = queue.desk(&mended_events());
    let filter = LetterFilter::default();
    let mut heads: Vec<_> = desk.letters().list(&filter).try_collect().await.unwrap();
    heads.sort_by(|a, b| a.version.cmp(&b.version));
    for head in &heads[..2] {
        assert_eq!(discard(&desk, &head.id, "no").await.unwrap(), Discarded::Done);
    }
    desk.pipeline.letters.release().await;
    // All of it comes again: what waits has another message, and what was discarded has none.
    deliver().await;
    assert_eq!(queue.messages().await, 4);
    let applied = apply_all(&queue.desk(&mended_events())).await;
    assert!(applied.is_clean() && applied.replayed == 2, "{applied:?}");
    assert_eq!((world.published(), queue.messages().await), (vec![3, 4], 0));
    deliver().await;
    assert_eq!((world.published(), queue.messages().await), (vec![3, 4], 0));
}

#[tokio::test]
async fn what_a_mapping_gave_up_on_waits_in_the_queue_and_is_replayed_from_there() {
    let queue = Queue::start(&[]).await;
    let world = &queue.world;
    for id in ["o1", "o2"] {
        world.order(id, None).await;
    }
    let document = pointer(world, 0, 1).await.to_string();
    let ranges = StreamRanges::new(world.db.streams());
    let sources = wiring::sources(&world.config(ORDERS));
    let desk = queue.desk(ORDERS);
    let imported = Importer { desk: &desk, sources: &sources, ranges: &ranges }.import(&document).await;
    desk.pipeline.letters.release().await;
    assert_eq!((imported.unwrap().stored.len(), queue.messages().await), (2, 2));

    let applied = apply_all(&queue.desk(&mended())).await;
    assert!(applied.is_clean() && applied.replayed == 2, "{applied:?}");
    assert_eq!(world.rows().await, [json!({ "orderId": "o1" }), json!({ "orderId": "o2" })]);
    assert_eq!(queue.messages().await, 0);
}

/// The first change of o1 fails, with a letter of another key beside it.
async fn two_keys(queue: &Queue) {
    for id in ["o1", "o2"] {
        queue.world.db.put("Orders", json!({ "orderId": id, "n": 1 })).await;
    }
    queue.world.deliver_to(queue.desk(EVENTS).pipeline, EVENTS, 0).await;
    assert_eq!(queue.messages().await, 2);
}

#[tokio::test]
async fn a_worker_gives_back_what_it_received_to_close_a_letter() {
    let queue = Queue::start(&[]).await;
    two_keys(&queue).await;
    // The cause has gone: one of them goes through when it comes again.
    queue.world.deliver_to(queue.desk(&mended_events()).pipeline, &mended_events(), 1).await;
    assert_eq!((queue.world.published().len(), queue.messages().await), (1, 1));
    assert_eq!(queue.verdicts(&mended_events()).await, [Verdict::WouldWrite]);
}

#[tokio::test]
async fn a_letter_in_other_hands_is_not_taken_for_absent() {
    let queue = Queue::start(&[]).await;
    let world = &queue.world;
    two_keys(&queue).await;
    let other = queue.desk(EVENTS);
    let filter = LetterFilter::default();
    let heads: Vec<_> = other.letters().list(&filter).try_collect().await.unwrap();
    for head in &heads {
        other.letters().prolong(&head.id).await.unwrap();
    }
    // It goes through although its letter cannot be found: whoever has that may have edited it.
    world.deliver_to(queue.desk(&mended_events()).pipeline, &mended_events(), 0).await;
    assert_eq!(world.published(), [1, 1]);
    let desk = queue.desk(&mended_events());
    let projection = ProjectionName::new("order-changed").unwrap();
    assert_eq!(desk.pipeline.holds.keys(&projection).await.unwrap().len(), 2);
    let lacking = desk.lacking_keys(&filter, &HashSet::new()).await.unwrap();
    assert_eq!(lacking.len(), 2);
    assert!(lacking[0].text().contains("not there, or in someone else's hands: "), "{}", lacking[0].text());
    for head in &heads {
        assert!(desk.is_known(&head.id).await.unwrap());
        assert_eq!(discard(&desk, &head.id, "it is lost").await.unwrap(), Discarded::Done);
    }
    assert!(desk.pipeline.holds.keys(&projection).await.unwrap().is_empty());

    // They turn up, and nobody takes them for letters any more.
    other.letters().release().await;
    assert_eq!(queue.messages().await, 2);
    let applied = apply_all(&desk).await;
    assert_eq!((applied.chosen, applied.is_clean()), (0, true), "{applied:?}");
    assert_eq!((world.published(), queue.messages().await), (vec![1, 1], 0));
}
