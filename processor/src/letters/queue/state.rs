//! Where letters of a queue stand.

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::QueueLetters;
use super::inbox::Visit;
use super::pile::Pile;
use crate::clock::Deadline;
use crate::letters::{LetterId, LetterState, STATES_AT_ONCE, reads};
use crate::outcome::Fault;
use crate::sink::fault::fault;

/// The messages that can be received, those that someone has received, and those that come later.
const MESSAGES: [QueueAttributeName; 3] = [
    QueueAttributeName::ApproximateNumberOfMessages,
    QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    QueueAttributeName::ApproximateNumberOfMessagesDelayed,
];

impl QueueLetters {
    /// About how many messages there are: to look at them is to take them out of others' sight.
    pub(super) async fn messages(&self) -> Result<u64, Fault> {
        let doing = || format!("count the messages of queue {}", self.url);
        let ask = || async {
            let request = self.client.get_queue_attributes().queue_url(&*self.url);
            let sent = request.set_attribute_names(Some(MESSAGES.to_vec())).send().await;
            sent.map_err(|error| fault(doing(), &error))
        };
        let answer = reads().run(Deadline::NONE, "count letters", ask).await?;
        let count = |name| answer.attributes()?.get(name)?.parse::<u64>().ok();
        Ok(MESSAGES.iter().filter_map(count).sum())
    }

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
