//! Replays over the real protocol: letters of a real pipeline, mended, planned and applied against an embedded DynamoDB.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails has to fail its test")]

mod age;
mod apply;
mod bucket;
mod crashes;
mod folds;
mod held;
mod import;
mod letter_queue;
mod mend;
mod order;
mod plan;
mod queue;
mod redact;
mod unlisted;
mod world;
