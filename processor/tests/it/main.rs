//! The pipeline from the event of a Lambda to rows, events and report, over the real wire protocols.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod copy;
mod delivery;
mod emit;
mod faults;
mod fold;
mod fold_hardening;
mod fold_model;
mod hardening;
mod holds;
mod lookup;
mod model;
mod poison;
mod replica;
mod values;
mod worker;
mod world;
