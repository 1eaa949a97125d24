//! Images that are decoded only as far as they are read.

use std::collections::HashMap;

use millstream_projections::Image;
use millstream_projections::item::{Item, Value};
use proptest::prelude::*;

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        ".{0,12}".prop_map(Value::S),
        "-?[1-9][0-9]{0,37}".prop_map(Value::N),
        any::<bool>().prop_map(Value::Bool),
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(Value::B),
        Just(Value::Null(true)),
        proptest::collection::vec(".{0,5}", 1..4).prop_map(Value::Ss),
        proptest::collection::vec("[0-9]{1,5}", 1..4).prop_map(Value::Ns),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::L),
            proptest::collection::hash_map(".{0,6}", inner, 0..4).prop_map(Value::M),
        ]
    })
}

fn any_item() -> impl Strategy<Value = HashMap<String, Value>> {
    proptest::collection::hash_map(".{1,8}", any_value(), 0..6)
}

fn raw(item: &HashMap<String, Value>) -> Image {
    Image::from_json(serde_json::to_vec(item).unwrap().into())
}

proptest! {
    #[test]
    fn one_attribute_at_a_time_or_all_at_once(item in any_item()) {
        let (lazy, whole) = (raw(&item), raw(&item));
        prop_assert_eq!(whole.item().unwrap(), &Item::from(item.clone()));
        for (name, value) in &item {
            prop_assert_eq!(lazy.attribute(name).unwrap(), Some(value.clone()));
            prop_assert_eq!(whole.attribute(name).unwrap(), Some(value.clone()));
        }
        prop_assert_eq!(lazy.attribute("no such attribute").unwrap(), None);
    }

    #[test]
    fn sameness_does_not_depend_on_the_form(a in any_item(), b in any_item()) {
        let forms = |item: &HashMap<String, Value>| [raw(item), Image::from_item(item.clone().into())];
        for name in a.keys().chain(b.keys()) {
            let answers: Vec<bool> = forms(&a)
                .iter()
                .flat_map(|x| forms(&b).map(|y| x.same_attribute(&y, name).unwrap()))
                .collect();
            prop_assert!(answers.iter().all(|answer| *answer == answers[0]), "{name}: {answers:?}");
            prop_assert!(raw(&a).same_attribute(&forms(&a)[1], name).unwrap());
        }
    }

    #[test]
    fn any_bytes_are_an_image_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let image = Image::from_json(bytes.into());
        let _ = image.attribute("a");
        let _ = image.item();
    }
}

fn check_same(a: &str, b: &str, expected: bool) {
    let image = |value: &str| Image::from_json(format!("{{\"x\": {value}}}").into());
    assert_eq!(image(a).same_attribute(&image(b), "x"), Ok(expected), "{a} {b}");
}

#[test]
fn sets_have_no_order_and_white_space_no_meaning() {
    check_same(r#"{"SS": ["a", "b"]}"#, r#"{"SS": ["b", "a"]}"#, true);
    check_same(r#"{"SS": ["a"]}"#, r#"{"SS": ["a", "b"]}"#, false);
    check_same(r#"{"NS": ["1", "2"]}"#, r#"{"NS":["2","1"]}"#, true);
    check_same(r#"{"M": {"s": {"SS": ["a", "b"]}}}"#, r#"{"M": {"s": {"SS": ["b", "a"]}}}"#, true);
    check_same(r#"{"L": [{"S": "a"}, {"S": "b"}]}"#, r#"{"L": [{"S": "b"}, {"S": "a"}]}"#, false);
    check_same(r#"{"S": "1"}"#, r#"{"N": "1"}"#, false);
    check_same(r#"{ "S" : "\u0061" }"#, r#"{"S":"a"}"#, true);
}

#[test]
fn a_broken_attribute_breaks_only_who_reads_it() {
    let image = Image::from_json(r#"{"good": {"S": "a"}, "bad": {"X": "secret"}}"#.into());
    assert_eq!(image.attribute("good"), Ok(Some(Value::S("a".into()))));
    let error = image.attribute("bad").unwrap_err().to_string();
    assert!(error.starts_with("attribute `bad` is not a DynamoDB value: "), "{error}");
    assert!(!error.contains("secret"), "{error}");
    assert_eq!(image.item().unwrap_err().to_string(), error);
}
