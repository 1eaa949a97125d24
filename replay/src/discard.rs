//! Decides that letters shall not be done. They are kept, marked, with the reason.

use millstream_processor::letters::{LetterHead, LetterId, LetterState};
use millstream_processor::outcome::{Fault, FaultKind};
use millstream_projections::Version;

use crate::desk::{Desk, ordered_key};
use crate::keys::OrderedKey;

/// How often a letter is closed anew that others edit in the same moment.
const ROUNDS: usize = 4;

/// What became of a letter that was to be discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discarded {
    /// It is closed. Or it was not there, and its key does not wait for it any more.
    Done,
    /// It was closed before.
    WasClosed(LetterState),
    /// There is none of that name, and no key waits for one.
    Unknown,
}

/// Closes one letter as discarded, whatever it was edited to. Where later changes of its key waited behind it alone, they
/// may be replayed now; where nothing of its key waits any more, the key is free at once.
///
/// The letter need not be there, if a key is held for it ([`Desk::lacking_keys`]). Should its change come all the same,
/// it is a change like any other: there is no letter that could say otherwise. Where the letter may be in someone else's
/// hands, it is closed unseen.
pub async fn discard(desk: &Desk, id: &LetterId, reason: &str) -> Result<Discarded, Fault> {
    let mut tried = false;
    for _ in 0..ROUNDS {
        let Some(head) = desk.letters().load(id).await?.map(|letter| letter.head) else {
            return absent(desk, id, reason, tried).await;
        };
        let done = match head.state.waits() {
            true => desk.close(id, head.edited, LetterState::Discarded, reason.to_owned()).await?,
            // A closing whose answer was lost is found out here, and is no one else's.
            false => tried && is_ours(desk, &head, reason),
        };
        if head.state.waits() && !done {
            // Closed or edited meanwhile: look at it again.
            tried = true;
            continue;
        }
        let noted = match done {
            true => desk.note("discard", Some(id), reason).await,
            false => Ok(()),
        };
        // Whether it can be noted or not: it is closed, and its key need not wait.
        free_key(desk, &head).await?;
        noted?;
        return Ok(if done { Discarded::Done } else { Discarded::WasClosed(head.state) });
    }
    Err(Fault::new(FaultKind::Conflict, format!("letter {id}: others keep changing it")))
}

/// Whether a closed letter was discarded from this desk, for this reason.
fn is_ours(desk: &Desk, head: &LetterHead, reason: &str) -> bool {
    head.closing.as_ref().is_some_and(|closing| {
        closing.state == LetterState::Discarded && closing.by == desk.by && closing.reason == reason
    })
}

/// Lets the letter's key go if this was the last that waited.
async fn free_key(desk: &Desk, head: &LetterHead) -> Result<(), Fault> {
    let route = desk.route(&head.source, head.projection.as_deref());
    match ordered_key(&route, head) {
        Some(key) => desk.let_go(&key).await.map(drop),
        None => Ok(()),
    }
}

/// A letter that is not there: closed in a store that does not keep it, or held and never stored. Or it is in someone
/// else's hands. `tried`: its closing was tried, and what came of it is not known.
async fn absent(desk: &Desk, id: &LetterId, reason: &str, tried: bool) -> Result<Discarded, Fault> {
    let held = desk.held_by_name(id).await?;
    let closed = desk.letters().closed(id).await?;
    if let Some(state) = closed {
        let done = tried && state == LetterState::Discarded;
        let noted = if done { desk.note("discard", Some(id), reason).await } else { Ok(()) };
        if let Some((key, _)) = held {
            desk.let_go(&key).await?;
        }
        noted?;
        return Ok(if done { Discarded::Done } else { Discarded::WasClosed(state) });
    }
    let Some((key, version)) = held else { return Ok(Discarded::Unknown) };
    let what = if desk.letters().knows_absence() {
        forget(desk, id, &key, &version).await?;
        "was not there"
    } else {
        if let Some(state) = close_unseen(desk, id, reason).await? {
            desk.let_go(&key).await?;
            return Ok(Discarded::WasClosed(state));
        }
        "was not there, or in someone else's hands"
    };
    let OrderedKey { projection, digest, .. } = &key;
    let result = format!(
        "{reason}; the letter {what}: key {digest} of projection {projection} no longer waits for version {version}"
    );
    let noted = desk.note("discard", Some(id), result).await;
    desk.let_go(&key).await?;
    noted?;
    Ok(Discarded::Done)
}

/// Takes a version out whose letter is not there.
async fn forget(desk: &Desk, id: &LetterId, key: &OrderedKey, version: &Version) -> Result<(), Fault> {
    if desk.forget_absent(key, version).await? {
        return Ok(());
    }
    // That it was taken out is found out here where the answer was lost.
    let is_held = desk.held(key).await?.is_some_and(|held| held.contains(version));
    match is_held || desk.letters().state(id).await?.is_some() {
        false => Ok(()),
        true => {
            let cause = format!("letter {id} has come, or was discarded, in this moment: look at it again");
            Err(Fault::new(FaultKind::Conflict, cause))
        }
    }
}

/// Closes a letter that may be in someone else's hands: should it turn up, it is closed. Gives how another hand closed it
/// in the same moment; two that discard it are of one mind.
async fn close_unseen(desk: &Desk, id: &LetterId, reason: &str) -> Result<Option<LetterState>, Fault> {
    let closing = desk.closing(LetterState::Discarded, reason.to_owned());
    let close = || desk.letters().close_unseen(id, &closing);
    match desk.retried("close a letter", close).await? {
        true => Ok(None),
        false => Ok(desk.letters().closed(id).await?.filter(|state| *state != LetterState::Discarded)),
    }
}
