//! SNS topics as a sink.

/// Sends requests and judges the answers, entry by entry.
pub mod client;
/// The entries of a PublishBatch, made without I/O.
pub mod request;

pub use client::SnsSink;
