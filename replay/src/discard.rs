//! Decides that letters shall not be done. They are kept, marked, with the reason.

use millstream_processor::letters::{LetterHead, LetterId, LetterState};
use millstream_processor::outcome::{Fault, FaultKind};

use crate::desk::{Desk, ordered_key};

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
/// it is a change like any other: there is no letter that could say otherwise.
pub async fn discard(desk: &Desk, id: &LetterId, reason: &str) -> Result<Discarded, Fault> {
    for _ in 0..ROUNDS {
        let Some(head) = desk.letters().load(id).await?.map(|letter| letter.head) else {
            return absent(desk, id, reason).await;
        };
        let discarded = match head.state.waits() {
            false => Discarded::WasClosed(head.state),
            true => match desk.close(id, head.edited, LetterState::Discarded, reason.to_owned()).await? {
                true => {
                    desk.note("discard", Some(id), reason).await?;
                    Discarded::Done
                }
                // Closed or edited meanwhile: look at it again.
                false => continue,
            },
        };
        free_key(desk, &head).await?;
        return Ok(discarded);
    }
    Err(Fault::new(FaultKind::Conflict, format!("letter {id}: others keep changing it")))
}

/// Lets the letter's key go if this was the last that waited.
async fn free_key(desk: &Desk, head: &LetterHead) -> Result<(), Fault> {
    let route = desk.route(&head.source, head.projection.as_deref());
    match ordered_key(&route, head) {
        Some(key) => desk.let_go(&key).await.map(drop),
        None => Ok(()),
    }
}

/// A letter that is not there: closed in a store that does not keep it, or held and never stored.
async fn absent(desk: &Desk, id: &LetterId, reason: &str) -> Result<Discarded, Fault> {
    let held = desk.held_by_name(id).await?;
    let closed = desk.letters().closed(id).await?;
    let Some((key, version)) = held else {
        return Ok(closed.map_or(Discarded::Unknown, Discarded::WasClosed));
    };
    if let Some(state) = closed {
        desk.let_go(&key).await?;
        return Ok(Discarded::WasClosed(state));
    }
    if !desk.forget_absent(&key, &version).await? {
        let cause = format!("letter {id} has come, or was discarded, in this moment: look at it again");
        return Err(Fault::new(FaultKind::Conflict, cause));
    }
    let result = format!(
        "{reason}; the letter was not there: key {} of projection {} no longer waits for version {version}",
        key.digest, key.projection
    );
    desk.note("discard", Some(id), result).await?;
    desk.let_go(&key).await?;
    Ok(Discarded::Done)
}
