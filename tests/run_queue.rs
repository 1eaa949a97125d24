//! `millstream run` and `status` with queues as real processes: DynamoDB in this process, SNS and SQS of ministack.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_sns::types::MessageAttributeValue;
use millstream_test_support::embedded::{Embedded, StreamViewType};
use millstream_test_support::emulators::Ministack;
use millstream_test_support::served::Served;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine; it ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(90);
/// How soon a condition is looked at again.
const AGAIN: Duration = Duration::from_millis(50);

/// Service 1 tells of its companies, and service 2 keeps their names: both in one process, as the demo has them.
const BOTH: &str = r#"
[source.companies]
table = "Company"
[source.company-events]
queue = "QUEUE"
[state]
prefix = "t-"
[projection.company-changed]
kind = "emit"
from = "companies"
topic = "TOPIC"
include = ["name"]
[projection.names]
kind = "replica"
from = "company-events"
table = "Names"
key = { companyId = "{companyId}" }
set = { name = "{name}" }
"#;

/// Service 2 alone.
fn subscriber() -> String {
    let (start, emit) = BOTH.split_once("[projection.company-changed]").unwrap();
    let names = emit.split_once("[projection.names]").unwrap().1;
    let start = start.replace("[source.companies]\ntable = \"Company\"\n", "");
    format!("{start}[projection.names]{names}")
}

struct World {
    database: Embedded,
    served: Served,
    ministack: Ministack,
    sns: aws_sdk_sns::Client,
    sqs: aws_sdk_sqs::Client,
    topic: String,
    queue: String,
    folder: TempDir,
}

impl World {
    async fn new(config: &str, suffix: &str) -> Self {
        let (database, ministack) = (Embedded::new(), Ministack::start().await);
        database.set_now(SystemTime::now());
        database.create_table("Company", "companyId", None, Some(StreamViewType::NewAndOldImages)).await;
        database.create_table("Names", "companyId", None, None).await;
        let sdk = ministack.sdk_config();
        let (sns, sqs) = (aws_sdk_sns::Client::new(&sdk), aws_sdk_sqs::Client::new(&sdk));
        let (topic, queue) = (topic(&sns, suffix).await, queue(&sqs, suffix).await);
        let arn = format!("arn:aws:sqs:eu-west-1:000000000000:company-events{suffix}");
        sns.subscribe().topic_arn(&topic).protocol("sqs").endpoint(arn).send().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = config.replace("QUEUE", &queue).replace("TOPIC", &topic);
        fs::write(folder.path().join("millstream.toml"), config).unwrap();
        let served = database.serve().await;
        let world = Self { database, served, ministack, sns, sqs, topic, queue, folder };
        world.succeeds("setup").await;
        world
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.args(arguments.split_whitespace()).args(["--config", "millstream.toml"]);
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
            ("AWS_ENDPOINT_URL", self.served.endpoint()),
            ("AWS_ENDPOINT_URL_SNS", &self.ministack.endpoint()),
            ("AWS_ENDPOINT_URL_SQS", &self.ministack.endpoint()),
        ]);
        command
    }

    /// Runs a command that ends by itself. The database answers meanwhile.
    async fn output(&self, arguments: &str) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn succeeds(&self, arguments: &str) -> Output {
        let output = self.output(arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments}: {}", text(&output.stderr));
        output
    }

    fn start(&self, arguments: &str) -> Worker {
        let log = self.folder.path().join("log");
        let mut command = self.command(&format!("run {arguments}"));
        let child = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        Worker { child, log }
    }

    async fn rename(&self, companies: std::ops::Range<u32>, name: &str) {
        for company in companies {
            let id = format!("company-{company:03}");
            self.database
                .put("Company", json!({ "companyId": id, "name": format!("{name} {company}") }))
                .await;
        }
    }

    /// How many names say what the companies do.
    async fn in_step(&self) -> usize {
        let companies = self.database.scan_all("Company").await;
        let names = self.database.scan_all("Names").await;
        let is_same = |row: &&Value| {
            companies.iter().any(|it| it["companyId"] == row["companyId"] && it["name"] == row["name"])
        };
        names.iter().filter(is_same).count()
    }

    async fn until_in_step(&self, count: usize) {
        let give_up = Instant::now() + PATIENCE;
        while self.in_step().await != count {
            assert!(Instant::now() < give_up, "{:?}", self.database.scan_all("Names").await);
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn queues(&self) -> Value {
        let output = self.succeeds("status --json").await;
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["queues"].take()
    }
}

async fn topic(sns: &aws_sdk_sns::Client, suffix: &str) -> String {
    let mut request = sns.create_topic().name(format!("company-changed{suffix}"));
    if !suffix.is_empty() {
        request = request.attributes("FifoTopic", "true");
    }
    request.send().await.unwrap().topic_arn.unwrap()
}

async fn queue(sqs: &aws_sdk_sqs::Client, suffix: &str) -> String {
    let mut request = sqs.create_queue().queue_name(format!("company-events{suffix}"));
    if !suffix.is_empty() {
        request = request.attributes("FifoQueue".into(), "true");
    }
    request.send().await.unwrap().queue_url.unwrap()
}

/// A `millstream run`.
struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    async fn until_logged(&self, line: &str) {
        let give_up = Instant::now() + PATIENCE;
        while !self.log().contains(line) {
            assert!(Instant::now() < give_up, "it does not say `{line}`: {}", self.log());
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Where it answers, from the line that says so.
    async fn address(&self) -> String {
        self.until_logged(": /healthz").await;
        let log = self.log();
        log.split_once("at http://").unwrap().1.split_once(": /healthz").unwrap().0.to_owned()
    }

    async fn until_answered(&self, address: &str, path: &str, expected: &str) {
        let give_up = Instant::now() + PATIENCE;
        while !get(address, path).contains(expected) {
            assert!(Instant::now() < give_up, "{path}: {}", get(address, path));
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Tells it to stop, and gives its exit code.
    async fn stop(mut self) -> Option<i32> {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < give_up, "it goes on");
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn once_drains_the_streams_and_then_what_they_published() {
    for suffix in ["", ".fifo"] {
        let world = World::new(BOTH, suffix).await;
        world.rename(0..40, "Mill").await;
        world.rename(20..60, "Brook").await;
        world.succeeds("run --once --ttl 3s --idle 100ms").await;
        assert_eq!(world.in_step().await, 60, "{suffix}");
        let depth = json!({ "visible": 0, "inFlight": 0, "delayed": 0 });
        let expected =
            [json!({ "source": "company-events", "queue": world.queue, "depth": depth, "fault": null })];
        assert_eq!(world.queues().await, json!(expected), "{suffix}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_queues_alone_needs_no_table_of_state() {
    let world = World::new(&subscriber(), "").await;
    let tables = world.database.perform("ListTables", json!({})).await;
    assert!(!tables["TableNames"].to_string().contains("t-state"), "{tables}");
    let mut worker = world.start("--listen 127.0.0.1:0");
    let address = worker.address().await;
    worker.until_logged("source is read").await;
    worker.until_answered(&address, "/readyz", "200 OK").await;
    world.sns.publish().topic_arn(&world.topic).message(event("company-001", "Mill")).send().await.unwrap();
    world.database.put("Company", json!({ "companyId": "company-001", "name": "Mill" })).await;
    world.until_in_step(1).await;
    let lag = r#"millstream_lag_seconds{source="company-events",shard="company-events"} 0"#;
    worker.until_answered(&address, "/metrics", lag).await;
    assert!(worker.child.try_wait().unwrap().is_none());
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_missing_is_told_once_and_the_messages_stay() {
    let world = World::new(&subscriber().replace("\"Names\"", "\"Lost\""), "").await;
    // Attributes of a message do no harm.
    let attribute = MessageAttributeValue::builder().data_type("String").string_value("x").build().unwrap();
    let publish = world.sns.publish().topic_arn(&world.topic).message(event("company-001", "Mill"));
    publish.message_attributes("kind", attribute).send().await.unwrap();
    let worker = world.start("--listen 127.0.0.1:0");
    let address = worker.address().await;
    worker.until_answered(&address, "/readyz", "503").await;
    worker
        .until_answered(&address, "/readyz", "source company-events waits for something to be mended")
        .await;
    world.database.create_table("Lost", "companyId", None, None).await;
    worker.until_answered(&address, "/readyz", "200 OK").await;
    assert_eq!(world.database.scan_all("Lost").await.len(), 1);
    let log = worker.log();
    let count = |line: &str| log.matches(line).count();
    let counts = (count("messages come again until this is mended"), count("messages are done again"));
    assert_eq!(counts, (1, 1), "{log}");
    assert_eq!(worker.stop().await, Some(0));

    let world = World::new(&subscriber().replace("\"Names\"", "\"Lost\""), "").await;
    world.sns.publish().topic_arn(&world.topic).message(event("company-001", "Mill")).send().await.unwrap();
    let output = world.output("run --once").await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the queue of source company-events cannot be drained: misconfigured"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_missing_is_named_or_left_to_others() {
    let world = World::new(BOTH, "").await;
    world.sqs.delete_queue().queue_url(&world.queue).send().await.unwrap();
    let output = world.output("run --once --ttl 3s").await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let names = format!("source company-events, queue {}", world.queue);
    assert!(said.contains(&names) && said.contains("[source.company-events]"), "{said}");

    let told = text(&world.succeeds("status").await.stdout);
    assert!(told.contains("NonExistentQueue"), "{told}");
    let output = world.succeeds("run --once --ttl 3s --no-queues").await;
    assert!(text(&output.stderr).contains("left to others"), "{}", text(&output.stderr));

    fs::write(world.folder.path().join("millstream.toml"), subscriber().replace("QUEUE", &world.queue))
        .unwrap();
    let output = world.output("run --once --no-queues").await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

/// An event as an `emit` publishes it.
fn event(id: &str, name: &str) -> String {
    json!({
        "specversion": "1.0", "id": "1", "source": "/millstream/companies", "type": "company-changed.insert",
        "subject": "AAAAAAAAAAAAAAAAAAAAAA",
        "msversion": "2025-06-15T15:06:40.001/0000000000000000000100000000000000000001",
        "data": {
            "kind": "INSERT", "expired": false, "keys": { "companyId": { "S": id } },
            "new": { "companyId": { "S": id }, "name": { "S": name } },
        },
    })
    .to_string()
}
