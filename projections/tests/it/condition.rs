//! The `where` of a projection.

use millstream_projections::condition::{Condition, Side};
use serde_json::Value as Json;

use crate::support::{json, moved};

const OLD: &str = r#"{"id": "1", "status": "DRAFT", "total": 10}"#;
const NEW: &str = r#"{"id": "1", "status": "PAID", "total": 150.25, "customer": {"city": "Graz"}, "tags": ["a", "b"],
    "big": 99999999999999999999, "none": null}"#;

fn eval(condition: &str, side: Side) -> Result<bool, String> {
    let condition = Condition::parse(condition).map_err(|error| error.to_string())?;
    condition.holds(&moved(&json(OLD), &json(NEW)), side).map_err(|reject| reject.to_string())
}

#[track_caller]
fn check(condition: &str, expected: bool) {
    assert_eq!(eval(condition, Side::After), Ok(expected), "{condition}");
}

#[test]
fn reads_both_images_the_key_and_the_event() {
    check("new.status == 'PAID'", true);
    check("new.status != 'DRAFT'", true);
    check("old.status == 'DRAFT' && new.status == 'PAID'", true);
    check("keys.id == '1'", true);
    check("event.type == 'MODIFY' && event.source == 'items' && !event.expired", true);
    check("new.customer.city == 'Graz'", true);
    check("'b' in new.tags", true);
    check("new.status in ['PLACED', 'SHIPPED']", false);
    check("new.status.matches('^P')", true);
    check("new.none == null", true);
    check("true", true);
}

#[test]
fn attributes_are_reached_by_index_and_macros_and_as_a_whole() {
    check("new['status'] == 'PAID'", true);
    check("new['sta' + 'tus'] == 'PAID'", true);
    check("'status' in new && !('nope' in new)", true);
    check("new.tags.exists(tag, tag == 'b')", true);
    check("new.tags.all(new, new == 'b')", false);
    check("old.all(name, name in new)", true);
    check("size(old) == 3", true);
    check("[new.status, old.status] == ['PAID', 'DRAFT']", true);
    check("{'was': old.status}.was == 'DRAFT'", true);
}

#[test]
fn whole_numbers_and_fractions_compare() {
    check("new.total > 100", true);
    check("new.total > 150.5", false);
    check("old.total > 9.5", true);
    check("old.total == 10", true);
    check("old.total == 10.0", true);
    check("new.total > old.total", true);
    check("new.big > 5", true);
}

#[test]
fn has_asks_for_what_may_be_missing() {
    check("has(new.nope)", false);
    check("has(new.nope) && new.nope == 1", false);
    check("has(new.customer) && has(new.customer.city)", true);
    check("has(old.customer)", false);
    check("!has(new.nope) || new.nope == 1", true);
}

#[test]
fn the_side_before_sees_the_old_image_as_new() {
    assert_eq!(eval("new.status == 'DRAFT'", Side::Before), Ok(true));
    assert_eq!(eval("has(old.status)", Side::Before), Ok(false));
    let removal = moved(&json(OLD), &Json::Null);
    let condition = Condition::parse("has(new.status)").unwrap();
    assert_eq!(condition.holds(&removal, Side::After), Ok(false));
    assert_eq!(condition.holds(&removal, Side::Before), Ok(true));
}

#[test]
fn what_cannot_be_told_is_a_rejection() {
    let reject = |condition: &str| eval(condition, Side::After).unwrap_err();
    assert_eq!(
        reject("new.nope == 1"),
        "where `new.nope == 1`: No such key: nope; test with has() what may be missing"
    );
    assert_eq!(reject("new.status"), "where `new.status`: gives string and not true or false");
    assert!(reject("new.status > 1").starts_with("where `new.status > 1`: "));
}

#[test]
fn no_value_of_the_item_is_in_a_rejection() {
    for condition in
        ["new.status > 1", "new.status + 1 == 2", "new.tags[7] == 'x'", "new.status", "new.customer.city > 3"]
    {
        let reject = eval(condition, Side::After).unwrap_err();
        for value in ["PAID", "Graz", "150.25"] {
            assert!(!reject.contains(value), "{reject}");
        }
    }
}

#[test]
fn says_why_a_text_is_no_condition() {
    let why = |text: &str| Condition::parse(text).unwrap_err().to_string();
    assert_eq!(
        why("nwe.a == 1"),
        "`nwe.a == 1` speaks of `nwe`: only `new`, `old`, `keys` and `event` are known"
    );
    assert!(why("new.tags.exists(tag, tga == 'b')").contains("speaks of `tga`"));
    let syntax = why("new.a ==");
    assert!(syntax.starts_with("`new.a ==` is not a CEL expression: Syntax error: "), "{syntax}");
    assert!(!syntax.contains('\n'), "{syntax}");
    assert!(why("").contains("is not a CEL expression"));
}

#[test]
fn knows_what_it_reads() {
    let reads = |text: &str| {
        let condition = Condition::parse(text).unwrap();
        [condition.reads_new(), condition.reads_old(), condition.reads_event()]
    };
    assert_eq!(reads("new.a == 1"), [true, false, false]);
    assert_eq!(reads("has(old.a) || event.expired"), [false, true, true]);
    assert_eq!(reads("keys.id == 'x'"), [false, false, false]);
}
