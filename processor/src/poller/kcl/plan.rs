//! From the leases and the shards of one stream to rows of ours. Pure: what a lease does not say is told by what KCL does.
//!
//! KCL drops the lease of a shard that is done, once what follows it is begun, and with `LATEST` it makes none of what was closed
//! already. It makes one when the parent ends, or when a listing shows an open shard: then of all that this follows as well. So
//! of a shard without a lease its relatives tell. If something that comes after it has a lease, KCL is done with it, or was never
//! to read it. But not if it comes after a shard that is not at its end, or before one that KCL has not come to, of which KCL
//! would make it a lease anew; nor if its child waits at `TRIM_HORIZON`, before which no lease of its parent is dropped. What KCL
//! has not come to is read: once more is safe, not at all is not.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

use super::lease::{Lease, Position};
use super::refusal::Refusal;
use crate::poller::lineage::{Listed, parents_first, to_add};
use crate::poller::state::{Checkpoint, ShardRow, ShardState};

/// Why a shard begins where it begins, or is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Its lease is at its end.
    Done,
    /// Its lease has a sequence number.
    Checkpoint,
    /// Its lease says so.
    Oldest,
    /// Its lease has no number, and an operator said from which time on.
    Since,
    /// It has no lease, and what follows it has.
    Passed,
    /// It has no lease, and KCL would have made it one yet.
    Unseen,
    /// Its lease is not at its end, and the stream does not have it any more.
    Lost,
}

/// What becomes of one shard.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardPlan {
    /// The row that is written.
    #[serde(flatten)]
    pub row: ShardRow,
    /// Its lease, if it has one.
    pub lease: Option<Lease>,
    /// Why.
    pub why: Why,
}

/// What there is to know of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its leases.
    pub leases: &'a [Lease],
    /// Its shards, as far as the stream lists them.
    pub listed: &'a [Listed],
    /// Shards with a lease that are not listed, and can be read all the same.
    pub readable: &'a HashSet<Arc<str>>,
    /// From which time on shards are read of which a lease says only that KCL began somewhere, in seconds since 1970.
    pub since: Option<u64>,
    /// Now, in seconds since 1970.
    pub now: u64,
}

/// The rows of a stream, parents before their children, and what stands against writing them. A shard that is not
/// understood is in the second and not in the first.
pub fn plan(known: &Known<'_>) -> (Vec<ShardPlan>, Vec<Refusal>) {
    let forest = Forest::new(known);
    let mut refusals: Vec<Refusal> = forest.contradictions().collect();
    let (mut plans, mut timeless, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    for row in to_add(&forest.shards, &[], &Checkpoint::TrimHorizon, known.now) {
        let Some((state, checkpoint, why)) = forest.decide(&row.shard, known) else {
            timeless.push(row.shard);
            continue;
        };
        if why == Why::Lost {
            lost.push(row.shard.clone());
        }
        let lease = forest.leases.get(&*row.shard).map(|lease| Lease::clone(lease));
        plans.push(ShardPlan { row: ShardRow { state, checkpoint, ..row }, lease, why });
    }
    refusals.extend((!timeless.is_empty()).then_some(Refusal::NoTime { shards: timeless }));
    refusals.extend((!lost.is_empty()).then_some(Refusal::Lost { shards: lost }));
    (plans, refusals)
}

/// All shards that anyone knows, and how they follow each other.
struct Forest<'a> {
    shards: Vec<Listed>,
    listed: HashSet<&'a str>,
    leases: HashMap<&'a str, &'a Lease>,
    parents: HashMap<&'a str, &'a str>,
    /// Shards that something follows.
    followed: HashSet<&'a str>,
    /// Shards without a lease that KCL would have read yet.
    unseen: HashSet<&'a str>,
}

impl<'a> Forest<'a> {
    fn new(known: &Known<'a>) -> Self {
        let listed: HashSet<&str> = known.listed.iter().map(|shard| &*shard.shard).collect();
        let leases: HashMap<&str, &Lease> = known.leases.iter().map(|lease| (&*lease.shard, lease)).collect();
        let mut parents: HashMap<&str, &str> = HashMap::new();
        for lease in known.leases {
            parents.extend(lease.parent.as_deref().map(|parent| (&*lease.shard, parent)));
        }
        for shard in known.listed {
            parents.extend(shard.parent.as_deref().map(|parent| (&*shard.shard, parent)));
        }
        let unlisted = known.leases.iter().filter(|lease| !listed.contains(&*lease.shard));
        let unlisted = unlisted.map(|lease| (&lease.shard, None, true));
        let listed_ones = known.listed.iter().map(|it| (&it.shard, it.first.clone(), it.closed));
        let shards = listed_ones.chain(unlisted).map(|(shard, first, closed)| Listed {
            shard: shard.clone(),
            parent: parents.get(&**shard).map(|parent| (*parent).into()),
            first,
            closed,
        });
        let shards: Vec<Listed> = shards.collect();
        let followed = parents.values().copied().collect();
        let mut forest = Self { shards, listed, leases, parents, followed, unseen: HashSet::new() };
        forest.unseen = forest.unseen(known.listed);
        forest
    }

    fn unseen(&self, listed: &'a [Listed]) -> HashSet<&'a str> {
        let (mut passed, mut unseen) = (HashSet::new(), HashSet::new());
        // What is marked has its ancestors marked: both walks end, even in a circle.
        for lease in self.leases.values() {
            let mut at = &*lease.shard;
            while let Some(parent) = self.parents.get(at).copied().filter(|parent| passed.insert(*parent)) {
                at = parent;
            }
        }
        let waits = |lease: &&&Lease| lease.position == Position::TrimHorizon;
        let before: HashSet<&str> = self
            .leases
            .values()
            .filter(waits)
            .filter_map(|it| self.parents.get(&*it.shard).copied())
            .collect();
        let has_none = |shard: &&str| !self.leases.contains_key(*shard) && self.listed.contains(*shard);
        let ids = || listed.iter().map(|shard| &*shard.shard).filter(has_none);
        for shard in ids().filter(|shard| !passed.contains(shard) || before.contains(shard)) {
            let mut next = Some(shard);
            while let Some(at) = next.filter(|at| has_none(at) && unseen.insert(*at)) {
                next = self.parents.get(at).copied();
            }
        }
        for shard in parents_first(listed, |it| (&it.shard, it.parent.as_deref())).into_iter().flatten() {
            let parent = self.parents.get(&*shard.shard).copied();
            let comes_after = parent.is_some_and(|parent| match self.leases.get(parent) {
                Some(lease) => lease.position != Position::ShardEnd,
                None => unseen.contains(parent),
            });
            if comes_after && has_none(&&*shard.shard) {
                unseen.insert(&shard.shard);
            }
        }
        unseen
    }

    /// Leases that name another parent than the stream does: they are not of this stream.
    fn contradictions(&self) -> impl Iterator<Item = Refusal> {
        let contradicts = |lease: &&&Lease| {
            let known = self.parents.get(&*lease.shard);
            lease.parent.as_deref().is_some_and(|parent| known.is_some_and(|known| *known != parent))
        };
        let mut shards: Vec<_> =
            self.leases.values().filter(contradicts).map(|lease| lease.shard.clone()).collect();
        shards.sort();
        (!shards.is_empty()).then_some(Refusal::Parents { shards }).into_iter()
    }

    /// What becomes of a shard; none if nobody knows where it begins.
    fn decide(&self, shard: &str, known: &Known<'_>) -> Option<(ShardState, Checkpoint, Why)> {
        let Some(lease) = self.leases.get(shard) else { return Some(self.decide_without_lease(shard)) };
        let is_there = self.listed.contains(shard) || known.readable.contains(shard);
        Some(match &lease.position {
            // A shard that is listed still has children to come, if none is known.
            Position::ShardEnd if is_there && !self.followed.contains(shard) => {
                (ShardState::EndedNoChildren, Checkpoint::TrimHorizon, Why::Done)
            }
            Position::ShardEnd => (ShardState::Ended, Checkpoint::TrimHorizon, Why::Done),
            Position::After(at) if !is_there => {
                (ShardState::Ended, Checkpoint::After(at.to_string()), Why::Lost)
            }
            _ if !is_there => (ShardState::Ended, Checkpoint::TrimHorizon, Why::Lost),
            Position::After(at) => (ShardState::Open, Checkpoint::After(at.to_string()), Why::Checkpoint),
            Position::TrimHorizon => (ShardState::Open, Checkpoint::TrimHorizon, Why::Oldest),
            Position::Latest | Position::AtTimestamp => {
                (ShardState::Open, Checkpoint::Since(known.since?), Why::Since)
            }
        })
    }

    fn decide_without_lease(&self, shard: &str) -> (ShardState, Checkpoint, Why) {
        match self.unseen.contains(shard) {
            true => (ShardState::Open, Checkpoint::TrimHorizon, Why::Unseen),
            false => (ShardState::Ended, Checkpoint::TrimHorizon, Why::Passed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_750_000_000;

    fn named(text: &str) -> (Arc<str>, Option<Arc<str>>) {
        text.split_once('<')
            .map_or((text.into(), None), |(shard, parent)| (shard.into(), Some(parent.into())))
    }

    fn lease(text: &str) -> Lease {
        let (name, position) = text.split_once(':').unwrap();
        let (shard, parent) = named(name);
        let position = match position {
            "end" => Position::ShardEnd,
            "oldest" => Position::TrimHorizon,
            "latest" => Position::Latest,
            "time" => Position::AtTimestamp,
            sequence => Position::After(sequence.into()),
        };
        Lease { key: shard.clone(), stream: None, shard, parent, owner: None, position }
    }

    /// What becomes of the shards of a listing, `shard` or `child<parent`, by their leases, and what is refused.
    fn of(listing: &str, leases: &str, since: Option<u64>) -> (String, Vec<Refusal>) {
        let listed = listing.split_whitespace().map(|text| {
            let (shard, parent) = named(text);
            Listed { shard, parent, first: None, closed: false }
        });
        let (listed, leases): (Vec<Listed>, Vec<Lease>) =
            (listed.collect(), leases.split_whitespace().map(lease).collect());
        let readable = HashSet::from(["there".into()]);
        let (plans, refusals) =
            plan(&Known { leases: &leases, listed: &listed, readable: &readable, since, now: NOW });
        let text = |plan: &ShardPlan| {
            let is = match (plan.row.state, &plan.row.checkpoint) {
                (ShardState::Open, Checkpoint::From(first)) => format!("from-{first}"),
                (ShardState::Ended, _) => "ended".to_owned(),
                (ShardState::EndedNoChildren, _) => "childless".to_owned(),
                (ShardState::Open, Checkpoint::TrimHorizon) => "whole".to_owned(),
                (ShardState::Open, Checkpoint::Since(_)) => "since".to_owned(),
                (ShardState::Open, Checkpoint::After(at)) => at.clone(),
                (ShardState::Gap, _) => "gap".to_owned(),
            };
            format!("{}:{is}", plan.row.shard)
        };
        (plans.iter().map(text).collect::<Vec<_>>().join(" "), refusals)
    }

    #[track_caller]
    fn check(listing: &str, leases: &str, expected: &str) {
        assert_eq!(of(listing, leases, Some(NOW)), (expected.to_owned(), Vec::new()), "{listing} / {leases}");
    }

    #[test]
    fn a_lease_says_where_its_shard_begins() {
        check("a b c d e", "a:end b:7 c:oldest d:latest e:time", "a:childless b:7 c:whole d:since e:since");
        check("a b<a", "a:end b:7", "a:ended b:7");
        check("b<a", "a:end b<a:7", "a:ended b:7");
    }

    #[test]
    fn what_follows_without_a_lease_is_read_whole() {
        check("a b<a c<b", "a:7", "a:7 b:whole c:whole");
        check("a b<a c<a", "a:end c:7", "a:ended b:whole c:7");
        check("a b<a d", "a:latest", "a:since d:whole b:whole");
    }

    #[test]
    fn what_comes_before_a_lease_is_done() {
        check("a b<a c<b", "c:7", "a:ended b:ended c:7");
        check("a b<a c<b", "c:latest", "a:ended b:ended c:since");
        // KCL keeps the lease of a shard as long as one of its children is not begun.
        check("a b<a c<b d<a", "a:end c:7 d:oldest", "a:ended b:ended d:whole c:7");
    }

    #[test]
    fn what_comes_after_a_shard_that_is_not_at_its_end_is_read() {
        check("a b<a c<b", "a:7 c:9", "a:7 b:whole c:9");
        check("a b<a c<b d<c", "a:oldest d:9", "a:whole b:whole c:whole d:9");
    }

    #[test]
    fn what_comes_before_a_shard_that_kcl_has_not_come_to_is_read_anew() {
        check("a b<a c<a d<b", "d:7", "a:whole b:whole c:whole d:7");
        check("a b<a c<b d<b", "a:end d:7", "a:ended b:whole c:whole d:7");
    }

    #[test]
    fn what_comes_before_a_child_that_waits_was_overlooked() {
        check("a b<a", "b:oldest", "a:whole b:whole");
        check("a b<a c<b", "a:end c:oldest", "a:ended b:whole c:whole");
    }

    #[test]
    fn a_shard_that_is_not_listed_is_there_or_lost() {
        check("a", "a:7 gone:end", "a:7 gone:ended");
        check("a", "a:7 there:3", "a:7 there:3");
        let (plan, refusals) = of("a b<gone", "a:7 gone:3 lost:latest", None);
        assert_eq!(plan, "a:7 gone:ended lost:ended b:whole");
        assert_eq!(refusals, [Refusal::Lost { shards: vec!["gone".into(), "lost".into()] }]);
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        let (plan, refusals) = of("a b c", "a:7 b:latest c:time", None);
        assert_eq!(plan, "a:7");
        assert_eq!(refusals, [Refusal::NoTime { shards: vec!["b".into(), "c".into()] }]);
        let (_, refusals) = of("a b<a", "b<x:7", None);
        assert_eq!(refusals, [Refusal::Parents { shards: vec!["b".into()] }]);
    }

    #[test]
    fn even_a_circle_ends() {
        check("a<b b<a", "a:7", "a:7 b:whole");
        check("a<a b", "b:7", "b:7 a:whole");
    }
}
