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
//! **What is read is received**, and given back when the list ends. A process that works on letters holds what it
//! received until it calls `release`, or else until the visibility ends; meanwhile no other process sees it. Reading
//! counts as receiving: the queue must have no redrive policy, or it would move letters away that were looked at too
//! often.
//!
//! **Whether a letter is closed the ledger says**, by a row that is put before the messages are deleted, and is there as
//! long as a queue could have kept them. The row comes first: messages that are there all the same, because whoever
//! closed the letter died, or stored it at the same moment, are what is left of it. They are deleted when the letter is
//! next listed, or asked for by its name. A letter that waits again loses its row before it is sent.
//!
//! **What a queue cannot do:** keep a closed letter, list closed ones, or remember how a letter was closed that fails
//! again. Of a discarded letter a line of the audit trail stays. To find one letter all have to be received, and one
//! that another process has received cannot be found: whether it is there nobody knows
//! ([`LetterStore::knows_absence`]). A queue forgets a message after its own retention, 14 days at most, whatever
//! `letters.keep` says. Several operators at once want the table.
//!
//! The audit trail is in the ledger, since a queue cannot keep it.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use self::closed::ClosedLetters;
use self::inbox::{Inbox, Visit};
use self::pile::{Merged, Pile};
use super::audit::AuditTable;
use super::file::Filed;
use super::{
    AuditEntry, Closing, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore, Stored,
    Waiting,
};
use crate::outcome::{Fault, FaultKind};

mod closed;
mod inbox;
mod message;
mod outbox;
mod pile;
mod state;

/// How long messages are held, and waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long a received message is kept from others, whole seconds (default 1 min). After a crash it takes this long
    /// until the letters can be listed again.
    pub visibility: Duration,
    /// How long to wait for messages before the queue counts as read, whole seconds (default 1 s). With 0 SQS asks only
    /// some of its servers, so that letters may be missing from a list.
    pub wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { visibility: Duration::from_secs(60), wait: Duration::from_secs(1) }
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
    closed: ClosedLetters,
}

impl LetterStore for QueueLetters {
    fn store<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<Stored, Fault>> {
        self.store_letter(letter).boxed()
    }

    fn list<'a>(&'a self, filter: &'a LetterFilter) -> BoxStream<'a, Result<LetterHead, Fault>> {
        self.list_letters(filter).flatten_stream().boxed()
    }

    fn load<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Letter>, Fault>> {
        let found = self.read(id);
        found.map(|found| Ok(found?.map(|filed| filed.letter))).boxed()
    }

    fn close<'a>(
        &'a self,
        id: &'a LetterId,
        seen: u32,
        closing: &'a Closing,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        self.close_letter(id, seen, closing).boxed()
    }

    fn state<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<LetterState>, Fault>> {
        self.state_of(id).boxed()
    }

    fn closed<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<LetterState>, Fault>> {
        self.closed.state(id).boxed()
    }

    fn states<'a>(&'a self, ids: &'a [LetterId]) -> BoxFuture<'a, Result<Vec<Option<LetterState>>, Fault>> {
        self.states_of(ids).boxed()
    }

    fn waiting(&self) -> BoxFuture<'_, Result<Waiting, Fault>> {
        self.messages().map(|messages| messages.map(Waiting::Messages)).boxed()
    }

    fn knows_absence(&self) -> bool {
        false
    }

    fn close_unseen<'a>(
        &'a self,
        id: &'a LetterId,
        closing: &'a Closing,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        self.closed.put(id, closing).boxed()
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

    fn release(&self) -> BoxFuture<'_, ()> {
        self.inbox.release().boxed()
    }

    fn audit<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<(), Fault>> {
        self.trail.append(entry).boxed()
    }

    fn trail(&self) -> BoxStream<'_, Result<AuditEntry, Fault>> {
        self.trail.read()
    }
}

impl QueueLetters {
    /// Letters in the queue with this URL; the ledger has their audit trail. Makes no request.
    pub fn new(
        client: Client,
        url: Arc<str>,
        patience: Patience,
        dynamodb: aws_sdk_dynamodb::Client,
        ledger: Arc<str>,
    ) -> Self {
        let inbox = Arc::new(Inbox::new(client.clone(), url.clone(), patience, super::reads()));
        let trail = AuditTable::in_ledger(dynamodb.clone(), ledger.clone());
        let closed = ClosedLetters::new(dynamodb, ledger);
        Self { client, url, patience, inbox, size: Arc::default(), trail, closed }
    }

    async fn list_letters<'a>(
        &'a self,
        filter: &'a LetterFilter,
    ) -> BoxStream<'a, Result<LetterHead, Fault>> {
        if !LetterState::ALL.into_iter().any(|state| state.waits() && filter.admits_state(state)) {
            return stream::empty().boxed();
        }
        let visit = Visit::begin(self.inbox.clone());
        let received = async {
            self.inbox.sweep(None, |_| false).await?;
            self.delete_closed().await?;
            Ok::<_, Fault>(self.inbox.pile().heads())
        };
        let (mut heads, wrong) = match received.await {
            Ok(received) => received,
            Err(fault) => {
                visit.end().await;
                return stream::iter([Err(fault)]).boxed();
            }
        };
        heads.retain(|head| filter.admits(head));
        match &filter.digest {
            Some(_) => heads.sort_by(|one, other| one.version.cmp(&other.version)),
            None => heads.sort_by(|one, other| (one.first_at(), &one.id).cmp(&(other.first_at(), &other.id))),
        }
        let wrong = wrong.into_iter().map(|what| Err(self.damaged(&what)));
        let all = wrong.collect::<Vec<_>>().into_iter().chain(heads.into_iter().map(Ok));
        // The last step gives back what was received: it is not done before the last letter was asked for.
        let steps = stream::unfold((all, Some(visit)), |(mut all, visit)| async move {
            match all.next() {
                Some(next) => Some((next, (all, visit))),
                None => {
                    visit?.end().await;
                    None
                }
            }
        });
        steps.boxed()
    }

    /// One letter, held by this process; `None` if it is not there.
    async fn hold(&self, id: &LetterId, with_records: bool) -> Result<Option<Merged>, Fault> {
        let held = |pile: &mut Pile| {
            let found = pile.held(id, Instant::now()).map(|(_, merged)| merged);
            found.filter(|merged| !with_records || merged.records.is_some())
        };
        let found = held(&mut self.inbox.pile());
        if found.is_some() {
            return Ok(found);
        }
        // It was never received, its time is over, or its record is not at hand.
        let handles = self.inbox.pile().take(id);
        self.inbox.give_back(&handles).await;
        self.inbox.sweep(Some(id), |pile| held(pile).is_some()).await?;
        let mut pile = self.inbox.pile();
        match pile.wrong(id) {
            Some(what) => Err(self.damaged(&what)),
            None => Ok(held(&mut pile)),
        }
    }

    async fn read(&self, id: &LetterId) -> Result<Option<Filed>, Fault> {
        let is_closed = self.closed.state(id).await?.is_some();
        let visit = Visit::begin(self.inbox.clone());
        let found = match is_closed {
            true => self.delete_rest(id).await.map(|()| None),
            false => self.hold(id, true).await,
        };
        visit.end().await;
        let whole = |merged: Merged| {
            let (record, original) = merged.records?;
            Some(Filed { letter: Letter { head: merged.head, record }, original })
        };
        Ok(found?.and_then(whole))
    }

    /// Deletes what is left of a letter that is closed.
    async fn delete_rest(&self, id: &LetterId) -> Result<(), Fault> {
        if let Err(fault) = self.hold(id, false).await {
            // It need not be whole any more.
            tracing::debug!(letter = %id, %fault, "what is left of a closed letter");
        }
        let handles = self.inbox.pile().take(id);
        self.inbox.delete(&handles).await
    }

    async fn close_letter(&self, id: &LetterId, seen: u32, closing: &Closing) -> Result<bool, Fault> {
        let visit = Visit::begin(self.inbox.clone());
        let closed = self.close_held(id, seen, closing).await;
        visit.end().await;
        closed
    }

    async fn close_held(&self, id: &LetterId, seen: u32, closing: &Closing) -> Result<bool, Fault> {
        let found = self.hold(id, false).await?;
        let Some(merged) = found.filter(|merged| merged.head.edited == seen) else { return Ok(false) };
        self.inbox.hold_on();
        let handles = self.inbox.pile().take(id);
        if handles.is_empty() {
            return Ok(false);
        }
        // Whoever puts the row closes the letter; those of its messages that others have received are left to them.
        let closed = match self.remember(&merged.head, closing).await {
            Ok(closed) => closed,
            Err(fault) => {
                self.inbox.give_back(&handles).await;
                return Err(fault);
            }
        };
        self.inbox.delete(&handles).await?;
        Ok(closed)
    }

    /// What has to be known of a letter that is not kept, before it is deleted; `false` if others closed it.
    async fn remember(&self, head: &LetterHead, closing: &Closing) -> Result<bool, Fault> {
        if closing.state == LetterState::Discarded {
            self.trail.append(&closed::last_words(head, closing)).await?;
        }
        self.closed.put(&head.id, closing).await
    }

    async fn edit_letter(&self, id: &LetterId, seen: u32, record: &Bytes) -> Result<bool, Fault> {
        let visit = Visit::begin(self.inbox.clone());
        let edited = self.edit_held(id, seen, record).await;
        visit.end().await;
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
        self.inbox.hold_on();
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
        let visit = Visit::begin(self.inbox.clone());
        let prolonged = self.prolong_held(id).await;
        visit.end().await;
        match prolonged? {
            true => Ok(()),
            false => {
                let cause = format!("{}: it is not there, or others have it", self.doing("prolong", id));
                Err(Fault::new(FaultKind::Conflict, cause))
            }
        }
    }

    async fn prolong_held(&self, id: &LetterId) -> Result<bool, Fault> {
        if self.hold(id, false).await?.is_none() {
            return Ok(false);
        }
        self.inbox.hold_on();
        let handles = match self.inbox.pile().held(id, Instant::now()) {
            Some((heap, _)) => {
                heap.taken = true;
                heap.handles()
            }
            None => return Ok(false),
        };
        let until = self.patience.until();
        if !self.inbox.prolong(&handles).await? {
            let rest = self.inbox.pile().take(id);
            self.inbox.give_back(&rest).await;
            return Ok(false);
        }
        if let Some((heap, _)) = self.inbox.pile().held(id, Instant::now()) {
            heap.prolonged(until);
        }
        Ok(true)
    }

    fn damaged(&self, what: &str) -> Fault {
        Fault::new(FaultKind::Rejected, format!("queue {}: {what}", self.url))
    }

    fn doing(&self, what: &str, id: &LetterId) -> String {
        format!("{what} letter {id} in queue {}", self.url)
    }
}
