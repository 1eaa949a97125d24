//! Who runs the pipeline. A host only reads, and reports.

/// The Lambda behind an event source mapping, a queue or a topic.
pub mod lambda;
/// A plain reader of one stream, for one process.
pub mod reader;
/// The `main` of a Lambda function.
pub mod runtime;

/// Why a function cannot start, told to Lambda.
mod init_error;
