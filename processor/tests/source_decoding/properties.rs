//! Arbitrary items and arbitrary damage.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use millstream_processor::source::lambda_event::decode;
use millstream_processor::source::replay::decode_raw;
use millstream_processor::source::stream_record;
use millstream_projections::{Item, Value};
use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use serde_json::json;

use super::wires::sdk_record;
use super::{FIFO, KEYS_ONLY, QUEUE, STREAM, STREAM_ARN, Seen, TOPIC, all, name, sources};

fn value() -> impl Strategy<Value = Value> {
    let number = "-?[1-9][0-9]{0,20}(\\.[0-9]{1,17})?";
    let leaf = prop_oneof![
        any::<String>().prop_map(Value::S),
        number.prop_map(Value::N),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Null(true)),
        vec(any::<u8>(), 0..20).prop_map(Value::B),
        vec(any::<String>(), 1..4).prop_map(Value::Ss),
        vec(number, 1..4).prop_map(Value::Ns),
        vec(vec(any::<u8>(), 0..6), 1..4).prop_map(Value::Bs),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::L),
            hash_map(any::<String>(), inner, 0..4).prop_map(Value::M),
        ]
    })
}

/// Keys are scalars: nothing else is allowed in one.
fn keys() -> impl Strategy<Value = Item> {
    let scalar = prop_oneof![
        ".{1,30}".prop_map(Value::S),
        "[1-9][0-9]{0,20}".prop_map(Value::N),
        vec(any::<u8>(), 1..20).prop_map(Value::B),
    ];
    hash_map(any::<String>(), scalar, 1..3).prop_map(Item::from)
}

fn item() -> impl Strategy<Value = Item> {
    hash_map(any::<String>(), value(), 0..6).prop_map(Item::from)
}

fn record(keys: &Item, new: &Option<Item>, old: &Option<Item>, number: u128) -> serde_json::Value {
    let mut body = json!({"Keys": keys, "SequenceNumber": number.to_string(), "SizeBytes": 1,
        "ApproximateCreationDateTime": 1_795_253_652, "StreamViewType": "NEW_AND_OLD_IMAGES"});
    for (name, image) in [("NewImage", new), ("OldImage", old)] {
        if let Some(image) = image {
            body[name] = json!(image);
        }
    }
    json!({"eventName": "MODIFY", "eventSource": "aws:dynamodb", "eventSourceARN": STREAM_ARN, "dynamodb": body})
}

/// Decodes whatever it is and reads all that came of it, as letters and projections would.
fn survives(event: &[u8]) {
    let Ok(received) = decode(Bytes::copy_from_slice(event), &sources()) else { return };
    for delivery in received.batches.into_iter().flat_map(|batch| batch.deliveries) {
        let raw = delivery.raw.json();
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&raw).is_ok());
        let again = decode_raw(raw, &name("companies"));
        assert_eq!(again.change.is_ok(), delivery.change.is_ok());
        if let Ok(change) = delivery.change {
            let _ = (change.keys.item().is_ok(), change.digest().is_ok());
            let _ = change.new.map(|image| image.item().is_ok());
            let _ = change.old.map(|image| image.item().is_ok());
        }
    }
}

proptest! {
    #[test]
    fn items_survive_every_wire(keys in keys(), new in prop::option::of(item()), old in prop::option::of(item()), number in 1u128..) {
        let json = record(&keys, &new, &old, number);
        let event = json!({"Records": [json]}).to_string();
        let seen = all(&event).remove(0).unwrap();
        prop_assert_eq!((&seen.keys, &seen.new, &seen.old), (&keys, &new, &old));

        let arn: Arc<str> = STREAM_ARN.into();
        let sdk = stream_record::decode(sdk_record(&json), &name("companies"), &arn);
        prop_assert_eq!(Seen::of(sdk.change.as_ref().unwrap()), seen.clone());
        let again = decode_raw(sdk.raw.json(), &name("companies"));
        prop_assert_eq!(Seen::of(again.change.as_ref().unwrap()), seen);
    }

    #[test]
    fn fast_path_and_slow_path_agree(items in vec((keys(), prop::option::of(item())), 1..5)) {
        let mut records: Vec<_> = items.iter().map(|(keys, new)| record(keys, new, &None, 7)).collect();
        let fast = all(&json!({"Records": records}).to_string());
        records.push(json!({"eventName": 5, "dynamodb": {"SequenceNumber": "8"}}));
        let mut slow = all(&json!({"Records": records}).to_string());
        prop_assert!(slow.pop().unwrap().is_err());
        prop_assert_eq!(fast, slow);
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..200), text in any::<String>()) {
        survives(&bytes);
        survives(text.as_bytes());
        decode_raw(Bytes::from(bytes), &name("companies"));
        decode_raw(Bytes::from(text), &name("companies"));
    }

    #[test]
    fn damaged_events_never_panic(
        which in 0usize..5,
        cut in any::<prop::sample::Index>(),
        damage in vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\0n "[..])]), 0..4),
        truncated in any::<bool>(),
    ) {
        let mut bytes = [STREAM, KEYS_ONLY, QUEUE, FIFO, TOPIC][which].as_bytes().to_vec();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if truncated {
            bytes.truncate(cut.index(bytes.len()));
        }
        survives(&bytes);
    }

    #[test]
    fn swapped_parts_never_panic(parts in vec((any::<prop::sample::Index>(), "[a-zA-Z.]{1,20}", value()), 1..4)) {
        let mut event: serde_json::Value = serde_json::from_str(STREAM).unwrap();
        let records = event["Records"].as_array_mut().unwrap();
        for (which, member, value) in parts {
            let record = which.get_mut(records);
            record["dynamodb"][&member] = json!(value);
            record[&member] = json!(HashMap::from([(member.clone(), value)]));
        }
        survives(event.to_string().as_bytes());
    }
}
