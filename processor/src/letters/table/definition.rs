//! The letters' table: its keys, its indexes and its time to live.

use super::rows::{EXPIRES, FIRST_AT, ID, PART};
use crate::setup::table::Definition;

/// Heads of one projection, oldest first.
pub(super) const BY_PROJECTION: &str = "by-projection";
/// Heads of one source item, in the order of its changes.
pub(super) const BY_KEY: &str = "by-key";
/// Heads in one state, oldest first.
pub(super) const BY_STATE: &str = "by-state";

/// Only heads have the attributes of the indexes: chunks of records and the audit trail are in none of them.
pub(crate) const DEFINITION: Definition = Definition {
    key: (ID, Some(PART)),
    indexes: &[
        (BY_PROJECTION, "projection", FIRST_AT),
        (BY_KEY, "digest", "version"),
        (BY_STATE, "state", FIRST_AT),
    ],
    numbers: &[PART, FIRST_AT],
    binaries: &[],
    expires: Some(EXPIRES),
};
