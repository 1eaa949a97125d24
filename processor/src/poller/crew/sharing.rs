//! Shares the shards of one stream out: what this worker takes, what it hands over, and what it leaves to others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Crew, Order};
use crate::outcome::Fault;
use crate::poller::lineage::{self, is_readable, waits_its_turn};
use crate::poller::state::{Claim, Held, Session, ShardRow, ShardState, WorkerRow};
use crate::poller::{StreamSource, listing, shares};

/// How often all shards of a stream are listed anew, by one of the workers, and each looks up the streams of its tables.
pub(super) const DISCOVER_EVERY: Duration = Duration::from_secs(600);
/// How soon a listing that failed is asked for again.
pub(super) const DISCOVER_AGAIN: Duration = Duration::from_secs(5);
/// How soon after the end of a shard all are listed: one of its children may have been listed late.
pub(super) const DISCOVER_CHILDREN: Duration = Duration::from_secs(30);
/// How long a shard that is there and not listed is waited for; then it is read as if it followed nothing.
const INCOMPLETE: Duration = Duration::from_secs(60);
/// What stands for the listing of a stream when it is shared out like a shard.
const DISCOVERY: &str = "discovery";

/// How a stream stands.
pub(super) struct Standing {
    /// Whether it is read to its end.
    pub(super) is_over: bool,
    /// How many shards wait for an operator.
    pub(super) halted: u64,
}

/// The rows of a stream by their shards.
type Known<'r> = HashMap<&'r str, &'r ShardRow>;

impl Crew<'_> {
    /// Takes what is this worker's to read, and hands over what is not. Tells how the stream stands.
    pub(super) async fn share_out(
        &mut self,
        source: &StreamSource,
        is_superseded: bool,
    ) -> Result<Standing, Fault> {
        let rows = self.discovered(source).await?;
        let known: Known<'_> = rows.iter().map(|row| (&*row.shard, row)).collect();
        self.drop_lost(source, &known);
        let (live, on_gap) = (self.members.live().to_vec(), self.poller.settings.on_gap);
        let heirs = |dead: &WorkerRow| (dead.session.clone(), self.members.heirs(&dead.session));
        let heirs: HashMap<Session, Vec<Session>> = self.members.all_dead().map(heirs).collect();
        let mut moves = self.poller.settings.moves;
        let mut free: BTreeMap<Option<&Session>, Vec<ShardRow>> = BTreeMap::new();
        for row in &rows {
            if !is_readable(row, &known, on_gap) {
                self.has_unread |= waits_its_turn(row, &known, on_gap);
                continue;
            }
            if is_superseded && row.state == ShardState::EndedNoChildren {
                // What would be its children is in the stream that follows.
                self.stop(source, &row.shard, None);
                continue;
            }
            let wanted = shares::owner_of(&row.shard, &live);
            // One that stands still is for whoever goes on: the one whose it would be may not.
            let is_mine = row.state == ShardState::Gap
                || match row.owner.as_ref().and_then(|owner| heirs.get(owner)) {
                    Some(heirs) => shares::owner_of(&row.shard, heirs) == Some(&self.poller.session),
                    None => wanted == Some(&self.poller.session),
                };
            match &row.owner {
                Some(owner) if *owner == self.poller.session => {
                    self.start(source, row);
                    if !is_mine
                        && moves > 0
                        && !self.passes_gap(source, row)
                        // Who was never seen to move may be dead for a day.
                        && let Some(to) = wanted.filter(|to| self.members.has_moved(to)).cloned()
                    {
                        moves -= 1;
                        self.stop(source, &row.shard, Some(to));
                    }
                }
                Some(owner) if self.members.is_live(owner) => {
                    self.has_unread |= !self.members.has_moved(owner);
                }
                owner if is_mine => free.entry(owner.as_ref()).or_default().push(row.clone()),
                Some(_) | None => self.has_unread = true,
            }
        }
        for (owner, shards) in free {
            self.claim(source, &shards, owner).await;
        }
        let is_over = |row: &ShardRow| matches!(row.state, ShardState::Ended | ShardState::EndedNoChildren);
        let is_listed = !rows.is_empty() || self.discover_at.contains_key(&source.stream);
        let is_whole = !self.incomplete_since.contains_key(&source.stream);
        let halted = rows.iter().filter(|row| row.state == ShardState::Gap).count() as u64;
        Ok(Standing { is_over: rows.iter().all(is_over) && is_listed && is_whole, halted })
    }

    /// All shards of a stream that are known, after a listing where one is due.
    async fn discovered(&mut self, source: &StreamSource) -> Result<Vec<ShardRow>, Fault> {
        let (state, clock) = (&self.poller.state, &self.poller.pipeline.clock);
        let rows = state.shards(&source.stream).await?;
        if !self.has_to_discover(source, &rows) {
            return Ok(rows);
        }
        let retry = &self.poller.pipeline.limits.retry;
        let incomplete_since = self.incomplete_since.get(&source.stream).copied();
        let found = async {
            let listing = listing::all(&self.poller.client, &source.stream, &rows, retry).await?;
            let is_whole = listing.unlisted.is_empty();
            let listed = match incomplete_since.is_some_and(|since| since.elapsed() > INCOMPLETE) {
                true => [listing.shards, listing.unlisted].concat(),
                false => listing.in_order(),
            };
            let added = lineage::to_add(&listed, &rows, &source.start, clock.unix_seconds());
            state.add(&source.stream, &added).await?;
            Ok::<_, Fault>((state.shards(&source.stream).await?, is_whole))
        };
        match found.await {
            Ok((rows, is_whole)) => {
                self.listed(&source.stream, is_whole);
                Ok(rows)
            }
            Err(fault) if rows.is_empty() => Err(fault),
            // What is known can be shared out all the same.
            Err(fault) => {
                tracing::warn!(stream = %source.stream, cause = %fault, "shards cannot be listed now");
                self.discover_at.insert(source.stream.clone(), Instant::now() + DISCOVER_AGAIN);
                self.has_unread = true;
                Ok(rows)
            }
        }
    }

    /// A stream was listed. What is not listed now will be, most likely soon.
    fn listed(&mut self, stream: &Arc<str>, is_whole: bool) {
        let now = Instant::now();
        let at = match (is_whole, self.settled_at > now) {
            (false, _) => now + DISCOVER_AGAIN,
            (true, true) => self.settled_at,
            (true, false) => {
                self.ended_here.remove(stream);
                now + DISCOVER_EVERY
            }
        };
        self.discover_at.insert(stream.clone(), at);
        if is_whole {
            self.incomplete_since.remove(stream);
        } else {
            self.incomplete_since.entry(stream.clone()).or_insert(now);
            (self.has_unread, self.refresh_at) = (true, self.refresh_at.min(at));
        }
    }

    fn has_to_discover(&self, source: &StreamSource, rows: &[ShardRow]) -> bool {
        let name = format!("{DISCOVERY}/{}", source.stream);
        let is_due = self.discover_at.get(&source.stream).is_none_or(|at| *at <= Instant::now());
        let is_mine = || shares::owner_of(&name, self.members.live()) == Some(&self.poller.session);
        is_due && (rows.is_empty() || self.ended_here.contains(&source.stream) || is_mine())
    }

    /// What others have taken meanwhile, this worker reads no longer: it was taken for dead, and came back.
    fn drop_lost(&self, source: &StreamSource, known: &Known<'_>) {
        for ((stream, shard), job) in &self.jobs {
            let row = known.get(&**shard).filter(|_| *stream == source.stream);
            let is_held = |row: &&ShardRow| {
                row.owner.as_ref() == Some(&job.claim.owner) && row.epoch == job.claim.epoch
            };
            if row.is_some_and(|row| !is_held(row)) {
                job.orders.send_replace(Order::Drop);
            }
        }
    }

    /// Takes shards that are all one's, who is dead, or nobody's.
    async fn claim(&mut self, source: &StreamSource, rows: &[ShardRow], owner: Option<&Session>) {
        let session = &self.poller.session;
        let dead = owner.and_then(|owner| self.members.dead(owner));
        let held = match self.poller.state.claim_all(&source.stream, rows, dead, session).await {
            Ok(held) => held,
            Err(fault) => {
                tracing::warn!(stream = %source.stream, shards = rows.len(), cause = %fault, "shards cannot be taken now");
                vec![Held::Lost; rows.len()]
            }
        };
        for (row, held) in rows.iter().zip(held) {
            match held {
                Held::Done => {
                    let (owner, epoch) = (Some(session.clone()), row.epoch + 1);
                    self.start(source, &ShardRow { owner, epoch, ..row.clone() });
                }
                Held::Lost => (self.has_unread, self.refresh_at) = (true, Instant::now()),
            }
        }
    }

    /// Lets go of what this worker owns and does not read: shards that were on their way to it when it was told to stop.
    pub(super) async fn let_go_unread(&self) {
        for stream in self.sources.iter().flat_map(|source| &source.streams).map(|it| &it.stream) {
            let rows = match self.poller.state.shards(stream).await {
                Ok(rows) => rows,
                Err(fault) => {
                    tracing::warn!(%stream, cause = %fault, "what is not read is not handed over now");
                    continue;
                }
            };
            let is_unread = |row: &&ShardRow| {
                let place = (stream.clone(), row.shard.clone());
                let is_alive = matches!(row.state, ShardState::Open | ShardState::EndedNoChildren);
                is_alive
                    && row.owner.as_ref() == Some(&self.poller.session)
                    && !self.jobs.contains_key(&place)
            };
            let claims: Vec<Claim> =
                rows.iter().filter(is_unread).map(|row| self.claim_of(stream, row)).collect();
            if let Err(fault) = self.poller.state.hand_over_all(&claims, None).await {
                tracing::warn!(%stream, cause = %fault, "what is not read is not handed over now");
            }
        }
    }

    pub(super) fn claim_of(&self, stream: &Arc<str>, row: &ShardRow) -> Claim {
        Claim {
            stream: stream.clone(),
            shard: row.shard.clone(),
            owner: self.poller.session.clone(),
            epoch: row.epoch,
        }
    }
}
