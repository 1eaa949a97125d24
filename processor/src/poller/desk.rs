//! The records of one shard between being read and being done: which can be worked on, in the order of their keys.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use millstream_projections::KeyDigest;
use millstream_projections::version::SequenceNumber;
use tokio::time::Instant;

use super::acks::{Acks, Watermark};
use crate::outcome::{Fault, FaultKind};
use crate::source::{Delivery, DeliveryId};

/// The most records of one batch.
const BATCH: usize = 1_000;
/// How long a key waits whose change could not be done: at first, and at most. The pipeline has tried for a while by then.
const WAIT: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];

/// What keeps changes in one order: a key, or, where nobody can tell the key, the record itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Key(KeyDigest),
    Record(SequenceNumber),
}

/// A record that is not done.
#[derive(Debug)]
struct Waiting {
    place: Place,
    bytes: u64,
    delivery: Delivery,
}

/// The records that are read and not done.
#[derive(Debug)]
pub(super) struct Desk {
    /// In the order of the shard; those that are being worked on are not among them.
    waiting: BTreeMap<SequenceNumber, Waiting>,
    /// Keys of which a change is being worked on.
    busy: HashSet<Place>,
    /// Keys that wait after a fault: until when, and how long they waited last.
    late: HashMap<Place, (Instant, Duration)>,
    watermark: Watermark,
    /// The size of what is waiting or being worked on, as the stream measures it.
    bytes: u64,
    /// What was done before this worker took the shard over.
    before: Acks,
}

/// Some records that are worked on together.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) deliveries: Vec<Delivery>,
    places: Vec<(SequenceNumber, Place, u64)>,
}

impl Taken {
    /// Whether there is nothing to work on.
    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }
}

impl Desk {
    /// An empty desk, with what is known to be done above the checkpoint.
    pub(super) fn new(before: Acks) -> Self {
        Self {
            waiting: BTreeMap::new(),
            busy: HashSet::new(),
            late: HashMap::new(),
            watermark: Watermark::new(),
            bytes: 0,
            before,
        }
    }

    /// Takes a record that was read; one that is done already is only counted.
    pub(super) fn put(&mut self, delivery: Delivery, bytes: u64) {
        let Some(sequence) = sequence(&delivery) else {
            // AWS sends no such record, and no checkpoint can rest on it.
            tracing::error!("a record without a usable sequence number was left out");
            return;
        };
        self.watermark.read(sequence.clone());
        if self.before.covers(&sequence) {
            self.watermark.done(&sequence);
        } else {
            self.bytes += bytes;
            let place = place(sequence.clone(), &delivery);
            self.waiting.insert(sequence, Waiting { place, bytes, delivery });
        }
    }

    /// Records that can be worked on now: the oldest first, none of a key that is busy or waits.
    pub(super) fn take(&mut self, now: Instant) -> Taken {
        let mut taken = Taken::default();
        let mut passed: HashSet<Place> = HashSet::new();
        let mut chosen = Vec::new();
        for (sequence, Waiting { place, .. }) in &self.waiting {
            if chosen.len() == BATCH {
                break;
            }
            let waits = self.late.get(place).is_some_and(|(until, _)| *until > now);
            if self.busy.contains(place) || waits || passed.contains(place) {
                // A later change of a key never goes before an earlier one.
                passed.insert(place.clone());
            } else {
                chosen.push(sequence.clone());
            }
        }
        for sequence in chosen {
            if let Some(Waiting { place, bytes, delivery }) = self.waiting.remove(&sequence) {
                taken.deliveries.push(delivery);
                taken.places.push((sequence, place, bytes));
            }
        }
        // A key that can go on is late no more, but remembers how long it waited last.
        self.busy.extend(taken.places.iter().map(|(_, place, _)| place.clone()));
        taken
    }

    /// What became of records that were taken. Those that are not done wait, and come again.
    pub(super) fn give_back(&mut self, taken: Taken, unfinished: &[Option<Fault>], now: Instant) {
        // A key waits once for a batch, however many of its changes were in it; whether they only lacked time.
        let mut failed: HashMap<Place, bool> = HashMap::new();
        let mut done = Vec::new();
        for ((delivery, (sequence, place, bytes)), fault) in
            taken.deliveries.into_iter().zip(taken.places).zip(unfinished)
        {
            self.busy.remove(&place);
            match fault {
                None => {
                    self.bytes -= bytes;
                    self.watermark.done(&sequence);
                    done.push(place);
                }
                Some(fault) => {
                    *failed.entry(place.clone()).or_insert(true) &= fault.kind == FaultKind::OutOfTime;
                    self.waiting.insert(sequence, Waiting { place, bytes, delivery });
                }
            }
        }
        for place in done.iter().filter(|place| !failed.contains_key(place)) {
            self.late.remove(place);
        }
        for (place, lacked_time_only) in failed {
            let last = self.late.get(&place).map(|(_, wait)| *wait);
            let wait = match last {
                // What only lacked time goes on at once.
                None if lacked_time_only => Duration::ZERO,
                None => WAIT[0],
                Some(last) => (last * 2).clamp(WAIT[0], WAIT[1]),
            };
            self.late.insert(place, (now + wait, wait));
        }
    }

    /// When something that waits after a fault may be tried again, if that is not now.
    pub(super) fn next_try(&self, now: Instant) -> Option<Instant> {
        self.late.values().map(|(until, _)| *until).filter(|until| *until > now).min()
    }

    /// Whether a change could not be done, and is not by now.
    pub(super) fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// How many records are read and not below the watermark.
    pub(super) fn open(&self) -> usize {
        self.watermark.above()
    }

    /// How large the records are that are read and not done.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Everything up to here is done.
    pub(super) fn watermark(&self) -> Option<&SequenceNumber> {
        self.watermark.at()
    }

    /// What is done above the watermark, by this worker or by one before it.
    pub(super) fn acks(&self) -> Acks {
        self.watermark.acks().with(&self.before, self.watermark.at())
    }
}

fn place(sequence: SequenceNumber, delivery: &Delivery) -> Place {
    match delivery.change.as_ref().ok().and_then(|change| change.digest().ok()) {
        Some(key) => Place::Key(key),
        None => Place::Record(sequence),
    }
}

/// Where a record stands in its shard.
pub(super) fn sequence(delivery: &Delivery) -> Option<SequenceNumber> {
    match &delivery.id {
        DeliveryId::Sequence(text) => SequenceNumber::new(text).ok(),
        DeliveryId::Message { .. } | DeliveryId::Notification(_) => None,
    }
}
