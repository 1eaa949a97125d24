//! Paths into an item.

use millstream_projections::path::Path;
use proptest::prelude::*;

use crate::support::{json, moved, value};

const ITEM: &str =
    r#"{"id": "1", "a": {"b": [1, {"c": "deep"}], "x.y": 2, "it's": 3}, "odd.name": 4, "n": null}"#;

fn check(path: &str, expected: Option<&str>) {
    let change = moved(&serde_json::Value::Null, &json(ITEM));
    let found = Path::parse(path).unwrap().find(change.after()).unwrap();
    assert_eq!(found, expected.map(|text| value(&json(text))), "{path}");
}

#[test]
fn finds_what_it_names() {
    check("id", Some(r#""1""#));
    check("a.b[0]", Some("1"));
    check("a.b[1].c", Some(r#""deep""#));
    check("a.'x.y'", Some("2"));
    check("a.'it''s'", Some("3"));
    check("'odd.name'", Some("4"));
    check("n", Some("null"));
    check("'a'.b[0]", Some("1"));
}

#[test]
fn finds_nothing_where_nothing_is() {
    for path in ["b", "a.c", "a.b[2]", "a[0]", "a.b.c", "id.x", "n.x", "a.b[1].c[0]", "odd.name"] {
        check(path, None);
    }
}

#[test]
fn says_why_a_text_is_no_path() {
    let why = |text: &str| Path::parse(text).map(|path| path.to_string()).unwrap_err().to_string();
    assert_eq!(why(""), "`` is not an attribute path: a name is missing");
    assert_eq!(why("a..b"), "`a..b` is not an attribute path: a name is missing");
    assert_eq!(why("a."), "`a.` is not an attribute path: a name is missing");
    assert_eq!(why("''"), "`''` is not an attribute path: a name is missing");
    assert_eq!(why("a[1"), "`a[1` is not an attribute path: a `[` has no `]`");
    assert_eq!(why("a[x]"), "`a[x]` is not an attribute path: a list index is a whole number");
    assert_eq!(why("a[-1]"), "`a[-1]` is not an attribute path: a list index is a whole number");
    assert_eq!(why("'a"), "`'a` is not an attribute path: a quote is not closed");
    assert_eq!(why("a[0]b"), "`a[0]b` is not an attribute path: names are separated by `.`");
}

proptest! {
    #[test]
    fn any_text_is_a_path_or_an_error_and_a_path_reads_as_it_was_written(text in ".{0,40}") {
        if let Ok(path) = Path::parse(&text) {
            prop_assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn any_name_can_be_quoted(name in ".{1,20}") {
        let path = Path::parse(&format!("'{}'", name.replace('\'', "''"))).unwrap();
        prop_assert_eq!(&**path.root(), name.as_str());
        prop_assert!(path.is_top_level());
    }
}
