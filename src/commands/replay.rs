//! `millstream replay`: what the dead letters say. Exit codes: 0 done, 1 failed, 2 wrong usage or config.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use millstream_processor::clock::SystemClock;
use millstream_processor::letters::LetterStore;
use millstream_processor::outcome::Fault;
use millstream_processor::wiring;

use self::list::ListArgs;
use self::show::ShowArgs;

mod list;
mod show;

/// Looks into the dead letters: what could not be written, and why.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The config file; without it, what MILLSTREAM_CONFIG names, or millstream.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another DynamoDB than that of the environment's AWS account
    #[arg(long, global = true, value_name = "URL")]
    endpoint: Option<String>,
    #[command(subcommand)]
    command: ReplayCommand,
}

#[derive(Debug, Subcommand)]
enum ReplayCommand {
    /// Lists the letters, grouped by what went wrong
    List(ListArgs),
    /// Shows one letter: the fault, the attempts, the old image beside the new one
    Show(ShowArgs),
}

/// Runs the command.
pub(crate) async fn run(args: ReplayArgs) -> ExitCode {
    let mut out = BufWriter::new(io::stdout());
    let done = match open(&args).await {
        Ok((store, known)) => execute(&args.command, &*store, &known, &mut out).await,
        Err(failure) => Err(failure),
    };
    // What was found is worth printing even when the rest failed.
    let done = done.and(out.flush().map_err(Failure::from));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Failed(what)) => told(&what, 1),
        Err(Failure::Usage(what)) => told(&what, 2),
    }
}

fn told(what: &str, code: u8) -> ExitCode {
    eprintln!("error: {what}");
    ExitCode::from(code)
}

async fn open(args: &ReplayArgs) -> Result<(Arc<dyn LetterStore>, Known), Failure> {
    let named = || std::env::var_os(wiring::CONFIG_VARIABLE).map(PathBuf::from);
    let path = args.config.clone().or_else(named).unwrap_or_else(|| wiring::CONFIG_FILE.into());
    let config = wiring::load(&path).map_err(|error| Failure::Usage(error.to_string()))?;
    let known = Known {
        projections: config.projections.iter().map(|projection| projection.name.to_string()).collect(),
        sources: config.sources.iter().map(|source| source.name.to_string()).collect(),
    };
    let store = wiring::open_letters(&config, args.endpoint.as_deref(), Arc::new(SystemClock)).await;
    Ok((store, known))
}

async fn execute(
    command: &ReplayCommand,
    store: &dyn LetterStore,
    known: &Known,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    match command {
        ReplayCommand::List(args) => list::run(args, store, known, out).await,
        ReplayCommand::Show(args) => show::run(args, store, out).await,
    }
}

/// The names in the config.
#[derive(Debug, Default)]
struct Known {
    projections: Vec<String>,
    sources: Vec<String>,
}

/// Why the command did not do what it was asked.
#[derive(Debug)]
enum Failure {
    /// Something did not work.
    Failed(String),
    /// The command or the config is wrong.
    Usage(String),
    /// Nobody reads any more, as after `| head`.
    Closed,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault.causes.join(": "))
    }
}

/// Prints something as JSON, on one line or on many.
fn print_json(
    value: &impl serde::Serialize,
    pretty: bool,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let written = match pretty {
        true => serde_json::to_writer_pretty(&mut *out, value),
        false => serde_json::to_writer(&mut *out, value),
    };
    written.map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

/// Words in backticks, separated by commas.
fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
