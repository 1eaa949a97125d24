//! All shards of the stream, its clock, and what the test does to both.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::erratic::Whims;
use super::record::{NewRecord, Written};
use super::sequence::{Sequence, Sequences};
use super::server::Calls;
use super::shard::{Shard, Stored};
use crate::connector::{ACCOUNT, REGION};
use crate::embedded::START;
use crate::faults::draw;
use crate::names::public_label;

#[derive(Debug)]
pub(super) struct State {
    pub(super) table: String,
    pub(super) label: String,
    made_at: Instant,
    advanced: Duration,
    /// In the order in which they were opened; none is ever removed.
    pub(super) shards: Vec<Shard>,
    by_name: HashMap<String, usize>,
    /// The shards that listings may show, in the order of the listing.
    pub(super) listing: BTreeSet<(u64, usize)>,
    pub(super) children: HashMap<String, Vec<usize>>,
    sequences: Sequences,
    pub(super) last_sequence: Option<Sequence>,
    seed: Option<u64>,
    pub(super) calls: Calls,
    changes: u64,
    pub(super) descriptions: Descriptions,
}

/// How many descriptions were asked for in the present second, and how many may be.
#[derive(Debug, Default)]
pub(super) struct Descriptions {
    limit: Option<u32>,
    second: u64,
    asked: u32,
}

impl State {
    pub(super) fn new(table: &str) -> Self {
        Self {
            table: table.to_owned(),
            label: public_label(&format!("{START}.000000000")),
            made_at: Instant::now(),
            advanced: Duration::ZERO,
            shards: Vec::new(),
            by_name: HashMap::new(),
            listing: BTreeSet::new(),
            children: HashMap::new(),
            sequences: Sequences::default(),
            last_sequence: None,
            seed: None,
            calls: Calls::default(),
            changes: 0,
            descriptions: Descriptions::default(),
        }
    }

    pub(super) fn arn(&self) -> String {
        format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{}/stream/{}", self.table, self.label)
    }

    pub(super) fn now_ms(&self) -> u64 {
        START * 1_000 + millis(self.made_at.elapsed() + self.advanced)
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.advanced += by;
    }

    pub(super) fn open(&mut self, name: &str, parent: Option<&str>) {
        let start = self.next_sequence();
        let index = self.shards.len();
        let before = self.by_name.insert(name.to_owned(), index);
        assert!(before.is_none(), "there is a shard {name} already");
        let mut shard = Shard::new(name, parent, start);
        if let Some(parent) = parent {
            self.children.entry(parent.to_owned()).or_default().push(index);
            shard.listed_from_ms = self.now_ms() + self.change().map_or(0, |mut it| it.lateness_ms());
        }
        self.shards.push(shard);
        self.listing.insert(self.listing_key(index));
    }

    pub(super) fn close(&mut self, name: &str) {
        let (now_ms, index) = (self.now_ms(), self.index(name));
        if self.shards[index].end.is_some() {
            return;
        }
        let end = self.next_sequence();
        let lateness = self.change().map_or(0, |mut it| it.lateness_ms());
        let shard = &mut self.shards[index];
        shard.end = Some((now_ms, end));
        shard.listed_open_until_ms = shard.listed_open_until_ms.max(now_ms + lateness);
    }

    pub(super) fn put(&mut self, name: &str, record: NewRecord) -> String {
        let (now_ms, index) = (self.now_ms(), self.index(name));
        let sequence = self.next_sequence();
        let text = sequence.text().to_owned();
        let shard = &mut self.shards[index];
        assert!(shard.end.is_none(), "shard {name} is closed and takes no records");
        let made_at_ms = record.made_at.unwrap_or(now_ms);
        let event_id = u128::from(draw(1, text.len() as u64)) << 64
            | u128::from(draw(index as u64, shard.records.len() as u64));
        let json = record.render(&text, event_id, made_at_ms);
        let before = shard.records.last().map_or(0, |it| it.made_at_ms);
        let size = record.size();
        shard.records.push(Stored { sequence, made_at_ms: made_at_ms.max(before), size, json, record });
        text
    }

    pub(super) fn list_from(&mut self, name: &str, at: Duration) {
        let at_ms = self.now_ms() + millis(at);
        self.shard_mut(name).listed_from_ms = at_ms;
    }

    pub(super) fn list_open_until(&mut self, name: &str, at: Duration) {
        let at_ms = self.now_ms() + millis(at);
        self.shard_mut(name).listed_open_until_ms = at_ms;
    }

    pub(super) fn trim(&mut self, name: &str, through: &str) {
        let through = Sequence::parse(through).unwrap_or_else(|| panic!("{through} is no sequence number"));
        let shard = self.shard_mut(name);
        shard.trimmed = shard.trimmed.max(shard.place(&through, true));
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.shard_mut(name).forgotten = true;
    }

    pub(super) fn be_erratic(&mut self, seed: u64) {
        self.seed = Some(seed);
        self.listing = (0..self.shards.len()).map(|index| self.listing_key(index)).collect();
    }

    pub(super) fn limit_descriptions(&mut self, per_second: u32) {
        self.descriptions.limit = Some(per_second);
    }

    pub(super) fn records(&self, name: &str) -> Vec<Written> {
        let written =
            |it: &Stored| Written { sequence: it.sequence.text().to_owned(), record: it.record.clone() };
        self.shards[self.index(name)].records.iter().map(written).collect()
    }

    pub(super) fn shards(&self) -> Vec<String> {
        self.shards.iter().map(|it| it.name.clone()).collect()
    }

    pub(super) fn calls(&self) -> Calls {
        self.calls
    }

    pub(super) fn reads(&self, name: &str) -> u64 {
        self.shards[self.index(name)].reads
    }

    /// The shard of this name, if there ever was one.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Where a shard stands in listings: where it was opened, or where the seed puts it.
    pub(super) fn listing_key(&self, index: usize) -> (u64, usize) {
        (self.seed.map_or(0, |seed| draw(seed, index as u64)), index)
    }

    /// The whims of the present request, if the stream has any.
    pub(super) fn request(&self) -> Option<Whims> {
        self.seed.map(|seed| Whims::of_request(seed, self.calls.all()))
    }

    fn change(&mut self) -> Option<Whims> {
        self.changes += 1;
        self.seed.map(|seed| Whims::of_change(seed, self.changes))
    }

    fn next_sequence(&mut self) -> Sequence {
        let sequence = self.sequences.next();
        self.last_sequence = Some(sequence.clone());
        sequence
    }

    fn index(&self, name: &str) -> usize {
        self.find(name).unwrap_or_else(|| panic!("there is no shard {name}"))
    }

    fn shard_mut(&mut self, name: &str) -> &mut Shard {
        let index = self.index(name);
        &mut self.shards[index]
    }
}

impl Descriptions {
    /// Whether one more is too many.
    pub(super) fn is_too_many(&mut self, now_ms: u64) -> bool {
        let second = now_ms / 1_000;
        if self.second != second {
            (self.second, self.asked) = (second, 0);
        }
        self.asked += 1;
        self.limit.is_some_and(|limit| self.asked > limit)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("a test lasts less than an age of the world")
}
