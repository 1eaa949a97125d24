//! What a poller tells of itself, as real processes: `millstream status`, `health`, the gauges, and what the config says of all that.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail their test")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use millstream_projections::event::rfc3339;
use millstream_test_support::faults::{Fault, Logged, Rule};
use serde_json::{Value, json};

use self::world::{AGAIN, PACE, PATIENCE, Status, Worker, World, config, get, text};

#[expect(dead_code, reason = "the tests of `run` use the rest")]
mod world;

/// What the workers of these tests are told.
const AT_ANY: &str = "--listen 127.0.0.1:0 --ttl 3s --idle 100ms";

/// The time of the world, so many seconds ago.
fn ago(seconds: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(seconds)
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool, told: impl Fn() -> String) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up, "{what}: {}", told());
        tokio::time::sleep(AGAIN).await;
    }
}

/// An order that no row can be made of.
async fn poison(world: &World, id: &str) {
    world.database.put("Orders", json!({ "orderId": id })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_config_says_how_a_poller_keeps_time_and_flags_go_before_it() {
    let world = World::set_up().await;
    config(world.folder.path(), |text| {
        format!(
            "{text}\n[poller]\nconsumer = \"mine\"\nttl = \"3s\"\nidle = \"100ms\"\nlisten = \"127.0.0.1:0\"\n"
        )
    });
    let mut worker = world.start("worker", "");
    worker.until_logged("consumer=\"mine\" ttl=\"3s\"").await;
    worker.address().await;
    world.until("it is at work", Status::is_settled).await;
    assert_eq!(world.status().await.0["consumer"], "mine");
    let other = world.output("status --json --consumer default").await;
    let other: Value = serde_json::from_slice(&other.stdout).unwrap();
    assert_eq!(other["workers"], json!([]), "another consumer has workers of its own");
    worker.signal("-TERM");
    assert_eq!(worker.ended().await, Some(0));

    let worker = world.start("flags", "--consumer other --ttl 4s --listen off");
    worker.until_logged("consumer=\"other\" ttl=\"4s\"").await;
    assert!(!worker.log().contains("at http://"), "{}", worker.log());

    config(world.folder.path(), |text| text.replace("ttl = \"3s\"", "ttl = \"3\""));
    for command in ["run", "status"] {
        let output = world.output(command).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        assert!(said.contains("[poller] ttl: `3` is not a duration"), "{command}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_starts_at_a_time_keeps_its_start() {
    let world = World::set_up().await;
    world.database.set_now(ago(300));
    world.write(0..5).await;
    world.database.set_now(ago(100));
    world.write(5..10).await;
    let start = |start: &str| {
        let line = format!("table = \"Orders\"\nstart = \"{start}\"");
        config(world.folder.path(), |text| text.replacen("table = \"Orders\"", &line, 1));
    };
    start(&rfc3339(unix(ago(200))));
    let page = world.output("status").await;
    assert!(text(&page.stdout).contains("no worker has found its shards yet"), "{}", text(&page.stdout));
    let output = world.output(&format!("run --once {PACE}")).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let ids = |rows: Vec<Value>| {
        rows.iter().map(|row| row["orderId"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let later: BTreeSet<_> = (5..10).map(|order| format!("order-{order:04}")).collect();
    assert_eq!(ids(world.database.scan_all("Rows").await), later);

    // What was resolved once is stored: another start says nothing to a stream that was seen.
    config(world.folder.path(), |text| {
        let lines = text.lines().filter(|line| !line.starts_with("start = "));
        lines.collect::<Vec<_>>().join("\n")
    });
    let output = world.output(&format!("run --once {PACE}")).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(ids(world.database.scan_all("Rows").await), later);

    start("2999-01-01T00:00:00Z");
    let output = world.output("run --once").await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("[source.orders] start: 2999-01-01T00:00:00Z is still to come"), "{said}");
}

fn lag(status: &Status) -> Vec<Option<u64>> {
    status.open_shards().iter().map(|shard| shard["lagSeconds"].as_u64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_grows_while_nothing_can_be_written_and_is_told_once_in_the_log() {
    let world = World::set_up().await;
    world.database.set_now(ago(100));
    let worker = world.start("worker", AT_ANY);
    let address = worker.address().await;
    world.until("nothing waits", |status| status.is_settled() && lag(status) == [Some(0)]).await;
    let stuck = world.database.faults().add(Rule::any(Fault::Throttle).table("Rows"));
    world.write(0..5).await;
    let late = world.until("the shard is behind", |status| lag(status) > vec![Some(0)]).await;
    assert!(lag(&late) >= vec![Some(100)], "{:#}", late.0);
    assert_eq!(late.0["totals"]["lagSeconds"].as_u64(), lag(&late)[0]);
    assert!(late.open_shards()[0]["behindSince"].as_u64().is_some_and(|since| since <= unix(ago(100))));
    worker.until_logged("changes are unfinished and come again").await;
    let numbers = get(&address, "/metrics").1;
    let shard = late.open_shards()[0]["shard"].as_str().unwrap();
    let told = gauge(&numbers, &format!("millstream_lag_seconds{{source=\"orders\",shard=\"{shard}\"}}"));
    assert!(told.is_some_and(|told| told >= 100.0), "{numbers}");
    let page = text(&world.output("status").await.stdout);
    assert!(page.contains("1 open shard, lag 1"), "{page}");

    world.database.faults().remove(stuck);
    world.until_in_step().await;
    world.until("it has caught up", |status| lag(status) == [Some(0)]).await;
    worker.until_logged("no change is unfinished any more").await;
}

/// A thousand shards where nothing happens must not cost a thousand writes a look.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_where_nothing_happens_writes_nothing() {
    let world = World::set_up().await;
    let _worker = world.start("worker", &format!("--listen off {PACE}"));
    world.write(0..5).await;
    world.until_in_step().await;
    world.until("it has caught up", |status| status.is_settled() && lag(status) == [Some(0)]).await;
    let stream = world.database.read_stream("Orders").await;
    let last = stream.last().unwrap().dynamodb().unwrap().sequence_number().unwrap();
    let is_stored = |status: &Status| status.open_shards()[0]["checkpoint"]["after"] == last;
    world.until("its checkpoint is stored", is_stored).await;
    world.database.clear_requests();
    let writes = |to: &str| {
        let writes = |it: &&Logged| {
            ["UpdateItem", "PutItem", "TransactWriteItems"].contains(&&*it.operation)
                && it.body.to_string().contains(to)
        };
        world.database.requests().iter().filter(writes).count()
    };
    until("it beats", || writes("worker/") >= 6, || format!("{:?}", world.database.requests())).await;
    let reads = world.database.faults().count("GetRecords");
    assert!(reads > 6, "the shard is read all the time: {reads}");
    assert_eq!(writes("shard/"), 0, "{:?}", world.database.requests());
}

fn gauge(numbers: &str, series: &str) -> Option<f64> {
    let line = numbers.lines().find_map(|line| line.strip_prefix(series))?;
    line.trim().parse().ok()
}

const OPEN: &str = "millstream_letters{projection=\"read-model\",state=\"open\"}";
const OLDEST: &str = "millstream_oldest_letter_seconds{projection=\"read-model\"}";

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_counted_by_one_worker_and_by_another_when_that_one_dies() {
    let world = World::set_up().await;
    world.write(0..3).await;
    poison(&world, "poison-1").await;
    poison(&world, "poison-2").await;
    let output = world.output(&format!("run --once {PACE}")).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let status = world.status().await;
    let letters = &status.0["letters"];
    assert_eq!((&letters["store"], &letters["fault"]), (&json!("table t-letters"), &Value::Null));
    let count = &letters["projections"][0];
    assert_eq!(
        (&count["projection"], &count["open"], &count["held"]),
        (&json!("read-model"), &json!(2), &json!(0))
    );
    assert!(count["oldestSeconds"].is_u64(), "{count}");
    assert_eq!(status.0["totals"]["letters"], 2);
    let page = text(&world.output("status").await.stdout);
    assert!(page.contains("│ read-model ┆    2 ┆    0 ┆") && page.contains("; 2 letters; 0 gaps"), "{page}");

    let (first, second) = (world.start("first", AT_ANY), world.start("second", AT_ANY));
    let addresses = [first.address().await, second.address().await];
    world.until("both are there", |status| status.sessions().len() == 2 && status.is_settled()).await;
    let numbers = |place: usize| get(&addresses[place], "/metrics").1;
    let tells = |place: usize| gauge(&numbers(place), OPEN).is_some();
    until("one of them tells", || tells(0) != tells(1), || numbers(0) + &numbers(1)).await;
    let teller = usize::from(tells(1));
    let told = numbers(teller);
    assert_eq!((gauge(&told, OPEN), gauge(&told, &OPEN.replace("open", "held"))), (Some(2.0), Some(0.0)));
    assert!(gauge(&told, OLDEST).is_some_and(|age| age < PATIENCE.as_secs_f64()), "{told}");

    let workers = [first, second];
    workers[teller].signal("-KILL");
    let heir = 1 - teller;
    until("the other one tells", || tells(heir), || numbers(heir)).await;
    assert_eq!(gauge(&numbers(heir), OPEN), Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_cannot_be_counted_end_nothing() {
    let world = World::set_up().await;
    poison(&world, "poison-1").await;
    assert!(world.output(&format!("run --once {PACE}")).await.status.success());
    let denied = Rule::on("Query", Fault::AccessDenied).table("t-letters");
    let denied = world.database.faults().add(denied);
    let worker = world.start("worker", AT_ANY);
    let address = worker.address().await;
    worker.until_logged("letters cannot be counted now").await;
    world.write(0..3).await;
    let has_rows = async || world.database.scan_all("Rows").await.len() == 3;
    let give_up = Instant::now() + PATIENCE;
    while !has_rows().await {
        assert!(Instant::now() < give_up, "{}", worker.log());
        tokio::time::sleep(AGAIN).await;
    }
    let numbers = get(&address, "/metrics").1;
    assert_eq!(gauge(&numbers, OPEN), None, "nobody knows: {numbers}");
    let status = world.status().await;
    assert!(status.0["letters"]["fault"].as_str().unwrap().contains("AccessDenied"), "{:#}", status.0);
    assert_eq!(status.0["totals"]["letters"], Value::Null);
    world.database.faults().remove(denied);
    assert_eq!(world.status().await.0["totals"]["letters"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_series_of_the_lag_has_the_same_labels() {
    let world = World::set_up().await;
    let worker = world.start("worker", AT_ANY);
    let address = worker.address().await;
    world.write(0..5).await;
    world.until_in_step().await;
    let numbers = || get(&address, "/metrics").1;
    until("batches are counted", || numbers().contains("millstream_apply_seconds_bucket"), numbers).await;
    let shard = world.status().await.open_shards()[0]["shard"].as_str().unwrap().to_owned();
    let numbers = numbers();
    let series: Vec<&str> =
        numbers.lines().filter(|line| line.starts_with("millstream_lag_seconds{")).collect();
    let expected = format!("millstream_lag_seconds{{source=\"orders\",shard=\"{shard}\"}}");
    assert_eq!(series.len(), 1, "{series:?}");
    assert!(gauge(series[0], &expected).is_some(), "{series:?} is not {expected}");
}

/// Something else that listens: it gives one answer.
fn answering(answer: &'static str) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answers = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = BufReader::new(stream.try_clone().unwrap()).lines();
        while asked.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        stream.write_all(answer.as_bytes()).unwrap();
    });
    (address, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn health_asks_whether_a_poller_lives() {
    let world = World::set_up().await;
    let mut worker: Worker = world.start("worker", AT_ANY);
    let address = worker.address().await;
    let health = async |at: &str| {
        let mut command = world.bare(&format!("health --at {at}"));
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let output = health(&address).await;
    assert_eq!((output.status.code(), &*text(&output.stdout)), (Some(0), "alive\n"));
    let (elsewhere, answers) = answering("HTTP/1.1 404 Not Found\r\n\r\n");
    let output = health(&elsewhere).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/healthz answers `HTTP/1.1 404 Not Found`, not 200"), "{said}");
    answers.join().unwrap();
    worker.signal("-TERM");
    assert_eq!(worker.ended().await, Some(0));
    let output = health(&address).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("error: no answer at {address}: ")), "{said}");
    assert_eq!(health("localhost").await.status.code(), Some(2));
}

/// A `status --watch`, which goes on until it is told to stop.
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watch {
    fn start(world: &World, arguments: &str) -> Self {
        let mut command = world.command(&format!("status --watch {arguments}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Reads lines until one is as it should be; a watch that ends or hangs fails the test.
    async fn until(mut self, is_so: impl Fn(&str) -> bool + Send + 'static) -> Self {
        let watch = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            while self.lines.read_line(&mut line).unwrap() > 0 {
                if is_so(&line) {
                    return Some(self);
                }
                line.clear();
            }
            None
        });
        tokio::time::timeout(PATIENCE, watch).await.unwrap().unwrap().unwrap()
    }

    fn interrupt(mut self) -> Option<i32> {
        let process = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &process]).status().unwrap().success());
        drop(self.lines);
        self.child.wait().unwrap().code()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_shows_what_changes_until_it_is_told_to_stop() {
    let world = World::set_up().await;
    let watch = Watch::start(&world, "--json");
    let is = |is_so: fn(&Value) -> bool| {
        move |line: &str| is_so(&serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
    };
    let watch = watch.until(is(|view| view["totals"]["workers"] == 0)).await;
    let mut worker = world.start("worker", &format!("--listen off {PACE}"));
    let at_work = |view: &Value| view["totals"]["workersStill"] == 0 && view["totals"]["lagSeconds"] == 0;
    let watch = watch.until(is(at_work)).await;
    // A state table that is away for a while does not end it.
    let away = world.database.faults().add(Rule::on("Query", Fault::Unavailable).table("t-state"));
    let seen = world.database.faults();
    until("it looked", || seen.fired(away) > 20, String::new).await;
    world.database.faults().remove(away);
    let watch = watch.until(is(at_work)).await;
    worker.signal("-TERM");
    assert_eq!(worker.ended().await, Some(0));
    let watch = watch.until(is(|view| view["totals"]["workers"] == 0)).await;
    assert_eq!(watch.interrupt(), Some(0));

    let page = Watch::start(&world, "");
    let page = page.until(|line| line.starts_with("0 workers; 1 open shard, 1 read by nobody; ")).await;
    let page = page.until(|line| !line.contains('\u{1b}') && line.starts_with("consumer default")).await;
    assert_eq!(page.interrupt(), Some(0));
}
