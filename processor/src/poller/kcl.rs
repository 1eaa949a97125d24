//! Takes over from the Kinesis Client Library: what its lease table says is done is done for our pollers.
//!
//! Nothing is written before everything is understood. The lease table is read twice, with a pause in between that is longer
//! than an application waits between two renewals: if anything moved, somebody is at work. What is written is only added, so
//! that whoever was cut off starts again and comes to the same end.

/// Which stream each lease is of.
mod assign;
/// A row of a lease table.
pub mod lease;
/// From leases to rows of ours.
pub mod plan;
/// What stands against it.
pub mod refusal;
/// Reads a lease table as a whole.
pub mod table;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use millstream_projections::SourceName;
use millstream_projections::config::{Config, duration};
use serde::{Serialize, Serializer};

use self::assign::{Candidate, assign};
use self::lease::{Entity, Lease, Position};
use self::plan::{Known, ShardPlan, Why, plan};
use self::refusal::Refusal;
use super::cursor::{Cursor, Page};
use super::lineage::Listed;
use super::listing;
use super::state::table::TableState;
use super::state::{Checkpoint, GapRow, ShardRow, ShardState, StateStore};
use crate::clock::{Clock, Deadline};
use crate::host::poll::{self, TableStream};
use crate::outcome::{Fault, FaultKind};
use crate::retry::RetryPolicy;
use crate::wiring::Aws;

/// What is to be taken over.
#[derive(Debug, Clone)]
pub struct Order {
    /// The lease table.
    pub lease_table: Arc<str>,
    /// For how long nothing in it may move.
    pub wait: Duration,
    /// From which time on shards are read whose leases do not say where KCL began, in seconds since 1970.
    pub since: Option<u64>,
    /// Whether shards that are gone and were not read to their end are let go.
    pub accepts_gaps: bool,
}

/// What would be written, and what stands against it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// How many leases there are.
    pub leases: usize,
    /// Who holds leases of shards that are not at their end. None of them renewed one.
    pub held_by: BTreeSet<Arc<str>>,
    /// How many leases are of streams that are none of the sources', by the names that they have in lease keys.
    pub left: BTreeMap<Arc<str>, usize>,
    /// The streams that there are leases of.
    pub streams: Vec<StreamPlan>,
    /// Why nothing is written, if nothing may be.
    #[serde(skip)]
    pub refusals: Vec<Refusal>,
}

/// What becomes of one stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamPlan {
    /// The source in the config.
    #[serde(serialize_with = "name")]
    pub source: SourceName,
    /// Its table.
    pub table: Arc<str>,
    /// The stream's ARN.
    pub stream: Arc<str>,
    /// Its shards, parents before their children.
    pub shards: Vec<ShardPlan>,
    /// What is lost.
    pub gaps: Vec<GapRow>,
    /// How many of the rows are there already, since this was begun before.
    pub present: usize,
}

/// Reads lease tables, and writes what follows from them.
pub struct Takeover {
    dynamodb: Client,
    streams: aws_sdk_dynamodbstreams::Client,
    state: TableState,
    state_table: Arc<str>,
    consumer: Arc<str>,
    clock: Arc<dyn Clock>,
    retry: RetryPolicy,
}

impl Takeover {
    /// For one consumer of a config. Makes no request.
    pub fn new(config: &Config, aws: &Aws, consumer: Arc<str>, clock: Arc<dyn Clock>) -> Self {
        let state_table: Arc<str> = config.state.state_table().into();
        let settings = &config.pipeline;
        Self {
            dynamodb: aws.dynamodb(),
            streams: aws.streams(),
            state: TableState::new(aws.dynamodb(), state_table.clone(), consumer.clone(), clock.clone()),
            state_table,
            consumer,
            clock,
            retry: RetryPolicy::new(settings.retry_initial, settings.retry_max, settings.retry_elapsed),
        }
    }

    /// Looks at everything, and writes nothing. `pause` is how the time between the two looks at the lease table passes.
    pub async fn plan(
        &self,
        order: &Order,
        sources: &[TableStream],
        pause: impl Future<Output = ()>,
    ) -> Result<Plan, Fault> {
        // What is not there is better told before the wait than after it.
        self.retry
            .run(Deadline::NONE, "look at the other workers", || self.state.workers())
            .await
            .map_err(poll::explained)?;
        let mut candidates = self.candidates(sources).await?;
        let before = table::read(&self.dynamodb, &self.retry, &order.lease_table).await?;
        pause.await;
        let after = table::read(&self.dynamodb, &self.retry, &order.lease_table).await?;
        let mut refusals = Vec::new();
        if let Some(moves) = table::moves(&before, &after) {
            refusals.push(Refusal::Moves { moves, waited: duration::text(order.wait) });
        }
        let leases = read_all(&after, &mut refusals);
        if leases.is_empty() && refusals.is_empty() {
            refusals.push(Refusal::Empty { table: order.lease_table.clone() });
        }
        let unfinished = leases.iter().filter(|lease| lease.position != Position::ShardEnd);
        let mut plan = Plan {
            leases: leases.len(),
            held_by: unfinished.filter_map(|lease| lease.owner.clone()).collect(),
            left: BTreeMap::new(),
            streams: Vec::new(),
            refusals,
        };
        // A lease that is not understood might be of any stream.
        if !plan.refusals.iter().any(|refusal| matches!(refusal, Refusal::Damaged { .. })) {
            for candidate in &mut candidates {
                self.list_again(candidate).await?;
            }
            self.share_out(order, leases, &candidates, &mut plan).await?;
        }
        Ok(plan)
    }

    /// Gives each stream its leases, and plans what becomes of it.
    async fn share_out(
        &self,
        order: &Order,
        leases: Vec<Lease>,
        candidates: &[Candidate],
        plan: &mut Plan,
    ) -> Result<(), Fault> {
        let assigned = match assign(leases, candidates) {
            Ok(assigned) => assigned,
            Err(refusal) => {
                plan.refusals.push(refusal);
                return Ok(());
            }
        };
        plan.left = assigned.left;
        for (candidate, leases) in candidates.iter().zip(assigned.leases) {
            if !leases.is_empty() {
                let (stream, refusals) = self.plan_stream(order, candidate, &leases).await?;
                plan.streams.push(stream);
                plan.refusals.extend(refusals);
            }
        }
        Ok(())
    }

    /// Writes a plan that nothing stands against. What is there already stays.
    pub async fn write(&self, plan: &Plan) -> Result<(), Fault> {
        if let Some(refusal) = plan.refusals.first() {
            return Err(Fault::new(FaultKind::Misconfigured, refusal.to_string()));
        }
        for stream in &plan.streams {
            let rows = stream.shards.iter().map(|shard| shard.row.clone());
            // What begins at a time comes last: a poller takes the time of rows that are there for those that are not.
            let (last, first): (Vec<ShardRow>, Vec<ShardRow>) =
                rows.partition(|row| matches!(row.checkpoint, Checkpoint::Since(_)));
            let add = || async {
                self.state.note_gaps(&stream.stream, &stream.gaps).await?;
                self.state.add(&stream.stream, &first).await?;
                self.state.add(&stream.stream, &last).await
            };
            self.retry.run(Deadline::NONE, "write the shards", add).await?;
            let rows = self.rows(&stream.stream).await?;
            let (others, _) = compare(&rows, &stream.shards);
            if let Some(other) = others.first() {
                let source = &stream.source;
                let cause =
                    format!("somebody else wrote shards of source {source} at the same time: {other}");
                return Err(Fault::new(FaultKind::Conflict, cause));
            }
        }
        Ok(())
    }

    async fn plan_stream(
        &self,
        order: &Order,
        candidate: &Candidate,
        leases: &[Lease],
    ) -> Result<(StreamPlan, Vec<Refusal>), Fault> {
        let now = self.clock.unix_seconds();
        let listed: HashSet<&str> = candidate.listed.iter().map(|it| &*it.shard).collect();
        let mut readable = HashSet::new();
        for lease in leases.iter().filter(|lease| !listed.contains(&*lease.shard)) {
            if lease.position != Position::ShardEnd && self.is_readable(&candidate.stream, lease).await? {
                readable.insert(lease.shard.clone());
            }
        }
        let known = Known { leases, listed: &candidate.listed, readable: &readable, since: order.since, now };
        let (shards, mut refusals) = plan(&known);
        if order.accepts_gaps {
            refusals.retain(|refusal| !refusal.is_a_gap());
        }
        let (others, present) = compare(&self.rows(&candidate.stream).await?, &shards);
        if !others.is_empty() {
            refusals.push(Refusal::Taken {
                consumer: self.consumer.clone(),
                source_name: candidate.source.clone(),
                shards: others,
                place: format!("{}/{}", self.consumer, candidate.stream),
                table: self.state_table.clone(),
            });
        }
        let (source, table, stream) =
            (candidate.source.clone(), candidate.table.clone(), candidate.stream.clone());
        let gaps = gaps(&shards, now);
        Ok((StreamPlan { source, table, stream, shards, gaps, present }, refusals))
    }

    /// The streams of the sources, each once, with their shards.
    async fn candidates(&self, sources: &[TableStream]) -> Result<Vec<Candidate>, Fault> {
        let mut found: Vec<Candidate> = Vec::with_capacity(sources.len());
        for source in sources {
            let stream = source.stream.clone()?;
            if found.iter().any(|known| known.stream == stream) {
                continue;
            }
            let listed = self.list(&stream).await?;
            let (source, table) = (source.source.clone(), source.table.clone());
            found.push(Candidate { source, table, stream, listed });
        }
        Ok(found)
    }

    /// A listing can lack a shard for a while. What it lacked before the pause it has after it.
    async fn list_again(&self, candidate: &mut Candidate) -> Result<(), Fault> {
        let listed = self.list(&candidate.stream).await?;
        let known: HashSet<Arc<str>> = candidate.listed.iter().map(|it| it.shard.clone()).collect();
        candidate.listed.extend(listed.into_iter().filter(|it| !known.contains(&it.shard)));
        Ok(())
    }

    async fn list(&self, stream: &str) -> Result<Vec<Listed>, Fault> {
        listing::list(&self.streams, stream, None, &self.retry).await
    }

    async fn rows(&self, stream: &str) -> Result<Vec<ShardRow>, Fault> {
        self.retry.run(Deadline::NONE, "read the shards", || self.state.shards(stream)).await
    }

    /// Whether a shard that no listing shows can be read where its lease left it: a listing lacks what is too new as well.
    async fn is_readable(&self, stream: &Arc<str>, lease: &Lease) -> Result<bool, Fault> {
        let from = match &lease.position {
            Position::After(at) => Checkpoint::After(at.to_string()),
            Position::TrimHorizon | Position::Latest | Position::AtTimestamp | Position::ShardEnd => {
                Checkpoint::TrimHorizon
            }
        };
        let ask = || async {
            let mut cursor = Cursor::new(self.streams.clone(), stream.clone(), lease.shard.clone(), &from);
            cursor.page().await
        };
        let page = self.retry.run(Deadline::NONE, "ask for a shard", ask).await?;
        Ok(match page {
            Page::Again | Page::Records { .. } => true,
            Page::Trimmed | Page::Gone => false,
        })
    }
}

fn name<S: Serializer>(name: &SourceName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

fn read_all(rows: &table::Rows, refusals: &mut Vec<Refusal>) -> Vec<Lease> {
    let mut leases = Vec::new();
    for (key, item) in rows {
        match lease::read(item) {
            Ok(Entity::Lease(lease)) => leases.push(lease),
            Ok(Entity::Other) => {}
            Err(why) => refusals.push(Refusal::Damaged { lease: key.clone(), why }),
        }
    }
    leases
}

fn gaps(shards: &[ShardPlan], now: u64) -> Vec<GapRow> {
    let lost = shards.iter().filter(|shard| shard.why == Why::Lost);
    let gap = |shard: &ShardPlan| GapRow {
        shard: shard.row.shard.clone(),
        after: match &shard.row.checkpoint {
            Checkpoint::After(at) => Some(at.clone()),
            Checkpoint::TrimHorizon | Checkpoint::From(_) | Checkpoint::Since(_) => None,
        },
        before: None,
        found_at: now,
    };
    lost.map(gap).collect()
}

/// The rows that are not as they would be written, and how many are.
fn compare(rows: &[ShardRow], plans: &[ShardPlan]) -> (Vec<Arc<str>>, usize) {
    let plans: HashMap<&str, &ShardRow> = plans.iter().map(|plan| (&*plan.row.shard, &plan.row)).collect();
    let has_ended = |row: &ShardRow| matches!(row.state, ShardState::Ended | ShardState::EndedNoChildren);
    let is_as_planned = |row: &&ShardRow| {
        let is_untouched = row.epoch == 0 && row.owner.is_none();
        is_untouched
            && match plans.get(&*row.shard) {
                // A child that is listed by now changes nothing.
                Some(plan) => {
                    (row.state == plan.state || has_ended(row) && has_ended(plan))
                        && (&row.parent, &row.checkpoint, &row.acks)
                            == (&plan.parent, &plan.checkpoint, &plan.acks)
                }
                // It had ended, and the stream forgot it since.
                None => has_ended(row),
            }
    };
    let (same, others): (Vec<&ShardRow>, Vec<&ShardRow>) = rows.iter().partition(is_as_planned);
    (others.iter().map(|row| row.shard.clone()).collect(), same.len())
}
