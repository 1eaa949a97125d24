//! The arguments of `run` that have limits.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use millstream_projections::SourceName;
use millstream_projections::config::duration;
use tokio::net::TcpListener;

use crate::commands::Failure;

/// Where Prometheus' exporters of OpenTelemetry listen, which is where scrapers look.
const PORT: u16 = 9464;
/// Below, a busy state table takes a healthy worker for dead; above, a dead one is missed by nobody.
const TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
/// Below, an idle shard costs a hundred requests a second; above, its lag is not seen.
const IDLE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(300);

/// A consumer's name becomes part of the keys of the state table.
pub(crate) fn consumer(text: &str) -> Result<Arc<str>, String> {
    SourceName::new(text).map(|name| name.as_str().into()).map_err(|error| error.to_string())
}

pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    limited(text, &TTL)
}

pub(super) fn idle(text: &str) -> Result<Duration, String> {
    limited(text, &IDLE)
}

fn limited(text: &str, limits: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let time = duration::parse(text).ok_or("write a whole number and ms, s, m or h: 10s")?;
    match limits.contains(&time) {
        true => Ok(time),
        false => Err(format!("use {} to {}", duration::text(*limits.start()), duration::text(*limits.end()))),
    }
}

/// Where health and metrics are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listen {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl Default for Listen {
    fn default() -> Self {
        Self::At((Ipv4Addr::LOCALHOST, PORT).into())
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            address => address
                .parse()
                .map(Self::At)
                .map_err(|_| "use an address and a port, 127.0.0.1:9464, or off".to_owned()),
        }
    }
}

impl Listen {
    /// Takes the port.
    pub(super) async fn open(self) -> Result<Option<TcpListener>, Failure> {
        let Self::At(address) = self else { return Ok(None) };
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
    fn a_port_is_an_address_or_off() {
        assert_eq!("off".parse(), Ok(Listen::Off));
        assert_eq!("127.0.0.1:9464".parse(), Ok(Listen::default()));
        assert!("9464".parse::<Listen>().is_err());
    }

    #[test]
    fn a_consumer_has_a_plain_name() {
        assert_eq!(consumer("orders-2").as_deref(), Ok("orders-2"));
        assert!(consumer("a/b").is_err() && consumer("").is_err());
    }
}
