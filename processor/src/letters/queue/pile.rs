//! The messages that were received, piled up by letter: which letters they make, and how each can be given back.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use tokio::time::Instant;

use super::message::{self, Content, Foreign, Part, PartSet};
use crate::letters::file::Filed;
use crate::letters::{Attempt, Letter, LetterHead, LetterId, history};

/// The most bytes of records that are kept at hand. The records of other letters are received again when they are
/// asked for, so a list of large letters stays small.
const RECORDS_AT_HAND: usize = 64 * 1024 * 1024;

/// What a received message is deleted, prolonged or given back by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) message: String,
    pub(super) receipt: String,
    /// From then on others may receive it.
    pub(super) until: Instant,
}

/// All that is held of a queue.
#[derive(Debug, Default)]
pub(super) struct Pile {
    letters: HashMap<LetterId, Heap>,
    /// Messages that are no letters, and why.
    strays: HashMap<String, (Handle, Foreign)>,
    /// How many bytes of records are at hand.
    at_hand: usize,
}

/// The messages of one letter.
#[derive(Debug, Default)]
pub(super) struct Heap {
    handles: HashMap<String, Handle>,
    /// The letter as each store sent it, by message or by set of parts.
    copies: BTreeMap<String, Copied>,
    sets: BTreeMap<PartSet, BTreeMap<u32, Vec<u8>>>,
    damages: Vec<String>,
    /// Whether it is being worked on: it is not given back with the others.
    pub(super) taken: bool,
}

#[derive(Debug)]
struct Copied {
    head: LetterHead,
    /// None if it is not at hand.
    records: Option<(Bytes, Option<Bytes>)>,
}

/// A letter as its messages together tell it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Merged {
    pub(super) head: LetterHead,
    /// The record and its original; none if they are not at hand.
    pub(super) records: Option<(Bytes, Option<Bytes>)>,
}

impl Pile {
    /// Adds a message; `false` if it was there. The records of a letter that is `wanted` are kept at hand in any case.
    pub(super) fn add(&mut self, handle: Handle, body: &str, wanted: Option<&LetterId>) -> bool {
        let message = handle.message.clone();
        let content = match message::content(body) {
            Ok(content) => content,
            Err(why) => return self.strays.insert(message, (handle, why)).is_none(),
        };
        let letter = match &content {
            Content::Whole(filed) => filed.letter.head.id.clone(),
            Content::Part(part) => part.letter.clone(),
        };
        let at_hand = wanted == Some(&letter) || self.at_hand < RECORDS_AT_HAND;
        let heap = self.letters.entry(letter).or_default();
        let before = heap.size();
        let new = heap.handles.insert(message.clone(), handle).is_none();
        match content {
            Content::Whole(filed) => heap.copy(message, *filed, at_hand),
            Content::Part(part) => heap.part(part, at_hand),
        }
        self.at_hand = (self.at_hand + heap.size()).saturating_sub(before);
        new
    }

    /// All whole letters' heads, and what is to be said of all else.
    pub(super) fn heads(&self) -> (Vec<LetterHead>, Vec<String>) {
        let mut wrong: Vec<String> = self
            .strays
            .iter()
            .map(|(message, (_, why))| format!("message {message} is no letter: {why}"))
            .collect();
        let mut heads = Vec::with_capacity(self.letters.len());
        for (letter, heap) in &self.letters {
            wrong.extend(heap.damages.iter().cloned());
            match heap.merged() {
                Some(merged) => heads.push(merged.head),
                None if heap.damages.is_empty() => wrong.push(heap.incomplete(letter)),
                None => {}
            }
        }
        wrong.sort_unstable();
        (heads, wrong)
    }

    /// A letter that is whole and that nobody else can have received since.
    pub(super) fn held(&mut self, letter: &LetterId, now: Instant) -> Option<(&mut Heap, Merged)> {
        let heap = self.letters.get_mut(letter)?;
        if heap.handles.values().any(|handle| handle.until <= now) {
            return None;
        }
        let merged = heap.merged()?;
        Some((heap, merged))
    }

    /// Every letter of which something is here.
    pub(super) fn ids(&self) -> Vec<LetterId> {
        self.letters.keys().cloned().collect()
    }

    /// What is wrong with a letter that is there and not whole.
    pub(super) fn wrong(&self, letter: &LetterId) -> Option<String> {
        let heap = self.letters.get(letter).filter(|heap| heap.copies.is_empty())?;
        Some(heap.damages.first().cloned().unwrap_or_else(|| heap.incomplete(letter)))
    }

    /// Forgets a letter: its handles are the caller's now.
    pub(super) fn take(&mut self, letter: &LetterId) -> Vec<Handle> {
        let Some(heap) = self.letters.remove(letter) else { return Vec::new() };
        self.at_hand = self.at_hand.saturating_sub(heap.size());
        heap.handles.into_values().collect()
    }

    /// Forgets all that is not being worked on.
    pub(super) fn take_rest(&mut self, now: Instant) -> Vec<Handle> {
        let is_taken = |heap: &Heap| heap.taken && heap.handles.values().all(|handle| handle.until > now);
        let rest: Vec<LetterId> = self
            .letters
            .iter()
            .filter(|(_, heap)| !is_taken(heap))
            .map(|(letter, _)| letter.clone())
            .collect();
        let mut handles: Vec<Handle> = rest.iter().flat_map(|letter| self.take(letter)).collect();
        handles.extend(self.strays.drain().map(|(_, (handle, _))| handle));
        handles
    }

    /// Forgets everything.
    pub(super) fn take_all(&mut self) -> Vec<Handle> {
        let Self { letters, strays, .. } = std::mem::take(self);
        let strays = strays.into_values().map(|(handle, _)| handle);
        letters.into_values().flat_map(|heap| heap.handles.into_values()).chain(strays).collect()
    }
}

impl Heap {
    /// The handles of its messages.
    pub(super) fn handles(&self) -> Vec<Handle> {
        self.handles.values().cloned().collect()
    }

    /// Its messages are ours until then.
    pub(super) fn prolonged(&mut self, until: Instant) {
        self.handles.values_mut().for_each(|handle| handle.until = until);
    }

    fn copy(&mut self, name: String, filed: Filed, at_hand: bool) {
        let Filed { letter: Letter { head, record }, original } = filed;
        self.copies.insert(name, Copied { head, records: at_hand.then_some((record, original)) });
    }

    fn part(&mut self, part: Part, at_hand: bool) {
        let Part { letter, set, part, bytes } = part;
        if self.copies.contains_key(&set.hash) {
            return;
        }
        let parts = self.sets.entry(set.clone()).or_default();
        parts.insert(part, bytes);
        if parts.len() < set.parts as usize {
            return;
        }
        let bytes: Vec<u8> = parts.values().flatten().copied().collect();
        self.sets.remove(&set);
        match message::together(&letter, &set, &bytes) {
            Ok(filed) => self.copy(set.hash, filed, at_hand),
            Err(why) => self.damages.push(format!("letter {letter}, {}, is damaged: {why}", self.messages())),
        }
    }

    /// One letter of all copies: every attempt once, the record of the latest edit, else the one stored first.
    fn merged(&self) -> Option<Merged> {
        let first = |copied: &&Copied| copied.head.first_at();
        let states = self.copies.values().map(|copied| copied.head.state);
        // What has failed is never held: open comes before held.
        let state = states.min()?;
        let edited = self.copies.values().map(|copied| copied.head.edited).max()?;
        let base = self.copies.values().filter(|copied| copied.head.edited == edited).min_by_key(first)?;
        let mut all: Vec<&Attempt> = self.copies.values().flat_map(|copied| &copied.head.attempts).collect();
        all.sort_by_key(|attempt| (attempt.at, std::cmp::Reverse(attempt.skipped)));
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut seen: Vec<&Attempt> = Vec::new();
        for attempt in all {
            // A message that was sent twice, or that an edit repeats, is no second attempt.
            seen.retain(|known| known.at == attempt.at);
            if !seen.iter().any(|known| known.fault == attempt.fault && known.causes == attempt.causes) {
                history::push(&mut attempts, attempt);
                seen.push(attempt);
            }
        }
        let head = LetterHead { state, attempts, ..base.head.clone() };
        Some(Merged { head, records: base.records.clone() })
    }

    fn incomplete(&self, letter: &LetterId) -> String {
        let parts = |(set, found): (&PartSet, &BTreeMap<u32, Vec<u8>>)| {
            format!("{} of {} parts are there", found.len(), set.parts)
        };
        let parts: Vec<String> = self.sets.iter().map(parts).collect();
        format!("letter {letter}, {}, is not whole: {}", self.messages(), parts.join(", "))
    }

    fn messages(&self) -> String {
        let mut messages: Vec<&str> = self.handles.keys().map(String::as_str).collect();
        messages.sort_unstable();
        format!("message {}", messages.join(", "))
    }

    fn size(&self) -> usize {
        let of_copy = |copied: &Copied| {
            copied
                .records
                .as_ref()
                .map_or(0, |(record, original)| record.len() + original.as_ref().map_or(0, Bytes::len))
        };
        let parts = self.sets.values().flat_map(BTreeMap::values).map(Vec::len).sum::<usize>();
        self.copies.values().map(of_copy).sum::<usize>() + parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letters::LetterState;
    use crate::outcome::{Fault, FaultKind};

    const MIB: usize = 1024 * 1024;

    fn letter(number: u64) -> Filed {
        let head = LetterHead {
            id: LetterId::from_text(&format!("{number:024x}")).unwrap(),
            state: LetterState::Open,
            source: "orders".to_owned(),
            projection: None,
            config: "c0ffee".to_owned(),
            key: None,
            digest: None,
            version: None,
            attempts: vec![Attempt::new(number, &Fault::new(FaultKind::Rejected, "no"))],
            edited: 0,
            closing: None,
        };
        let record = format!("\"{}\"", "x".repeat(MIB));
        Filed { letter: Letter { head, record: record.into() }, original: None }
    }

    fn add(pile: &mut Pile, number: u64, wanted: Option<&LetterId>) -> LetterId {
        let letter = letter(number);
        let body = message::outgoing(&letter, 2 * MIB).unwrap().remove(0).body;
        let until = Instant::now() + std::time::Duration::from_secs(60);
        let handle = Handle { message: number.to_string(), receipt: String::new(), until };
        assert!(pile.add(handle, &body, wanted));
        letter.letter.head.id
    }

    #[test]
    fn so_many_records_are_at_hand_and_the_one_that_is_wanted() {
        let mut pile = Pile::default();
        let ids: Vec<LetterId> = (0..70).map(|number| add(&mut pile, number, None)).collect();
        let wanted = letter(70).letter.head.id;
        add(&mut pile, 70, Some(&wanted));
        let now = Instant::now();
        let mut at_hand = |id| pile.held(id, now).unwrap().1.records.is_some();
        assert!(at_hand(&ids[0]) && at_hand(&wanted) && !at_hand(&ids[69]));
        assert_eq!(pile.heads().0.len(), 71);

        // What is given back makes room.
        for id in ids.iter().chain([&wanted]) {
            assert_eq!(pile.take(id).len(), 1);
        }
        assert_eq!(pile.at_hand, 0);
        let again = add(&mut pile, 69, None);
        assert!(pile.held(&again, now).unwrap().1.records.is_some());
    }

    #[test]
    fn what_others_may_have_by_now_is_not_held() {
        let mut pile = Pile::default();
        let id = add(&mut pile, 1, None);
        let later = Instant::now() + std::time::Duration::from_secs(61);
        assert!(pile.held(&id, Instant::now()).is_some() && pile.held(&id, later).is_none());
        pile.held(&id, Instant::now()).unwrap().0.taken = true;
        assert!(pile.take_rest(Instant::now()).is_empty(), "it is being worked on");
        assert_eq!(pile.take_rest(later).len(), 1);
    }
}
