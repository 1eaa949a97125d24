//! Keys whose changes go out in their order: the letter that failed first, then what waits behind it, one by one.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use millstream_processor::holds::Freed;
use millstream_processor::letters::{LetterFilter, LetterId};
use millstream_processor::outcome::Fault;
use millstream_projections::Version;

use super::letter::Worker;
use super::{Chosen, Outcome};
use crate::keys::{OrderedKey, Turn};
use crate::plan::Pin;

/// A change is held a moment before its letter is stored: so often, and so long apart, is looked for it.
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
        };
        let mut looks = 0;
        loop {
            let waiting = match self.desk.waiting(key).await {
                Ok(waiting) => waiting,
                Err(fault) => return self.fault(fault.to_string()),
            };
            let next = walk.next(waiting, chosen);
            let why = match self.walk(&mut walk, &next).await {
                Walked::Stopped => return,
                Walked::On if !next.is_empty() => continue,
                Walked::On => match self.desk.let_go(key).await {
                    Ok(Freed::Free) => return,
                    Ok(Freed::Waits) => None,
                    Err(fault) => return self.fault(fault.to_string()),
                },
                Walked::Lacks(place) => Some(place),
            };
            if looks == LOOKS {
                if let Some(place) = why {
                    self.behind(&mut walk, &next[place..], &next[place].id);
                }
                return self.still_waits(key).await;
            }
            looks += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Takes up letters of a key, in their order, until one is not to be or fails.
    async fn walk(&self, walk: &mut Walk<'_>, next: &[Turn]) -> Walked {
        for (place, turn) in next.iter().enumerate() {
            let pin = walk.chosen.get(&turn.id).copied();
            if pin.is_none() && turn.state.is_none() {
                return Walked::Lacks(place);
            }
            if pin.is_none() && !turn.is_follower() {
                self.behind(walk, &next[place..], &turn.id);
                return Walked::Stopped;
            }
            if !self.gate.admit().await {
                let followers =
                    next[place..].iter().filter(|turn| !walk.chosen.contains_key(&turn.id)).count();
                self.with(|applied| applied.left += followers as u64);
                return Walked::Stopped;
            }
            let outcome = self.letter(&turn.id, pin.flatten()).await;
            let goes_on = outcome.is_done();
            walk.told.insert(turn.id.clone());
            if pin.is_some() {
                self.chosen_is_taken_up();
            }
            self.done(&turn.id, Some(walk.key.projection.as_str()), outcome);
            if !goes_on {
                self.behind(walk, &next[place + 1..], &turn.id);
                return Walked::Stopped;
            }
        }
        Walked::On
    }

    /// Tells of the chosen letters that stay behind another one.
    fn behind(&self, walk: &mut Walk<'_>, rest: &[Turn], first: &LetterId) {
        let chosen = rest.iter().filter(|turn| turn.id != *first && walk.chosen.contains_key(&turn.id));
        for turn in chosen {
            if walk.told.insert(turn.id.clone()) {
                let outcome = Outcome::Behind(first.clone());
                self.with(|applied| applied.count(&outcome));
                self.chosen_is_taken_up();
                let projection = Some(walk.key.projection.to_string());
                let done = super::Done { id: turn.id.clone(), projection, outcome };
                (self.tell)(super::Progress::Letter(&done));
            }
        }
    }

    /// Tells why a key still waits of which nothing can be replayed.
    async fn still_waits(&self, key: &OrderedKey) {
        let told = match self.desk.lacking(key).await {
            Ok(Some(lacking)) => lacking.text(),
            Ok(None) => {
                let OrderedKey { projection, digest, .. } = key;
                format!(
                    "key {digest} of projection {projection} still waits: others are at work on it; apply again"
                )
            }
            Err(fault) => return self.fault(fault.to_string()),
        };
        self.still_held(key, told);
    }

    /// Lets go the keys that nothing waits behind any more: an apply or a discard that broke off before it could. Tells of
    /// those that wait for letters which are not there.
    pub(super) async fn free_forgotten_keys(&self, filter: &LetterFilter) {
        let mut keys = match self.desk.held_keys(filter).await {
            Ok(keys) => keys,
            Err(fault) => return self.fault(fault.to_string()),
        };
        for look in 0..=LOOKS {
            let mut lacking = Vec::new();
            for key in keys {
                match self.freed_or_waits(&key).await {
                    Ok(true) => {}
                    Ok(false) => lacking.push(key),
                    Err(fault) => self.fault(fault.to_string()),
                }
            }
            keys = lacking;
            if keys.is_empty() || look == LOOKS {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        for key in &keys {
            self.still_waits(key).await;
        }
    }

    /// Lets a key go if nothing of it waits; `false` if a letter of it is not there, or others are at work on it.
    async fn freed_or_waits(&self, key: &OrderedKey) -> Result<bool, Fault> {
        let Some(held) = self.desk.held(key).await? else { return Ok(true) };
        let turns = self.desk.turns(key, &held).await?;
        match turns.is_empty() {
            true => Ok(self.desk.let_go(key).await? == Freed::Free),
            false => Ok(turns.iter().all(|turn| turn.state.is_some())),
        }
    }
}

/// How far a key is.
struct Walk<'a> {
    key: &'a OrderedKey,
    chosen: HashMap<&'a LetterId, Option<&'a Pin>>,
    told: HashSet<LetterId>,
}

impl Walk<'_> {
    /// What is to be taken up next: what waits, and what was chosen beside it, in the order of the versions.
    fn next(&self, waiting: Vec<Turn>, chosen: &[Chosen]) -> Vec<Turn> {
        let known: HashSet<LetterId> = waiting.iter().map(|turn| turn.id.clone()).collect();
        let beside = chosen.iter().filter(|letter| !known.contains(&letter.id)).map(|letter| Turn {
            id: letter.id.clone(),
            version: letter.version.as_deref().map(Version::from_text),
            // Whether it still waits is seen when it is taken up.
            state: None,
        });
        // A list that lags behind still has what was closed just now.
        let mut next: Vec<Turn> =
            waiting.into_iter().chain(beside).filter(|turn| !self.told.contains(&turn.id)).collect();
        next.sort_by(|a, b| a.version.cmp(&b.version));
        next
    }
}

enum Walked {
    /// Everything that waited is done.
    On,
    /// A letter failed, was not chosen, or nothing more is to start.
    Stopped,
    /// The letter at this place is not there. Nothing later may go before it.
    Lacks(usize),
}
