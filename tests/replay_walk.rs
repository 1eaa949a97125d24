//! The walk of `demo/REPLAY.md`, its commands run as they stand there against the real binary.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::{env, fs};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::types::AttributeValue;

/// What the page lets terminal 1 run.
const DEMO: &str = "millstream demo --keep --poison 20";
/// Stands between the outputs of two blocks.
const MARK: &str = "-- the next block --";

/// What the page's blocks of shell said, one after another.
struct Walk {
    outputs: Vec<String>,
    client: Client,
    /// Up until the walk is judged.
    _demo: Demo,
}

/// Terminal 1.
struct Demo {
    child: Child,
    /// Stays open: a demo that nobody listens to ends.
    _lines: Lines<BufReader<ChildStdout>>,
    /// What it says to paste into terminal 2.
    exports: Vec<String>,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program in the folder of the repository, with the binary on its path and nothing of this machine's AWS.
fn terminal(program: &str) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_millstream")).parent().expect("a binary is in a folder");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([binary.to_owned()].into_iter().chain(env::split_paths(&path)));
    let mut command = Command::new(program);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("PATH", path.expect("a path of folders"));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let ours = ["AWS_", "MILLSTREAM_", "COMPANY_", "PREFIX", "STAGE"];
        if ours.iter().any(|start| text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    command.env("TMPDIR", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// The fenced blocks of the page in a language, in their order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if fence == language {
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

impl Demo {
    fn start(changes: u32) -> Self {
        let arguments = format!("{DEMO} --changes {changes}");
        let mut command = terminal("millstream");
        command.args(arguments.split(' ').skip(1)).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output is ours")).lines();
        let mut exports = Vec::new();
        for line in lines.by_ref().map_while(Result::ok) {
            if line.trim().starts_with("export AWS_") {
                exports.push(line.trim().to_owned());
            }
            if line.starts_with("What Millstream does") {
                break;
            }
        }
        assert_eq!(exports.len(), 2, "the page says so: {exports:?}");
        Self { child, _lines: lines, exports }
    }

    fn client(&self) -> Client {
        let url = self.exports.iter().flat_map(|line| line.split(' '));
        let url = url.filter_map(|word| word.strip_prefix("AWS_ENDPOINT_URL=")).next();
        let credentials = Credentials::new("demo", "demo", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(url.expect("it says where it is"))
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        Client::new(&config.build())
    }
}

impl Walk {
    /// Runs the page beside a demo that makes so many changes.
    fn run(changes: u32) -> Self {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/REPLAY.md");
        let page = fs::read_to_string(&page).expect("the page is there");
        assert!(blocks(&page, "").contains(&DEMO.to_owned()), "terminal 1 runs `{DEMO}`");
        let demo = Demo::start(changes);
        let script = blocks(&page, "sh").join(&format!("\necho '{MARK}'\n"));
        let script = format!("{}\n{script}\n", demo.exports.join("\n"));
        let output = terminal("sh").args(["-eu", "-c", &script]).output().expect("a shell starts");
        let said = String::from_utf8(output.stdout).expect("text");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{complaints}");
        // An empty list is told on the side.
        assert_eq!(complaints, "no letters\n");
        let outputs = said.split(&format!("{MARK}\n")).map(str::to_owned).collect();
        Self { outputs, client: demo.client(), _demo: demo }
    }

    /// The orders that accounting has without a total.
    async fn mended_rows(&self) -> usize {
        let rows = self.client.scan().table_name("AccountingOrders").consistent_read(true);
        let rows = rows.send().await.expect("the demo is still up").items.unwrap_or_default();
        rows.iter().filter(|row| is_order(row) && !row.contains_key("total")).count()
    }
}

fn is_order(row: &HashMap<String, AttributeValue>) -> bool {
    row.contains_key("orderId") && row.contains_key("customer")
}

/// The number before some words, 0 where they are not said.
fn number(text: &str, words: &str) -> usize {
    let Some(end) = text.find(&format!(" {words}")) else { return 0 };
    let start = text[..end].rfind([' ', '\n']).map_or(0, |space| space + 1);
    text[start..end].parse().unwrap_or_else(|error| panic!("{words}: {error} in {text}"))
}

#[tokio::test]
async fn the_walk_ends_with_every_order_in_accounting() {
    // Every change is an order without a total, and none is changed again.
    let walk = Walk::run(20);
    let [list, show, before, after, apply, kept, gauges] = &walk.outputs[..] else {
        panic!("other blocks than before: {:#?}", walk.outputs)
    };
    assert!(list.contains("20 letters in 1 group") && list.contains("orders-for-accounting"), "{list}");
    for part in
        ["Fault: rejected", "has no attribute `total`", "Attempts", "+ customer", "Now: still rejected"]
    {
        assert!(show.contains(part), "{part}: {show}");
    }
    assert!(before.ends_with("20 letters: 20 still rejected\n"), "{before}");
    let mended = "20 letters: 20 would write; 20 failed under another config\n";
    assert!(after.ends_with(mended), "{after}");
    assert_eq!(apply, "20 replayed, 0 superseded of 20 letters\n");
    assert!(kept.contains("20 letters in 1 group"), "{kept}");
    assert_eq!(kept.lines().filter(|line| line.ends_with("replayed: 1 written")).count(), 20, "{kept}");
    let none = "millstream_letters{projection=\"orders-for-accounting\",state=\"open\"} 0\n";
    assert!(gauges.contains(none), "{gauges}");
    assert_eq!(walk.mended_rows().await, 20);
}

#[tokio::test]
async fn what_was_changed_since_is_closed_without_a_write() {
    let walk = Walk::run(200);
    let plan = walk.outputs[3].lines().last().expect("a plan");
    let (would, superseded) = (number(plan, "would write"), number(plan, "superseded"));
    assert!(would + superseded == 20 && would > 0 && superseded > 0, "{plan}");
    assert_eq!(walk.outputs[4], format!("{would} replayed, {superseded} superseded of 20 letters\n"));
    // Nothing old is over something newer, which has a total.
    assert_eq!(walk.mended_rows().await, would);
}
