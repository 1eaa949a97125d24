//! The lag of a queue is the age of the oldest message that was received and is not done.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use millstream_test_support::faults::{Fault, Rule};

use crate::world::{HASTY, ROWS, World};

/// Keeps what the one gauge said last.
#[derive(Clone, Default)]
struct Lag(Arc<Mutex<Option<f64>>>);

impl Lag {
    fn seconds(&self) -> Option<f64> {
        *self.0.lock().unwrap()
    }
}

impl GaugeFn for Lag {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        *self.0.lock().unwrap() = Some(value);
    }
}

impl Recorder for Lag {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
        let is_ours =
            key.name() == "millstream_lag_seconds" && labels == [("source", "mail"), ("shard", "mail")];
        if is_ours { Gauge::from_arc(Arc::new(self.clone())) } else { Gauge::noop() }
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_message_that_is_not_done_tells_the_lag() {
    let lag = Lag::default();
    // All of the test runs on this thread.
    let _told = metrics::set_default_local_recorder(&lag);
    let world = World::new("mail", &format!("{HASTY}{ROWS}")).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    world.set_clock(now + 1_000);
    let fault = world.db.faults().add(Rule::any(Fault::Unavailable).containing("stuck"));
    let reading = world.read().await;
    world.until(|| lag.seconds() == Some(0.0)).await;
    world.send("good", 1);
    world.send("stuck", 1);
    world.until(|| world.receives() == [3]).await;
    let seconds = lag.seconds().unwrap();
    assert!((990.0..=1_000.0).contains(&seconds), "{seconds}");
    // It grows while the message is out of sight.
    world.set_clock(now + 2_000);
    world.until(|| lag.seconds().is_some_and(|seconds| seconds >= 1_990.0)).await;
    world.db.faults().remove(fault);
    world.emptied().await;
    world.until(|| lag.seconds() == Some(0.0)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(lag.seconds(), Some(0.0));
    reading.stop().await;
}
