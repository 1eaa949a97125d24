//! Which shards there are, and which of them can be read: a shard only after the one that it follows.
//!
//! A listing of shards can be inconsistent for a while: a child before its parent, a closed shard without its child, an
//! open parent that has a child already. What it shows is used, and what it lacks is no news.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::acks::Acks;
use super::settings::OnGap;
use super::state::{Checkpoint, ShardRow, ShardState};

/// A shard as a stream lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The shard.
    pub shard: Arc<str>,
    /// The shard that it follows, which need not be listed.
    pub parent: Option<Arc<str>>,
    /// The first sequence number that it can have.
    pub first: Option<String>,
    /// Whether it takes no more records. Nothing rests on it: a closed shard is read to its end like any other.
    pub closed: bool,
}

/// The rows to add for what a listing shows and nobody knows yet, parents before their children.
///
/// `start` is where a stream begins that the consumer has never seen, resolved once. A shard that comes later begins where
/// its parent did if nothing of the parent is done yet, so that a first listing that was stored in part only is completed
/// as it was meant; else it is read from its oldest record on. Ended shards have rows, and so are never added again.
pub fn to_add(listed: &[Listed], known: &[ShardRow], start: &Checkpoint, now: u64) -> Vec<ShardRow> {
    let starts: HashMap<&str, &Checkpoint> = known.iter().map(|row| (&*row.shard, &row.checkpoint)).collect();
    // Of a shard without a known parent nothing tells but the shards beside it.
    let beside = match known.is_empty() {
        true => start.clone(),
        false => earliest_start(known),
    };
    let mut seen: HashSet<&str> = starts.keys().copied().collect();
    let new: Vec<&Listed> = listed.iter().filter(|listed| seen.insert(&listed.shard)).collect();
    let mut chosen: HashMap<&str, Checkpoint> = HashMap::new();
    let mut rows = Vec::new();
    for listed in
        parents_first(&new, |listed| (&listed.shard, listed.parent.as_deref())).into_iter().flatten()
    {
        let parent = listed.parent.as_deref();
        let start = match parent.and_then(|parent| chosen.get(parent).or_else(|| starts.get(parent).copied()))
        {
            Some(parent) => begins(parent, listed),
            None => beside.clone(),
        };
        chosen.insert(&listed.shard, start.clone());
        rows.push(ShardRow {
            shard: listed.shard.clone(),
            parent: listed.parent.clone(),
            state: ShardState::Open,
            owner: None,
            epoch: 0,
            checkpoint: start,
            acks: Acks::default(),
            trouble: None,
            behind_since: None,
            written_at: now,
        });
    }
    rows
}

/// Where a shard begins that follows one that is, or was, as far as this: with its first record, if something of the parent
/// is done; else as the parent did.
pub(super) fn begins(parent: &Checkpoint, child: &Listed) -> Checkpoint {
    match parent {
        Checkpoint::After(_) | Checkpoint::From(_) => {
            child.first.clone().map_or(Checkpoint::TrimHorizon, Checkpoint::From)
        }
        Checkpoint::TrimHorizon | Checkpoint::Since(_) => parent.clone(),
    }
}

/// The earliest time that a shard still waits for, of which nothing is done yet: the stream was first seen with it.
fn earliest_start(known: &[ShardRow]) -> Checkpoint {
    let since = known.iter().filter_map(|row| match row.checkpoint {
        Checkpoint::Since(seconds) => Some(seconds),
        Checkpoint::TrimHorizon | Checkpoint::From(_) | Checkpoint::After(_) => None,
    });
    since.min().map_or(Checkpoint::TrimHorizon, Checkpoint::Since)
}

/// Whether there is something to do about a shard now: it is not done, and the one that it follows is, or is not known.
///
/// `rows` are all rows of the stream by their shards. Where something was lost a shard stands still, unless `on_gap` says
/// otherwise, and so does what follows it.
pub fn is_readable(row: &ShardRow, rows: &HashMap<&str, &ShardRow>, on_gap: OnGap) -> bool {
    match row.state {
        ShardState::Open => {}
        ShardState::Gap if on_gap == OnGap::Continue => {}
        // Its children have to be asked for again.
        ShardState::EndedNoChildren => return true,
        ShardState::Ended | ShardState::Gap => return false,
    }
    let parent = row.parent.as_deref().and_then(|parent| rows.get(parent));
    parent.is_none_or(|parent| matches!(parent.state, ShardState::Ended | ShardState::EndedNoChildren))
}

/// Whether a shard cannot be read now, and will be without anybody's help: one that it follows is read first.
pub fn waits_its_turn(row: &ShardRow, rows: &HashMap<&str, &ShardRow>, on_gap: OnGap) -> bool {
    if row.state != ShardState::Open || is_readable(row, rows, on_gap) {
        return false;
    }
    let mut before = row.parent.as_deref().and_then(|parent| rows.get(parent));
    // As many steps as there are rows: a circle must not be an endless loop.
    for _ in 0..rows.len() {
        match before {
            Some(gap) if gap.state == ShardState::Gap => return on_gap == OnGap::Continue,
            Some(open) => before = open.parent.as_deref().and_then(|parent| rows.get(parent)),
            None => break,
        }
    }
    true
}

/// In groups, so that a parent is in a group before that of its children; each group in the order given.
///
/// Whoever sees only some of the groups then never takes a child for one whose parent is gone.
pub(super) fn parents_first<'a, T>(
    shards: &'a [T],
    named: impl Fn(&'a T) -> (&'a str, Option<&'a str>),
) -> Vec<Vec<&'a T>> {
    let mut left: Vec<&T> = shards.iter().collect();
    let mut waiting: HashSet<&str> = shards.iter().map(|shard| named(shard).0).collect();
    let mut groups = Vec::new();
    while !left.is_empty() {
        let waits = |shard: &&'a T| named(shard).1.is_some_and(|parent| waiting.contains(parent));
        let (mut later, mut group): (Vec<&T>, Vec<&T>) = left.into_iter().partition(waits);
        if group.is_empty() {
            // A circle: no stream has one, and here it must not be an endless loop.
            group.append(&mut later);
        }
        for shard in &group {
            waiting.remove(named(shard).0);
        }
        groups.push(group);
        left = later;
    }
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_750_000_000;
    const SINCE: Checkpoint = Checkpoint::Since(NOW);

    /// `child<parent` or `shard`.
    fn listed(text: &str) -> Vec<Listed> {
        let one = |text: &str| {
            let (shard, parent) =
                text.split_once('<').map_or((text, None), |(shard, parent)| (shard, Some(parent)));
            Listed { shard: shard.into(), parent: parent.map(Into::into), first: None, closed: false }
        };
        text.split_whitespace().map(one).collect()
    }

    fn known(text: &str, state: ShardState, checkpoint: &Checkpoint) -> Vec<ShardRow> {
        let rows = to_add(&listed(text), &[], checkpoint, NOW).into_iter();
        rows.map(|row| ShardRow { state, epoch: 1, ..row }).collect()
    }

    fn after(sequence: &str) -> Checkpoint {
        Checkpoint::After(sequence.to_owned())
    }

    fn text(rows: &[ShardRow]) -> String {
        let row = |row: &ShardRow| {
            let start = match &row.checkpoint {
                Checkpoint::TrimHorizon => "oldest".to_owned(),
                Checkpoint::Since(at) => format!("{}", i128::from(*at) - i128::from(NOW)),
                Checkpoint::From(_) | Checkpoint::After(_) => "wrong".to_owned(),
            };
            assert_eq!((row.state, &row.owner, row.epoch, row.written_at), (ShardState::Open, &None, 0, NOW));
            format!("{}:{start}", row.shard)
        };
        rows.iter().map(row).collect::<Vec<_>>().join(" ")
    }

    /// What is added of a listing, by what is known, with `start = "latest"`.
    #[track_caller]
    fn check(listing: &str, known: &[ShardRow], expected: &str) {
        assert_eq!(text(&to_add(&listed(listing), known, &SINCE, NOW)), expected);
    }

    #[test]
    fn at_first_sight_all_shards_begin_at_the_start() {
        check("a b<a c<b d", &[], "a:0 d:0 b:0 c:0");
        check("", &[], "");
        let oldest = to_add(&listed("a b<a"), &[], &Checkpoint::TrimHorizon, NOW);
        assert_eq!(text(&oldest), "a:oldest b:oldest");
    }

    #[test]
    fn later_children_are_read_from_their_oldest_record() {
        for state in [ShardState::Open, ShardState::EndedNoChildren, ShardState::Ended, ShardState::Gap] {
            check("a b<a c<b", &known("a", state, &Checkpoint::TrimHorizon), "b:oldest c:oldest");
        }
        let read = ShardRow { checkpoint: after("7"), ..known("a", ShardState::Open, &SINCE).remove(0) };
        check("a b<a c<b", &[read], "b:oldest c:oldest");
    }

    #[test]
    fn what_follows_a_shard_that_was_read_begins_with_its_first_record() {
        let child = Listed { first: Some("8".to_owned()), ..listed("b<a").remove(0) };
        for (parent, expected) in [
            (after("7"), Checkpoint::From("8".to_owned())),
            (Checkpoint::From("7".to_owned()), Checkpoint::From("8".to_owned())),
            (Checkpoint::TrimHorizon, Checkpoint::TrimHorizon),
            (SINCE, SINCE),
        ] {
            assert_eq!(begins(&parent, &child), expected);
        }
    }

    #[test]
    fn what_a_gap_holds_up_does_not_wait_its_turn() {
        let rows = known("a b<a c<b", ShardState::Open, &SINCE);
        let with = |state| {
            let mut rows = rows.clone();
            rows[0].state = state;
            rows
        };
        for (state, on_gap, expected) in [
            (ShardState::Open, OnGap::Halt, [false, true, true]),
            (ShardState::Ended, OnGap::Halt, [false, false, true]),
            (ShardState::Gap, OnGap::Halt, [false, false, false]),
            (ShardState::Gap, OnGap::Continue, [false, true, true]),
        ] {
            let rows = with(state);
            let all = rows.iter().map(|row| (&*row.shard, row)).collect();
            assert_eq!(
                rows.iter().map(|row| waits_its_turn(row, &all, on_gap)).collect::<Vec<_>>(),
                expected
            );
            assert_eq!(
                is_readable(&rows[0], &all, on_gap),
                state == ShardState::Open || on_gap == OnGap::Continue
            );
        }
    }

    #[test]
    fn a_first_listing_that_was_stored_in_part_is_completed_with_its_own_start() {
        let stored = known("a", ShardState::Open, &Checkpoint::Since(NOW - 60));
        check("a b<a c d<gone", &stored, "b:-60 c:-60 d:-60");
    }

    #[test]
    fn a_shard_without_a_known_parent_is_read_from_its_oldest_record() {
        let read = ShardRow { checkpoint: after("7"), ..known("a", ShardState::Open, &SINCE).remove(0) };
        check("a x<gone y", &[read], "x:oldest y:oldest");
    }

    #[test]
    fn inconsistent_listings_are_used() {
        // A child before its parent, one whose parent is not listed, one twice.
        check("b<a a", &[], "a:0 b:0");
        check("b<a", &[], "b:0");
        check("a a b<a b<a", &[], "a:0 b:0");
        // What a listing lacks stays known, and comes not again.
        check("b<a", &known("a", ShardState::Ended, &Checkpoint::TrimHorizon), "b:oldest");
        check("", &known("a", ShardState::Open, &SINCE), "");
    }

    #[test]
    fn what_is_known_is_never_added_again() {
        for state in [ShardState::Open, ShardState::EndedNoChildren, ShardState::Ended, ShardState::Gap] {
            check("a b<a", &known("a b<a", state, &SINCE), "");
        }
    }

    #[test]
    fn even_a_circle_ends() {
        check("a<b b<a c<c", &[], "a:0 b:0 c:0");
    }

    /// Which of the shards are readable, each with its state: `o`pen, `e`nded, `n`o children, `g`ap.
    #[track_caller]
    fn readable(rows: &str, expected: &str) {
        let state = |text: &str| match text {
            "o" => ShardState::Open,
            "e" => ShardState::Ended,
            "n" => ShardState::EndedNoChildren,
            "g" => ShardState::Gap,
            other => panic!("{other}"),
        };
        let row = |text: &str| {
            let (shard, is) = text.rsplit_once(':').unwrap();
            ShardRow { state: state(is), ..to_add(&listed(shard), &[], &SINCE, NOW).remove(0) }
        };
        let rows: Vec<ShardRow> = rows.split_whitespace().map(row).collect();
        let all = rows.iter().map(|row| (&*row.shard, row)).collect();
        let found =
            rows.iter().filter(|row| is_readable(row, &all, OnGap::Halt)).map(|row| row.shard.to_string());
        assert_eq!(found.collect::<Vec<_>>().join(" "), expected, "of {rows:?}");
    }

    #[test]
    fn a_shard_is_readable_when_its_parent_has_ended_or_is_not_known() {
        readable("a:o b<a:o c<b:o", "a");
        readable("a:e b<a:o c<a:o d<b:o", "b c");
        readable("b<a:o c:o", "b c");
        readable("a:g b<a:o", "");
        readable("a:n b<a:o", "a b");
        readable("a:e b<a:e c<b:o", "c");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// A forest, listed in any order, in two parts that overlap as they like, ends up known as a whole, each shard once and
        /// after its parent; and reading what is readable reads all of it, no child before its parent.
        #[test]
        fn any_listings_of_a_forest_lead_to_all_of_it(
            parents in prop::collection::vec(prop::option::of(0_usize..40), 1..40),
            lists in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
            cut in any::<prop::sample::Index>(),
        ) {
            let name = |n: usize| -> Arc<str> { format!("s{n}").into() };
            let forest: Vec<Listed> = parents.iter().enumerate().map(|(n, parent)| {
                Listed { shard: name(n), parent: parent.filter(|parent| *parent < n).map(name), first: None, closed: n % 2 == 0 }
            }).collect();
            let picked: Vec<Listed> = lists.iter().map(|index| index.get(&forest).clone()).collect();
            let (first, second) = picked.split_at(cut.index(picked.len() + 1));
            let mut rows: Vec<ShardRow> = Vec::new();
            for listing in [first, second, &forest, &forest] {
                let added = to_add(listing, &rows, &SINCE, NOW);
                for (place, row) in added.iter().enumerate() {
                    let comes_later = |parent: &Arc<str>| added[place..].iter().any(|it| it.shard == *parent);
                    prop_assert!(!row.parent.as_ref().is_some_and(comes_later), "{:?} before its parent", row.shard);
                }
                rows.extend(added);
            }
            let distinct: HashSet<_> = rows.iter().map(|row| row.shard.clone()).collect();
            prop_assert_eq!((rows.len(), distinct.len()), (forest.len(), forest.len()));
            let mut read = 0;
            while rows.iter().any(|row| row.state == ShardState::Open) {
                let all: HashMap<&str, &ShardRow> = rows.iter().map(|row| (&*row.shard, row)).collect();
                let now: Vec<bool> = rows.iter().map(|row| is_readable(row, &all, OnGap::Halt)).collect();
                prop_assert!(now.contains(&true), "something is left and nothing is readable");
                for (row, _) in rows.iter_mut().zip(now).filter(|(_, now)| *now) {
                    row.state = ShardState::Ended;
                    read += 1;
                }
            }
            prop_assert_eq!(read, forest.len());
        }
    }
}
