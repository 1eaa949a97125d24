//! `millstream run`: reads the streams and queues of a config, beside any number of others. Exit codes: 0 stopped, 1 failed, 2 wrong usage or config.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use millstream_processor::host::http::{self, Answers};
use millstream_processor::host::poll;
use millstream_processor::host::worker::Worker;
use millstream_processor::outcome::Fault;
use millstream_processor::poller::letters::LetterGauges;
use millstream_processor::poller::settings::{OnGap, Settings};
use millstream_processor::poller::state::ShardState;
use millstream_processor::poller::{Poller, Until};
use millstream_processor::wiring::{self, Aws, CONFIG_FILE, CONFIG_VARIABLE};
use millstream_projections::config::{Config, Listen, PollerSettings, SourceKind, duration};
use tokio::task::JoinSet;

pub(crate) use self::arguments::consumer;
use self::arguments::{idle, max_moves, open, ttl};
use self::stop::Stop;
use super::Failure;

mod arguments;
mod numbers;
mod stop;

/// How long everything that is under way may take once the command is told to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How long a change that a wrong deployment holds up is tried before `--once` looks again, and at the next look gives up.
const TRIED: Duration = Duration::from_secs(4);

/// What `millstream run` is told.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The config file; without it, what MILLSTREAM_CONFIG names, or millstream.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another AWS endpoint than that of the environment's account, for all services
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Workers of one consumer share the shards; another consumer reads everything for itself [default: the config's, or
    /// `default`]
    #[arg(long, value_name = "NAME", value_parser = consumer)]
    consumer: Option<Arc<str>>,
    /// Ends when everything that was there is done; answers nothing by HTTP unless --listen says where
    #[arg(long)]
    once: bool,
    /// What to do where the stream forgot records before they were read: the shard stands still until an operator decides, or
    /// goes on [default: the config's, or halt]
    #[arg(long, value_name = "WHAT", value_enum)]
    on_gap: Option<Gap>,
    /// How long a heartbeat may stand still before others take the worker's shards, 1s to 10m; the same for all workers
    /// [default: the config's, or 10s]
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    ttl: Option<Duration>,
    /// Leaves queues to others, as to a Lambda: else each `queue` source of the config is read
    #[arg(long)]
    no_queues: bool,
    /// How long a shard without records is left alone at most, 10ms to 5m [default: the config's, or 5s]
    #[arg(long, value_name = "TIME", value_parser = idle)]
    idle: Option<Duration>,
    /// How many shards this worker hands to others at a time, 1 to 1000 [default: the config's, or 10]
    #[arg(long, value_name = "N", value_parser = max_moves)]
    max_moves: Option<NonZeroUsize>,
    /// Where /healthz, /readyz and /metrics are answered, or `off`. Whoever reaches it may read it [default: the config's, or
    /// 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Listen>,
    /// How logs are written: lines on standard error, or JSON objects on standard output
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Logs::Human)]
    logs: Logs,
}

/// What happens to a shard of which data was lost.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Gap {
    Halt,
    Continue,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Logs {
    Human,
    Json,
}

impl RunArgs {
    /// Whether logs are for machines.
    pub(crate) fn has_json_logs(&self) -> bool {
        self.logs == Logs::Json
    }

    /// What the config says, and what the flags say instead.
    fn settings(&self, config: &PollerSettings) -> Settings {
        let on_gap = self.on_gap.map(|gap| match gap {
            Gap::Halt => OnGap::Halt,
            Gap::Continue => OnGap::Continue,
        });
        let idle = self.idle.unwrap_or(config.idle);
        Settings {
            consumer: self.consumer.clone().unwrap_or_else(|| config.consumer.clone()),
            ttl: self.ttl.unwrap_or(config.ttl),
            moves: self.max_moves.unwrap_or(config.max_moves).get(),
            busy: config.busy.min(idle),
            idle,
            on_gap: on_gap.unwrap_or(config.on_gap),
        }
    }

    /// A run that ends by itself beside one that stays must not want its port.
    fn listen(&self, config: &PollerSettings) -> Listen {
        self.listen.unwrap_or(if self.once { Listen::Off } else { config.listen })
    }
}

/// Reads until it is told to stop, or until all is read.
pub(crate) async fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let stop =
        Stop::listen().map_err(|error| Failure::Failed(format!("cannot listen to signals: {error}")))?;
    let named = || std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
    let path = args.config.clone().or_else(named).unwrap_or_else(|| CONFIG_FILE.into());
    let config = wiring::load(&path).map_err(|error| Failure::Wrong(error.to_string()))?;
    tell_unread(&config, &path.display().to_string(), args.no_queues)?;
    let settings = args.settings(&config.poller);
    let listener = open(args.listen(&config.poller)).await?;
    let (idle, ttl) = (settings.idle, settings.ttl);
    let numbers = listener.as_ref().map(|_| numbers::install(idle.max(ttl))).transpose()?;
    let aws = Aws::connect(args.endpoint.as_deref()).await;
    let worker = tokio::select! {
        worker = poll::worker(&config, &aws, settings, !args.no_queues) => worker.map_err(failed)?,
        () = stop.told() => return Ok(ExitCode::SUCCESS),
    };
    tell_start(&worker);
    // Dropped at the end, they end with it.
    let mut beside = JoinSet::new();
    if let Some((listener, metrics)) = listener.zip(numbers) {
        let health = worker.streams.as_ref().map(|poller| poller.health.subscribe());
        let queues = worker.queues.iter().map(|reader| (reader.source.clone(), reader.health())).collect();
        beside.spawn(http::serve(listener, Answers { health, queues, ttl, metrics }));
        if let Some(poller) = &worker.streams {
            let names = config.projections.iter().map(|projection| projection.name.as_str());
            beside.spawn(LetterGauges::new(poller, names).run());
        }
    }
    work(&worker, args.once, &stop).await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Works to its end, which comes soon once the stop was told.
async fn work(worker: &Worker, once: bool, stop: &Stop) -> Result<(), Failure> {
    let until = if once { Until::Drained } else { Until::Told };
    let mut trouble = None;
    let ends = async {
        tokio::select! {
            () = stop.told() => {}
            stuck = stuck(worker), if once => trouble = Some(stuck),
        }
    };
    let too_late = async {
        stop.told().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = worker.run(until, ends) => ended.map_err(|fault| failed(poll::explained(fault)))?,
        () = too_late => return Err(Failure::Failed(not_in_time(worker))),
    }
    match (trouble, &worker.streams) {
        (Some(trouble), _) => Err(Failure::Failed(trouble)),
        (None, Some(poller)) if once => is_whole(poller).await,
        (None, _) => Ok(()),
    }
}

/// What becomes of what was under way.
fn not_in_time(worker: &Worker) -> String {
    let grace = duration::text(GRACE);
    let shards = worker.streams.as_ref().map(|poller| {
        let ttl = duration::text(poller.settings.ttl);
        format!("others take its shards when its heartbeat has stood still for {ttl}")
    });
    let messages = (!worker.queues.is_empty())
        .then(|| "its messages come again when their time out of sight is over".to_owned());
    let rest: Vec<String> = shards.into_iter().chain(messages).collect();
    format!("what was under way did not end within {grace}: {}", rest.join("; "))
}

/// Ends when the same thing was in trouble at two looks: something is to be mended before all can be drained.
async fn stuck(worker: &Worker) -> String {
    let mut before: HashSet<String> = HashSet::new();
    loop {
        tokio::time::sleep(TRIED).await;
        let mut now = HashSet::new();
        for (what, trouble) in troubles(worker).await {
            if before.contains(&what) {
                return format!("{what} cannot be drained: {trouble}");
            }
            now.insert(what);
        }
        before = now;
    }
}

/// The shards and queues of this worker that wait for something to be mended, each with what that is.
async fn troubles(worker: &Worker) -> Vec<(String, String)> {
    let mut troubles = Vec::new();
    for reader in &worker.queues {
        if let Some(trouble) = &reader.health().borrow().trouble {
            troubles.push((format!("the queue of source {}", reader.source), trouble.to_string()));
        }
    }
    let Some(poller) = &worker.streams else { return troubles };
    // The poller itself tells of a state table that cannot be read.
    for (name, row) in poller.shards().await.unwrap_or_default() {
        if row.owner.as_ref() == Some(&poller.session)
            && let Some(trouble) = row.trouble
        {
            troubles.push((format!("shard {} of source {name}", row.shard), trouble));
        }
    }
    troubles
}

/// A shard that stands still is not drained, whatever else is.
async fn is_whole(poller: &Poller) -> Result<(), Failure> {
    let shards = poller.shards().await.map_err(failed)?;
    match shards.iter().find(|(_, shard)| shard.state == ShardState::Gap) {
        None => Ok(()),
        Some((name, halted)) => Err(Failure::Failed(format!(
            "shard {} of source {name} stands still: the stream forgot records before they were read; see `millstream \
             status`. `--on-gap continue` goes on with what is left",
            halted.shard
        ))),
    }
}

/// Says which sources wait for another host. Where all of them do there is nothing to do at all.
fn tell_unread(config: &Config, file: &str, no_queues: bool) -> Result<(), Failure> {
    let mut read = 0;
    for source in &config.sources {
        let (name, resource) = (&source.name, source.kind.resource());
        match source.kind {
            SourceKind::Topic(_) => tracing::warn!(
                "source {name} is not read: a topic cannot be ({resource}), it invokes the Lambda; a queue that is \
                 subscribed to it can"
            ),
            SourceKind::Queue(_) if no_queues => {
                tracing::info!("source {name} is left to others, as --no-queues says ({resource})");
            }
            SourceKind::Queue(_) | SourceKind::Table(_) => read += 1,
        }
    }
    let advice = if no_queues { "a table" } else { "a table or a queue" };
    match read {
        0 => Err(Failure::Wrong(format!("{file}: no source is {advice}: there is nothing to read"))),
        _ => Ok(()),
    }
}

fn tell_start(worker: &Worker) {
    if let Some(Poller { session, sources, settings, .. }) = &worker.streams {
        let ttl = duration::text(settings.ttl);
        tracing::info!(%session, consumer = &*settings.consumer, ttl, "joins the other workers");
        for source in sources {
            tracing::info!(source = %source.source, stream = &*source.stream, "source is read");
        }
    }
    for reader in &worker.queues {
        tracing::info!(source = %reader.source, queue = reader.url(), "source is read");
    }
}

fn failed(fault: Fault) -> Failure {
    Failure::Failed(fault.to_string())
}
