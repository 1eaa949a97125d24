//! What a source item contributes to rows that it shares with others: totals, and lookup rows.
//!
//! The ledger remembers of each source item what it last contributed. A fold takes that back and adds what the item
//! contributes now, in one transaction. So a duplicate, a missed change, a move and a replay all come out right.

/// What tells the attributes of lookup rows apart.
mod digest;
/// Bytes that compare as values do.
mod order;
/// The form in which the ledger holds a contribution.
mod stored;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decimal::Decimal;
use crate::item::{AttributeName, Item, Key, Value, write_canonical};
use crate::version::KeyDigest;

pub use digest::attributes_digest;
pub(crate) use order::comparable;
pub use order::{MAX_COMPARED, OrderError, sort_key};
pub use stored::Damaged;

/// One fold of one source item.
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    /// The source item's key, for whoever reads the ledger.
    pub source_key: Item,
    /// What the ledger probably holds, as far as the change tells: a hint that saves a read, never trusted.
    pub guess: Contribution,
    /// What the item contributes now.
    pub after: Contribution,
    /// The lookup rows that `after` speaks of, in its order, without key and guard; empty for totals.
    pub items: Vec<Item>,
    /// How the rows are kept.
    pub rules: Arc<Rules>,
}

/// How a projection keeps the rows that its items contribute to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rules {
    /// Totals rows.
    Totals(TotalsRules),
    /// Lookup rows.
    Lookup {
        /// Whether two source items may ask for one row at different times: it is a letter either way. A row that is not
        /// Millstream's is refused as well where it is set, and else adopted.
        unique: bool,
    },
}

/// How totals rows are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TotalsRules {
    /// The attribute that counts the items, if one does.
    pub count: Option<AttributeName>,
    /// Whether a row that counts no items any more is deleted. Needs `count`.
    pub delete_empty: bool,
    /// What is kept of values: the attribute of the totals row, what it shows, and the column of [`Totals::values`].
    pub statistics: Vec<Statistic>,
}

/// What a totals row shows of the values of its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistic {
    /// The attribute of the totals row.
    pub attribute: AttributeName,
    /// What it shows.
    pub shows: Shows,
    /// The column of [`Totals::values`].
    pub column: Arc<str>,
}

/// See [`Statistic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// How many different values there are.
    Distinct,
}

/// All that one source item contributes; by default nothing. Its shares are in the order of their rows, one a row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Contribution {
    /// None if there is no share.
    some: Option<Arc<Shares>>,
}

/// See [`Contribution`].
#[derive(Debug, PartialEq)]
struct Shares {
    shares: Vec<Share>,
    /// The row of each share, as [`Share::row`] gives it.
    rows: Vec<Vec<u8>>,
}

/// One row of two contributions, see [`Contribution::beside`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beside<'a> {
    /// The row, as [`Share::row`] gives it.
    pub row: &'a [u8],
    /// What the first contributes to it.
    pub before: Option<&'a Share>,
    /// What the second contributes to it.
    pub after: Option<&'a Share>,
    /// The place of `after` in the second's shares.
    pub place: Option<usize>,
}

/// What one source item contributes to one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// The table of the row.
    pub table: Arc<str>,
    /// Its primary key.
    pub key: Key,
    /// What it contributes.
    pub part: Part,
}

/// See [`Share`].
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Numbers and values in a totals row.
    Totals(Totals),
    /// A lookup row of its own.
    Lookup {
        /// The digest of the row's other attributes: whether it has to be written again.
        digest: KeyDigest,
    },
}

/// What one source item contributes to a totals row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Totals {
    /// By attribute: what it adds; zero where the item lacks an optional number, so that every row has every attribute.
    pub add: BTreeMap<AttributeName, Decimal>,
    /// By column: the value of which the least, the greatest or the number of different ones is kept.
    pub values: BTreeMap<Arc<str>, Value>,
}

/// Two shares of one source item ask for the same row.
#[derive(Debug, Clone, PartialEq)]
pub struct SameRow(pub Key);

/// One share alone cannot meet another.
impl From<Share> for Contribution {
    fn from(mut share: Share) -> Self {
        share.normalise();
        Self { some: Some(Arc::new(Shares { rows: vec![share.row()], shares: vec![share] })) }
    }
}

impl Contribution {
    /// The contribution of an item that is gone.
    pub const NOTHING: Self = Self { some: None };

    /// A contribution of these shares, in any order. Two shares of one row that are alike count as one.
    pub fn new(mut shares: Vec<Share>) -> Result<Self, SameRow> {
        shares.iter_mut().for_each(Share::normalise);
        let mut rowed: Vec<_> = shares.into_iter().map(|share| (share.row(), share)).collect();
        rowed.sort_by(|(a, _), (b, _)| a.cmp(b));
        rowed.dedup();
        if let Some(pair) = rowed.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(SameRow(pair[0].1.key.clone()));
        }
        let is_some = !rowed.is_empty();
        let (rows, shares) = rowed.into_iter().unzip();
        Ok(Self { some: is_some.then(|| Arc::new(Shares { shares, rows })) })
    }

    /// The shares, in the order of their rows.
    pub fn shares(&self) -> &[Share] {
        self.some.as_ref().map_or(&[], |some| &some.shares)
    }

    /// Whether the item contributes nothing.
    pub fn is_empty(&self) -> bool {
        self.some.is_none()
    }

    /// The share of one row.
    pub fn of_row(&self, row: &[u8]) -> Option<&Share> {
        self.shares().get(self.place(row)?)
    }

    /// The place of a row's share in [`Self::shares`].
    pub fn place(&self, row: &[u8]) -> Option<usize> {
        self.rows().binary_search_by(|own| own.as_slice().cmp(row)).ok()
    }

    /// The row of each share, in the order of the shares.
    pub fn rows(&self) -> &[Vec<u8>] {
        self.some.as_ref().map_or(&[], |some| &some.rows)
    }

    /// The rows of this contribution and another, each once: first those that only this one has, in their order, then
    /// those of the other, in theirs.
    pub fn beside<'a>(&'a self, after: &'a Self) -> Vec<Beside<'a>> {
        let mut rows = Vec::with_capacity(self.shares().len() + after.shares().len());
        let mut entered = Vec::with_capacity(after.shares().len());
        let mut before = self.rows().iter().zip(self.shares()).peekable();
        for (place, (row, share)) in after.rows().iter().zip(after.shares()).enumerate() {
            while let Some((row, share)) = before.next_if(|(own, _)| *own < row) {
                rows.push(Beside { row, before: Some(share), after: None, place: None });
            }
            let before = before.next_if(|(own, _)| *own == row).map(|(_, share)| share);
            entered.push(Beside { row, before, after: Some(share), place: Some(place) });
        }
        rows.extend(before.map(|(row, share)| Beside { row, before: Some(share), after: None, place: None }));
        rows.append(&mut entered);
        rows
    }
}

impl Share {
    /// A share whose numbers are written as DynamoDB answers them, so that its row compares as bytes.
    pub fn new(table: Arc<str>, key: Key, part: Part) -> Self {
        let mut share = Self { table, key, part };
        share.normalise();
        share
    }

    /// Canonical bytes of the row: equal exactly for the same row.
    pub fn row(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(self.table.as_bytes());
        bytes.push(0);
        for (name, value) in &self.key {
            write_canonical(&mut bytes, name, value);
        }
        bytes
    }

    /// Numbers are compared as text, and DynamoDB gives back its own spelling of them.
    fn normalise(&mut self) {
        self.key.values_mut().for_each(normalise);
        if let Part::Totals(totals) = &mut self.part {
            totals.values.values_mut().for_each(normalise);
        }
    }
}

fn normalise(value: &mut Value) {
    if let Value::N(text) = value
        && let Ok(number) = Decimal::parse(text)
    {
        *text = number.to_string();
    }
}
