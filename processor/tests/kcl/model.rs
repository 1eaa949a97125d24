//! The promise as a property: whatever an application did before it was stopped, our pollers read what it would have read, and
//! nothing that it had checkpointed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use millstream_processor::poller::kcl::lease::{Lease, Position};
use millstream_processor::poller::kcl::plan::{Known, plan};
use millstream_processor::poller::kcl::refusal::Refusal;
use millstream_processor::poller::lineage::{Listed, is_readable, to_add};
use millstream_processor::poller::settings::OnGap;
use millstream_processor::poller::state::{Checkpoint, ShardRow, ShardState};
use proptest::prelude::*;
use proptest::sample::Index;

use super::application::{Application, At, Seen, Stream, Version};

#[derive(Debug, Clone)]
enum Step {
    Put(Index, usize),
    Split(Index, usize, Seen),
    /// Whatever is seen by some is seen by all.
    List,
    Forget,
    Sync(usize),
    Work(Index, usize),
    End(Index),
    Clean,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let seen = prop_oneof![3 => Just(Seen::Listed), 1 => Just(Seen::AsChild), 1 => Just(Seen::Nowhere)];
    let many = prop_oneof![1 => 0_usize..3, 4 => Just(usize::MAX)];
    prop_oneof![
        6 => (any::<Index>(), 1_usize..4).prop_map(|(shard, count)| Step::Put(shard, count)),
        3 => (any::<Index>(), 1_usize..3, seen).prop_map(|(shard, children, seen)| Step::Split(shard, children, seen)),
        2 => Just(Step::List),
        1 => Just(Step::Forget),
        4 => many.prop_map(Step::Sync),
        8 => (any::<Index>(), 1_usize..5).prop_map(|(shard, count)| Step::Work(shard, count)),
        8 => any::<Index>().prop_map(Step::End),
        3 => Just(Step::Clean),
        1 => Just(Step::Restart),
    ]
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::Old), Just(Version::Middle), Just(Version::New)]
}

fn perform(steps: &[Step], stream: &mut Stream, application: &mut Application) {
    for step in steps {
        stream.now += 1;
        let shard = |index: &Index| index.index(stream.shards.len());
        match step {
            Step::Put(index, count) => {
                let shard = shard(index);
                (0..*count).for_each(|_| stream.put(shard));
            }
            Step::Split(index, children, seen) => stream.split(shard(index), *children, *seen),
            Step::List => list(stream),
            Step::Forget => stream.forget(),
            Step::Sync(at_most) => application.sync(stream, *at_most),
            Step::Work(index, count) => application.work(stream, shard(index), *count),
            Step::End(index) => application.end(stream, shard(index)),
            Step::Clean => application.clean(stream),
            Step::Restart => application.restart(),
        }
    }
}

fn list(stream: &mut Stream) {
    stream.shards.iter_mut().for_each(|shard| shard.seen = Seen::Listed);
}

fn name(shard: usize) -> Arc<str> {
    format!("shard-{shard:03}").into()
}

fn number(name: &str) -> usize {
    name.trim_start_matches("shard-").parse().unwrap()
}

fn listing(stream: &Stream) -> Vec<Listed> {
    let all = (0..stream.shards.len()).filter(|shard| stream.is_listed(*shard));
    let listed = all.map(|shard| {
        let it = &stream.shards[shard];
        Listed { shard: name(shard), parent: it.parent.map(name), first: None, closed: it.closed }
    });
    listed.collect()
}

fn leases(stream: &Stream, application: &Application) -> Vec<Lease> {
    let leases = application.leases.iter().map(|(shard, lease)| Lease {
        key: name(*shard),
        stream: None,
        shard: name(*shard),
        parent: stream.shards[*shard].parent.map(name),
        owner: None,
        position: match lease.at {
            At::TrimHorizon => Position::TrimHorizon,
            At::Latest => Position::Latest,
            At::After(sequence) => Position::After(sequence.to_string().into()),
            At::End => Position::ShardEnd,
        },
    });
    leases.collect()
}

/// What pollers of ours read from these rows on, in their order.
fn read(stream: &Stream, mut rows: Vec<ShardRow>) -> Vec<(usize, u64)> {
    let (mut read, mut visited) = (Vec::new(), HashSet::new());
    loop {
        rows.extend(to_add(&listing(stream), &rows, &Checkpoint::TrimHorizon, stream.now));
        let all: HashMap<&str, &ShardRow> = rows.iter().map(|row| (&*row.shard, row)).collect();
        let now: Vec<usize> = (0..rows.len())
            .filter(|place| {
                is_readable(&rows[*place], &all, OnGap::Halt) && !visited.contains(&rows[*place].shard)
            })
            .collect();
        if now.is_empty() {
            return read;
        }
        for place in now {
            let row = &mut rows[place];
            visited.insert(row.shard.clone());
            let shard = number(&row.shard);
            if row.state == ShardState::Open && !stream.shards[shard].gone {
                let records =
                    stream.shards[shard].records.iter().filter(|(sequence, made)| match &row.checkpoint {
                        Checkpoint::TrimHorizon | Checkpoint::From(_) => true,
                        Checkpoint::Since(at) => made >= at,
                        Checkpoint::After(at) => *sequence > at.parse().unwrap(),
                    });
                read.extend(records.map(|(sequence, _)| (shard, *sequence)));
            }
            let children = stream.children(shard, Seen::Listed);
            if stream.shards[shard].closed {
                row.state = if children.is_empty() { ShardState::EndedNoChildren } else { ShardState::Ended };
                let known: HashSet<Arc<str>> = rows.iter().map(|row| row.shard.clone()).collect();
                let new: Vec<Listed> = children
                    .into_iter()
                    .filter(|child| !known.contains(&name(*child)))
                    .map(|child| Listed {
                        shard: name(child),
                        parent: Some(name(shard)),
                        first: None,
                        closed: false,
                    })
                    .collect();
                rows.extend(to_add(&new, &[], &Checkpoint::TrimHorizon, stream.now));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn our_pollers_read_what_the_application_would_have_read(
        version in version(),
        from_latest in any::<bool>(),
        roots in 1_usize..3,
        before in prop::collection::vec(step(), 0..120),
        after in prop::collection::vec(step(), 0..12),
    ) {
        let (mut stream, mut application) = (Stream::default(), Application::new(version, from_latest));
        (0..roots).for_each(|_| stream.open(None, Seen::Listed));
        perform(&before, &mut stream, &mut application);
        application.sync(&stream, 0);
        // What a listing lacks between shards that it shows, or beside them, one of two looks has.
        stream.fill_holes();
        let leases = leases(&stream, &application);
        let is_readable = |lease: &&Lease| !stream.shards[number(&lease.shard)].gone;
        let readable: HashSet<Arc<str>> =
            leases.iter().filter(is_readable).map(|lease| lease.shard.clone()).collect();
        let listed = listing(&stream);
        let known = Known {
            leases: &leases,
            listed: &listed,
            readable: &readable,
            since: application.started,
            now: stream.now,
        };
        let (plans, refusals) = plan(&known);
        prop_assert!(refusals.iter().all(|it| matches!(it, Refusal::Lost { .. })), "{refusals:?}");

        // The application stands still, and the stream does not.
        let standing = application.clone();
        perform(&after, &mut stream, &mut standing.clone());
        list(&mut stream);
        let rows = plans.iter().map(|plan| plan.row.clone()).collect();
        let read = read(&stream, rows);

        let sequences: BTreeSet<u64> = read.iter().map(|(_, sequence)| *sequence).collect();
        prop_assert_eq!(sequences.len(), read.len(), "nothing is read twice");
        let missed: Vec<u64> = standing.go_on(&stream).difference(&sequences).copied().collect();
        prop_assert!(missed.is_empty(), "{missed:?} are missed of {stream:?}\n{application:?}\n{plans:?}");
        // Where a listing lacked what it should have shown, nobody can tell from a lease that is not there.
        let was_late = before.iter().any(|step| matches!(step, Step::Split(_, _, seen) if *seen != Seen::Listed));
        let is_done = |shard: &usize, sequence: &u64| match application.leases.get(shard).map(|lease| lease.at) {
            Some(At::TrimHorizon | At::Latest) => false,
            Some(At::After(at)) => *sequence <= at,
            Some(At::End) => true,
            None => !was_late && application.done.contains(sequence),
        };
        let again: Vec<_> = read.iter().filter(|(shard, sequence)| is_done(shard, sequence)).collect();
        prop_assert!(again.is_empty(), "{again:?} are read again of {stream:?}\n{application:?}\n{plans:?}");
        for (place, (shard, _)) in read.iter().enumerate() {
            let parent = stream.shards[*shard].parent;
            let late = read[place..].iter().any(|(later, _)| Some(*later) == parent);
            prop_assert!(!late, "shard {shard} is read before its parent");
        }
    }
}
