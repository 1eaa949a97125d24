//! `millstream run` and `millstream status` as real processes, against the embedded DynamoDB on a socket.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail their test")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use millstream_test_support::embedded::{Embedded, StreamViewType};
use millstream_test_support::faults::{Fault, Rule};
use millstream_test_support::served::Served;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine; it ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(90);
/// How soon a condition is looked at again.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a worker may take to stop.
const GRACE: Duration = Duration::from_secs(10);
/// What workers are told that others wait for.
const PACE: &str = "--ttl 3s --idle 100ms";

const CONFIG: &str = r#"
[source.orders]
table = "Orders"
[source.mail]
queue = "https://sqs.eu-west-1.amazonaws.com/000000000000/mail"
[state]
prefix = "t-"
[projection.read-model]
kind = "replica"
from = "orders"
table = "Rows"
key = { orderId = "{orderId}" }
set = { revision = "{revision}" }
"#;

/// A DynamoDB with a source table and a read model, and a config.
struct World {
    database: Embedded,
    served: Served,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let database = Embedded::new();
        database.set_now(SystemTime::now());
        database.create_table("Orders", "orderId", None, Some(StreamViewType::NewAndOldImages)).await;
        database.create_table("Rows", "orderId", None, None).await;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("millstream.toml"), CONFIG).unwrap();
        Self { served: database.serve().await, database, folder }
    }

    /// A world with Millstream's own tables.
    async fn set_up() -> Self {
        let world = Self::new().await;
        let output = world.output("setup").await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        world
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.args(arguments.split_whitespace());
        command.args(["--config", "millstream.toml", "--endpoint", self.served.endpoint()]);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if ["AWS_", "MILLSTREAM_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
                command.env_remove(&name);
            }
        }
        command.envs([
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "eu-west-1"),
        ]);
        command
    }

    /// Runs a command that ends by itself. The database answers meanwhile.
    async fn output(&self, arguments: &str) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    fn start(&self, name: &'static str, arguments: &str) -> Worker {
        let log = self.folder.path().join(name);
        let mut command = self.command(&format!("run {arguments}"));
        let child = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        Worker { name, child, log }
    }

    /// Writes each of these orders twice.
    async fn write(&self, orders: std::ops::Range<u32>) {
        for revision in 1..=2 {
            for order in orders.clone() {
                let order = json!({ "orderId": format!("order-{order:04}"), "revision": revision });
                self.database.put("Orders", order).await;
            }
        }
    }

    /// Whether every row says what its order does, and no order is without its row.
    async fn is_in_step(&self) -> bool {
        let mut rows = self.database.scan_all("Rows").await;
        for row in &mut rows {
            row.as_object_mut().unwrap().retain(|name, _| !name.starts_with("ms:"));
        }
        rows.sort_by_key(Value::to_string);
        let orders = self.database.scan_all("Orders").await;
        rows == orders
    }

    async fn status(&self) -> Status {
        let output = self.output("status --json").await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        Status(serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Looks until the status is as it should be.
    async fn until(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if is_so(&status) {
                return status;
            }
            assert!(Instant::now() < give_up, "{what}: {:#}", status.0);
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn until_in_step(&self) {
        let give_up = Instant::now() + PATIENCE;
        while !self.is_in_step().await {
            assert!(Instant::now() < give_up, "the read model is not in step: {:#}", self.status().await.0);
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Splits the shards until both workers read some: who reads which, chance decides.
    async fn until_shared(&self) -> Status {
        let give_up = Instant::now() + PATIENCE;
        loop {
            self.database.split_shards("Orders");
            let status = self.until("every shard is read", Status::is_settled).await;
            if status.owners().len() == 2 {
                return status;
            }
            assert!(Instant::now() < give_up, "one worker has everything: {:#}", status.0);
        }
    }
}

/// What `status --json` said.
struct Status(Value);

impl Status {
    fn sessions(&self) -> BTreeSet<&str> {
        let workers = self.0["workers"].as_array().unwrap();
        workers.iter().map(|worker| worker["session"].as_str().unwrap()).collect()
    }

    fn open_shards(&self) -> Vec<&Value> {
        let shards = self.0["streams"][0]["shards"].as_array().unwrap();
        shards.iter().filter(|shard| shard["state"] == "open").collect()
    }

    fn owners(&self) -> BTreeSet<&str> {
        self.open_shards().iter().filter_map(|shard| shard["owner"].as_str()).collect()
    }

    /// Whether there are shards, and each has an owner that is there.
    fn is_settled(&self) -> bool {
        let (open, there) = (self.open_shards(), self.sessions());
        let has_owner = |shard: &&Value| shard["owner"].as_str().is_some_and(|owner| there.contains(owner));
        !open.is_empty() && open.iter().all(has_owner)
    }

    /// The session of a worker that is another process than this one.
    fn session_of(&self, worker: &Worker) -> &str {
        let id = format!("/{}", worker.child.id());
        let workers = self.0["workers"].as_array().unwrap();
        let found = workers.iter().find(|row| row["host"].as_str().unwrap().ends_with(&id));
        found.unwrap_or_else(|| panic!("{} is not there: {:#}", worker.name, self.0))["session"]
            .as_str()
            .unwrap()
    }
}

/// A `millstream run`.
struct Worker {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Worker {
    fn signal(&self, signal: &str) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }

    /// The exit code, as soon as the process has ended; none after `kill -9`.
    async fn ended(&mut self) -> Option<i32> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < give_up, "{} goes on", self.name);
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    async fn until_logged(&self, line: &str) {
        let give_up = Instant::now() + PATIENCE;
        while !self.log().contains(line) {
            assert!(Instant::now() < give_up, "{} does not say `{line}`: {}", self.name, self.log());
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Where it answers, from the line that says so.
    async fn address(&self) -> String {
        self.until_logged("at http://").await;
        self.until_logged(": /healthz").await;
        let log = self.log();
        let address = log.split_once("at http://").and_then(|(_, rest)| rest.split_once(": /healthz"));
        address.unwrap_or_else(|| panic!("{log}")).0.to_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("── {}:\n{}", self.name, self.log());
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The status and the body of an answer.
fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

fn config(folder: &Path, change: impl Fn(&str) -> String) {
    let path = folder.join("millstream.toml");
    fs::write(&path, change(&fs::read_to_string(&path).unwrap())).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn once_drains_the_stream_and_ends() {
    let world = World::set_up().await;
    world.write(0..100).await;
    let output = world.output(&format!("run --once {PACE}")).await;
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(world.is_in_step().await, "{log}");
    assert!(log.contains("source mail is not read"), "{log}");

    // What came since, and nothing of before: the checkpoint is stored.
    world.write(50..150).await;
    let output = world.output(&format!("run --once --logs json {PACE}")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(world.is_in_step().await);
    for line in text(&output.stdout).lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "{line}");
    }
    let status = world.status().await;
    assert_eq!(status.sessions(), BTreeSet::new(), "who ends takes its row along");
    assert_eq!(status.0["totals"]["shards"], 1);
    assert_eq!(status.owners(), BTreeSet::new());
    let page = world.output("status").await;
    assert!(
        text(&page.stdout).contains("0 workers; 1 open shard, 1 read by nobody; 0 gaps"),
        "{}",
        text(&page.stdout)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_switched_off_and_on_is_read_before_the_one_that_follows() {
    let world = World::set_up().await;
    world.write(0..5).await;
    assert!(world.output(&format!("run --once {PACE}")).await.status.success());
    // What is written now is in the old stream, and what comes after it in the new one, of another name.
    world.write(5..10).await;
    world.database.disable_stream("Orders").await;
    world.database.enable_stream("Orders", StreamViewType::NewAndOldImages).await;
    world.write(10..15).await;
    config(world.folder.path(), |config| {
        config.replace("table = \"Orders\"", "table = \"Orders\"\nstart = \"latest\"")
    });
    let output = world.output(&format!("run --once {PACE}")).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(world.is_in_step().await, "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn once_after_a_run_that_was_killed_waits_for_its_shards_and_drains_them() {
    let world = World::set_up().await;
    let mut killed = world.start("killed", PACE);
    world.until("it reads", |status| status.owners().len() == 1).await;
    killed.signal("-KILL");
    killed.ended().await;
    world.write(0..20).await;
    let output = world.output(&format!("run --once {PACE}")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(world.is_in_step().await, "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn once_reads_every_generation_of_a_stream() {
    let world = World::set_up().await;
    for generation in 0..4 {
        world.write(generation * 5..generation * 5 + 5).await;
        world.database.roll_shards("Orders");
    }
    world.database.split_shards("Orders");
    world.write(20..30).await;
    let output = world.output(&format!("run --once {PACE}")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(world.is_in_step().await, "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_stands_still_until_it_is_said_to_go_on() {
    let world = World::set_up().await;
    world.write(0..5).await;
    assert!(world.output(&format!("run --once {PACE}")).await.status.success());
    // A day passes before anyone reads on.
    world.write(5..10).await;
    world.database.trim_stream("Orders");
    world.write(10..15).await;
    let output = world.output(&format!("run --once {PACE}")).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("stands still") && said.contains("--on-gap continue"), "{said}");
    let status = world.status().await;
    assert_eq!(status.0["totals"]["gaps"], 1, "{:#}", status.0);

    let output = world.output(&format!("run --once --on-gap continue {PACE}")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let rows = world.database.scan_all("Rows").await;
    assert_eq!(rows.len(), 10, "what was lost is lost, and the rest is there");
    assert_eq!(world.status().await.0["totals"]["gaps"], 1, "it is the same gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_hands_over() {
    let world = World::set_up().await;
    let pace = format!("--listen off {PACE}");
    let (mut first, mut second) = (world.start("first", &pace), world.start("second", &pace));
    world.until("both are there", |status| status.sessions().len() == 2).await;
    world.write(0..50).await;
    let shared = world.until_shared().await;
    let stays = shared.session_of(&second).to_owned();
    world.write(25..100).await;
    first.signal("-TERM");
    world.write(75..150).await;
    assert_eq!(first.ended().await, Some(0));
    world.until_in_step().await;
    let left = world.until("one is left", |status| status.sessions().len() == 1 && status.is_settled()).await;
    assert_eq!((left.sessions(), left.owners()), ([&*stays].into(), [&*stays].into()));
    assert_eq!(left.0["workers"][0]["heartbeatMoved"], true);
    assert_eq!(left.0["totals"]["gaps"], 0);
    second.signal("-INT");
    assert_eq!(second.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shards_of_a_worker_that_is_killed_are_taken_over() {
    let world = World::set_up().await;
    let pace = format!("--listen off {PACE}");
    let (mut first, mut second) = (world.start("first", &pace), world.start("second", &pace));
    world.until("both are there", |status| status.sessions().len() == 2).await;
    world.write(0..50).await;
    let shared = world.until_shared().await;
    let stays = shared.session_of(&second).to_owned();
    world.write(25..100).await;
    first.signal("-KILL");
    world.write(75..150).await;
    assert_eq!(first.ended().await, None);
    world.until_in_step().await;
    let is_taken = |status: &Status| status.is_settled() && status.owners() == [&*stays].into();
    world.until("all shards are the other's", is_taken).await;
    second.signal("-TERM");
    assert_eq!(second.ended().await, Some(0));
}

/// The state table does not answer any more, so there is nobody to hand over to.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_in_time_and_the_second_one_at_once() {
    let world = World::set_up().await;
    let pace = format!("--listen off {PACE}");
    let (mut patient, mut hasty) = (world.start("patient", &pace), world.start("hasty", &pace));
    world.until("both are at work", |status| status.sessions().len() == 2 && status.is_settled()).await;
    world.database.faults().add(Rule::any(Fault::Timeout).table("t-state"));
    let told = Instant::now();
    patient.signal("-TERM");
    hasty.signal("-TERM");
    hasty.until_logged("a second signal ends this at once").await;
    hasty.signal("-INT");
    assert_eq!(hasty.ended().await, Some(1));
    assert!(patient.child.try_wait().unwrap().is_none(), "the other still tries");
    assert_eq!(patient.ended().await, Some(1));
    let took = told.elapsed();
    assert!(took < GRACE, "{took:?}: {}", patient.log());
    assert!(patient.log().contains("error: unavailable: DeleteItem (leave)"), "{}", patient.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_numbers_are_told() {
    let world = World::set_up().await;
    let mut worker = world.start("worker", &format!("--listen 127.0.0.1:0 {PACE}"));
    let address = worker.address().await;
    let give_up = Instant::now() + PATIENCE;
    while get(&address, "/readyz").0 != "200" {
        assert!(Instant::now() < give_up, "{}", worker.log());
        tokio::time::sleep(AGAIN).await;
    }
    assert_eq!(get(&address, "/healthz"), ("200".to_owned(), "alive\n".to_owned()));
    world.write(0..10).await;
    world.until_in_step().await;
    let written = "millstream_writes_total{table=\"Rows\",kind=\"put\"}";
    while !get(&address, "/metrics").1.contains(written) {
        assert!(Instant::now() < give_up, "{}", get(&address, "/metrics").1);
        tokio::time::sleep(AGAIN).await;
    }
    let numbers = get(&address, "/metrics").1;
    assert!(numbers.contains("# TYPE millstream_lag_seconds gauge"), "{numbers}");
    assert!(numbers.contains("millstream_apply_seconds_bucket"), "{numbers}");

    let second = world.output(&format!("run --listen {address}")).await;
    assert_eq!(second.status.code(), Some(2));
    assert!(
        text(&second.stderr).contains(&format!("error: {address} is in use")),
        "{}",
        text(&second.stderr)
    );
    worker.signal("-TERM");
    assert_eq!(worker.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() {
    let world = World::new().await;
    for command in ["run --once", "status"] {
        let output = world.output(command).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("millstream setup"), "{command}: {said}");
    }
    assert!(world.output("setup").await.status.success());
    world.database.create_table("Plain", "id", None, None).await;
    config(world.folder.path(), |text| text.replace("\"Orders\"", "\"Plain\""));
    let output = world.output("run --once").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("table Plain has no stream"), "{}", text(&output.stderr));
    let output = world.output("status").await;
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("table Plain has no stream"), "{}", text(&output.stdout));
}

/// Nothing of a wrong deployment is lost, and nobody waits for it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn once_gives_up_where_something_has_to_be_mended() {
    let world = World::set_up().await;
    config(world.folder.path(), |text| text.replace("\"Rows\"", "\"NoSuchTable\""));
    world.write(0..5).await;
    let output = world.output(&format!("run --once {PACE}")).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot be drained") && said.contains("NoSuchTable"), "{said}");
    config(world.folder.path(), |text| text.replace("\"NoSuchTable\"", "\"Rows\""));
    let output = world.output(&format!("run --once {PACE}")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(world.is_in_step().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrongly_ends_with_2() {
    let world = World::new().await;
    for wrong in [
        "run --ttl 10",
        "run --ttl 100ms",
        "run --idle 1h",
        "run --max-moves 0",
        "run --on-gap skip",
        "run --listen 9464",
        "run --consumer a/b",
        "run --logs xml",
        "status --consumer a/b",
    ] {
        let output = world.output(wrong).await;
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", text(&output.stderr));
    }
    config(world.folder.path(), |text| {
        text.replace(
            "table = \"Orders\"",
            "queue = \"https://sqs.eu-west-1.amazonaws.com/000000000000/orders\"",
        )
    });
    let output = world.output("run").await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no source is a table"), "{}", text(&output.stderr));
}
