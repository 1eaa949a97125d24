//! The numbers that a poller really tells: a worker that meets everything there is to count, and what its `/metrics` says then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::thread;
use std::time::Instant;

use serde_json::json;

use crate::workbench::text;
use crate::world::{self, AGAIN, PATIENCE, World, get};

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
        runtime.block_on(async { everything(&World::set_up().await).await })
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
    millstream(world, &format!("run --once {pace}")).await;
    world.write(2..4).await;
    world.database.trim_stream("Orders");
    world.write(4..6).await;
    millstream(world, &format!("run --once --consumer other {pace}")).await;
    world.write(6..8).await;
    write_poison(world).await;
    let worker = world.start("worker", &format!("--listen 127.0.0.1:0 {pace}"));
    let address = worker.address().await;
    let mut told = Told::default();
    let mut missing = described();
    let give_up = Instant::now() + PATIENCE;
    while !missing.is_empty() {
        assert!(Instant::now() < give_up, "described and not told: {missing:?}\n{}", worker.log());
        tokio::time::sleep(AGAIN).await;
        told.read(&get(&address, "/metrics").1);
        missing.retain(|name| !told.numbers.contains_key(name));
    }
    drop(worker);
    told.read(&millstream(world, "replay list --prometheus").await);
    told
}

/// Runs a command that has to be content; what it said.
async fn millstream(world: &World, arguments: &str) -> String {
    let output = world.output(arguments).await;
    assert!(output.status.success(), "{arguments}: {}", world::text(&output.stderr));
    world::text(&output.stdout)
}

/// Writes an order that the projection cannot project: it becomes a letter.
pub(crate) async fn write_poison(world: &World) {
    world.database.put("Orders", json!({ "orderId": "without a revision" })).await;
}

#[test]
fn a_worker_tells_each_number_that_is_described_and_no_other() {
    let told = told();
    assert_eq!(told.numbers.keys().cloned().collect::<BTreeSet<_>>(), described(), "{told:#?}");
    for (name, labels) in &told.numbers {
        assert!(!labels.is_empty(), "{name} says nothing of what it counts");
    }
}
