//! What a change means, from the smallest part to the whole: tests are data through one `check` function a module.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of tests that fails is a test that fails"
)]

mod condition;
mod config;
mod config_errors;
mod cost;
mod decimal;
mod event;
mod filter;
mod fold;
mod image;
mod kinds;
mod lint;
mod order;
mod path;
mod schema;
mod support;
mod template;
mod version;
