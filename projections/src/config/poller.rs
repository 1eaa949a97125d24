//! `[poller]`, validated: how the workers of `millstream run` keep time, with the stream and with one another.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::duration;
use super::error::Section;
use super::field::{At, Field};
use super::raw::RawPoller;
use super::settings::limited;
use super::source::choice;
use crate::name::SourceName;

/// Below, a busy state table takes a healthy worker for dead; above, a dead one is missed by nobody.
pub const TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
/// Below, an idle shard costs a hundred requests a second; above, its lag is not seen.
pub const IDLE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(300);
/// As of idle shards; a shard with records that is asked less often only lags.
pub const BUSY: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
/// More at a time is a stop of everything.
pub const MAX_MOVES: RangeInclusive<i64> = 1..=1_000;
/// Where health and metrics are answered unless something else is said: this host alone reaches it, and OpenTelemetry's
/// exporters for Prometheus listen at the same port, which is where scrapers look.
pub const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// How the workers of one consumer keep time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollerSettings {
    /// What the workers have in common that share the work; it has the form of a source's name.
    pub consumer: Arc<str>,
    /// How long a worker's heartbeat may stand still before others take its shards.
    pub ttl: Duration,
    /// How many shards a worker hands to others at a time.
    pub max_moves: NonZeroUsize,
    /// How soon a shard is asked again that had records.
    pub busy: Duration,
    /// How long a shard without records is left alone at most; no less than `busy`.
    pub idle: Duration,
    /// What happens where the stream forgot what was not read.
    pub on_gap: OnGap,
    /// Where health and metrics are answered.
    pub listen: Listen,
}

/// What happens to a shard of which data was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// It stands still until an operator decides.
    Halt,
    /// It goes on with what there is.
    Continue,
}

impl OnGap {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Continue => "continue",
        }
    }
}

/// Where health and metrics are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

/// Why a text is no place to listen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use an address and a port, 127.0.0.1:9464, or off")]
pub struct ListenError;

impl Default for Listen {
    fn default() -> Self {
        Self::At(ADDRESS)
    }
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        match text {
            "off" => Ok(Self::Off),
            address => address.parse().map(Self::At).map_err(|_| ListenError),
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => write!(f, "{address}"),
        }
    }
}

impl Default for PollerSettings {
    fn default() -> Self {
        Self {
            consumer: "default".into(),
            ttl: Duration::from_secs(10),
            max_moves: NonZeroUsize::MIN.saturating_add(9),
            busy: Duration::from_millis(250),
            idle: Duration::from_secs(5),
            on_gap: OnGap::Halt,
            listen: Listen::default(),
        }
    }
}

/// Validates the section.
pub(super) fn poller(raw: RawPoller, section: &mut Section<'_>) -> PollerSettings {
    let default = PollerSettings::default();
    let busy_at = raw.busy.offset();
    let busy = limited(raw.busy, section, "busy", default.busy, BUSY);
    let idle = limited(raw.idle, section, "idle", default.idle, IDLE);
    let busy = match busy_at {
        Some(offset) if busy > idle => {
            let what = format!("{} is more than idle = {}", duration::text(busy), duration::text(idle));
            section.error(offset, "busy", what, "make it at most `idle`");
            idle
        }
        // Who asks idle shards more often than that asks the others as often.
        _ => busy.min(idle),
    };
    PollerSettings {
        consumer: consumer(raw.consumer, section).unwrap_or(default.consumer),
        ttl: limited(raw.ttl, section, "ttl", default.ttl, TTL),
        max_moves: max_moves(raw.max_moves, section).unwrap_or(default.max_moves),
        busy,
        idle,
        on_gap: choice(
            raw.on_gap,
            section,
            "on_gap",
            [OnGap::Halt, OnGap::Continue].map(|it| (it.as_str(), it)),
        ),
        listen: listen(raw.listen, section).unwrap_or(default.listen),
    }
}

/// A consumer's name becomes part of the keys of the state table.
fn consumer(field: Field<String>, section: &mut Section<'_>) -> Option<Arc<str>> {
    let At { offset, value } = field.value(section, "consumer")?;
    match SourceName::new(&value) {
        Ok(name) => Some(name.as_str().into()),
        Err(error) => {
            section.error(offset, "consumer", error.to_string(), "choose another name");
            None
        }
    }
}

fn max_moves(field: Field<i64>, section: &mut Section<'_>) -> Option<NonZeroUsize> {
    let At { offset, value } = field.value(section, "max_moves")?;
    let count =
        usize::try_from(value).ok().filter(|_| MAX_MOVES.contains(&value)).and_then(NonZeroUsize::new);
    if count.is_none() {
        let advice = format!("use {} to {}", MAX_MOVES.start(), MAX_MOVES.end());
        section.error(offset, "max_moves", format!("{value} is out of range"), advice);
    }
    count
}

fn listen(field: Field<String>, section: &mut Section<'_>) -> Option<Listen> {
    let At { offset, value } = field.value(section, "listen")?;
    match value.parse() {
        Ok(listen) => Some(listen),
        Err(ListenError) => {
            let what = format!("`{value}` is not a place to listen at");
            section.error(
                offset,
                "listen",
                what,
                "use an address and a port, \"127.0.0.1:9464\", or \"off\"",
            );
            None
        }
    }
}
