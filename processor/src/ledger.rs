//! Our own table: what each source item last did to each target. Here its tombstones; keyed so that no partition is hot.

use std::sync::Arc;
use std::time::Duration;

use millstream_projections::effect::Target;
use millstream_projections::{Guard, ProjectionName};

use crate::setup::table::Definition;

/// The ledger's only key attribute, of type S.
pub const ID: &str = "id";
/// The version up to which a target is known to be removed.
pub const VERSION: &str = "version";
/// When DynamoDB's time to live may drop the row, in seconds since 1970.
pub const EXPIRES: &str = "expires";

/// The ledger's table.
pub(crate) const DEFINITION: Definition =
    Definition { key: (ID, None), indexes: &[], numbers: &[], expires: EXPIRES };

/// Where tombstones are kept, and for how long.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// The table.
    pub table: Arc<str>,
    /// How long a tombstone stands. It has to outlive the oldest letter, or a replay could bring a removed row back.
    pub keep: Duration,
}

/// The ledger key of a removal whose rows went with it: one for each projection and source item.
pub fn drop_id(projection: &ProjectionName, guard: &Guard) -> String {
    format!("drop/{projection}/{}", guard.digest)
}

/// The ledger key of a tombstone: one for each projection, source item and target row.
pub fn tombstone_id(projection: &ProjectionName, guard: &Guard, row: &Target) -> String {
    format!("{projection}/{}/{}", guard.digest, row.digest())
}
