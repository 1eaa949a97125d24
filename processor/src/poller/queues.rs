//! All queues of one process: each is read for itself, and they end together.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Until;
use super::queue::{QueueHealth, QueueReader};
use crate::outcome::Fault;

/// How soon the reading of a queue is begun again that died.
const AGAIN: Duration = Duration::from_secs(1);

/// Reads all queues until they are told to stop. The first that may not be read from the beginning ends all of them.
pub async fn run(
    queues: &[Arc<QueueReader>],
    until: Until,
    told: watch::Receiver<bool>,
) -> Result<(), Fault> {
    let (tell, stop) = watch::channel(false);
    let mut running = JoinSet::new();
    for reader in queues {
        running.spawn(read(reader.clone(), until, stop.clone()));
    }
    let mut failed = Ok(());
    let mut is_told = std::pin::pin!(is_told(told));
    loop {
        tokio::select! {
            () = &mut is_told, if !*stop.borrow() => drop(tell.send_replace(true)),
            ended = running.join_next() => match ended {
                None => return failed,
                Some(Ok(Err(fault))) => {
                    tell.send_replace(true);
                    failed = failed.and(Err(fault));
                }
                // Told to stop. What dies begins again by itself.
                Some(Ok(Ok(())) | Err(_)) => {}
            },
        }
    }
}

/// Waits until nothing is left in any queue: each has been asked in vain since anything was last done in any of them, or was
/// by the streams, which ended `since`.
pub async fn drained(queues: &[Arc<QueueReader>], since: Instant) {
    let mut all: Vec<watch::Receiver<QueueHealth>> = queues.iter().map(|reader| reader.health()).collect();
    loop {
        let now: Vec<QueueHealth> = all.iter_mut().map(|health| health.borrow_and_update().clone()).collect();
        let worked_at = now.iter().filter_map(|health| health.worked_at).fold(since, Instant::max);
        if now.iter().all(|health| health.quiet_since.is_some_and(|quiet| quiet >= worked_at)) {
            return;
        }
        // Never without an element: all of none are drained.
        let changes = all.iter_mut().map(|health| Box::pin(health.changed()));
        if select_all(changes).await.0.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Reads one queue, and begins again should that die.
async fn read(reader: Arc<QueueReader>, until: Until, stop: watch::Receiver<bool>) -> Result<(), Fault> {
    loop {
        let reading = AssertUnwindSafe(reader.clone().run(until, stop.clone()));
        // What was in hand is left to its time out of sight.
        if let Ok(ended) = reading.catch_unwind().await {
            return ended;
        }
        tracing::error!(source = %reader.source, "the work on a queue died");
        if tokio::time::timeout(AGAIN, is_told(stop.clone())).await.is_ok() {
            return Ok(());
        }
    }
}

/// Waits until it is told, or nobody is left to tell.
pub(crate) async fn is_told(mut told: watch::Receiver<bool>) {
    let _ = told.wait_for(|told| *told).await;
}
