//! A letter of each kind, as it is shown.

use millstream_processor::letters::{Closing, LetterHead, LetterId, LetterState};
use millstream_processor::outcome::{Fault, FaultKind};

use super::*;

const RECORD: &str = r#"{"eventID":"1","eventName":"MODIFY","eventVersion":"1.1","eventSource":"aws:dynamodb",
"awsRegion":"eu-west-1","eventSourceARN":"arn:aws:dynamodb:eu-west-1:000000000000:table/Orders/stream/2025-06-15T15:06:40.001",
"dynamodb":{"ApproximateCreationDateTime":1750000000,"Keys":{"pk":{"S":"ORDER#1"}},
"OldImage":{"pk":{"S":"ORDER#1"},"status":{"S":"DRAFT"},"tags":{"SS":["a","b"]},"note":{"S":"x"}},
"NewImage":{"pk":{"S":"ORDER#1"},"status":{"S":"PAID"},"tags":{"SS":["b","a"]},"total":{"N":"12.50"},"customer":{"M":{"name":{"S":"Müller"}}}},
"SequenceNumber":"100000000000000000001","SizeBytes":100,"StreamViewType":"NEW_AND_OLD_IMAGES"}}"#;

fn letter(record: &str, causes: &[&str]) -> Letter {
    let source = SourceName::new("orders").unwrap();
    let causes = causes.iter().map(|&cause| cause.to_owned()).collect();
    let fault = Fault { kind: FaultKind::Rejected, causes };
    Letter {
        head: LetterHead {
            id: LetterId::of(&source, None, b"1"),
            state: LetterState::Open,
            source: source.to_string(),
            projection: Some("orders-for-accounting".to_owned()),
            config: "c0ffee".to_owned(),
            key: Some(BTreeMap::from([("pk".to_owned(), Value::S("ORDER#1".to_owned()))])),
            digest: Some("A".repeat(22)),
            version: Some(format!("2025-06-15T15:06:40.001/{:040}", 7)),
            attempts: vec![Attempt::new(1_750_000_000, &fault), Attempt::new(1_750_000_060, &fault)],
            edited: 0,
            closing: None,
        },
        record: Bytes::copy_from_slice(record.as_bytes()),
    }
}

#[test]
fn a_letter_shows_the_fault_and_the_images_side_by_side() {
    let shown = Shown::of(&letter(RECORD, &["write the row", "ValidationException: bad"]), false).to_string();
    let id = letter("", &[]).head.id;
    let expected = format!(
        r#"Letter {id} (open)
  source      orders
  projection  orders-for-accounting
  key         pk = "ORDER#1"
  version     2025-06-15T15:06:40.001/0000000000000000000000000000000000000007
  config      c0ffee
  record      {size} bytes

Fault: rejected
  write the row
    because: ValidationException: bad

Attempts
  2025-06-15T15:06:40Z rejected: ValidationException: bad
  2025-06-15T15:07:40Z rejected: ValidationException: bad

Change: MODIFY at 2025-06-15T15:06:40Z, 4 of 6 attributes differ
    attribute  old         new
  + customer   -           {{"name": "Müller"}}
  - note       "x"         -
    pk         "ORDER#1"   "ORDER#1"
  ~ status     "DRAFT"     "PAID"
    tags       <"a", "b">  <"b", "a">
  + total      -           12.50
"#,
        size = RECORD.len()
    );
    assert_eq!(shown, expected);
}

#[test]
fn hidden_values_are_nowhere() {
    let causes = ["value PAID is wrong, of \"ORDER#1\"", "the item Müller 12.50 has no attribute `status`"];
    let mut letter = letter(RECORD, &causes);
    letter.head.version = Some("Müller".to_owned());
    let shown = Shown::of(&letter, true);
    let texts = [shown.to_string(), serde_json::to_string(&shown).unwrap()];
    for text in texts {
        for secret in ["ORDER#1", "PAID", "DRAFT", "ller", "12.5"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(text.contains("`status`") && text.contains("<S, 4 characters>"), "{text}");
    }
}

#[test]
fn json_has_the_record_as_it_came_and_the_differences() {
    let shown = serde_json::to_value(Shown::of(&letter(RECORD, &["bad"]), false)).unwrap();
    assert_eq!(shown["record"]["eventID"], "1");
    assert_eq!(shown["key"]["pk"]["S"], "ORDER#1");
    let status = &shown["content"]["change"]["attributes"][3];
    assert_eq!(status["difference"], "changed");
    assert_eq!((&status["old"]["S"], &status["new"]["S"]), (&"DRAFT".into(), &"PAID".into()));
}

#[test]
fn a_record_that_nobody_can_read_is_shown_as_it_is_or_not_at_all() {
    let letter = letter("no\u{1b}[31m json", &["record cannot be decoded"]);
    let shown = Shown::of(&letter, false).to_string();
    assert!(shown.contains("Record: it cannot be decoded") && !shown.contains('\u{1b}'), "{shown}");
    let hidden = Shown::of(&letter, true);
    assert!(hidden.record.is_none());
}

#[test]
fn long_values_are_cut_and_terminals_obey_nothing() {
    let record = RECORD.replace("PAID", &"\\u001b[2J".repeat(100));
    let shown = Shown::of(&letter(&record, &["\u{1b}[2J bad"]), false).to_string();
    assert!(!shown.contains('\u{1b}'));
    assert!(shown.lines().all(|line| line.chars().count() < 140), "{shown}");
}

#[test]
fn an_edited_and_closed_letter_says_so() {
    let mut letter = letter(RECORD, &["bad"]);
    let by = "kim as me@corp".to_owned();
    let closing =
        Closing { state: LetterState::Discarded, at: 1_750_000_120, by, reason: "a test".to_owned() };
    (letter.head.edited, letter.head.state, letter.head.closing) = (2, closing.state, Some(closing));
    let shown = Shown::of(&letter, false).to_string();
    assert!(shown.contains("(discarded)") && shown.contains("edited 2 times"), "{shown}");
    assert!(shown.contains("closed      2025-06-15T15:08:40Z by kim as me@corp: a test"), "{shown}");
}
