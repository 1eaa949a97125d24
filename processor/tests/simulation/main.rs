//! Thousands of runs of several pollers in simulated time, in which everything goes wrong that a seed can think of.
//!
//! A run that fails names its seed. `MILLSTREAM_SIMULATION=small/123` runs that one alone and tells all that happens;
//! `MILLSTREAM_SIMULATION=small/0..100000` runs as many as one likes. The sorts are those of [`Sort`].

#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot go on has failed")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Once;

use run::{Outcome, run};
use shape::Shape;

mod books;
mod chance;
mod fleet;
mod judge;
mod letters;
#[expect(dead_code, reason = "the cases of the state table use all of it")]
#[path = "../poller_memory/state.rs"]
mod memory_state;
mod network;
mod run;
mod shape;
mod sink;
mod source;
mod state;
mod streams;
mod watch;

/// Which runs are to be done, where it is not the usual ones.
const WANTED: &str = "MILLSTREAM_SIMULATION";
/// How many test functions share the runs of a sort, so that they run side by side.
const PARTS: u64 = 4;
/// How many runs of one test function fail before it gives up.
const ENOUGH: usize = 5;

/// A sort of runs: its name, how a seed shapes one, and how many there are usually.
struct Sort {
    name: &'static str,
    shape: fn(u64) -> Shape,
    usual: u64,
    /// What has to happen in the usual runs, or they show nothing.
    happens: &'static [&'static str],
}

const SMALL: Sort = Sort {
    name: "small",
    shape: shape::small,
    usual: 2_000,
    happens: &[
        "checkpoint",
        "claim",
        "claim refused",
        "cut",
        "deploy",
        "end",
        "forget",
        "gap",
        "hand over",
        "kill",
        "mend",
        "night",
        "published again",
        "split",
        "stall",
        "swept",
        "taken over",
        "trim",
        "write refused",
    ],
};
const LARGE: Sort =
    Sort { name: "large", shape: shape::large, usual: 2, happens: &["end", "hand over", "published"] };
const CROWDED: Sort =
    Sort { name: "crowded", shape: shape::crowded, usual: 4, happens: &["published again", "taken over"] };

thread_local! {
    static HAS_PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// A panic in a task of a worker ends that task alone: it has to be seen all the same.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            HAS_PANICKED.set(true);
            usual(panic);
        }));
    });
    HAS_PANICKED.set(false);
}

impl Sort {
    fn run(&self, seed: u64) -> Result<Outcome, String> {
        watch_panics();
        let name = self.name;
        let outcome = run(seed, &(self.shape)(seed)).and_then(|outcome| {
            if HAS_PANICKED.get() { Err("a task panicked".to_owned()) } else { Ok(outcome) }
        });
        outcome.map_err(|wrong| format!("{wrong}\nto see it again: {WANTED}={name}/{seed}"))
    }

    /// The seeds to run, and whether these are the usual ones.
    fn seeds(&self) -> (Range<u64>, bool) {
        let Ok(wanted) = std::env::var(WANTED) else { return (0..self.usual, true) };
        let (name, seeds) = wanted.split_once('/').unwrap_or_else(|| panic!("{WANTED}={wanted}"));
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{WANTED}={wanted}: `{text}`"));
        let range = match seeds.split_once("..") {
            Some((from, to)) => number(from)..number(to),
            None => number(seeds)..number(seeds) + 1,
        };
        (if name == self.name { range } else { 0..0 }, false)
    }

    /// Runs every so-manieth seed.
    fn check(&self, part: u64, parts: u64) {
        let (seeds, is_usual) = self.seeds();
        if seeds.end == seeds.start + 1 {
            let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).without_time().try_init();
        }
        let (mut failed, mut counts) = (Vec::new(), BTreeMap::<&str, u64>::new());
        for seed in seeds.filter(|seed| seed % parts == part) {
            match self.run(seed) {
                Ok(outcome) => {
                    for (what, count) in outcome.counts {
                        *counts.entry(what).or_default() += count;
                    }
                }
                Err(wrong) => failed.push(wrong),
            }
            if failed.len() == ENOUGH {
                break;
            }
        }
        assert!(failed.is_empty(), "{}", failed.join("\n\n"));
        println!("{} {part}: {counts:?}", self.name);
        if is_usual {
            let never: Vec<_> = self.happens.iter().filter(|what| !counts.contains_key(*what)).collect();
            assert!(never.is_empty(), "these runs show nothing of {never:?}: {counts:?}");
        }
    }
}

macro_rules! small_runs {
    ($($name:ident: $part:expr,)*) => {
        $(#[test]
        fn $name() {
            SMALL.check($part, PARTS);
        })*
    };
}

small_runs! {
    small_runs_0: 0,
    small_runs_1: 1,
    small_runs_2: 2,
    small_runs_3: 3,
}

#[test]
fn a_thousand_shards() {
    LARGE.check(0, 1);
}

#[test]
fn more_to_write_than_may_be_under_way() {
    CROWDED.check(0, 1);
}

#[test]
fn a_worker_that_goes_on_keeps_a_shard_with_nothing_behind_its_gap() {
    let wrong: Vec<String> = (0..20).filter_map(|seed| run::quiet_gap(seed).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Without this no seed would mean anything.
#[test]
fn a_seed_is_the_same_run_whenever_it_is_run() {
    if std::env::var_os(WANTED).is_some() {
        return;
    }
    for seed in 10_000..10_008 {
        let (first, second) = (SMALL.run(seed), SMALL.run(seed));
        assert!(first.is_ok() && first == second, "{first:?}\n{second:?}");
    }
}
