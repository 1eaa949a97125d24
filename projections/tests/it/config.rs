//! What a config means once it is read.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use millstream_projections::SourceName;
use millstream_projections::config::{
    Config, Kind, LettersStore, Listen, OnGap, PollerSettings, SourceKind, Start, StreamView, lint,
};
use millstream_projections::effect::Tombstones;
use proptest::prelude::*;

const DEMO: &str = include_str!("../../../demo/millstream.toml");

fn with(text: &str, environment: &[(&str, &str)]) -> Config {
    let environment: HashMap<&str, &str> = environment.iter().copied().collect();
    let look_up = |name: &str| environment.get(name).map(|value| (*value).to_owned());
    Config::parse("m.toml", text, &look_up).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A config with a source `a` and a projection, and more lines.
fn rest(lines: &str) -> String {
    format!(
        "[source.a]\ntable = 'Table'\n[projection.p]\nkind = 'emit'\nfrom = 'a'\n\
         topic = 'arn:aws:sns:eu-west-1:1:t'\n{lines}"
    )
}

#[test]
fn the_demo() {
    let config = with(DEMO, &[]);
    let names: Vec<_> =
        config.sources.iter().map(|source| (source.name.as_str(), source.kind.word())).collect();
    assert_eq!(names, [("companies", "table"), ("company-events", "queue"), ("orders", "table")]);
    let orders = SourceName::new("orders").unwrap();
    let follow: Vec<_> = config.projections_of(&orders).map(|projection| projection.name.as_str()).collect();
    let rows = ["orders-for-accounting", "orders-for-inventory", "orders-for-shipping"];
    let folds = ["orders-by-customer", "orders-by-month", "orders-by-tag"];
    assert_eq!(follow, [rows, folds].concat());
    for projection in &config.projections {
        assert_eq!(projection.build().name(), &projection.name);
    }
    assert_eq!(lint(&config), []);
}

#[test]
fn variables_reach_every_table() {
    let config = with(DEMO, &[("PREFIX", "test-"), ("COMPANY_EVENTS_QUEUE", "http://127.0.0.1:4566/1/q")]);
    assert_eq!(config.sources[0].kind, SourceKind::Table("test-CompanyProfile".into()));
    assert_eq!(config.sources[1].kind, SourceKind::Queue("http://127.0.0.1:4566/1/q".into()));
    assert_eq!(config.state.ledger_table(), "test-dev-millstream-ledger");
    let prefixed = |kind: &Kind| matches!(kind, Kind::Emit(_)) || kind.resource().starts_with("test-");
    assert!(config.projections.iter().all(|projection| prefixed(&projection.kind)));
}

#[test]
fn variables_like_a_shell() {
    let prefix = |text: &str, environment: &[(&str, &str)]| {
        with(&rest(&format!("[state]\nprefix = '{text}'\n")), environment).state.prefix
    };
    assert_eq!(prefix("${A}-x-${B}", &[("A", "1"), ("B", "2")]), "1-x-2");
    assert_eq!(prefix("${A:-d}", &[]), "d");
    assert_eq!(prefix("${A:-d}", &[("A", "")]), "d");
    assert_eq!(prefix("${A:-d}", &[("A", "v")]), "v");
    assert_eq!(prefix("${A:-}x", &[]), "x");
    assert_eq!(prefix("${A}x", &[("A", "")]), "x");
}

#[test]
fn two_dollars_are_the_characters_themselves() {
    let text =
        rest("[projection.q]\nkind = 'replica'\nfrom = 'a'\ntable = 'Rows'\nkey = { id = '$${{{id}}}' }\n");
    let config = with(&text, &[]);
    assert_eq!(config.projections[1].kind.key()[0].1.to_string(), "${{{id}}}");
}

#[test]
fn defaults() {
    let config = with(&rest(""), &[]);
    assert_eq!(config.sources[0].start, Start::TrimHorizon);
    assert_eq!(config.sources[0].view, StreamView::NewAndOldImages);
    assert_eq!(
        (config.state.ledger_table(), config.state.letters_table()),
        ("millstream-ledger".into(), "millstream-letters".into())
    );
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!((config.state.tombstones, config.letters.keep), (days(30), days(14)));
    assert_eq!(config.letters.store, LettersStore::Table);
    let pipeline = config.pipeline;
    assert_eq!(pipeline.concurrency.get(), 64);
    assert_eq!(pipeline.hold, Duration::from_secs(20 * 3_600));
    assert_eq!(pipeline.deadline_margin, Duration::from_secs(2));
    let retry = [pipeline.retry_initial, pipeline.retry_max, pipeline.retry_elapsed];
    assert_eq!(retry, [50, 5_000, 60_000].map(Duration::from_millis));
    assert_eq!((config.sources[0].line, config.projections[0].line), (1, 3));
    let poller = PollerSettings {
        consumer: "default".into(),
        ttl: Duration::from_secs(10),
        max_moves: 10.try_into().unwrap(),
        busy: Duration::from_millis(250),
        idle: Duration::from_secs(5),
        on_gap: OnGap::Halt,
        listen: Listen::At(([127, 0, 0, 1], 9464).into()),
    };
    assert_eq!(config.poller, poller);
    assert_eq!(with(&rest("[poller]\n"), &[]).poller, poller);
}

#[test]
fn every_setting_of_the_poller() {
    let poller = |lines: &str| with(&rest(&format!("[poller]\n{lines}")), &[]).poller;
    let expected = PollerSettings {
        consumer: "orders-2".into(),
        ttl: Duration::from_secs(600),
        max_moves: 1_000.try_into().unwrap(),
        busy: Duration::from_millis(10),
        idle: Duration::from_secs(300),
        on_gap: OnGap::Continue,
        listen: Listen::At(([0; 8], 80).into()),
    };
    let lines = "consumer = 'orders-2'\nttl = '10m'\nmax_moves = 1000\nbusy = '10ms'\nidle = '5m'\n\
                 on_gap = 'continue'\nlisten = '[::]:80'\n";
    assert_eq!(poller(lines), expected);
    assert_eq!(poller("listen = 'off'\n").listen, Listen::Off);
    // Who asks idle shards more often than the default of `busy` has not to say both.
    assert_eq!(poller("idle = '100ms'\n").busy, Duration::from_millis(100));
    assert_eq!(poller("busy = '100ms'\nidle = '100ms'\n").busy, Duration::from_millis(100));
}

#[test]
fn a_source_starts_at_a_time() {
    let text = rest("[source.b]\ntable = 'Other'\nstart = '${AT}'\n");
    let config = with(&text, &[("AT", "2025-06-15T17:06:40.5+02:00")]);
    assert_eq!(config.sources[1].start, Start::Since(1_750_000_000));
    assert_eq!(config.read_at, None, "nobody told the time");
}

#[test]
fn every_setting() {
    let config = with(
        &rest(
            "[pipeline]\nconcurrency = 8\nhold = '90m'\ndeadline_margin = '500ms'\nretry_initial = '10ms'\n\
             retry_max = '1s'\nretry_elapsed = '5m'\n[state]\nprefix = 'x.'\ntombstones = '8d'\n\
             [letters]\nkeep = '7d'\nstore = { directory = 'letters/' }\n\
             [source.b]\ntable = 'Other'\nstart = 'latest'\nstream_view = 'NEW_IMAGE'\n\
             [source.c]\ntopic = 'arn:aws-cn:sns:cn-north-1:1:t'\n",
        ),
        &[],
    );
    assert_eq!(config.pipeline.concurrency.get(), 8);
    assert_eq!(config.pipeline.hold, Duration::from_secs(90 * 60));
    assert_eq!(config.pipeline.deadline_margin, Duration::from_millis(500));
    assert_eq!(config.pipeline.retry_elapsed, Duration::from_secs(300));
    assert_eq!(config.letters.store, LettersStore::Directory(PathBuf::from("letters/")));
    assert_eq!((config.sources[1].start, config.sources[1].view), (Start::Latest, StreamView::NewImage));
    assert_eq!(config.sources[2].kind.word(), "topic");
}

#[test]
fn what_becomes_of_removed_rows() {
    let tombstones = |settings: &str| {
        let text = format!(
            "[projection.q]\nkind = 'replica'\nfrom = 'a'\ntable = 'Rows'\nkey = {{ id = '{{id}}' }}\n{settings}\n"
        );
        match &with(&rest(&text), &[]).projections[1].kind {
            Kind::Replica(replica) => replica.tombstones,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(tombstones(""), Tombstones::Ledger);
    assert_eq!(tombstones("tombstones = 'inline'"), Tombstones::Inline);
    assert_eq!(tombstones("on_delete = 'keep'"), Tombstones::Never);
}

#[test]
fn totals_and_lookups() {
    let config = with(
        &rest(
            "[projection.totals]\nkind = 'aggregate'\nfrom = 'a'\ntable = 'Stats'\nshards = 8\n\
             group = { c = '{c}#{ms:shard}' }\ncount = 'orders'\nsum = { revenue = '{total}' }\n\
             avg = { price = '{price?}' }\nmin = { first = '{at}' }\nmax = { last = '{at}' }\non_empty = 'delete'\n\
             [projection.lookup]\nkind = 'index'\nfrom = 'a'\ntable = 'ByTag'\neach = '{tags?}'\n\
             key = { tag = '{ms:each}', id = '{id}' }\nchanged = ['x']\n",
        ),
        &[],
    );
    let (totals, lookup) = (&config.projections[1], &config.projections[2]);
    assert_eq!([totals.kind.word(), lookup.kind.word()], ["aggregate", "index"]);
    assert_eq!([&**totals.kind.resource(), &**lookup.kind.resource()], ["Stats", "ByTag"]);
    let Kind::Aggregate(aggregate) = &totals.kind else { panic!("{totals:?}") };
    assert_eq!((aggregate.shards.get(), aggregate.columns()), (8, 1));
    let attributes = aggregate.keeps.attributes();
    let attributes: Vec<&str> = attributes.iter().map(|name| &**name).collect();
    assert_eq!(attributes, ["orders", "revenue", "first", "last", "price_sum", "price_count"]);
    assert!(aggregate.keeps.delete_empty);
    let Kind::Index(index) = &lookup.kind else { panic!("{lookup:?}") };
    assert!(index.unique && index.set.is_empty());
    assert_eq!(index.each.as_ref().map(ToString::to_string), Some("{tags?}".to_owned()));
    let changed: Vec<&str> = index.selection.changed.iter().map(|name| &**name).collect();
    assert_eq!(changed, ["x", "id", "tags"]);
    for projection in &config.projections {
        assert_eq!(projection.build().name(), &projection.name);
    }
}

/// The examples of the reference, as they stand there.
#[test]
fn the_examples_of_the_reference_can_be_used() {
    let reference = include_str!("../../../docs/CONFIG.md");
    let examples: String = reference
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .map(|(example, _)| example)
        .filter(|example| example.starts_with("[projection."))
        .collect();
    let sources = "[source.orders]\ntable = 'Orders'\n[source.companies]\ntable = 'Companies'\n";
    let config = with(&format!("{sources}{examples}"), &[]);
    let names: Vec<&str> = config.projections.iter().map(|projection| projection.name.as_str()).collect();
    assert_eq!(names, ["orders-by-customer", "company-by-vat", "orders-by-tag"]);
    assert_eq!(lint(&config), []);
}

#[test]
fn the_hash_tells_values_apart_and_nothing_else() {
    let hash = |text: &str, environment: &[(&str, &str)]| with(text, environment).hash;
    let one = hash(&rest("[letters]\nkeep = '7d'\n[state]\nprefix = '${A:-x}'\n"), &[]);
    assert_eq!(one.len(), 16);
    assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let reordered = rest("# a comment\n[state]\nprefix = \"x\"\n\n[letters]\nkeep = '7d' # another\n");
    assert_eq!(hash(&reordered, &[]), one);
    assert_ne!(hash(&rest("[letters]\nkeep = '7d'\n[state]\nprefix = '${A:-x}'\n"), &[("A", "y")]), one);
    assert_ne!(hash(&rest("[letters]\nkeep = '8d'\n[state]\nprefix = 'x'\n"), &[]), one);
}

/// Pieces that a config is made of, right and wrong ones, so that arbitrary texts get deep into the reader.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[source.a]\n"),
        Just("[source]\n"),
        Just("[projection.p]\n"),
        Just("[projection.'x y']\n"),
        Just("[state]\n"),
        Just("[letters]\n"),
        Just("[pipeline]\n"),
        Just("[poller]\n"),
        Just("ttl = '3s'\n"),
        Just("busy = '9s'\n"),
        Just("idle = '1s'\n"),
        Just("listen = ':1'\n"),
        Just("start = '2025-06-15T15:00:00Z'\n"),
        Just("start = '+0:é'\n"),
        Just("table = 'Table'\n"),
        Just("table = 5\n"),
        Just("queue = '${A'\n"),
        Just("kind = 'replica'\n"),
        Just("kind = 'copy'\n"),
        Just("kind = 'emit'\n"),
        Just("kind = 'index'\n"),
        Just("kind = 'aggregate'\n"),
        Just("group = { c = '{c}' }\n"),
        Just("group = { c = '{c}#{ms:shard}', d = '{ms:each.x?}' }\n"),
        Just("shards = 8\n"),
        Just("shards = -1\n"),
        Just("count = 'n'\n"),
        Just("sum = { s = '{s?}', t = 5, u = 'x' }\n"),
        Just("avg = { n = '{n}' }\n"),
        Just("min = { s = '{s}' }\n"),
        Just("distinct = { d = '{a}-{b}' }\n"),
        Just("on_empty = 'delete'\n"),
        Just("each = '{tags?}'\n"),
        Just("key = { tag = '{ms:each}' }\n"),
        Just("unique = false\n"),
        Just("from = 'a'\n"),
        Just("key = { id = '{id}' }\n"),
        Just("key = { id = '{id?}', a = 1.5, b = inf }\n"),
        Just("set = { a = ['x'] }\n"),
        Just("match = { index = 'by-a' }\n"),
        Just("match = 7\n"),
        Just("where = 'new.'\n"),
        Just("where = 'new.a > 1'\n"),
        Just("changed = []\n"),
        Just("include = ['a', 1]\n"),
        Just("store = { directory = 1 }\n"),
        Just("store = []\n"),
        Just("hold = '99999999999999999999d'\n"),
        Just("keep = '1d'\n"),
        Just("concurrency = 99999999999999999999\n"),
        Just("concurrency = 0x10\n"),
        Just("version = ''\n"),
        Just("topic = 'arn:aws:sns:a:b:c'\n"),
        Just("x = 1979-05-27\n"),
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_a_config_or_errors(text in prop_oneof![any::<String>(), pieces(), "[\\[\\]a-c.='\"{}$:\n# -]{0,80}"]) {
        match Config::parse("m.toml", &text, &|name| (name == "A").then(|| "a".to_owned())) {
            Ok(config) => drop(lint(&config)),
            Err(errors) => {
                prop_assert!(errors.iter().count() > 0);
                let lines = text.split('\n').count();
                for error in errors.iter() {
                    prop_assert!(error.line >= 1 && error.line <= lines, "{error}");
                    prop_assert!(!error.what.is_empty());
                }
            }
        }
    }
}
