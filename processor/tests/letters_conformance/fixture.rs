//! One store of each kind, and the hand of the test on the place where it keeps its letters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use millstream_processor::clock::Clock;
use millstream_processor::letters::directory::DirectoryLetters;
use millstream_processor::letters::queue::{Patience, QueueLetters};
use millstream_processor::letters::table::{self, TableLetters};
use millstream_processor::letters::{LetterId, LetterStore};
use millstream_processor::outcome::Verdict;
use millstream_test_support::embedded::Embedded;
use millstream_test_support::emulators::Ministack;
use millstream_test_support::faults::{Fault as Wire, Rule};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Mutex;

const TABLE: &str = "letters";
const LEDGER: &str = "ledger";
pub(crate) const NOW: u64 = 1_750_000_000;
pub(crate) const KEEP: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// One store, and the place where it keeps its letters.
pub(crate) struct Fixture {
    pub(crate) store: Arc<dyn LetterStore>,
    pub(crate) place: Place,
    clock: Arc<ManualClock>,
}

pub(crate) enum Place {
    Table(Box<Embedded>),
    Directory(TempDir),
    Queue(Box<Queue>),
}

/// A queue of its own on the server of all tests, and a ledger beside it.
pub(crate) struct Queue {
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) url: String,
    name: String,
    ledger: Embedded,
    _server: Arc<Ministack>,
}

impl Fixture {
    pub(crate) async fn table() -> Self {
        let embedded = Embedded::new();
        table::create(&embedded.dynamodb(), TABLE).await.unwrap();
        Self::of(Place::Table(Box::new(embedded)))
    }

    pub(crate) fn directory() -> Self {
        Self::of(Place::Directory(TempDir::new().unwrap()))
    }

    /// A queue; `.fifo` makes it one.
    pub(crate) async fn queue(suffix: &str) -> Self {
        static QUEUES: AtomicU64 = AtomicU64::new(0);
        let server = server().await;
        let sqs = aws_sdk_sqs::Client::new(&server.sdk_config());
        let name = format!("letters-{}{suffix}", QUEUES.fetch_add(1, Ordering::SeqCst));
        let url = create_queue(&sqs, &name).await;
        let ledger = Embedded::new();
        ledger.create_table(LEDGER, "id", None, None).await;
        Self::of(Place::Queue(Box::new(Queue { sqs, url, name, ledger, _server: server })))
    }

    fn of(place: Place) -> Self {
        let clock = Arc::new(ManualClock(AtomicU64::new(NOW)));
        Self { store: place.open(clock.clone()), place, clock }
    }

    /// Another handle on the same letters, as another process has it.
    pub(crate) fn second(&self) -> Arc<dyn LetterStore> {
        self.place.open(self.clock.clone())
    }

    /// Whether a letter that was closed can still be read and listed: what a queue cannot do.
    pub(crate) fn keeps_closed(&self) -> bool {
        match &self.place {
            Place::Table(_) | Place::Directory(_) => true,
            Place::Queue(_) => false,
        }
    }

    /// Whether letters can be counted without receiving them: not in a queue, of which only the messages can.
    pub(crate) fn counts(&self) -> bool {
        match &self.place {
            Place::Table(_) | Place::Directory(_) => true,
            Place::Queue(_) => false,
        }
    }

    /// How often the table was queried.
    pub(crate) fn reads(&self) -> usize {
        match &self.place {
            Place::Table(embedded) => embedded.faults().count("Query"),
            Place::Directory(_) | Place::Queue(_) => 0,
        }
    }

    pub(crate) async fn damage(&self, id: &LetterId) {
        match &self.place {
            Place::Table(embedded) => {
                let request = json!({
                    "TableName": TABLE,
                    "Key": { "id": { "S": id.as_str() }, "part": { "N": "0" } },
                    "UpdateExpression": "SET attempts = :what",
                    "ExpressionAttributeValues": { ":what": { "S": "scribble" } },
                });
                embedded.perform("UpdateItem", request).await;
            }
            Place::Directory(directory) => {
                let path = directory.path().join("letters").join(format!("{id}.json"));
                let text = std::fs::read_to_string(&path).unwrap();
                let file = std::fs::File::options().write(true).open(&path).unwrap();
                // The time stays, so the order of the list does.
                file.set_len(text.len() as u64 / 2).unwrap();
            }
            // What remains of it is a part whose other part is lost.
            Place::Queue(queue) => {
                let part = json!({ "letter": id, "hash": "0", "part": 1, "parts": 2, "bytes": "" });
                assert!(queue.remove(id.as_str()).await);
                queue.send(&json!({ "letterPart": part }).to_string()).await;
            }
        }
    }

    /// Puts something else among the letters and tells where; none where nobody else can write.
    pub(crate) async fn add_foreign(&self) -> Option<String> {
        match &self.place {
            Place::Table(_) => None,
            Place::Directory(directory) => {
                std::fs::write(directory.path().join("letters/notes.txt"), "mine").unwrap();
                Some("notes.txt".to_owned())
            }
            Place::Queue(queue) => Some(queue.send("{\"not\":\"a letter\"}").await),
        }
    }

    /// Nothing works any more, for as long as readers wait; gives what a caller has to do about it.
    pub(crate) async fn break_down(&self) -> Verdict {
        match &self.place {
            Place::Table(embedded) => {
                embedded.faults().add(Rule::any(Wire::Unavailable));
                Verdict::Retry
            }
            Place::Directory(directory) => {
                std::fs::write(directory.path().join("letters"), "a file is in the way").unwrap();
                Verdict::Unfinished
            }
            Place::Queue(queue) => {
                queue.sqs.delete_queue().queue_url(&queue.url).send().await.unwrap();
                Verdict::Unfinished
            }
        }
    }

    pub(crate) async fn mend(&self) {
        match &self.place {
            Place::Table(embedded) => embedded.faults().clear(),
            Place::Directory(directory) => std::fs::remove_file(directory.path().join("letters")).unwrap(),
            Place::Queue(queue) => {
                assert_eq!(create_queue(&queue.sqs, &queue.name).await, queue.url);
            }
        }
    }
}

impl Place {
    fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn LetterStore> {
        match self {
            Self::Table(embedded) => {
                Arc::new(TableLetters::new(embedded.dynamodb(), TABLE.into(), KEEP, clock))
            }
            // A directory that is not there yet.
            Self::Directory(directory) => {
                Arc::new(DirectoryLetters::new(directory.path().join("letters"), clock))
            }
            Self::Queue(queue) => queue.open(Duration::from_secs(60)),
        }
    }
}

impl Queue {
    /// A store that holds what it receives this long.
    pub(crate) fn open(&self, visibility: Duration) -> Arc<dyn LetterStore> {
        // This server has one part only, so an answer without messages says that there are none.
        let patience = Patience { visibility, wait: Duration::ZERO };
        let (sqs, url) = (self.sqs.clone(), self.url.as_str().into());
        Arc::new(QueueLetters::new(sqs, url, patience, self.ledger.dynamodb(), LEDGER.into()))
    }

    /// How many messages nobody holds.
    pub(crate) async fn visible(&self) -> u64 {
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let request = self.sqs.get_queue_attributes().queue_url(&self.url).attribute_names(name.clone());
        let answer = request.send().await.unwrap();
        answer.attributes().and_then(|all| all.get(&name)).unwrap().parse().unwrap()
    }

    /// Sends a message past the store and gives its id.
    pub(crate) async fn send(&self, body: &str) -> String {
        let mut request = self.sqs.send_message().queue_url(&self.url).message_body(body);
        if self.url.ends_with(".fifo") {
            request = request.message_group_id("foreign").message_deduplication_id("foreign");
        }
        request.send().await.unwrap().message_id.unwrap()
    }

    /// Deletes one of the first ten messages past the store; `false` if none of them contains this.
    pub(crate) async fn remove(&self, containing: &str) -> bool {
        let request = self.sqs.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let mut removed = false;
        for message in request.send().await.unwrap().messages() {
            let receipt = message.receipt_handle().unwrap();
            if !removed && message.body().unwrap().contains(containing) {
                let request = self.sqs.delete_message().queue_url(&self.url);
                request.receipt_handle(receipt).send().await.unwrap();
                removed = true;
            } else {
                let request = self.sqs.change_message_visibility().queue_url(&self.url);
                request.receipt_handle(receipt).visibility_timeout(0).send().await.unwrap();
            }
        }
        removed
    }

    /// The bodies of the first ten messages.
    pub(crate) async fn bodies(&self) -> Vec<String> {
        let request = self.sqs.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let received = request.visibility_timeout(0).send().await.unwrap();
        received.messages().iter().map(|message| message.body().unwrap().to_owned()).collect()
    }
}

/// One server for all tests that run at once; it ends with the last of them.
async fn server() -> Arc<Ministack> {
    static SERVER: Mutex<Weak<Ministack>> = Mutex::const_new(Weak::new());
    let mut server = SERVER.lock().await;
    if let Some(running) = server.upgrade() {
        return running;
    }
    let started = Arc::new(Ministack::start().await);
    *server = Arc::downgrade(&started);
    started
}

async fn create_queue(sqs: &aws_sdk_sqs::Client, name: &str) -> String {
    let mut request = sqs.create_queue().queue_name(name);
    if name.ends_with(".fifo") {
        request = request.attributes(QueueAttributeName::FifoQueue, "true");
    }
    request.send().await.unwrap().queue_url.unwrap()
}

struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
