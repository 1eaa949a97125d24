//! What the workers agree on, as one of them reaches it.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_processor::outcome::{Fault, FaultKind};
use millstream_processor::poller::acks::Acks;
use millstream_processor::poller::state::{
    Checkpoint, Child, Claim, GapRow, Held, Session, ShardRow, StateStore, WorkerRow,
};

use crate::judge::{Judge, Write};
use crate::memory_state::MemoryState;
use crate::network::{Channel, Trouble, Wires};

/// How many rows are added at once.
const AT_ONCE: usize = 16;
/// How many shards change their owner at once, at most.
const MOVES_AT_ONCE: u64 = 99;
/// So many of a hundred lists change while they are read.
const TORN: u64 = 25;

/// The state table at the end of one worker's wires.
pub(crate) struct WorkerState {
    pub(crate) session: Session,
    pub(crate) wires: Arc<Wires>,
    pub(crate) table: MemoryState,
    pub(crate) judge: Arc<Judge>,
}

impl WorkerState {
    async fn ask<T: Send + 'static>(
        &self,
        doing: &'static str,
        apply: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let sent = self.wires.pass(Channel::State, move || async move { apply() }).await;
        sent.map_err(|trouble| fault(doing, trouble))
    }

    /// Asks for a write to one shard's row.
    fn write<'a>(
        &'a self,
        doing: &'static str,
        claim: &Claim,
        what: Write,
        apply: impl FnOnce(&MemoryState) -> Held + Send + 'static,
    ) -> BoxFuture<'a, Result<Held, Fault>> {
        let one = One { shard: claim.shard.clone(), what, apply: Box::new(apply) };
        let written = self.writes(doing, &claim.stream, vec![one]);
        async move { Ok(written.await?[0]) }.boxed()
    }

    /// Asks for writes that are one request. The judge sees what comes of each.
    fn writes(
        &self,
        doing: &'static str,
        stream: &Arc<str>,
        writes: Vec<One>,
    ) -> impl Future<Output = Result<Vec<Held>, Fault>> + use<'_> {
        let (table, judge, session) = (self.table.clone(), self.judge.clone(), self.session.clone());
        let stream = stream.clone();
        self.ask(doing, move || {
            let write = |one: One| {
                let before = table.row(&stream, &one.shard);
                let held = (one.apply)(&table);
                judge.wrote(&session, &one.what, before, table.row(&stream, &one.shard), held);
                held
            };
            writes.into_iter().map(write).collect()
        })
    }

    /// How many shards share a request now: nobody promises that they are as many as there could be.
    fn at_once(&self) -> usize {
        self.wires.within(1..MOVES_AT_ONCE + 1) as usize
    }
}

/// A write to one shard's row.
struct One {
    shard: Arc<str>,
    what: Write,
    apply: Box<dyn FnOnce(&MemoryState) -> Held + Send>,
}

pub(crate) fn fault(doing: &str, trouble: Trouble) -> Fault {
    let kind = match trouble {
        Trouble::Throttled => FaultKind::Throttled,
        Trouble::Reset | Trouble::Lost | Trouble::TimedOut => FaultKind::Unavailable,
    };
    Fault::new(kind, format!("{doing}: {trouble:?}"))
}

/// The store in memory never waits.
fn now<T>(future: BoxFuture<'_, Result<T, Fault>>) -> T {
    future.now_or_never().unwrap().unwrap()
}

impl StateStore for WorkerState {
    fn beat<'a>(&'a self, worker: &'a WorkerRow) -> BoxFuture<'a, Result<(), Fault>> {
        let (table, worker) = (self.table.clone(), worker.clone());
        self.ask("beat", move || now(table.beat(&worker))).boxed()
    }

    fn leave<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), Fault>> {
        let (table, session) = (self.table.clone(), session.clone());
        self.ask("leave", move || now(table.leave(&session))).boxed()
    }

    fn workers(&self) -> BoxFuture<'_, Result<Vec<WorkerRow>, Fault>> {
        let table = self.table.clone();
        self.ask("list workers", move || now(table.workers())).boxed()
    }

    fn sweep<'a>(&'a self, dead: &'a WorkerRow) -> BoxFuture<'a, Result<(), Fault>> {
        let (table, judge, by, dead) =
            (self.table.clone(), self.judge.clone(), self.session.clone(), dead.clone());
        let sweep = move || {
            now(table.sweep(&dead));
            if !table.is_there(&dead.session) {
                judge.swept(&by, &dead.session);
            }
        };
        self.ask("sweep", sweep).boxed()
    }

    fn streams<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Vec<Arc<str>>, Fault>> {
        let (state, table): (_, Arc<str>) = (self.table.clone(), table.into());
        self.ask("list streams", move || now(state.streams(&table))).boxed()
    }

    fn shards<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<ShardRow>, Fault>> {
        let (table, stream): (_, Arc<str>) = (self.table.clone(), stream.into());
        let list = move || {
            let (table, stream) = (table.clone(), stream.clone());
            self.ask("list shards", move || now(table.shards(&stream)))
        };
        async move {
            let mut rows = list().await?;
            if rows.len() > 1 && self.wires.percent(TORN) {
                // A query is no snapshot: what it reads last may be younger than what it read first.
                let place = self.wires.within(1..rows.len() as u64) as usize;
                let from = rows[place].shard.clone();
                rows.truncate(place);
                rows.extend(list().await?.into_iter().filter(|row| row.shard >= from));
            }
            Ok(rows)
        }
        .boxed()
    }

    fn add<'a>(&'a self, stream: &'a str, shards: &'a [ShardRow]) -> BoxFuture<'a, Result<(), Fault>> {
        let stream: Arc<str> = stream.into();
        async move {
            for some in shards.chunks(AT_ONCE) {
                let (table, stream, some) = (self.table.clone(), stream.clone(), some.to_vec());
                let (judge, session) = (self.judge.clone(), self.session.clone());
                let add = move || {
                    now(table.add(&stream, &some));
                    for row in &some {
                        judge.added(&session, row);
                    }
                };
                self.ask("add shards", add).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn claim_all<'a>(
        &'a self,
        stream: &'a str,
        seen: &'a [ShardRow],
        dead: Option<&'a WorkerRow>,
        by: &'a Session,
    ) -> BoxFuture<'a, Result<Vec<Held>, Fault>> {
        let at: Arc<str> = stream.into();
        async move {
            let mut all = Vec::with_capacity(seen.len());
            for some in seen.chunks(self.at_once()) {
                let (at, dead, by) = (at.clone(), dead.cloned(), by.clone());
                let claims = some.iter().map(|row| {
                    let (at, dead, by, row) = (at.clone(), dead.clone(), by.clone(), row.clone());
                    let shard = row.shard.clone();
                    let apply = move |table: &MemoryState| now(table.claim(&at, &row, dead.as_ref(), &by));
                    One { shard, what: Write::Claim, apply: Box::new(apply) }
                });
                all.extend(self.writes("claim", &at, claims.collect()).await?);
            }
            Ok(all)
        }
        .boxed()
    }

    fn hand_over_all<'a>(
        &'a self,
        claims: &'a [Claim],
        to: Option<&'a Session>,
    ) -> BoxFuture<'a, Result<Vec<Held>, Fault>> {
        async move {
            let mut all = Vec::with_capacity(claims.len());
            for some in claims.chunks(self.at_once()) {
                let hands = some.iter().map(|claim| {
                    let (mine, to, shard) = (claim.clone(), to.cloned(), claim.shard.clone());
                    let apply = move |table: &MemoryState| now(table.hand_over(&mine, to.as_ref()));
                    One { shard, what: Write::HandOver(claim.epoch), apply: Box::new(apply) }
                });
                all.extend(self.writes("hand over", &some[0].stream, hands.collect()).await?);
            }
            Ok(all)
        }
        .boxed()
    }

    fn checkpoint<'a>(
        &'a self,
        claim: &'a Claim,
        checkpoint: &'a Checkpoint,
        acks: &'a Acks,
        trouble: Option<&'a str>,
        behind_since: Option<u64>,
    ) -> BoxFuture<'a, Result<Held, Fault>> {
        let (mine, at, acks) = (claim.clone(), checkpoint.clone(), acks.clone());
        let trouble = trouble.map(str::to_owned);
        let apply = move |table: &MemoryState| {
            now(table.checkpoint(&mine, &at, &acks, trouble.as_deref(), behind_since))
        };
        self.write("checkpoint", claim, Write::Checkpoint(claim.epoch), apply)
    }

    fn end<'a>(&'a self, claim: &'a Claim, children: &'a [Child]) -> BoxFuture<'a, Result<Held, Fault>> {
        let (mine, children) = (claim.clone(), children.to_vec());
        let apply = move |table: &MemoryState| now(table.end(&mine, &children));
        self.write("end", claim, Write::End(claim.epoch), apply)
    }

    fn gap<'a>(
        &'a self,
        claim: &'a Claim,
        gap: &'a GapRow,
        halt: bool,
    ) -> BoxFuture<'a, Result<Held, Fault>> {
        let (mine, gap) = (claim.clone(), gap.clone());
        let what = Write::Gap(claim.epoch, gap.clone());
        let apply = move |table: &MemoryState| now(table.gap(&mine, &gap, halt));
        self.write("gap", claim, what, apply)
    }

    fn gaps<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<GapRow>, Fault>> {
        let (table, stream): (_, Arc<str>) = (self.table.clone(), stream.into());
        self.ask("list gaps", move || now(table.gaps(&stream))).boxed()
    }
}
