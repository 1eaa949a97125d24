//! A key whose changes wait for a letter that is not there: no list shows it, so `list` warns.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use millstream_test_support::emulators::Ministack;

use crate::terminal::{Demo, page, terminal};

/// Where the demo keeps letters.
const LETTERS: &str = "dev-millstream-letters";

/// Removes all that the table has.
async fn lose_letters(client: &Client) {
    let described = client.describe_table().table_name(LETTERS).send().await.expect("the demo is up");
    let schema = described.table.and_then(|table| table.key_schema).expect("a key");
    let names: Vec<&str> = schema.iter().map(|element| element.attribute_name()).collect();
    let rows = client.scan().table_name(LETTERS).consistent_read(true).into_paginator().items().send();
    let rows = rows.collect::<Result<Vec<_>, _>>().await.expect("the demo is up");
    assert!(!rows.is_empty(), "a letter has rows");
    for mut row in rows {
        row.retain(|name, _| names.contains(&name.as_str()));
        client.delete_item().table_name(LETTERS).set_key(Some(row)).send().await.expect("the demo is up");
    }
}

#[tokio::test]
async fn a_list_warns_of_keys_that_wait_for_letters_which_are_not_there() {
    let services = Ministack::start().await;
    // Its topic is a real one: it takes no event of that size.
    let mut demo =
        Demo::start(&page("REPLAY-DOCUMENT.md").replace(" --give-up", ""), &[], &services.endpoint());
    let client = demo.client();
    let company = client.put_item().table_name("CompanyProfile");
    let company = company.item("companyId", AttributeValue::S("too-large".to_owned()));
    let company = company.item("name", AttributeValue::S("x".repeat(300_000)));
    company.send().await.expect("the demo is up");
    demo.hear("; letter ");
    lose_letters(&client).await;

    let script =
        format!("{}\nmillstream replay --config demo/millstream.toml list\n", demo.exports.join("\n"));
    let output = terminal("sh").args(["-eu", "-c", &script]).output().expect("a shell starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && output.stdout.is_empty(), "{told}");
    assert!(told.starts_with("warning: key ") && told.ends_with("\nno letters\n"), "{told}");
    assert!(told.contains("of projection company-changed waits for a letter that is not there: "), "{told}");

    // What is told of is discarded by its id. A wrong one is found before anything is done.
    let (_, rest) = told.split_once("is not there: ").expect("it names the letter");
    let id = rest.split(';').next().expect("an id");
    let discard = |ids: &str| {
        let script = format!(
            "{}\nmillstream replay --config demo/millstream.toml discard {ids} --reason 'it is lost'\n",
            demo.exports.join("\n")
        );
        let output = terminal("sh").args(["-eu", "-c", &script]).output().expect("a shell starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    for wrong in ["0".repeat(24), "nothing".to_owned()] {
        let (code, said, told) = discard(&format!("{id} {wrong}"));
        assert!(code == Some(2) && said.is_empty() && told.contains("there is no letter"), "{said}{told}");
    }
    assert_eq!(discard(id), (Some(0), format!("{id} discarded\n"), String::new()));
    let output = terminal("sh").args(["-eu", "-c", &script]).output().expect("a shell starts");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "no letters\n");
}
