//! Bytes that compare as values do.

use millstream_projections::decimal::Decimal;
use millstream_projections::fold::{MAX_COMPARED, sort_key};
use millstream_projections::item::Value;
use proptest::prelude::*;

use crate::decimal::numbers;

fn n(text: &str) -> Value {
    Value::N(text.to_owned())
}

fn s(text: &str) -> Value {
    Value::S(text.to_owned())
}

#[test]
fn from_the_least_to_the_greatest() {
    let ascending = [
        n("-9E125"),
        n("-123"),
        n("-120"),
        n("-12"),
        n("-1.23"),
        n("-1.2"),
        n("-1E-130"),
        n("0"),
        n("1E-130"),
        n("0.5"),
        n("1.2"),
        n("1.23"),
        n("12"),
        n("1E2"),
        n("9E125"),
        s(""),
        s("10"),
        s("9"),
        s("a"),
        s("aa"),
        s("é"),
        Value::B(Vec::new()),
        Value::B(vec![0]),
        Value::B(vec![0, 1]),
        Value::B(vec![255]),
    ];
    let keys: Vec<Vec<u8>> = ascending.iter().map(|value| sort_key(value).unwrap()).collect();
    assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
}

#[test]
fn equal_numbers_are_one() {
    let zeros = ["0", "-0", "0.000", "0E5"].map(|text| sort_key(&n(text)).unwrap());
    assert!(zeros.iter().all(|key| *key == zeros[0]));
    assert_eq!(sort_key(&n("150")), sort_key(&n("1.50E2")));
}

#[test]
fn what_cannot_be_compared() {
    let refused = |value: &Value| sort_key(value).unwrap_err().to_string();
    assert_eq!(refused(&Value::Bool(true)), "is of type BOOL: only S, N and B can be compared");
    assert_eq!(refused(&Value::Ss(vec!["a".to_owned()])), "is of type SS: only S, N and B can be compared");
    assert_eq!(refused(&Value::B(vec![1; MAX_COMPARED + 1])), "has 1001 bytes: only 1000 can be compared");
    assert_eq!(refused(&n("1E126")), "is beyond what DynamoDB holds, ±1E-130 to ±9.99E+125");
    // With its tag the longest one fits a sort key.
    assert_eq!(sort_key(&s(&"x".repeat(MAX_COMPARED))).unwrap().len(), MAX_COMPARED + 1);
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => numbers().prop_map(Value::N),
        1 => any::<String>().prop_map(Value::S),
        1 => proptest::collection::vec(any::<u8>(), 0..8).prop_map(Value::B),
    ]
}

/// How two values compare, told from the values themselves.
fn compared(a: &Value, b: &Value) -> std::cmp::Ordering {
    let tag = |value: &Value| {
        ["N", "S", "B"].iter().position(|tag| *tag == millstream_projections::item::type_name(value))
    };
    match (a, b) {
        (Value::N(a), Value::N(b)) => Decimal::parse(a).unwrap().cmp(&Decimal::parse(b).unwrap()),
        (Value::S(a), Value::S(b)) => a.cmp(b),
        (Value::B(a), Value::B(b)) => a.cmp(b),
        _ => tag(a).cmp(&tag(b)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn bytes_compare_as_values_do(a in values(), b in values()) {
        let (left, right) = (sort_key(&a).unwrap(), sort_key(&b).unwrap());
        prop_assert_eq!(left.cmp(&right), compared(&a, &b), "{:?} {:?}", a, b);
    }

    #[test]
    fn neighbours_are_told_apart(digits in "[1-9][0-9]{0,36}", power in -120i32..80, negative in any::<bool>()) {
        // The same number, and the two that differ from it by one in one more digit.
        let sign = if negative { "-" } else { "" };
        let [number, next] = [format!("{sign}{digits}0E{power}"), format!("{sign}{digits}1E{power}")].map(Value::N);
        let (number_key, next_key) = (sort_key(&number).unwrap(), sort_key(&next).unwrap());
        prop_assert_eq!(number_key.cmp(&next_key), compared(&number, &next));
    }
}
