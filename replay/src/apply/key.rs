//! Keys whose changes go out in their order: the letter that failed first, then what waits behind it, one by one.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use millstream_processor::letters::{LetterFilter, LetterHead, LetterId};
use millstream_projections::Version;

use super::letter::Worker;
use super::{Chosen, Outcome, is_follower};
use crate::keys::{Freed, OrderedKey};
use crate::plan::Pin;

/// A change that is held is stored as a letter a moment later: so often, and so long apart, is looked for it.
const LOOKS: usize = 4;
/// See [`LOOKS`].
const PAUSE: Duration = Duration::from_millis(500);

impl Worker<'_> {
    /// Works through a key until nothing of it waits and it is let go, or a letter fails.
    ///
    /// What waits behind a chosen letter goes with it, whether it was chosen itself or not: it never failed.
    pub(super) async fn in_order(&self, key: &OrderedKey, chosen: &[Chosen]) {
        let mut walk = Walk {
            key,
            chosen: chosen.iter().map(|letter| (&letter.id, letter.pin.as_ref())).collect(),
            told: HashSet::new(),
            last: None,
        };
        let mut looks = 0;
        loop {
            let waiting = match self.desk.waiting(key).await {
                Ok(waiting) => waiting,
                Err(fault) => return self.fault(fault.to_string()),
            };
            // A list that lags behind still has what was closed just now.
            let next: Vec<LetterHead> =
                waiting.into_iter().filter(|head| !walk.told.contains(&head.id)).collect();
            let lacks_first = match walk.last {
                None if !next.is_empty() => self.desk.lacks_first(key, &next).await,
                None | Some(_) => Ok(false),
            };
            match lacks_first {
                Ok(false) => {}
                Ok(true) if looks < LOOKS => {
                    looks += 1;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Ok(true) => return self.with(|applied| applied.still_held += 1),
                Err(fault) => return self.fault(fault.to_string()),
            }
            if !next.is_empty() {
                match self.walk(&mut walk, &next).await {
                    Walked::On => continue,
                    Walked::Stopped => return,
                }
            }
            match self.desk.let_go(key, walk.last.as_ref()).await {
                Ok(Freed::Free) => return,
                Ok(Freed::Waits) if looks < LOOKS => looks += 1,
                Ok(Freed::Waits) => return self.with(|applied| applied.still_held += 1),
                Err(fault) => return self.fault(fault.to_string()),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Takes up letters of a key, in their order, until one is not to be or fails.
    async fn walk(&self, walk: &mut Walk<'_>, next: &[LetterHead]) -> Walked {
        for (place, head) in next.iter().enumerate() {
            let pin = walk.chosen.get(&head.id).copied();
            if pin.is_none() && !is_follower(head) {
                self.behind(walk, &next[place..], &head.id);
                return Walked::Stopped;
            }
            if !self.gate.admit().await {
                return Walked::Stopped;
            }
            let outcome = self.letter(&head.id, pin.flatten()).await;
            let goes_on = outcome.is_done();
            walk.told.insert(head.id.clone());
            self.done(&head.id, head.projection.as_deref(), outcome);
            if !goes_on {
                self.behind(walk, &next[place + 1..], &head.id);
                return Walked::Stopped;
            }
            let version = head.version.as_deref().map(Version::from_text);
            walk.last = walk.last.take().max(version);
        }
        Walked::On
    }

    /// Tells of the chosen letters that stay behind another one.
    fn behind(&self, walk: &mut Walk<'_>, rest: &[LetterHead], first: &LetterId) {
        let chosen = rest.iter().filter(|head| head.id != *first && walk.chosen.contains_key(&head.id));
        for head in chosen {
            if walk.told.insert(head.id.clone()) {
                let outcome = Outcome::Behind(first.clone());
                self.with(|applied| applied.count(&outcome));
                let projection = Some(walk.key.projection.to_string());
                let done = super::Done { id: head.id.clone(), projection, outcome };
                (self.tell)(super::Progress::Letter(&done));
            }
        }
    }

    /// Lets go the keys that nothing waits behind any more: an apply or a discard that broke off before it could.
    pub(super) async fn free_forgotten_keys(&self, filter: &LetterFilter) {
        let wanted = |source: &_, projection: &_| {
            filter.source.as_ref().is_none_or(|it| it == source)
                && filter.projection.as_ref().is_none_or(|it| it == projection)
        };
        let keys = match self.desk.held_keys(wanted).await {
            Ok(keys) => keys,
            Err(fault) => return self.fault(fault.to_string()),
        };
        for key in keys.iter().filter(|key| filter.digest.is_none_or(|digest| digest == key.digest)) {
            let freed = match self.desk.waiting(key).await {
                Ok(waiting) if waiting.is_empty() => self.desk.let_go(key, None).await.map(drop),
                Ok(_) => Ok(()),
                Err(fault) => Err(fault),
            };
            if let Err(fault) = freed {
                self.fault(fault.to_string());
            }
        }
    }
}

/// How far a key is.
struct Walk<'a> {
    key: &'a OrderedKey,
    chosen: HashMap<&'a LetterId, Option<&'a Pin>>,
    told: HashSet<LetterId>,
    /// The latest version that is done.
    last: Option<Version>,
}

enum Walked {
    /// Everything that was listed is done.
    On,
    /// A letter failed, was not chosen, or nothing more is to start.
    Stopped,
}
