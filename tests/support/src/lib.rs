//! The services that Millstream's tests run against, and the faults they can be given.
//!
//! What a test meets is the real wire protocol: the AWS SDK's own clients talk to doubles that sit behind
//! their HTTP connector (`embedded`, `sns`, `sqs`), to a Lambda Runtime API on loopback (`runtime_api`), or to
//! external programs (`emulators`). Nothing here sleeps to synchronise; time-outs are guards only.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test double that is used wrongly has to fail its test at once"
)]

// What every double shares: one connector, and the script of what goes wrong on it.
mod arithmetic;
mod connector;
pub mod faults;
pub mod served;

// Who may do what, judged on the same connector.
pub mod iam;

// DynamoDB and its streams in the process.
pub mod embedded;
mod engine;
mod lineage;
mod names;

// A stream whose shards and clock are the test's.
pub mod streams;

// SNS and SQS in the process.
pub mod sns;
pub mod sqs;

// Lambda: its runtime API for a real process, its event, and the mapping from a stream to it.
mod batch;
pub mod event_source_mapping;
pub mod lambda_event;
pub mod runtime_api;
mod runtime_desk;
mod stream_reader;

// External programs, installed below the target folder.
pub mod emulators;
mod install;
pub mod tools;
