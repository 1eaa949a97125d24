//! Deletes messages that are done, and gives back those that are not.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use super::inbox::Handle;
use crate::outcome::{Fault, Verdict};
use crate::retry::RetryPolicy;
use crate::sqs::{BATCH, Entry, Queue};

/// How many requests are under way at once.
const AT_ONCE: usize = 4;

/// What could not be told the queue: those messages come again when their time out of sight is over.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// Why some that are done were not deleted: they come again for nothing.
    pub(super) undeleted: Option<Fault>,
    /// Why some were not given back: they come again later than they could.
    pub(super) kept: Option<Fault>,
}

/// Deletes messages. What fails and may pass is tried again, and no other entry with it.
pub(super) async fn delete(queue: &Queue, done: &[Handle], retry: &RetryPolicy) -> Option<Fault> {
    let chunk = |chunk: &[Handle]| {
        let receipts: Vec<_> = chunk.iter().map(|handle| handle.receipt.clone()).collect();
        async move {
            let mut left = receipts;
            let mut waits = retry.start();
            loop {
                let receipts: Vec<&str> = left.iter().map(|receipt| &**receipt).collect();
                let failed = failed(queue.delete(&receipts).await, receipts.len());
                let (fault, places) = failed?;
                left = places.into_iter().map(|place| left[place].clone()).collect();
                match fault.kind.verdict() {
                    Verdict::Retry => {
                        tokio::time::sleep(match waits.next_wait() {
                            Some(wait) => wait,
                            None => return Some(fault),
                        })
                        .await
                    }
                    Verdict::Unfinished | Verdict::Letter => return Some(fault),
                }
            }
        }
    };
    let chunks: Vec<_> = done.chunks(BATCH).map(chunk).collect();
    let faults = stream::iter(chunks).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    faults.into_iter().flatten().next()
}

/// Gives messages back, each to be seen again after so many whole seconds.
pub(super) async fn give_back(queue: &Queue, back: &[(Handle, Duration)]) -> Option<Fault> {
    let chunk = |chunk: &[(Handle, Duration)]| {
        let messages: Vec<_> = chunk.iter().map(|(handle, time)| (handle.receipt.clone(), *time)).collect();
        async move {
            let messages: Vec<_> = messages.iter().map(|(receipt, time)| (&**receipt, *time)).collect();
            failed(queue.set_visibility(&messages).await, messages.len()).map(|(fault, _)| fault)
        }
    };
    let chunks: Vec<_> = back.chunks(BATCH).map(chunk).collect();
    let faults = stream::iter(chunks).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    faults.into_iter().flatten().next()
}

/// The entries that failed, with the fault of the one that is least likely to pass. One whose receipt is over is as good as done.
fn failed(answer: Result<Vec<Entry>, Fault>, count: usize) -> Option<(Fault, Vec<usize>)> {
    match answer {
        Err(fault) => Some((fault, (0..count).collect())),
        Ok(entries) => {
            let faults = entries.into_iter().enumerate().filter_map(|(place, entry)| match entry {
                Entry::Failed(fault) => Some((place, fault)),
                Entry::Done | Entry::Gone => None,
            });
            let (places, mut faults): (Vec<usize>, Vec<Fault>) = faults.unzip();
            let worst = faults.iter().position(|fault| fault.kind.verdict() != Verdict::Retry).unwrap_or(0);
            (!faults.is_empty()).then(|| (faults.swap_remove(worst), places))
        }
    }
}
