//! One queue of the SQS in the process: what it holds, and what each request does to it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::connector::{ACCOUNT, REGION};

/// How long SQS knows the name of a receive.
const ATTEMPTS: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(super) struct Queue {
    visibility: Duration,
    /// In the order in which they were sent.
    pub(super) messages: BTreeMap<u64, Message>,
    pub(super) sent: u64,
    receipts: u64,
    attempts: HashMap<String, (Instant, Vec<(u64, String)>)>,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) body: String,
    pub(super) group: Option<String>,
    pub(super) sent: SystemTime,
    pub(super) receives: u32,
    pub(super) receipt: Option<String>,
    /// Out of sight until then.
    pub(super) hidden_until: Option<Instant>,
}

impl Message {
    pub(super) fn is_visible(&self, now: Instant) -> bool {
        self.hidden_until.is_none_or(|until| until <= now)
    }
}

impl Queue {
    pub(super) fn new(visibility: Duration) -> Self {
        Self { visibility, ..Self::default() }
    }

    pub(super) fn attributes(&self, name: &str, now: Instant) -> Value {
        let visible = self.messages.values().filter(|it| it.is_visible(now)).count();
        json!({ "Attributes": {
            "QueueArn": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"),
            "VisibilityTimeout": self.visibility.as_secs().to_string(),
            "ApproximateNumberOfMessages": visible.to_string(),
            "ApproximateNumberOfMessagesNotVisible": (self.messages.len() - visible).to_string(),
            "ApproximateNumberOfMessagesDelayed": "0",
        }})
    }

    /// The messages that can be received: none of a group of which one is in flight.
    pub(super) fn next(&self, most: usize, now: Instant) -> Vec<u64> {
        let in_flight = self.messages.values().filter(|it| !it.is_visible(now));
        let locked: HashSet<&String> = in_flight.filter_map(|it| it.group.as_ref()).collect();
        let is_free = |it: &Message| {
            it.is_visible(now) && it.group.as_ref().is_none_or(|group| !locked.contains(group))
        };
        let free = self.messages.iter().filter(|(_, message)| is_free(message));
        free.map(|(number, _)| *number).take(most).collect()
    }

    pub(super) fn receive(&mut self, body: &Value, now: Instant) -> Value {
        let most = body["MaxNumberOfMessages"].as_u64().unwrap_or(1) as usize;
        let visibility = body["VisibilityTimeout"].as_u64().map_or(self.visibility, Duration::from_secs);
        self.attempts.retain(|_, (at, _)| now.duration_since(*at) < ATTEMPTS);
        let numbers = match self.same(body, now) {
            Some(numbers) => numbers,
            None => {
                let numbers = self.next(most, now);
                for number in &numbers {
                    self.receipts += 1;
                    let message = self.messages.get_mut(number).expect("it was found");
                    message.receipt = Some(format!("receipt-{}", self.receipts));
                    message.receives += 1;
                }
                numbers
            }
        };
        let mut given = Vec::new();
        let mut messages = Vec::new();
        for number in numbers {
            let message = self.messages.get_mut(&number).expect("it was found");
            message.hidden_until = Some(now + visibility);
            given.push((number, message.receipt.clone().unwrap_or_default()));
            messages.push(received(number, message));
        }
        if let Some(attempt) = body["ReceiveRequestAttemptId"].as_str() {
            self.attempts.insert(attempt.to_owned(), (now, given));
        }
        if messages.is_empty() { json!({}) } else { json!({ "Messages": messages }) }
    }

    /// What a receive of the same name was given, if nothing became of it since.
    pub(super) fn same(&self, body: &Value, now: Instant) -> Option<Vec<u64>> {
        let (_, given) = self.attempts.get(body["ReceiveRequestAttemptId"].as_str()?)?;
        let is_held = |(number, receipt): &(u64, String)| {
            let message = self.messages.get(number);
            message.is_some_and(|it| it.receipt.as_ref() == Some(receipt) && !it.is_visible(now))
        };
        let is_whole = !given.is_empty() && given.iter().all(is_held);
        is_whole.then(|| given.iter().map(|(number, _)| *number).collect())
    }

    fn find(&mut self, entry: &Value) -> Option<u64> {
        let receipt = entry["ReceiptHandle"].as_str();
        self.messages.iter().find(|(_, it)| it.receipt.as_deref() == receipt).map(|(number, _)| *number)
    }

    pub(super) fn delete(&mut self, entry: &Value, is_fifo: bool, now: Instant) -> Result<(), &'static str> {
        match self.find(entry) {
            Some(number) if is_fifo && self.messages[&number].is_visible(now) => Err("InvalidParameterValue"),
            Some(number) => {
                self.messages.remove(&number);
                Ok(())
            }
            // A standard queue takes an old receipt, and does nothing.
            None if is_fifo => Err("InvalidParameterValue"),
            None => Ok(()),
        }
    }

    pub(super) fn set_visibility(
        &mut self,
        entry: &Value,
        is_fifo: bool,
        now: Instant,
    ) -> Result<(), &'static str> {
        let gone = if is_fifo { "InvalidParameterValue" } else { "MessageNotInflight" };
        let number = self.find(entry).ok_or(gone)?;
        let message = self.messages.get_mut(&number).expect("it was found");
        if message.is_visible(now) {
            return Err(gone);
        }
        let time = entry["VisibilityTimeout"].as_u64().unwrap_or_default();
        message.hidden_until = Some(now + Duration::from_secs(time));
        Ok(())
    }
}

fn received(number: u64, message: &Message) -> Value {
    let sent = message.sent.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut attributes = json!({
        "SentTimestamp": sent.to_string(), "ApproximateReceiveCount": message.receives.to_string(),
    });
    if let Some(group) = &message.group {
        attributes["MessageGroupId"] = group.as_str().into();
        attributes["SequenceNumber"] = format!("{number:020}").into();
    }
    json!({
        "MessageId": id(number), "ReceiptHandle": message.receipt, "Body": message.body, "Attributes": attributes,
    })
}

pub(super) fn id(number: u64) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}
