//! A gap with nothing behind it: one worker stands still there, another goes on, and has nothing to be done with.

use std::time::Duration;

use millstream_processor::poller::Until;
use millstream_processor::poller::settings::{OnGap, Settings};
use millstream_processor::poller::state::ShardState;

use super::Run;
use crate::shape::{self, Shape};

/// Longer than anything takes that is going to happen here.
const LONG: Duration = Duration::from_secs(90);
const A_DAY: Duration = Duration::from_secs(25 * 3_600);

/// The shard stays with the worker that goes on, whosever it would be, and its gap is met once by each of them.
pub(crate) fn quiet_gap(seed: u64) -> Result<(), String> {
    let small = shape::small(seed);
    let settings = Settings { on_gap: OnGap::Halt, ..small.settings.clone() };
    let shape = Shape { shards: 1, latest: false, settings, ..small };
    super::in_simulated_time(async {
        let mut run = Run::new(seed, shape);
        run.meets_a_gap().await;
        run.fleet.go_on();
        let goes_on = run.fleet.start(Until::Told);
        tokio::time::sleep(LONG).await;
        let row = run.rows().pop().unwrap();
        let gaps = run.judge.case().counts.get("gap").copied();
        if row.state != ShardState::Open || row.owner != Some(goes_on) || gaps != Some(2) {
            run.judge.accuse(format!("the gap was recorded {gaps:?} times: {row:?}"));
        }
        run.is_mended = true;
        run.drain().await;
        run.stop().await;
        run.audit();
        run.verdict(seed)
    })
}

impl Run {
    /// A worker finds that a day has passed.
    async fn meets_a_gap(&mut self) {
        let first = self.fleet.start(Until::Told);
        self.source.write_all();
        tokio::time::sleep(LONG).await;
        self.fleet.stop(&first);
        tokio::time::sleep(LONG).await;
        self.fleet.reap();
        self.source.write_all();
        self.source.advance(A_DAY);
        self.fleet.start(Until::Told);
        tokio::time::sleep(LONG).await;
        let row = self.rows().pop().unwrap();
        if row.state != ShardState::Gap {
            self.judge.accuse(format!("it does not stand still: {row:?}"));
        }
    }
}
