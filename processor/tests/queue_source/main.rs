//! Queues as the poller reads them: against an SQS in the process, whose time is the test's, and against ministack's.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails has to fail its test")]

mod delivery;
mod faults;
mod lag;
mod ministack;
mod order;
mod sight;
mod stop;
mod world;
