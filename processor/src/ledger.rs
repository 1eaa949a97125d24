//! Our own table: what each source item last did to each target. Its tombstones, and what each item contributes to the
//! rows that it shares with others; keyed so that no partition is hot.

use std::sync::Arc;
use std::time::Duration;

use millstream_projections::config::State;
use millstream_projections::effect::Target;
use millstream_projections::fold::Contribution;
use millstream_projections::{Guard, Item, KeyDigest, ProjectionName, Value, Version};

use crate::outcome::{Fault, FaultKind};
use crate::setup::table::Definition;
use crate::sink::dynamodb::request::guard_attribute;
use crate::sink::fold::Contributed;

/// The ledger's only key attribute, of type S.
pub const ID: &str = "id";
/// The version up to which a target is known to be removed.
pub const VERSION: &str = "version";
/// What a source item contributes, as [`Contribution::to_value`] gives it.
pub const SHARES: &str = "shares";
/// The key of that source item.
pub const SOURCE_KEY: &str = "key";
/// When DynamoDB's time to live may drop the row, in seconds since 1970.
pub const EXPIRES: &str = "expires";

/// The ledger's table.
pub(crate) const DEFINITION: Definition =
    Definition { key: (ID, None), indexes: &[], numbers: &[], binaries: &[], expires: Some(EXPIRES) };

/// Where tombstones are kept, and for how long.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// The table.
    pub table: Arc<str>,
    /// The table of values, which is there where a projection keeps a least, a greatest or a number of different ones.
    pub values: Arc<str>,
    /// How long a tombstone stands. It has to outlive the oldest letter, or a replay could bring a removed row back.
    pub keep: Duration,
}

impl Ledger {
    /// The ledger of a config.
    pub fn of(state: &State) -> Self {
        Self {
            table: state.ledger_table().into(),
            values: state.values_table().into(),
            keep: state.tombstones,
        }
    }
}

/// The ledger key of a removal whose rows went with it: one for each projection and source item.
pub fn drop_id(projection: &ProjectionName, guard: &Guard) -> String {
    format!("drop/{projection}/{}", guard.digest)
}

/// The ledger key of a tombstone: one for each projection, source item and target row.
pub fn tombstone_id(projection: &ProjectionName, guard: &Guard, row: &Target) -> String {
    format!("{projection}/{}/{}", guard.digest, row.digest())
}

/// The ledger key of what a source item contributes to the rows of a projection.
pub fn fold_id(projection: &ProjectionName, digest: KeyDigest) -> String {
    format!("fold/{projection}/{digest}")
}

/// The partition key of [`VALUES`] of one column of a totals row: `<projection>/<digest of the row>/<digest of the column>`.
pub(crate) fn values_column(projection: &ProjectionName, row: &[u8], column: &str) -> String {
    format!("{projection}/{}/{}", KeyDigest::of_bytes(row), KeyDigest::of_bytes(column.as_bytes()))
}

/// Reads what a ledger row says that a source item contributes; nothing if there is no row.
pub(crate) fn contributed(row: Option<&Item>) -> Result<Contributed, Fault> {
    let Some(row) = row else { return Ok(Contributed::default()) };
    let version = match row.get(VERSION) {
        Some(Value::S(version)) => Some(Version::from_text(version)),
        _ => None,
    };
    let contribution = match row.get(SHARES) {
        Some(shares) => Contribution::from_value(shares).map_err(|damaged| {
            let id = match row.get(ID) {
                Some(Value::S(id)) => id.as_str(),
                _ => "?",
            };
            Fault::new(FaultKind::Misconfigured, format!("row `{id}` of the ledger is damaged: {damaged}"))
        })?,
        None => Contribution::default(),
    };
    let source_key = match row.get(SOURCE_KEY) {
        Some(Value::M(key)) => Some(key.clone().into()),
        _ => None,
    };
    Ok(Contributed { version, contribution, source_key })
}

/// The revision of a totals row's statistics: it stands where other rows carry their guard.
pub(crate) fn revision(projection: &ProjectionName, row: &Item) -> Option<String> {
    match row.get(guard_attribute(projection).as_str()) {
        Some(Value::S(revision)) => Some(revision.clone()),
        _ => None,
    }
}

/// The table that counts how many items have each value of a column of a totals row. Made only where a projection keeps
/// a least, a greatest or a number of different values.
pub(crate) const VALUES: Definition =
    Definition { key: (COLUMN, Some(ORDER)), indexes: &[], numbers: &[], binaries: &[ORDER], expires: None };
/// Its partition key: the column of one totals row.
pub(crate) const COLUMN: &str = "column";
/// Its sort key, of type B: bytes that compare as the values do.
pub(crate) const ORDER: &str = "order";
/// The value itself.
pub(crate) const VALUE: &str = "value";
/// How many items have it.
pub(crate) const ITEMS: &str = "items";
