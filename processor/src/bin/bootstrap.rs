//! The Lambda function: one binary for stream, queue and topic events.

use std::process::ExitCode;

fn main() -> ExitCode {
    millstream_processor::host::runtime::main(|_| Ok(()))
}
