//! Gives a fault its verdict: the change becomes a letter, or it is unfinished and comes again.

use std::time::Duration;

use millstream_projections::{Projection, ProjectionName, SourceName, Version};

use crate::clock::{Clock, Deadline};
use crate::holds::{self, Holding, Holds, OrderedKey};
use crate::letters::{Attempt, Letter, LetterHead, LetterId, LetterState, LetterStore, Stored, Subject};
use crate::outcome::{Fault, FaultKind, Verdict};
use crate::retry::RetryPolicy;
use crate::source::{Delivery, DeliveryId};

/// How many letters are stored side by side.
pub const LETTERS_AT_ONCE: usize = 8;

/// What became of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The record is safe in a letter.
    Lettered(LetterId),
    /// Its letter was closed before, and stays closed: nothing is left to be done.
    Closed(LetterId),
    /// The change comes again.
    Unfinished(Fault),
}

/// Settles the faults of one batch.
pub struct Settler<'a> {
    /// Where letters are kept.
    pub letters: &'a dyn LetterStore,
    /// Which keys wait behind letters.
    pub holds: &'a dyn Holds,
    /// The time of day.
    pub clock: &'a dyn Clock,
    /// How often a letter is tried to be stored.
    pub retry: &'a RetryPolicy,
    /// How old a record may grow before a fault that may pass makes it a letter all the same.
    pub hold: Duration,
    /// The hash of the configuration.
    pub config: &'a str,
    /// Until when.
    pub deadline: Deadline,
}

impl Settler<'_> {
    /// Decides and, where a letter is due, stores it. Only a store that said so makes a letter safe.
    pub async fn settle(
        &self,
        source: &SourceName,
        delivery: &Delivery,
        projection: Option<&dyn Projection>,
        fault: Fault,
    ) -> Settled {
        if !self.is_due(delivery, &fault) {
            return Settled::Unfinished(fault);
        }
        let name = projection.map(|projection| projection.name());
        let letter = self.letter(source, delivery, name, &fault);
        let stored = match ordered(source, delivery, projection) {
            Some((key, version)) => self.store_in_order(&key, &version, &letter).await,
            None => self.store(&letter).await,
        };
        let id = letter.head.id;
        let (projection, kind) = (name.map_or("-", ProjectionName::as_str), fault.kind.as_str());
        match stored {
            Ok(Stored::Waits) => {
                tracing::warn!(letter = %id, %source, projection, fault = kind, cause = %fault, "dead letter stored");
                metrics::counter!("millstream_letters_total", "projection" => projection.to_owned(), "fault" => kind)
                    .increment(1);
                Settled::Lettered(id)
            }
            Ok(Stored::Closed(state)) => {
                let state = state.as_str();
                tracing::info!(letter = %id, %source, projection, state, cause = %fault, "its letter is closed already");
                Settled::Closed(id)
            }
            Err(lost) => {
                tracing::error!(letter = %id, %source, cause = %lost, "dead letter not stored; its record is unfinished");
                Settled::Unfinished(lost)
            }
        }
    }

    async fn store(&self, letter: &Letter) -> Result<Stored, Fault> {
        self.retry.run(self.deadline, "store a letter", || self.letters.store(letter)).await
    }

    /// Stores a letter of a key whose order is kept: holds, stores, touches, as [`holds`] says why. What comes again after
    /// its letter was closed is done: its event is out, or shall not be.
    async fn store_in_order(
        &self,
        key: &OrderedKey,
        version: &Version,
        letter: &Letter,
    ) -> Result<Stored, Fault> {
        let id = &letter.head.id;
        if let Some(state) = self.closed(id).await? {
            self.let_go(key).await?;
            return Ok(Stored::Closed(state));
        }
        if self.hold(key, version, letter.head.state == LetterState::Held).await? == Holding::LetGo {
            let cause = "the key was let go meanwhile: the change comes again";
            return Err(Fault::new(FaultKind::Conflict, cause));
        }
        let stored = self.store(letter).await?;
        if stored != Stored::Waits {
            // Closed since it was looked at, maybe before the key was held.
            self.let_go(key).await?;
            return Ok(stored);
        }
        let touch = || self.holds.touch(key, version);
        match self.retry.run(self.deadline, "touch a held key", touch).await? {
            Holding::Held => return Ok(stored),
            Holding::LetGo => {}
        }
        if self.closed(id).await?.is_none() {
            self.hold(key, version, false).await?;
            if self.closed(id).await?.is_some() {
                self.let_go(key).await?;
            }
        }
        Ok(stored)
    }

    async fn closed(&self, id: &LetterId) -> Result<Option<LetterState>, Fault> {
        self.retry.run(self.deadline, "look at a letter", || holds::closed(self.letters, id)).await
    }

    async fn hold(&self, key: &OrderedKey, version: &Version, behind: bool) -> Result<Holding, Fault> {
        let at = self.clock.unix_seconds();
        let hold = || self.holds.hold(key, version, behind, at);
        self.retry.run(self.deadline, "hold a key", hold).await
    }

    async fn let_go(&self, key: &OrderedKey) -> Result<(), Fault> {
        let let_go = || holds::let_go(self.holds, self.letters, key);
        self.retry.run(self.deadline, "let a key go", let_go).await.map(drop)
    }

    fn is_due(&self, delivery: &Delivery, fault: &Fault) -> bool {
        let is_old = || self.age(delivery).is_some_and(|age| age >= self.hold);
        match (fault.kind.verdict(), &delivery.id) {
            (Verdict::Letter, _) => true,
            // A stream forgets a record after 24 h, done or not: before that what may pass becomes a letter, and what never
            // gets its turn as well. A queue forgets nothing for the age of what its messages speak of.
            (Verdict::Retry, DeliveryId::Sequence(_)) => is_old(),
            (Verdict::Unfinished, DeliveryId::Sequence(_)) => fault.kind == FaultKind::OutOfTime && is_old(),
            // A topic asks a function two more times, minutes apart, and then forgets.
            (Verdict::Retry, DeliveryId::Notification(_)) => true,
            (Verdict::Unfinished, DeliveryId::Notification(_)) => false,
            (Verdict::Retry | Verdict::Unfinished, DeliveryId::Message { .. }) => false,
        }
    }

    fn age(&self, delivery: &Delivery) -> Option<Duration> {
        let created_at = delivery.change.as_ref().ok()?.created_at?;
        Some(Duration::from_secs(self.clock.unix_seconds().saturating_sub(created_at)))
    }

    fn letter(
        &self,
        source: &SourceName,
        delivery: &Delivery,
        projection: Option<&ProjectionName>,
        fault: &Fault,
    ) -> Letter {
        let record = delivery.raw.json();
        let subject = delivery.change.as_ref().ok().and_then(Subject::of);
        let head = LetterHead {
            id: LetterId::of_delivery(source, projection, delivery),
            state: if fault.kind == FaultKind::Held { LetterState::Held } else { LetterState::Open },
            source: source.to_string(),
            projection: projection.map(ToString::to_string),
            config: self.config.to_owned(),
            key: subject.as_ref().map(|subject| subject.key.clone()),
            digest: subject.as_ref().map(|subject| subject.digest.to_string()),
            version: subject.as_ref().map(|subject| subject.version.to_string()),
            attempts: vec![Attempt::new(self.clock.unix_seconds(), fault)],
            edited: 0,
            closing: None,
        };
        Letter { head, record }
    }
}

/// What is to be held where the letter of a delivery is about a key whose order is kept.
fn ordered(
    source: &SourceName,
    delivery: &Delivery,
    projection: Option<&dyn Projection>,
) -> Option<(OrderedKey, Version)> {
    let projection = projection.filter(|projection| projection.keeps_order())?.name().clone();
    let change = delivery.change.as_ref().ok()?;
    let key = OrderedKey { source: source.clone(), projection, digest: change.digest().ok()? };
    Some((key, change.version.clone()))
}

impl LetterId {
    /// The id of whatever letter a delivery becomes.
    pub fn of_delivery(
        source: &SourceName,
        projection: Option<&ProjectionName>,
        delivery: &Delivery,
    ) -> Self {
        match delivery.change.as_ref().ok().and_then(Subject::of) {
            Some(subject) => Self::of_change(source, projection, subject.digest, &subject.version),
            // Nothing is known of the change but the record itself.
            None => Self::of(source, projection, &delivery.raw.json()),
        }
    }
}

impl Subject {
    fn of(change: &millstream_projections::Change) -> Option<Self> {
        let key =
            change.keys.item().ok()?.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Some(Self { key, digest: change.digest().ok()?, version: change.version.clone() })
    }
}
