//! DynamoDB tables as a sink: every write is conditional on the guard, so that it is safe to repeat.

/// Sends requests and judges the answers.
pub mod client;
/// What the ledger remembers of rows that went with their source item.
mod drops;
/// Folds: one transaction a commit, and the reads that statistics need.
mod fold;
/// The actions of a fold as DynamoDB's, made without I/O.
mod fold_request;
/// Reads rows as they stand.
mod read;
/// The conditions and updates of each write, made without I/O.
pub mod request;
/// What a table's primary key is made of, looked up once.
pub mod schema;
/// Writes that need the ledger: rows that appear, change hands or go.
mod transaction;

pub use client::DynamoDbSink;
