//! Gives a fault its verdict: the change becomes a letter, or it is unfinished and comes again.

use std::time::Duration;

use millstream_projections::{Projection, ProjectionName, SourceName};

use crate::clock::{Clock, Deadline};
use crate::holds::{Holding, Holds};
use crate::letters::{Attempt, Letter, LetterHead, LetterId, LetterState, LetterStore, Subject};
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
    ///
    /// In a projection that keeps an order the key is held first: were it the other way round, a crash in between would
    /// leave a letter that nothing waits behind.
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
        if let Some(projection) = projection
            && let Err(unfinished) = self.hold(delivery, projection, &fault).await
        {
            return Settled::Unfinished(unfinished);
        }
        let projection = projection.map(|projection| projection.name());
        let letter = self.letter(source, delivery, projection, &fault);
        let stored = self.retry.run(self.deadline, "store a letter", || self.letters.store(&letter)).await;
        let id = letter.head.id;
        match stored {
            Ok(()) => {
                let projection = projection.map_or("-", ProjectionName::as_str);
                let fault_kind = fault.kind.as_str();
                tracing::warn!(letter = %id, %source, projection, fault = fault_kind, cause = %fault, "dead letter stored");
                metrics::counter!("millstream_letters_total", "projection" => projection.to_owned(), "fault" => fault_kind)
                    .increment(1);
                Settled::Lettered(id)
            }
            Err(lost) => {
                tracing::error!(letter = %id, %source, cause = %lost, "dead letter not stored; its record is unfinished");
                Settled::Unfinished(lost)
            }
        }
    }

    async fn hold(
        &self,
        delivery: &Delivery,
        projection: &dyn Projection,
        fault: &Fault,
    ) -> Result<(), Fault> {
        let Some(subject) = delivery.change.as_ref().ok().and_then(Subject::of) else { return Ok(()) };
        if !projection.keeps_order() {
            return Ok(());
        }
        let (name, behind) = (projection.name(), fault.kind == FaultKind::Held);
        let hold = || self.holds.hold(name, subject.digest, &subject.version, behind);
        match self.retry.run(self.deadline, "hold a key", hold).await? {
            Holding::Held => Ok(()),
            Holding::LetGo => {
                Err(Fault::new(FaultKind::Conflict, "the key was let go meanwhile: the change comes again"))
            }
        }
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
