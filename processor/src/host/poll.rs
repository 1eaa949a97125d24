//! A poller on this host: from the config to one worker among others, and the queues that it reads beside.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryFutureExt;
use futures_util::future::{join_all, try_join_all};
use millstream_projections::SourceName;
use millstream_projections::config::{Config, SourceKind, Start};
use tokio::sync::watch;

use super::worker::Worker;
use crate::clock::{Deadline, SystemClock};
use crate::outcome::{Fault, FaultKind};
use crate::pipeline::Pipeline;
use crate::poller::queue::{self, Depth, QueueReader};
use crate::poller::settings::Settings;
use crate::poller::state::{Checkpoint, Session};
use crate::poller::{Health, Poller, StreamSource};
use crate::retry::RetryPolicy;
use crate::sink::fault::fault;
use crate::wiring::{self, Aws};

/// Where Linux tells the name of the machine, or of the container.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// A source that is a table, and the stream that the table has now.
#[derive(Debug)]
pub struct TableStream {
    /// The source in the config.
    pub source: SourceName,
    /// Its table.
    pub table: Arc<str>,
    /// Where to begin in a stream that the consumer has never seen.
    pub start: Start,
    /// The stream's ARN, or why there is none.
    pub stream: Result<Arc<str>, Fault>,
}

/// All that one process reads, as the config describes it. Nothing is read yet, but everything that it needs was looked for.
pub async fn worker(
    config: &Config,
    aws: &Aws,
    settings: Settings,
    with_queues: bool,
) -> Result<Worker, Fault> {
    let pipeline = wiring::pipeline(config, aws, Arc::new(SystemClock));
    let has_table = config.sources.iter().any(|source| matches!(source.kind, SourceKind::Table(_)));
    let streams = match has_table {
        true => Some(poller(config, aws, settings, pipeline.clone()).await?),
        false => None,
    };
    let found = queues(config).filter(|_| with_queues);
    let readers = found.map(|(source, url)| {
        QueueReader::open(source.clone(), aws.sqs(), url.clone(), pipeline.clone()).map_ok(Arc::new)
    });
    Ok(Worker { streams, queues: try_join_all(readers).await? })
}

/// One worker of a consumer.
async fn poller(config: &Config, aws: &Aws, settings: Settings, pipeline: Pipeline) -> Result<Poller, Fault> {
    let clock = pipeline.clock.clone();
    let state = wiring::state(config, aws, settings.consumer.clone(), settings.patience(), clock.clone());
    let retry = retry(config, config.pipeline.retry_elapsed);
    let looked = retry.run(Deadline::NONE, "look at the other workers", || state.workers()).await;
    looked.map_err(explained)?;
    let now = clock.unix_seconds();
    let found = streams(config, aws, config.pipeline.retry_elapsed).await;
    let sources = found.into_iter().map(|found| {
        let start = match found.start {
            Start::TrimHorizon => Checkpoint::TrimHorizon,
            Start::Latest => Checkpoint::Since(now),
            Start::Since(at) => Checkpoint::Since(at),
        };
        Ok(StreamSource { source: found.source, stream: found.stream?, start })
    });
    let (host, process) = (host_name(), std::process::id());
    let poller = Poller {
        pipeline,
        client: aws.streams(),
        state,
        sources: sources.collect::<Result<_, Fault>>()?,
        settings,
        session: Session(format!("{host}-{process}-{:016x}", rand::random::<u64>()).into()),
        host: format!("{host}/{process}"),
        health: watch::Sender::new(Health::default()),
    };
    poller.check().await?;
    Ok(poller)
}

/// The sources that are tables, in the order of the config, each with its stream. What may pass is tried for as long as
/// `patience` says.
pub async fn streams(config: &Config, aws: &Aws, patience: Duration) -> Vec<TableStream> {
    let (client, retry) = (aws.dynamodb(), retry(config, patience));
    let (client, retry) = (&client, &retry);
    let tables = config.sources.iter().filter_map(|source| match &source.kind {
        SourceKind::Table(table) => Some((source, table)),
        SourceKind::Queue(_) | SourceKind::Topic(_) => None,
    });
    let found = tables.map(|(source, table)| async move {
        TableStream {
            source: source.name.clone(),
            table: table.clone(),
            start: source.start,
            stream: latest_stream(client, retry, table).await,
        }
    });
    join_all(found).await
}

/// The sources that are queues, with their URLs, in the order of the config.
pub fn queues(config: &Config) -> impl Iterator<Item = (&SourceName, &Arc<str>)> {
    config.sources.iter().filter_map(|source| match &source.kind {
        SourceKind::Queue(url) => Some((&source.name, url)),
        SourceKind::Table(_) | SourceKind::Topic(_) => None,
    })
}

/// A source that is a queue, and how many messages it has.
#[derive(Debug)]
pub struct QueueDepth {
    /// The source in the config.
    pub source: SourceName,
    /// The queue's URL.
    pub url: Arc<str>,
    /// How many, or why that cannot be told.
    pub depth: Result<Depth, Fault>,
}

/// The sources that are queues, in the order of the config, each with how many messages it has now.
pub async fn queue_depths(config: &Config, aws: &Aws) -> Vec<QueueDepth> {
    let asked = queues(config).map(|(source, url)| async move {
        let depth = queue::depth(aws.sqs(), url.clone()).await;
        QueueDepth { source: source.clone(), url: url.clone(), depth }
    });
    join_all(asked).await
}

/// A fault of the state table, with the way out where the table is not there.
pub fn explained(mut fault: Fault) -> Fault {
    // The first word of a service's answer is its error code.
    let is_missing = |cause: &String| cause.starts_with("ResourceNotFoundException");
    if fault.kind == FaultKind::Misconfigured && fault.causes.iter().any(is_missing) {
        fault.causes.push("`millstream setup` makes the table of the pollers' state".to_owned());
    }
    fault
}

fn retry(config: &Config, patience: Duration) -> RetryPolicy {
    RetryPolicy::new(config.pipeline.retry_initial, config.pipeline.retry_max, patience)
}

async fn latest_stream(
    client: &aws_sdk_dynamodb::Client,
    retry: &RetryPolicy,
    table: &Arc<str>,
) -> Result<Arc<str>, Fault> {
    let doing = format!("DescribeTable {table}");
    let describe = || async {
        let described = client.describe_table().table_name(&**table).send().await;
        described.map_err(|error| fault(&doing, &error))
    };
    let described = retry.run(Deadline::NONE, &doing, describe).await?.table;
    // The stream of a table that has none any more still has its records for a day.
    let stream = described.and_then(|table| table.latest_stream_arn);
    stream.map(Into::into).ok_or_else(|| {
        Fault::new(FaultKind::Misconfigured, format!("table {table} has no stream: switch one on"))
    })
}

/// The machine's name, as far as it can be told: it only has to mean something to people.
fn host_name() -> String {
    let told = std::fs::read_to_string(HOST_NAME).ok().or_else(|| std::env::var("HOSTNAME").ok());
    let usable = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let name: String = told.unwrap_or_default().chars().filter(usable).take(64).collect();
    if name.is_empty() { "host".to_owned() } else { name }
}
