//! The source table's side: items that change, and the shards that their changes go to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_test_support::streams::{NewRecord, ScriptedStreams};

use crate::chance::Chance;
use crate::judge::Judge;

/// How late the stream may list a child, and for how long it may list a closed shard as open, in milliseconds.
const LATE: u64 = 12_000;

/// The items of the source table, and the tree of its stream's shards.
pub(crate) struct Source {
    pub(crate) stream: ScriptedStreams,
    judge: Arc<Judge>,
    chance: Chance,
    items: BTreeMap<String, Item>,
    open: Vec<Arc<str>>,
    /// The shards that the stream still has, and those that it has forgotten.
    shards: BTreeMap<Arc<str>, bool>,
    /// Records that are made before this, in seconds since 1970, nobody asked for.
    since: u64,
    opened: u64,
    numbers: u64,
}

/// One item.
struct Item {
    /// Where its changes go now.
    shard: Arc<str>,
    /// Its number; none while it is not there.
    number: Option<u64>,
}

impl Source {
    /// Some shards, each with some items that were never written.
    pub(crate) fn new(
        stream: ScriptedStreams,
        judge: Arc<Judge>,
        mut chance: Chance,
        shards: u64,
        items: u64,
    ) -> Self {
        let is_erratic = chance.percent(70);
        if is_erratic {
            stream.erratic(chance.next());
        }
        let mut source = Self {
            stream,
            judge,
            chance,
            items: BTreeMap::new(),
            open: Vec::new(),
            shards: BTreeMap::new(),
            since: 0,
            opened: 0,
            numbers: 0,
        };
        for _ in 0..shards {
            let shard = source.name();
            source.stream.open(&shard, None);
            source.opened(shard, None);
        }
        for item in 0..items {
            let shard = source.open[(item % shards) as usize].clone();
            source.items.insert(format!("i{item}"), Item { shard, number: None });
        }
        source
    }

    /// From here on records are asked for.
    pub(crate) fn asked_since(&mut self, seconds: u64) {
        self.since = seconds;
    }

    /// Changes some items.
    pub(crate) fn write(&mut self, count: u64) {
        let ids: Vec<String> = self.items.keys().cloned().collect();
        for _ in 0..count {
            let id = self.chance.pick(&ids).clone();
            self.change(&id);
        }
    }

    /// Changes every item once.
    pub(crate) fn write_all(&mut self) {
        for id in self.items.keys().cloned().collect::<Vec<_>>() {
            self.change(&id);
        }
    }

    fn change(&mut self, id: &str) {
        self.numbers += 1;
        let next = (!self.chance.percent(12)).then_some(self.numbers);
        let item = self.items.get_mut(id).unwrap();
        let record = match (item.number, next) {
            (Some(old), None) => NewRecord::remove(id, old),
            (Some(old), Some(new)) => NewRecord::update(id, old, new),
            (None, _) => NewRecord::put(id, self.numbers),
        };
        item.number = if item.number.is_none() { Some(self.numbers) } else { next };
        let (number, shard) = (item.number, item.shard.clone());
        let made = self.stream.now_ms() / 1_000;
        let sequence = self.stream.put(&shard, record);
        self.judge.case().books.wrote(&shard, id, number, &sequence, made < self.since);
    }

    /// One of the open shards takes no more records, and one or more follow it.
    pub(crate) fn split(&mut self) {
        let parent = self.chance.pick(&self.open).clone();
        let children: Vec<Arc<str>> = (0..self.chance.within(1..3)).map(|_| self.name()).collect();
        let named: Vec<&str> = children.iter().map(|child| &**child).collect();
        self.judge.note(&format!("shard {parent} is followed by {named:?}"));
        self.stream.split(&parent, &named);
        self.judge.case().books.closed(&parent);
        self.open.retain(|open| *open != parent);
        for child in &children {
            if self.chance.percent(40) {
                self.stream.list_from(child, self.chance.millis(0..LATE));
            }
            self.opened(child.clone(), Some(parent.clone()));
        }
        if self.chance.percent(40) {
            self.stream.list_open_until(&parent, self.chance.millis(0..LATE));
        }
        for item in self.items.values_mut().filter(|item| item.shard == parent) {
            item.shard = self.chance.pick(&children).clone();
        }
        self.judge.count("split");
    }

    /// The stream forgets some of a shard's records.
    pub(crate) fn trim(&mut self) {
        let shards: Vec<Arc<str>> = self.there().collect();
        if shards.is_empty() {
            return;
        }
        let shard = self.chance.pick(&shards).clone();
        let count = self.count(&shard) as u64;
        if count == 0 {
            return;
        }
        let trimmed = 1 + self.chance.within(0..count) as usize;
        let case = self.judge.case();
        let through = case.books.sequence(&shard, trimmed - 1).unpadded().to_owned();
        drop(case);
        let lost = self.judge.trimmed(&shard, trimmed);
        self.stream.trim(&shard, &through);
        self.judge.note(&format!("shard {shard} is trimmed through {through}: {lost} are lost"));
        self.judge.count("trim");
    }

    /// The stream forgets a shard that takes no more records.
    pub(crate) fn forget(&mut self) {
        let closed: Vec<Arc<str>> = self.there().filter(|shard| !self.open.contains(shard)).collect();
        if closed.is_empty() {
            return;
        }
        let shard = self.chance.pick(&closed).clone();
        self.stream.forget(&shard);
        self.forgotten(&shard);
    }

    /// A long time passes for the stream alone: iterators expire, and what is older than a day is forgotten.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.judge.note(&format!("{by:?} pass"));
        self.stream.advance(by);
        if by < Duration::from_secs(24 * 3_600) {
            return;
        }
        for shard in self.there().collect::<Vec<_>>() {
            match self.open.contains(&shard) {
                false => self.forgotten(&shard),
                true => drop(self.judge.trimmed(&shard, self.count(&shard))),
            }
        }
    }

    /// The shards that the stream has.
    pub(crate) fn there(&self) -> impl Iterator<Item = Arc<str>> + use<'_> {
        self.shards.iter().filter(|(_, there)| **there).map(|(shard, _)| shard.clone())
    }

    pub(crate) fn is_open(&self, shard: &str) -> bool {
        self.open.iter().any(|open| **open == *shard)
    }

    fn forgotten(&mut self, shard: &Arc<str>) {
        self.shards.insert(shard.clone(), false);
        let lost = self.judge.trimmed(shard, self.count(shard));
        self.judge.note(&format!("shard {shard} is forgotten: {lost} are lost"));
        self.judge.count("forget");
    }

    fn count(&self, shard: &str) -> usize {
        self.judge.case().books.count(shard)
    }

    fn opened(&mut self, shard: Arc<str>, parent: Option<Arc<str>>) {
        self.judge.case().books.opened(shard.clone(), parent);
        self.shards.insert(shard.clone(), true);
        self.open.push(shard);
    }

    fn name(&mut self) -> Arc<str> {
        self.opened += 1;
        let chance = self.chance.next() as u32;
        format!("shardId-{:020}-{chance:08x}", self.opened).into()
    }
}
