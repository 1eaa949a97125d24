//! The numbers of a run, as Prometheus reads them.

use std::sync::Arc;
use std::time::Duration;

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::MetricKindMask;

use crate::commands::Failure;

/// From a batch that hits one fast row to one that waits out a throttle, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// How long a gauge is told that nobody sets any more: another worker tells the lag of a shard that was handed over.
const STALE: Duration = Duration::from_secs(30);
/// How often what was recorded is summed up, whether or not anyone asks: else it would grow.
const UPKEEP: Duration = Duration::from_secs(5);

/// What renders all numbers.
pub(super) type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// Counts from here on. `seldom` is how seldom a gauge is set.
pub(super) fn install(seldom: Duration) -> Result<Render, Failure> {
    let stale = STALE.max(seldom * 3);
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("cannot count: {error}"));
    let builder = PrometheusBuilder::new()
        .idle_timeout(MetricKindMask::GAUGE, Some(stale))
        .set_buckets(&SECONDS)
        .map_err(|error| failed(&error))?;
    let handle = builder.install_recorder().map_err(|error| failed(&error))?;
    describe();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(Arc::new(move || handle.render()))
}

fn describe() {
    describe_counter!(
        "millstream_changes_total",
        "Changes by what became of them: done, lettered or unfinished"
    );
    describe_counter!("millstream_writes_total", "Rows and events that were written");
    describe_counter!("millstream_stale_total", "Writes that found the target as new or newer");
    describe_counter!("millstream_coalesced_total", "Changes that a newer one of the same batch stood for");
    describe_counter!("millstream_letters_total", "Changes that became dead letters");
    describe_counter!("millstream_gap_total", "Times that a stream had forgotten what was not read");
    describe_gauge!(
        "millstream_lag_seconds",
        "How long ago the oldest change was made that is not done, 0 while nothing waits; of a queue, by its name: the age of \
         the oldest message in hand"
    );
    describe_gauge!(
        "millstream_halted_shards",
        "Shards that stand still at a gap until an operator decides; every worker tells the same"
    );
    describe_gauge!(
        "millstream_letters",
        "Dead letters that wait, by projection and state; one worker counts them once a minute"
    );
    describe_gauge!("millstream_oldest_letter_seconds", "How long the oldest letter waits; 0 without one");
    describe_histogram!("millstream_apply_seconds", "How long a batch took");
}
