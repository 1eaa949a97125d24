//! Letters in a DynamoDB table: one head per letter, which lists read, and the record in chunks, which they do not.
//!
//! | `id` | `part` | holds |
//! |---|---|---|
//! | `<letter>` | 0 | the head: all but the record, and where the record and its original are |
//! | `<letter>#<hash of the record>` | 1 to n | a record, in chunks |
//! | `audit/<number>` | 0 | a line of the audit trail |
//!
//! The chunks are written first, the head last and by one update, so whoever sees a head finds its record. Chunks are
//! named by what is in them: two hosts that store one letter from two renderings of the same change do not mix them.
//! Only heads are in the indexes.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::BoxStream;

use self::rows::{HeadUpdate, Item, Standing};
use super::audit::AuditTable;
use super::{
    AuditEntry, Closing, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore, Stored,
    history,
};
use crate::clock::{Clock, Deadline};
use crate::outcome::{Fault, FaultKind};
use crate::retry::RetryPolicy;
use crate::setup;
use crate::sink::fault::fault;

mod change;
mod definition;
mod list;
mod record;
mod rows;

pub(crate) use self::definition::DEFINITION;

/// How often a head that others change at the same time is read again before they are let go first.
const MAX_ROUNDS: usize = 16;

/// Letters in a table that [`create`] makes. What a list finds may lag behind what was written for a moment, as every
/// index does. The trail of operators is in the same table.
#[derive(Clone)]
pub struct TableLetters {
    client: Client,
    table: Arc<str>,
    keep: Duration,
    clock: Arc<dyn Clock>,
    reads: RetryPolicy,
    trail: AuditTable,
}

/// Makes a table for letters, or checks the one that is there.
pub async fn create(client: &Client, table: &str) -> Result<(), Fault> {
    setup::table::create(client, table, &DEFINITION).await
}

impl LetterStore for TableLetters {
    fn store<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<Stored, Fault>> {
        self.store_letter(letter).boxed()
    }

    fn list<'a>(&'a self, filter: &'a LetterFilter) -> BoxStream<'a, Result<LetterHead, Fault>> {
        self.list_letters(filter)
    }

    fn load<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Letter>, Fault>> {
        self.retried(|| self.load_letter(id)).boxed()
    }

    fn close<'a>(
        &'a self,
        id: &'a LetterId,
        seen: u32,
        closing: &'a Closing,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        self.close_letter(id, seen, closing).boxed()
    }

    fn state<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<LetterState>, Fault>> {
        self.retried(|| self.live_state(id)).boxed()
    }

    fn edit<'a>(
        &'a self,
        id: &'a LetterId,
        seen: u32,
        record: &'a Bytes,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        self.edit_letter(id, seen, record).boxed()
    }

    fn original<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Bytes>, Fault>> {
        self.retried(|| self.original_record(id)).boxed()
    }

    fn audit<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<(), Fault>> {
        self.trail.append(entry).boxed()
    }

    fn trail(&self) -> BoxStream<'_, Result<AuditEntry, Fault>> {
        self.trail.read()
    }
}

impl TableLetters {
    /// Letters in `table`. A letter is forgotten when its last attempt is older than `keep`.
    pub fn new(client: Client, table: Arc<str>, keep: Duration, clock: Arc<dyn Clock>) -> Self {
        let trail = AuditTable::with_sort(client.clone(), table.clone(), rows::PART);
        Self { client, table, keep, clock, reads: super::reads(), trail }
    }

    async fn retried<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        read: impl FnMut() -> F,
    ) -> Result<T, Fault> {
        self.reads.run(Deadline::NONE, "read letters", read).await
    }

    async fn load_letter(&self, id: &LetterId) -> Result<Option<Letter>, Fault> {
        let Some(row) = self.head_row(id, None).await?.filter(|row| !self.is_expired(row)) else {
            return Ok(None);
        };
        let place = Standing::of_row(&row).and_then(|standing| standing.record);
        let place = place.ok_or_else(|| self.damaged(id.as_str(), "it does not say where its record is"))?;
        let head = self.head(row)?;
        let record = self.record(id, &place).await?;
        Ok(Some(Letter { head, record }))
    }

    async fn original_record(&self, id: &LetterId) -> Result<Option<Bytes>, Fault> {
        let standing = self.standing(id).await?.filter(|it| it.expires > self.clock.unix_seconds());
        match standing.and_then(|standing| standing.original) {
            Some(place) => self.record(id, &place).await.map(Some),
            None => Ok(None),
        }
    }

    async fn live_state(&self, id: &LetterId) -> Result<Option<LetterState>, Fault> {
        let standing = self.standing(id).await?.filter(|it| it.expires > self.clock.unix_seconds());
        Ok(standing.map(|standing| standing.state))
    }

    /// What stands in a head beside its history; `None` if there is no head.
    async fn standing(&self, id: &LetterId) -> Result<Option<Standing>, Fault> {
        let Some(row) = self.head_row(id, Some(&Standing::ATTRIBUTES)).await? else { return Ok(None) };
        let standing = Standing::of_row(&row);
        standing.map(Some).ok_or_else(|| self.damaged(id.as_str(), "it has no state"))
    }

    async fn head_row(&self, id: &LetterId, only: Option<&[&str]>) -> Result<Option<Item>, Fault> {
        let mut request = self
            .client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(rows::key(id.as_str(), rows::HEAD)))
            .consistent_read(true);
        if let Some(only) = only {
            // Several of our names are words of the expression language.
            let names: Vec<String> = only.iter().map(|name| format!("#{name}")).collect();
            request = request.projection_expression(names.join(", "));
            for (placeholder, name) in names.into_iter().zip(only) {
                request = request.expression_attribute_names(placeholder, *name);
            }
        }
        let found = request.send().await.map_err(|error| fault(self.doing("read", id.as_str()), &error))?;
        Ok(found.item)
    }

    /// Changes a head under a condition; `false` if that does not hold.
    async fn update_head(&self, doing: &str, id: &LetterId, update: HeadUpdate) -> Result<bool, Fault> {
        let sent = self
            .client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(rows::key(id.as_str(), rows::HEAD)))
            .update_expression(update.expression())
            .condition_expression(update.condition())
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values(Some(update.values))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(true),
            Err(error) if is_condition(error.as_service_error()) => Ok(false),
            Err(error) => Err(fault(self.doing(doing, id.as_str()), &error)),
        }
    }

    fn head(&self, row: Item) -> Result<LetterHead, Fault> {
        let id = row.get(rows::ID).and_then(|id| id.as_s().ok()).cloned().unwrap_or_default();
        rows::head(row).map_err(|why| self.damaged(&id, &why))
    }

    /// DynamoDB drops expired items days late; a letter is gone at once, so that no record is missed before its head.
    fn is_expired(&self, row: &Item) -> bool {
        rows::read_number(row, rows::EXPIRES).is_some_and(|expires| expires <= self.clock.unix_seconds())
    }

    fn doing(&self, what: &str, id: &str) -> String {
        format!("{what} letter {id} in table {}", self.table)
    }

    fn damaged(&self, id: &str, why: &str) -> Fault {
        Fault::new(FaultKind::Rejected, format!("letter {id} in table {} is damaged: {why}", self.table))
    }

    fn contended(&self, what: &str, id: &LetterId) -> Fault {
        let cause = format!("{}: others keep changing it", self.doing(what, id.as_str()));
        Fault::new(FaultKind::Conflict, cause)
    }
}

fn is_condition(error: Option<&aws_sdk_dynamodb::operation::update_item::UpdateItemError>) -> bool {
    error.is_some_and(|error| error.is_conditional_check_failed_exception())
}
