//! A KCL application and the stream that it reads, as far as its leases show what it does: the rules of the streams adapter of
//! KCL 1 (`Old`), of KCL 3 up to its version 2.1 (`Middle`) and from 2.2 on (`New`).

use std::collections::{BTreeMap, BTreeSet};

/// A record: its sequence number, and when it was made.
pub(crate) type Record = (u64, u64);

#[derive(Debug, Clone)]
pub(crate) struct Shard {
    pub(crate) parent: Option<usize>,
    pub(crate) records: Vec<Record>,
    pub(crate) closed: bool,
    /// Who sees it: nobody yet, whoever asks for the children of its parent, or everyone.
    pub(crate) seen: Seen,
    /// The stream forgot it.
    pub(crate) gone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    Nowhere,
    AsChild,
    Listed,
}

/// Each step is a second, and takes a sequence number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    pub(crate) shards: Vec<Shard>,
    pub(crate) now: u64,
}

impl Stream {
    pub(crate) fn open(&mut self, parent: Option<usize>, seen: Seen) {
        self.shards.push(Shard { parent, records: Vec::new(), closed: false, seen, gone: false });
    }

    pub(crate) fn put(&mut self, shard: usize) {
        if !self.shards[shard].closed {
            self.now += 1;
            self.shards[shard].records.push((self.now, self.now));
        }
    }

    pub(crate) fn split(&mut self, shard: usize, children: usize, seen: Seen) {
        if !self.shards[shard].closed {
            self.shards[shard].closed = true;
            (0..children).for_each(|_| self.open(Some(shard), seen));
        }
    }

    /// The oldest closed shard whose parent is gone goes.
    pub(crate) fn forget(&mut self) {
        let goes =
            |it: &Shard| it.closed && !it.gone && it.parent.is_none_or(|parent| self.shards[parent].gone);
        if let Some(place) = self.shards.iter().position(goes) {
            self.shards[place].gone = true;
        }
    }

    /// Whatever a listed shard follows is listed, and what comes of that beside it.
    pub(crate) fn fill_holes(&mut self) {
        for shard in (0..self.shards.len()).rev() {
            if let Some(parent) =
                self.shards[shard].parent.filter(|_| self.shards[shard].seen == Seen::Listed)
            {
                self.shards[parent].seen = Seen::Listed;
                self.children(parent, Seen::Nowhere)
                    .into_iter()
                    .for_each(|it| self.shards[it].seen = Seen::Listed);
            }
        }
    }

    pub(crate) fn is_listed(&self, shard: usize) -> bool {
        !self.shards[shard].gone && self.shards[shard].seen == Seen::Listed
    }

    pub(crate) fn children(&self, shard: usize, seen: Seen) -> Vec<usize> {
        let is_child = |it: &usize| self.shards[*it].parent == Some(shard) && self.shards[*it].seen >= seen;
        (0..self.shards.len()).filter(is_child).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    TrimHorizon,
    Latest,
    After(u64),
    End,
}

#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) at: At,
    /// Where `LATEST` was when this worker began.
    tip: Option<u64>,
    children: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Old,
    Middle,
    New,
}

#[derive(Debug, Clone)]
pub(crate) struct Application {
    version: Version,
    from_latest: bool,
    pub(crate) leases: BTreeMap<usize, Lease>,
    /// When it looked at the stream first.
    pub(crate) started: Option<u64>,
    /// What it did, and has checkpointed.
    pub(crate) done: BTreeSet<u64>,
}

impl Application {
    pub(crate) fn new(version: Version, from_latest: bool) -> Self {
        Self { version, from_latest, leases: BTreeMap::new(), started: None, done: BTreeSet::new() }
    }

    /// A shard sync: leases of open shards that have none, and of what comes before them. It may be cut off.
    pub(crate) fn sync(&mut self, stream: &Stream, at_most: usize) {
        self.started.get_or_insert(stream.now);
        let mut new = BTreeMap::new();
        for shard in (0..stream.shards.len()).filter(|it| stream.is_listed(*it) && !stream.shards[*it].closed)
        {
            if !self.leases.contains_key(&shard) {
                let follows = self.follows(stream, shard, &mut new);
                let start = if self.from_latest { At::Latest } else { At::TrimHorizon };
                new.insert(shard, if follows { At::TrimHorizon } else { start });
            }
        }
        for (shard, at) in new.into_iter().take(at_most) {
            self.leases.insert(shard, Lease { at, tip: None, children: Vec::new() });
        }
    }

    /// Whether a shard is, or comes after, one that is to be read; ancestors in between get leases.
    fn follows(&self, stream: &Stream, shard: usize, new: &mut BTreeMap<usize, At>) -> bool {
        if self.leases.contains_key(&shard) {
            return true;
        }
        let parent = stream.shards[shard].parent.filter(|parent| stream.is_listed(*parent));
        let follows = parent.is_some_and(|parent| self.follows(stream, parent, new));
        if let Some(parent) = parent.filter(|parent| follows && !self.leases.contains_key(parent)) {
            new.insert(parent, At::TrimHorizon);
        }
        follows || !self.from_latest
    }

    /// What waits in a shard, if it may be read: a parent with a lease has to be at its end.
    fn waiting(&mut self, stream: &Stream, shard: usize) -> Option<Vec<Record>> {
        let parent = stream.shards[shard].parent.and_then(|parent| self.leases.get(&parent));
        if parent.is_some_and(|parent| parent.at != At::End) {
            return None;
        }
        let records = &stream.shards[shard].records;
        let lease = self.leases.get_mut(&shard)?;
        let after = match lease.at {
            At::End => return None,
            At::TrimHorizon => 0,
            At::After(at) => at,
            At::Latest => *lease.tip.get_or_insert(stream.now),
        };
        let gone = stream.shards[shard].gone;
        Some(records.iter().filter(|(sequence, _)| !gone && *sequence > after).copied().collect())
    }

    /// Reads, does and checkpoints some records.
    pub(crate) fn work(&mut self, stream: &Stream, shard: usize, at_most: usize) {
        let some: Vec<Record> = self.waiting(stream, shard).into_iter().flatten().take(at_most).collect();
        if let (Some((last, _)), Some(lease)) = (some.last(), self.leases.get_mut(&shard)) {
            lease.at = At::After(*last);
            self.done.extend(some.iter().map(|(sequence, _)| sequence));
        }
    }

    /// Ends a shard that is read to its end. KCL 3 makes leases of the children that it is told of; KCL 1 leaves that to the
    /// next sync. A shard that is gone ends as well.
    pub(crate) fn end(&mut self, stream: &Stream, shard: usize) {
        let is_closed = stream.shards[shard].closed;
        if !is_closed || self.waiting(stream, shard).is_none_or(|left| !left.is_empty()) {
            return;
        }
        let children = match self.version {
            Version::Old => Vec::new(),
            Version::Middle | Version::New if stream.shards[shard].gone => Vec::new(),
            Version::Middle | Version::New => stream.children(shard, Seen::AsChild),
        };
        for child in &children {
            let new = Lease { at: At::TrimHorizon, tip: None, children: Vec::new() };
            self.leases.entry(*child).or_insert(new);
        }
        if let Some(lease) = self.leases.get_mut(&shard) {
            (lease.at, lease.children) = (At::End, children);
        }
    }

    /// Drops leases that are done, and leases of shards that are gone with their parents.
    pub(crate) fn clean(&mut self, stream: &Stream) {
        let before = self.leases.clone();
        for (shard, lease) in before.iter().filter(|(_, lease)| lease.at == At::End) {
            let children = match self.version {
                Version::Old | Version::Middle => stream.children(*shard, Seen::Listed),
                Version::New => lease.children.clone(),
            };
            let are = |wanted: &dyn Fn(At) -> bool| {
                let mut leases = children.iter().map(|child| before.get(child));
                !children.is_empty() && leases.all(|lease| lease.is_some_and(|lease| wanted(lease.at)))
            };
            let parent_has_one =
                stream.shards[*shard].parent.is_some_and(|parent| self.leases.contains_key(&parent));
            let goes = match self.version {
                Version::Old => are(&|at| at == At::End),
                Version::Middle => are(&|at| at != At::TrimHorizon),
                Version::New => are(&|at| at != At::TrimHorizon) && !parent_has_one,
            };
            if goes {
                self.leases.remove(shard);
            }
        }
        let is_there = |shard: usize| stream.is_listed(shard);
        self.leases.retain(|shard, _| is_there(*shard) || stream.shards[*shard].parent.is_some_and(is_there));
    }

    /// Its workers start again: `LATEST` is somewhere else now.
    pub(crate) fn restart(&mut self) {
        self.leases.values_mut().for_each(|lease| lease.tip = None);
    }

    /// Works until nothing is left to do, and gives what it has done by then that it had not.
    pub(crate) fn go_on(mut self, stream: &Stream) -> BTreeSet<u64> {
        let before = self.done.clone();
        for _ in 0..=2 * stream.shards.len() {
            self.sync(stream, usize::MAX);
            for shard in 0..stream.shards.len() {
                self.work(stream, shard, usize::MAX);
                self.end(stream, shard);
            }
        }
        self.done.difference(&before).copied().collect()
    }
}
