//! Many shards that change their owner for one reason: as few requests as they fit into.
//!
//! The reason is a condition on a worker's row, and two transactions that name one row at a time refuse each other. So
//! shards share transactions. Where nothing is asked of a worker, each is a request of its own, side by side.

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::request::{self, Change};
use super::rows::{self, Item};
use super::{Claim, Held, SIDE_BY_SIDE, Session, ShardRow, ShardState, TableState, WorkerRow, held};
use crate::outcome::Fault;
use crate::poller::state::table::transaction::Met;

/// The most shards of one transaction: a hundred actions, of which one is the worker's.
const AT_ONCE: usize = 99;

/// A shard's change, and whether a row is what it makes of it.
struct Move<'a> {
    change: Change,
    is_ours: Box<dyn Fn(&Item) -> bool + Send + Sync + 'a>,
}

impl TableState {
    pub(super) async fn claim_rows(
        &self,
        stream: &str,
        seen: &[ShardRow],
        dead: Option<&WorkerRow>,
        by: &Session,
    ) -> Result<Vec<Held>, Fault> {
        let (place, now) = (self.place(stream), self.now());
        let claim = |row: &ShardRow| {
            let next = row.epoch + 1;
            Move {
                change: request::claim(place.clone(), row, by, now),
                is_ours: Box::new(move |row| rows::is_owned(row, Some(by), next)),
            }
        };
        let mut all = vec![Held::Lost; seen.len()];
        // Nothing is left to do for whoever would own the others.
        let has_work = |row: &ShardRow| row.state != ShardState::Ended;
        let mut owners: Vec<Option<&Session>> = seen.iter().map(|row| row.owner.as_ref()).collect();
        owners.sort();
        owners.dedup();
        for owner in owners {
            let places: Vec<usize> = (0..seen.len())
                .filter(|it| seen[*it].owner.as_ref() == owner && has_work(&seen[*it]))
                .collect();
            let moves: Vec<Move<'_>> = places.iter().map(|it| claim(&seen[*it])).collect();
            let moved = match owner.filter(|owner| *owner != by) {
                None => self.one_by_one("claim", moves).await?,
                Some(owner) => {
                    let dead = dead.filter(|row| row.session == *owner);
                    let check =
                        || request::stands_still(self.workers_place(), owner, dead).check(&self.table);
                    self.together("claim", moves, check).await?
                }
            };
            places.into_iter().zip(moved).for_each(|(place, held)| all[place] = held);
        }
        Ok(all)
    }

    pub(super) async fn hand_over_rows(
        &self,
        claims: &[Claim],
        to: Option<&Session>,
    ) -> Result<Vec<Held>, Fault> {
        let now = self.now();
        let hand_over = |claim: &Claim| {
            let next = claim.epoch + 1;
            Move {
                change: request::hand_over(self.place(&claim.stream), claim, to, now),
                is_ours: Box::new(move |row| {
                    let state = rows::state(row);
                    let is_alive = matches!(state, Some(ShardState::Open | ShardState::EndedNoChildren));
                    is_alive && rows::is_owned(row, to, next)
                }),
            }
        };
        let moves = claims.iter().map(hand_over).collect();
        match to {
            None => self.one_by_one("hand over", moves).await,
            Some(to) => {
                let mail = || request::mail(self.workers_place(), to).action(&self.table);
                self.together("hand over", moves, mail).await
            }
        }
    }

    async fn one_by_one(&self, what: &str, moves: Vec<Move<'_>>) -> Result<Vec<Held>, Fault> {
        let each: Vec<_> = moves
            .into_iter()
            .map(|each| async move { Ok(held(self.update(what, each.change).await?, each.is_ours)) })
            .collect();
        stream::iter(each).buffered(SIDE_BY_SIDE).try_collect().await
    }

    /// Each transaction holds what is asked of the worker's row as well. If that is refused, all of its shards are.
    async fn together(
        &self,
        what: &str,
        moves: Vec<Move<'_>>,
        asked: impl Fn() -> Result<TransactWriteItem, Fault>,
    ) -> Result<Vec<Held>, Fault> {
        let mut all = Vec::with_capacity(moves.len());
        for chunk in moves.chunks(AT_ONCE) {
            let mut done = vec![None; chunk.len()];
            while done.iter().any(Option::is_none) {
                let open: Vec<usize> = (0..chunk.len()).filter(|place| done[*place].is_none()).collect();
                let shards = open.iter().map(|place| chunk[*place].change.clone().action(&self.table));
                let actions = shards.chain([asked()]).collect::<Result<_, _>>()?;
                let Some(mut refusals) = self.transact(what, actions).await? else {
                    open.iter().for_each(|place| done[*place] = Some(Held::Done));
                    break;
                };
                // Who was not to blame is asked for again, unless the worker's row is.
                let is_over = refusals.pop().flatten().is_some();
                for (place, refusal) in open.iter().zip(refusals) {
                    if is_over || refusal.is_some() {
                        done[*place] = Some(held(Met::Refused(refusal), &chunk[*place].is_ours));
                    }
                }
            }
            all.extend(done.into_iter().flatten());
        }
        Ok(all)
    }
}
