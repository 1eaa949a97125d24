//! `millstream status`: who reads which shard, how far each is done and behind, and what waits in letters. Exit codes: 0 told, 1 failed, 2 wrong usage or config.

use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use millstream_processor::clock::{Clock, SystemClock};
use millstream_processor::host::poll;
use millstream_processor::poller::state::Session;
use millstream_processor::wiring::{self, Aws, CONFIG_FILE, CONFIG_VARIABLE};
use millstream_projections::config::Config;
use tokio::time::{Instant, sleep};

use self::beats::Beats;
use self::letters::Counter;
use self::view::{StreamView, View};
use super::Failure;
use super::run::consumer;
use crate::output::{complain, print};

mod beats;
mod letters;
mod page;
mod queues;
mod view;

/// How long one look waits for heartbeats to move: workers beat every 3.3 s unless they were told another `--ttl`.
const LOOK: Duration = Duration::from_secs(5);
/// How often it looks within that time.
const GLANCE: Duration = Duration::from_millis(250);
/// How often `--watch` looks.
const REFRESH: Duration = Duration::from_secs(2);
/// How long what may pass is tried.
const PATIENCE: Duration = Duration::from_secs(5);
/// Puts the cursor into the corner of a terminal, and clears what is below.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// Tells who reads which shard, how far each is done and behind, and what waits in letters. Changes nothing.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The config file; without it, what MILLSTREAM_CONFIG names, or millstream.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another DynamoDB than that of the environment's AWS account
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Whose workers and shards [default: the config's, or `default`]
    #[arg(long, value_name = "NAME", value_parser = consumer)]
    consumer: Option<Arc<str>>,
    /// Shows every shard, and not only those that say most
    #[arg(long)]
    all: bool,
    /// Prints one JSON object, with --watch one a line
    #[arg(long)]
    json: bool,
    /// Looks again every 2 s, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

/// Runs the command.
pub(crate) async fn run(args: StatusArgs) -> Result<ExitCode, Failure> {
    let named = || std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
    let path = args.config.clone().or_else(named).unwrap_or_else(|| CONFIG_FILE.into());
    let config = wiring::load(&path).map_err(|error| Failure::Wrong(error.to_string()))?;
    let mut observer = Observer::new(&config, &args).await;
    if !args.watch {
        observer.await_beats().await?;
        show(&observer.view().await?, &args)?;
        return Ok(ExitCode::SUCCESS);
    }
    let watch = async {
        // The first page says who is alive, too.
        if let Err(failure) = observer.await_beats().await {
            complain(&format!("error: {failure}"));
        }
        loop {
            match observer.look().await {
                Ok(view) => show(&view, &args)?,
                // Whoever watches wants to see when it is back.
                Err(failure) => complain(&format!("error: {failure}")),
            }
            sleep(REFRESH).await;
        }
    };
    tokio::select! {
        failed = watch => failed,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
    }
}

fn show(view: &View, args: &StatusArgs) -> Result<(), Failure> {
    let text = match args.json {
        true => format!("{}\n", serde_json::json!(view)),
        false => page::page(view, args.all),
    };
    let clear = if args.watch && !args.json && stdout().is_terminal() { CLEAR } else { "" };
    Ok(print(&format!("{clear}{text}"))?)
}

/// Looks at the state of one consumer, again and again.
struct Observer {
    consumer: Arc<str>,
    state: Arc<dyn millstream_processor::poller::state::StateStore>,
    streams: Vec<poll::TableStream>,
    beats: Beats,
    letters: Counter,
    config: Config,
    aws: Aws,
}

impl Observer {
    async fn new(config: &Config, args: &StatusArgs) -> Self {
        let aws = Aws::connect(args.endpoint.as_deref()).await;
        let consumer = args.consumer.clone().unwrap_or_else(|| config.poller.consumer.clone());
        Self {
            state: wiring::state(
                config,
                &aws,
                consumer.clone(),
                wiring::ATTEMPT_TIMEOUT,
                Arc::new(SystemClock),
            ),
            consumer,
            // What the tables have now: a source whose table cannot be asked is told of, and hides no other.
            streams: poll::streams(config, &aws, PATIENCE).await,
            beats: Beats::default(),
            letters: Counter::new(config, &aws),
            config: config.clone(),
            aws,
        }
    }

    /// Looks until every heartbeat has moved, or has had its time to.
    async fn await_beats(&mut self) -> Result<(), Failure> {
        let give_up = Instant::now() + LOOK;
        loop {
            self.observe().await?;
            if self.beats.all_moved() || Instant::now() >= give_up {
                return Ok(());
            }
            sleep(GLANCE).await;
        }
    }

    async fn look(&mut self) -> Result<View, Failure> {
        self.observe().await?;
        self.view().await
    }

    async fn observe(&mut self) -> Result<(), Failure> {
        if self.streams.is_empty() {
            // Who reads queues alone needs no table of state.
            return Ok(());
        }
        let workers = self.state.workers().await;
        let workers = workers.map_err(|fault| Failure::Failed(poll::explained(fault).to_string()))?;
        self.beats.observe(workers, Instant::now());
        Ok(())
    }

    /// What there is to tell, as of now.
    async fn view(&mut self) -> Result<View, Failure> {
        let letters = self.letters.view().await;
        let now = SystemClock.unix_seconds();
        let mut streams = Vec::with_capacity(self.streams.len());
        for found in &self.streams {
            let rows = async {
                let stream = found.stream.clone()?;
                let (shards, gaps) = (self.state.shards(&stream).await?, self.state.gaps(&stream).await?);
                Ok((stream, shards, gaps))
            };
            let is_live = |session: &Session| self.beats.moved(session);
            streams.push(StreamView::new(&found.source, &found.table, rows.await, is_live, now));
        }
        let queues = queues::look(&self.config, &self.aws).await;
        Ok(View::new(&self.consumer, &self.beats, streams, queues, letters, Instant::now()))
    }
}
