//! Mends: shows what the dead letters say, plans and applies replays. It reaches AWS through the processor's traits only.

/// Takes letters up again, in the order of their keys.
pub mod apply;
/// What every command works with: the pipeline, the letters, and who is at the desk.
pub mod desk;
/// Decides that letters shall not be done.
pub mod discard;
/// Another record in the place of a letter's.
pub mod edit;
/// Letters as JSON lines.
pub mod export;
/// The letters as numbers for a monitoring system.
pub mod gauges;
/// From what an event source mapping gave up on to letters.
pub mod import;
/// What a replay would do now.
pub mod plan;
/// One letter, with the old and the new image side by side.
pub mod show;
/// Letters grouped by what went wrong.
pub mod summary;

/// Keys that wait behind letters, and when they need not any more.
mod keys;
/// What is the same in two error messages.
mod message;
/// Values as a person reads them, or hidden.
mod value;
