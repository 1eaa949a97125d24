//! The numbers of one batch, told to the `metrics` facade once a batch and not once a record.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use millstream_projections::{Projection, SourceName};

use crate::lanes::Unit;
use crate::report::Counts;
use crate::settle::Settled;
use crate::source::{Batch, Delivery, DeliveryId};

/// What stands for the shard where nobody tells it: Lambda does not, and a queue has none.
const NO_SHARD: &str = "-";

/// What there is to tell of one batch.
pub(crate) struct Numbers<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) projections: &'a [Arc<dyn Projection>],
    /// What was written, stale and saved, by projection.
    pub(crate) counts: &'a BTreeMap<usize, Counts>,
    /// The verdicts on all faults.
    pub(crate) settled: &'a [(Unit, Settled)],
    /// Rows and events written, by table or topic and kind of write.
    pub(crate) written: &'a HashMap<(Arc<str>, &'static str), u64>,
    pub(crate) took: Duration,
    pub(crate) now: u64,
}

/// Tells the numbers of one batch.
pub(crate) fn batch(numbers: &Numbers<'_>) {
    let source = numbers.batch.source.to_string();
    for (number, projection) in numbers.projections.iter().enumerate() {
        let name = projection.name().to_string();
        changes(numbers, &source, number, &name);
        let counts = numbers.counts.get(&number).copied().unwrap_or_default();
        if counts.stale > 0 {
            counter!("millstream_stale_total", "projection" => name.clone()).increment(counts.stale);
        }
        if counts.coalesced > 0 {
            counter!("millstream_coalesced_total", "projection" => name).increment(counts.coalesced);
        }
    }
    for ((resource, kind), written) in numbers.written {
        counter!("millstream_writes_total", "table" => resource.to_string(), "kind" => *kind)
            .increment(*written);
    }
    histogram!("millstream_apply_seconds", "source" => source).record(numbers.took.as_secs_f64());
    // Who reads a shard tells how far it is behind, of empty pages too; a queue or a topic has no such reader.
    let is_told = |delivery: &Delivery| matches!(delivery.id, DeliveryId::Sequence(_));
    if !numbers.batch.deliveries.iter().any(is_told) {
        lag_of(numbers.batch, numbers.now);
    }
}

/// How old the newest change of a batch is, where nobody knows its shard.
pub(crate) fn lag_of(batch: &Batch, now: u64) {
    if let Some(newest) = newest(batch) {
        lag(&batch.source, NO_SHARD, now.saturating_sub(newest));
    }
}

/// How far a shard of a source is behind. All series have the same labels: else sums over them would count some twice.
pub(crate) fn lag(source: &SourceName, shard: &str, seconds: u64) {
    let labels = [("source", source.to_string()), ("shard", shard.to_owned())];
    gauge!("millstream_lag_seconds", &labels).set(seconds as f64);
}

/// How many shards of a source wait for an operator. Every worker tells the same.
pub(crate) fn halted(source: &SourceName, shards: u64) {
    gauge!("millstream_halted_shards", "source" => source.to_string()).set(shards as f64);
}

/// What became of the changes in one projection.
fn changes(numbers: &Numbers<'_>, source: &str, number: usize, projection: &str) {
    let (lettered, unfinished) = not_done(numbers.settled, number);
    let seen = numbers.batch.deliveries.iter().filter(|delivery| delivery.change.is_ok()).count();
    let done = seen.saturating_sub(lettered + unfinished);
    for (outcome, count) in [("done", done), ("lettered", lettered), ("unfinished", unfinished)] {
        if count > 0 {
            let labels = [
                ("source", source.to_owned()),
                ("projection", projection.to_owned()),
                ("outcome", outcome.to_owned()),
            ];
            counter!("millstream_changes_total", &labels).increment(count as u64);
        }
    }
}

/// How many changes became letters in one projection, and how many are unfinished.
fn not_done(settled: &[(Unit, Settled)], projection: usize) -> (usize, usize) {
    let (mut lettered, mut unfinished) = (0, 0);
    for (_, settled) in settled.iter().filter(|(unit, _)| unit.projection == projection) {
        match settled {
            Settled::Lettered(_) => lettered += 1,
            Settled::Unfinished(_) => unfinished += 1,
            // Its letter was closed before: nothing is left to be done.
            Settled::Closed(_) => {}
        }
    }
    (lettered, unfinished)
}

fn newest(batch: &Batch) -> Option<u64> {
    batch.deliveries.iter().filter_map(|delivery| delivery.change.as_ref().ok()?.created_at).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letters::LetterId;
    use crate::outcome::{Fault, FaultKind};

    #[test]
    fn a_change_whose_letter_was_closed_before_is_done() {
        let id = || LetterId::from_text(&"0".repeat(24)).unwrap();
        let unfinished = || Settled::Unfinished(Fault::new(FaultKind::Unavailable, "no"));
        let all = [Settled::Closed(id()), Settled::Lettered(id()), unfinished(), Settled::Closed(id())];
        let units = (0..).map(|delivery| Unit { delivery, projection: 0 });
        let mut settled: Vec<_> = units.zip(all).collect();
        settled.push((Unit { delivery: 0, projection: 1 }, unfinished()));
        assert_eq!(not_done(&settled, 0), (1, 1));
    }
}
