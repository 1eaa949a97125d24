//! What an event source mapping gave up on, in all its forms, made into letters.

use millstream_processor::letters::LetterState;
use millstream_processor::source::failure::StreamRanges;
use millstream_processor::wiring;
use millstream_replay::import::{ImportError, Imported, Importer};
use millstream_replay::plan::Verdict;
use millstream_test_support::faults::{Fault, Rule};
use millstream_test_support::lambda_event;
use serde_json::{Value, json};

use crate::world::{ORDERS, World, apply_all, mended, plans};

async fn import(world: &World, document: &Value) -> Result<Imported, ImportError> {
    let (desk, config) = (world.desk(ORDERS), world.config(ORDERS));
    let ranges = StreamRanges::new(world.db.streams());
    let sources = wiring::sources(&config);
    Importer { desk: &desk, sources: &sources, ranges: &ranges }.import(&document.to_string()).await
}

/// A pointer at the records from one number to another, in the shard that they are in.
pub(crate) async fn pointer(world: &World, first: usize, last: usize) -> Value {
    let records = world.db.read_stream("Orders").await;
    let number = |at: usize| records[at].dynamodb().unwrap().sequence_number().unwrap().to_owned();
    let arn = world.db.stream_arn("Orders").await;
    let described = world.db.perform("DescribeStream", json!({ "StreamArn": arn })).await;
    json!({
        "requestContext": { "requestId": "r", "functionArn": "arn:f", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 4 },
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": null },
        "version": "1.0", "timestamp": "2025-06-15T16:00:00Z",
        "DDBStreamBatchInfo": {
            "shardId": described["StreamDescription"]["Shards"][0]["ShardId"],
            "startSequenceNumber": number(first), "endSequenceNumber": number(last),
            "approximateArrivalOfFirstRecord": "2025-06-14T12:06:40Z",
            "approximateArrivalOfLastRecord": "2025-06-14T12:06:41Z",
            "batchSize": last - first + 1, "streamArn": arn,
        },
    })
}

pub(crate) async fn four_orders() -> World {
    let world = World::table().await;
    for total in 1..=4 {
        world.order(&format!("o{total}"), Some(total)).await;
    }
    world
}

#[tokio::test]
async fn a_pointer_becomes_the_letters_of_its_records_and_a_second_time_nothing() {
    let [table, directory] = World::each().await;
    for world in [table, directory] {
        for total in 1..=4 {
            world.order(&format!("o{total}"), Some(total)).await;
        }
        let document = pointer(&world, 1, 2).await;
        let imported = import(&world, &document).await.unwrap();
        assert_eq!((imported.stored.len(), imported.known, &imported.late), (2, 0, &None));
        let letters = world.letters(&[]).await;
        let cause = &letters[0].head.attempts[0].causes[0];
        assert!(cause.contains("arn:f after 4 attempts: RetryAttemptsExhausted"), "{cause}");
        assert_eq!(letters[0].head.projection, None);

        let again = import(&world, &document).await.unwrap();
        assert_eq!((again.stored.len(), again.known), (0, 2));
        assert_eq!(world.letters(&[]).await, letters);
        assert_eq!(world.trail().await.len(), 1);

        let desk = world.desk(ORDERS);
        assert!(plans(&desk).await.iter().all(|plan| plan.verdict == Verdict::WouldWrite));
        assert_eq!(apply_all(&desk).await.replayed, 2);
        let expected = [json!({ "orderId": "o2", "total": 2 }), json!({ "orderId": "o3", "total": 3 })];
        assert_eq!(world.rows().await, expected);
        // What is closed is not opened again.
        let after = import(&world, &document).await.unwrap();
        assert_eq!((after.stored.len(), after.known), (0, 2));
        assert!(world.letters(&[]).await.is_empty());
    }
}

#[tokio::test]
async fn every_form_gives_the_same_letters() {
    let world = four_orders().await;
    let raw = pointer(&world, 0, 3).await;
    let records = world.db.read_stream("Orders").await;
    let event = lambda_event::event(&world.db.stream_arn("Orders").await, &records);
    let mut forms = vec![raw.clone()];
    forms.push(
        json!({ "Type": "Notification", "MessageId": "m", "TopicArn": "t", "Message": raw.to_string() }),
    );
    for payload in [event.clone(), json!(event.to_string())] {
        let mut s3 = raw.clone();
        s3["payload"] = payload;
        forms.push(s3);
    }
    for condition in ["RecordAgeExceeded", "MaxRecordAgeExceeded"] {
        let mut aged = raw.clone();
        aged["requestContext"]["condition"] = json!(condition);
        aged.as_object_mut().unwrap().remove("responseContext");
        forms.push(aged);
    }
    let mut pipes = raw.clone();
    let members = pipes.as_object_mut().unwrap();
    members.remove("requestContext");
    members.remove("responseContext");
    members.insert(
        "context".into(),
        json!({ "partnerResourceArn": "arn:p", "condition": "RetryAttemptsExhausted" }),
    );
    forms.push(pipes);

    let mut known: Option<Vec<_>> = None;
    for form in forms {
        let fresh = four_orders().await;
        let form = retarget(&form, &pointer(&fresh, 0, 3).await);
        let imported = import(&fresh, &form).await.unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!((imported.stored.len(), imported.late), (4, None), "{form}");
        let mut keys: Vec<_> =
            fresh.letters(&[]).await.into_iter().map(|letter| letter.head.digest).collect();
        keys.sort();
        assert_eq!(*known.get_or_insert_with(|| keys.clone()), keys);
    }
}

/// The same document about the stream of another world, whose names differ.
fn retarget(form: &Value, pointer: &Value) -> Value {
    let info = &pointer["DDBStreamBatchInfo"];
    let mut form = form.clone();
    if let Some(message) = form["Message"].as_str() {
        let mut inner: Value = serde_json::from_str(message).unwrap();
        inner["DDBStreamBatchInfo"] = info.clone();
        form["Message"] = json!(inner.to_string());
    } else {
        form["DDBStreamBatchInfo"] = info.clone();
    }
    form
}

#[tokio::test]
async fn what_the_stream_no_longer_has_is_told_with_how_late_it_is() {
    let world = four_orders().await;
    let document = pointer(&world, 0, 1).await;
    world.db.trim_stream("Orders");
    let imported = import(&world, &document).await.unwrap();
    assert!(imported.stored.is_empty());
    let late = imported.late.unwrap();
    assert_eq!((late.lost, late.by), (Some(2), Some(3 * 3_600 + 60)));
    assert!(late.to_string().contains("2 records are no longer in the stream, 3h 1m too late"), "{late}");
    assert!(world.trail().await.is_empty());
}

#[tokio::test]
async fn what_is_left_of_a_batch_is_imported() {
    let world = four_orders().await;
    let before = pointer(&world, 3, 3).await;
    world.db.trim_stream("Orders");
    world.order("o5", Some(5)).await;
    world.order("o6", Some(6)).await;
    let last = world.db.read_stream("Orders").await.len() - 1;
    let mut document = pointer(&world, last, last).await;
    let info = &mut document["DDBStreamBatchInfo"];
    info["startSequenceNumber"] = before["DDBStreamBatchInfo"]["startSequenceNumber"].clone();
    info["batchSize"] = json!(3);
    let imported = import(&world, &document).await.unwrap();
    assert_eq!(imported.stored.len(), 2, "{imported:?}");
    assert_eq!(imported.late.unwrap().lost, Some(1));
}

#[tokio::test]
async fn foreign_documents_and_strange_streams_say_why() {
    let world = four_orders().await;
    let mut strange = pointer(&world, 0, 0).await;
    strange["DDBStreamBatchInfo"]["streamArn"] =
        json!("arn:aws:dynamodb:eu-west-1:000000000000:table/Strangers/stream/2025-06-15T15:06:40.001");
    for (document, says) in [(json!({ "hello": 1 }), "DDBStreamBatchInfo"), (strange, "Strangers")] {
        let error = import(&world, &document).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(world.letters(&[]).await.is_empty());
}

#[tokio::test]
async fn throttles_and_expired_iterators_are_waited_out() {
    let world = four_orders().await;
    let document = pointer(&world, 0, 3).await;
    world.db.faults().add(Rule::on("GetShardIterator", Fault::Throttle).first(1));
    world.db.faults().add(Rule::on("GetRecords", Fault::LimitExceeded).first(1));
    world.db.faults().add(Rule::on("GetRecords", Fault::ExpiredIterator).first(1));
    assert_eq!(import(&world, &document).await.unwrap().stored.len(), 4);
}

#[tokio::test]
async fn of_a_letter_of_all_projections_only_what_failed_stays() {
    let world = World::table().await;
    world.order("o1", None).await;
    let document = pointer(&world, 0, 0).await;
    import(&world, &document).await.unwrap();
    let second = ORDERS.split("[projection.accounting]").nth(1).unwrap();
    let both = format!("{}\n[projection.strict]{}", mended(), second.replace("\"Accounting\"", "\"Strict\""));
    world.db.create_table("Strict", "orderId", None, None).await;
    let desk = world.desk(&both);
    assert_eq!(plans(&desk).await[0].verdict, Verdict::StillRejected);
    let applied = apply_all(&desk).await;
    assert_eq!((applied.failed, applied.replayed), (1, 0));
    assert_eq!(world.rows().await, [json!({ "orderId": "o1" })]);
    let left = world.letters(&[]).await;
    assert_eq!((left.len(), left[0].head.projection.as_deref()), (1, Some("strict")));
    assert_eq!(world.letters(&[LetterState::Replayed]).await.len(), 1);
}
