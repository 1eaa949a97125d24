//! Taking over from the Kinesis Client Library: lease rows of every version over the real protocol, and the promise as a property.
#![expect(clippy::unwrap_used, reason = "a helper that fails has to fail its test")]

mod application;
mod model;
mod takeover;
