//! What the command says of the demo's config, and of one that is wrong.

use std::path::Path;

use millstream_processor::wiring::WiringError;
use millstream_projections::config::Config;

use super::{Said, say};

fn said(text: &str, json: bool) -> Said {
    let loaded = Config::parse("m.toml", text, &|_| None).map_err(WiringError::from);
    say(Path::new("m.toml"), loaded, json)
}

const DEMO: &str = include_str!("../../../demo/millstream.toml");

#[test]
fn the_demo_is_right_and_without_a_warning() {
    let said = said(DEMO, false);
    assert!(said.right);
    let first = said.text.lines().next().unwrap();
    assert!(first.starts_with("m.toml: 3 sources, 6 projections, 0 warnings (config "), "{first}");
    for line in [
        "companies  table CompanyProfile, stream NEW_AND_OLD_IMAGES",
        "└─ company-changed  emit ─► arn:aws:sns:eu-west-1:000000000000:company-changed",
        "├─ statistics-company-name  copy ─► CompanyStatistics, rows of index by-company (companyId = {companyId})",
        "│     guard ms:statistics-company-name; the attributes go with the item",
        "ledger   table dev-millstream-ledger, tombstones kept 30d",
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
    assert_eq!(object["costs"][3]["insert"]["row"], 2);
    assert_eq!(object["warnings"], serde_json::json!([]));
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
