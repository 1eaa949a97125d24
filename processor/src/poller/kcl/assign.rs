//! Which stream each lease is of.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use millstream_projections::SourceName;

use super::lease::{Lease, stream_name};
use super::refusal::Refusal;
use crate::poller::lineage::Listed;

/// A stream that leases may be of.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) source: SourceName,
    pub(super) table: Arc<str>,
    pub(super) stream: Arc<str>,
    pub(super) listed: Vec<Listed>,
}

/// Which leases are whose.
#[derive(Debug, Default)]
pub(super) struct Assigned {
    /// Of each candidate, in their order.
    pub(super) leases: Vec<Vec<Lease>>,
    /// How many are of streams that are no candidates, by the names that they have in lease keys.
    pub(super) left: BTreeMap<Arc<str>, usize>,
}

/// A lease of an application of several streams names its stream. Others do not: their stream is the one that lists some of
/// their shards, and the ids of shards are no one else's.
pub(super) fn assign(leases: Vec<Lease>, candidates: &[Candidate]) -> Result<Assigned, Refusal> {
    let mut assigned =
        Assigned { leases: candidates.iter().map(|_| Vec::new()).collect(), left: BTreeMap::new() };
    let names: Vec<_> = candidates.iter().map(|candidate| stream_name(&candidate.stream)).collect();
    let (named, nameless): (Vec<Lease>, Vec<Lease>) =
        leases.into_iter().partition(|lease| lease.stream.is_some());
    for lease in named {
        let stream = lease.stream.clone().unwrap_or_default();
        match names.iter().position(|name| name.as_deref() == Some(&*stream)) {
            Some(place) => assigned.leases[place].push(lease),
            None => *assigned.left.entry(stream).or_default() += 1,
        }
    }
    let Some(first) = nameless.first() else { return Ok(assigned) };
    let place = whose(&nameless, candidates)?;
    if let Some(other) = assigned.leases[place].first() {
        let source_name = candidates[place].source.clone();
        let (one, several) = (first.key.clone(), other.key.clone());
        return Err(Refusal::TwoForms { source_name, one, several });
    }
    assigned.leases[place] = nameless;
    Ok(assigned)
}

/// The one candidate that lists shards of these leases.
fn whose(leases: &[Lease], candidates: &[Candidate]) -> Result<usize, Refusal> {
    let shards: HashSet<&str> = leases.iter().map(|lease| &*lease.shard).collect();
    let lists_some = |candidate: &Candidate| candidate.listed.iter().any(|it| shards.contains(&*it.shard));
    let places: Vec<usize> = (0..candidates.len()).filter(|place| lists_some(&candidates[*place])).collect();
    let sources = |places: &[usize]| places.iter().map(|place| candidates[*place].source.clone()).collect();
    match *places {
        [place] => Ok(place),
        [] => {
            let among = candidates.iter().map(|candidate| candidate.source.clone()).collect();
            Err(Refusal::Strange { leases: leases.len(), among })
        }
        _ => Err(Refusal::Ambiguous { among: sources(&places) }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lease::Position;
    use super::*;

    fn candidate(source: &str, table: &str, shards: &str) -> Candidate {
        let listed = shards.split_whitespace().map(|shard| Listed {
            shard: shard.into(),
            parent: None,
            first: None,
            closed: false,
        });
        Candidate {
            source: SourceName::new(source).unwrap(),
            table: table.into(),
            stream: format!("arn:aws:dynamodb:eu-west-1:1:table/{table}/stream/2025-06-15T15:06:40.000")
                .into(),
            listed: listed.collect(),
        }
    }

    fn lease(stream: Option<&str>, shard: &str) -> Lease {
        let name = |table| format!("1:eu-west-1$1${table}$2025-06-15T15_06_40.000:1");
        let stream: Option<Arc<str>> = stream.map(|table| name(table).into());
        let key = stream.as_ref().map_or_else(|| shard.to_owned(), |stream| format!("{stream}:{shard}"));
        let shard = shard.into();
        Lease { key: key.into(), stream, shard, parent: None, owner: None, position: Position::TrimHorizon }
    }

    /// What each of `orders` (shards a, b) and `mail` (shards x, y) is given of `[<table>/]<shard> …`, and what is left.
    fn of(leases: &str) -> Result<(Vec<Vec<String>>, usize), String> {
        let candidates = [candidate("orders", "Orders", "a b"), candidate("mail", "Mail", "x y")];
        let leases = leases.split_whitespace().map(|lease| match lease.split_once('/') {
            Some((table, shard)) => self::lease(Some(table), shard),
            None => self::lease(None, lease),
        });
        let assigned = assign(leases.collect(), &candidates).map_err(|refusal| refusal.to_string())?;
        let shards = |leases: &Vec<Lease>| leases.iter().map(|lease| lease.shard.to_string()).collect();
        Ok((assigned.leases.iter().map(shards).collect(), assigned.left.values().sum()))
    }

    #[track_caller]
    fn check(leases: &str, orders: &str, mail: &str, left: usize) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of(leases), Ok((vec![words(orders), words(mail)], left)), "{leases}");
    }

    #[test]
    fn leases_without_a_stream_are_of_the_one_that_lists_their_shards() {
        check("a gone", "a gone", "", 0);
        check("gone y", "", "gone y", 0);
    }

    #[test]
    fn leases_with_a_stream_are_of_that() {
        check("Orders/a Mail/x Mail/gone Other/a Other/b", "a", "x gone", 2);
        check("Orders/a x", "a", "x", 0);
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        for (leases, because) in [
            ("gone", "of the 1 leases none is of a shard that source orders and source mail lists"),
            ("a x", "leases are of shards of source orders and source mail: say whose with --source"),
            ("Orders/a b", "two forms"),
        ] {
            let why = of(leases).unwrap_err();
            assert!(why.contains(because), "{leases}: {why}");
        }
    }
}
