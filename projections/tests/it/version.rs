//! What orders changes, and the guard stored beside what was written.

use millstream_projections::item::Value;
use millstream_projections::version::{SEQUENCE_DIGITS, SequenceNumber};
use millstream_projections::{Guard, KeyDigest, Version};
use proptest::prelude::*;

use crate::support::{item, json};

const LABEL: &str = "2026-01-01T00:00:00.000";
const LATER: &str = "2026-03-09T17:05:00.123";

fn guard(key: &str, label: &str, sequence: &str) -> Guard {
    let digest = KeyDigest::of(&item(&json(key)));
    Guard { digest, version: Version::of_stream(label, &SequenceNumber::new(sequence).unwrap()) }
}

/// Numbers as DynamoDB writes them: 21 to 40 digits, the first not zero.
fn sequence() -> impl Strategy<Value = String> {
    "[1-9][0-9]{20,39}"
}

fn numerically(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

proptest! {
    #[test]
    fn sequence_numbers_order_as_numbers(a in sequence(), b in sequence()) {
        let (x, y) = (SequenceNumber::new(&a).unwrap(), SequenceNumber::new(&b).unwrap());
        prop_assert_eq!(x.cmp(&y), numerically(&a, &b));
        prop_assert_eq!(x.as_str().len(), SEQUENCE_DIGITS);
        prop_assert_eq!(x.unpadded(), a.as_str());
    }

    #[test]
    fn versions_order_by_stream_and_then_as_numbers(a in sequence(), b in sequence(), relabelled in any::<bool>()) {
        let label = if relabelled { LATER } else { LABEL };
        let version = |label, text: &str| Version::of_stream(label, &SequenceNumber::new(text).unwrap());
        let expected = if relabelled { std::cmp::Ordering::Less } else { numerically(&a, &b) };
        let (x, y) = (version(LABEL, &a), version(label, &b));
        prop_assert_eq!(x.cmp(&y), expected);
        prop_assert_eq!(x.as_str().as_bytes().cmp(y.as_str().as_bytes()), expected);
    }

    #[test]
    fn declared_whole_numbers_order_as_numbers(a in any::<u128>(), b in any::<u128>()) {
        let version = |number: u128| Version::declared(&Value::N(number.to_string()), false).unwrap();
        prop_assert_eq!(version(a).cmp(&version(b)), a.cmp(&b));
    }

    #[test]
    fn a_guard_is_stale_exactly_where_an_own_one_is_as_new(a in sequence(), b in sequence(), other in any::<bool>()) {
        let ours = guard(r#"{"id": "1"}"#, LABEL, &a);
        let stored = guard(if other { r#"{"id": "2"}"# } else { r#"{"id": "1"}"# }, LABEL, &b).to_string();
        prop_assert_eq!(ours.owns(&stored), !other);
        prop_assert_eq!(ours.is_stale_against(&stored), !other && numerically(&a, &b).is_le());
        prop_assert_eq!(stored.starts_with(&ours.own_prefix()), !other);
    }

    #[test]
    fn keys_have_one_digest_in_whatever_order_they_come(a in "[a-z]{1,5}", b in "[a-z]{1,5}", x in ".*", y in ".*") {
        prop_assume!(a != b);
        let forwards = item(&serde_json::json!({ &a: x, &b: y }));
        let backwards = item(&serde_json::json!({ &b: y, &a: x }));
        prop_assert_eq!(KeyDigest::of(&forwards), KeyDigest::of(&backwards));
        let digest = KeyDigest::of(&forwards);
        prop_assert_eq!(KeyDigest::from_text(digest.as_str()), Some(digest));
    }

    #[test]
    fn any_text_is_a_sequence_number_or_an_error(text in ".{0,60}") {
        let valid = !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.trim_start_matches('0').len() <= SEQUENCE_DIGITS;
        prop_assert_eq!(SequenceNumber::new(&text).is_ok(), valid);
    }
}

#[test]
fn the_same_version_again_is_stale() {
    let [one, next] =
        ["100000000000000000001", "100000000000000000002"].map(|it| guard(r#"{"id": "1"}"#, LABEL, it));
    assert!(one.is_stale_against(&one.to_string()));
    assert!(one.is_stale_against(&next.to_string()));
    assert!(!next.is_stale_against(&one.to_string()));
}

#[test]
fn keys_that_look_alike_have_different_digests() {
    let keys = [
        r#"{"a": "1"}"#,
        r#"{"a": 1}"#,
        r#"{"b": "1"}"#,
        r#"{"a": "1", "b": ""}"#,
        r#"{"a": "", "b": "1"}"#,
        "{}",
    ];
    let digests: std::collections::HashSet<_> =
        keys.iter().map(|key| KeyDigest::of(&item(&json(key)))).collect();
    assert_eq!(digests.len(), keys.len());
}

#[test]
fn a_removal_is_later_than_the_image_it_removed_and_earlier_than_the_next() {
    for [earlier, later] in [["7", "8"], ["9", "10"]] {
        let declared = |text: &str, removed| Version::declared(&Value::N(text.to_owned()), removed).unwrap();
        assert!(declared(earlier, false) < declared(earlier, true));
        assert!(declared(earlier, true) < declared(later, false));
    }
}

#[test]
fn what_declares_no_version_says_so_without_its_value() {
    let why = |value: Value| Version::declared(&value, false).unwrap_err().to_string();
    let rest = ": use a string, or a whole number from 0 with at most 40 digits";
    assert_eq!(why(Value::S(String::new())), format!("version attribute is an empty string{rest}"));
    assert_eq!(
        why(Value::N("-1".into())),
        format!("version attribute is negative, fractional or too long a number{rest}")
    );
    assert_eq!(
        why(Value::N("1.5".into())),
        format!("version attribute is negative, fractional or too long a number{rest}")
    );
    assert_eq!(why(Value::Bool(true)), format!("version attribute is of type BOOL{rest}"));
}

#[test]
fn a_digest_that_was_carried_is_checked() {
    for text in ["", "short", "AAAAAAAAAAAAAAAAAAAAA/", "AAAAAAAAAAAAAAAAAAAAAAA", "ÄAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(KeyDigest::from_text(text), None, "{text}");
    }
}
