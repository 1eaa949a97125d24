//! `millstream migrate kcl`: looks at a lease table twice, tells what would be written, and writes it.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use millstream_processor::clock::{Clock, SystemClock};
use millstream_processor::host::poll::{self, TableStream};
use millstream_processor::outcome::Fault;
use millstream_processor::poller::kcl::{Order, Plan, Takeover};
use millstream_processor::wiring::{self, Aws, CONFIG_FILE, CONFIG_VARIABLE};
use millstream_projections::SourceName;
use millstream_projections::config::{Config, SourceKind, duration, moment};
use serde_json::{Value, json};

use super::page;
use crate::commands::Failure;
use crate::commands::run::consumer;
use crate::output::{complain, print};

/// How long what may pass is tried.
const PATIENCE: Duration = Duration::from_secs(5);
/// Below, no lease is renewed in that time; above, a KCL application would be misconfigured.
const WAIT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// What `millstream migrate kcl` is told.
#[derive(Debug, Args)]
pub(super) struct KclArgs {
    /// The lease table, which KCL names after the application. It is only read
    #[arg(long, value_name = "TABLE")]
    lease_table: Arc<str>,
    /// Whose stream the leases are of, where the config has several tables and the leases do not tell
    #[arg(long, value_name = "NAME", value_parser = source)]
    source: Option<SourceName>,
    /// The config file; without it, what MILLSTREAM_CONFIG names, or millstream.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another AWS endpoint than that of the environment's account, for all services
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Which workers of ours go on with it [default: the config's, or `default`]
    #[arg(long, value_name = "NAME", value_parser = consumer)]
    consumer: Option<Arc<str>>,
    /// From which time on shards are read whose leases are at LATEST or AT_TIMESTAMP, in RFC 3339: 2025-06-15T15:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<u64>,
    /// Goes on where shards were not read to their end and the stream has them no more; a gap is recorded for each
    #[arg(long)]
    accept_gaps: bool,
    /// For how long nothing in the lease table may move, 1s to 10m: more than a third of the application's failoverTimeMillis
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = wait)]
    wait: Duration,
    /// Tells what would be written, and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn run(args: KclArgs) -> Result<ExitCode, Failure> {
    let named = || std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
    let path = args.config.clone().or_else(named).unwrap_or_else(|| CONFIG_FILE.into());
    let config = wiring::load(&path).map_err(|error| Failure::Wrong(error.to_string()))?;
    check(&config, args.source.as_ref(), &path.display().to_string())?;
    let aws = Aws::connect(args.endpoint.as_deref()).await;
    let consumer = args.consumer.clone().unwrap_or_else(|| config.poller.consumer.clone());
    let takeover = Takeover::new(&config, &aws, consumer.clone(), Arc::new(SystemClock));
    let mut sources = poll::streams(&config, &aws, PATIENCE).await;
    sources.retain(|found| args.source.as_ref().is_none_or(|source| found.source == *source));
    let plan = plan(&takeover, &args, &sources).await?;
    if !args.json {
        print(&page::page(&plan, &args.lease_table, args.wait, &consumer))?;
    }
    let refused = !plan.refusals.is_empty();
    let written = match refused || args.dry_run {
        true => Ok(false),
        false => takeover.write(&plan).await.map(|()| true),
    };
    if args.json {
        print(&format!("{}\n", object(&plan, &args, &consumer, matches!(written, Ok(true)))))?;
    }
    if refused {
        let refusals: Vec<String> = plan.refusals.iter().map(ToString::to_string).collect();
        return Err(Failure::Failed(format!("{}\nnothing is written", refusals.join("\nerror: "))));
    }
    if written.map_err(unfinished)? {
        if !args.json {
            print(&page::written(&consumer))?;
        }
    } else if !args.json {
        print("nothing is written: --dry-run\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn plan(takeover: &Takeover, args: &KclArgs, sources: &[TableStream]) -> Result<Plan, Failure> {
    let order = Order {
        lease_table: args.lease_table.clone(),
        wait: args.wait,
        since: args.since,
        accepts_gaps: args.accept_gaps,
    };
    let pause = async {
        let (table, wait) = (&args.lease_table, duration::text(args.wait));
        complain(&format!("looks for {wait} whether anything in lease table {table} moves"));
        tokio::time::sleep(args.wait).await;
    };
    takeover.plan(&order, sources, pause).await.map_err(|fault| Failure::Failed(fault.to_string()))
}

/// What was written stays, and is no harm: the same call completes it.
fn unfinished(fault: Fault) -> Failure {
    Failure::Failed(format!("{fault}\nnot all is written: start this again before any worker of ours"))
}

fn object(plan: &Plan, args: &KclArgs, consumer: &str, written: bool) -> Value {
    let mut object = json!(plan);
    object["leaseTable"] = json!(args.lease_table);
    object["consumer"] = json!(consumer);
    object["dryRun"] = json!(args.dry_run);
    object["written"] = json!(written);
    object["refusals"] = plan.refusals.iter().map(ToString::to_string).collect();
    object
}

/// Leases are of streams, and only tables have some.
fn check(config: &Config, source: Option<&SourceName>, file: &str) -> Result<(), Failure> {
    let is_table = |kind: &SourceKind| matches!(kind, SourceKind::Table(_));
    let Some(name) = source else {
        return match config.sources.iter().any(|source| is_table(&source.kind)) {
            true => Ok(()),
            false => Err(Failure::Wrong(format!("{file}: no source is a table: no lease can be of it"))),
        };
    };
    match config.sources.iter().find(|source| source.name == *name) {
        None => Err(Failure::Wrong(format!("--source {name}: {file} has no such source"))),
        Some(source) if !is_table(&source.kind) => {
            Err(Failure::Wrong(format!("--source {name}: it is a {}, and has no stream", source.kind.word())))
        }
        Some(_) => Ok(()),
    }
}

fn source(text: &str) -> Result<SourceName, String> {
    SourceName::new(text).map_err(|error| error.to_string())
}

fn wait(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).ok_or("write a whole number and ms, s, m or h: 30s")?;
    match WAIT.contains(&time) {
        true => Ok(time),
        false => Err(format!("use {} to {}", duration::text(*WAIT.start()), duration::text(*WAIT.end()))),
    }
}

fn since(text: &str) -> Result<u64, String> {
    let at = moment::parse(text).ok_or("write it as 2025-06-15T15:00:00Z")?;
    match at <= SystemClock.unix_seconds() {
        true => Ok(at),
        false => Err("it has not come yet: what changes until then would not be read".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_has_limits() {
        assert_eq!(wait("30s"), Ok(Duration::from_secs(30)));
        for wrong in ["999ms", "11m", "30", "soon"] {
            assert!(wait(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_has_passed() {
        assert_eq!(since("2025-06-15T17:06:40+02:00"), Ok(1_750_000_000));
        for wrong in ["9999-01-01T00:00:00Z", "latest", "2025-06-15"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
