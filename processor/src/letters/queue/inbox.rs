//! Receives messages, holds them for a bounded time, and gives back what nobody took.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Patience;
use super::pile::{Handle, Pile};
use crate::clock::Deadline;
use crate::letters::LetterId;
use crate::outcome::Fault;
use crate::retry::RetryPolicy;
use crate::sqs::{BATCH, Entry, Queue, Receive};

/// How many requests receive side by side: ten thousand letters are a thousand requests.
const AT_ONCE: usize = 4;
/// So many rounds without anything new end a sweep: the queue is so large that its first messages come back already.
const MAX_STALE_ROUNDS: usize = 8;

/// A queue, and what is held of it.
pub(super) struct Inbox {
    queue: Queue,
    patience: Patience,
    reads: RetryPolicy,
    pile: Mutex<Pile>,
    /// One sweep at a time: two would each get a part of a letter.
    sweeping: tokio::sync::Mutex<()>,
    /// How many lists and calls are under way: what they found is held until the last of them ends.
    users: AtomicUsize,
    /// Whether letters are being worked on: then what was received is held on, so that the next ones are at hand.
    working: AtomicBool,
}

impl Inbox {
    pub(super) fn new(client: Client, url: Arc<str>, patience: Patience, reads: RetryPolicy) -> Self {
        Self {
            queue: Queue::new(client, url),
            patience,
            reads,
            pile: Mutex::default(),
            sweeping: tokio::sync::Mutex::default(),
            users: AtomicUsize::new(0),
            working: AtomicBool::new(false),
        }
    }

    pub(super) fn pile(&self) -> MutexGuard<'_, Pile> {
        // A pile is whole between any two of its calls.
        self.pile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives all that can be received, unless what is wanted is there already.
    pub(super) async fn sweep(
        &self,
        wanted: Option<&LetterId>,
        is_there: impl Fn(&mut Pile) -> bool,
    ) -> Result<(), Fault> {
        let _one = self.sweeping.lock().await;
        // Another call may have received it while this one waited.
        if is_there(&mut self.pile()) {
            return Ok(());
        }
        let mut stale_rounds = 0;
        while stale_rounds < MAX_STALE_ROUNDS {
            let receive = || self.reads.run(Deadline::NONE, "receive letters", || self.receive());
            let pages = join_all((0..AT_ONCE).map(|_| receive())).await;
            let (mut received, mut new, mut failed) = (0, 0, None);
            for page in pages {
                match page {
                    Err(fault) => failed = Some(fault),
                    Ok(messages) => {
                        received += messages.len();
                        let mut pile = self.pile();
                        for (handle, body) in messages {
                            new += usize::from(pile.add(handle, &body, wanted));
                        }
                    }
                }
            }
            if let Some(fault) = failed {
                return Err(fault);
            }
            if received == 0 {
                break;
            }
            stale_rounds = if new == 0 { stale_rounds + 1 } else { 0 };
        }
        Ok(())
    }

    async fn receive(&self) -> Result<Vec<(Handle, String)>, Fault> {
        let until = self.patience.until();
        let how = Receive {
            most: BATCH,
            // Asks all of the queue's servers: else an answer without messages would say nothing.
            wait: self.patience.wait,
            visibility: self.patience.visibility,
            with_attributes: false,
            attempt: None,
        };
        let messages = self.queue.receive(&how).await?.into_iter();
        Ok(messages
            .filter_map(|message| {
                let (message_id, receipt) = (message.message_id?, message.receipt_handle?);
                let handle = Handle { message: message_id, receipt, until };
                Some((handle, message.body.unwrap_or_default()))
            })
            .collect())
    }

    /// Lets others receive messages at once. Those that cannot be told come back by themselves.
    pub(super) async fn give_back(&self, handles: &[Handle]) {
        for done in self.set_all(handles, Duration::ZERO).await {
            if let Err(fault) = done {
                tracing::debug!(%fault, "letters come back when their visibility ends");
            }
        }
    }

    /// Keeps messages from others for another while; `false` if others have received one meanwhile.
    pub(super) async fn prolong(&self, handles: &[Handle]) -> Result<bool, Fault> {
        let mut whole = true;
        for done in self.set_all(handles, self.patience.visibility).await {
            whole &= done?;
        }
        Ok(whole)
    }

    /// Some batches side by side, so that ten thousand messages are neither a thousand requests at once nor one after
    /// the other.
    async fn set_all(&self, handles: &[Handle], visibility: Duration) -> Vec<Result<bool, Fault>> {
        let mut all = Vec::new();
        for turn in handles.chunks(BATCH * AT_ONCE) {
            let turn: Vec<_> =
                turn.chunks(BATCH).map(|batch| self.set_visibility(batch, visibility)).collect();
            all.extend(join_all(turn).await);
        }
        all
    }

    async fn set_visibility(&self, batch: &[Handle], visibility: Duration) -> Result<bool, Fault> {
        let messages: Vec<_> = receipts(batch).into_iter().map(|receipt| (receipt, visibility)).collect();
        lost(self.queue.set_visibility(&messages).await?).map(|lost| lost == 0)
    }

    /// Deletes messages for good. Those that others have received meanwhile stay.
    pub(super) async fn delete(&self, handles: &[Handle]) -> Result<(), Fault> {
        for batch in handles.chunks(BATCH) {
            lost(self.queue.delete(&receipts(batch)).await?)?;
        }
        Ok(())
    }

    /// From now on what was received is held, until its time is over or `release`.
    pub(super) fn hold_on(&self) {
        self.working.store(true, Ordering::SeqCst);
    }

    /// Gives back everything.
    pub(super) async fn release(&self) {
        self.working.store(false, Ordering::SeqCst);
        let all = self.pile().take_all();
        self.give_back(&all).await;
    }

    async fn leave(&self) {
        let others = self.users.fetch_sub(1, Ordering::SeqCst) > 1;
        if !others && !self.working.load(Ordering::SeqCst) {
            let rest = self.pile().take_rest(Instant::now());
            self.give_back(&rest).await;
        }
    }
}

/// While it lives, what was received stays held. A list that is dropped before its end gives back in the background.
pub(super) struct Visit {
    inbox: Option<Arc<Inbox>>,
}

impl Visit {
    pub(super) fn begin(inbox: Arc<Inbox>) -> Self {
        inbox.users.fetch_add(1, Ordering::SeqCst);
        Self { inbox: Some(inbox) }
    }

    pub(super) async fn end(mut self) {
        if let Some(inbox) = self.inbox.take() {
            inbox.leave().await;
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let Some(inbox) = self.inbox.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move { inbox.leave().await })),
            // Without a runtime they come back when their time is over.
            Err(_) => drop(inbox.users.fetch_sub(1, Ordering::SeqCst)),
        }
    }
}

fn receipts(handles: &[Handle]) -> Vec<&str> {
    handles.iter().map(|handle| handle.receipt.as_str()).collect()
}

/// How many entries of a batch failed because others have received their messages; any other failure is a fault.
fn lost(entries: Vec<Entry>) -> Result<usize, Fault> {
    entries.into_iter().try_fold(0, |lost, entry| match entry {
        Entry::Done => Ok(lost),
        Entry::Gone => Ok(lost + 1),
        Entry::Failed(fault) => Err(fault),
    })
}
