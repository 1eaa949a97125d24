//! The pipeline: route, lanes, apply, settle, report, once around for each batch. Every host runs this one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, join};
use millstream_projections::{Change, Effects, KeyDigest, Projection, ProjectionName, Reject, Version};

use crate::apply::{Applier, Broken, Ended, Tally, worse};
use crate::clock::{Clock, Deadline};
use crate::fold::{Folder, Rows};
use crate::holds::{self, Holds, NoHolds, OrderedKey};
use crate::lanes::{Outbox, Plan, Planner, Unit};
use crate::letters::{Closing, LetterState, LetterStore};
use crate::meter::{self, Numbers};
use crate::order::Order;
use crate::outcome::{Fault, FaultKind};
use crate::publish::Publisher;
use crate::report::{Counts, Report};
use crate::retry::RetryPolicy;
use crate::route::Routes;
use crate::settle::{LETTERS_AT_ONCE, Settled, Settler};
use crate::sink::fold::FoldSink;
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
#[derive(Clone)]
pub struct Pipeline {
    /// Which projections see which source.
    pub routes: Routes,
    /// Where rows are written.
    pub rows: Arc<dyn RowSink>,
    /// Where contributions to shared rows are folded.
    pub folds: Arc<dyn FoldSink>,
    /// Where events go.
    pub topics: Arc<dyn TopicSink>,
    /// Where letters are kept.
    pub letters: Arc<dyn LetterStore>,
    /// Which keys wait behind letters.
    pub holds: Arc<dyn Holds>,
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
        let mut order = self.order(batch, projections, deadline).await;
        let plan = plan(batch, projections, &mut order, &mut outcomes);
        let rejected = std::mem::take(&mut outcomes.faults);
        let rejected_units: HashSet<Unit> = rejected.keys().copied().collect();
        // What can never be projected need not wait for what is slow to write: its letters are safe by then. Where an
        // order is kept it has to: a change before it may still turn out unfinished, or a letter itself.
        let keeps_order =
            |unit: &Unit| projections.get(unit.projection).is_some_and(|projection| projection.keeps_order());
        let (in_order, rejected): (BTreeMap<_, _>, BTreeMap<_, _>) =
            rejected.into_iter().partition(|(unit, _)| keeps_order(unit));
        let settle = |faults| self.settle(batch, projections, deadline.for_letters(), faults);
        let (mut settled, ()) =
            join!(settle(rejected), self.apply(plan, projections, deadline, &mut outcomes));
        outcomes.faults.extend(in_order);
        let failed = |unit: &Unit| rejected_units.contains(unit) || outcomes.faults.contains_key(unit);
        self.let_go(batch, projections, deadline, &order, failed).await;
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

    async fn order(&self, batch: &Batch, projections: &[Arc<dyn Projection>], deadline: Deadline) -> Order {
        let (holds, letters, retry) = (&*self.holds, &*self.letters, &self.limits.retry);
        Order::read(holds, letters, retry, deadline, batch, projections).await
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
        let folder = Folder {
            sink: &*self.folds,
            projections,
            retry,
            concurrency,
            deadline,
            broken,
            tally,
            rows: Rows::default(),
        };
        let publish = |(topic, outbox): (Arc<str>, Outbox)| {
            let publisher = &publisher;
            async move { publisher.run(&topic, outbox).await }
        };
        let (rows, folds, events) = join!(
            applier.run(plan.lanes),
            folder.run(plan.folds),
            join_all(plan.outboxes.into_iter().map(publish))
        );
        for (unit, ended) in rows.into_iter().chain(folds).chain(events.into_iter().flatten()) {
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
            holds: &*self.holds,
            clock: &*self.clock,
            retry: &self.limits.retry,
            hold: self.limits.hold,
            config: &self.config,
            deadline,
        };
        let settle = |chain: Vec<(Unit, Fault)>| {
            let settler = &settler;
            async move {
                let mut settled: Vec<(Unit, Settled)> = Vec::with_capacity(chain.len());
                for (unit, fault) in chain {
                    // What comes again has to come before everything later of its key.
                    if let Some((_, Settled::Unfinished(earlier))) = settled.last() {
                        let earlier = Settled::Unfinished(earlier.clone());
                        settled.push((unit, earlier));
                        continue;
                    }
                    let delivery = &batch.deliveries[unit.delivery];
                    let projection = projections.get(unit.projection).map(|projection| &**projection);
                    settled.push((unit, settler.settle(&batch.source, delivery, projection, fault).await));
                }
                settled
            }
        };
        let chains = chains(batch, projections, faults);
        let settled = futures_util::stream::iter(chains).map(settle).buffer_unordered(LETTERS_AT_ONCE);
        settled.collect::<Vec<_>>().await.into_iter().flatten().collect()
    }

    /// Where the very change that a key was held for has now gone through, the key need not wait for its replay.
    async fn let_go(
        &self,
        batch: &Batch,
        projections: &[Arc<dyn Projection>],
        deadline: Deadline,
        order: &Order,
        failed: impl Fn(&Unit) -> bool,
    ) {
        if order.holds_nothing() {
            return;
        }
        for (place, delivery) in batch.deliveries.iter().enumerate() {
            let Ok(change) = &delivery.change else { continue };
            for (number, projection) in projections.iter().enumerate().filter(|(_, it)| it.keeps_order()) {
                let done = !failed(&Unit { delivery: place, projection: number });
                let Ok(key) = change.digest() else { continue };
                if done && order.is_first_held(number, key, &change.version) {
                    let (source, projection) = (batch.source.clone(), projection.name().clone());
                    let key = OrderedKey { source, projection, digest: key };
                    let release = || self.close_and_release(&key, &change.version);
                    if let Err(fault) = self.limits.retry.run(deadline, "let a key go", release).await {
                        let OrderedKey { projection, digest, .. } = &key;
                        tracing::warn!(%projection, key = %digest, cause = %fault, "key stays held until its letter is replayed");
                    }
                }
            }
        }
    }

    /// Closes the letter before the key is free: were it the other way round, a replay could publish it after later ones.
    async fn close_and_release(&self, key: &OrderedKey, version: &Version) -> Result<(), Fault> {
        let id = key.letter(version);
        let closing = Closing {
            state: LetterState::Replayed,
            at: self.clock.unix_seconds(),
            by: "the source itself".to_owned(),
            reason: "it went through when it came again".to_owned(),
        };
        // One that was edited stays: whoever edited it wants something else to go out.
        if !self.letters.close(&id, 0, &closing).await? {
            // Whoever held the key may have died before the letter was stored.
            holds::forget_absent(&*self.holds, &*self.letters, key, version).await?;
        }
        holds::let_go(&*self.holds, &*self.letters, key).await.map(drop)
    }

    /// The pipeline with one projection only; `None` if there is no such projection.
    pub fn restricted_to(&self, projection: &ProjectionName) -> Option<Self> {
        let routes = self.routes.only(projection)?;
        Some(Self { routes, ..self.clone() })
    }

    /// The pipeline as a replay runs it: what waits behind a letter is what it is for.
    pub fn replaying(&self) -> Self {
        Self { holds: Arc::new(NoHolds), ..self.clone() }
    }
}

/// Faults that have to be settled one after another stand together: those of one key, where an order is kept.
fn chains(
    batch: &Batch,
    projections: &[Arc<dyn Projection>],
    faults: BTreeMap<Unit, Fault>,
) -> Vec<Vec<(Unit, Fault)>> {
    let mut chains: Vec<Vec<(Unit, Fault)>> = Vec::new();
    let mut places: HashMap<(usize, KeyDigest), usize> = HashMap::new();
    for (unit, fault) in faults {
        let keeps_order = projections.get(unit.projection).is_some_and(|projection| projection.keeps_order());
        let change = batch.deliveries[unit.delivery].change.as_ref().ok();
        match change.filter(|_| keeps_order).and_then(|change| change.digest().ok()) {
            None => chains.push(vec![(unit, fault)]),
            Some(key) => {
                let place = *places.entry((unit.projection, key)).or_insert(chains.len());
                if place == chains.len() {
                    chains.push(Vec::new());
                }
                chains[place].push((unit, fault));
            }
        }
    }
    chains
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

/// Projects every change; what can never be projected, or has to wait, is an outcome already.
fn plan(
    batch: &Batch,
    projections: &[Arc<dyn Projection>],
    order: &mut Order,
    outcomes: &mut Outcomes,
) -> Plan {
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
            let (effects, fault) = project(&**projection, number, change, order);
            effects.into_iter().for_each(|effect| planner.add(unit, effect));
            if let Some(fault) = fault {
                outcomes.add(unit, Ended::Failed(fault));
            }
        }
    }
    planner.finish()
}

/// The effects of one change, and why these are not all: it is rejected, or has to wait behind one that was.
fn project(
    projection: &dyn Projection,
    number: usize,
    change: &Change,
    order: &mut Order,
) -> (Effects, Option<Fault>) {
    let (effects, fault) = match projection.project(change) {
        Ok(effects) => (effects, None),
        Err(reject) => {
            let fault = rejected(projection.name(), &reject);
            (reject.into_effects(), Some(fault))
        }
    };
    let concerned = fault.is_some() || !effects.is_empty();
    // The digest comes last: most changes need none, and it costs as much as the rest of the projection.
    if projection.keeps_order()
        && concerned
        && let Ok(key) = change.digest()
    {
        if let Err(waits) = order.admit(number, key, &change.version) {
            return (Effects::new(), Some(waits));
        }
        if let Some(fault) = &fault {
            order.stop(number, key, &change.version, fault);
        }
    }
    (effects, fault)
}

fn rejected(projection: &ProjectionName, reject: &Reject) -> Fault {
    let kind = if reject.is_deployment() { FaultKind::Misconfigured } else { FaultKind::Rejected };
    Fault::new(kind, format!("projection {projection}: {reject}"))
}

fn report(batch: &Batch, settled: Vec<(Unit, Settled)>, counts: Counts) -> Report {
    let unfinished = vec![None; batch.deliveries.len()];
    let mut report = Report { unfinished, letters: Vec::new(), closed: Vec::new(), counts };
    for (unit, settled) in settled {
        match settled {
            Settled::Lettered(id) => report.letters.push(id),
            Settled::Closed(id) => report.closed.push(id),
            Settled::Unfinished(fault) => {
                let place = &mut report.unfinished[unit.delivery];
                *place = Some(worse(place.take(), fault));
            }
        }
    }
    report
}
