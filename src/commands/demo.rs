//! `millstream demo`: two services, a random workload, bad deliveries, and a comparison at the end.

use std::process::ExitCode;

use clap::Args;

use super::Failure;
use crate::demo::{self, DemoError, Settings};

/// What `millstream demo` is told.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many changes the services make.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    changes: u32,
    /// Where chance starts: the same seed gives the same run.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How many of the changes can never be projected.
    #[arg(long, value_name = "P", default_value_t = 1)]
    poison: u32,
    /// Prints one JSON object and nothing else on standard output.
    #[arg(long)]
    json: bool,
    /// Stays up after the comparison and follows what you write, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Runs on a DynamoDB-compatible endpoint, or on AWS itself with `aws`, instead of the DynamoDB inside.
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    endpoint: Option<String>,
    /// What the names of the tables start with; they are removed at the end; without it `millstream-demo-<seed>-`, at an endpoint
    #[arg(long, value_name = "TEXT", value_parser = prefix)]
    prefix: Option<String>,
    /// Runs with real SNS and SQS at this endpoint, or on AWS itself with `aws`, instead of a topic inside.
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    sns_endpoint: Option<String>,
    /// Keeps the letters in an SQS queue there, and not in a table.
    #[arg(long, requires = "sns_endpoint")]
    letters_queue: bool,
    /// Gives up on the last orders, as an event source mapping does whose function fails: what is left of them is an
    /// on-failure document in an SQS queue there. The rows are compared once more at the end.
    #[arg(long, requires = "sns_endpoint", requires = "keep", conflicts_with = "endpoint")]
    give_up: bool,
}

/// Runs the demo; its verdict is the exit code.
pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode, Failure> {
    if args.poison > args.changes {
        let (poison, changes) = (args.poison, args.changes);
        return Err(Failure::Wrong(format!(
            "--poison {poison} is more than all {changes} changes: use --poison {changes} or less"
        )));
    }
    let settings = Settings {
        changes: args.changes as usize,
        seed: args.seed,
        poison: args.poison as usize,
        json: args.json,
        keep: args.keep,
        endpoint: args.endpoint,
        prefix: args.prefix,
        sns_endpoint: args.sns_endpoint,
        letters_queue: args.letters_queue,
        give_up: args.give_up,
    };
    match demo::run(&settings).await {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        Err(DemoError::Said(text)) => Err(Failure::Failed(text)),
        Err(DemoError::Output(error)) => Err(Failure::Output(error)),
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    let known = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) || text == demo::AWS;
    known
        .then(|| text.to_owned())
        .ok_or_else(|| "write http://host:port, https://host, or aws for AWS itself".to_owned())
}

fn prefix(text: &str) -> Result<String, String> {
    let valid =
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) && text.len() <= 100;
    valid.then(|| text.to_owned()).ok_or_else(|| {
        "it begins the names of tables: use up to 100 of a-z, A-Z, 0-9, `-`, `_` and `.`".to_owned()
    })
}
