//! The `millstream` command: parses, wires, prints. No logic of its own.

/// One module a subcommand.
mod commands;
/// What `millstream demo` does.
#[cfg(feature = "demo")]
mod demo;
/// How a config is deployed.
mod deployment;
/// Printing that survives a closed pipe.
mod output;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millstream_processor::logs;

use commands::{Failure, block_on};

/// Keeps read models, and copies in other services, equal to their DynamoDB source tables.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows it at work: no AWS account, no Docker, no set-up
    #[cfg(feature = "demo")]
    Demo(commands::demo::DemoArgs),
    /// Says what a config means, what may surprise in it, and what its writes cost
    Check(commands::check::CheckArgs),
    /// Asks a poller on this host whether it lives, and ends with 0 or 1: for the health check of a container
    Health(commands::health::HealthArgs),
    /// Takes over from another library, so that nothing is missed and little is read twice
    Migrate(Box<commands::migrate::MigrateArgs>),
    /// Prints the IAM policy that each role needs for a config, and nothing more
    Policy(commands::policy::PolicyArgs),
    /// Looks into the dead letters: what could not be projected or written, and why
    Replay(commands::replay::ReplayArgs),
    /// Reads the streams of a config, beside any number of others: the poller
    Run(Box<commands::run::RunArgs>),
    /// Makes the tables that a config needs for itself, where they are missing
    Setup(commands::setup::SetupArgs),
    /// Tells who reads which shard, how far each is done and behind, and what waits in letters
    Status(commands::status::StatusArgs),
    /// Prints the event source mapping of each source, with the filter that a config allows
    Template(commands::template::TemplateArgs),
}

impl Command {
    /// What is worth a line on standard error where the environment does not say.
    fn log_level(&self) -> &'static str {
        match self {
            // The demo poisons records itself, and what the DynamoDB inside thinks of conditions that fail is no news.
            #[cfg(feature = "demo")]
            Self::Demo(_) => "error,dynoxide=off",
            // Which letters an import stores, and which fail again, it tells itself.
            Self::Replay(_) => "warn,millstream_processor::settle=error",
            // What a worker takes and hands over is what its log is for; what the SDK connects to is not.
            Self::Run(_) => "warn,millstream=info,millstream_processor=info",
            Self::Check(_)
            | Self::Health(_)
            | Self::Migrate(_)
            | Self::Policy(_)
            | Self::Setup(_)
            | Self::Status(_)
            | Self::Template(_) => "warn",
        }
    }

    /// Whether logs are for machines.
    fn has_json_logs(&self) -> bool {
        matches!(self, Self::Run(args) if args.has_json_logs())
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.has_json_logs() {
        true => logs::json(),
        false => logs::human(cli.command.log_level()),
    }
    match run(cli.command) {
        Ok(code) => code,
        Err(failure) => {
            if !failure.is_silent() {
                output::complain(&format!("error: {failure}"));
            }
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => block_on(commands::demo::run(args)),
        Command::Check(args) => Ok(commands::check::run(args)),
        Command::Health(args) => commands::health::run(&args),
        Command::Migrate(args) => block_on(commands::migrate::run(*args)),
        Command::Policy(args) => commands::policy::run(&args),
        Command::Replay(args) => block_on(async { Ok(commands::replay::run(args).await) }),
        Command::Run(args) => block_on(commands::run::run(*args)),
        Command::Setup(args) => block_on(commands::setup::run(args)),
        Command::Status(args) => block_on(commands::status::run(args)),
        Command::Template(args) => commands::template::run(&args),
    }
}
