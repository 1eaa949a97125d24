//! Where letters of a queue stand.

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::QueueLetters;
use super::inbox::Visit;
use super::pile::Pile;
use crate::letters::{LetterId, LetterState, STATES_AT_ONCE};
use crate::outcome::Fault;

impl QueueLetters {
    pub(super) async fn state_of(&self, id: &LetterId) -> Result<Option<LetterState>, Fault> {
        if let Some(closed) = self.closed.state(id).await? {
            return Ok(Some(closed));
        }
        let visit = Visit::begin(self.inbox.clone());
        let found = self.hold(id, false).await;
        visit.end().await;
        Ok(found?.map(|merged| merged.head.state))
    }

    /// One visit and one sweep for all of them.
    pub(super) async fn states_of(&self, ids: &[LetterId]) -> Result<Vec<Option<LetterState>>, Fault> {
        let visit = Visit::begin(self.inbox.clone());
        let states = self.states_held(ids).await;
        visit.end().await;
        states
    }

    /// Deletes what is left of letters that are closed, of all that was received.
    pub(super) async fn delete_closed(&self) -> Result<(), Fault> {
        let ids = self.inbox.pile().ids();
        let states = self.closed_states(&ids).await?;
        let closed = ids.iter().zip(states).filter(|(_, state)| state.is_some());
        let rest: Vec<_> = closed.flat_map(|(id, _)| self.inbox.pile().take(id)).collect();
        self.inbox.delete(&rest).await
    }

    /// How each letter was closed, if it was.
    async fn closed_states(&self, ids: &[LetterId]) -> Result<Vec<Option<LetterState>>, Fault> {
        // Collected first: a stream over a borrowing iterator is not general enough for the futures of a worker.
        let looks: Vec<_> = ids.iter().map(|id| self.closed.state(id)).collect();
        stream::iter(looks).buffered(STATES_AT_ONCE).try_collect().await
    }

    async fn states_held(&self, ids: &[LetterId]) -> Result<Vec<Option<LetterState>>, Fault> {
        let mut states = self.closed_states(ids).await?;
        let is_there = |pile: &mut Pile| {
            let mut open = ids.iter().zip(&states).filter(|(_, state)| state.is_none());
            open.all(|(id, _)| pile.held(id, Instant::now()).is_some())
        };
        self.inbox.sweep(None, is_there).await?;
        let mut pile = self.inbox.pile();
        for (id, state) in ids.iter().zip(&mut states).filter(|(_, state)| state.is_none()) {
            *state = pile.held(id, Instant::now()).map(|(_, merged)| merged.head.state);
            if state.is_none()
                && let Some(what) = pile.wrong(id)
            {
                return Err(self.damaged(&what));
            }
        }
        Ok(states)
    }
}
