//! What the command says of the demo's config, and of one that is wrong.

use std::path::Path;

use millstream_processor::wiring::WiringError;
use millstream_projections::config::Config;

use super::{Said, say};

fn said(text: &str, json: bool) -> Said {
    let loaded = Config::parse("m.toml", text, &|_| None).map_err(WiringError::from);
    say(Path::new("m.toml"), loaded, None, json)
}

const DEMO: &str = include_str!("../../../demo/millstream.toml");

#[test]
fn the_demo_is_right_and_without_a_warning() {
    let said = said(DEMO, false);
    assert!(said.right);
    let first = said.text.lines().next().unwrap();
    assert!(first.starts_with("m.toml: 3 sources, 10 projections, 0 warnings (config "), "{first}");
    for line in [
        "companies  table CompanyProfile, stream NEW_AND_OLD_IMAGES",
        "├─ company-changed  emit ─► arn:aws:sns:eu-west-1:000000000000:company-changed",
        "├─ statistics-company-name  copy ─► CompanyStatistics, rows of index by-company (companyId = {companyId})",
        "│     guard ms:statistics-company-name; the attributes go with the item",
        "├─ orders-by-month  aggregate ─► OrdersByMonth (month = {month})",
        "│     count orders; sum revenue = {total}; max largest = {total}; distinct customers = {customer.name}; \
         avg of {discount?} = discount_sum / discount_count",
        "│     what each item contributes is in the ledger; a row without items stays, with zeros",
        "└─ orders-by-tag  index ─► OrdersByTag (tag = {ms:each}, orderId = {orderId})",
        "      puts status = {status}, placedAt = {placedAt?}, for each of {tags?}",
        "│ orders-by-customer      ┆ 2 × totals + 4   ┆ 2 × totals + 6   ┆ 4 × totals + 6  ┆ 2 × totals + 4   │",
        "share; the units beside it are each item's own.",
        "ledger   table dev-millstream-ledger, tombstones kept 30d",
        "values   table dev-millstream-values",
        "poller   table dev-millstream-state, consumer default, ttl 10s, polls every 250ms to 5s, on_gap halt, \
         listens 127.0.0.1:9464",
    ] {
        assert!(said.text.lines().any(|it| it == line), "`{line}` is missing in\n{}", said.text);
    }
}

#[test]
fn the_demo_as_one_json_object() {
    let said = said(DEMO, true);
    let object: serde_json::Value = serde_json::from_str(&said.text).unwrap();
    assert_eq!(object["ok"], true);
    assert_eq!(object["projections"][1]["match"]["index"], "by-company");
    assert_eq!(object["values"]["table"], "dev-millstream-values");
    assert_eq!(object["costs"][3]["insert"]["row"], 2);
    assert_eq!(object["warnings"], serde_json::json!([]));
}

const FOLDS: &str = "\
[source.a]
table = 'Table'
[projection.totals]
kind = 'aggregate'
from = 'a'
table = 'Totals'
group = { who = '{who}#{ms:shard}' }
count = 'items'
avg = { price = '{price?}' }
shards = 8
on_empty = 'delete'
[projection.lookup]
kind = 'index'
from = 'a'
table = 'Lookup'
key = { word = '{ms:each}', id = '{id}' }
each = '{words?}'
";

#[test]
fn totals_and_lookups_in_words() {
    let page = said(FOLDS, false).text;
    for line in [
        "├─ totals  aggregate ─► Totals (who = {who}#{ms:shard})",
        "│     count items; avg of {price?} = price_sum / price_count",
        "│     the totals of a group are in 8 rows: readers put them together",
        "│     what each item contributes is in the ledger; a row without items goes",
        "└─ lookup  index ─► Lookup (word = {ms:each}, id = {id})",
        "      puts the item's key, for each of {words?}",
        "      guard ms:lookup, and in the ledger; another item's row is never overwritten, nor is one without a guard",
    ] {
        assert!(page.lines().any(|it| it == line), "`{line}` is missing in\n{page}");
    }
    assert!(!page.contains("values   table"), "no values are kept: {page}");
    let once = "`totals` is likewise the size of the totals row. It counts once a transaction";
    assert!(page.contains(once), "{page}");
    let (start, lookup) =
        (FOLDS.find("[projection.totals]").unwrap(), FOLDS.find("[projection.lookup]").unwrap());
    let lookup_alone = format!("{}{}", &FOLDS[..start], &FOLDS[lookup..]);
    assert!(!said(&lookup_alone, false).text.contains("`totals`"), "nothing is said of what there is not");
}

#[test]
fn totals_and_lookups_as_json() {
    let object: serde_json::Value = serde_json::from_str(&said(FOLDS, true).text).unwrap();
    let (totals, lookup) = (&object["projections"][0], &object["projections"][1]);
    assert_eq!(totals["group"], serde_json::json!({ "who": "{who}#{ms:shard}" }));
    assert_eq!(totals["avg"], serde_json::json!({ "price": "{price?}" }));
    assert_eq!((&totals["shards"], &totals["count"]), (&serde_json::json!(8), &serde_json::json!("items")));
    assert_eq!(
        (&totals["sum"], &totals["on_empty"]),
        (&serde_json::Value::Null, &serde_json::json!("delete"))
    );
    assert_eq!(lookup["key"], serde_json::json!({ "word": "{ms:each}", "id": "{id}" }));
    assert_eq!(
        (&lookup["each"], &lookup["unique"]),
        (&serde_json::json!("{words?}"), &serde_json::json!(true))
    );
    assert_eq!(
        object["costs"][0]["move"],
        serde_json::json!({ "row": 0, "totals": 4, "ledger": 2, "events": 0 })
    );
    assert_eq!(object["values"], serde_json::Value::Null);
}

#[test]
fn a_poller_in_words_and_as_json() {
    let polled = "[source.a]\ntable = 'Table'\nstart = '2025-06-15T17:06:40+02:00'\n\
                  [poller]\nconsumer = 'mine'\nttl = '90s'\nidle = '100ms'\non_gap = 'continue'\nlisten = 'off'\n\
                  [projection.p]\nkind = 'replica'\nfrom = 'a'\ntable = 'Rows'\nkey = { id = '{id}' }\n";
    let page = said(polled, false).text;
    for line in [
        "a  table Table, stream NEW_AND_OLD_IMAGES from 2025-06-15T15:06:40Z",
        "poller   table millstream-state, consumer mine, ttl 90s, polls every 100ms to 100ms, on_gap continue, listens off",
    ] {
        assert!(page.lines().any(|it| it == line), "`{line}` is missing in\n{page}");
    }
    let object: serde_json::Value = serde_json::from_str(&said(polled, true).text).unwrap();
    assert_eq!(object["sources"][0]["start"], "2025-06-15T15:06:40Z");
    let expected = serde_json::json!({
        "table": "millstream-state", "consumer": "mine", "ttl": "90s", "max_moves": 10,
        "busy": "100ms", "idle": "100ms", "on_gap": "continue", "listen": "off",
    });
    assert_eq!(object["poller"], expected);
    let topic = polled.replace("table = 'Table'", "topic = 'arn:aws:sns:r:1:t'");
    let topic = topic.replace("start = '2025-06-15T17:06:40+02:00'\n", "");
    let object: serde_json::Value = serde_json::from_str(&said(&topic, true).text).unwrap();
    assert_eq!(object["poller"], serde_json::Value::Null, "nothing of it is for a poller");
    assert!(!said(&topic, false).text.contains("poller   table"));
}

#[test]
fn every_error_is_told() {
    let wrong = "[source.a]\ntable = 5\n[projection.p]\nkind = 'emti'\nfrom = 'a'\n";
    let page = said(wrong, false);
    assert!(!page.right);
    assert_eq!(
        page.text,
        "m.toml:2: [source.a] table: is of type integer `5`; use text in quotes\n\
         m.toml:4: [projection.p] kind: `emti` is not a kind; did you mean `emit`?\n"
    );
    let object: serde_json::Value = serde_json::from_str(&said(wrong, true).text).unwrap();
    assert_eq!(object["ok"], false);
    assert_eq!(object["errors"][1]["line"], 4);
    assert_eq!(object["errors"][1]["key"], "kind");
}

#[test]
fn warnings_do_not_make_it_wrong() {
    let text = "[source.a]\ntable = 'Table'\nstart = 'latest'\n\
                [projection.p]\nkind = 'replica'\nfrom = 'a'\ntable = 'Rows'\nkey = { id = '{id}' }\n";
    let said = said(text, false);
    assert!(said.right);
    assert!(
        said.text.contains("\nwarning: m.toml:1: [source.a] start = \"latest\" can miss"),
        "{}",
        said.text
    );
}
