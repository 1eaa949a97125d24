//! What a poller answers to who watches it: whether it lives, whether it is at work, and its numbers.
//!
//! `/healthz` answers as long as the process can. `/readyz` says yes while the worker is one of those who share the
//! shards: it has joined, its last heartbeat is younger than the time to live, and it is not about to stop; and while no
//! queue that it reads waits for something to be mended. `/metrics` is Prometheus' text. Nothing here changes anything, and nothing tells an item's value.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use millstream_projections::SourceName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::poller::Health;
use crate::poller::queue::QueueHealth;

/// How many are answered at once: a probe, a scraper and a person are three.
const CONNECTIONS: usize = 32;
/// Who has not asked and taken the answer by then is let go.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nobody is let in after that failed, as it does while the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);
/// Plain text of UTF-8.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The text format of Prometheus.
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What the answers are made of.
#[derive(Clone)]
pub struct Answers {
    /// How the worker is among others; none where it reads no stream.
    pub health: Option<watch::Receiver<Health>>,
    /// How the reading of each queue is.
    pub queues: Vec<(SourceName, watch::Receiver<QueueHealth>)>,
    /// How old the last heartbeat of a worker may be that is at work.
    pub ttl: Duration,
    /// Renders all numbers in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Answers until it is dropped.
pub async fn serve(listener: TcpListener, answers: Answers) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Only a semaphore that was closed gives no place, and nobody closes this one.
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answers = answers.clone();
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(PATIENCE, connection(stream, answers)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(cause = %error, "a connection cannot be accepted now");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, answers: Answers) {
    let answer = service_fn(|request: Request<hyper::body::Incoming>| {
        let response = answers.to(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    // Who goes away before the answer does not miss it.
    let _ = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer).await;
}

impl Answers {
    fn to(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let (status, kind, body) = match path {
            "/healthz" | "/readyz" | "/metrics" if ![Method::GET, Method::HEAD].contains(method) => {
                (StatusCode::METHOD_NOT_ALLOWED, TEXT, "use GET\n".to_owned())
            }
            "/healthz" => (StatusCode::OK, TEXT, "alive\n".to_owned()),
            "/readyz" => match self.why_not_ready() {
                None => (StatusCode::OK, TEXT, "ready\n".to_owned()),
                Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {reason}\n")),
            },
            "/metrics" => (StatusCode::OK, PROMETHEUS, (self.metrics)()),
            _ => (StatusCode::NOT_FOUND, TEXT, "there are /healthz, /readyz and /metrics\n".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }

    fn why_not_ready(&self) -> Option<String> {
        let streams = self.health.as_ref().and_then(|health| self.why_not_among_others(*health.borrow()));
        streams.or_else(|| {
            self.queues.iter().find_map(|(source, health)| {
                let health = health.borrow();
                match (health.is_leaving, &health.trouble) {
                    (true, _) => Some("it gives back its messages, and stops".to_owned()),
                    // What it is, its log says: whoever reaches this port need not know.
                    (false, Some(_)) => Some(format!("source {source} waits for something to be mended")),
                    (false, None) => None,
                }
            })
        })
    }

    fn why_not_among_others(&self, health: Health) -> Option<String> {
        let Some(beaten) = health.beaten else {
            return Some("it has not joined the other workers".to_owned());
        };
        let age = beaten.elapsed();
        if health.is_leaving {
            return Some("it hands over its shards, and stops".to_owned());
        }
        (age >= self.ttl).then(|| format!("its last heartbeat is {} s old", age.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::time::Instant;

    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    /// Asks for a path of a worker whose last heartbeat was so many seconds ago, if there was one.
    async fn check(ask: (Method, &str), beaten: Option<u64>, is_leaving: bool, expected: (u16, &str)) {
        let now = Instant::now();
        let health = Health {
            beaten: beaten.map(|ago| now - Duration::from_secs(ago)),
            is_leaving,
            ..Health::default()
        };
        let health = watch::Sender::new(health).subscribe();
        answered(answers(Some(health), Vec::new()), ask, expected).await;
    }

    fn answers(
        health: Option<watch::Receiver<Health>>,
        queues: Vec<(SourceName, watch::Receiver<QueueHealth>)>,
    ) -> Answers {
        Answers { health, queues, ttl: TTL, metrics: Arc::new(|| "numbers 1\n".to_owned()) }
    }

    async fn answered(answers: Answers, ask: (Method, &str), expected: (u16, &str)) {
        let response = answers.to(&ask.0, ask.1);
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((status, std::str::from_utf8(&body).unwrap()), expected, "{ask:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_path_says_what_it_is_for() {
        tokio::time::advance(TTL * 10).await;
        let get = |path| (Method::GET, path);
        check(get("/healthz"), None, false, (200, "alive\n")).await;
        check(get("/metrics"), None, false, (200, "numbers 1\n")).await;
        check((Method::HEAD, "/metrics"), None, false, (200, "numbers 1\n")).await;
        check((Method::POST, "/metrics"), None, false, (405, "use GET\n")).await;
        check(get("/"), None, false, (404, "there are /healthz, /readyz and /metrics\n")).await;
        let no = "not ready: it has not joined the other workers\n";
        check(get("/readyz"), None, false, (503, no)).await;
        check(get("/readyz"), Some(0), false, (200, "ready\n")).await;
        check(get("/readyz"), Some(9), false, (200, "ready\n")).await;
        check(get("/readyz"), Some(10), false, (503, "not ready: its last heartbeat is 10 s old\n")).await;
        let no = "not ready: it hands over its shards, and stops\n";
        check(get("/readyz"), Some(0), true, (503, no)).await;
    }

    #[tokio::test]
    async fn a_queue_that_waits_for_something_to_be_mended_is_not_ready() {
        let readyz = async |one: QueueHealth, other: QueueHealth, expected| {
            let health = |health| watch::Sender::new(health).subscribe();
            let source = |name| SourceName::new(name).unwrap();
            let queues = vec![(source("mail"), health(one)), (source("news"), health(other))];
            answered(answers(None, queues), (Method::GET, "/readyz"), expected).await;
        };
        let trouble = || QueueHealth { trouble: Some("no table".into()), ..QueueHealth::default() };
        let leaving = || QueueHealth { is_leaving: true, ..trouble() };
        readyz(QueueHealth::default(), QueueHealth::default(), (200, "ready\n")).await;
        let no = "not ready: source news waits for something to be mended\n";
        readyz(QueueHealth::default(), trouble(), (503, no)).await;
        readyz(leaving(), trouble(), (503, "not ready: it gives back its messages, and stops\n")).await;
    }
}
