//! Writes that ought to happen, as data: which target, under which guard, and what.

use std::collections::HashMap;
use std::sync::Arc;

use crate::fold::Fold;
use crate::item::{AttributeName, Item, Key, Value, write_canonical};
use crate::version::{Guard, KeyDigest};

/// All that follows from one change in one projection. Empty: the change does not concern it.
pub type Effects = Vec<Effect>;

/// One write that ought to happen.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// What it is for.
    pub target: Target,
    /// The source item and version it follows from; stored beside what is written.
    pub guard: Guard,
    /// What to write.
    pub write: Write,
}

/// The row, rows or topic that an effect is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// One row by its primary key.
    Row {
        /// The table.
        table: Arc<str>,
        /// The primary key.
        key: Key,
    },
    /// Every row that an index finds under a key.
    Found {
        /// The table.
        table: Arc<str>,
        /// The index.
        index: Arc<str>,
        /// The attributes to find the rows by; a row must still have them when it is written.
        key: Key,
    },
    /// The rows of a table that the source item contributes to; which these are, the ledger knows.
    Shared {
        /// The table.
        table: Arc<str>,
    },
    /// An SNS topic.
    Topic {
        /// The topic's ARN.
        topic: Arc<str>,
    },
}

/// What to write.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// The whole row, which the projection owns.
    Put {
        /// The row with its key, without the guard.
        item: Item,
        /// How removals are remembered, which decides what the put has to check.
        tombstones: Tombstones,
        /// A hint which request to try first: whether the row is there already, as far as the change tells.
        expect_row: bool,
    },
    /// The row goes, and stays gone for older changes.
    Delete {
        /// How the removal is remembered.
        tombstones: Tombstones,
    },
    /// Some attributes of rows that another owner made, where these rows exist.
    Patch {
        /// Attributes to set.
        set: HashMap<AttributeName, Value>,
        /// Attributes to remove.
        remove: Vec<AttributeName>,
        /// Which rows it may change.
        reach: Reach,
    },
    /// Rows that another owner made go with the source item.
    Drop {
        /// Which rows may go.
        reach: Reach,
    },
    /// An event.
    Publish(Publish),
    /// What the source item contributes to rows that it shares with others, taken back and added anew.
    Fold(Box<Fold>),
}

/// Which rows a patch may change, beside those of its own source item that are older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// No others.
    Own,
    /// Also rows that carry no guard yet.
    Unguarded,
    /// Also rows that carry another source item's guard: they are taken over.
    Others,
}

/// How a projection remembers that it removed a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tombstones {
    /// In the ledger, in one transaction with the removal.
    Ledger,
    /// As a marker row in the place of the row itself.
    Inline,
    /// Not at all: rows are never removed.
    Never,
}

/// One event for other services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The event's id, the same whenever the same change is projected.
    pub id: String,
    /// What happened, for filter policies: `INSERT`, `MODIFY` or `REMOVE`.
    pub kind: &'static str,
    /// The CloudEvents JSON.
    pub body: String,
}

impl Target {
    /// The table or topic, for messages and metrics.
    pub fn resource(&self) -> &Arc<str> {
        match self {
            Self::Row { table, .. } | Self::Found { table, .. } | Self::Shared { table } => table,
            Self::Topic { topic } => topic,
        }
    }

    /// The canonical bytes of a target: equal exactly for equal targets.
    pub fn canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(96);
        let (tag, index, key) = match self {
            Self::Row { key, .. } => (b'r', None, Some(key)),
            Self::Found { index, key, .. } => (b'f', Some(index), Some(key)),
            Self::Shared { .. } => (b's', None, None),
            Self::Topic { .. } => (b't', None, None),
        };
        bytes.push(tag);
        bytes.extend_from_slice(self.resource().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(index.map(|index| index.as_bytes()).unwrap_or_default());
        bytes.push(0);
        for (name, value) in key.into_iter().flatten() {
            write_canonical(&mut bytes, name, value);
        }
        bytes
    }

    /// The digest of a target, for keys of our own tables.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of_bytes(&self.canonical())
    }
}

impl Write {
    /// The name of the write in metrics and plans.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Put { .. } => "put",
            Self::Delete { .. } => "delete",
            Self::Patch { .. } => "patch",
            Self::Drop { .. } => "drop",
            Self::Publish(_) => "publish",
            Self::Fold(_) => "fold",
        }
    }
}
