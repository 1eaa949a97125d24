//! Mends: shows what the dead letters say. Pure data that prints itself; the letters come from the processor's stores.

/// One letter, with the old and the new image side by side.
pub mod show;
/// Letters grouped by what went wrong.
pub mod summary;

/// What is the same in two error messages.
mod message;
/// Values as a person reads them, or hidden.
mod value;
