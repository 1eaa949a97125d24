//! The order of keys within one batch, for projections that keep one: what has to wait behind a letter.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use millstream_projections::{KeyDigest, Projection, Version};

use crate::clock::Deadline;
use crate::holds::{self, Held, Holds, OrderedKey};
use crate::letters::LetterStore;
use crate::outcome::{Fault, FaultKind, Verdict};
use crate::retry::RetryPolicy;
use crate::source::Batch;

/// What has to wait, as far as is known before the batch, and as the batch itself shows.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// By projection: why its held keys are not known.
    unknown: HashMap<usize, Fault>,
    held: HashMap<(usize, KeyDigest), Held>,
    /// Held keys whose first letter is closed: that change has had its turn.
    past: HashSet<(usize, KeyDigest)>,
    /// Keys of which this batch brought a change that could not be projected: since which version, and what that means
    /// for every later one.
    stopped: HashMap<(usize, KeyDigest), (Version, Fault)>,
}

impl Order {
    /// Reads which keys of the batch are held: one request a projection that keeps an order, one a held key, and one for
    /// its first letter where that is a change of this batch.
    pub(crate) async fn read(
        holds: &dyn Holds,
        letters: &dyn LetterStore,
        retry: &RetryPolicy,
        deadline: Deadline,
        batch: &Batch,
        projections: &[Arc<dyn Projection>],
    ) -> Self {
        let mut order = Self::default();
        for (number, projection) in projections.iter().enumerate().filter(|(_, it)| it.keeps_order()) {
            let read = async {
                let name = projection.name();
                let keys = retry.run(deadline, "read held keys", || holds.keys(name)).await?;
                let present = if keys.is_empty() { HashMap::new() } else { present(batch, &keys) };
                for (digest, versions) in present {
                    let key = OrderedKey { source: batch.source.clone(), projection: name.clone(), digest };
                    let look = || holds.look(&key);
                    let Some(held) = retry.run(deadline, "read a held key", look).await? else { continue };
                    if versions.contains(&held.first) {
                        let id = key.letter(&held.first);
                        let closed = || holds::closed(letters, &id);
                        if retry.run(deadline, "look at a letter", closed).await?.is_some() {
                            order.past.insert((number, digest));
                        }
                    }
                    order.held.insert((number, digest), held);
                }
                Ok(())
            };
            if let Err(fault) = read.await {
                order.unknown.insert(number, fault);
            }
        }
        order
    }

    /// Whether a change may be tried now; else why it has to wait.
    pub(crate) fn admit(&self, projection: usize, key: KeyDigest, version: &Version) -> Result<(), Fault> {
        if let Some(fault) = self.unknown.get(&projection) {
            return Err(fault.clone());
        }
        let waits = |held: &Held| match version.cmp(&held.first) {
            Ordering::Less => false,
            Ordering::Equal => self.past.contains(&(projection, key)),
            Ordering::Greater => true,
        };
        if self.held.get(&(projection, key)).is_some_and(waits) {
            return Err(held());
        }
        match self.stopped.get(&(projection, key)) {
            Some((since, fault)) if version > since => Err(fault.clone()),
            Some(_) | None => Ok(()),
        }
    }

    /// Lets everything later of the key wait: behind a letter, or with it if it comes again.
    pub(crate) fn stop(&mut self, projection: usize, key: KeyDigest, version: &Version, fault: &Fault) {
        let later = match fault.kind.verdict() {
            Verdict::Letter => held(),
            Verdict::Retry | Verdict::Unfinished => fault.clone(),
        };
        self.stopped.entry((projection, key)).or_insert_with(|| (version.clone(), later));
    }

    /// Whether no key of the batch was held before it.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether the change is the one whose letter the key is held for, and which may be tried again.
    pub(crate) fn is_first_held(&self, projection: usize, key: KeyDigest, version: &Version) -> bool {
        let is_past = self.past.contains(&(projection, key));
        !is_past && self.held.get(&(projection, key)).is_some_and(|held| *version == held.first)
    }
}

/// Why a change waits that has nothing wrong with it.
pub(crate) fn held() -> Fault {
    Fault::new(FaultKind::Held, "an earlier change of this key is a letter: this one waits behind it")
}

/// The held keys that the batch has changes of, with their versions.
fn present<'a>(batch: &'a Batch, keys: &HashSet<KeyDigest>) -> HashMap<KeyDigest, HashSet<&'a Version>> {
    let mut present: HashMap<KeyDigest, HashSet<&Version>> = HashMap::new();
    for change in batch.deliveries.iter().filter_map(|delivery| delivery.change.as_ref().ok()) {
        if let Some(key) = change.digest().ok().filter(|key| keys.contains(key)) {
            present.entry(key).or_default().insert(&change.version);
        }
    }
    present
}
