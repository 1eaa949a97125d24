//! An in-process SQS, standard and FIFO, spoken to by the real AWS SDK's client. Its time is tokio's, which tests can pause.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::queue::{Message, Queue, id};
use crate::connector::{ACCOUNT, Call, REGION, Reply, Service, base_config, through_plan};
use crate::faults::{Fault, FaultPlan, Logged};

mod queue;

const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// Queues, made by `create`; one whose name ends in `.fifo` keeps the order of each group, and locks it while a message of it
/// is in flight.
#[derive(Clone, Debug)]
pub struct Queues {
    desk: Desk,
    faults: FaultPlan,
}

/// A message as the queue holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its id.
    pub id: String,
    /// What it says.
    pub body: String,
    /// Its group, if it has one.
    pub group: Option<String>,
    /// How often it was received.
    pub receives: u32,
    /// Whether it can be received now, as far as its own time goes.
    pub is_visible: bool,
}

#[derive(Clone, Debug, Default)]
struct Desk {
    queues: Arc<Mutex<HashMap<String, Queue>>>,
    /// Something was sent, or given back.
    news: Arc<Notify>,
}

impl Default for Queues {
    fn default() -> Self {
        Self::with_faults(FaultPlan::default())
    }
}

impl Queues {
    /// No queues yet, no faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// No queues yet, on a plan that other doubles may share.
    pub fn with_faults(faults: FaultPlan) -> Self {
        Self { desk: Desk::default(), faults }
    }

    /// Makes a queue whose messages stay out of sight for so long, and gives its URL.
    pub fn create(&self, name: &str, visibility: Duration) -> String {
        let queue = Queue::new(visibility);
        self.desk.lock().insert(name.to_owned(), queue);
        format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}")
    }

    /// Sends a message and gives its id.
    pub fn send(&self, url: &str, body: &str, group: Option<&str>) -> String {
        let number = self.desk.with(url, |queue| {
            queue.sent += 1;
            let message = Message {
                body: body.to_owned(),
                group: group.map(str::to_owned),
                sent: SystemTime::now(),
                receives: 0,
                receipt: None,
                hidden_until: None,
            };
            queue.messages.insert(queue.sent, message);
            queue.sent
        });
        self.desk.news.notify_waiters();
        id(number)
    }

    /// Everything that is in a queue, in the order in which it was sent.
    pub fn held(&self, url: &str) -> Vec<Held> {
        let now = Instant::now();
        self.desk.with(url, |queue| {
            let held = |(number, message): (&u64, &Message)| Held {
                id: id(*number),
                body: message.body.clone(),
                group: message.group.clone(),
                receives: message.receives,
                is_visible: message.is_visible(now),
            };
            queue.messages.iter().map(held).collect()
        })
    }

    /// Waits until nothing is left in a queue.
    pub async fn emptied(&self, url: &str) {
        loop {
            let news = self.desk.news.notified();
            if self.held(url).is_empty() {
                return;
            }
            news.await;
        }
    }

    /// A client configuration of the code under test.
    pub fn sdk_config(&self) -> SdkConfig {
        let connector =
            SharedHttpConnector::new(LongPolls { desk: self.desk.clone(), plan: self.faults.clone() });
        let client = http_client_fn(move |_, _| connector.clone());
        base_config().into_builder().http_client(client).build()
    }

    /// An SQS client of the code under test.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.sdk_config())
    }

    /// What goes wrong on the connector.
    pub fn faults(&self) -> &FaultPlan {
        &self.faults
    }

    /// Every request of the code under test, in order.
    pub fn requests(&self) -> Vec<Logged> {
        self.faults.requests()
    }
}

/// The connector: a receive waits for a message before it is answered, as long as it says.
#[derive(Debug)]
struct LongPolls {
    desk: Desk,
    plan: FaultPlan,
}

impl HttpConnector for LongPolls {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (desk, plan) = (self.desk.clone(), self.plan.clone());
        HttpConnectorFuture::new(async move {
            let call = desk.read(&request);
            if call.operation == "ReceiveMessage" {
                desk.wait(&call).await;
            }
            through_plan(Arc::new(desk), plan, call).await
        })
    }
}

impl Desk {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Queue>> {
        self.queues.lock().expect("no test panics while it holds the queues")
    }

    fn with<T>(&self, url: &str, act: impl FnOnce(&mut Queue) -> T) -> T {
        let name = name_of(url);
        act(self.lock().get_mut(name).unwrap_or_else(|| panic!("no queue {url}")))
    }

    /// Waits until there is a message for this receive, or it has waited long enough.
    async fn wait(&self, call: &Call) {
        let seconds = call.body["WaitTimeSeconds"].as_u64().unwrap_or_default();
        let give_up = Instant::now() + Duration::from_secs(seconds);
        let name = name_of(call.body["QueueUrl"].as_str().unwrap_or_default()).to_owned();
        loop {
            let news = self.news.notified();
            let now = Instant::now();
            let wake_at = match self.lock().get(&name) {
                Some(queue) if queue.next(1, now).is_empty() && queue.same(&call.body, now).is_none() => {
                    let hidden = queue.messages.values().filter_map(|it| it.hidden_until);
                    hidden.filter(|until| *until > now).min().unwrap_or(give_up).min(give_up)
                }
                Some(_) | None => return,
            };
            if now >= give_up {
                return;
            }
            tokio::select! {
                () = news => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    fn perform(&self, call: &Call, fault: Option<&Fault>) -> Result<Value, (u16, &'static str)> {
        let (body, now) = (&call.body, Instant::now());
        let mut queues = self.lock();
        let name = name_of(body["QueueUrl"].as_str().unwrap_or_default());
        let queue = queues.get_mut(name).ok_or((400, "QueueDoesNotExist"))?;
        let is_fifo = name.ends_with(".fifo");
        let answer = match call.operation.as_str() {
            "GetQueueAttributes" => queue.attributes(name, now),
            "ReceiveMessage" => queue.receive(body, now),
            "DeleteMessageBatch" => batch(body, fault, |entry| queue.delete(entry, is_fifo, now)),
            "ChangeMessageVisibilityBatch" => {
                batch(body, fault, |entry| queue.set_visibility(entry, is_fifo, now))
            }
            _ => return Err((400, "InvalidAction")),
        };
        drop(queues);
        self.news.notify_waiters();
        Ok(answer)
    }
}

impl Service for Desk {
    fn read(&self, request: &HttpRequest) -> Call {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let bytes = request.body().bytes().expect("the SDK sends JSON in memory");
        let mut body: Value = serde_json::from_slice(bytes).expect("the SDK sends valid JSON");
        let url = body["QueueUrl"].as_str().unwrap_or_default().to_owned();
        // So that a rule can tell an entry by what its message says.
        if let Some(entries) = body["Entries"].as_array_mut() {
            let queues = self.lock();
            let messages = queues.get(name_of(&url)).map(|queue| &queue.messages);
            for entry in entries {
                let receipt = entry["ReceiptHandle"].as_str();
                let of = messages.and_then(|all| all.values().find(|it| it.receipt.as_deref() == receipt));
                entry["Body"] = of.map_or(Value::Null, |message| message.body.as_str().into());
            }
        }
        Call { operation, tables: vec![url], body }
    }

    fn answer(&self, call: &Call) -> Reply {
        self.answer_partly_with(call, None)
    }

    fn answer_partly(&self, call: &Call, fault: &Fault) -> Reply {
        self.answer_partly_with(call, Some(fault))
    }

    fn refuse(&self, _call: &Call, fault: &Fault) -> Reply {
        let (status, code) = match fault {
            Fault::Throttle | Fault::Throttling => (400, "RequestThrottled"),
            Fault::LimitExceeded => (400, "OverLimit"),
            Fault::InternalError => (500, "InternalFailure"),
            Fault::Unavailable => (503, "ServiceUnavailable"),
            Fault::AccessDenied => (403, "AccessDeniedException"),
            Fault::TableMissing => (400, "QueueDoesNotExist"),
            Fault::Validation => (400, "InvalidParameterValue"),
            Fault::Answer(status, body) => {
                return Reply { status: *status, content_type: CONTENT_TYPE, body: (*body).to_owned() };
            }
            other => panic!("{other:?} is not an answer of SQS"),
        };
        error(status, code)
    }
}

impl Desk {
    fn answer_partly_with(&self, call: &Call, fault: Option<&Fault>) -> Reply {
        match self.perform(call, fault) {
            Ok(body) => Reply { status: 200, content_type: CONTENT_TYPE, body: body.to_string() },
            Err((status, code)) => error(status, code),
        }
    }
}

fn batch(
    body: &Value,
    fault: Option<&Fault>,
    mut act: impl FnMut(&Value) -> Result<(), &'static str>,
) -> Value {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for entry in body["Entries"].as_array().into_iter().flatten() {
        let id = &entry["Id"];
        let fails =
            |code: &str, sender_fault: bool| json!({ "Id": id, "Code": code, "SenderFault": sender_fault });
        match fault {
            Some(Fault::FailEntries { containing, code, sender_fault })
                if entry["Body"].as_str().unwrap_or_default().contains(containing) =>
            {
                failed.push(fails(code, *sender_fault));
            }
            _ => match act(entry) {
                Ok(()) => done.push(json!({ "Id": id })),
                Err(code) => failed.push(fails(code, true)),
            },
        }
    }
    json!({ "Successful": done, "Failed": failed })
}

fn error(status: u16, code: &str) -> Reply {
    let body = json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": "scripted" });
    Reply { status, content_type: CONTENT_TYPE, body: body.to_string() }
}

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}
