//! Moves changes: decodes them from a source, routes them through projections into lanes, applies them, settles what failed and reports.
//!
//! The modules, in the order of the flow:

/// Where changes come from, decoded once into [`millstream_projections::Change`].
pub mod source;
/// Which projections a change concerns.
pub mod route;
/// Effects of one batch, grouped by what they write to.
pub mod lanes;
/// Performs the effects of all lanes, side by side, with retries.
pub mod apply;
/// Events of one batch, published in the order of their keys.
pub mod publish;
/// What performs a write: DynamoDB tables and SNS topics.
pub mod sink;
/// Our own table of tombstones.
pub mod ledger;
/// Gives a fault its verdict: a letter, or unfinished.
pub mod settle;
/// Faults, and the one table from fault to verdict.
pub mod outcome;
/// Waiting between attempts: exponential backoff with full jitter.
pub mod retry;
/// Dead letters and where they are kept.
pub mod letters;
/// What became of a batch, and what the host may forget of it.
pub mod report;
/// The pipeline: all of the above, once around.
pub mod pipeline;
/// The numbers of a batch for the `metrics` facade.
mod meter;
/// Time and its limits, injected.
pub mod clock;
/// Reads the config file and makes clients, sinks and stores of it.
pub mod wiring;
/// The tables of our own, made where they are missing.
pub mod setup;
/// Who runs the pipeline: the Lambda, and a plain reader of one stream.
pub mod host;
/// Logs: JSON in Lambda, human on a terminal.
pub mod logs;

pub use millstream_projections as projections;
