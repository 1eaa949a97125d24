//! How a poller keeps time with others, and how often it asks.

use std::sync::Arc;
use std::time::Duration;

pub use millstream_projections::config::OnGap;
use millstream_projections::config::PollerSettings;

/// See the config reference, `[poller]`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What all workers have in common that share the work; others read everything for themselves.
    pub consumer: Arc<str>,
    /// How long a worker's heartbeat may stand still before others take its shards.
    pub ttl: Duration,
    /// How many shards a worker hands to others in one interval.
    pub moves: usize,
    /// How soon a shard is asked again that had records.
    pub busy: Duration,
    /// How long a shard that has none is left alone at most.
    pub idle: Duration,
    /// What happens where the stream forgot what was not read.
    pub on_gap: OnGap,
}

impl From<&PollerSettings> for Settings {
    fn from(config: &PollerSettings) -> Self {
        Self {
            consumer: config.consumer.clone(),
            ttl: config.ttl,
            moves: config.max_moves.get(),
            busy: config.busy,
            idle: config.idle,
            on_gap: config.on_gap,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::from(&PollerSettings::default())
    }
}

impl Settings {
    /// How often a worker beats: three times within what others wait for.
    pub(super) fn beat_every(&self) -> Duration {
        self.ttl / 3
    }

    /// How soon after a beat that failed the next one comes.
    pub(super) fn beat_again(&self) -> Duration {
        self.ttl / 30
    }

    /// How long one request to the state table may take: another has to fit in before others take this worker for dead.
    pub fn patience(&self) -> Duration {
        (self.ttl / 5).clamp(Duration::from_millis(500), Duration::from_secs(2))
    }

    /// How long after its last heartbeat a worker starts nothing new: what it started before ends within the rest.
    pub(super) fn pause_after(&self) -> Duration {
        self.ttl.mul_f64(0.45)
    }

    /// How long one batch may take: it has to end before this worker can be taken for dead.
    pub(super) fn slice(&self) -> Duration {
        self.ttl / 2
    }
}
