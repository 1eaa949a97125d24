//! Decides that letters shall not be done. They are kept, marked, with the reason.

use millstream_processor::letters::{LetterId, LetterState};
use millstream_processor::outcome::Fault;

use crate::desk::{Desk, ordered_key};

/// What became of a letter that was to be discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discarded {
    /// It is closed.
    Done,
    /// It was closed before.
    WasClosed(LetterState),
    /// There is none of that name.
    Unknown,
}

/// Closes one letter as discarded. Where later changes of its key waited behind it alone, they may be replayed now.
pub async fn discard(desk: &Desk, id: &LetterId, reason: &str) -> Result<Discarded, Fault> {
    let Some(letter) = desk.letters().load(id).await? else { return Ok(Discarded::Unknown) };
    let head = letter.head;
    if !head.state.waits() || !desk.close(id, LetterState::Discarded, reason.to_owned()).await? {
        let now = desk.letters().load(id).await?.map_or(head.state, |letter| letter.head.state);
        return Ok(Discarded::WasClosed(now));
    }
    desk.note("discard", Some(id), reason).await?;
    let route = desk.route(&head.source, head.projection.as_deref());
    if let Some(key) = ordered_key(&route, &head) {
        let waiting = desk.waiting(&key).await?;
        if waiting.iter().all(|other| other.id == *id) {
            desk.let_go(&key, None).await?;
        }
    }
    Ok(Discarded::Done)
}
