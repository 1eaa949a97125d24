//! The pollers' state in a DynamoDB table, which [`setup`](crate::setup) makes.
//!
//! | `consumer` | `row` | holds |
//! |---|---|---|
//! | `<consumer>/workers` | `worker/<session>` | a worker: its heartbeat, and its mail |
//! | `<consumer>/<stream>` | `shard/<shard>` | a shard: its owner, its epoch, how far it is done |
//! | `<consumer>/streams` | `<stream>` | a stream of which a shard is known, or was |
//! | `<consumer>/<stream>` | `gap/<shard>/<after>` | what was lost of a shard |
//!
//! A list is one consistent query. A write that is refused brings the row that refused it, which tells whether this very
//! write is what stands there: then its answer was lost the first time, and it is done.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use self::request::Change;
use self::rows::{CONSUMER, Item, ROW};
use self::transaction::Met;
use super::{
    Acks, Checkpoint, Child, Claim, GapRow, Held, Session, ShardRow, ShardState, StateStore, WorkerRow,
};
use crate::clock::Clock;
use crate::outcome::{Fault, FaultKind};
use crate::poller::lineage::parents_first;
use crate::setup::table::Definition;
use crate::sink::fault::fault;

mod many;
mod request;
mod rows;
mod transaction;

/// How many rows are added side by side: a stream of a thousand shards is known within a second.
const SIDE_BY_SIDE: usize = 16;
/// How often the end of a shard is asked for anew when others add the same children in the meantime.
const ROUNDS: usize = 4;

/// The table's keys and its time to live.
pub(crate) const DEFINITION: Definition = Definition {
    key: (CONSUMER, Some(ROW)),
    indexes: &[],
    numbers: &[],
    binaries: &[],
    expires: Some(rows::EXPIRES),
};

/// The state of one consumer in a table.
#[derive(Clone)]
pub struct TableState {
    client: Client,
    table: Arc<str>,
    consumer: Arc<str>,
    clock: Arc<dyn Clock>,
}

impl TableState {
    /// The state of `consumer` in `table`. Makes no request.
    pub fn new(client: Client, table: Arc<str>, consumer: Arc<str>, clock: Arc<dyn Clock>) -> Self {
        Self { client, table, consumer, clock }
    }

    async fn end_row(&self, claim: &Claim, children: &[Child]) -> Result<Held, Fault> {
        let place = self.place(&claim.stream);
        if children.is_empty() {
            let change = request::end_without_children(place, claim, self.now());
            let met = self.update("end", change).await?;
            return Ok(held(met, |row| rows::is_owned(row, Some(&claim.owner), claim.epoch)));
        }
        let mut left: Vec<&Child> = children.iter().collect();
        for _ in 0..ROUNDS {
            let parent = request::end(place.clone(), claim, self.now()).action(&self.table)?;
            let mut actions = vec![parent];
            for child in &left {
                actions.push(request::child(&place, claim, child, self.now()).action(&self.table)?);
            }
            let Some(refusals) = self.transact("end", actions).await? else { return Ok(Held::Done) };
            if refusals[0].is_some() {
                return Ok(Held::Lost);
            }
            // A child that is done keeps its row; the others still have to come with the parent's end.
            let mut known = refusals[1..].iter().map(Option::is_some);
            left.retain(|_| !known.next().unwrap_or(false));
        }
        let cause = format!("end shard {}: others keep adding its children", claim.shard);
        Err(Fault::new(FaultKind::Conflict, cause))
    }

    async fn record_gap(&self, claim: &Claim, gap: &GapRow, halt: bool) -> Result<Held, Fault> {
        let place = self.place(&claim.stream);
        let row = request::gap(place.clone(), gap, self.now()).action(&self.table)?;
        let shard = match halt {
            true => request::halt(place, claim, self.now()).action(&self.table)?,
            false => request::is_held(place, claim).check(&self.table)?,
        };
        let met = Met::of_first(self.transact("record a gap", vec![shard, row]).await?);
        let is_ours = |row: &Item| {
            halt && rows::state(row) == Some(ShardState::Gap) && rows::is_owned(row, None, claim.epoch + 1)
        };
        Ok(held(met, is_ours))
    }

    /// Parents before their children: whoever reads the rows in between never takes a child for an orphan.
    async fn add_rows(&self, stream: &str, shards: &[ShardRow]) -> Result<(), Fault> {
        if !shards.is_empty() {
            let row = self.client.put_item().table_name(&*self.table);
            let row = row.set_item(Some(rows::key(&self.streams_place(), stream)));
            row.send().await.map_err(|error| fault(self.doing("PutItem", "add a stream"), &error))?;
        }
        let place = self.place(stream);
        for group in parents_first(shards, |row| (&row.shard, row.parent.as_deref())) {
            let puts: Vec<_> = group.into_iter().map(|row| self.add_row(&place, row)).collect();
            stream::iter(puts).buffer_unordered(SIDE_BY_SIDE).try_collect::<Vec<()>>().await?;
        }
        Ok(())
    }

    /// Records gaps that nobody met while reading: whoever takes over from another library hears of them from its state.
    pub async fn note_gaps(&self, stream: &str, gaps: &[GapRow]) -> Result<(), Fault> {
        for gap in gaps {
            let row = request::gap(self.place(stream), gap, self.now()).action(&self.table)?;
            self.transact("record a gap", vec![row]).await?;
        }
        Ok(())
    }

    async fn add_row(&self, place: &str, row: &ShardRow) -> Result<(), Fault> {
        let put = self
            .client
            .put_item()
            .table_name(&*self.table)
            .set_item(Some(rows::of_shard(place, row)))
            .condition_expression(request::ABSENT)
            .expression_attribute_names("#row", ROW);
        match put.send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|it| it.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(fault(self.doing("PutItem", "add"), &error)),
        }
    }

    async fn beat_row(&self, worker: &WorkerRow) -> Result<(), Fault> {
        let change = request::beat(self.workers_place(), worker, self.now());
        // Refused by a later heartbeat of this worker: this one was on its way for long, and says nothing new.
        self.update("beat", change).await.map(|_| ())
    }

    async fn leave_row(&self, session: &Session) -> Result<(), Fault> {
        let key = rows::key(&self.workers_place(), &rows::worker_row(session));
        let delete = self.client.delete_item().table_name(&*self.table).set_key(Some(key));
        delete.send().await.map(|_| ()).map_err(|error| fault(self.doing("DeleteItem", "leave"), &error))
    }

    async fn sweep_row(&self, dead: &WorkerRow) -> Result<(), Fault> {
        let key = rows::key(&self.workers_place(), &rows::worker_row(&dead.session));
        let delete = self.client.delete_item().table_name(&*self.table).set_key(Some(key));
        let delete = delete
            .condition_expression(request::STANDS_STILL)
            .expression_attribute_names("#heartbeat", "heartbeat")
            .expression_attribute_values(":heartbeat", rows::number(dead.heartbeat));
        match delete.send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|it| it.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(fault(self.doing("DeleteItem", "sweep"), &error)),
        }
    }

    /// Sends one conditional update.
    async fn update(&self, what: &str, change: Change) -> Result<Met, Fault> {
        let sent = change.update(&self.client, &self.table).send().await;
        transaction::met(sent, || self.doing("UpdateItem", what))
    }

    /// Sends a transaction; if it was refused by conditions, what each action met.
    async fn transact(
        &self,
        what: &str,
        actions: Vec<TransactWriteItem>,
    ) -> Result<Option<Vec<Option<Item>>>, Fault> {
        let sent = self.client.transact_write_items().set_transact_items(Some(actions)).send().await;
        transaction::refusals(sent, || self.doing("TransactWriteItems", what))
    }

    /// All rows of one kind.
    async fn rows<T>(
        &self,
        place: String,
        kind: &str,
        read: impl Fn(&Item) -> Result<T, String>,
    ) -> Result<Vec<T>, Fault> {
        let pages = self
            .client
            .query()
            .table_name(&*self.table)
            .consistent_read(true)
            .key_condition_expression("#consumer = :consumer AND begins_with(#row, :kind)")
            .expression_attribute_names("#consumer", CONSUMER)
            .expression_attribute_names("#row", ROW)
            .expression_attribute_values(":consumer", AttributeValue::S(place))
            .expression_attribute_values(":kind", AttributeValue::S(kind.to_owned()));
        let mut items = pages.into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| fault(self.doing("Query", "read"), &error))?;
            let row = read(&item).map_err(|why| {
                let cause = format!("row `{}` of table {} is damaged: {why}", rows::name(&item), self.table);
                Fault::new(FaultKind::Misconfigured, cause)
            })?;
            found.push(row);
        }
        Ok(found)
    }

    fn place(&self, stream: &str) -> String {
        format!("{}/{stream}", self.consumer)
    }

    fn streams_place(&self) -> String {
        format!("{}/streams", self.consumer)
    }

    fn workers_place(&self) -> String {
        format!("{}/workers", self.consumer)
    }

    fn now(&self) -> u64 {
        self.clock.unix_seconds()
    }

    fn doing(&self, call: &str, what: &str) -> String {
        format!("{call} ({what}) on the pollers' state in table {}", self.table)
    }
}

/// How a write ended that met what it met.
fn held(met: Met, is_ours: impl Fn(&Item) -> bool) -> Held {
    match met {
        Met::Written => Held::Done,
        Met::Refused(Some(row)) if is_ours(&row) => Held::Done,
        Met::Refused(_) => Held::Lost,
    }
}

impl StateStore for TableState {
    fn beat<'a>(&'a self, worker: &'a WorkerRow) -> BoxFuture<'a, Result<(), Fault>> {
        self.beat_row(worker).boxed()
    }

    fn leave<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), Fault>> {
        self.leave_row(session).boxed()
    }

    fn workers(&self) -> BoxFuture<'_, Result<Vec<WorkerRow>, Fault>> {
        self.rows(self.workers_place(), rows::WORKER, rows::worker).boxed()
    }

    fn shards<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<ShardRow>, Fault>> {
        self.rows(self.place(stream), rows::SHARD, rows::shard).boxed()
    }

    fn sweep<'a>(&'a self, dead: &'a WorkerRow) -> BoxFuture<'a, Result<(), Fault>> {
        self.sweep_row(dead).boxed()
    }

    fn streams<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Vec<Arc<str>>, Fault>> {
        let kind = rows::streams_of(table);
        async move { self.rows(self.streams_place(), &kind, rows::stream).await }.boxed()
    }

    fn add<'a>(&'a self, stream: &'a str, shards: &'a [ShardRow]) -> BoxFuture<'a, Result<(), Fault>> {
        self.add_rows(stream, shards).boxed()
    }

    fn claim_all<'a>(
        &'a self,
        stream: &'a str,
        seen: &'a [ShardRow],
        dead: Option<&'a WorkerRow>,
        by: &'a Session,
    ) -> BoxFuture<'a, Result<Vec<Held>, Fault>> {
        self.claim_rows(stream, seen, dead, by).boxed()
    }

    fn hand_over_all<'a>(
        &'a self,
        claims: &'a [Claim],
        to: Option<&'a Session>,
    ) -> BoxFuture<'a, Result<Vec<Held>, Fault>> {
        self.hand_over_rows(claims, to).boxed()
    }

    fn checkpoint<'a>(
        &'a self,
        claim: &'a Claim,
        checkpoint: &'a Checkpoint,
        acks: &'a Acks,
        trouble: Option<&'a str>,
        behind_since: Option<u64>,
    ) -> BoxFuture<'a, Result<Held, Fault>> {
        let place = self.place(&claim.stream);
        let change = request::checkpoint(place, claim, checkpoint, acks, trouble, behind_since, self.now());
        async move { Ok(held(self.update("checkpoint", change).await?, |_| false)) }.boxed()
    }

    fn end<'a>(&'a self, claim: &'a Claim, children: &'a [Child]) -> BoxFuture<'a, Result<Held, Fault>> {
        self.end_row(claim, children).boxed()
    }

    fn gap<'a>(
        &'a self,
        claim: &'a Claim,
        gap: &'a GapRow,
        halt: bool,
    ) -> BoxFuture<'a, Result<Held, Fault>> {
        self.record_gap(claim, gap, halt).boxed()
    }

    fn gaps<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<GapRow>, Fault>> {
        self.rows(self.place(stream), rows::GAP, rows::gap).boxed()
    }
}
