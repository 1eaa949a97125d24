//! The arguments of `run` that have limits.

use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use millstream_projections::SourceName;
use millstream_projections::config::{Listen, duration, poller};
use tokio::net::TcpListener;

use crate::commands::Failure;

/// A consumer's name becomes part of the keys of the state table.
pub(crate) fn consumer(text: &str) -> Result<Arc<str>, String> {
    SourceName::new(text).map(|name| name.as_str().into()).map_err(|error| error.to_string())
}

pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    limited(text, &poller::TTL)
}

pub(super) fn idle(text: &str) -> Result<Duration, String> {
    limited(text, &poller::IDLE)
}

pub(super) fn max_moves(text: &str) -> Result<NonZeroUsize, String> {
    let (from, to) = (poller::MAX_MOVES.start(), poller::MAX_MOVES.end());
    let count: Option<i64> = text.parse().ok().filter(|count| poller::MAX_MOVES.contains(count));
    let count = count.and_then(|count| NonZeroUsize::new(usize::try_from(count).ok()?));
    count.ok_or_else(|| format!("use {from} to {to}"))
}

fn limited(text: &str, limits: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let time = duration::parse(text).ok_or("write a whole number and ms, s, m or h: 10s")?;
    match limits.contains(&time) {
        true => Ok(time),
        false => Err(format!("use {} to {}", duration::text(*limits.start()), duration::text(*limits.end()))),
    }
}

/// Takes the port where health and metrics are answered, if there is to be one.
pub(super) async fn open(listen: Listen) -> Result<Option<TcpListener>, Failure> {
    let Listen::At(address) = listen else { return Ok(None) };
    let wrong = |error: std::io::Error| {
        let advice = "--listen takes another one, 127.0.0.1:0 any that is free, and off none";
        Failure::Wrong(match error.kind() {
            ErrorKind::AddrInUse => {
                format!("{address} is in use, perhaps by another `millstream run`: {advice}")
            }
            _ => format!("cannot listen at {address}: {error}: {advice}"),
        })
    };
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let address = listener.local_addr().map_err(wrong)?;
    tracing::info!("health and metrics at http://{address}: /healthz, /readyz, /metrics");
    Ok(Some(listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_limits() {
        assert_eq!(ttl("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(idle("10ms"), Ok(Duration::from_millis(10)));
        assert_eq!(ttl("999ms"), Err("use 1s to 10m".to_owned()));
        assert_eq!(idle("6m"), Err("use 10ms to 5m".to_owned()));
        assert!(ttl("ten").is_err() && ttl("10").is_err());
    }

    #[test]
    fn moves_have_limits() {
        assert_eq!(max_moves("1000"), Ok(NonZeroUsize::new(1_000).unwrap()));
        for wrong in ["0", "1001", "-1", "ten", ""] {
            assert_eq!(max_moves(wrong), Err("use 1 to 1000".to_owned()), "{wrong}");
        }
    }

    #[test]
    fn a_consumer_has_a_plain_name() {
        assert_eq!(consumer("orders-2").as_deref(), Ok("orders-2"));
        assert!(consumer("a/b").is_err() && consumer("").is_err());
    }
}
