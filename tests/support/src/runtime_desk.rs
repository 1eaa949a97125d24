//! What a Runtime API answers: the events that wait for a function, and the replies that are awaited.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use crate::event_source_mapping::FUNCTION_ARN;
use crate::runtime_api::FunctionError;

pub(crate) type Reply = Result<Value, FunctionError>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Desk(Arc<Mutex<DeskState>>);

#[derive(Debug, Default)]
struct DeskState {
    waiting: Option<oneshot::Sender<Handed>>,
    queued: VecDeque<Handed>,
    replies: HashMap<String, oneshot::Sender<Reply>>,
    init_error: Option<FunctionError>,
    invocations: u64,
    /// How often a process asked for work.
    asked: watch::Sender<u64>,
}

#[derive(Debug, Clone)]
struct Handed {
    id: String,
    body: Vec<u8>,
    deadline_ms: u128,
}

impl Desk {
    pub(crate) fn routes(&self) -> Router {
        Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .layer(DefaultBodyLimit::disable())
            .with_state(self.clone())
    }

    /// How often the process that runs now has asked for work.
    pub(crate) fn asked(&self) -> watch::Receiver<u64> {
        self.lock().asked.subscribe()
    }

    pub(crate) fn take_init_error(&self) -> Option<FunctionError> {
        self.lock().init_error.take()
    }

    fn lock(&self) -> MutexGuard<'_, DeskState> {
        self.0.lock().expect("no handler panics while it holds the desk")
    }

    pub(crate) fn hand_out(&self, event: &Value, deadline: Duration) -> (String, oneshot::Receiver<Reply>) {
        let mut state = self.lock();
        state.invocations += 1;
        let id = format!("00000000-0000-4000-8000-{:012}", state.invocations);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
        let deadline_ms = (since + deadline).as_millis();
        let (sender, reply) = oneshot::channel();
        state.replies.insert(id.clone(), sender);
        let handed = Handed { id: id.clone(), body: event.to_string().into_bytes(), deadline_ms };
        let refused = match state.waiting.take() {
            Some(waiting) => waiting.send(handed).err(),
            None => Some(handed),
        };
        state.queued.extend(refused);
        (id, reply)
    }

    pub(crate) fn forget(&self, id: &str) {
        let mut state = self.lock();
        state.replies.remove(id);
        state.queued.retain(|it| it.id != id);
    }

    /// A new process knows nothing of what the dead one asked or failed at.
    pub(crate) fn new_process(&self) {
        let mut state = self.lock();
        state.waiting = None;
        state.init_error = None;
        state.asked.send_replace(0);
    }

    fn reply(&self, id: &str, reply: Reply) -> StatusCode {
        match self.lock().replies.remove(id) {
            Some(sender) => {
                // The invocation may have met its deadline by now: then nobody listens.
                drop(sender.send(reply));
                StatusCode::ACCEPTED
            }
            None => StatusCode::NOT_FOUND,
        }
    }
}

async fn next(State(desk): State<Desk>) -> impl IntoResponse {
    let handed = {
        let mut state = desk.lock();
        state.asked.send_modify(|it| *it += 1);
        let (sender, receiver) = oneshot::channel();
        match state.queued.pop_front() {
            Some(handed) => drop(sender.send(handed)),
            None => state.waiting = Some(sender),
        }
        receiver
    };
    let Ok(handed) = handed.await else {
        return (StatusCode::GONE, HeaderMap::new(), Vec::new());
    };
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: String| {
        headers.insert(name, value.parse().expect("it is plain ASCII"));
    };
    set("lambda-runtime-aws-request-id", handed.id);
    set("lambda-runtime-deadline-ms", handed.deadline_ms.to_string());
    set("lambda-runtime-invoked-function-arn", FUNCTION_ARN.to_owned());
    set("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000;Sampled=0".to_owned());
    set("content-type", "application/json".to_owned());
    (StatusCode::OK, headers, handed.body)
}

async fn response(State(desk): State<Desk>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let invalid = |error| FunctionError::new("Runtime.MalformedResponse", format!("{error}"));
    desk.reply(&id, serde_json::from_slice(&body).map_err(invalid))
}

async fn error(State(desk): State<Desk>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    desk.reply(&id, Err(function_error(&body)))
}

async fn init_error(State(desk): State<Desk>, body: Bytes) -> StatusCode {
    desk.lock().init_error = Some(function_error(&body));
    StatusCode::ACCEPTED
}

fn function_error(body: &[u8]) -> FunctionError {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    FunctionError { message: text("errorMessage"), error_type: text("errorType") }
}
