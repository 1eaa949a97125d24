//! When to stop: told by Ctrl-C or by `kill`; who says it twice does not want to wait.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Hears the signals of this process.
pub(super) struct Stop {
    told: watch::Receiver<bool>,
}

impl Stop {
    /// From here on a signal does not end the process by itself.
    pub(super) fn listen() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let (tell, told) = watch::channel(false);
        tokio::spawn(hear(interrupt, terminate, tell));
        Ok(Self { told })
    }

    /// Waits for the first signal; returns at once after it.
    pub(super) async fn told(&self) {
        // Who hears is never dropped before it has told.
        let _ = self.told.clone().wait_for(|told| *told).await;
    }
}

async fn hear(mut interrupt: Signal, mut terminate: Signal, tell: watch::Sender<bool>) {
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    };
    let signal = next().await;
    tracing::info!(
        signal,
        "stops: shards are handed over, messages given back; a second signal ends this at once"
    );
    tell.send_replace(true);
    let signal = next().await;
    tracing::warn!(
        signal,
        "ends at once: others take over when the heartbeat has stood still, and messages come again"
    );
    std::process::exit(1);
}
