//! The real `bootstrap` process: under the Runtime API, an event source mapping, AWS's own emulator, and ministack.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod deadline;
mod deployment;
mod emulator;
mod mapping;
mod messages;
mod ministack;
mod output;
mod startup;
