//! Who runs the pipeline. A host only reads, and reports.

/// What a poller answers to who watches it.
pub mod http;
/// The Lambda behind an event source mapping, a queue or a topic.
pub mod lambda;
/// A poller on this host.
pub mod poll;
/// A plain reader of one stream, for one process.
pub mod reader;
/// The `main` of a Lambda function.
pub mod runtime;
/// All that one process reads.
pub mod worker;

/// Why a function cannot start, told to Lambda.
mod init_error;
