//! What the pollers of one consumer agree on: who is alive, who reads which shard, and how far each is done.
//!
//! One table for all consumers, queried and never scanned. A worker writes a heartbeat for itself and none for its
//! shards. Every write to a shard's row is conditional on its owner and epoch: a worker that was taken for dead, and comes
//! back, changes nothing any more.

use std::fmt;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, TryFutureExt};
use serde::Serialize;

use crate::outcome::Fault;
use crate::poller::acks::Acks;

/// In a DynamoDB table.
pub mod table;

/// One run of one worker: a restart is another session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Session(pub Arc<str>);

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A worker as its row says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerRow {
    /// Its session.
    pub session: Session,
    /// Goes up with every heartbeat. Observers judge by when they saw it move, on their own clock.
    pub heartbeat: u64,
    /// Goes up when a shard was handed to it: then it looks at its shards at once.
    pub mail: u64,
    /// For how many milliseconds its heartbeat may stand still before it is taken for dead.
    pub ttl_ms: u64,
    /// Whether it takes no more shards, since it is about to stop.
    pub draining: bool,
    /// The host and the process, for people.
    pub host: String,
    /// The version of the program.
    pub version: String,
}

/// Where a shard stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShardState {
    /// It is read, or waits for its parent or an owner.
    Open,
    /// It is read to its end, and its children are known.
    Ended,
    /// It is read to its end, and no listing has shown its children yet.
    EndedNoChildren,
    /// The stream forgot what was not read of it, and `on_gap = "halt"`: it waits for an operator.
    Gap,
}

/// How far a shard is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Checkpoint {
    /// Nothing of it is; it is read from its oldest record on.
    TrimHorizon,
    /// Nothing of it is; this is its first sequence number, and if the stream has forgotten it, something was lost.
    From(String),
    /// Nothing of it is; records older than this, in seconds since 1970, are skipped.
    Since(u64),
    /// All records up to this sequence number are, as the stream writes it.
    After(String),
}

/// A shard as its row says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardRow {
    /// The shard.
    pub shard: Arc<str>,
    /// The shard it follows; none, or one that nobody knows any more, for the oldest.
    pub parent: Option<Arc<str>>,
    /// Where it stands.
    pub state: ShardState,
    /// Who reads it.
    pub owner: Option<Session>,
    /// Goes up with every change of owner.
    pub epoch: u64,
    /// How far it is done.
    pub checkpoint: Checkpoint,
    /// What is done above the checkpoint.
    #[serde(skip)]
    pub acks: Acks,
    /// Why it does not go on, if it does not.
    pub trouble: Option<String>,
    /// Since when it is behind, in seconds since 1970: what was made before is done. None if its owner knows of nothing that
    /// waits. It is written with the checkpoint, and without one only when a shard falls behind or has caught up.
    pub behind_since: Option<u64>,
    /// When its row was last written, in seconds since 1970: for people.
    pub written_at: u64,
}

/// A shard that follows one that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The shard.
    pub shard: Arc<str>,
    /// Where it begins.
    pub begins: Checkpoint,
}

/// Data that was lost: the stream forgot it before it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GapRow {
    /// In which shard.
    pub shard: Arc<str>,
    /// After which sequence number; none if nothing of the shard was read.
    pub after: Option<String>,
    /// Before which one; none if that is not known, or the shard is gone.
    pub before: Option<String>,
    /// When it was found, in seconds since 1970.
    pub found_at: u64,
}

/// A shard that somebody reads: what its writes are conditional on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The stream.
    pub stream: Arc<str>,
    /// The shard.
    pub shard: Arc<str>,
    /// Who reads it.
    pub owner: Session,
    /// Since which change of owner.
    pub epoch: u64,
}

/// How a conditional write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is done.
    Done,
    /// The shard is another's by now, or its row is not what was seen: nothing was written.
    Lost,
}

/// Keeps the state of one consumer.
///
/// All reads are consistent. What is conditional either happens as a whole, or gives [`Held::Lost`] and changes nothing.
/// After an `Err` nobody knows; each write is safe to repeat: one that was done already is `Done` again as far as the row
/// shows that it was this very write, and else `Lost`, after which the caller reads again.
pub trait StateStore: Send + Sync {
    /// Writes a worker's row: its first one, or a later heartbeat.
    fn beat<'a>(&'a self, worker: &'a WorkerRow) -> BoxFuture<'a, Result<(), Fault>>;

    /// Removes a worker's row.
    fn leave<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), Fault>>;

    /// All workers of the consumer, dead ones included until they are swept.
    fn workers(&self) -> BoxFuture<'_, Result<Vec<WorkerRow>, Fault>>;

    /// Removes the row of a dead worker, unless it has moved since it was seen. A worker that comes back writes it again.
    fn sweep<'a>(&'a self, dead: &'a WorkerRow) -> BoxFuture<'a, Result<(), Fault>>;

    /// All shards of a stream that the consumer knows, ended ones included as long as the stream could list them.
    fn shards<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<ShardRow>, Fault>>;

    /// The streams of a table, as its ARN has it, of which the consumer ever knew a shard, in their order.
    fn streams<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Vec<Arc<str>>, Fault>>;

    /// Adds rows of shards that were found; those that are there already stay as they are.
    fn add<'a>(&'a self, stream: &'a str, shards: &'a [ShardRow]) -> BoxFuture<'a, Result<(), Fault>>;

    /// Takes shards over: from nobody, or from a worker that did not move since `dead` was seen. Each row has to be as `seen`
    /// says, and its epoch goes up by one. One that stands still at a gap is open again. Each shard is taken or not for itself.
    fn claim_all<'a>(
        &'a self,
        stream: &'a str,
        seen: &'a [ShardRow],
        dead: Option<&'a WorkerRow>,
        by: &'a Session,
    ) -> BoxFuture<'a, Result<Vec<Held>, Fault>>;

    /// Hands shards to another worker, or to nobody. The epoch of each goes up by one, and the other's `mail` moves. Each
    /// shard is handed over or not for itself; none, if the other has gone or takes no more shards.
    fn hand_over_all<'a>(
        &'a self,
        claims: &'a [Claim],
        to: Option<&'a Session>,
    ) -> BoxFuture<'a, Result<Vec<Held>, Fault>>;

    /// Takes one shard over.
    fn claim<'a>(
        &'a self,
        stream: &'a str,
        seen: &'a ShardRow,
        dead: Option<&'a WorkerRow>,
        by: &'a Session,
    ) -> BoxFuture<'a, Result<Held, Fault>> {
        let seen = std::slice::from_ref(seen);
        self.claim_all(stream, seen, dead, by).map_ok(|held| held[0]).boxed()
    }

    /// Hands one shard over.
    fn hand_over<'a>(
        &'a self,
        claim: &'a Claim,
        to: Option<&'a Session>,
    ) -> BoxFuture<'a, Result<Held, Fault>> {
        self.hand_over_all(std::slice::from_ref(claim), to).map_ok(|held| held[0]).boxed()
    }

    /// Stores how far a shard is done.
    fn checkpoint<'a>(
        &'a self,
        claim: &'a Claim,
        checkpoint: &'a Checkpoint,
        acks: &'a Acks,
        trouble: Option<&'a str>,
        behind_since: Option<u64>,
    ) -> BoxFuture<'a, Result<Held, Fault>>;

    /// Ends a shard and adds its children, owned by the same worker, in one transaction. A child that is known already
    /// keeps its row, and gets this owner if it has none. Without children the shard is [`ShardState::EndedNoChildren`], and
    /// this can be asked again.
    fn end<'a>(&'a self, claim: &'a Claim, children: &'a [Child]) -> BoxFuture<'a, Result<Held, Fault>>;

    /// Records a gap. With `halt` the shard stands still in [`ShardState::Gap`] and has no owner any more.
    fn gap<'a>(&'a self, claim: &'a Claim, gap: &'a GapRow, halt: bool)
    -> BoxFuture<'a, Result<Held, Fault>>;

    /// All gaps of a stream.
    fn gaps<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<GapRow>, Fault>>;
}
