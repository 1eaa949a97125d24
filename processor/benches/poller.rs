//! A worker in a process of its own, beside a scripted stream and a DynamoDB that take 5 ms a request: a shard at its limit,
//! 1,000 idle shards, and the time from a source write to the write of the target.
//!
//! Prints three tables. `cargo bench -p millstream-processor --bench poller`; `-- busy`, `-- idle` or `-- latency` for one.

#![expect(clippy::expect_used, reason = "a bench that cannot run has to stop")]

#[path = "support/trail.rs"]
mod trail;
#[path = "support/worker.rs"]
mod worker;

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use millstream_processor::poller::settings::Settings;
use millstream_processor::setup;
use millstream_processor::wiring::Aws;
use millstream_test_support::embedded::Embedded;
use millstream_test_support::faults::{Fault, Logged, Rule};
use millstream_test_support::served::Served;
use millstream_test_support::streams::ScriptedStreams;
use serde_json::{Value, json};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

use trail::{BYTES, Trail};
use worker::{Role, SOURCE, TARGET, Worker};

/// What every request to the stream and to the store takes.
const REQUEST: Duration = Duration::from_millis(5);
/// What DynamoDB takes from one partition.
const RATE: u64 = 1_000;
/// Each item changes once a second.
const ITEMS: u64 = RATE;
/// How long the shard is written to.
const BUSY: Duration = Duration::from_secs(30);
/// How often a line is printed meanwhile; the first one is start-up, and no part of the processor time.
const EVERY: Duration = Duration::from_secs(5);
const SHARDS: u64 = 1_000;
/// How long the idle shards are watched.
const IDLE: Duration = Duration::from_secs(60);
/// How often a lease is renewed that lives for 10 s.
const RENEWAL: f64 = 3.3;
/// So many items that each record is of another one.
const ALL_NEW: u64 = 100_000;
/// How long records come for the latency.
const LATENCY: Duration = Duration::from_secs(60);
/// Nothing takes longer here, but on a machine that is too busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The stream, the store, and both on sockets.
struct World {
    streams: ScriptedStreams,
    store: Embedded,
    sockets: [Served; 2],
}

impl World {
    async fn new() -> Self {
        let (streams, store) = (ScriptedStreams::new(SOURCE), Embedded::new());
        // A worker reads records that look old in another way.
        let today = UNIX_EPOCH.elapsed().expect("it is later than 1970");
        streams.advance(today - Duration::from_millis(streams.now_ms()));
        store.create_table(TARGET, "orderId", None, None).await;
        let backstage = Aws::from_config(store.backstage());
        setup::create_tables(&worker::config(), &backstage).await.expect("our own tables");
        streams.faults().add(Rule::any(Fault::Delay(REQUEST)));
        store.faults().add(Rule::any(Fault::Delay(REQUEST)));
        let described = json!({ "Table": { "TableName": SOURCE, "LatestStreamArn": streams.arn() } });
        let described = Fault::Answer(200, described.to_string().leak());
        store.faults().add(Rule::on("DescribeTable", described).table(SOURCE));
        let sockets = [streams.serve().await, store.serve().await];
        Self { streams, store, sockets }
    }

    fn start(&self, role: Role) -> Worker {
        let [streams, store] = &self.sockets;
        Worker::start(role, self.streams.arn(), streams.endpoint(), store.endpoint())
    }

    /// Opens so many shards and gives their names.
    fn open(&self, shards: u64) -> Vec<String> {
        let names: Vec<_> = (0..shards).map(|number| format!("shard-{number:04}")).collect();
        names.iter().for_each(|name| self.streams.open(name, None));
        names
    }

    async fn until_all_read(&self, shards: &[String]) {
        let all_read = async {
            while !shards.iter().all(|name| self.streams.reads(name) > 0) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, all_read).await.expect("every shard is read");
    }

    /// The rows of the read model, and the number of the record that each says.
    async fn totals(&self) -> BTreeMap<String, u64> {
        let rows = self.store.scan_all(TARGET).await.into_iter();
        let pair = |row: Value| Some((row["orderId"].as_str()?.to_owned(), row["total"].as_u64()?));
        rows.map(|row| pair(row).expect("a row as it was written")).collect()
    }
}

/// The shares of some times: half of them, 99 of 100, and all are not above.
fn spread(took: &mut [Duration]) -> [f64; 3] {
    took.sort();
    let at = |share: usize| took.get((took.len() * share / 100).min(took.len().saturating_sub(1)));
    [50, 99, 100].map(|share| at(share).map_or(f64::NAN, |it| it.as_secs_f64() * 1_000.0))
}

/// One shard at the limit of a partition.
async fn busy(role: Role) -> f64 {
    let (world, mut trail) = (World::new().await, Trail::new(ITEMS, REQUEST));
    world.streams.open("shard", None);
    let worker = world.start(role);
    let (writer, until) = (trail.writer(&world.streams), Instant::now() + BUSY);
    let started = Instant::now();
    let writing = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(1) / RATE as u32);
        while ticks.tick().await < until {
            writer.put("shard");
        }
    });
    let name = match role {
        Role::Yardstick => "the AWS SDK alone: a PutItem a record, in no order",
        Role::Poller => "Millstream's poller",
    };
    println!("\n  {name}");
    println!(
        "  {:>6} {:>8} {:>8} {:>8} {:>10} {:>10} {:>10}",
        "at", "put", "written", "behind", "lag p50", "p99", "most"
    );
    let (mut cpu, mut polls, mut writes) = (0.0, 0, 0);
    for at in 1..=(BUSY.as_secs() / EVERY.as_secs()) as u32 {
        sleep_until(started + EVERY * at).await;
        let requests = world.store.faults().take_requests();
        let mut took = trail.follow(&requests);
        let [half, most_of_them, most] = spread(&mut took);
        let put = trail.put();
        println!(
            "  {:>4} s {put:>8} {:>8} {:>8} {half:>7.0} ms {most_of_them:>7.0} ms {most:>7.0} ms",
            (EVERY * at).as_secs(),
            trail.covered,
            put - trail.covered,
        );
        if at == 1 {
            (cpu, polls) = (worker.cpu(), world.streams.calls().get_records);
        } else {
            writes += requests.len();
        }
    }
    let seconds = (BUSY - EVERY).as_secs_f64();
    let share = 100.0 * (worker.cpu() - cpu) / seconds;
    println!(
        "  {share:.1} % of a core, {:.0} GetRecords/s, {:.0} requests/s to the store, {:.0} MiB resident, {:.0} MiB at most",
        (world.streams.calls().get_records - polls) as f64 / seconds,
        writes as f64 / seconds,
        worker.memory("VmRSS"),
        worker.memory("VmHWM"),
    );
    writing.await.expect("the writer ends");
    trail.follow_to_the_end(&world.store).await;
    // The yardstick keeps no order, and so its rows mean nothing.
    if role == Role::Poller {
        sleep(2 * REQUEST).await;
        let (all, totals) = (trail.put(), world.totals().await);
        let last = (all - ITEMS..all).map(|number| (format!("order-{:06}", number % ITEMS), number));
        assert!(totals == last.collect(), "each row is as its item was at last");
        println!("  all {all} records are written, and each row is as its item was at last");
    }
    share
}

/// How often the table of the workers' state was written, and how often it was read.
fn state_requests(requests: &[Logged], table: &str) -> (usize, usize) {
    let (mut writes, mut reads) = (0, 0);
    for request in requests.iter().filter(|it| it.tables.iter().any(|it| it == table)) {
        match request.operation.as_str() {
            "TransactWriteItems" => writes += request.body["TransactItems"].as_array().map_or(0, Vec::len),
            "BatchWriteItem" => writes += request.body["RequestItems"][table].as_array().map_or(0, Vec::len),
            "PutItem" | "UpdateItem" | "DeleteItem" => writes += 1,
            _ => reads += 1,
        }
    }
    (writes, reads)
}

/// Many shards, and nothing to do.
async fn idle() {
    let world = World::new().await;
    let names = world.open(SHARDS);
    let table = worker::config().state.state_table();
    let (worker, started) = (world.start(Role::Poller), Instant::now());
    world.until_all_read(&names).await;
    let (start, start_cpu) = (started.elapsed().as_secs_f64(), worker.cpu());
    let (start_writes, start_reads) = state_requests(&world.store.faults().take_requests(), &table);
    // What was found last is asked again soon, and less often from then on.
    sleep(2 * Settings::default().idle).await;
    world.store.faults().take_requests();
    let (cpu, polls) = (worker.cpu(), world.streams.calls().get_records);
    sleep(IDLE).await;
    let (writes, reads) = state_requests(&world.store.faults().take_requests(), &table);
    let seconds = IDLE.as_secs_f64();
    let leases = SHARDS as f64 * seconds / RENEWAL;
    println!(
        "  until each was read:     {start:>8.1} s, {start_writes} writes and {start_reads} reads of the state table, {start_cpu:.2} s of processor time"
    );
    println!("  {:<24} {:>8}", format!("then, in {seconds:.0} s:"), "writes");
    println!("  {:<24} {writes:>8}   ({reads} reads)", "Millstream");
    println!(
        "  {:<24} {leases:>8.0}   (computed: each of {SHARDS} leases every {RENEWAL} s)",
        "a lease for each shard"
    );
    println!("  {:<24} {:>8.0} times fewer", "", leases / writes as f64);
    println!(
        "  {:.1} % of a core, {:.0} GetRecords/s, {:.0} MiB resident, {:.0} MiB at most",
        100.0 * (worker.cpu() - cpu) / seconds,
        (world.streams.calls().get_records - polls) as f64 / seconds,
        worker.memory("VmRSS"),
        worker.memory("VmHWM"),
    );
}

/// Records that come one by one, at moments that have nothing to do with the polls.
async fn latency(name: &str, shards: u64, mean: Duration) {
    let (world, mut trail) = (World::new().await, Trail::new(ALL_NEW, REQUEST));
    let names = world.open(shards);
    let _worker = world.start(Role::Poller);
    world.until_all_read(&names).await;
    let (writer, until) = (trail.writer(&world.streams), Instant::now() + LATENCY);
    let mut seed = 7_u64;
    let mut draw = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / (1_u64 << 53) as f64
    };
    let polls = world.streams.calls().get_records;
    while Instant::now() < until {
        sleep(mean.div_f64(shards as f64).mul_f64(-(1.0 - draw()).ln())).await;
        writer.put(&names[(draw() * shards as f64) as usize]);
    }
    let polls = (world.streams.calls().get_records - polls) as f64 / LATENCY.as_secs_f64() / shards as f64;
    let (all, mut took) = (trail.put(), trail.follow_to_the_end(&world.store).await);
    let [half, most_of_them, most] = spread(&mut took);
    println!("  {name:<44} {all:>8} {polls:>8.1} {half:>7.0} ms {most_of_them:>7.0} ms {most:>7.0} ms");
}

#[tokio::main]
async fn main() {
    worker::play().await;
    let asked: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let is_asked = |part: &str| asked.is_empty() || asked.iter().any(|it| it == part);
    let settings = Settings::default();
    println!(
        "{REQUEST:?} a request; a shard is asked again at once after a full page, {:?} after another, and up to {:?} when no records come",
        settings.busy, settings.idle
    );
    if is_asked("busy") {
        println!(
            "\none shard, {RATE} records/s of {ITEMS} items of {BYTES} bytes, for {BUSY:?}; the first {EVERY:?} are start-up"
        );
        let yardstick = busy(Role::Yardstick).await;
        let poller = busy(Role::Poller).await;
        println!(
            "  {:.1} % of a core is Millstream's own: what the poller takes beyond the SDK alone",
            poller - yardstick
        );
    }
    if is_asked("idle") {
        println!("\n{SHARDS} idle shards, one worker");
        idle().await;
    }
    if is_asked("latency") {
        println!("\nfrom a source write to the write of its target, for {LATENCY:?} each");
        println!("  {:<44} {:>8} {:>8} {:>10} {:>10} {:>10}", "", "records", "polls/s", "p50", "p99", "most");
        latency("1 shard, 20 records/s", 1, Duration::from_millis(50)).await;
        latency("20 shards, each a record every 10 s or so", 20, Duration::from_secs(10)).await;
    }
}
