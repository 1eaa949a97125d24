//! Who should read which shard: it follows from the set of live workers alone, so nobody has to decide it.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::state::Session;

/// The worker that should read a shard: the one that weighs most with it. None if there are none.
///
/// A worker that comes takes its part evenly from all others, and the part of one that goes falls to all others evenly;
/// nothing else moves.
pub fn owner_of<'a>(shard: &str, live: &'a [Session]) -> Option<&'a Session> {
    // Two weights are never the same but by a chance of 1 in 2^64, and then the sessions decide.
    live.iter().max_by_key(|session| (weight(shard, session), *session))
}

/// Which shards of `me` others should read, and who: `at_most` of them, so that a worker that comes does not stop
/// everything at once. All of them where `me` is not among the live ones.
pub fn moves(mine: &[Arc<str>], me: &Session, live: &[Session], at_most: usize) -> Vec<(Arc<str>, Session)> {
    let to = |shard: &Arc<str>| {
        let owner = owner_of(shard, live).filter(|owner| *owner != me)?;
        Some((shard.clone(), owner.clone()))
    };
    mine.iter().filter_map(to).take(at_most).collect()
}

fn weight(shard: &str, session: &Session) -> u64 {
    let hash = Sha256::new().chain_update(session.0.as_bytes()).chain_update([0]).chain_update(shard);
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn workers(seed: u32, count: usize) -> Vec<Session> {
        (0..count).map(|n| Session(format!("host-{seed}-{n}").into())).collect()
    }

    fn shards(count: usize) -> Vec<Arc<str>> {
        (0..count).map(|n| format!("shardId-0000000170000000{n:04}-0a1b2c3d").into()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_shard_has_one_owner_whatever_the_order_of_the_workers(
            seed: u32,
            live in (1_usize..12).prop_flat_map(|count| Just((0..count).collect::<Vec<_>>()).prop_shuffle()),
        ) {
            let sorted = workers(seed, live.len());
            let shuffled: Vec<_> = live.iter().map(|place| sorted[*place].clone()).collect();
            for shard in shards(40) {
                let owner = owner_of(&shard, &sorted).cloned();
                prop_assert!(owner.is_some());
                prop_assert_eq!(owner.as_ref(), owner_of(&shard, &shuffled));
            }
        }

        #[test]
        fn a_worker_that_comes_takes_its_part_and_nothing_else_moves(seed: u32, count in 1_usize..10) {
            let (all, shards) = (workers(seed, count + 1), shards(1_000));
            let (new, before) = all.split_last().unwrap();
            let mut moved = 0;
            for shard in &shards {
                let (old, owner) = (owner_of(shard, before).unwrap(), owner_of(shard, &all).unwrap());
                prop_assert!(owner == old || owner == new, "a shard went from one old worker to another");
                moved += usize::from(owner == new);
            }
            // Six standard deviations of a fair share: about one failure in a billion cases.
            let part = 1.0 / (count as f64 + 1.0);
            let slack = 6.0 * (1_000.0 * part * (1.0 - part)).sqrt();
            prop_assert!((moved as f64 - 1_000.0 * part).abs() < slack, "{moved} of 1,000 moved to one of {}", count + 1);
        }

        #[test]
        fn moves_go_to_the_owner_and_are_bounded(seed: u32, count in 1_usize..6, at_most in 0_usize..20) {
            let (live, mine) = (workers(seed, count), shards(50));
            let me = &live[0];
            let wrong: Vec<_> = mine.iter().filter(|shard| owner_of(shard, &live) != Some(me)).collect();
            let moved = moves(&mine, me, &live, at_most);
            prop_assert_eq!(moved.len(), wrong.len().min(at_most));
            for (shard, to) in &moved {
                prop_assert_eq!(owner_of(shard, &live), Some(to));
                prop_assert!(to != me);
            }
            let left = moves(&mine, me, &live[1..], usize::MAX);
            prop_assert_eq!(left.len(), if count == 1 { 0 } else { mine.len() });
        }
    }

    #[test]
    fn without_workers_nobody_reads() {
        assert_eq!(owner_of("shard", &[]), None);
    }

    #[test]
    fn the_owner_is_the_same_in_every_version_of_the_program() {
        // Workers of two versions run side by side during a deploy: they have to agree.
        let live = workers(7, 5);
        let place = |shard: &Arc<str>| live.iter().position(|it| Some(it) == owner_of(shard, &live)).unwrap();
        assert_eq!(shards(8).iter().map(place).collect::<Vec<_>>(), [4, 3, 4, 0, 3, 2, 1, 1]);
    }
}
