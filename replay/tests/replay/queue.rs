//! Documents in a real queue: deleted when their letters are safe, and left where they cannot be imported.

use millstream_processor::source::failure::{FailureQueue, StreamRanges};
use millstream_processor::wiring;
use millstream_replay::import::Importer;
use millstream_test_support::emulators::Ministack;
use serde_json::json;

use crate::import::{four_orders, pointer};
use crate::world::ORDERS;

#[tokio::test]
async fn a_message_goes_when_its_letters_are_safe_and_stays_when_it_cannot_be_imported() {
    let (world, services) = (four_orders().await, Ministack::start().await);
    let sqs = aws_sdk_sqs::Client::new(&services.sdk_config());
    let url = sqs.create_queue().queue_name("failures").send().await.unwrap().queue_url.unwrap();
    let raw = pointer(&world, 0, 1).await.to_string();
    let enveloped = json!({ "Type": "Notification", "Message": pointer(&world, 2, 3).await.to_string() });
    for body in [raw.clone(), enveloped.to_string(), raw, "hello".to_owned()] {
        sqs.send_message().queue_url(&url).message_body(body).send().await.unwrap();
    }
    let (desk, sources) = (world.desk(ORDERS), wiring::sources(&world.config(ORDERS)));
    let ranges = StreamRanges::new(world.db.streams());
    let importer = Importer { desk: &desk, sources: &sources, ranges: &ranges };
    let (mut stored, mut known, mut refused) = (0, 0, 0);
    let queue = FailureQueue::new(sqs.clone(), url.as_str());
    let mut tell = |_: &str, imported: &Result<millstream_replay::import::Imported, _>| match imported {
        Ok(imported) => {
            stored += imported.stored.len();
            known += imported.known;
        }
        Err(_) => refused += 1,
    };
    importer.drain(&queue, &mut tell).await.unwrap();
    assert_eq!((stored, known, refused), (4, 2, 1));
    assert_eq!(world.letters(&[]).await.len(), 4);
    let name = aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
    let left = sqs.get_queue_attributes().queue_url(&url).attribute_names(name.clone()).send().await.unwrap();
    assert_eq!(left.attributes.unwrap()[&name], "1");
}
