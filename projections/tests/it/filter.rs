//! Filters of event source mappings: what they say, and that they let through every change that has an effect.

use std::sync::OnceLock;

use millstream_projections::config::Config;
use millstream_projections::filter::{Filter, MAX_PATTERN, MAX_PATTERNS, filter};
use millstream_projections::version::SequenceNumber;
use millstream_projections::{Change, ChangeKind, Image, SourceName, Version};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config as Runs, TestRunner};
use serde_json::{Value as Json, json};

use crate::support::config;

fn of(config: &Config) -> Filter {
    filter(&config.sources[0], &config.projections)
}

/// A config of one projection with this `where`.
fn with(condition: &str) -> Config {
    let condition = Json::from(condition);
    config(&format!(
        "[projection.p]\nkind = 'emit'\nfrom = 'items'\nwhere = {condition}\ntopic = 'arn:aws:sns:r:1:t'\n"
    ))
}

/// What the pattern of the new image says of a condition; nothing if there is no filter.
fn said(condition: &str) -> Vec<Json> {
    let filter = of(&with(condition));
    let new = filter.patterns.into_iter().skip(1).filter(|it| it["eventName"] != all_but("INSERT"));
    new.map(|mut it| it["dynamodb"].take()).collect()
}

#[track_caller]
fn check(condition: &str, expected: Json) {
    assert_eq!(Json::from(said(condition)), expected, "{condition}");
}

#[test]
fn what_patterns_can_say() {
    let status = |list: Json| json!([{ "NewImage": { "status": { "S": list } } }]);
    let none = json!({ "exists": false });
    check("new.status == 'PAID'", status(json!(["PAID", none])));
    check("'PAID' == new['status']", status(json!(["PAID", none])));
    check("new.status != 'DRAFT'", status(json!([{ "anything-but": ["DRAFT"] }, none])));
    check("!(new.status == 'DRAFT')", status(json!([{ "anything-but": ["DRAFT"] }, none])));
    check("new.status in ['PAID', 'SENT']", status(json!(["PAID", "SENT", none])));
    check("!(new.status in ['A', 'B'])", status(json!([{ "anything-but": ["A", "B"] }, none])));
    check("new.status.startsWith('P')", status(json!([{ "prefix": "P" }, none])));
    check("new.status.endsWith('D')", status(json!([{ "suffix": "D" }, none])));
    check(
        "new.customer.city == 'Graz'",
        json!([{ "NewImage": { "customer": { "M": { "city": { "S": ["Graz", none] } } } } }]),
    );
    check(
        "keys.id.startsWith('ORDER#')",
        json!([{ "Keys": { "id": { "S": [{ "prefix": "ORDER#" }, none] } } }]),
    );
    check("new.open", json!([{ "NewImage": { "open": { "BOOL": [true, none] } } }]));
    check("!new.open", json!([{ "NewImage": { "open": { "BOOL": [false, none] } } }]));
    check("new.open != true", json!([{ "NewImage": { "open": { "BOOL": [false, none] } } }]));
    let missing = json!([none]);
    check(
        "!has(new.gone)",
        json!([{ "NewImage": { "gone": { "S": missing, "N": missing, "BOOL": missing, "NULL": missing, "B": missing } } }]),
    );
}

#[test]
fn several_parts_of_a_condition() {
    let none = json!({ "exists": false });
    let status = |list: Json| json!({ "NewImage": { "status": { "S": list } } });
    // Both, of which only one can be said.
    check("has(new.total) && new.total > 5 && new.status == 'PAID'", json!([status(json!(["PAID", none]))]));
    // Of one attribute.
    check("new.status == 'A' || new.status == 'B'", json!([status(json!(["A", "B", none]))]));
    check(
        "new.status != 'A' && new.status != 'B'",
        json!([status(json!([{ "anything-but": ["A", "B"] }, none]))]),
    );
    check("new.status in ['A', 'B'] && new.status != 'A'", json!([status(json!(["B", none]))]));
    // Of two.
    let kind = |list: Json| json!({ "NewImage": { "kind": { "S": list } } });
    check(
        "new.status == 'A' || new.kind == 'B'",
        json!([status(json!(["A", none])), kind(json!(["B", none]))]),
    );
    check(
        "new.status == 'A' && new.kind == 'B'",
        json!([{ "NewImage": { "status": { "S": ["A", none] }, "kind": { "S": ["B", none] } } }]),
    );
    // What can never be.
    check("false", json!([]));
}

#[test]
fn what_no_pattern_can_say_is_told() {
    for (condition, why) in [
        ("new.total > 5", "compares by order"),
        ("new.total == 5", "compares a number"),
        ("has(new.total)", "asks whether an attribute is there"),
        ("old.status == 'A'", "compares what is no attribute of the item"),
        ("event.type == 'INSERT'", "compares what is no attribute of the item"),
        ("new.a == new.b", "compares two attributes"),
        ("new.tags.exists(tag, tag == 'a')", "goes through a list"),
        ("'a' in new.tags", "looks into a list of the item"),
        ("new.status == 'A' || new.total > 5", "compares by order"),
        ("!new.status.startsWith('A')", "uses `startsWith`"),
        ("new['a.b'] == 'x'", "compares what is no attribute of the item"),
        ("new['$or'] == 'x'", "compares what is no attribute of the item"),
        ("new.a ? new.b == 'x' : new.c == 'y'", "chooses by `?:`"),
    ] {
        let filter = of(&with(condition));
        let told = filter.projections[0].needs_all.clone().unwrap_or_default();
        assert!(filter.patterns.is_empty() && told.contains(why), "{condition}: {told}");
    }
    for (selection, why) in [("", "it follows every change"), ("changed = ['a']\n", "compares two images")] {
        let toml = format!(
            "[projection.p]\nkind = 'emit'\nfrom = 'items'\n{selection}topic = 'arn:aws:sns:r:1:t'\n"
        );
        let filter = of(&config(&toml));
        assert!(filter.projections[0].needs_all.as_ref().is_some_and(|told| told.contains(why)));
    }
}

#[test]
fn all_projections_of_a_source_share_one_filter() {
    let projection = |name: &str, condition: &str| {
        let condition = Json::from(condition);
        format!(
            "[projection.{name}]\nkind = 'emit'\nfrom = 'items'\nwhere = {condition}\ntopic = 'arn:aws:sns:r:1:t'\n"
        )
    };
    let two = projection("a", "new.status == 'A'") + &projection("b", "new.status in ['B', 'C']");
    let filter = of(&config(&two));
    assert_eq!(filter.patterns.len(), 3);
    assert_eq!(
        filter.patterns[1]["dynamodb"]["NewImage"]["status"]["S"],
        json!(["A", "B", "C", { "exists": false }])
    );
    // One that needs everything takes the filter away, and is the only one that is named.
    let filter = of(&config(&(two + &projection("c", "new.n > 5"))));
    assert!(filter.patterns.is_empty());
    let needing: Vec<bool> = filter.projections.iter().map(|it| it.needs_all.is_some()).collect();
    assert_eq!(needing, [false, false, true]);
}

fn all_but(event: &str) -> Json {
    json!([{ "anything-but": [event] }])
}

/// What the second pattern and those after it say, with the events that they are about.
fn all_said(condition: &str) -> Vec<Json> {
    of(&with(condition)).patterns.into_iter().skip(1).collect()
}

/// Terms that are joined by `||`, each of a number.
fn terms(count: usize, term: impl Fn(usize) -> String) -> String {
    (0..count).map(term).collect::<Vec<_>>().join(" || ")
}

#[test]
fn what_speaks_of_the_key_alone_is_one_pattern_for_all_events() {
    let none = json!({ "exists": false });
    let keys = json!({ "pk": { "S": [{ "prefix": "ORDER#" }, none] }, "sk": { "S": ["META", none] } });
    assert_eq!(
        all_said("keys.pk.startsWith('ORDER#') && keys.sk == 'META'"),
        [json!({ "dynamodb": { "Keys": keys } })]
    );
    // Where the old image may be anything, the key says nothing of it either.
    let told = all_said("keys.pk == 'A' && old.a == 'x'");
    assert_eq!(told[1], json!({ "eventName": all_but("INSERT") }));
}

/// Alternatives share no pattern by `$or`, in which AWS's matcher misses what the second of these is for.
#[test]
fn alternatives_that_are_more_than_patterns_are_joined() {
    let none = json!({ "exists": false });
    // Of what both name, what either allows: any status but `D0` or any but `D1` is any status.
    let condition = terms(4, |n| format!("new.type == 't{n}' && new.status != 'D{n}'"));
    let types = |numbers: &[usize]| -> Json {
        numbers.iter().map(|n| json!(format!("t{n}"))).chain([none.clone()]).collect()
    };
    let whole = |n: usize| json!({ "type": { "S": types(&[n]) }, "status": { "S": [{ "anything-but": [format!("D{n}")] }, none] } });
    let (new, old) = (all_but("REMOVE"), all_but("INSERT"));
    let joined = |numbers: &[usize]| json!({ "type": { "S": types(numbers) } });
    assert_eq!(
        all_said(&condition),
        [
            json!({ "eventName": new, "dynamodb": { "NewImage": joined(&[0, 1, 2, 3]) } }),
            json!({ "eventName": old, "dynamodb": { "OldImage": whole(2) } }),
            json!({ "eventName": old, "dynamodb": { "OldImage": whole(3) } }),
            json!({ "eventName": old, "dynamodb": { "OldImage": joined(&[0, 1]) } }),
        ]
    );
    // No more than have to be: of five, two.
    let condition = terms(5, |n| format!("keys.pk.startsWith('K{n}#') && keys.sk == 'S{n}'"));
    let lists = |patterns: &[Json]| -> Vec<usize> {
        patterns.iter().map(|it| it["dynamodb"]["Keys"]["sk"]["S"].as_array().map_or(0, Vec::len)).collect()
    };
    assert_eq!(lists(&all_said(&condition)), [2, 2, 2, 3]);
    // What the item was may be anything, before there is no filter at all.
    let condition = terms(3, |n| format!("new.a{n} == 'x' && new.b{n} == 'y'"));
    let told = all_said(&condition);
    assert_eq!((told.len(), &told[3]), (4, &json!({ "eventName": all_but("INSERT") })));
}

#[test]
fn alternatives_without_an_attribute_in_common_are_no_filter() {
    let wide = |count: usize, text: &str| {
        of(&with(&terms(count, |n| format!("new.a{n} == 'x{text}' && new.b{n} == 'y{text}'"))))
    };
    let filter = wide(4, "");
    assert!(filter.patterns.is_empty() && filter.too_large && filter.projections[0].needs_all.is_none());
    // Too many characters.
    let long = "z".repeat(MAX_PATTERN);
    let filter = of(&with(&format!("new.a == '{long}'")));
    assert!(filter.patterns.is_empty() && filter.too_large && filter.projections[0].needs_all.is_none());
    // More alternatives than are looked at.
    let filter = wide(70, "");
    let told = filter.projections[0].needs_all.clone().unwrap_or_default();
    assert!(filter.patterns.is_empty() && told.contains("too many alternatives"), "{told}");
}

/// Five kinds of items in one table, told by their keys: every REMOVE was missed.
#[test]
fn five_kinds_of_items_in_one_table_pass_at_every_event() {
    let kinds =
        [("ORDER", "META"), ("CUSTOMER", "PROFILE"), ("INVOICE", "HEAD"), ("QUOTE", "TOP"), ("SHIP", "INFO")];
    let term = |n: usize| {
        let (kind, sort) = kinds[n];
        format!("keys.pk.startsWith(\"{kind}#\") && keys.sk == \"{sort}\"")
    };
    let patterns = of(&with(&terms(kinds.len(), term))).patterns;
    let record = |event: &str, kind: &str, sort: &str| {
        let keys = json!({ "pk": { "S": format!("{kind}#1") }, "sk": { "S": sort } });
        let mut dynamodb = json!({ "Keys": keys });
        if event != "REMOVE" {
            dynamodb["NewImage"] = keys.clone();
        }
        if event != "INSERT" {
            dynamodb["OldImage"] = keys;
        }
        json!({ "eventName": event, "dynamodb": dynamodb })
    };
    assert!(!patterns.is_empty() && !patterns.iter().any(has_or), "{patterns:?}");
    for event in ["INSERT", "MODIFY", "REMOVE"] {
        for (kind, sort) in kinds {
            assert!(passes(&patterns, &record(event, kind, sort)), "{event} of {kind} is missed");
        }
        assert!(!passes(&patterns, &record(event, "OTHER", "META")), "{event}");
    }
}

/// Six types, each with a status of its own that does not count, and an item whose status is a number: it was missed.
#[test]
fn an_item_of_another_type_of_status_passes() {
    let condition = terms(6, |n| format!("new.type == \"t{n}\" && new.status != \"D{n}\""));
    let patterns = of(&with(&condition)).patterns;
    let inserted = |item: Json| json!({ "eventName": "INSERT", "dynamodb": { "NewImage": item } });
    assert!(!patterns.is_empty() && !patterns.iter().any(has_or), "{patterns:?}");
    for n in 0..6 {
        for status in [json!({ "N": "1" }), json!({ "S": "PAID" })] {
            let item = json!({ "type": { "S": format!("t{n}") }, "status": status });
            assert!(passes(&patterns, &inserted(item.clone())), "{item} is missed");
        }
    }
    assert!(!passes(&patterns, &inserted(json!({ "type": { "S": "t6" }, "status": { "N": "1" } }))));
}

/// CloudFormation resolves such a reference wherever it stands: what Lambda then has is another pattern.
#[test]
fn a_text_that_cloudformation_would_resolve_is_in_no_pattern() {
    for part in [
        "new.a == 'T'",
        "new.a != 'T'",
        "new.a in ['x', 'T']",
        "new.a.startsWith('T')",
        "new.a.endsWith('T')",
    ] {
        let condition = part.replace('T', "{{resolve:ssm:name}}");
        let filter = of(&with(&condition));
        let told = filter.projections[0].needs_all.clone().unwrap_or_default();
        assert!(filter.patterns.is_empty() && told.contains("`{{resolve:`"), "{condition}: {told}");
        // What else there is can be said.
        let both = all_said(&format!("{condition} && new.b == 'y'"));
        assert!(!both.is_empty() && !json!(both).to_string().contains("{{"), "{both:?}");
    }
}

/// Whether a pattern has alternatives in it.
fn has_or(pattern: &Json) -> bool {
    pattern.to_string().contains("$or")
}

/// Whether Lambda delivers a record: AWS's filter syntax, written down anew from its documentation.
fn passes(patterns: &[Json], record: &Json) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, Some(record)))
}

fn matches(pattern: &Json, value: Option<&Json>) -> bool {
    match pattern {
        // A list is of alternatives for one value.
        Json::Array(list) => list.iter().any(|matcher| takes(matcher, value)),
        // All members have to match; what is missing has no members.
        Json::Object(members) => {
            members.iter().all(|(name, pattern)| matches(pattern, value.and_then(|value| value.get(name))))
        }
        other => panic!("{other} is no pattern"),
    }
}

fn takes(matcher: &Json, value: Option<&Json>) -> bool {
    // Only what has no parts is a value.
    let leaf = value.filter(|value| !value.is_object() && !value.is_array());
    let text = leaf.and_then(Json::as_str);
    let Json::Object(operator) = matcher else { return leaf == Some(matcher) };
    let (name, given) = operator.iter().next().expect("an operator");
    assert_eq!(operator.len(), 1, "{matcher}");
    match name.as_str() {
        "exists" => leaf.is_some() == given.as_bool().expect("true or false"),
        "prefix" => text.is_some_and(|text| text.starts_with(given.as_str().expect("a text"))),
        "suffix" => text.is_some_and(|text| text.ends_with(given.as_str().expect("a text"))),
        "anything-but" => leaf.is_some_and(|leaf| !given.as_array().expect("a list").contains(leaf)),
        other => panic!("Lambda has no operator {other} that is used here"),
    }
}

/// A change of an item, as the record that Lambda delivers.
#[derive(Debug, Clone)]
struct Record {
    kind: ChangeKind,
    /// Its key, which its images have too.
    id: &'static str,
    old: Option<Json>,
    new: Option<Json>,
}

impl Record {
    fn json(&self, has_old: bool) -> Json {
        let mut dynamodb =
            json!({ "Keys": { "id": { "S": self.id } }, "SequenceNumber": "100000000000000000001" });
        if let Some(new) = &self.new {
            dynamodb["NewImage"] = new.clone();
        }
        if let Some(old) = self.old.as_ref().filter(|_| has_old) {
            dynamodb["OldImage"] = old.clone();
        }
        json!({ "eventName": self.kind.as_str(), "dynamodb": dynamodb })
    }

    fn change(&self, has_old: bool) -> Change {
        let image = |json: &Json| Image::from_json(json.to_string().into());
        let sequence = SequenceNumber::new("100000000000000000001").expect("a sequence number");
        Change {
            source: SourceName::new("items").expect("a name"),
            kind: self.kind,
            expired: false,
            keys: image(&json!({ "id": { "S": self.id } })),
            new: self.new.as_ref().map(image),
            old: self.old.as_ref().filter(|_| has_old).map(image),
            version: Version::of_stream("2026-01-01T00:00:00.000", &sequence),
            created_at: None,
            digest: OnceLock::new(),
        }
    }
}

fn text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["A", "B", "AB", "BA", "", "ORDER#1"][..])
}

fn attribute() -> impl Strategy<Value = Option<Json>> {
    prop_oneof![
        2 => Just(None),
        6 => text().prop_map(|text| Some(json!({ "S": text }))),
        1 => (0..4_u8).prop_map(|number| Some(json!({ "N": number.to_string() }))),
        2 => any::<bool>().prop_map(|bool| Some(json!({ "BOOL": bool }))),
        1 => Just(Some(json!({ "NULL": true }))),
        1 => text().prop_map(|text| Some(json!({ "SS": [text] }))),
        1 => text().prop_map(|text| Some(json!({ "L": [{ "S": text }] }))),
        2 => text().prop_map(|text| Some(json!({ "M": { "a": { "S": text }, "S": { "S": text } } }))),
    ]
}

fn item() -> impl Strategy<Value = Json> {
    prop::array::uniform3(attribute()).prop_map(|values| {
        let named = ["a", "b", "c"].into_iter().zip(values);
        let mut item = json!({});
        named.for_each(|(name, value)| item[name] = value.unwrap_or_default());
        item.as_object_mut().expect("an item").retain(|_, value| !value.is_null());
        item
    })
}

fn record() -> impl Strategy<Value = Record> {
    let id = prop::sample::select(&["A", "B", "AB", "BA", "ORDER#1"][..]);
    (id, item(), item(), 0..4_u8).prop_map(|(id, mut old, mut new, kind)| {
        (old["id"], new["id"]) = (json!({ "S": id }), json!({ "S": id }));
        match kind {
            0 => Record { kind: ChangeKind::Insert, id, old: None, new: Some(new) },
            1 => Record { kind: ChangeKind::Remove, id, old: Some(old), new: None },
            _ => Record { kind: ChangeKind::Modify, id, old: Some(old), new: Some(new) },
        }
    })
}

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["new.a", "new.b", "new['c']", "new.a.a", "new.b.S", "keys.id"][..])
}

/// What a pattern can say of one attribute.
fn sayable() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (path(), prop::sample::select(&["==", "!="][..]), text()).prop_map(|(path, is, text)| format!("{path} {is} '{text}'")),
        2 => (path(), text()).prop_map(|(path, text)| format!("{path}.startsWith('A{text}')")),
        1 => (path(), text()).prop_map(|(path, text)| format!("{path}.endsWith('{text}B')")),
        1 => path().prop_map(|path| format!("{path} == true")),
        1 => path().prop_map(|path| format!("!has({})", path.replace("['c']", ".c"))),
    ]
}

/// As many kinds of items as do not have a pattern each, which tables that hold all of a service have.
fn kinds() -> impl Strategy<Value = String> {
    let shared = prop::sample::select(&["new.a", "new.b", "keys.id"][..]);
    let term = (text(), prop::collection::vec(sayable(), 1..3));
    (shared, prop::collection::vec(term, 3..9), any::<bool>()).prop_map(|(shared, terms, is_shared)| {
        let term = |(text, parts): &(&str, Vec<String>)| match is_shared {
            true => format!("({shared} == '{text}' && {})", parts.join(" && ")),
            false => format!("({})", parts.join(" && ")),
        };
        terms.iter().map(term).collect::<Vec<_>>().join(" || ")
    })
}

/// A condition of any form, such as can be said and such as cannot.
fn condition() -> impl Strategy<Value = String> {
    prop_oneof![2 => any_form(), 1 => kinds()]
}

fn any_form() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        8 => (path(), prop::sample::select(&["==", "!="][..]), text()).prop_map(|(path, is, text)| format!("{path} {is} '{text}'")),
        3 => (path(), text(), text()).prop_map(|(path, one, two)| format!("{path} in ['{one}', '{two}']")),
        2 => (path(), text()).prop_map(|(path, text)| format!("{path}.startsWith('{text}')")),
        2 => (path(), text()).prop_map(|(path, text)| format!("{path}.endsWith('{text}')")),
        3 => prop::sample::select(&["has(new.a)", "has(new.b)", "has(new.a.a)", "has(new.c.S)"][..]).prop_map(str::to_owned),
        2 => path().prop_map(str::to_owned),
        1 => (path(), any::<bool>()).prop_map(|(path, bool)| format!("{path} == {bool}")),
        1 => prop::sample::select(&[
            "new.a > 1", "new.b == 2", "old.a == 'A'", "event.type == 'MODIFY'", "size(new.a) == 1", "new.a == new.b",
            "new.c.exists(it, it == 'A')", "'A' in new.c", "true", "false", "new.a == null",
        ][..]).prop_map(str::to_owned),
    ];
    atom.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, two)| format!("({one} && {two})")),
            (inner.clone(), inner.clone()).prop_map(|(one, two)| format!("({one} || {two})")),
            inner.clone().prop_map(|one| format!("!({one})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

/// One projection of any kind; what it makes of a change matters only in whether there is something.
fn projection() -> impl Strategy<Value = String> {
    let kinds = [
        "kind = 'emit'\ntopic = 'arn:aws:sns:r:1:t'",
        "kind = 'replica'\ntable = 'Rows'\nkey = { id = '{id}' }\nset = { a = '{a}' }",
        "kind = 'copy'\ntable = 'Rows'\nkey = { id = '{id}' }\nset = { a = '{a?}' }",
        "kind = 'aggregate'\ntable = 'Totals'\ngroup = { a = '{a}' }\ncount = 'items'",
        "kind = 'index'\ntable = 'Lookup'\nkey = { a = '{a?}', id = '{id}' }",
    ];
    (prop::sample::select(kinds.to_vec()), condition(), prop::bool::weighted(0.2)).prop_map(
        |(kind, condition, changed)| {
            let changed = if changed { "changed = ['a']\n" } else { "" };
            format!("from = 'items'\nwhere = {}\n{changed}{kind}\n", Json::from(condition))
        },
    )
}

/// One to three projections of a table, whose stream may lack what items were; none where the config does not allow that.
fn any_config() -> impl Strategy<Value = (Option<Config>, bool)> {
    (prop::collection::vec(projection(), 1..4), prop::bool::weighted(0.85)).prop_map(
        |(projections, has_old)| {
            let view = if has_old { "NEW_AND_OLD_IMAGES" } else { "NEW_IMAGE" };
            let mut toml = format!("[source.items]\ntable = 'Items'\nstream_view = '{view}'\n");
            for (number, projection) in projections.iter().enumerate() {
                let projection = projection.replace("'Rows'", &format!("'Rows{number}'"));
                toml.push_str(&format!("[projection.p{number}]\n{projection}"));
            }
            (Config::parse("m.toml", &toml, &|_| None).ok(), has_old)
        },
    )
}

/// Whether a change has an effect, or makes a letter.
fn matters(config: &Config, change: &Change) -> bool {
    config.projections.iter().any(|projection| match projection.build().project(change) {
        Ok(effects) => !effects.is_empty(),
        Err(_) => true,
    })
}

/// What a filter drops although a projection needs it, and how much it drops with right.
fn judge(config: &Config, has_old: bool, patterns: &[Json], records: &[Record]) -> (Vec<Json>, usize) {
    let (mut missed, mut saved) = (Vec::new(), 0);
    for record in records {
        let json = record.json(has_old);
        match (passes(patterns, &json), matters(config, &record.change(has_old))) {
            (false, true) => missed.push(json),
            (false, false) => saved += 1,
            (true, _) => {}
        }
    }
    (missed, saved)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_change_that_has_an_effect_passes(
        (config, has_old) in any_config(),
        records in prop::collection::vec(record(), 12),
    ) {
        let Some(config) = config else { return Ok(()) };
        let filter = of(&config);
        prop_assert!(filter.patterns.len() <= MAX_PATTERNS);
        prop_assert!(filter.patterns.iter().all(|it| it.to_string().chars().count() <= MAX_PATTERN));
        prop_assert!(!filter.patterns.iter().any(has_or), "{:?}", filter.patterns);
        let (missed, _) = judge(&config, has_old, &filter.patterns, &records);
        prop_assert!(missed.is_empty(), "{:?} drops {missed:?}", filter.patterns);
        // What is no change that anyone knows is to become a letter.
        for strange in [json!({}), json!({ "eventName": "COPY", "dynamodb": { "NewImage": { "a": { "S": "A" } } } })] {
            prop_assert!(passes(&filter.patterns, &strange));
        }
    }
}

/// Draws that are the same in every run.
fn samples(count: usize) -> Vec<(Config, bool, Vec<Record>)> {
    let mut runner = TestRunner::new_with_rng(Runs::default(), TestRunner::deterministic().new_rng());
    let strategy = (any_config(), prop::collection::vec(record(), 20));
    let draws = (0..count).map(|_| strategy.new_tree(&mut runner).expect("a draw").current());
    draws.filter_map(|((config, has_old), records)| Some((config?, has_old, records))).collect()
}

/// What is left of a filter.
type Weakened = fn(&[Json]) -> Vec<Json>;

fn without(patterns: &[Json], events: Json) -> Vec<Json> {
    patterns.iter().filter(|pattern| pattern["eventName"] != events).cloned().collect()
}

#[test]
fn the_property_can_fail_and_a_filter_is_worth_something() {
    let samples = samples(500);
    let (mut filtered, mut full, mut saved) = (0, 0, 0);
    for (config, has_old, records) in &samples {
        let filter = of(config);
        filtered += usize::from(!filter.patterns.is_empty());
        // As many as there can be: most of these were joined.
        full += usize::from(filter.patterns.len() == MAX_PATTERNS);
        saved += judge(config, *has_old, &filter.patterns, records).1;
    }
    assert!(
        filtered > 50 && full > 25 && saved > 250,
        "{filtered} of {} have a filter, {full} a full one, which save {saved}",
        samples.len()
    );

    // Every part of a filter is needed.
    let faults: [(&str, Weakened); 3] = [
        ("without what an item was", |patterns| without(patterns, all_but("INSERT"))),
        ("without what it is", |patterns| without(patterns, all_but("REMOVE"))),
        ("without what is missing", |patterns| {
            let text = Json::from(patterns).to_string().replace(",{\"exists\":false}", "");
            serde_json::from_str(&text).expect("patterns")
        }),
    ];
    for (name, fault) in faults {
        let missed = samples.iter().any(|(config, has_old, records)| {
            let patterns = of(config).patterns;
            let broken = fault(&patterns);
            !broken.is_empty() && !judge(config, *has_old, &broken, records).0.is_empty()
        });
        assert!(missed, "a filter {name} drops nothing that is needed");
    }
}
