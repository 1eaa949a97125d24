//! Events as AWS sends them, compared with `aws_lambda_events`.

use aws_lambda_events::dynamodb::Event;
use millstream_processor::source::DeliveryId;
use millstream_processor::source::lambda_event::Wire;
use millstream_projections::{ChangeKind, Value};

use super::{FIFO, KEYS_ONLY, QUEUE, STREAM, Seen, TOPIC, all, received};

/// Compares with AWS's own types, field by field, as far as those keep apart what has to be kept apart.
fn agrees_with_aws_types(event: &str) {
    let theirs: Event = serde_json::from_str(event).unwrap();
    let ours = received(event).unwrap();
    assert_eq!(ours.wire, Wire::Stream);
    let batch = &ours.batches[0];
    assert_eq!(ours.batches.len(), 1);
    assert_eq!(batch.source.as_str(), "companies");
    assert_eq!(batch.deliveries.len(), theirs.records.len());
    for (ours, theirs) in batch.deliveries.iter().zip(theirs.records) {
        let seen = Seen::of(ours.change.as_ref().unwrap());
        let number = theirs.change.sequence_number.unwrap();
        assert_eq!(ours.id, DeliveryId::Sequence(number.clone()));
        assert_eq!(seen.kind.as_str(), theirs.event_name);
        assert_eq!(seen.keys, theirs.change.keys);
        assert_eq!(seen.new.unwrap_or_default(), theirs.change.new_image);
        assert_eq!(seen.old.unwrap_or_default(), theirs.change.old_image);
        assert_eq!(
            seen.created_at.unwrap_or(0),
            theirs.change.approximate_creation_date_time.timestamp() as u64
        );
        let label = theirs.event_source_arn.unwrap().split_once("/stream/").unwrap().1.to_owned();
        assert_eq!(seen.version, format!("{label}/{number:0>40}"));
        let by_ttl = theirs.user_identity.is_some_and(|who| who.principal_id == "dynamodb.amazonaws.com");
        assert_eq!(seen.expired, by_ttl);
    }
}

#[test]
fn stream_agrees_with_aws_types() {
    agrees_with_aws_types(STREAM);
    agrees_with_aws_types(KEYS_ONLY);
}

#[test]
fn stream_says_what_it_says() {
    let seen: Vec<_> = all(STREAM).into_iter().map(Result::unwrap).collect();
    let kinds: Vec<_> = seen.iter().map(|seen| seen.kind).collect();
    use ChangeKind::{Insert, Modify, Remove};
    assert_eq!(kinds, [Insert, Modify, Insert, Remove, Remove]);
    let times: Vec<_> = seen.iter().map(|seen| seen.created_at.unwrap() - 1_795_253_652).collect();
    assert_eq!(times, [0, 1, 2, 0, 0], "times with `.0`, without and with an exponent");
    assert_eq!(seen.iter().map(|seen| seen.expired).collect::<Vec<_>>(), [false, false, false, false, true]);
    assert_eq!((seen[0].new.is_some(), seen[0].old.is_some()), (true, false));
    assert_eq!((seen[3].new.is_some(), seen[3].old.is_some()), (false, true));

    let every = seen[2].new.as_ref().unwrap();
    assert_eq!(every["number"], Value::N("-12345678901234567890123456789012345.678".into()));
    assert_eq!(every["bytes"], Value::B(vec![0, 1, 2, 253, 254, 255]));
    assert_eq!(every["noBytes"], Value::B(Vec::new()));
    assert_eq!(every["text"], Value::S("line\nfeed, tab\t, slash / back\\slash, \u{2028}, 😀".into()));
    assert_eq!(every["quote\"d"], Value::S("y".into()));
    assert_eq!(every.len(), 18);
    assert_eq!(seen[2].digest, seen[4].digest);
    assert_ne!(seen[0].digest, seen[2].digest);
}

#[test]
fn keys_only_stream_has_no_images() {
    let seen: Vec<_> = all(KEYS_ONLY).into_iter().map(Result::unwrap).collect();
    assert!(seen.iter().all(|seen| seen.new.is_none() && seen.old.is_none()));
    assert_eq!(seen[1].created_at, None, "a time that is missing is not 1970");
    assert!(seen[0].version < seen[1].version, "21 digits come before 40");
}

#[test]
fn queue_with_envelopes() {
    let received = received(QUEUE).unwrap();
    assert_eq!(received.wire, Wire::Queue);
    assert_eq!(received.batches[0].source.as_str(), "events");
    let ids: Vec<_> = received.batches[0].deliveries.iter().map(|delivery| delivery.id.clone()).collect();
    let id = |n| DeliveryId::Message { id: format!("059f36b4-87a3-44ab-83d2-661975830a0{n}"), group: None };
    assert_eq!(ids, [id(1), id(2), id(3)], "a group of a standard queue is no order");

    let seen: Vec<_> = all(QUEUE).into_iter().map(Result::unwrap).collect();
    assert_eq!(seen[0].digest.as_str(), "q83vEjRWeJCrze8SNFZ4kA", "the digest is the one that was sent");
    assert_eq!(seen[0].version, "2026-11-20T09:14:07.512/0000000000000000000000000000000000439091");
    assert_eq!(seen[0].created_at, Some(1_795_253_652));
    assert_eq!(seen[0].new.as_ref().unwrap()["name"], Value::S("Millwright & Söhne \"West\"".into()));
    assert_eq!(seen[1].old, seen[0].new);
    assert_eq!((seen[2].kind, seen[2].expired, seen[2].created_at), (ChangeKind::Remove, true, None));
}

#[test]
fn fifo_queue_with_raw_messages() {
    let received = received(FIFO).unwrap();
    assert_eq!(received.batches[0].source.as_str(), "fifo");
    for delivery in &received.batches[0].deliveries {
        let DeliveryId::Message { group, .. } = &delivery.id else { panic!("{:?}", delivery.id) };
        assert_eq!(group.as_deref(), Some("q83vEjRWeJCrze8SNFZ4kA"));
        assert!(delivery.change.is_ok());
    }
}

#[test]
fn topic_that_invokes_the_function() {
    let received = received(TOPIC).unwrap();
    assert_eq!(received.wire, Wire::Topic);
    let batch = &received.batches[0];
    assert_eq!(batch.source.as_str(), "topic");
    assert_eq!(
        batch.deliveries[0].id,
        DeliveryId::Notification("95df01b4-ee98-5cb9-9903-4c221d41eb5e".into())
    );
    let from_topic = all(TOPIC).remove(0).unwrap();
    let from_fifo = all(FIFO).remove(0).unwrap();
    assert_eq!(Seen { source: "fifo".into(), ..from_topic }, from_fifo);
}

#[test]
fn every_record_can_be_cut_out_for_a_letter() {
    for event in [STREAM, KEYS_ONLY, QUEUE, FIFO, TOPIC] {
        let whole: serde_json::Value = serde_json::from_str(event).unwrap();
        let received = received(event).unwrap();
        for (index, delivery) in received.batches[0].deliveries.iter().enumerate() {
            let record: serde_json::Value = serde_json::from_slice(&delivery.raw.json()).unwrap();
            assert_eq!(record, whole["Records"][index]);
        }
    }
}
