//! Logs: JSON in Lambda, human on a terminal. No item values above DEBUG: keys only.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// The environment variable that sets the level, as `tracing` reads it: `info`, `millstream_processor=debug`.
pub const LEVEL_VARIABLE: &str = "MILLSTREAM_LOG";

/// One JSON object a line on standard output, which Lambda sends to CloudWatch.
pub fn json() {
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter("info"))
        .try_init();
}

/// Lines for people on standard error, so that output stays clean in a pipe. `default` is the level where the
/// environment sets none, as `tracing` reads it.
pub fn human(default: &str) {
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_span_events(FmtSpan::NONE)
        .with_target(false)
        .with_env_filter(filter(default))
        .try_init();
}

fn filter(default: &str) -> EnvFilter {
    EnvFilter::try_from_env(LEVEL_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default))
}
