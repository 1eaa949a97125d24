//! Performs the effects of all lanes, side by side, with retries; folds what follows into one verdict a unit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use millstream_projections::effect::{Effect, Target, Write};
use millstream_projections::item::Key;
use millstream_projections::{Projection, ProjectionName};

use crate::clock::Deadline;
use crate::lanes::{Chain, Lane, Unit};
use crate::outcome::{Applied, Fault, FaultKind, Verdict};
use crate::retry::RetryPolicy;
use crate::sink::{RowSink, RowWrite};

/// How many rows of one page that an index found are written side by side.
const ROWS_AT_ONCE: usize = 8;

/// What became of one effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// So many rows or events were written; none if the target had it already.
    Applied {
        /// Rows or events written.
        written: u64,
        /// Rows that had this or something newer.
        stale: u64,
    },
    /// A newer effect of the same source item on the same target was applied in its place.
    Coalesced,
    /// It was not applied.
    Failed(Fault),
}

impl Ended {
    pub(crate) fn of(applied: Applied) -> Self {
        match applied {
            Applied::Written => Self::Applied { written: 1, stale: 0 },
            Applied::Stale => Self::Applied { written: 0, stale: 1 },
        }
    }
}

/// Performs row writes for one batch.
pub struct Applier<'a> {
    /// Where rows are written.
    pub rows: &'a dyn RowSink,
    /// The projections of the batch's source.
    pub projections: &'a [Arc<dyn Projection>],
    /// How often a write is tried.
    pub retry: &'a RetryPolicy,
    /// How many lanes run side by side.
    pub concurrency: usize,
    /// Until when.
    pub deadline: Deadline,
    /// What this deployment lacks, as far as this batch has met it.
    pub broken: &'a Broken,
    /// The rows written so far.
    pub tally: &'a Tally,
}

impl Applier<'_> {
    /// Runs all lanes and tells what became of each effect.
    pub async fn run(&self, lanes: Vec<Lane>) -> Vec<(Unit, Ended)> {
        let per_lane = futures_util::stream::iter(lanes)
            .map(|lane| self.lane(lane))
            .buffer_unordered(self.concurrency)
            .collect::<Vec<_>>()
            .await;
        per_lane.into_iter().flatten().collect()
    }

    async fn lane(&self, lane: Lane) -> Vec<(Unit, Ended)> {
        let mut ended = Vec::new();
        for chain in lane.chains {
            self.chain(chain, &mut ended).await;
        }
        ended
    }

    /// Writes the newest effect that is not rejected; what is older than it is done by it.
    async fn chain(&self, chain: Chain, ended: &mut Vec<(Unit, Ended)>) {
        let mut settled: Option<Ended> = None;
        for planned in chain.newest_first {
            let end = match &settled {
                Some(end) => end.clone(),
                None => {
                    let end = self.effect(&planned.effect, planned.unit).await;
                    settled = match &end {
                        Ended::Applied { .. } | Ended::Coalesced => Some(Ended::Coalesced),
                        Ended::Failed(fault) => match fault.kind.verdict() {
                            Verdict::Letter => None,
                            Verdict::Retry | Verdict::Unfinished => Some(end.clone()),
                        },
                    };
                    end
                }
            };
            ended.push((planned.unit, end));
        }
    }

    async fn effect(&self, effect: &Effect, unit: Unit) -> Ended {
        let Some(projection) = self.projections.get(unit.projection) else {
            return Ended::Failed(Fault::new(FaultKind::Misconfigured, "an effect of no projection"));
        };
        let resource = effect.target.resource();
        if let Some(fault) = self.broken.get(resource) {
            return Ended::Failed(fault);
        }
        let result = match &effect.write {
            Write::Drop { .. } => self.drop_once(projection.name(), effect).await,
            Write::Put { .. }
            | Write::Delete { .. }
            | Write::Patch { .. }
            | Write::Publish(_)
            | Write::Fold(_) => self.write(projection.name(), effect).await,
        };
        match result {
            Ok(ended) => {
                self.tally.count(resource, effect.write.kind(), &ended);
                ended
            }
            Err(fault) => {
                self.broken.note(resource, &fault);
                Ended::Failed(fault)
            }
        }
    }

    async fn write(&self, projection: &ProjectionName, effect: &Effect) -> Result<Ended, Fault> {
        match &effect.target {
            Target::Row { table, key } => {
                self.row(write(projection, table, key, None, effect)).await.map(Ended::of)
            }
            Target::Found { table, index, key } => self.found(projection, table, index, key, effect).await,
            Target::Topic { .. } | Target::Shared { .. } => Err(Fault::new(
                FaultKind::Rejected,
                format!("a {} cannot be written to {}", effect.write.kind(), effect.target.resource()),
            )),
        }
    }

    /// Drops rows for a removal that was not seen to its end before: the owner may have made new ones since.
    async fn drop_once(&self, projection: &ProjectionName, effect: &Effect) -> Result<Ended, Fault> {
        let guard = &effect.guard;
        let seen = || self.rows.was_dropped(projection, guard);
        if self.retry.run(self.deadline, "read the ledger", seen).await? {
            return Ok(Ended::of(Applied::Stale));
        }
        let ended = self.write(projection, effect).await?;
        let remember = || self.rows.remember_drop(projection, guard);
        self.retry.run(self.deadline, "write the ledger", remember).await?;
        Ok(ended)
    }

    async fn row(&self, write: RowWrite<'_>) -> Result<Applied, Fault> {
        let doing = write.write.kind();
        self.retry.run(self.deadline, doing, || self.rows.apply(write)).await
    }

    /// Finds the rows page by page and writes each; a row that fails does not hold back the others.
    async fn found(
        &self,
        projection: &ProjectionName,
        table: &Arc<str>,
        index: &Arc<str>,
        key: &Key,
        effect: &Effect,
    ) -> Result<Ended, Fault> {
        let (mut written, mut stale, mut failed) = (0, 0, None);
        let mut from = None;
        loop {
            let page = self
                .retry
                .run(self.deadline, "query", || self.rows.find(table, index, key, from.clone()))
                .await?;
            let writes =
                page.rows.iter().map(|row| self.row(write(projection, table, row, Some(key), effect)));
            let ends = futures_util::stream::iter(writes.collect::<Vec<_>>())
                .buffer_unordered(ROWS_AT_ONCE)
                .collect::<Vec<_>>()
                .await;
            for end in ends {
                match end {
                    Ok(Applied::Written) => written += 1,
                    Ok(Applied::Stale) => stale += 1,
                    Err(fault) => failed = Some(worse(failed, fault)),
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        failed.map_or(Ok(Ended::Applied { written, stale }), Err)
    }
}

fn write<'a>(
    projection: &'a ProjectionName,
    table: &'a Arc<str>,
    key: &'a Key,
    found_by: Option<&'a Key>,
    effect: &'a Effect,
) -> RowWrite<'a> {
    RowWrite { projection, table, key, found_by, guard: &effect.guard, write: &effect.write }
}

/// Of two faults the one that keeps the change from being forgotten.
pub(crate) fn worse(a: Option<Fault>, b: Fault) -> Fault {
    match a {
        Some(a) if a.kind.verdict() != Verdict::Letter => a,
        Some(_) | None => b,
    }
}

/// The tables and topics that this deployment lacks. After the first refusal the rest of the batch does not ask again.
#[derive(Debug, Default)]
pub struct Broken {
    by_resource: Mutex<HashMap<Arc<str>, Fault>>,
}

impl Broken {
    pub(crate) fn get(&self, resource: &Arc<str>) -> Option<Fault> {
        self.by_resource.lock().unwrap_or_else(PoisonError::into_inner).get(resource).cloned()
    }

    pub(crate) fn note(&self, resource: &Arc<str>, fault: &Fault) {
        if fault.kind == FaultKind::Misconfigured {
            self.by_resource
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(resource.clone())
                .or_insert_with(|| fault.clone());
        }
    }
}

/// How many rows and events were written, by table or topic and kind of write.
#[derive(Debug, Default)]
pub struct Tally {
    by_resource: Mutex<HashMap<(Arc<str>, &'static str), u64>>,
}

impl Tally {
    pub(crate) fn count(&self, resource: &Arc<str>, kind: &'static str, ended: &Ended) {
        if let Ended::Applied { written, .. } = ended
            && *written > 0
        {
            self.add(resource, kind, *written);
        }
    }

    pub(crate) fn add(&self, resource: &Arc<str>, kind: &'static str, written: u64) {
        let mut counts = self.by_resource.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((resource.clone(), kind)).or_default() += written;
    }

    /// The counts, and none from now on.
    pub fn take(&self) -> HashMap<(Arc<str>, &'static str), u64> {
        std::mem::take(&mut self.by_resource.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
