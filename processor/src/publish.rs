//! Events of one batch, published in the order of their keys: never a later one of a key before an earlier one.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use futures_util::StreamExt;
use millstream_projections::KeyDigest;
use tokio::time::Instant;

use crate::apply::{Broken, Ended, Tally};
use crate::clock::Deadline;
use crate::lanes::{Outbox, PlannedEvent, Unit};
use crate::order;
use crate::outcome::{Applied, Fault, Verdict};
use crate::retry::{RetryPolicy, Waits};
use crate::sink::{Entry, MAX_ENTRIES, MAX_PUBLISH_BYTES, TopicSink};

/// Publishes the events of one topic.
pub struct Publisher<'a> {
    /// Where events go.
    pub topics: &'a dyn TopicSink,
    /// How often an event is tried.
    pub retry: &'a RetryPolicy,
    /// How many PublishBatches run side by side.
    pub concurrency: usize,
    /// Until when.
    pub deadline: Deadline,
    /// What this deployment lacks, as far as this batch has met it.
    pub broken: &'a Broken,
    /// The events published so far.
    pub tally: &'a Tally,
}

/// The events of one source item that still wait.
struct Queue {
    group: KeyDigest,
    events: VecDeque<PlannedEvent>,
    waits: Option<Waits>,
    not_before: Instant,
}

impl Publisher<'_> {
    /// Publishes everything in the outbox, in rounds: each round takes the first waiting event of each key.
    pub async fn run(&self, topic: &Arc<str>, outbox: Outbox) -> Vec<(Unit, Ended)> {
        let mut ended = Vec::new();
        let mut queues: Vec<Queue> =
            outbox.into_queues().map(|(group, events)| Queue::new(group, events, &mut ended)).collect();
        while let Some(next) = queues.iter().map(|queue| queue.not_before).min() {
            let wait = next.saturating_duration_since(Instant::now());
            if !self.deadline.allows_start_in(wait) {
                give_up(&mut queues, &Fault::out_of_time("publish"), &mut ended);
                break;
            }
            tokio::time::sleep(wait).await;
            let results = self.round(topic, &queues).await;
            for (at, result) in results {
                self.settle(topic, &mut queues[at], result, &mut ended);
            }
            if let Some(fault) = self.broken.get(topic) {
                give_up(&mut queues, &fault, &mut ended);
            }
            queues.retain(|queue| !queue.events.is_empty());
        }
        ended
    }

    /// Publishes the first event of every queue that need not wait; tells the result by the queue's place.
    async fn round(&self, topic: &Arc<str>, queues: &[Queue]) -> Vec<(usize, Result<(), Fault>)> {
        let now = Instant::now();
        let ready = queues.iter().enumerate().filter(|(_, queue)| queue.not_before <= now);
        let heads = ready.filter_map(|(at, queue)| Some((at, queue.group, queue.events.front()?)));
        let batches = pack(heads);
        let sends: Vec<_> = batches.iter().map(|batch| self.batch(topic, batch)).collect();
        let results =
            futures_util::stream::iter(sends).buffer_unordered(self.concurrency).collect::<Vec<_>>().await;
        results.into_iter().flatten().collect()
    }

    async fn batch(&self, topic: &Arc<str>, batch: &[Head<'_>]) -> Vec<(usize, Result<(), Fault>)> {
        let entries: Vec<Entry<'_>> =
            batch.iter().map(|(_, group, event)| Entry { group: *group, event: &event.event }).collect();
        let places = batch.iter().map(|(at, _, _)| *at);
        match self.deadline.cut(self.topics.publish(topic, &entries)).await {
            Some(results) => places.zip(results).collect(),
            None => places.map(|at| (at, Err(Fault::out_of_time("publish")))).collect(),
        }
    }

    fn settle(
        &self,
        topic: &Arc<str>,
        queue: &mut Queue,
        result: Result<(), Fault>,
        ended: &mut Vec<(Unit, Ended)>,
    ) {
        let fault = match result {
            Ok(()) => {
                let written = Ended::of(Applied::Written);
                self.tally.count(topic, "publish", &written);
                return queue.take(written, ended);
            }
            Err(fault) => fault,
        };
        // Where the topic itself is at fault, every event for it would fail alike: the rest is given up by `run`.
        self.broken.note(topic, &fault);
        match fault.kind.verdict() {
            Verdict::Letter => {
                queue.take(Ended::Failed(fault), ended);
                queue.give_up(&order::held(), ended);
            }
            Verdict::Unfinished => queue.give_up(&fault, ended),
            Verdict::Retry => match queue.waits.get_or_insert_with(|| self.retry.start()).next_wait() {
                Some(wait) => queue.not_before = Instant::now() + wait,
                None => queue.give_up(&fault, ended),
            },
        }
    }
}

type Head<'a> = (usize, KeyDigest, &'a PlannedEvent);

/// Packs events into batches by number and by size.
fn pack<'a>(heads: impl Iterator<Item = Head<'a>>) -> Vec<Vec<Head<'a>>> {
    let mut batches: Vec<Vec<Head<'_>>> = Vec::new();
    let mut bytes = 0;
    for head in heads {
        let size = Entry { group: head.1, event: &head.2.event }.bytes();
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_ENTRIES && bytes + size <= MAX_PUBLISH_BYTES => {
                bytes += size;
                batch.push(head);
            }
            Some(_) | None => {
                bytes = size;
                batches.push(vec![head]);
            }
        }
    }
    batches
}

fn give_up(queues: &mut [Queue], fault: &Fault, ended: &mut Vec<(Unit, Ended)>) {
    for queue in queues {
        queue.give_up(fault, ended);
    }
}

impl Queue {
    /// The events of one key, without those that the same delivery batch brought twice.
    fn new(group: KeyDigest, events: Vec<PlannedEvent>, ended: &mut Vec<(Unit, Ended)>) -> Self {
        let mut seen = HashSet::new();
        let mut queue = VecDeque::with_capacity(events.len());
        for event in events {
            if seen.insert(event.event.id.clone()) {
                queue.push_back(event);
            } else {
                ended.push((event.unit, Ended::Coalesced));
            }
        }
        Self { group, events: queue, waits: None, not_before: Instant::now() }
    }

    fn take(&mut self, end: Ended, ended: &mut Vec<(Unit, Ended)>) {
        self.waits = None;
        if let Some(event) = self.events.pop_front() {
            ended.push((event.unit, end));
        }
    }

    fn give_up(&mut self, fault: &Fault, ended: &mut Vec<(Unit, Ended)>) {
        ended.extend(self.events.drain(..).map(|event| (event.unit, Ended::Failed(fault.clone()))));
    }
}
