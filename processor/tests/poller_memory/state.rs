//! What pollers agree on, kept in memory: a second store under the contract of the first, for runs that have to be quick.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_processor::clock::Clock;
use millstream_processor::outcome::Fault;
use millstream_processor::poller::acks::Acks;
use millstream_processor::poller::state::{
    Checkpoint, Child, Claim, GapRow, Held, Session, ShardRow, ShardState, StateStore, WorkerRow,
};

const DAY: u64 = 86_400;
/// How long the table keeps what is done with, in seconds.
const KEEP_ENDED: u64 = 2 * DAY;
const KEEP_GAPS: u64 = 30 * DAY;
const KEEP_WORKERS: u64 = DAY;

/// The state of one consumer. Clones, and the other consumers made of it, share one table.
#[derive(Clone)]
pub(crate) struct MemoryState {
    table: Arc<Mutex<Table>>,
    /// When it was last looked for what has expired, in seconds since 1970.
    swept: Arc<AtomicU64>,
    consumer: Arc<str>,
    clock: Arc<dyn Clock>,
}

/// Rows by partition and sort key. Here a row is gone the moment it expires; DynamoDB takes its time.
type Table = BTreeMap<(String, String), Stored>;

#[derive(Debug, Clone)]
struct Stored {
    row: Row,
    expires: Option<u64>,
}

#[derive(Debug, Clone)]
enum Row {
    Worker(WorkerRow),
    Shard(ShardRow),
    Gap(GapRow),
    Stream(Arc<str>),
}

impl MemoryState {
    /// An empty table.
    pub(crate) fn new(consumer: &str, clock: Arc<dyn Clock>) -> Self {
        Self { table: Arc::default(), swept: Arc::default(), consumer: consumer.into(), clock }
    }

    /// Another consumer's state in the same table.
    pub(crate) fn consumer(&self, name: &str) -> Self {
        Self { consumer: name.into(), ..self.clone() }
    }

    /// When a row of this consumer expires; none if it never does, or is not there.
    pub(crate) fn expires(&self, place: &str, row: &str) -> Option<u64> {
        self.table().get(&self.key(place, row.to_owned()))?.expires
    }

    /// One shard's row.
    pub(crate) fn row(&self, stream: &str, shard: &str) -> Option<ShardRow> {
        self.shard(&self.table(), stream, shard)
    }

    /// Whether a worker has a row.
    pub(crate) fn is_there(&self, session: &Session) -> bool {
        self.worker(&self.table(), session).is_some()
    }

    fn now(&self) -> u64 {
        self.clock.unix_seconds()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        if self.swept.swap(now, Ordering::Relaxed) != now {
            table.retain(|_, stored| stored.expires.is_none_or(|at| at > now));
        }
        table
    }

    fn key(&self, place: &str, row: String) -> (String, String) {
        (format!("{}/{place}", self.consumer), row)
    }

    fn worker_key(&self, session: &Session) -> (String, String) {
        self.key("workers", format!("worker/{session}"))
    }

    fn shard_key(&self, stream: &str, shard: &str) -> (String, String) {
        self.key(stream, format!("shard/{shard}"))
    }

    fn all<T>(&self, place: &str, of: impl Fn(&Row) -> Option<T>) -> Vec<T> {
        let (place, first) = self.key(place, String::new());
        let table = self.table();
        let from = table.range((place.clone(), first)..);
        from.take_while(|((at, _), _)| *at == place).filter_map(|(_, stored)| of(&stored.row)).collect()
    }

    /// Changes a shard that is held as the claim says. A state that it must not be in refuses as well.
    fn held(
        &self,
        table: &mut Table,
        claim: &Claim,
        not: Option<ShardState>,
        change: impl FnOnce(&mut ShardRow, &mut Option<u64>),
    ) -> bool {
        let Some(stored) = table.get_mut(&self.shard_key(&claim.stream, &claim.shard)) else { return false };
        let Row::Shard(row) = &mut stored.row else { return false };
        let is_held =
            row.owner.as_ref() == Some(&claim.owner) && row.epoch == claim.epoch && Some(row.state) != not;
        if is_held {
            row.written_at = self.now();
            change(row, &mut stored.expires);
        }
        is_held
    }

    fn shard(&self, table: &Table, stream: &str, shard: &str) -> Option<ShardRow> {
        match &table.get(&self.shard_key(stream, shard))?.row {
            Row::Shard(row) => Some(row.clone()),
            Row::Worker(_) | Row::Gap(_) | Row::Stream(_) => None,
        }
    }

    fn worker(&self, table: &Table, session: &Session) -> Option<WorkerRow> {
        match &table.get(&self.worker_key(session))?.row {
            Row::Worker(row) => Some(row.clone()),
            Row::Shard(_) | Row::Gap(_) | Row::Stream(_) => None,
        }
    }

    fn put(&self, table: &mut Table, stream: &str, row: ShardRow) {
        let key = self.shard_key(stream, &row.shard);
        table.entry(key).or_insert(Stored { row: Row::Shard(row), expires: None });
    }

    fn beat_now(&self, worker: &WorkerRow) {
        let mut table = self.table();
        let known = self.worker(&table, &worker.session);
        if known.as_ref().is_none_or(|known| known.heartbeat <= worker.heartbeat) {
            let row = Row::Worker(WorkerRow { mail: known.map_or(0, |known| known.mail), ..worker.clone() });
            let expires = Some(self.now() + KEEP_WORKERS);
            table.insert(self.worker_key(&worker.session), Stored { row, expires });
        }
    }

    fn claim_now(&self, stream: &str, seen: &ShardRow, dead: Option<&WorkerRow>, by: &Session) -> Held {
        let mut table = self.table();
        let Some(row) = self.shard(&table, stream, &seen.shard) else { return Held::Lost };
        if seen.state == ShardState::Ended {
            return Held::Lost;
        }
        let stands = |row: &ShardRow| (row.epoch, row.state, row.owner.clone(), row.checkpoint.clone());
        if stands(&row) != stands(seen) {
            return is_ours(row.owner == Some(by.clone()) && row.epoch == seen.epoch + 1);
        }
        if let Some(other) = row.owner.as_ref().filter(|owner| *owner != by) {
            let seen_dead = dead.filter(|dead| dead.session == *other).map(|dead| dead.heartbeat);
            let moves = self.worker(&table, other).is_some_and(|now| Some(now.heartbeat) != seen_dead);
            if moves {
                return Held::Lost;
            }
        }
        let state = if row.state == ShardState::Gap { ShardState::Open } else { row.state };
        let next = ShardRow {
            state,
            owner: Some(by.clone()),
            epoch: seen.epoch + 1,
            written_at: self.now(),
            ..row.clone()
        };
        if let Some(stored) = table.get_mut(&self.shard_key(stream, &seen.shard)) {
            stored.row = Row::Shard(next);
        }
        Held::Done
    }

    fn hand_over_now(&self, claim: &Claim, to: Option<&Session>) -> Held {
        let mut table = self.table();
        let row = self.shard(&table, &claim.stream, &claim.shard);
        let is_held = row.as_ref().is_some_and(|row| {
            row.owner.as_ref() == Some(&claim.owner)
                && row.epoch == claim.epoch
                && row.state != ShardState::Ended
        });
        if !is_held {
            let is_alive =
                |row: &ShardRow| matches!(row.state, ShardState::Open | ShardState::EndedNoChildren);
            let gave =
                |row: &ShardRow| is_alive(row) && row.owner.as_ref() == to && row.epoch == claim.epoch + 1;
            return is_ours(row.as_ref().is_some_and(gave));
        }
        if let Some(to) = to {
            let Some(stored) = table.get_mut(&self.worker_key(to)) else { return Held::Lost };
            match &mut stored.row {
                Row::Worker(worker) if !worker.draining => worker.mail += 1,
                Row::Worker(_) | Row::Shard(_) | Row::Gap(_) | Row::Stream(_) => return Held::Lost,
            }
        }
        let hands = |row: &mut ShardRow, _: &mut Option<u64>| {
            (row.owner, row.epoch) = (to.cloned(), claim.epoch + 1);
        };
        is_ours(self.held(&mut table, claim, None, hands))
    }

    fn end_now(&self, claim: &Claim, children: &[Child]) -> Held {
        let mut table = self.table();
        let expires = self.now() + KEEP_ENDED;
        let (state, not) = match children.is_empty() {
            true => (ShardState::EndedNoChildren, Some(ShardState::Ended)),
            false => (ShardState::Ended, None),
        };
        let ends = |row: &mut ShardRow, at: &mut Option<u64>| {
            (row.state, row.trouble, row.behind_since) = (state, None, None);
            at.get_or_insert(expires);
        };
        if !self.held(&mut table, claim, not, ends) {
            let row = self.shard(&table, &claim.stream, &claim.shard);
            let is_known = children.is_empty()
                && row
                    .is_some_and(|row| row.owner.as_ref() == Some(&claim.owner) && row.epoch == claim.epoch);
            return is_ours(is_known);
        }
        for child in children {
            self.follow(&mut table, claim, child);
        }
        Held::Done
    }

    /// A child comes, or gets the owner of its parent if it has none.
    fn follow(&self, table: &mut Table, claim: &Claim, child: &Child) {
        let row = match self.shard(table, &claim.stream, &child.shard) {
            Some(known) if known.state != ShardState::Open => return,
            Some(known) => ShardRow {
                owner: known.owner.or_else(|| Some(claim.owner.clone())),
                parent: known.parent.or_else(|| Some(claim.shard.clone())),
                ..known
            },
            None => ShardRow {
                shard: child.shard.clone(),
                parent: Some(claim.shard.clone()),
                state: ShardState::Open,
                owner: Some(claim.owner.clone()),
                epoch: 1,
                checkpoint: child.begins.clone(),
                acks: Acks::default(),
                trouble: None,
                behind_since: None,
                written_at: self.now(),
            },
        };
        let key = self.shard_key(&claim.stream, &child.shard);
        table.insert(key, Stored { row: Row::Shard(row), expires: None });
    }

    fn gap_now(&self, claim: &Claim, gap: &GapRow, halt: bool) -> Held {
        let mut table = self.table();
        let is_held = match halt {
            true => self.held(&mut table, claim, None, |row, _| {
                (row.state, row.owner, row.epoch) = (ShardState::Gap, None, claim.epoch + 1);
            }),
            false => {
                let row = self.shard(&table, &claim.stream, &claim.shard);
                row.is_some_and(|row| row.owner.as_ref() == Some(&claim.owner) && row.epoch == claim.epoch)
            }
        };
        if !is_held {
            let row = self.shard(&table, &claim.stream, &claim.shard).filter(|_| halt);
            let halted =
                |row: ShardRow| (row.state, row.owner, row.epoch) == (ShardState::Gap, None, claim.epoch + 1);
            return is_ours(row.is_some_and(halted));
        }
        let after = gap.after.as_deref().unwrap_or_default();
        let key = self.key(&claim.stream, format!("gap/{}/{after:0>40}", gap.shard));
        let known = match table.get(&key).map(|stored| &stored.row) {
            Some(Row::Gap(known)) => Some(known.clone()),
            Some(Row::Worker(_) | Row::Shard(_) | Row::Stream(_)) | None => None,
        };
        let row = match known {
            None => gap.clone(),
            Some(known) => GapRow { before: gap.before.clone().or(known.before), ..known },
        };
        table.insert(key, Stored { row: Row::Gap(row), expires: Some(self.now() + KEEP_GAPS) });
        Held::Done
    }
}

fn is_ours(is_ours: bool) -> Held {
    if is_ours { Held::Done } else { Held::Lost }
}

impl StateStore for MemoryState {
    fn beat<'a>(&'a self, worker: &'a WorkerRow) -> BoxFuture<'a, Result<(), Fault>> {
        self.beat_now(worker);
        ready(Ok(())).boxed()
    }

    fn leave<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), Fault>> {
        self.table().remove(&self.worker_key(session));
        ready(Ok(())).boxed()
    }

    fn workers(&self) -> BoxFuture<'_, Result<Vec<WorkerRow>, Fault>> {
        let worker = |row: &Row| match row {
            Row::Worker(row) => Some(row.clone()),
            Row::Shard(_) | Row::Gap(_) | Row::Stream(_) => None,
        };
        ready(Ok(self.all("workers", worker))).boxed()
    }

    fn sweep<'a>(&'a self, dead: &'a WorkerRow) -> BoxFuture<'a, Result<(), Fault>> {
        let mut table = self.table();
        let row = self.worker(&table, &dead.session);
        if row.is_some_and(|row| row.heartbeat == dead.heartbeat) {
            table.remove(&self.worker_key(&dead.session));
        }
        ready(Ok(())).boxed()
    }

    fn streams<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Vec<Arc<str>>, Fault>> {
        let first = format!("{table}/stream/");
        let stream = |row: &Row| match row {
            Row::Stream(stream) => stream.starts_with(&first).then(|| stream.clone()),
            Row::Worker(_) | Row::Shard(_) | Row::Gap(_) => None,
        };
        ready(Ok(self.all("streams", stream))).boxed()
    }

    fn shards<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<ShardRow>, Fault>> {
        let shard = |row: &Row| match row {
            Row::Shard(row) => Some(row.clone()),
            Row::Worker(_) | Row::Gap(_) | Row::Stream(_) => None,
        };
        ready(Ok(self.all(stream, shard))).boxed()
    }

    fn add<'a>(&'a self, stream: &'a str, shards: &'a [ShardRow]) -> BoxFuture<'a, Result<(), Fault>> {
        let mut table = self.table();
        if !shards.is_empty() {
            let row = Stored { row: Row::Stream(stream.into()), expires: None };
            table.insert(self.key("streams", stream.to_owned()), row);
        }
        shards.iter().for_each(|row| self.put(&mut table, stream, row.clone()));
        ready(Ok(())).boxed()
    }

    fn claim_all<'a>(
        &'a self,
        stream: &'a str,
        seen: &'a [ShardRow],
        dead: Option<&'a WorkerRow>,
        by: &'a Session,
    ) -> BoxFuture<'a, Result<Vec<Held>, Fault>> {
        let held = seen.iter().map(|row| self.claim_now(stream, row, dead, by)).collect();
        ready(Ok(held)).boxed()
    }

    fn hand_over_all<'a>(
        &'a self,
        claims: &'a [Claim],
        to: Option<&'a Session>,
    ) -> BoxFuture<'a, Result<Vec<Held>, Fault>> {
        let held = claims.iter().map(|claim| self.hand_over_now(claim, to)).collect();
        ready(Ok(held)).boxed()
    }

    fn checkpoint<'a>(
        &'a self,
        claim: &'a Claim,
        checkpoint: &'a Checkpoint,
        acks: &'a Acks,
        trouble: Option<&'a str>,
        behind_since: Option<u64>,
    ) -> BoxFuture<'a, Result<Held, Fault>> {
        // As text, since that is all that a table keeps of them.
        let acks = Acks::from_text(&acks.to_text());
        let stores = |row: &mut ShardRow, _: &mut Option<u64>| {
            (row.checkpoint, row.acks) = (checkpoint.clone(), acks);
            (row.trouble, row.behind_since) = (trouble.map(str::to_owned), behind_since);
        };
        let is_held = self.held(&mut self.table(), claim, None, stores);
        ready(Ok(is_ours(is_held))).boxed()
    }

    fn end<'a>(&'a self, claim: &'a Claim, children: &'a [Child]) -> BoxFuture<'a, Result<Held, Fault>> {
        ready(Ok(self.end_now(claim, children))).boxed()
    }

    fn gap<'a>(
        &'a self,
        claim: &'a Claim,
        gap: &'a GapRow,
        halt: bool,
    ) -> BoxFuture<'a, Result<Held, Fault>> {
        ready(Ok(self.gap_now(claim, gap, halt))).boxed()
    }

    fn gaps<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<GapRow>, Fault>> {
        let gap = |row: &Row| match row {
            Row::Gap(row) => Some(row.clone()),
            Row::Worker(_) | Row::Shard(_) | Row::Stream(_) => None,
        };
        ready(Ok(self.all(stream, gap))).boxed()
    }
}
