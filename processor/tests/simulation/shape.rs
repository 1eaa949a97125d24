//! How runs are set up: small ones of every sort, and a few that are large.

use std::time::Duration;

use millstream_processor::poller::settings::{OnGap, Settings};

use crate::chance::Chance;
use crate::network::Channel;

/// How a run is set up.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) workers: u64,
    pub(crate) shards: u64,
    pub(crate) items: u64,
    pub(crate) settings: Settings,
    /// How many milliseconds more every write to the sink takes, less than, as long as things go wrong.
    pub(crate) slow: u64,
    /// For how long things go wrong.
    pub(crate) trouble: Duration,
    /// How long it is between two things that go wrong, in milliseconds.
    pub(crate) pace: std::ops::Range<u64>,
    /// How long it is between two writes to the source, in milliseconds.
    pub(crate) writes: std::ops::Range<u64>,
    /// How many records are written at once, less than.
    pub(crate) burst: u64,
    /// What goes wrong.
    pub(crate) kinds: Vec<Kind>,
    /// Records of before the start are not asked for.
    pub(crate) latest: bool,
    /// How often a run is looked at.
    pub(crate) look: Duration,
}

/// What can go wrong, or just happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Split,
    Kill,
    Stall,
    Cut(Channel),
    Throttle,
    Loss,
    Slow,
    Deploy,
    Join,
    Leave,
    Expire,
    Trim,
    Forget,
    Night,
}

/// A small run, as the seed shapes it.
pub(crate) fn small(seed: u64) -> Shape {
    let mut chance = Chance::of(seed, "shape");
    let ttl = Duration::from_secs(*chance.pick(&[4, 4, 4, 10]));
    let is_calm = chance.percent(35);
    let is_halting = chance.percent(8);
    let mut kinds = vec![Kind::Split, Kind::Kill, Kind::Stall, Kind::Cut(Channel::State), Kind::Deploy];
    if !is_calm {
        kinds.extend([
            Kind::Split,
            Kind::Cut(Channel::Streams),
            Kind::Cut(Channel::Sink),
            Kind::Throttle,
            Kind::Loss,
            Kind::Slow,
            Kind::Join,
            Kind::Leave,
            Kind::Expire,
        ]);
    }
    if chance.percent(30) || is_halting {
        kinds.extend([Kind::Trim, Kind::Forget]);
    }
    if chance.percent(10) {
        kinds.push(Kind::Night);
    }
    let ttl_ms = ttl.as_millis() as u64;
    let pace = if is_calm { ttl_ms * 2..ttl_ms * 3 } else { 100..5_000 };
    let trouble = if is_calm { ttl * 7 } else { Duration::from_secs(chance.within(8..30)) };
    Shape {
        workers: chance.within(1..5),
        shards: chance.within(1..5),
        items: chance.within(4..13),
        settings: Settings {
            ttl,
            moves: *chance.pick(&[1, 3, 10]),
            busy: Duration::from_millis(*chance.pick(&[250, 1_000])),
            idle: Duration::from_secs(*chance.pick(&[1, 5, 5])),
            on_gap: if is_halting { OnGap::Halt } else { OnGap::Continue },
            ..Settings::default()
        },
        slow: 0,
        trouble,
        pace,
        writes: 100..5_000,
        burst: *chance.pick(&[4, 12, 60]),
        kinds,
        latest: chance.percent(20),
        look: Duration::from_millis(250),
    }
}

/// A run of a thousand shards, which a handful of workers share.
pub(crate) fn large(seed: u64) -> Shape {
    let mut chance = Chance::of(seed, "shape");
    Shape {
        workers: chance.within(4..7),
        shards: 1_000,
        items: 1_000,
        settings: Settings {
            moves: 10,
            busy: Duration::from_secs(1),
            idle: Duration::from_secs(10),
            on_gap: OnGap::Continue,
            ..Settings::default()
        },
        slow: 0,
        trouble: Duration::from_secs(35),
        pace: 8_000..15_000,
        writes: 500..3_000,
        burst: 60,
        kinds: vec![Kind::Split, Kind::Kill, Kind::Stall, Kind::Cut(Channel::State), Kind::Deploy],
        latest: false,
        look: Duration::from_secs(1),
    }
}

/// A run in which few workers have more to write at once than they may, to a sink that is slow for all of them.
pub(crate) fn crowded(seed: u64) -> Shape {
    let mut chance = Chance::of(seed, "shape");
    let ttl = Duration::from_secs(4);
    Shape {
        workers: chance.within(1..3),
        shards: 150,
        items: 400,
        settings: Settings {
            ttl,
            busy: Duration::from_secs(1),
            on_gap: OnGap::Continue,
            ..Settings::default()
        },
        slow: 3_000,
        trouble: Duration::from_secs(18),
        pace: 500..4_000,
        writes: 200..1_000,
        burst: 80,
        kinds: vec![Kind::Stall, Kind::Cut(Channel::State), Kind::Join],
        latest: false,
        look: Duration::from_millis(500),
    }
}
