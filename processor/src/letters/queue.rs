//! Letters in an SQS queue, standard or FIFO: for teams that watch their failures in queues.
//!
//! **A letter is one message**, or several where it does not fit (`queue/message.rs`): a record of any legal size
//! survives, and nothing is kept elsewhere. To store a letter again sends it again. So it is at least once, and a list
//! makes one letter of all its messages, each attempt once. Two attempts that end in the same second with the same
//! fault count as one.
//!
//! **Every message of a FIFO queue is a group of its own.** A group whose messages are in flight gives out no more of
//! them, so with a group for each key a list would never see the eleventh letter of a key. The order of a key's letters
//! is that of their versions, which the letters carry; what FIFO adds is that a message that is sent twice within five
//! minutes is there once.
//!
//! **What is read is received**, and given back when the list ends; if the process dies it comes back when its
//! visibility ends. Meanwhile another process does not see it. Reading counts as receiving: the queue must have no
//! redrive policy, or it would move letters away that were looked at too often.
//!
//! **What a queue cannot do:** keep a closed letter (a letter that is closed is deleted; of a discarded one a line of
//! the audit trail remains), list closed ones, or remember how a letter was closed that fails again. A queue forgets a
//! message after its own retention, 14 days at most, whatever `letters.keep` says. Of two operators that close one
//! letter at once, one is told `true` if it is one message; if it is several, each gets the messages that he received,
//! and what is left of the letter shows up again. Several operators at once want the table.
//!
//! The audit trail is in the ledger, since a queue cannot keep it.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use self::inbox::{Deleted, Inbox, Listing};
use self::pile::Merged;
use super::audit::AuditTable;
use super::file::Filed;
use super::{
    AuditEntry, Closing, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore, history,
};
use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::fault;

mod inbox;
mod message;
mod pile;

/// The largest message that every queue takes, unless someone set its limit lower.
const USUAL_SIZE: usize = 256 * 1024;
/// The limit counts the body alone here; what SQS adds is not much.
const SPARE: usize = 1024;

/// How long messages are held, and waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long a received message is kept from others, whole seconds (default 2 min). After a crash it takes this long
    /// until the letters can be listed again.
    pub visibility: Duration,
    /// How long to wait for messages before the queue counts as read, whole seconds (default 1 s). With 0 SQS asks only
    /// some of its servers, so that letters may be missing from a list.
    pub wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { visibility: Duration::from_secs(120), wait: Duration::from_secs(1) }
    }
}

impl Patience {
    /// Until when what is received now is ours for sure: the answer took time, and clocks differ.
    fn until(&self) -> Instant {
        Instant::now() + self.visibility.mul_f64(0.9)
    }
}

/// Letters in a queue. See the module for what that means.
#[derive(Clone)]
pub struct QueueLetters {
    client: Client,
    url: Arc<str>,
    patience: Patience,
    inbox: Arc<Inbox>,
    /// The largest message of the queue.
    size: Arc<OnceCell<usize>>,
    trail: AuditTable,
}

impl LetterStore for QueueLetters {
    fn store<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), Fault>> {
        self.store_letter(letter).boxed()
    }

    fn list<'a>(&'a self, filter: &'a LetterFilter) -> BoxStream<'a, Result<LetterHead, Fault>> {
        self.list_letters(filter).flatten_stream().boxed()
    }

    fn load<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Letter>, Fault>> {
        let found = self.read(id);
        found.map(|found| Ok(found?.map(|filed| filed.letter))).boxed()
    }

    fn close<'a>(&'a self, id: &'a LetterId, closing: &'a Closing) -> BoxFuture<'a, Result<bool, Fault>> {
        self.close_letter(id, closing).boxed()
    }

    fn edit<'a>(
        &'a self,
        id: &'a LetterId,
        seen: u32,
        record: &'a Bytes,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        self.edit_letter(id, seen, record).boxed()
    }

    fn original<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Bytes>, Fault>> {
        let found = self.read(id);
        found.map(|found| Ok(found?.and_then(|filed| filed.original))).boxed()
    }

    /// An error if the letter is not there, or if another process has received it.
    fn prolong<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<(), Fault>> {
        self.prolong_letter(id).boxed()
    }

    fn audit<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<(), Fault>> {
        self.trail.append(entry).boxed()
    }

    fn trail(&self) -> BoxStream<'_, Result<AuditEntry, Fault>> {
        self.trail.read()
    }
}

impl QueueLetters {
    /// Letters in the queue with this URL. Makes no request.
    pub fn new(client: Client, url: Arc<str>, patience: Patience, trail: AuditTable) -> Self {
        let inbox = Arc::new(Inbox::new(client.clone(), url.clone(), patience, super::reads()));
        Self { client, url, patience, inbox, size: Arc::default(), trail }
    }

    async fn store_letter(&self, letter: &Letter) -> Result<(), Fault> {
        let attempts = letter.head.attempts.iter().map(history::bounded).collect();
        let head = LetterHead { attempts, ..letter.head.clone() };
        self.send(&Filed { letter: Letter { head, record: letter.record.clone() }, original: None }).await?;
        // If it was being worked on it is so no longer, and others see it with its new attempt.
        let worked_on = self.inbox.pile().take(&letter.head.id);
        self.inbox.give_back(&worked_on).await;
        Ok(())
    }

    async fn list_letters<'a>(
        &'a self,
        filter: &'a LetterFilter,
    ) -> BoxStream<'a, Result<LetterHead, Fault>> {
        if !LetterState::ALL.into_iter().any(|state| state.waits() && filter.admits_state(state)) {
            return stream::empty().boxed();
        }
        let listing = Listing::begin(self.inbox.clone());
        if let Err(fault) = self.inbox.sweep(None).await {
            listing.end().await;
            return stream::iter([Err(fault)]).boxed();
        }
        let (mut heads, wrong) = self.inbox.pile().heads();
        heads.retain(|head| filter.admits(head));
        match &filter.digest {
            Some(_) => heads.sort_by(|one, other| one.version.cmp(&other.version)),
            None => heads.sort_by(|one, other| (one.first_at(), &one.id).cmp(&(other.first_at(), &other.id))),
        }
        let wrong = wrong.into_iter().map(|what| Err(self.damaged(&what)));
        let all = wrong.collect::<Vec<_>>().into_iter().chain(heads.into_iter().map(Ok));
        // The last step gives back what was received: it is not done before the last letter was asked for.
        let steps = stream::unfold((all, Some(listing)), |(mut all, listing)| async move {
            match all.next() {
                Some(next) => Some((next, (all, listing))),
                None => {
                    listing?.end().await;
                    None
                }
            }
        });
        steps.boxed()
    }

    /// One letter, held by this process; `None` if it is not there.
    async fn hold(&self, id: &LetterId, with_records: bool) -> Result<Option<Merged>, Fault> {
        let held = |merged: &Merged| !with_records || merged.records.is_some();
        let found = self.inbox.pile().held(id, Instant::now()).map(|(_, merged)| merged).filter(held);
        if let Some(merged) = found {
            return Ok(Some(merged));
        }
        // It was never received, its time is over, or its record is not at hand.
        let handles = self.inbox.pile().take(id);
        self.inbox.give_back(&handles).await;
        self.inbox.sweep(Some(id)).await?;
        let mut pile = self.inbox.pile();
        match pile.wrong(id) {
            Some(what) => Err(self.damaged(&what)),
            None => Ok(pile.held(id, Instant::now()).map(|(_, merged)| merged)),
        }
    }

    async fn read(&self, id: &LetterId) -> Result<Option<Filed>, Fault> {
        let found = self.hold(id, true).await;
        self.inbox.release().await;
        let whole = |merged: Merged| {
            let (record, original) = merged.records?;
            Some(Filed { letter: Letter { head: merged.head, record }, original })
        };
        Ok(found?.and_then(whole))
    }

    async fn close_letter(&self, id: &LetterId, closing: &Closing) -> Result<bool, Fault> {
        let closed = self.close_held(id, closing).await;
        self.inbox.release().await;
        closed
    }

    async fn close_held(&self, id: &LetterId, closing: &Closing) -> Result<bool, Fault> {
        let Some(merged) = self.hold(id, false).await? else { return Ok(false) };
        // Who takes it out of the pile closes it.
        let handles = self.inbox.pile().take(id);
        if handles.is_empty() {
            return Ok(false);
        }
        if closing.state == LetterState::Discarded {
            let kept = self.trail.append(&last_words(&merged.head, closing)).await;
            if let Err(fault) = kept {
                self.inbox.give_back(&handles).await;
                return Err(fault);
            }
        }
        let Deleted { done, lost } = self.inbox.delete(&handles).await?;
        match (done, lost) {
            (_, 0) => Ok(true),
            (0, _) => Ok(false),
            _ => Err(Fault::new(
                FaultKind::Conflict,
                format!("{}: {lost} of its messages were received by others", self.doing("close", id)),
            )),
        }
    }

    async fn edit_letter(&self, id: &LetterId, seen: u32, record: &Bytes) -> Result<bool, Fault> {
        let edited = self.edit_held(id, seen, record).await;
        self.inbox.release().await;
        edited
    }

    /// The new letter is sent before the old one is deleted: after a crash in between both are there, and the one that
    /// was edited more often counts.
    async fn edit_held(&self, id: &LetterId, seen: u32, record: &Bytes) -> Result<bool, Fault> {
        let Some(Merged { head, records: Some((was, original)) }) = self.hold(id, true).await? else {
            return Ok(false);
        };
        if head.edited != seen {
            return Ok(false);
        }
        let handles = self.inbox.pile().take(id);
        if handles.is_empty() {
            return Ok(false);
        }
        let head = LetterHead { edited: seen + 1, ..head };
        let letter = Letter { head, record: record.clone() };
        if let Err(fault) = self.send(&Filed { letter, original: original.or(Some(was)) }).await {
            self.inbox.give_back(&handles).await;
            return Err(fault);
        }
        self.inbox.delete(&handles).await?;
        Ok(true)
    }

    async fn prolong_letter(&self, id: &LetterId) -> Result<(), Fault> {
        let gone = || Fault::new(FaultKind::Conflict, format!("{}: others have it", self.doing("prolong", id)));
        if self.hold(id, false).await?.is_none() {
            self.inbox.release().await;
            return Err(gone());
        }
        let handles = match self.inbox.pile().held(id, Instant::now()) {
            Some((heap, _)) => {
                heap.taken = true;
                heap.handles()
            }
            None => return Err(gone()),
        };
        let until = self.patience.until();
        if !self.inbox.prolong(&handles).await? {
            let rest = self.inbox.pile().take(id);
            self.inbox.give_back(&rest).await;
            return Err(gone());
        }
        if let Some((heap, _)) = self.inbox.pile().held(id, Instant::now()) {
            heap.prolonged(until);
        }
        self.inbox.release().await;
        Ok(())
    }

    async fn send(&self, filed: &Filed) -> Result<(), Fault> {
        let id = &filed.letter.head.id;
        let limit = self.message_size().await?;
        let messages = message::outgoing(filed, limit)
            .map_err(|damage| Fault::from_error(FaultKind::Rejected, self.doing("store", id), &damage))?;
        for message in messages {
            let mut request =
                self.client.send_message().queue_url(&*self.url).message_body(message.body);
            if self.url.ends_with(".fifo") {
                request =
                    request.message_group_id(&message.name).message_deduplication_id(message.name);
            }
            request.send().await.map_err(|error| fault(self.doing("store", id), &error))?;
        }
        Ok(())
    }

    /// How large a message may be. Who may not ask the queue gets the size that queues have had from the beginning.
    async fn message_size(&self) -> Result<usize, Fault> {
        let name = QueueAttributeName::MaximumMessageSize;
        let ask = || async {
            let request = self.client.get_queue_attributes().queue_url(&*self.url);
            let doing = || format!("read the message size of queue {}", self.url);
            let answer = match request.attribute_names(name.clone()).send().await {
                Ok(answer) => answer,
                Err(error) => {
                    let fault = fault(doing(), &error);
                    let is_denied = fault.causes.iter().any(|cause| cause.contains("AccessDenied"));
                    return if is_denied { Ok(USUAL_SIZE - SPARE) } else { Err(fault) };
                }
            };
            let size = answer.attributes().and_then(|all| all.get(&name)).and_then(|size| size.parse().ok());
            match size.unwrap_or(USUAL_SIZE) {
                size if size < message::LEAST_SIZE => Err(Fault::new(
                    FaultKind::Misconfigured,
                    format!("queue {} takes messages of {size} bytes only; letters need {}", self.url, message::LEAST_SIZE),
                )),
                size => Ok(size - SPARE),
            }
        };
        self.size.get_or_try_init(ask).await.copied()
    }

    fn damaged(&self, what: &str) -> Fault {
        Fault::new(FaultKind::Rejected, format!("queue {}: {what}", self.url))
    }

    fn doing(&self, what: &str, id: &LetterId) -> String {
        format!("{what} letter {id} in queue {}", self.url)
    }
}

/// What remains of a letter that is discarded.
fn last_words(head: &LetterHead, closing: &Closing) -> AuditEntry {
    let part = |name: &str, value: Option<&str>| value.map_or(String::new(), |value| format!(", {name} {value}"));
    let result = format!(
        "discarded: {}; the queue does not keep it: source {}{}{}{}",
        closing.reason,
        head.source,
        part("projection", head.projection.as_deref()),
        part("key", head.digest.as_deref()),
        part("version", head.version.as_deref()),
    );
    let (by, letter) = (closing.by.clone(), Some(head.id.clone()));
    AuditEntry { at: closing.at, by, action: "delete".to_owned(), letter, result }
}
