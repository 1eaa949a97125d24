//! What is right but may surprise.

use super::Config;

/// Something that is right but may surprise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The line of the file, from 1.
    pub line: usize,
    /// What it is about: `projection.orders`.
    pub subject: String,
    /// What may surprise.
    pub text: String,
    /// What to do about it.
    pub advice: String,
}

/// All that may surprise in a config, in the order of the file.
pub fn lint(_config: &Config) -> Vec<Warning> {
    Vec::new()
}
