//! What changes a letter's head: storing, closing and editing. Each reads the head, and writes if it still stands so.

use bytes::Bytes;

use super::rows;
use super::{MAX_ROUNDS, TableLetters, history, is_condition};
use crate::letters::{Closing, Letter, LetterId, LetterState, Stored};
use crate::outcome::Fault;
use crate::sink::fault::fault;

impl TableLetters {
    pub(super) async fn store_letter(&self, letter: &Letter) -> Result<Stored, Fault> {
        let id = &letter.head.id;
        for _ in 0..MAX_ROUNDS {
            let found = self.standing(id).await?;
            let stored = rows::becomes(letter.head.state, found.as_ref(), self.clock.unix_seconds());
            if letter.head.state == LetterState::Held && stored != Stored::Waits {
                return Ok(stored);
            }
            let expires = letter.head.last_at().saturating_add(self.keep.as_secs());
            let expires = found.as_ref().map_or(expires, |found| found.expires.max(expires));
            let kept = match found.as_ref().and_then(|found| found.record.as_ref()) {
                Some(place) => self.keep_record(id, place, expires).await?,
                None => false,
            };
            if let Some(original) = found.as_ref().and_then(|found| found.original.as_ref()) {
                self.keep_record(id, original, expires).await?;
            }
            let place = if kept { None } else { Some(self.put_record(id, &letter.record, expires).await?) };
            let update = rows::store(letter, found.as_ref(), stored, place.as_ref(), expires)
                .map_err(|why| self.damaged(id.as_str(), &why))?;
            if self.update_head("store", id, update).await? {
                return Ok(stored);
            }
            // Its history is full, or it was changed meanwhile.
            self.trim(id, rows::room(letter, found.as_ref())).await?;
        }
        Err(self.contended("store", id))
    }

    pub(super) async fn close_letter(
        &self,
        id: &LetterId,
        seen: u32,
        closing: &Closing,
    ) -> Result<bool, Fault> {
        let update = rows::close(closing, seen, self.clock.unix_seconds());
        let update = update.map_err(|why| self.damaged(id.as_str(), &why))?;
        self.update_head("close", id, update).await
    }

    pub(super) async fn edit_letter(&self, id: &LetterId, seen: u32, record: &Bytes) -> Result<bool, Fault> {
        for _ in 0..MAX_ROUNDS {
            let Some(found) = self.standing(id).await? else { return Ok(false) };
            let gone = found.expires <= self.clock.unix_seconds();
            if gone || !found.state.waits() || found.edited != seen {
                return Ok(false);
            }
            let was = found.record.as_ref();
            let was = was.ok_or_else(|| self.damaged(id.as_str(), "it does not say where its record is"))?;
            let place = self.put_record(id, record, found.expires).await?;
            if self.update_head("edit", id, rows::edit(&found, was, &place)).await? {
                return Ok(true);
            }
        }
        Err(self.contended("edit", id))
    }

    /// Makes room in a full history: at `most` so many attempts stay. DynamoDB cannot drop from a list and append to it
    /// in one update; what is dropped is counted in the same one, so a crash in between loses nothing that was not to go
    /// anyway.
    async fn trim(&self, id: &LetterId, most: u64) -> Result<(), Fault> {
        loop {
            let sent = self
                .client
                .update_item()
                .table_name(&*self.table)
                .set_key(Some(rows::key(id.as_str(), rows::HEAD)))
                .update_expression(format!("REMOVE #attempts[{}] ADD #skipped :one", history::OLDEST_LATER))
                .condition_expression("size(#attempts) > :most")
                .expression_attribute_names("#attempts", rows::ATTEMPTS)
                .expression_attribute_names("#skipped", rows::SKIPPED)
                .expression_attribute_values(":one", rows::number(1))
                .expression_attribute_values(":most", rows::number(most))
                .send()
                .await;
            match sent {
                Ok(_) => {}
                // There is room, or another writer made it.
                Err(error) if is_condition(error.as_service_error()) => return Ok(()),
                Err(error) => return Err(fault(self.doing("trim the history of", id.as_str()), &error)),
            }
        }
    }
}
