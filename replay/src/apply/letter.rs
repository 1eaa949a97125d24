//! One letter: read, run through the pipeline, closed if nothing of it is left.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millstream_processor::clock::Deadline;
use millstream_processor::letters::{Letter, LetterId, LetterState};
use millstream_processor::outcome::Fault;
use millstream_processor::pipeline::Pipeline;
use millstream_processor::report::Report;
use millstream_processor::source::Batch;
use millstream_processor::source::replay::decode_raw;
use millstream_projections::SourceName;

use super::pace::Gate;
use super::{Applied, Done, Group, Outcome, Progress};
use crate::desk::{Desk, Route};
use crate::keys::OrderedKey;
use crate::plan::{Pin, Verdict, plan_letter};

/// Well below the shortest time that a queue keeps a letter out of sight.
const PROLONG_EVERY: Duration = Duration::from_secs(10);

/// Works through groups of letters.
pub(super) struct Worker<'a> {
    pub(super) desk: &'a Desk,
    pub(super) gate: Gate<'a>,
    pub(super) tell: &'a (dyn Fn(Progress<'_>) + Sync),
    pub(super) applied: Mutex<Applied>,
    /// The keys of which it was told that they still wait.
    pub(super) still_held: Mutex<HashSet<OrderedKey>>,
}

impl Worker<'_> {
    /// Works through the letters of one key.
    pub(super) async fn group(&self, group: &Group) {
        if let Some(key) = &group.key {
            return self.in_order(key, &group.letters).await;
        }
        // A letter that fails does not keep the later ones back: the guards know which is newer. One that is unfinished and
        // goes through every projection does: among these may be one that keeps an order.
        let mut first: Option<&LetterId> = None;
        for letter in &group.letters {
            if !self.gate.admit().await {
                return;
            }
            let projection = letter.place.projection.as_deref();
            let outcome = match first.filter(|_| projection.is_none()) {
                Some(first) => Outcome::Behind(first.clone()),
                None => self.letter(&letter.id, letter.pin.as_ref()).await,
            };
            if projection.is_none() && matches!(outcome, Outcome::Unfinished(_)) {
                first = Some(&letter.id);
            }
            self.chosen_is_taken_up();
            self.done(&letter.id, projection, outcome);
        }
    }

    /// What to say of a letter that was listed and cannot be found: only a store that knows it closed says it is done.
    async fn absent(&self, id: &LetterId) -> Outcome {
        match self.desk.letters().state(id).await {
            Ok(Some(state)) if !state.waits() => Outcome::WasClosed,
            Ok(_) => Outcome::Unfinished(
                "the letter cannot be found: someone else may be working on it".to_owned(),
            ),
            Err(fault) => Outcome::Unfinished(fault.to_string()),
        }
    }

    /// Takes one letter up.
    pub(super) async fn letter(&self, id: &LetterId, pin: Option<&Pin>) -> Outcome {
        let letter = match self.desk.letters().load(id).await {
            Ok(Some(letter)) if letter.head.state.waits() => letter,
            Ok(Some(_)) => return Outcome::WasClosed,
            Ok(None) => return self.absent(id).await,
            Err(fault) => return Outcome::Unfinished(fault.to_string()),
        };
        // Lists lag behind; this is what stands in the store.
        if let Some(difference) = pin.and_then(|pin| pin.difference(&letter.head)) {
            return Outcome::Changed(difference);
        }
        let (pipeline, source) = match self.desk.route(&letter.head.source, letter.head.projection.as_deref())
        {
            Route::Through(pipeline, source) => (pipeline, source),
            Route::UnknownSource => return Outcome::UnknownSource,
            Route::UnknownProjection => return Outcome::UnknownProjection,
        };
        let outcome = match self.refused(&letter, &source).await {
            Some(refused) => refused,
            None => {
                let report = self.run(&letter, &pipeline, source).await;
                // What was done is done; the letter waits, and the next run finds it stale.
                let open =
                    |fault: Fault| Outcome::Unfinished(format!("the letter cannot be closed: {fault}"));
                self.judge(&letter, report).await.unwrap_or_else(open)
            }
        };
        if let Err(fault) = self.desk.note("apply", Some(id), outcome.text()).await {
            self.fault(format!("the audit trail lacks what was done about letter {id}: {fault}"));
        }
        outcome
    }

    /// Why a letter is not taken up, where its change is so old that a later removal may be forgotten. A row that goes
    /// between this look and the write leaves a tombstone which is fresh.
    async fn refused(&self, letter: &Letter, source: &SourceName) -> Option<Outcome> {
        let change = decode_raw(letter.record.clone(), source).change;
        let created_at = change.ok().and_then(|change| change.created_at);
        if !self.desk.may_have_forgotten(&letter.head, created_at) {
            return None;
        }
        let plan = plan_letter(self.desk, letter, false).await;
        if plan.effects.iter().any(|effect| effect.verdict == Verdict::TooOld) {
            return Some(Outcome::TooOld);
        }
        let unseen = || Outcome::Unfinished(plan.cause.clone().unwrap_or_default());
        (plan.verdict == Verdict::Unfinished).then(unseen)
    }

    /// Runs the record through the pipeline, while its store is told that it is being worked on.
    async fn run(&self, letter: &Letter, pipeline: &Pipeline, source: SourceName) -> Report {
        let delivery = decode_raw(letter.record.clone(), &source);
        let batch = Batch { source, deliveries: vec![delivery] };
        let mut run = std::pin::pin!(pipeline.run(&batch, Deadline::NONE));
        loop {
            if let Err(fault) = self.desk.letters().prolong(&letter.head.id).await {
                // At worst another operator takes it up as well, and finds it stale.
                self.fault(format!("letter {} may be taken up by others: {fault}", letter.head.id));
            }
            tokio::select! {
                report = &mut run => return report,
                () = tokio::time::sleep(PROLONG_EVERY) => {}
            }
        }
    }

    /// What came of it; closes the letter if nothing of it is left.
    async fn judge(&self, letter: &Letter, report: Report) -> Result<Outcome, Fault> {
        let id = &letter.head.id;
        if let Some(fault) = report.first_fault() {
            return Ok(Outcome::Unfinished(fault.to_string()));
        }
        if report.letters.contains(id) {
            let now = self.desk.letters().load(id).await?;
            let cause = now.as_ref().and_then(|letter| letter.head.fault()).map(|it| it.causes.join(": "));
            return Ok(Outcome::Rejected(cause.unwrap_or_default()));
        }
        if report.closed.contains(id) {
            return Ok(Outcome::WasClosed);
        }
        let (state, outcome) = match (&report.letters[..], report.counts.written, report.counts.stale) {
            ([], 0, stale) if stale > 0 => (LetterState::Superseded, Outcome::Superseded),
            ([], written, _) => (LetterState::Replayed, Outcome::Replayed { written }),
            // What failed of it is safe in letters of the projections that it failed in.
            (others, ..) => (LetterState::Replayed, Outcome::Lettered(others.to_vec())),
        };
        let closed = self.desk.close(id, letter.head.edited, state, outcome.text()).await?;
        let waits = || async { Ok(self.desk.letters().state(id).await?.is_some_and(LetterState::waits)) };
        match closed || !waits().await? {
            // Closed by another hand in between, it is done all the same.
            true => Ok(outcome),
            false => Ok(Outcome::Edited),
        }
    }

    /// One less is left. What was not chosen was never counted among those.
    pub(super) fn chosen_is_taken_up(&self) {
        self.with(|applied| applied.left = applied.left.saturating_sub(1));
    }

    /// Counts and tells.
    pub(super) fn done(&self, id: &LetterId, projection: Option<&str>, outcome: Outcome) {
        if !outcome.is_done() {
            self.gate.failed();
        }
        self.with(|applied| applied.count(&outcome));
        let projection = projection.map(str::to_owned);
        (self.tell)(Progress::Letter(&Done { id: id.clone(), projection, outcome }));
    }

    /// Tells of a key that still waits, once.
    pub(super) fn still_held(&self, key: &OrderedKey, what: String) {
        let mut told = self.still_held.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(key.clone()) {
            self.with(|applied| applied.still_held += 1);
            self.fault(what);
        }
    }

    pub(super) fn fault(&self, what: String) {
        self.with(|applied| applied.faults.push(what));
    }

    pub(super) fn with(&self, change: impl FnOnce(&mut Applied)) {
        change(&mut self.applied.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
