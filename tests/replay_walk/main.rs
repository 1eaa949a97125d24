//! The walks of `demo/REPLAY*.md`, their commands run as they stand there against the real binary.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod careful;
mod document;
mod lacking;
mod queue;
mod table;
mod terminal;
