//! The pipeline from the event of a Lambda to rows, events and report, over the real wire protocols.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod copy;
mod delivery;
mod emit;
mod faults;
mod hardening;
mod holds;
mod model;
mod poison;
mod replica;
mod values;
mod world;
