//! Values made from a change.

use millstream_projections::template::{Template, TemplateError};
use proptest::prelude::*;

use crate::support::{json, moved, value};

const ITEM: &str = r#"{"id": "1", "n": 7.50, "flag": true, "map": {"city": "Graz"}, "list": ["x"]}"#;

/// What a template makes of the item: JSON text of the value, `-` if it is left out, or the rejection.
fn check(template: &str, expected: &str) {
    let change = moved(&serde_json::Value::Null, &json(ITEM));
    match Template::parse(template).unwrap().value(change.after()) {
        Err(reject) => assert_eq!(reject.to_string(), expected, "{template}"),
        Ok(None) => assert_eq!("-", expected, "{template}"),
        Ok(Some(made)) => assert_eq!(made, value(&json(expected)), "{template}"),
    }
}

#[test]
fn an_attribute_keeps_its_type() {
    check("{id}", r#""1""#);
    check("{n}", "7.50");
    check("{flag}", "true");
    check("{map}", r#"{"city": "Graz"}"#);
    check("{map.city}", r#""Graz""#);
    check("{list[0]}", r#""x""#);
}

#[test]
fn text_around_an_attribute_makes_it_text() {
    check("ITEM#{id}", r#""ITEM#1""#);
    check("{id}{n}", r#""17.5""#);
    check("{{{id}}}", r#""{1}""#);
    check("no braces", r#""no braces""#);
    check("{{id}}", r#""{id}""#);
    check("", r#""""#);
}

#[test]
fn what_is_missing_is_left_out_or_rejected() {
    check("{nope?}", "-");
    check("a {nope?}", "-");
    check("{map.nope?}", "-");
    check("{nope}", "the item has no attribute `nope`; write `{nope?}` where it may be missing");
    check("a {nope}", "the item has no attribute `nope`; write `{nope?}` where it may be missing");
    check("a {map}", "`map` is of type M and cannot be part of a text: only S and N can");
    check("a {flag?}", "`flag` is of type BOOL and cannot be part of a text: only S and N can");
}

#[test]
fn says_why_a_text_is_no_template() {
    for text in ["{", "}", "a{b", "a}b", "{'a}", "{{}", "{a}}"] {
        assert_eq!(Template::parse(text), Err(TemplateError::Brace(text.to_owned())), "{text}");
    }
    for text in ["{}", "{?}", "{a..b}", "{{{a[}}}"] {
        assert!(matches!(Template::parse(text), Err(TemplateError::Path(_))), "{text}");
    }
}

#[test]
fn knows_what_it_reads() {
    let template = Template::parse("{a.b}-{'c}d'?}").unwrap();
    let read: Vec<_> = template.placeholders().map(|it| (it.path.root().to_string(), it.optional)).collect();
    assert_eq!(read, [("a".to_owned(), false), ("c}d".to_owned(), true)]);
    assert!(template.is_optional());
}

proptest! {
    #[test]
    fn any_text_is_a_template_or_an_error_and_a_template_reads_as_it_was_meant(text in "[a-c.'?{}\\[\\]0 é]{0,24}") {
        if let Ok(template) = Template::parse(&text) {
            prop_assert_eq!(Template::parse(&template.to_string()), Ok(template));
        }
    }

    #[test]
    fn any_text_at_all(text in any::<String>()) {
        if let Ok(template) = Template::parse(&text) {
            prop_assert_eq!(template.to_string(), text);
        }
    }
}
