//! What an item contributes to totals rows, before a change and after it.

use std::collections::HashMap;

use millstream_projections::effect::Write;
use millstream_projections::fold::{Rules, Shows};
use millstream_projections::item::Value;
use serde_json::json;

use super::*;

const COUNT: &str = "kind = 'aggregate'\ntable = 'Stats'\ngroup = { c = '{c}' }\ncount = 'n'";

fn order(c: &str, total: f64) -> Json {
    json!({"id": "1", "c": c, "total": total})
}

#[test]
fn an_item_counts_in_its_group() {
    let sum = format!("{COUNT}\nsum = {{ revenue = '{{total}}', items = 1 }}");
    let check = |old: &Json, new: &Json, expected: &[&str]| check(&sum, old, new, expected);
    check(&NONE, &order("x", 1.5), &["fold Stats:  -> (c=x) items+1 n+1 revenue+1.5"]);
    check(
        &order("x", 1.5),
        &order("x", -2.25),
        &["fold Stats: (c=x) items+1 n+1 revenue+1.5 -> (c=x) items+1 n+1 revenue+-2.25"],
    );
    check(
        &order("x", 1.5),
        &order("y", 1.5),
        &["fold Stats: (c=x) items+1 n+1 revenue+1.5 -> (c=y) items+1 n+1 revenue+1.5"],
    );
    check(&order("x", 1.5), &NONE, &["fold Stats: (c=x) items+1 n+1 revenue+1.5 -> "]);
    // The ledger's version moves on, and a change that was missed heals.
    let same = order("x", 1.5);
    check(&same, &same, &["fold Stats: (c=x) items+1 n+1 revenue+1.5 -> (c=x) items+1 n+1 revenue+1.5"]);
}

#[test]
fn only_members_count() {
    let settings = format!("{COUNT}{WHERE}");
    let item = |on: bool| json!({"id": "1", "c": "x", "on": on});
    let check = |old: &Json, new: &Json, expected: &[&str]| check(&settings, old, new, expected);
    check(&NONE, &item(true), &["fold Stats:  -> (c=x) n+1"]);
    check(&NONE, &item(false), &[]);
    check(&item(false), &item(true), &["fold Stats:  -> (c=x) n+1"]);
    check(&item(true), &item(false), &["fold Stats: (c=x) n+1 -> "]);
    check(&item(false), &item(false), &[]);
    check(&item(false), &NONE, &[]);
    // A group that is missing is no fault of an item that `where` leaves out.
    check(&item(true), &json!({"id": "1", "on": false}), &["fold Stats: (c=x) n+1 -> "]);
}

#[test]
fn all_that_is_read_counts_as_changed() {
    let settings = format!(
        "{COUNT}\nchanged = ['total']\nsum = {{ s = '{{total}}' }}\navg = {{ a = '{{a?}}' }}\nmin = {{ lo = '{{m.at?}}' }}"
    );
    let item = |key: &str, value: i64| {
        let mut item = json!({"id": "1", "c": "x", "total": 1});
        item[key] = json!(value);
        item
    };
    let effects = |key: &str| {
        let config = config(&format!("[projection.p]\nfrom = 'items'\n{settings}\n"));
        config.projections[0].build().project(&moved(&item(key, 1), &item(key, 2))).unwrap().len()
    };
    assert_eq!(
        [effects("other"), effects("total"), effects("a"), effects("m"), effects("c")],
        [0, 1, 1, 1, 1]
    );
}

#[test]
fn what_is_optional_adds_nothing_but_every_row_has_every_number() {
    let settings =
        format!("{COUNT}\nsum = {{ s = '{{s?}}' }}\navg = {{ p = '{{p?}}' }}\nmin = {{ lo = '{{p?}}' }}");
    check(
        &settings,
        &NONE,
        &json!({"id": "1", "c": "x"}),
        &["fold Stats:  -> (c=x) n+1 p_count+0 p_sum+0 s+0"],
    );
    check(
        &settings,
        &NONE,
        &json!({"id": "1", "c": "x", "s": 0, "p": 7.50}),
        &["fold Stats:  -> (c=x) n+1 p_count+1 p_sum+7.5 s+0 {p?}=7.5"],
    );
}

#[test]
fn values_are_kept_by_what_they_are_read_from() {
    let settings = "kind = 'aggregate'\ntable = 'Stats'\ngroup = { c = '{c}', month = 'M{month}' }\n\
                    min = { first = '{at}' }\nmax = { last = '{at}', name = '{c}-{at}' }\ndistinct = { days = '{at}' }";
    let item = json!({"id": "1", "c": "x", "month": 5, "at": "2026-05-01"});
    check(settings, &NONE, &item, &["fold Stats:  -> (c=x month=M5) {at}=2026-05-01 {c}-{at}=x-2026-05-01"]);
    let config = config(&format!("[projection.p]\nfrom = 'items'\n{settings}\n"));
    let effects = config.projections[0].build().project(&moved(&NONE, &item)).unwrap();
    let Write::Fold(fold) = &effects[0].write else { panic!("{effects:?}") };
    let Rules::Totals(rules) = &*fold.rules else { panic!("{:?}", fold.rules) };
    let statistics: Vec<_> =
        rules.statistics.iter().map(|it| (&*it.attribute, it.shows, &*it.column)).collect();
    assert_eq!(
        statistics,
        [
            ("first", Shows::Min, "{at}"),
            ("last", Shows::Max, "{at}"),
            ("name", Shows::Max, "{c}-{at}"),
            ("days", Shows::Distinct, "{at}")
        ]
    );
    assert_eq!((rules.count.as_deref(), rules.delete_empty), (None, false));
    assert_eq!(fold.source_key, crate::support::item(&json!({"id": "1"})));
}

#[test]
fn what_cannot_be_added_up_or_compared() {
    let rejected = |settings: &str, value: Json, expected: &str| {
        let item = json!({"id": "1", "c": "x", "v": value});
        check(&format!("{COUNT}\n{settings}"), &NONE, &item, &[&format!("rejected: {expected}")]);
    };
    let sum = "sum = { revenue = '{v}' }";
    rejected(sum, json!("12"), "`revenue` adds up `{v}`, which is of type S: only N can be added up");
    rejected(sum, json!(null), "`revenue` adds up `{v}`, which is of type NULL: only N can be added up");
    rejected(
        "avg = { price = '{v.net?}' }",
        json!({"net": []}),
        "`price` adds up `{v.net?}`, which is of type L: only N can be added up",
    );
    rejected(
        "sum = { revenue = '{w}' }",
        json!(1),
        "the item has no attribute `w`; write `{w?}` where it may be missing",
    );
    rejected(
        "distinct = { all = '{v}' }",
        json!(true),
        "`all` compares `{v}`, which is of type BOOL: only S, N and B can be compared",
    );
    rejected(
        "min = { first = '{v}' }\nmax = { last = '{v}' }",
        json!("x".repeat(1_001)),
        "`first` compares `{v}`, which has 1001 bytes: only 1000 can be compared",
    );
}

#[test]
fn what_is_no_group() {
    let rejected = |value: Json, expected: &str| {
        let item = json!({"id": "1", "c": value});
        check(COUNT, &NONE, &item, &[&format!("rejected: {expected}")]);
    };
    rejected(json!(""), "`group.c` = `{c}` is empty, which no key can be");
    rejected(json!(true), "`group.c` = `{c}` is of type BOOL: a key holds S, N and B only");
    rejected(json!({"a": 1}), "`group.c` = `{c}` is of type M: a key holds S, N and B only");
    rejected(json!("x".repeat(2_049)), "`group.c` = `{c}` has 2049 bytes, and a key holds 2048 at most");
    let missing =
        "rejected: the item has no attribute `c`, which makes `group.c`; leave such items out by `where`";
    check(COUNT, &NONE, &json!({"id": "1"}), &[missing]);
    // A group that was none is no reason to hold up the group that is.
    check(COUNT, &json!({"id": "1", "c": ""}), &order("x", 1.0), &["fold Stats:  -> (c=x) n+1"]);
    // Text around it makes any group a key.
    let text = COUNT.replace("'{c}'", "'C#{c}'");
    check(&text, &NONE, &json!({"id": "1", "c": ""}), &["fold Stats:  -> (c=C#) n+1"]);
}

#[test]
fn numbers_of_one_value_are_one_group() {
    let plain = |number: &str| Json::Number(number.parse().unwrap());
    let (old, new) = (json!({"id": "1", "c": plain("1.50")}), json!({"id": "1", "c": plain("15e-1")}));
    check(COUNT, &old, &new, &["fold Stats: (c=1.5) n+1 -> (c=1.5) n+1"]);
}

#[test]
fn a_stream_without_old_images_gives_no_hint() {
    let mut change = moved(&order("x", 1.0), &order("y", 1.0));
    change.old = None;
    check_change(COUNT, &change, &["fold Stats:  -> (c=y) n+1"]);
    change.new = None;
    check_change(
        COUNT,
        &change,
        &["rejected: the stream carries no new image: an aggregate needs NEW_AND_OLD_IMAGES or NEW_IMAGE"],
    );
}

#[test]
fn a_group_is_spread_over_its_shards() {
    let settings = "kind = 'aggregate'\ntable = 'Stats'\nshards = 5\ngroup = { c = '{c}#{ms:shard}', s = '{ms:shard}' }\ncount = 'n'";
    let config = config(&format!("[projection.p]\nfrom = 'items'\n{settings}\n"));
    let projection = config.projections[0].build();
    let mut found: HashMap<String, usize> = HashMap::new();
    for id in 0..500 {
        let item = |c: &str| json!({"id": id.to_string(), "c": c});
        let effects = projection.project(&moved(&item("x"), &item("y"))).unwrap();
        let Write::Fold(fold) = &effects[0].write else { panic!("{effects:?}") };
        let key = |contribution: &Contribution| contribution.shares()[0].key.clone();
        let (before, after) = (key(&fold.guess), key(&fold.after));
        let Value::N(shard) = &after["s"] else { panic!("{after:?}") };
        assert_eq!(after["c"], Value::S(format!("y#{shard}")));
        assert_eq!(before["c"], Value::S(format!("x#{shard}")), "an item stays in its shard");
        *found.entry(shard.clone()).or_default() += 1;
    }
    assert_eq!(found.len(), 5);
    assert!(found.values().all(|count| (60..140).contains(count)), "{found:?}");
    assert!(found.keys().all(|shard| ["0", "1", "2", "3", "4"].contains(&shard.as_str())), "{found:?}");
}
