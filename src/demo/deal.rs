//! How changes are delivered: late, twice, again and out of order, as far as a stream and a queue may. Made without I/O.

use std::collections::VecDeque;
use std::sync::Arc;

use aws_sdk_dynamodbstreams::types::Record;
use bytes::Bytes;
use millstream_processor::projections::{KeyDigest, SourceName};
use millstream_processor::source::{Batch, Delivery, DeliveryId, message, stream_record};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// The most records of one batch: Lambda's default for a stream.
const STREAM_BATCH: usize = 100;
/// The most messages of one batch: what one ReceiveMessage gives.
const QUEUE_BATCH: usize = 10;
/// Into how many shards the changes of a table are thought to be split; the order holds within each.
const SHARDS: usize = 4;
/// How many deliveries are remembered, to come again when they are long outdated.
const REMEMBERED: usize = 5_000;

/// How likely a batch is delivered a second time, whole.
const AGAIN: f64 = 0.20;
/// How likely its beginning is delivered a second time.
const BEGINNING_AGAIN: f64 = 0.15;
/// How likely some of it stands in it twice.
const DOUBLED_WITHIN: f64 = 0.10;
/// How likely outdated deliveries come again after it, in any order.
const OUTDATED_AGAIN: f64 = 0.15;
/// How likely a message of the queue waits until later ones have passed it.
const OVERTAKEN: f64 = 0.20;

/// One record or message that can be delivered as often as one likes.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    source: SourceName,
    digest: Option<KeyDigest>,
    wire: Wire,
}

#[derive(Debug, Clone)]
enum Wire {
    Stream(Arc<Record>, Arc<str>),
    Queue { id: String, body: Bytes },
}

/// Some parcels of one source that are delivered together.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    source: SourceName,
    parcels: Vec<Parcel>,
}

impl Parcel {
    /// A record of a stream.
    pub(crate) fn of_stream(
        source: &SourceName,
        record: Arc<Record>,
        stream: Arc<str>,
        delivery: &Delivery,
    ) -> Self {
        let digest = delivery.change.as_ref().ok().and_then(|change| change.digest().ok());
        Self { source: source.clone(), digest, wire: Wire::Stream(record, stream) }
    }

    /// A message of a queue.
    pub(crate) fn of_queue(source: &SourceName, id: String, body: Bytes) -> Self {
        Self { source: source.clone(), digest: None, wire: Wire::Queue { id, body } }
    }

    /// The source it comes from.
    pub(crate) fn source(&self) -> &SourceName {
        &self.source
    }

    /// The record, and the stream that it stands in; a message has none.
    pub(crate) fn record(&self) -> Option<(&Record, &str)> {
        match &self.wire {
            Wire::Stream(record, stream) => Some((record, stream)),
            Wire::Queue { .. } => None,
        }
    }

    fn deliver(&self) -> Delivery {
        match &self.wire {
            Wire::Stream(record, stream) => {
                stream_record::decode(Record::clone(record), &self.source, stream)
            }
            Wire::Queue { id, body } => {
                let id = DeliveryId::Message { id: id.clone(), group: None };
                message::decode(id, body.clone(), &self.source)
            }
        }
    }
}

impl Round {
    /// Parcels of one source that come exactly as they are; `None` if there are none.
    pub(crate) fn of(parcels: Vec<Parcel>) -> Option<Self> {
        Some(Self { source: parcels.first()?.source.clone(), parcels })
    }

    /// The source it is of.
    pub(crate) fn source(&self) -> &SourceName {
        &self.source
    }

    /// How many parcels are delivered.
    pub(crate) fn len(&self) -> usize {
        self.parcels.len()
    }

    /// The batch as a source hands it over.
    pub(crate) fn batch(&self) -> Batch {
        Batch { source: self.source.clone(), deliveries: self.parcels.iter().map(Parcel::deliver).collect() }
    }

    /// What of it has to come again, given which places are unfinished.
    pub(crate) fn unfinished(&self, unfinished: &[bool]) -> Self {
        let left = self.parcels.iter().zip(unfinished).filter(|(_, unfinished)| **unfinished);
        Self { source: self.source.clone(), parcels: left.map(|(parcel, _)| parcel.clone()).collect() }
    }
}

/// Deals parcels into rounds.
pub(crate) struct Dealer {
    chance: StdRng,
    delivered: VecDeque<Parcel>,
    overtaken: Vec<Parcel>,
}

impl Dealer {
    /// A dealer with its own chance.
    pub(crate) fn new(chance: StdRng) -> Self {
        Self { chance, delivered: VecDeque::new(), overtaken: Vec::new() }
    }

    /// Changes of streams, each source's in the order of its stream. A key's changes first come in that order; what
    /// came once may come again at any time.
    pub(crate) fn deal_changes(&mut self, sources: Vec<Vec<Parcel>>) -> Vec<Round> {
        let mut shards: Vec<VecDeque<Round>> = Vec::new();
        for parcels in sources {
            shards.extend(self.split(parcels).into_iter().map(|shard| self.cut(shard, STREAM_BATCH).into()));
        }
        let mut rounds = Vec::new();
        loop {
            shards.retain(|shard| !shard.is_empty());
            if shards.is_empty() {
                return rounds;
            }
            let next = self.chance.random_range(0..shards.len());
            if let Some(round) = shards[next].pop_front() {
                self.deliver(round, &mut rounds);
            }
        }
    }

    /// Messages of a queue, in any order; some wait for a later call unless it is the last one.
    pub(crate) fn deal_messages(&mut self, mut parcels: Vec<Parcel>, last: bool) -> Vec<Round> {
        parcels.append(&mut self.overtaken);
        parcels.shuffle(&mut self.chance);
        if !last {
            let keep = parcels.len() - (parcels.len() as f64 * OVERTAKEN) as usize;
            self.overtaken = parcels.split_off(keep);
        }
        let mut rounds = Vec::new();
        for round in self.cut(parcels, QUEUE_BATCH) {
            self.deliver(round, &mut rounds);
        }
        rounds
    }

    /// Puts keys into shards, so that each shard keeps the order of its keys.
    fn split(&mut self, parcels: Vec<Parcel>) -> Vec<Vec<Parcel>> {
        let count = self.chance.random_range(1..=SHARDS);
        let mut shards = vec![Vec::new(); count];
        for parcel in parcels {
            let first = parcel.digest.map_or(0, |digest| digest.as_str().bytes().map(usize::from).sum());
            shards[first % count].push(parcel);
        }
        shards
    }

    fn cut(&mut self, mut parcels: Vec<Parcel>, most: usize) -> Vec<Round> {
        let mut rounds = Vec::new();
        while let Some(first) = parcels.first() {
            let source = first.source.clone();
            let size = self.chance.random_range(1..=most).min(parcels.len());
            let rest = parcels.split_off(size);
            rounds.push(Round { source, parcels });
            parcels = rest;
        }
        rounds
    }

    /// Delivers a round for the first time, and something for the second time with it or after it.
    fn deliver(&mut self, mut round: Round, rounds: &mut Vec<Round>) {
        let fresh = round.parcels.clone();
        if self.chance.random_bool(DOUBLED_WITHIN) {
            let doubled = self.chance.random_range(0..fresh.len());
            round.parcels.extend_from_slice(&fresh[doubled..]);
        }
        let beginning = Round { source: round.source.clone(), parcels: self.beginning(&fresh) };
        rounds.push(round.clone());
        if self.chance.random_bool(AGAIN) {
            rounds.push(round);
        }
        if self.chance.random_bool(BEGINNING_AGAIN) {
            rounds.push(beginning);
        }
        self.delivered.extend(fresh);
        while self.delivered.len() > REMEMBERED {
            self.delivered.pop_front();
        }
        if self.chance.random_bool(OUTDATED_AGAIN) {
            rounds.extend(self.outdated());
        }
    }

    fn beginning(&mut self, parcels: &[Parcel]) -> Vec<Parcel> {
        parcels[..self.chance.random_range(1..=parcels.len())].to_vec()
    }

    /// Some deliveries from long ago, all of the source of the first.
    fn outdated(&mut self) -> Option<Round> {
        let first = self.delivered.get(self.chance.random_range(0..self.delivered.len().max(1)))?;
        let source = first.source.clone();
        let of_source: Vec<&Parcel> =
            self.delivered.iter().filter(|parcel| parcel.source == source).collect();
        let count = self.chance.random_range(1..=20);
        let mut parcels = Vec::with_capacity(count);
        for _ in 0..count {
            parcels.push(of_source[self.chance.random_range(0..of_source.len())].clone());
        }
        Some(Round { source, parcels })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::SeedableRng;

    use super::*;

    fn parcels(source: &SourceName, count: usize) -> Vec<Parcel> {
        let parcel = |number: usize| Parcel {
            source: source.clone(),
            digest: Some(KeyDigest::of_bytes(&[(number % 5) as u8])),
            wire: Wire::Queue { id: format!("{} {number:04}", number % 5), body: Bytes::new() },
        };
        (0..count).map(parcel).collect()
    }

    fn ids(rounds: &[Round]) -> Vec<String> {
        let id = |parcel: &Parcel| match &parcel.wire {
            Wire::Queue { id, .. } => id.clone(),
            Wire::Stream(..) => String::new(),
        };
        rounds.iter().flat_map(|round| round.parcels.iter().map(id)).collect()
    }

    #[test]
    fn every_change_comes_and_those_of_a_key_first_come_in_their_order() {
        let source = SourceName::new("orders").unwrap();
        let mut repeated = 0;
        for seed in 0..50 {
            let mut dealer = Dealer::new(StdRng::seed_from_u64(seed));
            let dealt = ids(&dealer.deal_changes(vec![parcels(&source, 300)]));
            let mut last: HashMap<String, String> = HashMap::new();
            let mut seen = std::collections::HashSet::new();
            for id in &dealt {
                let (key, number) = id.split_once(' ').unwrap();
                if seen.insert(id.clone()) {
                    let before = last.insert(key.to_owned(), number.to_owned());
                    assert!(before.is_none_or(|before| before.as_str() < number), "seed {seed}: {id}");
                }
            }
            assert_eq!(seen.len(), 300);
            repeated += dealt.len() - seen.len();
        }
        assert!(repeated > 0);
    }

    #[test]
    fn every_message_comes_by_the_last_call() {
        let source = SourceName::new("events").unwrap();
        let mut dealer = Dealer::new(StdRng::seed_from_u64(1));
        let mut dealt = ids(&dealer.deal_messages(parcels(&source, 200), false));
        assert!(dealt.iter().collect::<std::collections::HashSet<_>>().len() < 200, "some are overtaken");
        dealt.extend(ids(&dealer.deal_messages(Vec::new(), true)));
        assert_eq!(dealt.iter().collect::<std::collections::HashSet<_>>().len(), 200);
    }
}
