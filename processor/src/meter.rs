//! The numbers of one batch, told to the `metrics` facade once a batch and not once a record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use millstream_projections::Projection;

use crate::clock::Clock;
use crate::report::{Counts, Report};
use crate::source::Batch;

/// Tells the numbers of one batch.
pub(crate) fn batch(
    batch: &Batch,
    projections: &[Arc<dyn Projection>],
    per_projection: &BTreeMap<usize, Counts>,
    report: &Report,
    took: Duration,
    clock: &dyn Clock,
) {
    let source = batch.source.to_string();
    let unfinished = report.unfinished.iter().flatten().count() as u64;
    let lettered = report.letters.len() as u64;
    let done = (batch.deliveries.len() as u64).saturating_sub(unfinished);
    for (outcome, count) in [("done", done), ("unfinished", unfinished), ("lettered", lettered)] {
        if count > 0 {
            counter!("millstream_changes_total", "source" => source.clone(), "outcome" => outcome)
                .increment(count);
        }
    }
    for (number, counts) in per_projection {
        let Some(projection) = projections.get(*number) else { continue };
        let name = projection.name().to_string();
        counter!("millstream_writes_total", "projection" => name.clone(), "result" => "written")
            .increment(counts.written);
        counter!("millstream_writes_total", "projection" => name.clone(), "result" => "stale")
            .increment(counts.stale);
        counter!("millstream_coalesced_total", "projection" => name).increment(counts.coalesced);
    }
    histogram!("millstream_apply_seconds", "source" => source.clone()).record(took.as_secs_f64());
    if let Some(newest) = newest(batch) {
        let lag = clock.unix_seconds().saturating_sub(newest);
        gauge!("millstream_lag_seconds", "source" => source).set(lag as f64);
    }
}

fn newest(batch: &Batch) -> Option<u64> {
    batch.deliveries.iter().filter_map(|delivery| delivery.change.as_ref().ok()?.created_at).max()
}
