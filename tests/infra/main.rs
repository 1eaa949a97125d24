//! What `infra/` has, judged by tools that nobody here wrote, and deployed as the README says.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod deploy;
mod function;
mod images;
mod numbers;
mod runbook;
mod stages;
mod template;
mod told;
mod watching;
mod workbench;
#[expect(dead_code, reason = "the tests of `run` use the rest")]
#[path = "../world/mod.rs"]
mod world;
