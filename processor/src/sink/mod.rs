//! What performs a write. Requests are made by pure functions (`request.rs`), sent and judged by `client.rs`.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use millstream_projections::effect::{Publish, Target, Write};
use millstream_projections::item::Key;
use millstream_projections::version::KeyDigest;
use millstream_projections::{Guard, Item, ProjectionName, Value};

use crate::outcome::{Applied, Fault};

/// DynamoDB tables.
pub mod dynamodb;
/// From the SDKs' errors to faults.
pub mod fault;
/// What a fold asks of its sink.
pub mod fold;
/// SNS topics.
pub mod sns;

/// One write to one row.
#[derive(Debug, Clone, Copy)]
pub struct RowWrite<'a> {
    /// The projection, which names the guard's attribute.
    pub projection: &'a ProjectionName,
    /// The table.
    pub table: &'a Arc<str>,
    /// The row's primary key.
    pub key: &'a Key,
    /// The attributes that an index found the row by; it must still have them.
    pub found_by: Option<&'a Key>,
    /// The guard to check and to store.
    pub guard: &'a Guard,
    /// What to write.
    pub write: &'a Write,
}

/// The source item that a row belongs to, by the guard that it carries.
pub(crate) fn stored_owner(row: &Item, projection: &ProjectionName) -> Option<KeyDigest> {
    match row.get(dynamodb::request::guard_attribute(projection).as_str()) {
        Some(Value::S(guard)) => KeyDigest::from_text(guard.split_once('/')?.0),
        _ => None,
    }
}

/// One page of rows that an index found.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The rows' primary keys.
    pub rows: Vec<Key>,
    /// Where the next page starts; the last page has none.
    pub next: Option<Key>,
}

/// Writes rows under guards.
///
/// Each write is atomic and safe to repeat: done twice, or after something newer, it is [`Applied::Stale`] and changes
/// nothing. Nothing is promised about order between two writes; the guard in each decides. A future that is dropped may
/// or may not have written. `Ok` means the row now holds this version or a later one of the same source item, or has no
/// place for it. `Err` with a kind to retry may have written all the same: ask again.
pub trait RowSink: Send + Sync {
    /// Performs one write.
    fn apply<'a>(&'a self, write: RowWrite<'a>) -> BoxFuture<'a, Result<Applied, Fault>>;

    /// Whether the rows that go with a removal went already: that removal, or a later one of the same source item, was
    /// remembered.
    fn was_dropped<'a>(
        &'a self,
        projection: &'a ProjectionName,
        guard: &'a Guard,
    ) -> BoxFuture<'a, Result<bool, Fault>>;

    /// Remembers that all rows that go with a removal went.
    fn remember_drop<'a>(
        &'a self,
        projection: &'a ProjectionName,
        guard: &'a Guard,
    ) -> BoxFuture<'a, Result<(), Fault>>;

    /// Finds the rows that an index has under a key, a page at a time. An index lags: it may miss a row written a moment ago.
    fn find<'a>(
        &'a self,
        table: &'a Arc<str>,
        index: &'a Arc<str>,
        key: &'a Key,
        from: Option<Key>,
    ) -> BoxFuture<'a, Result<Page, Fault>>;
}

/// Reads rows as they stand, for plans: what a write would meet. It changes nothing, and does not try again by itself.
pub trait RowReader: Send + Sync {
    /// The row of that primary key, with every write that ended before it was asked for.
    fn current<'a>(&'a self, table: &'a Arc<str>, key: &'a Key)
    -> BoxFuture<'a, Result<Option<Item>, Fault>>;

    /// Up to which version the ledger remembers that a projection removed a row of a source item.
    fn tombstone<'a>(
        &'a self,
        projection: &'a ProjectionName,
        guard: &'a Guard,
        row: &'a Target,
    ) -> BoxFuture<'a, Result<Option<String>, Fault>>;
}

/// The most entries of one PublishBatch.
pub const MAX_ENTRIES: usize = 10;
/// The most bytes of one message, and of all messages of one PublishBatch together (SNS: 256 KiB).
pub const MAX_PUBLISH_BYTES: usize = 256 * 1024;

/// One event to publish.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Orders events of one source item on a FIFO topic.
    pub group: KeyDigest,
    /// The event.
    pub event: &'a Publish,
}

/// The message attribute that tells filter policies what happened.
const KIND: &str = "kind";

impl Entry<'_> {
    /// What the event counts in a request: SNS counts the body, and of each attribute its name, type and value.
    pub fn bytes(&self) -> usize {
        self.event.body.len() + KIND.len() + sns::request::TEXT.len() + self.event.kind.len()
    }
}

/// Publishes events, at least once.
///
/// `entries` are at most [`MAX_ENTRIES`], of at most [`MAX_PUBLISH_BYTES`] together, and no two of one group. There is one result per entry, in
/// their order; an entry that failed is told even if the others went through. An event may go out twice.
pub trait TopicSink: Send + Sync {
    /// Publishes some events at once.
    fn publish<'a>(
        &'a self,
        topic: &'a Arc<str>,
        entries: &'a [Entry<'a>],
    ) -> BoxFuture<'a, Vec<Result<(), Fault>>>;
}
