//! `millstream demo` as a user runs it: the real binary, its output and its exit codes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail their test")]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

/// Longer than anything here takes on a busy machine; it ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn millstream(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(arguments.split_whitespace()).current_dir(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if ["AWS_", "MILLSTREAM_", "COMPANY_", "PREFIX", "STAGE"]
            .iter()
            .any(|start| name_text.starts_with(start))
        {
            command.env_remove(&name);
        }
    }
    command
}

fn run(arguments: &str) -> Output {
    millstream(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs the demo, which has to succeed, and gives its JSON without what a clock decides.
fn demo(arguments: &str) -> Value {
    let output = run(&format!("demo --json {arguments}"));
    let said = text(&output.stderr);
    assert_eq!((code(&output), said.as_str()), (0, ""), "{arguments}: {}", text(&output.stdout));
    let mut json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json.as_object_mut().unwrap().remove("elapsed_ms").unwrap().is_u64());
    assert_eq!(json["differences"], 0, "{arguments}");
    assert_eq!(json["letters"], json["poison"], "{arguments}");
    json
}

#[test]
fn the_same_seed_gives_the_same_result() {
    let first = demo("--changes 400 --seed 7");
    assert_eq!(first, demo("--changes 400 --seed 7"));
    assert_eq!(first["changes"], 400);
    assert_eq!(first["poison"], 1);
    for counted in ["writes", "coalesced", "stale", "rows_compared", "events"] {
        assert!(first[counted].as_u64() > Some(0), "{counted}: {first}");
    }
    assert!(first["deliveries"].as_u64() > first["changes"].as_u64(), "{first}");
}

#[test]
fn every_seed_ends_without_a_difference() {
    for seed in [1, 2, 3, 11, 4_000_000_000_u64] {
        demo(&format!("--changes 150 --seed {seed}"));
    }
}

/// An order without a total concerns accounting alone: the totals leave it out by their `where`, and nothing else reads
/// its total.
#[test]
fn each_poison_record_becomes_one_letter() {
    assert_eq!(demo("--changes 200 --seed 5 --poison 5")["letters"], 5);
    assert_eq!(demo("--changes 60 --seed 5 --poison 0")["letters"], 0);
    assert_eq!(demo("--changes 12 --seed 5 --poison 12")["letters"], 12);
    demo("--changes 1 --poison 0");
}

#[test]
fn people_are_told_a_story_and_a_pipe_gets_no_progress() {
    let output = run("demo --changes 40 --seed 3");
    let (story, noise) = (text(&output.stdout), text(&output.stderr));
    assert_eq!((code(&output), noise.as_str()), (0, ""));
    for part in ["Millstream demo, seed 3", "deliveries", "coalesced", "differences           0", "Proven in"]
    {
        assert!(story.contains(part), "{part}: {story}");
    }
    assert!(!story.contains('\u{1b}'), "{story}");
}

#[test]
fn the_shipped_config_is_right() {
    let output = run("check --config demo/millstream.toml");
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
}

#[test]
fn what_is_asked_wrongly_ends_with_2() {
    for wrong in [
        "",
        "demo --colour",
        "demo --changes 0",
        "demo --changes many",
        "demo --poison -1",
        "demo --changes 5 --poison 6",
        "demo --endpoint localhost",
        "demo --prefix a/b",
        "setup --config no-such-file.toml",
        "mill",
    ] {
        let output = run(wrong);
        assert_eq!(code(&output), 2, "{wrong}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty(), "{wrong}");
    }
    assert_eq!(code(&run("--help")), 0);
    assert_eq!(code(&run("--version")), 0);
}

#[test]
fn an_endpoint_that_does_not_answer_ends_with_1() {
    // Nothing listens there: the port was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(&format!("demo --changes 5 --endpoint http://{free}"));
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).starts_with("error: "), "{}", text(&output.stderr));
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let mut child =
        millstream("demo --changes 20").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), text(&output.stderr).as_str()), (0, ""));
}

#[tokio::test]
async fn keep_follows_what_the_user_writes_until_it_is_interrupted() {
    let mut demo = Kept::start("demo --changes 30 --seed 9 --keep");
    let client = demo.client();
    let order = item(&[
        ("orderId", "mine"),
        ("companyId", "company-001"),
        ("status", "PLACED"),
        ("warehouse", "Porto"),
    ]);
    let customer = AttributeValue::M([("name".to_owned(), AttributeValue::S("Me".to_owned()))].into());
    let line = [
        ("sku".to_owned(), AttributeValue::S("lamp".to_owned())),
        ("qty".to_owned(), AttributeValue::N("1".to_owned())),
    ];
    let put = client.put_item().table_name("Orders").set_item(Some(order.clone())).item("customer", customer);
    let put = put.item("lines", AttributeValue::L(vec![AttributeValue::M(line.into())]));
    let put = put.item("tags", AttributeValue::Ss(vec!["gift".to_owned()]));
    put.clone().item("total", AttributeValue::N("42".to_owned())).send().await.unwrap();
    let row = eventually(&client, "AccountingOrders", item(&[("orderId", "mine")]), "company").await;
    assert_eq!(row["company"], AttributeValue::S("COMPANY#company-001".to_owned()));
    let row = eventually(&client, "OrdersByCustomer", item(&[("customer", "Me")]), "orders").await;
    assert_eq!(row["revenue"], AttributeValue::N("42".to_owned()));
    assert!(!row.contains_key("lastOrder"), "it says no date: {row:?}");
    let key = item(&[("tag", "gift"), ("orderId", "mine")]);
    let row = eventually(&client, "OrdersByTag", key, "status").await;
    assert_eq!(row["status"], AttributeValue::S("PLACED".to_owned()));

    let company = item(&[("companyId", "company-002"), ("name", "Hello Mills")]);
    client.put_item().table_name("CompanyProfile").set_item(Some(company)).send().await.unwrap();
    demo.await_line("company-events");
    let key = item(&[("companyId", "company-002")]);
    let billing = eventually(&client, "CompanyBilling", key, "companyName").await;
    assert_eq!(billing["companyName"], AttributeValue::S("Hello Mills".to_owned()));

    // Without a total the order can never be told to accounting.
    put.item("note", AttributeValue::S("no total".to_owned())).send().await.unwrap();
    demo.await_line("letter ");
    assert_eq!(demo.interrupt(), 0);
}

/// The second opinion has to be able to say no: here somebody writes into a read model by hand.
#[tokio::test]
async fn a_row_that_nothing_explains_is_a_difference_and_the_tables_go_all_the_same() {
    let host = Kept::start("demo --changes 5 --keep");
    let client = host.client();
    let arguments = format!("demo --changes 300 --seed 4 --endpoint {} --prefix t-", host.url);
    let demo = millstream(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    put_when_there(&client, "t-AccountingOrders", item(&[("orderId", "stray")])).await;
    put_when_there(&client, "t-OrdersByMonth", item(&[("month", "2025-13"), ("orders", "many")])).await;

    let output = demo.wait_with_output().unwrap();
    let story = text(&output.stdout);
    assert_eq!((code(&output), text(&output.stderr).as_str()), (1, ""), "{story}");
    for part in [
        "AccountingOrders stray: the row should be nothing and is {orderId: stray}",
        "OrdersByMonth 2025-13: the row should be nothing and is {month: 2025-13, orders: many}",
        "NOT proven: 2 differences, 1 letter for 1 poison record. `--seed 4` repeats this run.",
    ] {
        assert!(story.contains(part), "{part}: {story}");
    }
    assert_eq!(tables(&client, "t-").await, [""; 0]);
}

#[tokio::test]
async fn an_interrupted_demo_removes_its_tables() {
    let host = Kept::start("demo --changes 5 --keep");
    let client = host.client();
    let arguments = format!("demo --changes 100000 --json --endpoint {} --prefix t-", host.url);
    let mut demo = millstream(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    put_when_there(&client, "t-CompanyBilling", item(&[("companyId", "stray")])).await;
    assert_eq!(interrupt(&mut demo), 1);
    assert_eq!(tables(&client, "t-").await, [""; 0]);
}

#[tokio::test]
async fn a_table_that_is_there_already_is_never_touched() {
    let host = Kept::start("demo --changes 5 --keep");
    let before = tables(&host.client(), "").await;
    let output = run(&format!("demo --changes 5 --endpoint {} --prefix Company --json", host.url));
    assert_eq!(code(&output), 0, "no name is the same: {}", text(&output.stderr));
    let arguments = format!("demo --changes 5 --endpoint {} --json --prefix", host.url);
    let output = millstream(&arguments).arg("").output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(
        text(&output.stderr).contains("table CompanyProfile is there already"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(tables(&host.client(), "").await, before);
}

/// A demo that stays up.
struct Kept {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Kept {
    fn start(arguments: &str) -> Self {
        let mut child = millstream(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut this = Self { child, lines, url: String::new() };
        let up = this.await_line("Still up at ");
        this.url = up.trim_start_matches("Still up at ").trim().to_owned();
        this
    }

    fn client(&self) -> Client {
        let credentials = Credentials::new("demo", "demo", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(&self.url)
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        Client::new(&config.build())
    }

    /// The next line that holds `part`.
    fn await_line(&mut self, part: &str) -> String {
        let mut seen = String::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if line.contains(part) {
                return line;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        panic!("the demo ended before it said `{part}`: {seen}");
    }

    /// Ctrl-C, and the exit code that follows.
    fn interrupt(&mut self) -> i32 {
        interrupt(&mut self.child)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn interrupt(child: &mut Child) -> i32 {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    child.wait().unwrap().code().unwrap()
}

async fn tables(client: &Client, prefix: &str) -> Vec<String> {
    let listed = client.list_tables().send().await.unwrap().table_names.unwrap_or_default();
    listed.into_iter().filter(|name| name.starts_with(prefix)).collect()
}

/// Puts an item as soon as its table is there.
async fn put_when_there(client: &Client, table: &str, item: Item) {
    let give_up = Instant::now() + PATIENCE;
    while let Err(error) = client.put_item().table_name(table).set_item(Some(item.clone())).send().await {
        assert!(Instant::now() < give_up, "{table}: {error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

type Item = std::collections::HashMap<String, AttributeValue>;

fn item(attributes: &[(&str, &str)]) -> Item {
    attributes
        .iter()
        .map(|(name, value)| ((*name).to_owned(), AttributeValue::S((*value).to_owned())))
        .collect()
}

/// Asks for a row until it has an attribute that only Millstream writes there.
async fn eventually(client: &Client, table: &str, key: Item, attribute: &str) -> Item {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let got = client.get_item().table_name(table).set_key(Some(key.clone())).send().await.unwrap();
        match got.item {
            Some(row) if row.contains_key(attribute) => return row,
            _ if Instant::now() > give_up => panic!("no row in {table} for {key:?}"),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
