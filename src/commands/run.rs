//! `millstream run`: reads the streams of a config, beside any number of others. Exit codes: 0 stopped, 1 failed, 2 wrong usage or config.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use millstream_processor::host::http::{self, Answers};
use millstream_processor::host::poll;
use millstream_processor::outcome::Fault;
use millstream_processor::poller::settings::{OnGap, Settings};
use millstream_processor::poller::state::ShardState;
use millstream_processor::poller::{Poller, Until};
use millstream_processor::wiring::{self, Aws, CONFIG_FILE, CONFIG_VARIABLE};
use millstream_projections::config::Config;
use millstream_projections::config::duration;

pub(crate) use self::arguments::consumer;
use self::arguments::{Listen, idle, ttl};
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
    /// Workers of one consumer share the shards; another consumer reads everything for itself
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = consumer)]
    consumer: Arc<str>,
    /// Ends when everything that was there is done; answers nothing by HTTP unless --listen says where
    #[arg(long)]
    once: bool,
    /// What to do where the stream forgot records before they were read: the shard stands still until an operator decides, or
    /// goes on
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Gap::Halt)]
    on_gap: Gap,
    /// How long a heartbeat may stand still before others take the worker's shards, 1s to 10m; the same for all workers
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = ttl)]
    ttl: Duration,
    /// How long a shard without records is left alone at most, 10ms to 5m
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = idle)]
    idle: Duration,
    /// How many shards this worker hands to others at a time
    #[arg(long, value_name = "N", default_value = "10")]
    max_moves: NonZeroUsize,
    /// Where /healthz, /readyz and /metrics are answered, or `off`. Whoever reaches it may read it [default: 127.0.0.1:9464]
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

    fn settings(&self) -> Settings {
        let settings = Settings::default();
        Settings {
            consumer: self.consumer.clone(),
            ttl: self.ttl,
            moves: self.max_moves.get(),
            busy: settings.busy.min(self.idle),
            idle: self.idle,
            on_gap: match self.on_gap {
                Gap::Halt => OnGap::Halt,
                Gap::Continue => OnGap::Continue,
            },
        }
    }

    /// A run that ends by itself beside one that stays must not want its port.
    fn listen(&self) -> Listen {
        self.listen.unwrap_or(if self.once { Listen::Off } else { Listen::default() })
    }
}

/// Reads until it is told to stop, or until all is read.
pub(crate) async fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let stop =
        Stop::listen().map_err(|error| Failure::Failed(format!("cannot listen to signals: {error}")))?;
    let named = || std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
    let path = args.config.clone().or_else(named).unwrap_or_else(|| CONFIG_FILE.into());
    let config = wiring::load(&path).map_err(|error| Failure::Wrong(error.to_string()))?;
    tell_unread(&config, &path.display().to_string())?;
    let listener = args.listen().open().await?;
    let numbers = listener.as_ref().map(|_| numbers::install(args.idle)).transpose()?;
    let aws = Aws::connect(args.endpoint.as_deref()).await;
    let poller = tokio::select! {
        poller = poll::poller(&config, &aws, args.settings()) => poller.map_err(failed)?,
        () = stop.told() => return Ok(ExitCode::SUCCESS),
    };
    tell_start(&poller, &args);
    let answers = listener.zip(numbers).map(|(listener, metrics)| {
        let health = poller.health.subscribe();
        tokio::spawn(http::serve(listener, Answers { health, ttl: args.ttl, metrics }))
    });
    let ended = work(&poller, args.once, &stop).await;
    if let Some(answers) = answers {
        answers.abort();
    }
    ended?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Works to its end, which comes soon once the stop was told.
async fn work(poller: &Poller, once: bool, stop: &Stop) -> Result<(), Failure> {
    let until = if once { Until::Drained } else { Until::Told };
    let mut trouble = None;
    let ends = async {
        tokio::select! {
            () = stop.told() => {}
            stuck = stuck(poller), if once => trouble = Some(stuck),
        }
    };
    let too_late = async {
        stop.told().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = poller.run(until, ends) => ended.map_err(|fault| failed(poll::explained(fault)))?,
        () = too_late => {
            let (grace, ttl) = (duration::text(GRACE), duration::text(poller.settings.ttl));
            return Err(Failure::Failed(format!(
                "what was under way did not end within {grace}: others take its shards when its heartbeat has stood \
                 still for {ttl}"
            )));
        }
    }
    match trouble {
        Some(trouble) => Err(Failure::Failed(trouble)),
        None if once => is_whole(poller).await,
        None => Ok(()),
    }
}

/// Ends when a shard of this worker was in trouble twice: something is to be mended before it can be drained.
async fn stuck(poller: &Poller) -> String {
    let mut before: HashSet<Arc<str>> = HashSet::new();
    loop {
        tokio::time::sleep(TRIED).await;
        let mut now = HashSet::new();
        // The poller itself tells of a state table that cannot be read.
        for (name, row) in poller.shards().await.unwrap_or_default() {
            let Some(trouble) = row.trouble.filter(|_| row.owner.as_ref() == Some(&poller.session)) else {
                continue;
            };
            if before.contains(&row.shard) {
                return format!("shard {} of source {name} cannot be drained: {trouble}", row.shard);
            }
            now.insert(row.shard);
        }
        before = now;
    }
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

/// Says which sources wait for another host. Without a table there is nothing to do at all.
fn tell_unread(config: &Config, file: &str) -> Result<(), Failure> {
    let unread: Vec<_> = poll::unread(config).collect();
    for source in &unread {
        let (name, word, resource) = (&source.name, source.kind.word(), source.kind.resource());
        tracing::warn!(
            "source {name} is not read: `run` does not read a {word} yet ({resource}); give it to the Lambda"
        );
    }
    match unread.len() == config.sources.len() {
        true => Err(Failure::Wrong(format!("{file}: no source is a table: there is no stream to read"))),
        false => Ok(()),
    }
}

fn tell_start(poller: &Poller, args: &RunArgs) {
    let session = &poller.session;
    tracing::info!(%session, consumer = &*args.consumer, ttl = duration::text(args.ttl), "joins the other workers");
    for source in &poller.sources {
        tracing::info!(source = %source.source, stream = &*source.stream, "source is read");
    }
}

fn failed(fault: Fault) -> Failure {
    Failure::Failed(fault.to_string())
}
