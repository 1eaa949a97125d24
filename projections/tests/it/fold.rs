//! What a source item contributes, and the form in which the ledger holds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_projections::decimal::Decimal;
use millstream_projections::fold::{Contribution, Part, Share, Totals, attributes_digest};
use millstream_projections::item::{Key, Value, write_canonical};
use millstream_projections::{Item, KeyDigest};
use proptest::prelude::*;
use serde_json::json;

use crate::decimal::numbers;
use crate::support::item;

fn row(table: &str, id: &str) -> (Arc<str>, Key) {
    (table.into(), Key::from([("id".into(), Value::S(id.to_owned()))]))
}

fn lookup(id: &str, attributes: &Item) -> Share {
    let (table, key) = row("Rows", id);
    Share::new(table, key, Part::Lookup { digest: attributes_digest(attributes) })
}

#[test]
fn shares_are_in_the_order_of_their_rows_and_one_a_row() {
    let (x, y) = (item(&json!({"a": 1})), item(&json!({"a": 2})));
    let made = Contribution::new(vec![lookup("2", &x), lookup("1", &y), lookup("2", &x)]).unwrap();
    assert_eq!(made, Contribution::new(vec![lookup("1", &y), lookup("2", &x)]).unwrap());
    assert_eq!(made.shares().len(), 2);
    assert!(made.of_row(&lookup("1", &y).row()).is_some());
    assert!(made.of_row(&lookup("3", &y).row()).is_none());
    let same = Contribution::new(vec![lookup("2", &x), lookup("2", &y)]).unwrap_err();
    assert_eq!(same.0, row("", "2").1);
}

#[test]
fn rows_of_two_contributions_stand_beside_each_other() {
    let (x, y) = (item(&json!({"a": 1})), item(&json!({"a": 2})));
    let made = |ids: &[&str], attributes: &Item| {
        Contribution::new(ids.iter().map(|id| lookup(id, attributes)).collect()).unwrap()
    };
    let beside = |before: &[&str], after: &[&str]| -> Vec<(String, bool, Option<usize>)> {
        let (before, after) = (made(before, &x), made(after, &y));
        let rows = before.beside(&after).into_iter().map(|row| {
            let share = row.after.or(row.before).unwrap();
            assert_eq!((share.row().as_slice(), row.place), (row.row, after.place(row.row)));
            assert_eq!((row.before, row.after), (before.of_row(row.row), after.of_row(row.row)));
            let Value::S(id) = &share.key["id"] else { panic!("{share:?}") };
            (id.clone(), row.before.is_some(), row.place)
        });
        rows.collect()
    };
    let row = |id: &str, before, place| (id.to_owned(), before, place);
    let left = [row("1", true, None), row("5", true, None)];
    let entered = [row("0", false, Some(0)), row("3", true, Some(1)), row("4", false, Some(2))];
    assert_eq!(beside(&["5", "1", "3"], &["3", "4", "0"]), [&left[..], &entered[..]].concat());
    assert_eq!(beside(&["1", "5"], &[]), left);
    assert_eq!(beside(&[], &["0"]), entered[..1]);
}

#[test]
fn digests_tell_meanings_apart_and_not_spellings() {
    let digest = |value: Value| {
        attributes_digest(&Item::from(std::collections::HashMap::from([("a".to_owned(), value)])))
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let alike = [
        (Value::N("1.50".into()), Value::N("15e-1".into())),
        (Value::Ss(texts(&["a", "b"])), Value::Ss(texts(&["b", "a"]))),
        (Value::Ns(texts(&["1", "2.0"])), Value::Ns(texts(&["2", "1.0"]))),
    ];
    for (a, b) in alike {
        assert_eq!(digest(a.clone()), digest(b), "{a:?}");
    }
    let different = [
        Value::N("1".into()),
        Value::S("1".into()),
        Value::B(vec![b'1']),
        Value::Bool(true),
        Value::Bool(false),
        Value::Null(true),
        Value::L(Vec::new()),
        Value::L(vec![Value::S("1".into())]),
        Value::L(vec![Value::S("1".into()), Value::S("1".into())]),
        Value::Ss(texts(&["1"])),
        Value::Ns(texts(&["1"])),
        Value::Bs(vec![vec![b'1']]),
        Value::Bs(vec![vec![b'1', b'2'], vec![b'3']]),
        Value::Bs(vec![vec![b'1'], vec![b'2', b'3']]),
    ];
    let digests: std::collections::BTreeSet<KeyDigest> = different.iter().cloned().map(digest).collect();
    assert_eq!(digests.len(), different.len());
    // A map has no order, however often it is made.
    let maps =
        (0..20).map(|_| attributes_digest(&item(&json!({"m": {"a": 1, "b": {"c": 2, "d": 3}, "e": 4}}))));
    assert_eq!(maps.collect::<std::collections::BTreeSet<_>>().len(), 1);
}

#[test]
fn what_the_ledger_cannot_have_written_is_damaged() {
    let damaged = |value: &serde_json::Value| {
        Contribution::from_value(&crate::support::value(value)).unwrap_err().to_string()
    };
    assert_eq!(damaged(&json!("x")), "`shares` of a share is missing, or is no list");
    assert_eq!(damaged(&json!([5])), "`shares` of a share is missing, or is no list of maps");
    assert_eq!(damaged(&json!([{"table": 1}])), "`table` of a share is missing, or is no text");
    assert_eq!(damaged(&json!([{"table": "T"}])), "`key` of a share is missing, or is no map");
    let totals = json!([{"table": "T", "key": {"id": "1"}, "add": {"n": "x"}, "values": {}}]);
    assert_eq!(damaged(&totals), "`add` of a share is missing, or is no map of numbers");
    let lookup = json!([{"table": "T", "key": {"id": "1"}, "row": "short"}]);
    assert_eq!(damaged(&lookup), "`row` of a share is missing, or is no digest");
    assert_eq!(Contribution::from_value(&Value::L(Vec::new())), Ok(Contribution::default()));
}

fn scalars() -> impl Strategy<Value = Value> {
    prop_oneof![
        numbers().prop_map(Value::N),
        "[a-c]{1,3}".prop_map(Value::S),
        proptest::collection::vec(any::<u8>(), 1..4).prop_map(Value::B),
    ]
}

fn named<V: std::fmt::Debug>(
    value: impl Strategy<Value = V>,
) -> impl Strategy<Value = BTreeMap<Arc<str>, V>> {
    proptest::collection::btree_map("[a-c]{1,2}", value, 0..4)
        .prop_map(|map| map.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn shares() -> impl Strategy<Value = Share> {
    let add = named(numbers().prop_map(|text| Decimal::parse(&text).unwrap()));
    let totals = (add, named(scalars())).prop_map(|(add, values)| Part::Totals(Totals { add, values }));
    let lookup =
        any::<u64>().prop_map(|seed| Part::Lookup { digest: KeyDigest::of_bytes(&seed.to_be_bytes()) });
    ("[T-V]{3}", named(scalars()), prop_oneof![totals, lookup]).prop_map(|(table, key, part)| Share {
        table: table.into(),
        key,
        part,
    })
}

proptest! {
    #[test]
    fn the_ledger_gives_back_what_it_was_given(shares in proptest::collection::vec(shares(), 0..5)) {
        let Ok(made) = Contribution::new(shares) else { return Ok(()) };
        prop_assert_eq!(Contribution::from_value(&made.to_value()), Ok(made.clone()));
        // Written again, it is the same to the byte, as a condition compares it.
        let again = Contribution::from_value(&made.to_value()).unwrap().to_value();
        let canonical = |value: &Value| Contribution::from_value(value).unwrap();
        prop_assert_eq!(canonical(&again), made.clone());
        prop_assert_eq!(again, made.to_value());
    }

    #[test]
    fn any_order_of_shares_is_one_contribution(shares in proptest::collection::vec(shares(), 0..5)) {
        let mut turned = shares.clone();
        turned.reverse();
        prop_assert_eq!(Contribution::new(shares).ok(), Contribution::new(turned).ok());
    }

    #[test]
    fn rows_are_equal_exactly_for_the_same_row(a in shares(), b in shares()) {
        let (a, b) = (Share::new(a.table, a.key, a.part), Share::new(b.table, b.key, b.part));
        prop_assert_eq!(a.row() == b.row(), a.table == b.table && a.key == b.key);
        let mut bytes = Vec::new();
        a.key.iter().for_each(|(name, value)| write_canonical(&mut bytes, name, value));
        prop_assert!(a.row().ends_with(&bytes));
    }
}
