//! Why the demo could not be carried through.

use std::io;

use aws_sdk_dynamodb::error::BuildError;
use millstream_processor::outcome::Fault;

/// A failure of the demo itself, in words for the person who started it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// What went wrong.
    #[error("{0}")]
    Said(String),
    /// Nobody reads what is printed any more, as after `| head`.
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl DemoError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::Said(text.into())
    }
}

impl From<Fault> for DemoError {
    fn from(fault: Fault) -> Self {
        Self::Said(fault.to_string())
    }
}

impl From<BuildError> for DemoError {
    fn from(error: BuildError) -> Self {
        Self::Said(error.to_string())
    }
}
