//! Moves changes: decodes them from a source, routes them through projections into lanes, applies them, settles what failed and reports.
//!
//! The modules, in the order of the flow:

/// Performs the effects of all lanes, side by side, with retries.
pub mod apply;
/// Time and its limits, injected.
pub mod clock;
/// What source items contribute to the rows that they share, in as few transactions as they fit into.
pub mod fold;
/// Keys whose changes wait behind a letter.
pub mod holds;
/// Who runs the pipeline: the Lambda, and a plain reader of one stream.
pub mod host;
/// Effects of one batch, grouped by what they write to.
pub mod lanes;
/// Our own table of tombstones.
pub mod ledger;
/// Dead letters and where they are kept.
pub mod letters;
/// Logs: JSON in Lambda, human on a terminal.
pub mod logs;
/// The numbers of a batch for the `metrics` facade.
mod meter;
/// What has to wait behind a letter of its key.
mod order;
/// Faults, and the one table from fault to verdict.
pub mod outcome;
/// What each role has to be allowed to do, for one config.
pub mod permissions;
/// The pipeline: all of the above, once around.
pub mod pipeline;
/// The standalone poller: reads streams on any number of hosts, which share the shards out.
pub mod poller;
/// Events of one batch, published in the order of their keys.
pub mod publish;
/// What became of a batch, and what the host may forget of it.
pub mod report;
/// Waiting between attempts: exponential backoff with full jitter.
pub mod retry;
/// Which projections a change concerns.
pub mod route;
/// Gives a fault its verdict: a letter, or unfinished.
pub mod settle;
/// The tables of our own, made where they are missing.
pub mod setup;
/// What performs a write: DynamoDB tables and SNS topics.
pub mod sink;
/// Where changes come from, decoded once into [`millstream_projections::Change`].
pub mod source;
/// Requests to a queue of SQS.
mod sqs;
/// Reads the config file and makes clients, sinks and stores of it.
pub mod wiring;

pub use millstream_projections as projections;
