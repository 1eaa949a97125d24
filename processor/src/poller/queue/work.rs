//! One queue at work: what was received becomes batches, batches are settled, and what is in hand stays out of others' sight.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::QueueReader;
use super::inbox::{Arrived, Handle, Inbox, Lost, Taken};
use super::pace::Pace;
use super::receive::{Attempt, Attempts, receive};
use super::settle::{self, Unsettled};
use super::voice::Voice;
use crate::clock::Deadline;
use crate::outcome::{Fault, FaultKind};
use crate::report::Report;
use crate::retry::RetryPolicy;
use crate::source::{Batch, Delivery};
use crate::sqs::{BATCH, Entry};

/// How the work ends.
mod leave;

/// How many batches of one queue run at once: while one waits for a slow target, others go on.
const BATCHES: usize = 4;
/// How long one batch may take: far more than any retry, and far less than the 12 hours after which SQS gives a message to
/// others whatever was asked.
const BATCH_TIME: Duration = Duration::from_secs(3_600);
/// When a batch has only so much time left, nothing new of it starts.
const MARGIN: Duration = Duration::from_secs(10);

/// What ended.
enum Event {
    Received {
        began: Instant,
        attempt: Option<Attempt>,
        page: Result<Vec<Arrived>, Fault>,
    },
    /// None where the batch was cut off.
    Ran {
        batch: u64,
        ran: Option<Ran>,
    },
    /// The first so many of the messages are done, the others go back.
    Settled {
        ids: Vec<u64>,
        done: usize,
        unsettled: Unsettled,
    },
    Renewed {
        ids: Vec<u64>,
        began: Instant,
        entries: Result<Vec<Entry>, Fault>,
    },
}

/// What became of a batch.
struct Ran {
    /// Whether each message goes back.
    back: Vec<bool>,
    /// The first fault; one that has to be mended before any other.
    fault: Option<Fault>,
}

impl Ran {
    fn of(report: &Report, deliveries: &[Delivery]) -> Self {
        let faults = || report.unfinished.iter().flatten();
        let misconfigured = faults().find(|fault| fault.kind == FaultKind::Misconfigured);
        let fault = misconfigured.or_else(|| report.first_fault()).cloned();
        Self { back: report.goes_back(deliveries), fault }
    }
}

/// One queue at work.
pub(super) struct Work {
    reader: Arc<QueueReader>,
    wait: Duration,
    inbox: Inbox,
    pace: Pace,
    /// Everything that is under way.
    tasks: FuturesUnordered<BoxFuture<'static, Event>>,
    receiving: usize,
    /// The batches that run: to drop one cuts it off.
    running: HashMap<u64, oneshot::Sender<()>>,
    settling: usize,
    attempts: Attempts,
    has_answered: bool,
    /// Until when messages that were given back may be out of sight.
    hidden_until: Option<Instant>,
    voice: Voice,
}

impl Work {
    pub(super) fn new(reader: Arc<QueueReader>, wait: Duration) -> Self {
        let now = Instant::now();
        Self {
            wait,
            inbox: Inbox::new(reader.visibility),
            pace: Pace::new(reader.pipeline.limits.retry.chance.clone(), now),
            tasks: FuturesUnordered::new(),
            receiving: 0,
            running: HashMap::new(),
            settling: 0,
            attempts: Attempts::default(),
            has_answered: false,
            hidden_until: None,
            voice: Voice::new(reader.clone()),
            reader,
        }
    }

    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Fault> {
        while !*stop.borrow_and_update() {
            self.renew();
            self.start();
            let wake_at = self.wake_at();
            tokio::select! {
                told = stop.changed() => if told.is_err() { break },
                Some(event) = self.tasks.next() => self.take(event)?,
                () = tokio::time::sleep_until(wake_at) => {}
            }
            self.voice.tell();
        }
        self.leave().await;
        Ok(())
    }

    /// Starts what can be started: batches of what was received, and receives.
    fn start(&mut self) {
        while self.running.len() < BATCHES
            && let Some(taken) = self.inbox.take()
        {
            self.run_batch(taken);
        }
        let now = Instant::now();
        while self.inbox.has_room(self.receiving, BATCH)
            && let Some(most) = self.pace.most(self.receiving, !self.inbox.is_empty(), now)
        {
            self.receive(most);
        }
    }

    fn wake_at(&self) -> Instant {
        let receive_at = Some(self.pace.receive_at()).filter(|at| *at > Instant::now());
        let tell_at = self.voice.tell_at();
        let all = [Some(tell_at), receive_at, self.inbox.next_renewal()];
        all.into_iter().flatten().min().unwrap_or(tell_at)
    }

    fn receive(&mut self, most: usize) {
        let (reader, wait, began) = (self.reader.clone(), self.wait, Instant::now());
        let attempt = reader.is_fifo().then(|| self.attempts.next());
        self.receiving += 1;
        self.tasks.push(
            async move {
                let page = receive(&reader, most, wait, attempt.as_ref()).await;
                Event::Received { began, attempt, page }
            }
            .boxed(),
        );
    }

    fn run_batch(&mut self, taken: Taken) {
        let Taken { batch, deliveries } = taken;
        let (cut, told) = oneshot::channel();
        let reader = self.reader.clone();
        self.running.insert(batch, cut);
        self.tasks.push(
            async move {
                let deadline = Deadline::before(Instant::now() + BATCH_TIME, MARGIN);
                let work = Batch { source: reader.source.clone(), deliveries };
                let ran = tokio::select! {
                    report = reader.pipeline.run(&work, deadline) => Some(Ran::of(&report, &work.deliveries)),
                    _ = told => None,
                };
                Event::Ran { batch, ran }
            }
            .boxed(),
        );
    }

    /// Prolongs the time out of sight of what needs it, and lets go of what others may see.
    fn renew(&mut self) {
        let now = Instant::now();
        let lost = self.inbox.expired(now);
        self.lose(lost);
        loop {
            let due = self.inbox.due(now, BATCH);
            if due.is_empty() {
                return;
            }
            let (queue, visibility) = (self.reader.queue.clone(), self.reader.visibility);
            self.tasks.push(
                async move {
                    let began = Instant::now();
                    let messages: Vec<_> = due.iter().map(|handle| (&*handle.receipt, visibility)).collect();
                    let entries = queue.set_visibility(&messages).await;
                    Event::Renewed { ids: due.iter().map(|handle| handle.id).collect(), began, entries }
                }
                .boxed(),
            );
        }
    }

    fn lose(&mut self, lost: Lost) {
        for batch in lost.cut {
            if self.running.remove(&batch).is_some() {
                self.voice.cut();
            }
        }
        self.give_back_now(lost.back);
    }

    fn take(&mut self, event: Event) -> Result<(), Fault> {
        match event {
            Event::Received { began, attempt, page } => {
                self.receiving -= 1;
                match page {
                    Ok(messages) => self.received(messages, began),
                    Err(fault) if fault.kind == FaultKind::Misconfigured && !self.has_answered => {
                        return Err(fault);
                    }
                    Err(fault) => {
                        self.attempts.lost(attempt);
                        self.pace.failed(fault.kind, Instant::now());
                        self.voice.not_received(&fault);
                    }
                }
            }
            Event::Ran { batch, ran } => self.ran(batch, ran),
            Event::Settled { ids, done, unsettled } => self.settled(&ids, done, &unsettled),
            Event::Renewed { ids, began, entries } => self.renewed(&ids, began, entries),
        }
        Ok(())
    }

    fn received(&mut self, arrived: Vec<Arrived>, began: Instant) {
        self.has_answered = true;
        self.pace.received(arrived.len(), began);
        let has_some = !arrived.is_empty();
        self.inbox.put(arrived, Instant::now());
        self.voice.received(self.inbox.oldest().filter(|_| has_some));
        if !has_some {
            self.found_nothing(began);
        }
    }

    /// A receive gave nothing: whether that means that there is nothing.
    fn found_nothing(&mut self, began: Instant) {
        let worked_at = self.reader.health.borrow().worked_at;
        let is_later = |at: Option<Instant>| at.is_none_or(|at| at <= began);
        let is_idle = self.receiving == 0 && self.inbox.is_empty();
        if is_idle && is_later(worked_at) && is_later(self.hidden_until) {
            self.voice.found_nothing();
            self.pace.some_done();
            self.reader.health.send_modify(|health| health.quiet_since = Some(began));
        }
    }

    fn ran(&mut self, batch: u64, ran: Option<Ran>) {
        self.running.remove(&batch);
        let handles = self.inbox.settle(batch);
        let Some(Ran { back, fault }) = ran else {
            return self.settle(Vec::new(), handles);
        };
        let (mut done, mut unfinished) = (Vec::new(), Vec::new());
        for (handle, back) in handles.into_iter().zip(back) {
            if back { unfinished.push(handle) } else { done.push(handle) }
        }
        if done.is_empty() {
            let is_wrong = fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::Misconfigured);
            let alone = alone(&unfinished).filter(|_| !is_wrong);
            self.pace.nothing_done(alone, Instant::now());
        }
        self.voice.ran(unfinished.len(), fault.as_ref());
        self.settle(done, unfinished);
    }

    /// Deletes what is done; gives back the rest, a FIFO group together.
    fn settle(&mut self, done: Vec<Handle>, unfinished: Vec<Handle>) {
        let mut groups: HashMap<Arc<str>, Duration> = HashMap::new();
        let back = unfinished.into_iter().map(|handle| {
            let time = match &handle.group {
                None => self.pace.back_in(handle.count),
                Some(group) => {
                    *groups.entry(group.clone()).or_insert_with(|| self.pace.back_in(handle.count))
                }
            };
            (handle, time)
        });
        let back = back.collect();
        self.push_settling(done, back);
    }

    /// Others may receive them at once.
    fn give_back_now(&mut self, back: Vec<Handle>) {
        self.push_settling(Vec::new(), back.into_iter().map(|handle| (handle, Duration::ZERO)).collect());
    }

    fn push_settling(&mut self, done: Vec<Handle>, back: Vec<(Handle, Duration)>) {
        if done.is_empty() && back.is_empty() {
            return;
        }
        if let Some(longest) = back.iter().map(|(_, time)| *time).max() {
            self.hide(longest);
        }
        self.settling += 1;
        let reader = self.reader.clone();
        // Until their time out of sight is over there is no use in trying on.
        let limits = reader.pipeline.limits.retry.clone();
        let retry = RetryPolicy { elapsed: limits.elapsed.min(reader.visibility / 2), ..limits };
        let ids = done.iter().chain(back.iter().map(|(handle, _)| handle)).map(|handle| handle.id).collect();
        self.tasks.push(
            async move {
                let (undeleted, kept) = join(
                    settle::delete(&reader.queue, &done, &retry),
                    settle::give_back(&reader.queue, &back),
                )
                .await;
                Event::Settled { ids, done: done.len(), unsettled: Unsettled { undeleted, kept } }
            }
            .boxed(),
        );
    }

    fn settled(&mut self, ids: &[u64], done: usize, unsettled: &Unsettled) {
        let now = Instant::now();
        self.settling -= 1;
        self.inbox.forget(ids);
        if unsettled.undeleted.is_some() || unsettled.kept.is_some() {
            self.hide(self.reader.visibility);
        }
        match &unsettled.kept {
            Some(fault) => self.voice.sight_kept(fault),
            None if ids.len() > done => self.voice.sight_set(),
            None => {}
        }
        if done > 0 {
            // What is not deleted was done for nothing.
            match unsettled.undeleted {
                Some(_) => self.pace.nothing_done(None, now),
                None => self.pace.some_done(),
            }
            self.voice.deleted(unsettled.undeleted.as_ref());
        }
        if self.inbox.is_empty() && self.hidden_until.is_none_or(|until| until <= now) {
            self.voice.has_nothing();
        }
        self.reader.health.send_modify(|health| (health.worked_at, health.quiet_since) = (Some(now), None));
    }

    /// Some messages come again after this time at the latest.
    fn hide(&mut self, time: Duration) {
        self.hidden_until = self.hidden_until.max(Some(Instant::now() + time));
    }

    fn renewed(&mut self, ids: &[u64], began: Instant, entries: Result<Vec<Entry>, Fault>) {
        let now = Instant::now();
        let entries = entries.unwrap_or_else(|fault| vec![Entry::Failed(fault); ids.len()]);
        for (id, entry) in ids.iter().zip(entries) {
            match entry {
                Entry::Done => {
                    self.voice.sight_set();
                    self.inbox.renewed(*id, Some(began), now);
                }
                Entry::Gone => {
                    let lost = self.inbox.lost(*id);
                    self.lose(lost);
                }
                Entry::Failed(fault) => {
                    self.voice.sight_kept(&fault);
                    self.inbox.renewed(*id, None, now);
                }
            }
        }
    }
}

/// The one message, or the one group, that all of these are.
fn alone(handles: &[Handle]) -> Option<Arc<str>> {
    let first = handles.first()?.name();
    handles.iter().all(|handle| handle.name() == first).then(|| first.clone())
}
