//! The numbers that a poller really tells: a worker that meets everything there is to count, and what its `/metrics` says then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::workbench::text;
use crate::world::World;

/// What has not been told by then never will be.
const GUARD: Duration = Duration::from_secs(60);
/// How often the worker is asked.
const LOOK: Duration = Duration::from_millis(100);
/// Where the code says for people what each number is.
const DESCRIPTIONS: &str = "src/commands/run/numbers.rs";
/// What Prometheus makes of a histogram.
const OF_HISTOGRAMS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// Numbers with the labels of each, and which of them are histograms.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) numbers: BTreeMap<String, BTreeSet<String>>,
    pub(crate) histograms: BTreeSet<String>,
}

/// All numbers that there are, as a worker told them, and `replay list --prometheus` too; it runs once.
pub(crate) fn told() -> &'static Told {
    static TOLD: OnceLock<Option<Told>> = OnceLock::new();
    // Tests call it with and without a runtime around them; what failed once fails at once when it is asked again.
    let run = || {
        let runtime = tokio::runtime::Runtime::new().expect("the system has threads");
        runtime.block_on(async { everything(&World::new().await).await })
    };
    TOLD.get_or_init(|| thread::spawn(run).join().ok()).as_ref().expect("the worker told all")
}

/// The numbers that the code describes.
fn described() -> BTreeSet<String> {
    let source = text(DESCRIPTIONS);
    let names = source
        .split("describe_")
        .skip(1)
        .filter_map(|call| call.split('"').nth(1))
        .filter(|name| name.starts_with("millstream_"));
    names.map(str::to_owned).collect()
}

impl Told {
    /// Takes a text of Prometheus' format.
    fn read(&mut self, text: &str) {
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" histogram"))
            {
                self.histograms.insert(name.to_owned());
            }
        }
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (name, rest) = line.split_once('{').unwrap_or_else(|| panic!("a number has labels: {line}"));
            let base = OF_HISTOGRAMS.iter().find_map(|end| name.strip_suffix(end));
            let name = base.filter(|base| self.histograms.contains(*base)).unwrap_or(name);
            let before: Vec<&str> = rest.split("=\"").collect();
            let labels = before[..before.len() - 1].iter().filter_map(|text| text.rsplit(',').next());
            let labels = labels.filter(|label| *label != "le");
            self.numbers.entry(name.to_owned()).or_default().extend(labels.map(str::to_owned));
        }
    }
}

/// Lets one worker meet a gap, rows that another one wrote already, rows of its own, and a change that becomes a letter.
async fn everything(world: &World) -> Told {
    let pace = "--idle 100ms --ttl 3s --on-gap continue";
    world.write(0..2).await;
    world.millstream(&format!("run --once {pace}")).await;
    world.write(2..4).await;
    world.database.trim_stream("Orders");
    world.write(4..6).await;
    world.millstream(&format!("run --once --consumer other {pace}")).await;
    world.write(6..8).await;
    world.write_poison().await;
    let log = world.folder.path().join("log");
    let mut command = world.command(&format!("run --listen 127.0.0.1:0 {pace}"));
    command.stdout(Stdio::null()).stderr(File::create(&log).expect("the folder is writable"));
    let worker = Worker { child: command.spawn().expect("the binary is there"), log };
    let mut told = Told::default();
    let mut missing = described();
    let started = Instant::now();
    while !missing.is_empty() {
        assert!(started.elapsed() < GUARD, "described and not told: {missing:?}\n{}", worker.log());
        tokio::time::sleep(LOOK).await;
        told.read(&worker.metrics());
        missing.retain(|name| !told.numbers.contains_key(name));
    }
    drop(worker);
    told.read(&world.millstream("replay list --prometheus").await);
    told
}

/// A `millstream run`.
struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("the log is there")
    }

    /// What it answers; nothing, as long as it does not say where.
    fn metrics(&self) -> String {
        let log = self.log();
        let address = log.split_once("at http://").and_then(|(_, rest)| rest.split_once(": /healthz"));
        let Some((address, _)) = address else { return String::new() };
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer.split_once("\r\n\r\n").expect("an answer has a body").1.to_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_worker_tells_each_number_that_is_described_and_no_other() {
    let told = told();
    assert_eq!(told.numbers.keys().cloned().collect::<BTreeSet<_>>(), described(), "{told:#?}");
    for (name, labels) in &told.numbers {
        assert!(!labels.is_empty(), "{name} says nothing of what it counts");
    }
}
