//! What became of a batch, and what the host may forget of it.

use std::collections::HashSet;

use millstream_projections::version::SequenceNumber;

use crate::letters::LetterId;
use crate::outcome::Fault;
use crate::source::{Delivery, DeliveryId};

/// What became of one batch.
#[derive(Debug, Default)]
pub struct Report {
    /// One for each delivery, in their order: why it is unfinished, or `None` if it is done.
    pub unfinished: Vec<Option<Fault>>,
    /// The letters that were stored.
    pub letters: Vec<LetterId>,
    /// The letters that were closed before, and stay closed although their changes failed again.
    pub closed: Vec<LetterId>,
    /// What was written and what was saved.
    pub counts: Counts,
}

/// What a batch cost and what it saved.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Rows and events written.
    pub written: u64,
    /// Writes that the target had already, or something newer.
    pub stale: u64,
    /// Effects that a newer one of the same batch stood for.
    pub coalesced: u64,
}

impl Report {
    /// The fault of the first unfinished delivery, if there is one.
    pub fn first_fault(&self) -> Option<&Fault> {
        self.unfinished.iter().flatten().next()
    }

    /// For a stream: the lowest unfinished sequence number, exactly as it came. What is below it may be forgotten.
    pub fn lowest_unfinished<'a>(&self, deliveries: &'a [Delivery]) -> Option<&'a str> {
        let sequences = self.unfinished_of(deliveries).filter_map(|delivery| match &delivery.id {
            DeliveryId::Sequence(sequence) => Some(sequence.as_str()),
            DeliveryId::Message { .. } | DeliveryId::Notification(_) => None,
        });
        // Compared as numbers; what is no number was refused when it was decoded.
        sequences.min_by_key(|sequence| {
            SequenceNumber::new(sequence).ok().map(|padded| padded.as_str().to_owned())
        })
    }

    /// For a queue: each unfinished message, and of a FIFO group also every message after its first unfinished one.
    pub fn unfinished_messages<'a>(&self, deliveries: &'a [Delivery]) -> Vec<&'a str> {
        let messages = deliveries.iter().zip(self.goes_back(deliveries)).filter(|(_, back)| *back);
        let id = |delivery: &'a Delivery| match &delivery.id {
            DeliveryId::Message { id, .. } => Some(id.as_str()),
            DeliveryId::Sequence(_) | DeliveryId::Notification(_) => None,
        };
        messages.filter_map(|(delivery, _)| id(delivery)).collect()
    }

    /// For a queue: whether each delivery goes back, in their order, as [`unfinished_messages`](Self::unfinished_messages)
    /// names them.
    pub fn goes_back(&self, deliveries: &[Delivery]) -> Vec<bool> {
        let mut held_groups = HashSet::new();
        let mut all = Vec::with_capacity(deliveries.len());
        for (delivery, fault) in deliveries.iter().zip(&self.unfinished) {
            let group = match &delivery.id {
                DeliveryId::Message { group, .. } => group.as_deref(),
                DeliveryId::Sequence(_) | DeliveryId::Notification(_) => None,
            };
            let goes_back = fault.is_some() || group.is_some_and(|group| held_groups.contains(group));
            if goes_back {
                held_groups.extend(group);
            }
            all.push(goes_back);
        }
        all
    }

    /// The deliveries that are not done.
    pub fn unfinished_of<'a>(&self, deliveries: &'a [Delivery]) -> impl Iterator<Item = &'a Delivery> {
        deliveries
            .iter()
            .zip(&self.unfinished)
            .filter_map(|(delivery, fault)| fault.is_some().then_some(delivery))
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.stale += other.stale;
        self.coalesced += other.coalesced;
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        let mut total = Self::default();
        counts.for_each(|counts| total += counts);
        total
    }
}
