//! `millstream replay`: what the dead letters say, and how they are mended. Exit codes: 0 done, 1 failed, 2 wrong usage or config.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use millstream_processor::letters::LetterStore;
use millstream_processor::outcome::Fault;
use millstream_replay::desk::Desk;

use crate::output::complain;

use self::apply::ApplyArgs;
use self::discard::DiscardArgs;
use self::edit::EditArgs;
use self::export::ExportArgs;
use self::import::ImportArgs;
use self::list::ListArgs;
use self::log::LogArgs;
use self::plan::PlanArgs;
use self::show::ShowArgs;

mod apply;
mod ask;
mod discard;
mod edit;
mod export;
mod filter;
mod import;
mod list;
mod log;
mod plan;
mod show;
mod wire;

/// What is said where no letter was found.
const NO_LETTERS: &str = "no letters";

/// Looks into the dead letters, and replays them: what could not be written, and why.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The config file; without it, what MILLSTREAM_CONFIG names, or millstream.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another AWS endpoint than that of the environment's account, for all services
    #[arg(long, global = true, value_name = "URL")]
    endpoint: Option<String>,
    /// Who you are, for the audit trail, beside your name on this machine
    #[arg(long = "as", global = true, value_name = "TEXT")]
    identity: Option<String>,
    #[command(subcommand)]
    command: Box<ReplayCommand>,
}

#[derive(Debug, Subcommand)]
enum ReplayCommand {
    /// Lists the letters, grouped by what went wrong
    List(ListArgs),
    /// Shows one letter: the fault, the attempts, the old image beside the new one, and what would be written now
    Show(ShowArgs),
    /// Tells what a replay would do now, letter by letter, without a write
    Plan(PlanArgs),
    /// Replays letters: through today's config, under the same guards, in the order of their keys
    Apply(ApplyArgs),
    /// Decides that letters shall not be done; they are kept, marked
    Discard(DiscardArgs),
    /// Prints letters with their records, one JSON object a line
    Export(ExportArgs),
    /// Opens the record of a letter in $EDITOR; the original is kept
    Edit(EditArgs),
    /// Makes letters of what an event source mapping gave up on
    Import(ImportArgs),
    /// Prints what operators did
    Log(LogArgs),
}

impl ReplayCommand {
    /// Whether it needs more than the letters: today's pipeline, and the tables it writes to. `keeps_order`: a projection
    /// of the config keeps the order of its keys.
    fn needs_desk(&self, keeps_order: bool) -> bool {
        match self {
            Self::List(args) => keeps_order && !args.prometheus,
            Self::Export(_) | Self::Log(_) => false,
            Self::Show(_)
            | Self::Plan(_)
            | Self::Apply(_)
            | Self::Discard(_)
            | Self::Edit(_)
            | Self::Import(_) => true,
        }
    }
}

/// Runs the command.
pub(crate) async fn run(args: ReplayArgs) -> ExitCode {
    let mut out = BufWriter::new(io::stdout());
    let done = match wire::open(&args).await {
        Ok(office) => {
            let done = execute(&args.command, &office, &mut out).await;
            // A queue gives back at once what this command looked at, so that the next one sees it.
            office.store.release().await;
            done
        }
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
    complain(&format!("error: {what}"));
    ExitCode::from(code)
}

async fn execute(
    command: &ReplayCommand,
    office: &Office,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    match command {
        ReplayCommand::List(args) => list::run(args, office, out).await,
        ReplayCommand::Show(args) => show::run(args, office, out).await,
        ReplayCommand::Plan(args) => plan::run(args, office, out).await,
        ReplayCommand::Apply(args) => apply::run(args, office, out).await,
        ReplayCommand::Discard(args) => discard::run(args, office, out).await,
        ReplayCommand::Export(args) => export::run(args, office, out).await,
        ReplayCommand::Edit(args) => edit::run(args, office, out).await,
        ReplayCommand::Import(args) => import::run(args, office, out).await,
        ReplayCommand::Log(args) => log::run(args, &*office.store, out).await,
    }
}

/// What the commands work with.
struct Office {
    store: Arc<dyn LetterStore>,
    known: Known,
    /// Where the command needs it.
    desk: Option<wire::Wired>,
}

impl Office {
    fn desk(&self) -> Result<&Desk, Failure> {
        Ok(&self.wired()?.desk)
    }

    fn wired(&self) -> Result<&wire::Wired, Failure> {
        self.desk.as_ref().ok_or_else(|| Failure::Failed("there is no pipeline to work with".to_owned()))
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

/// Tells of something that does not end the command.
fn warn(what: impl std::fmt::Display) {
    complain(&format!("warning: {what}"));
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

/// A number with its noun.
fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests;
