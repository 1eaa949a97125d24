//! `millstream migrate`: takes over from another library. Exit codes: 0 done, 1 failed or refused, 2 wrong usage or config.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::kcl::KclArgs;
use super::Failure;

mod kcl;
mod page;

/// What `millstream migrate` is told.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// From the Kinesis Client Library (KCL 1, 2 or 3): goes on where its lease table says that it stopped
    Kcl(KclArgs),
}

/// Runs the command.
pub(crate) async fn run(args: MigrateArgs) -> Result<ExitCode, Failure> {
    match args.from {
        From::Kcl(args) => kcl::run(args).await,
    }
}
