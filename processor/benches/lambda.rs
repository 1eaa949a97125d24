//! The `bootstrap` process under a Runtime API: records a second, start to first answer, and memory.
//!
//! Prints a table. `cargo bench -p millstream-processor --bench lambda`

#![expect(clippy::expect_used, reason = "a bench that cannot run has to stop")]

#[path = "support/driver.rs"]
mod driver;
mod support;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use driver::{RuntimeApi, dynamodb, idle_function};
use support::{RECORDS, event};
use tempfile::TempDir;

/// Events before anything is measured.
const WARM_UP: usize = 10;
/// Rounds of events that are measured.
const ROUNDS: usize = 5;
/// Events of a round where nothing is written.
const EVENTS: usize = 100;
/// Events of a round where every record is a request.
const WRITTEN_EVENTS: usize = 5;
/// Starts that are measured.
const STARTS: usize = 30;

const SOURCE: &str = r#"
[source.orders]
table = "Orders"
"#;

/// Every record is decoded and its images searched; none of them is written.
const UNTOUCHED: &str = r#"
[projection.moved]
kind = "replica"
from = "orders"
changed = ["address"]
table = "Moved"
key = { orderId = "{orderId}" }
set = { city = "{address.city}" }
"#;

/// Every record's image is decoded whole and a CEL expression evaluated on it, before and after; none is written.
const FILTERED: &str = r#"
[projection.cancelled]
kind = "replica"
from = "orders"
where = "new.status == 'CANCELLED'"
table = "Cancelled"
key = { orderId = "{orderId}" }
set = { total = "{total}" }
"#;

/// Every record is one conditional write.
const REPLICA: &str = r#"
[projection.accounting]
kind = "replica"
from = "orders"
table = "Accounting"
key = { orderId = "{orderId}" }
set = { total = "{total}", customer = "{customerId}", city = "{address.city}" }
"#;

/// A function under test; killed when it is dropped.
struct Function {
    api: RuntimeApi,
    process: Child,
    started: Instant,
    _config: TempDir,
}

impl Function {
    fn start(projections: &str, dynamodb: SocketAddr) -> Self {
        let api = RuntimeApi::start();
        let config = TempDir::new().expect("the temporary folder is writable");
        let path = config.path().join("millstream.toml");
        std::fs::write(&path, format!("{SOURCE}{projections}")).expect("the temporary folder is writable");
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
        command.env_clear().envs([
            ("AWS_LAMBDA_RUNTIME_API", api.address.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", "millstream".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_REGION", "eu-west-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIDTEST".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{dynamodb}")),
            ("MILLSTREAM_CONFIG", path.display().to_string()),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let started = Instant::now();
        let process = command.spawn().expect("the bootstrap was built");
        Self { api, process, started, _config: config }
    }

    /// One of the memory figures of Linux, in MiB.
    fn memory(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("the process is alive, on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux reports it");
        let kib: f64 = line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number");
        kib / 1024.0
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.process.kill().expect("the process is ours");
        self.process.wait().expect("the process is ours");
    }
}

/// Records a second, each event answered before the next one is asked for: the median of some rounds, and the extremes.
fn throughput(api: &RuntimeApi, event: &Arc<str>, events: usize) -> [f64; 3] {
    for _ in 0..WARM_UP.min(events) {
        api.send(event);
        api.answer();
    }
    rounds(events, || {
        for _ in 0..events {
            api.send(event);
        }
        for _ in 0..events {
            api.answer();
        }
    })
}

fn rounds(events: usize, round: impl Fn()) -> [f64; 3] {
    let mut speeds = [0.0; ROUNDS];
    for speed in &mut speeds {
        let started = Instant::now();
        round();
        *speed = (events * RECORDS) as f64 / started.elapsed().as_secs_f64();
    }
    speeds.sort_by(f64::total_cmp);
    [speeds[ROUNDS / 2], speeds[0], speeds[ROUNDS - 1]]
}

fn measure_throughput(event: &Arc<str>, dynamodb: SocketAddr) {
    println!("\nrecords a second, through the Runtime API: events of {RECORDS} records, {ROUNDS} rounds");
    let idle = RuntimeApi::start();
    idle_function(idle.address);
    let cases = [
        ("every record decoded, `changed` compared, none written", UNTOUCHED, EVENTS),
        ("every record decoded, `where` evaluated twice, none written", FILTERED, EVENTS),
        ("every record one PutItem to a stub on loopback", REPLICA, WRITTEN_EVENTS),
    ];
    row("the driver alone, which parses nothing", throughput(&idle, event, EVENTS));
    // How fast this machine is just now: other programs' figures can be scaled by it.
    let parse = || (0..EVENTS).for_each(|_| drop(serde_json::from_str::<serde_json::Value>(event)));
    row("a yardstick: this process parses to serde_json::Value", rounds(EVENTS, parse));
    for (name, projections, events) in cases {
        let function = Function::start(projections, dynamodb);
        row(name, throughput(&function.api, event, events));
        let (now, most) = (function.memory("VmRSS"), function.memory("VmHWM"));
        println!("  {:<62} {now:>7.1} MiB now, {most:.1} MiB at most", "  resident after it");
    }
}

fn row(name: &str, [median, least, most]: [f64; 3]) {
    println!("  {name:<62} {median:>9.0} (least {least:.0}, most {most:.0})");
}

fn measure_start(dynamodb: SocketAddr) {
    println!("\nprocess start to first answer, 1 record, {STARTS} starts");
    let event: Arc<str> = event(1).into();
    for (name, projections) in
        [("nothing written", UNTOUCHED), ("one PutItem to a stub on loopback", REPLICA)]
    {
        let mut times = Vec::new();
        let mut memory = 0.0_f64;
        for _ in 0..STARTS {
            let function = Function::start(projections, dynamodb);
            function.api.send(&event);
            function.api.answer();
            times.push(function.started.elapsed());
            memory = memory.max(function.memory("VmHWM"));
        }
        times.sort();
        let [least, median, most] = [times[0], times[STARTS / 2], times[STARTS - 1]].map(millis);
        println!(
            "  {name:<36} p50 {median:>5.1} ms (least {least:.1}, most {most:.1}), at most {memory:.1} MiB resident"
        );
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn main() {
    let event: Arc<str> = event(RECORDS).into();
    println!("{} bytes a record", event.len() / RECORDS);
    let (dynamodb, requests) = dynamodb();
    measure_start(dynamodb);
    measure_throughput(&event, dynamodb);
    println!("\n{} requests reached the stub", requests.load(Ordering::Relaxed));
}
