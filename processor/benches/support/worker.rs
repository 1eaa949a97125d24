//! A worker in a process of its own, started from the bench itself: all its time and memory is its own.

use std::process::{Child, Command, Stdio};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodbstreams::types::{AttributeValue as Streamed, Record, ShardIteratorType};
use futures_util::stream::{self, StreamExt};
use millstream_processor::host;
use millstream_processor::poller::Until;
use millstream_processor::poller::settings::Settings;
use millstream_processor::projections::config::Config;
use millstream_processor::wiring::Aws;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// The table whose stream is read.
pub(crate) const SOURCE: &str = "Orders";
/// The read model.
pub(crate) const TARGET: &str = "Accounting";

const CONFIG: &str = r#"
[source.orders]
table = "Orders"
start = "trim-horizon"

[projection.accounting]
kind = "replica"
from = "orders"
table = "Accounting"
key = { orderId = "{orderId}" }
set = { total = "{total}", customer = "{customer}", body = "{body}" }
"#;

/// Says which part the process has to play; the bench itself has none.
const ROLE: &str = "MILLSTREAM_BENCH_ROLE";
const STREAM: &str = "MILLSTREAM_BENCH_STREAM";
/// How many writes the yardstick has under way.
const AT_ONCE: usize = 64;
/// As many records as a page can have.
const FULL: usize = 1_000;
/// How many records it reads ahead.
const READ_AHEAD: usize = 4_000;
/// The unit of time in `/proc/*/stat`, which Linux has as a constant towards programs.
const TICKS_A_SECOND: f64 = 100.0;

/// Who reads the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Millstream's poller.
    Poller,
    /// The AWS SDK alone: it reads as the poller does, and puts each new image without looking at it.
    Yardstick,
}

/// A process at work; killed when it is dropped.
pub(crate) struct Worker(Child);

impl Worker {
    /// Starts this very program again.
    pub(crate) fn start(role: Role, stream: &str, streams_endpoint: &str, store_endpoint: &str) -> Self {
        let own = std::env::current_exe().expect("Linux tells where the bench is");
        let mut command = Command::new(own);
        command.env_clear().envs([
            (ROLE, format!("{role:?}").as_str()),
            (STREAM, stream),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT_URL_DYNAMODB", store_endpoint),
            ("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", streams_endpoint),
        ]);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the bench starts again"))
    }

    /// The processor time that it has used so far, in seconds: its own and the kernel's for it.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = self.proc("stat");
        // The name stands in brackets and may hold anything; user and system time are the 14th and 15th field.
        let fields = stat.rsplit_once(')').map(|it| it.1).unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2).map(|it| it.parse::<f64>().expect("a number"));
        ticks.sum::<f64>() / TICKS_A_SECOND
    }

    /// One of the memory figures of Linux, in MiB.
    pub(crate) fn memory(&self, name: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux reports it");
        let kib: f64 = line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number");
        kib / 1024.0
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id()))
            .expect("the process is alive, on Linux")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.kill().expect("the process is ours");
        self.0.wait().expect("the process is ours");
    }
}

/// What the worker and the tables are made from.
pub(crate) fn config() -> Config {
    Config::parse("bench.toml", CONFIG, &|_| None).expect("a valid config")
}

/// Plays the part that this process was started for, for ever; comes back if there is none.
pub(crate) async fn play() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let stream = std::env::var(STREAM).expect("it comes with the role");
    let aws = Aws::connect(None).await;
    if role == format!("{:?}", Role::Poller) {
        poll(&aws).await;
    } else {
        copy(&aws, &stream).await;
    }
}

/// As `millstream run` does it with its defaults.
async fn poll(aws: &Aws) {
    let poller = host::poll::worker(&config(), aws, Settings::default(), false).await.expect("all is there");
    let poller = poller.streams.expect("its source is a table");
    poller.run(Until::Told, std::future::pending()).await.expect("the worker can join");
}

/// Reads the one shard and puts each image, many at once and in no order.
async fn copy(aws: &Aws, stream: &str) {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let records = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    let store = aws.dynamodb();
    let writes = records.for_each_concurrent(AT_ONCE, |record| put(&store, record));
    tokio::join!(read(aws, stream, sender), writes);
}

async fn read(aws: &Aws, stream: &str, sender: mpsc::Sender<Record>) {
    let streams = aws.streams();
    let described = streams.describe_stream().stream_arn(stream).send().await.expect("it is there");
    let shard = described.stream_description.and_then(|it| it.shards?.pop()?.shard_id);
    let asked = streams.get_shard_iterator().stream_arn(stream).set_shard_id(shard);
    let given = asked.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await;
    let mut iterator = given.expect("it can be read").shard_iterator;
    while let Some(next) = iterator {
        let asked_at = Instant::now();
        let page = streams.get_records().shard_iterator(next).send().await.expect("it can be read");
        let records = page.records.unwrap_or_default();
        let is_full = records.len() == FULL;
        for record in records {
            sender.send(record).await.expect("the other half lives as long");
        }
        iterator = page.next_shard_iterator;
        if !is_full {
            sleep_until(asked_at + Settings::default().busy).await;
        }
    }
}

async fn put(store: &aws_sdk_dynamodb::Client, record: Record) {
    let image = record.dynamodb.and_then(|it| it.new_image).expect("nothing is removed here");
    let item = image.into_iter().map(|(name, value)| match value {
        Streamed::S(text) => (name, AttributeValue::S(text)),
        Streamed::N(digits) => (name, AttributeValue::N(digits)),
        other => unreachable!("the records here have no {other:?}"),
    });
    store.put_item().table_name(TARGET).set_item(Some(item.collect())).send().await.expect("written");
}
