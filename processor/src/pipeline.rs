//! The pipeline: route, lanes, apply, settle, report, once around for each batch. Every host runs this one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, join};
use millstream_projections::{Projection, ProjectionName, Reject};

use crate::apply::{Applier, Broken, Ended, Tally, worse};
use crate::clock::{Clock, Deadline};
use crate::lanes::{Outbox, Plan, Planner, Unit};
use crate::letters::LetterStore;
use crate::meter::{self, Numbers};
use crate::outcome::{Fault, FaultKind};
use crate::publish::Publisher;
use crate::report::{Counts, Report};
use crate::retry::RetryPolicy;
use crate::route::Routes;
use crate::settle::{LETTERS_AT_ONCE, Settled, Settler};
use crate::sink::{RowSink, TopicSink};
use crate::source::Batch;

/// Limits of the pipeline, from the config.
#[derive(Clone)]
pub struct Limits {
    /// How many targets are written side by side.
    pub concurrency: usize,
    /// How old a record may grow before a fault that may pass makes it a letter all the same.
    pub hold: Duration,
    /// How often and how long a write is tried.
    pub retry: RetryPolicy,
}

/// Everything that a batch runs through.
pub struct Pipeline {
    /// Which projections see which source.
    pub routes: Routes,
    /// Where rows are written.
    pub rows: Arc<dyn RowSink>,
    /// Where events go.
    pub topics: Arc<dyn TopicSink>,
    /// Where letters are kept.
    pub letters: Arc<dyn LetterStore>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// The limits.
    pub limits: Limits,
    /// The hash of the configuration, which letters carry.
    pub config: String,
}

impl Pipeline {
    /// Runs one batch and reports what became of each delivery. Everything that is not reported as unfinished is done:
    /// written, stale, or safe in a letter.
    pub async fn run(&self, batch: &Batch, deadline: Deadline) -> Report {
        let started = tokio::time::Instant::now();
        let projections = self.routes.of(&batch.source);
        let mut outcomes = Outcomes::default();
        let plan = plan(batch, projections, &mut outcomes);
        // What can never be projected need not wait for what is slow to write: its letters are safe by then.
        let rejected = std::mem::take(&mut outcomes.faults);
        let settle = |faults| self.settle(batch, projections, deadline.for_letters(), faults);
        let (mut settled, ()) =
            join!(settle(rejected), self.apply(plan, projections, deadline, &mut outcomes));
        settled.extend(settle(std::mem::take(&mut outcomes.faults)).await);
        meter::batch(&Numbers {
            batch,
            projections,
            counts: &outcomes.counts,
            settled: &settled,
            written: &outcomes.tally.take(),
            took: started.elapsed(),
            now: self.clock.unix_seconds(),
        });
        report(batch, settled, outcomes.counts.into_values().sum())
    }

    async fn apply(
        &self,
        plan: Plan,
        projections: &[Arc<dyn Projection>],
        deadline: Deadline,
        outcomes: &mut Outcomes,
    ) {
        let broken = Broken::default();
        let (retry, concurrency) = (&self.limits.retry, self.limits.concurrency);
        let (broken, tally) = (&broken, &outcomes.tally);
        let applier = Applier { rows: &*self.rows, projections, retry, concurrency, deadline, broken, tally };
        let publisher = Publisher { topics: &*self.topics, retry, concurrency, deadline, broken, tally };
        let publish = |(topic, outbox): (Arc<str>, Outbox)| {
            let publisher = &publisher;
            async move { publisher.run(&topic, outbox).await }
        };
        let (rows, events) = join!(applier.run(plan.lanes), join_all(plan.outboxes.into_iter().map(publish)));
        for (unit, ended) in rows.into_iter().chain(events.into_iter().flatten()) {
            outcomes.add(unit, ended);
        }
    }

    /// Gives every fault its verdict: a letter, or unfinished.
    async fn settle(
        &self,
        batch: &Batch,
        projections: &[Arc<dyn Projection>],
        deadline: Deadline,
        faults: BTreeMap<Unit, Fault>,
    ) -> Vec<(Unit, Settled)> {
        let settler = Settler {
            letters: &*self.letters,
            clock: &*self.clock,
            retry: &self.limits.retry,
            hold: self.limits.hold,
            config: &self.config,
            deadline,
        };
        let settle = |(unit, fault): (Unit, Fault)| {
            let settler = &settler;
            async move {
                let delivery = &batch.deliveries[unit.delivery];
                let projection = projections.get(unit.projection).map(|projection| projection.name());
                (unit, settler.settle(&batch.source, delivery, projection, fault).await)
            }
        };
        futures_util::stream::iter(faults).map(settle).buffer_unordered(LETTERS_AT_ONCE).collect().await
    }
}

/// What became of the units so far: only faults are kept one by one.
#[derive(Default)]
struct Outcomes {
    faults: BTreeMap<Unit, Fault>,
    /// By projection.
    counts: BTreeMap<usize, Counts>,
    tally: Tally,
}

impl Outcomes {
    fn add(&mut self, unit: Unit, ended: Ended) {
        let counts = match ended {
            Ended::Applied { written, stale } => Counts { written, stale, coalesced: 0 },
            Ended::Coalesced => Counts { written: 0, stale: 0, coalesced: 1 },
            Ended::Failed(fault) => {
                let known = self.faults.remove(&unit);
                self.faults.insert(unit, worse(known, fault));
                return;
            }
        };
        *self.counts.entry(unit.projection).or_default() += counts;
    }
}

/// Projects every change; what can never be projected is an outcome already.
fn plan(batch: &Batch, projections: &[Arc<dyn Projection>], outcomes: &mut Outcomes) -> Plan {
    let mut planner = Planner::default();
    for (place, delivery) in batch.deliveries.iter().enumerate() {
        let change = match &delivery.change {
            Ok(change) => change,
            Err(undecodable) => {
                // No projection ever saw it: it is counted for none of them.
                let unit = Unit { delivery: place, projection: usize::MAX };
                outcomes.add(unit, Ended::Failed(Fault::new(FaultKind::Rejected, undecodable.to_string())));
                continue;
            }
        };
        for (number, projection) in projections.iter().enumerate() {
            let unit = Unit { delivery: place, projection: number };
            match projection.project(change) {
                Ok(effects) => effects.into_iter().for_each(|effect| planner.add(unit, effect)),
                Err(reject) => {
                    outcomes.add(unit, Ended::Failed(rejected(projection.name(), &reject)));
                    reject.into_effects().into_iter().for_each(|effect| planner.add(unit, effect));
                }
            }
        }
    }
    planner.finish()
}

fn rejected(projection: &ProjectionName, reject: &Reject) -> Fault {
    let kind = if reject.is_deployment() { FaultKind::Misconfigured } else { FaultKind::Rejected };
    Fault::new(kind, format!("projection {projection}: {reject}"))
}

fn report(batch: &Batch, settled: Vec<(Unit, Settled)>, counts: Counts) -> Report {
    let mut report = Report { unfinished: vec![None; batch.deliveries.len()], letters: Vec::new(), counts };
    for (unit, settled) in settled {
        match settled {
            Settled::Lettered(id) => report.letters.push(id),
            Settled::Unfinished(fault) => {
                let place = &mut report.unfinished[unit.delivery];
                *place = Some(worse(place.take(), fault));
            }
        }
    }
    report
}
