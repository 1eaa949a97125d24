//! A Runtime API and a DynamoDB that do as little as can be: raw sockets and threads, so that they are not what is measured.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long an event may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// A Runtime API: events go in, answers come out.
pub(crate) struct RuntimeApi {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    events: Sender<Arc<str>>,
    answers: Receiver<Answer>,
}

/// What the function answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The path that it was sent to: `…/response`, or an error.
    pub(crate) path: String,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

impl RuntimeApi {
    /// Listens on a free port of loopback.
    pub(crate) fn start() -> Self {
        let (events, waiting) = channel::<Arc<str>>();
        let (answered, answers) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let number = Arc::new(AtomicU64::new(0));
        let address = serve(move |request, stream| {
            if !request.path.ends_with("/next") {
                answered.send(Answer { path: request.path, body: request.body }).is_ok()
                    && stream.write_all(ACCEPTED).is_ok()
            } else {
                // The bench is over when nobody holds the other end.
                let next = waiting.lock().expect("no thread panics holding it").recv();
                next.is_ok_and(|event| hand_out(stream, number.fetch_add(1, Ordering::Relaxed), &event))
            }
        });
        Self { address, events, answers }
    }

    /// Queues an event; the function takes it when it asks for the next one.
    pub(crate) fn send(&self, event: &Arc<str>) {
        self.events.send(event.clone()).expect("the API serves");
    }

    /// The next answer, which has to be one of success.
    pub(crate) fn answer(&self) -> Answer {
        let answer = self.answers.recv_timeout(DEADLINE).expect("the function answers");
        let body = String::from_utf8_lossy(&answer.body);
        assert!(answer.path.ends_with("/response"), "{}: {body}", answer.path);
        assert_eq!(body, r#"{"batchItemFailures":[]}"#, "everything is done");
        answer
    }
}

const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
const WRITTEN: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 2\r\n\r\n{}";

fn hand_out(stream: &mut TcpStream, number: u64, event: &str) -> bool {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + DEADLINE;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Lambda-Runtime-Aws-Request-Id: 00000000-0000-4000-8000-{number:012}\r\n\
         Lambda-Runtime-Deadline-Ms: {}\r\nLambda-Runtime-Invoked-Function-Arn: \
         arn:aws:lambda:eu-west-1:000000000000:function:millstream\r\n\r\n",
        event.len(),
        end.as_millis()
    );
    stream.write_all(head.as_bytes()).is_ok() && stream.write_all(event.as_bytes()).is_ok()
}

/// A DynamoDB that says at once that everything is written; counts its requests.
pub(crate) fn dynamodb() -> (SocketAddr, Arc<AtomicU64>) {
    let requests = Arc::new(AtomicU64::new(0));
    let count = requests.clone();
    let address = serve(move |_request, stream| {
        count.fetch_add(1, Ordering::Relaxed);
        stream.write_all(WRITTEN).is_ok()
    });
    (address, requests)
}

/// One request, as far as it matters here.
struct Request {
    path: String,
    body: Vec<u8>,
}

/// Serves each connection on a thread of its own until `answer` says that it is over.
fn serve(answer: impl Fn(Request, &mut TcpStream) -> bool + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("the listener is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || connection(stream, &answer));
        }
    });
    address
}

fn connection(mut stream: TcpStream, answer: &impl Fn(Request, &mut TcpStream) -> bool) {
    stream.set_nodelay(true).expect("it is a TCP socket");
    let mut reader = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
    while let Some(request) = read_request(&mut reader) {
        if !answer(request, &mut stream) {
            return;
        }
    }
}

/// Reads a request whose length is declared; `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let (first, length) = read_head(reader)?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path: first.split(' ').nth(1)?.to_owned(), body })
}

fn read_head(reader: &mut impl BufRead) -> Option<(String, usize)> {
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
        assert!(!name.eq_ignore_ascii_case("transfer-encoding"), "the clients here declare their lengths");
        if line.trim().is_empty() {
            return Some((first, length));
        }
    }
}

/// A function that reads each event and does nothing: what the driver itself can do.
pub(crate) fn idle_function(api: SocketAddr) {
    thread::spawn(move || {
        let mut stream = TcpStream::connect(api).expect("the API listens");
        stream.set_nodelay(true).expect("it is a TCP socket");
        let mut reader = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
        loop {
            let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: api\r\n\r\n";
            let asked = stream.write_all(next.as_bytes()).is_ok();
            let Some((_, length)) = read_head(&mut reader).filter(|_| asked) else { return };
            let mut event = vec![0; length];
            let answer = r#"{"batchItemFailures":[]}"#;
            let reply = format!(
                "POST /2018-06-01/runtime/invocation/0/response HTTP/1.1\r\nHost: api\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            );
            let done = reader.read_exact(&mut event).is_ok() && stream.write_all(reply.as_bytes()).is_ok();
            if !done || read_head(&mut reader).is_none() {
                return;
            }
        }
    });
}
