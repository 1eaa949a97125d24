//! One module a subcommand: it takes the arguments, wires, runs and prints.

use std::io;
use std::process::ExitCode;

/// What a config means.
pub(crate) mod check;

/// Whether a poller on this host lives.
pub(crate) mod health;

/// Takes over from another library.
pub(crate) mod migrate;
/// What each role has to be allowed to do.
pub(crate) mod policy;

/// What the dead letters say.
pub(crate) mod replay;

/// Reads the streams of a config.
pub(crate) mod run;

/// The tables of our own, made where they are missing.
pub(crate) mod setup;

/// Who reads what, and how far.
pub(crate) mod status;

/// What Lambda has to be told of each source.
pub(crate) mod template;

/// Two services against an embedded DynamoDB, and a proof at the end.
#[cfg(feature = "demo")]
pub(crate) mod demo;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It was asked wrongly: arguments or config.
    #[error("{0}")]
    Wrong(String),
    /// It was tried and did not work.
    #[error("{0}")]
    Failed(String),
    /// Its output could not be written.
    #[error("cannot print: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// 1 for what failed, 2 for what was asked wrongly; 0 if the reader only had seen enough.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Wrong(_) => ExitCode::from(2),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Failed(_) | Self::Output(_) => ExitCode::FAILURE,
        }
    }

    /// Whether there is anyone to tell.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Runs a command that waits for the network.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::Failed(format!("cannot start: {error}")))?.block_on(command)
}
