//! What a change means: pure functions from DynamoDB changes to the effects they ought to have.
//!
//! No I/O, no AWS SDK, no clock and no environment in here. The modules, in the order of the flow:

/// Names of sources and projections, as closed types.
pub mod name;
/// Items and attribute values, and one canonical byte form for keys.
pub mod item;
/// What orders the changes of one source item, and the guard stored beside what was written.
pub mod version;
/// An item before or after a change, decoded only as far as a projection reads it.
pub mod image;
/// One stream record, decoded.
pub mod change;
/// Paths into an item: `customer.name`, `lines[0].sku`, `'odd.name'`.
pub mod path;
/// Values made from a change: `"{path}"` and `"COMPANY#{companyId}"`.
pub mod template;
/// The `where` of a projection: a CEL expression over a change.
pub mod condition;
/// Writes that ought to happen, as data.
pub mod effect;
/// The contract of a projection, and why a record can never be projected.
pub mod projection;
/// The CloudEvents form in which `emit` tells other services of a change.
pub mod event;
/// The built-in kinds: `replica`, `copy` and `emit`.
pub mod kinds;
/// `millstream.toml`: raw, validated, built.
pub mod config;

pub use change::{Change, ChangeKind};
pub use effect::{Effect, Effects};
pub use image::Image;
pub use item::{Item, Value};
pub use name::{ProjectionName, SourceName};
pub use projection::{Projection, Reject};
pub use version::{Guard, KeyDigest, Version};
