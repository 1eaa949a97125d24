//! A world for the processes of `millstream`: an embedded DynamoDB on a socket, a folder with a config, and workers.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use millstream_test_support::embedded::{Embedded, StreamViewType};
use millstream_test_support::served::Served;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine; it ends a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// How soon a condition is looked at again.
pub(crate) const AGAIN: Duration = Duration::from_millis(50);
/// How long a worker may take to stop.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// What workers are told that others wait for.
pub(crate) const PACE: &str = "--ttl 3s --idle 100ms";

pub(crate) const CONFIG: &str = r#"
[source.orders]
table = "Orders"
[source.news]
topic = "arn:aws:sns:eu-west-1:000000000000:news"
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
pub(crate) struct World {
    pub(crate) database: Embedded,
    pub(crate) served: Served,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = Embedded::new();
        database.set_now(SystemTime::now());
        database.create_table("Orders", "orderId", None, Some(StreamViewType::NewAndOldImages)).await;
        database.create_table("Rows", "orderId", None, None).await;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("millstream.toml"), CONFIG).unwrap();
        Self { served: database.serve().await, database, folder }
    }

    /// A world with Millstream's own tables.
    pub(crate) async fn set_up() -> Self {
        let world = Self::new().await;
        let output = world.output("setup").await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        world
    }

    /// A command that reads the config and asks the database.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = self.bare(arguments);
        command.args(["--config", "millstream.toml", "--endpoint", self.served.endpoint()]);
        command
    }

    /// A command as it is, in the folder of the config and with an environment of its own.
    pub(crate) fn bare(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.args(arguments.split_whitespace());
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
    pub(crate) async fn output(&self, arguments: &str) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    pub(crate) fn start(&self, name: &'static str, arguments: &str) -> Worker {
        let log = self.folder.path().join(name);
        let mut command = self.command(&format!("run {arguments}"));
        let child = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        Worker { name, child, log }
    }

    /// Writes each of these orders twice.
    pub(crate) async fn write(&self, orders: std::ops::Range<u32>) {
        for revision in 1..=2 {
            for order in orders.clone() {
                let order = json!({ "orderId": format!("order-{order:04}"), "revision": revision });
                self.database.put("Orders", order).await;
            }
        }
    }

    /// Whether every row says what its order does, and no order is without its row.
    pub(crate) async fn is_in_step(&self) -> bool {
        let mut rows = self.database.scan_all("Rows").await;
        for row in &mut rows {
            row.as_object_mut().unwrap().retain(|name, _| !name.starts_with("ms:"));
        }
        rows.sort_by_key(Value::to_string);
        let orders = self.database.scan_all("Orders").await;
        rows == orders
    }

    pub(crate) async fn status(&self) -> Status {
        let output = self.output("status --json").await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        Status(serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Looks until the status is as it should be.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
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

    pub(crate) async fn until_in_step(&self) {
        let give_up = Instant::now() + PATIENCE;
        while !self.is_in_step().await {
            assert!(Instant::now() < give_up, "the read model is not in step: {:#}", self.status().await.0);
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Splits the shards until so many workers read some: who reads which, chance decides.
    pub(crate) async fn until_shared(&self, workers: usize) -> Status {
        let give_up = Instant::now() + PATIENCE;
        loop {
            self.database.split_shards("Orders");
            let status = self.until("every shard is read", Status::is_settled).await;
            if status.owners().len() == workers {
                return status;
            }
            assert!(Instant::now() < give_up, "some worker has nothing: {:#}", status.0);
        }
    }
}

/// What `status --json` said.
pub(crate) struct Status(pub(crate) Value);

impl Status {
    pub(crate) fn sessions(&self) -> BTreeSet<&str> {
        let workers = self.0["workers"].as_array().unwrap();
        workers.iter().map(|worker| worker["session"].as_str().unwrap()).collect()
    }

    pub(crate) fn open_shards(&self) -> Vec<&Value> {
        let shards = self.0["streams"][0]["shards"].as_array().unwrap();
        shards.iter().filter(|shard| shard["state"] == "open").collect()
    }

    pub(crate) fn owners(&self) -> BTreeSet<&str> {
        self.open_shards().iter().filter_map(|shard| shard["owner"].as_str()).collect()
    }

    /// Whether there are shards, and each has an owner that is there.
    pub(crate) fn is_settled(&self) -> bool {
        let (open, there) = (self.open_shards(), self.sessions());
        let has_owner = |shard: &&Value| shard["owner"].as_str().is_some_and(|owner| there.contains(owner));
        !open.is_empty() && open.iter().all(has_owner)
    }

    /// Whether it is so without a worker that was there.
    pub(crate) fn is_settled_without(&self, gone: &str) -> bool {
        self.is_settled() && !self.owners().contains(gone)
    }

    /// The session of a worker that is another process than this one.
    pub(crate) fn session_of(&self, worker: &Worker) -> &str {
        let id = format!("/{}", worker.child.id());
        let workers = self.0["workers"].as_array().unwrap();
        let found = workers.iter().find(|row| row["host"].as_str().unwrap().ends_with(&id));
        found.unwrap_or_else(|| panic!("{} is not there: {:#}", worker.name, self.0))["session"]
            .as_str()
            .unwrap()
    }
}

/// A `millstream run`.
pub(crate) struct Worker {
    pub(crate) name: &'static str,
    pub(crate) child: Child,
    log: PathBuf,
}

impl Worker {
    pub(crate) fn signal(&self, signal: &str) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }

    /// The exit code, as soon as the process has ended; none after `kill -9`.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < give_up, "{} goes on", self.name);
            tokio::time::sleep(AGAIN).await;
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) async fn until_logged(&self, line: &str) {
        let give_up = Instant::now() + PATIENCE;
        while !self.log().contains(line) {
            assert!(Instant::now() < give_up, "{} does not say `{line}`: {}", self.name, self.log());
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Where it answers, from the line that says so.
    pub(crate) async fn address(&self) -> String {
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

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The status and the body of an answer.
pub(crate) fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

pub(crate) fn config(folder: &Path, change: impl Fn(&str) -> String) {
    let path = folder.join("millstream.toml");
    fs::write(&path, change(&fs::read_to_string(&path).unwrap())).unwrap();
}
