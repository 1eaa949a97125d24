//! What a change means: pure functions from DynamoDB changes to the effects they ought to have.
//!
//! No I/O, no AWS SDK, no clock and no environment in here. The modules, in the order of the flow:

/// One stream record, decoded.
pub mod change;
/// The `where` of a projection: a CEL expression over a change.
pub mod condition;
/// `millstream.toml`: raw, validated, built.
pub mod config;
/// Exact decimal numbers of any size.
pub mod decimal;
/// Writes that ought to happen, as data.
pub mod effect;
/// The CloudEvents form in which `emit` tells other services of a change.
pub mod event;
/// What an event source mapping can leave out by itself.
pub mod filter;
/// What a source item contributes to rows that it shares with others: totals, and lookup rows.
pub mod fold;
/// An item before or after a change, decoded only as far as a projection reads it.
pub mod image;
/// Items and attribute values, and one canonical byte form for keys.
pub mod item;
/// The built-in kinds: `replica`, `copy`, `aggregate`, `index` and `emit`.
pub mod kinds;
/// Names of sources and projections, as closed types.
pub mod name;
/// Paths into an item: `customer.name`, `lines[0].sku`, `'odd.name'`.
pub mod path;
/// The contract of a projection, and why a record can never be projected.
pub mod projection;
/// Values made from a change: `"{path}"` and `"COMPANY#{companyId}"`.
pub mod template;
/// What orders the changes of one source item, and the guard stored beside what was written.
pub mod version;

pub use change::{Change, ChangeKind};
pub use effect::{Effect, Effects};
pub use image::Image;
pub use item::{Item, Value};
pub use name::{ProjectionName, SourceName};
pub use projection::{Projection, Reject};
pub use version::{Guard, KeyDigest, Version};
