//! What the workers write to: rows under guards and a topic, in memory, over the wires of each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_processor::outcome::{Applied, Fault, FaultKind};
use millstream_processor::poller::state::Session;
use millstream_processor::projections::effect::{Target, Write};
use millstream_processor::projections::item::Key;
use millstream_processor::projections::{Guard, Item, ProjectionName, Value};
use millstream_processor::sink::{Entry, Page, RowSink, RowWrite, TopicSink};

use crate::judge::Judge;
use crate::network::{Channel, Wires};
use crate::state::fault;

/// The rows, each with the sequence number of its guard. A row that was removed is remembered.
#[derive(Debug, Default)]
pub(crate) struct Rows(Mutex<BTreeMap<String, (String, Option<u64>)>>);

impl Rows {
    /// Up to which sequence number a row is done, and what number it has then, if it is there.
    pub(crate) fn row(&self, id: &str) -> Option<(String, Option<u64>)> {
        self.0.lock().unwrap().get(id).cloned()
    }

    /// Writes what is newer than what is there.
    fn write(&self, id: &str, sequence: &str, number: Option<u64>) -> Applied {
        let mut rows = self.0.lock().unwrap();
        if rows.get(id).is_some_and(|(stored, _)| **stored >= *sequence) {
            return Applied::Stale;
        }
        rows.insert(id.to_owned(), (sequence.to_owned(), number));
        Applied::Written
    }
}

/// The sink at the end of one worker's wires.
pub(crate) struct WorkerSink {
    pub(crate) session: Session,
    pub(crate) wires: Arc<Wires>,
    pub(crate) rows: Arc<Rows>,
    pub(crate) judge: Arc<Judge>,
}

impl RowSink for WorkerSink {
    fn apply<'a>(&'a self, write: RowWrite<'a>) -> BoxFuture<'a, Result<Applied, Fault>> {
        let sequence = sequence(write.guard.version.as_str()).to_owned();
        let Some(Value::S(id)) = write.key.get("id").cloned() else { panic!("{:?}", write.key) };
        let number = match write.write {
            Write::Put { item, .. } => Some(number(item)),
            Write::Delete { .. } => None,
            other => panic!("{other:?}"),
        };
        self.judge.begins(&self.session, &sequence);
        let rows = self.rows.clone();
        let apply = move || async move { rows.write(&id, &sequence, number) };
        async move {
            let sent = self.wires.pass(Channel::Sink, apply).await;
            sent.map_err(|trouble| fault("write a row", trouble))
        }
        .boxed()
    }

    fn was_dropped<'a>(&'a self, _: &'a ProjectionName, _: &'a Guard) -> BoxFuture<'a, Result<bool, Fault>> {
        panic!("no projection here drops rows of others")
    }

    fn remember_drop<'a>(&'a self, _: &'a ProjectionName, _: &'a Guard) -> BoxFuture<'a, Result<(), Fault>> {
        panic!("no projection here drops rows of others")
    }

    fn find<'a>(
        &'a self,
        table: &'a Arc<str>,
        _: &'a Arc<str>,
        _: &'a Key,
        _: Option<Key>,
    ) -> BoxFuture<'a, Result<Page, Fault>> {
        let none = Target::Shared { table: table.clone() };
        panic!("no projection here finds rows by an index: {none:?}")
    }
}

impl TopicSink for WorkerSink {
    fn publish<'a>(
        &'a self,
        _: &'a Arc<str>,
        entries: &'a [Entry<'a>],
    ) -> BoxFuture<'a, Vec<Result<(), Fault>>> {
        let sequences: Vec<String> = entries.iter().map(|entry| version(&entry.event.body)).collect();
        sequences.iter().for_each(|sequence| self.judge.begins(&self.session, sequence));
        // Each entry has its own result: some of them fail although the request went through.
        let failed: Vec<bool> = entries.iter().map(|_| self.wires.percent(1)).collect();
        let (judge, session) = (self.judge.clone(), self.session.clone());
        let count = entries.len();
        let apply = move || async move {
            let publish = |(sequence, fails): (&String, bool)| match fails {
                true => Err(Fault::new(FaultKind::Unavailable, "publish: this entry failed")),
                false => {
                    judge.published(&session, sequence);
                    Ok(())
                }
            };
            sequences.iter().zip(failed).map(publish).collect::<Vec<_>>()
        };
        async move {
            match self.wires.pass(Channel::Sink, apply).await {
                Ok(results) => results,
                Err(trouble) => (0..count).map(|_| Err(fault("publish", trouble))).collect(),
            }
        }
        .boxed()
    }
}

/// The sequence number of a version, padded.
fn sequence(version: &str) -> &str {
    version.rsplit('/').next().unwrap()
}

/// The same of an event.
fn version(body: &str) -> String {
    let (_, rest) = body.split_once("\"msversion\":\"").unwrap();
    sequence(rest.split_once('"').unwrap().0).to_owned()
}

fn number(item: &Item) -> u64 {
    match item.get("n") {
        Some(Value::N(digits)) => digits.parse().unwrap(),
        other => panic!("{other:?}"),
    }
}
