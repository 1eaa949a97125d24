//! What a fold asks of its sink: changes to ledger rows and to the rows that items share, all or none of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use millstream_projections::decimal::Decimal;
use millstream_projections::fold::Contribution;
use millstream_projections::item::{AttributeName, Key};
use millstream_projections::{Guard, Item, KeyDigest, ProjectionName, Value, Version};

use crate::outcome::Fault;

/// The most actions of one transaction (DynamoDB: 100).
pub const MAX_ACTIONS: usize = 100;
/// The most bytes of one transaction. DynamoDB allows 4 MB; the rest is for what it counts and we do not.
pub const MAX_BYTES: usize = 3 * 1024 * 1024;

/// Numbers by attribute.
pub type Numbers = BTreeMap<AttributeName, Decimal>;

/// What the numbers of a row were seen to be; none where it has no such attribute.
pub type Seen = BTreeMap<AttributeName, Option<Decimal>>;

/// On which condition numbers are added.
#[derive(Debug, Clone, PartialEq)]
pub enum Only {
    /// On none.
    Always,
    /// If an attribute is greater than a number.
    Above(AttributeName, Decimal),
    /// If the row still holds what was seen.
    Unchanged(Seen),
}

/// A row that source items share: of totals, or of a lookup.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedRow {
    /// The table.
    pub table: Arc<str>,
    /// The primary key.
    pub key: Key,
}

/// One action of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The ledger row of a source item.
    Ledger(LedgerMove),
    /// Numbers are added to a totals row, which is made if it is not there.
    Add {
        /// Which row.
        row: SharedRow,
        /// What is added.
        add: Numbers,
        /// On which condition.
        only: Only,
    },
    /// A totals row with its statistics, on the condition that nobody has changed these since they were read.
    Settle(Settle),
    /// A totals row that adds up nothing any more goes, on the condition that it still holds what was seen.
    DropEmpty {
        /// Which row.
        row: SharedRow,
        /// What it was seen to hold.
        seen: Seen,
        /// The revision of the row's statistics that was seen, where it has any.
        revision: Option<Revision>,
    },
    /// The condition that a row is not there.
    Absent {
        /// Which row.
        row: SharedRow,
    },
    /// A lookup row, on the condition that it is the source item's own, or not there.
    PutLookup {
        /// Which row.
        row: SharedRow,
        /// Its other attributes.
        item: Item,
        /// The guard that it carries.
        guard: Guard,
        /// Whether a row without a guard is taken over.
        adopt: bool,
    },
    /// A lookup row goes, on the condition that it is the source item's own, or not there.
    DropLookup {
        /// Which row.
        row: SharedRow,
        /// The source item.
        digest: KeyDigest,
        /// Whether a row without a guard goes as well, as it would be taken over.
        adopt: bool,
    },
    /// How many items have a value in a totals row, on the condition that as many have it as were seen.
    Value(ValueMove),
}

impl Action {
    /// The shared row that it is about.
    pub fn row(&self) -> Option<&SharedRow> {
        match self {
            Self::Add { row, .. }
            | Self::Absent { row }
            | Self::DropEmpty { row, .. }
            | Self::PutLookup { row, .. }
            | Self::DropLookup { row, .. } => Some(row),
            Self::Settle(settle) => Some(&settle.row),
            Self::Ledger(_) | Self::Value(_) => None,
        }
    }
}

/// What becomes of the ledger row of a source item.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerMove {
    /// The source item and the version of the change. The condition is that the row's version is older.
    pub guard: Guard,
    /// The source item's key.
    pub source_key: Item,
    /// What the row has to hold.
    pub seen: Contribution,
    /// What it holds from now on.
    pub next: Contribution,
    /// Whether that is all that the change asks for; else the row keeps its version, and the change is not done.
    pub done: bool,
}

/// By which change a row's statistics were last changed; none if they never were. No two changes of them give the same
/// revision, also where the row went and came again in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision(pub Option<String>);

/// See [`Action::Settle`].
#[derive(Debug, Clone, PartialEq)]
pub struct Settle {
    /// Which row.
    pub row: SharedRow,
    /// What is added.
    pub add: Numbers,
    /// Statistics as they are now; none if there is no value any more.
    pub statistics: BTreeMap<AttributeName, Option<Value>>,
    /// The revision that was seen.
    pub seen: Revision,
    /// The revision that it has now.
    pub next: Revision,
}

/// See [`Action::Value`].
#[derive(Debug, Clone, PartialEq)]
pub struct ValueMove {
    /// The column of a totals row.
    pub column: String,
    /// The value as a sort key.
    pub order: Vec<u8>,
    /// The value itself.
    pub value: Value,
    /// How many items had it: the condition.
    pub had: u64,
    /// How many items have it now; the row goes when none has.
    pub items: u64,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Commit {
    /// All of it is done.
    Done,
    /// None of it is. For each action whether it was to blame, in their order.
    Refused(Vec<Refusal>),
}

/// Whether an action was to blame for a transaction that was not done.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// No.
    Innocent,
    /// Its condition failed; the row as it stands, if there is one.
    Condition(Option<Item>),
    /// It can never be done.
    Rejected(Fault),
}

/// What the ledger knows of a source item in one projection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Contributed {
    /// Up to which version its changes are folded; none while its very first is not yet done.
    pub version: Option<Version>,
    /// What it contributes.
    pub contribution: Contribution,
    /// Its key, as far as it is known.
    pub source_key: Option<Item>,
}

/// How many items have one value in a totals row.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueCount {
    /// The value as a sort key.
    pub order: Vec<u8>,
    /// The value itself.
    pub value: Value,
    /// How many items have it.
    pub items: u64,
}

/// From which end the values of a column are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The least first.
    Least,
    /// The greatest first.
    Greatest,
}

/// Folds contributions.
///
/// `commit` does all of its actions, of which no two concern one row, or none. After an `Err` with a kind to retry nobody
/// knows whether it was done: the ledger moves decide when it is asked again, so every commit holds one for each source
/// item that it changes rows for. All reads are consistent.
pub trait FoldSink: Send + Sync {
    /// Performs at most [`MAX_ACTIONS`] actions of at most [`MAX_BYTES`].
    fn commit<'a>(
        &'a self,
        projection: &'a ProjectionName,
        actions: &'a [Action],
    ) -> BoxFuture<'a, Result<Commit, Fault>>;

    /// What the ledger knows of a source item; `None` if it never saw it, or has forgotten that it is gone.
    fn contributed<'a>(
        &'a self,
        projection: &'a ProjectionName,
        digest: KeyDigest,
    ) -> BoxFuture<'a, Result<Option<Contributed>, Fault>>;

    /// A totals row as it stands.
    fn totals<'a>(&'a self, row: &'a SharedRow) -> BoxFuture<'a, Result<Option<Item>, Fault>>;

    /// How many items have each of these values of a column; values that no item has are left out.
    fn counts<'a>(
        &'a self,
        column: &'a str,
        orders: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<ValueCount>, Fault>>;

    /// Some values of a column, in their order, after a value if one is given. Fewer than were asked for: there are no more.
    fn values<'a>(
        &'a self,
        column: &'a str,
        from: From,
        after: Option<&'a [u8]>,
    ) -> BoxFuture<'a, Result<Vec<ValueCount>, Fault>>;
}

/// How many values [`FoldSink::values`] reads at once.
pub const VALUES_PAGE: usize = 100;

impl SharedRow {
    /// The row of a share.
    pub fn of(share: &millstream_projections::fold::Share) -> Self {
        Self { table: share.table.clone(), key: share.key.clone() }
    }
}
