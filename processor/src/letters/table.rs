//! Letters in a DynamoDB table: one head per letter, which lists read, and the record in chunks, which they do not.
//!
//! | `id` | `part` | holds |
//! |---|---|---|
//! | `<letter>` | 0 | the head: all but the record, and where the record is |
//! | `<letter>#<hash of the record>` | 1 to n | the record, in chunks |
//!
//! The chunks are written first, the head last and by one update, so whoever sees a head finds its record. Chunks are
//! named by what is in them: two hosts that store one letter from two renderings of the same change do not mix them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};

use self::rows::{HeadUpdate, Item, RecordPlace};
use super::{Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore, history};
use crate::clock::{Clock, Deadline};
use crate::outcome::{Fault, FaultKind};
use crate::retry::RetryPolicy;
use crate::setup;
use crate::sink::fault::fault;

mod definition;
mod rows;

pub(crate) use self::definition::DEFINITION;

/// Chunks outlive their head by this: DynamoDB drops expired items in any order, within a few days.
const CHUNKS_OUTLIVE: u64 = 7 * 24 * 60 * 60;
/// How many heads a page of a list has: little memory, and the first letters are there at once.
const PAGE: i32 = 250;
/// How long a list or a person waits for a table that is throttled or away: the first wait, the longest, all together.
const READ_RETRY: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_secs(2), Duration::from_secs(20)];
/// How often room is made in a full history before other writers of the same letter are let go first.
const MAX_TRIMS: usize = 8;

/// Letters in a table that [`create`] makes. What a list finds may lag behind `store` for a moment, as every index does.
#[derive(Clone)]
pub struct TableLetters {
    client: Client,
    table: Arc<str>,
    keep: Duration,
    clock: Arc<dyn Clock>,
    reads: RetryPolicy,
}

/// Makes a table for letters, or checks the one that is there.
pub async fn create(client: &Client, table: &str) -> Result<(), Fault> {
    setup::table::create(client, table, &DEFINITION).await
}

impl LetterStore for TableLetters {
    fn store<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), Fault>> {
        self.store_letter(letter).boxed()
    }

    fn list<'a>(&'a self, filter: &'a LetterFilter) -> BoxStream<'a, Result<LetterHead, Fault>> {
        let pages = stream::unfold(Cursor::Start, move |cursor| async move {
            let from = match cursor {
                Cursor::Start => None,
                Cursor::After(key) => Some(key),
                Cursor::End => return None,
            };
            let (heads, next) = match self.retried(|| self.page(filter, from.clone())).await {
                Ok(page) => page,
                Err(fault) => (VecDeque::from([Err(fault)]), Cursor::End),
            };
            Some((stream::iter(heads), next))
        });
        pages.flatten().boxed()
    }

    fn load<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Letter>, Fault>> {
        self.retried(|| self.load_letter(id)).boxed()
    }
}

/// How far a list is.
enum Cursor {
    Start,
    After(Item),
    End,
}

impl TableLetters {
    /// Letters in `table`. A letter is forgotten when its last attempt is older than `keep`.
    pub fn new(client: Client, table: Arc<str>, keep: Duration, clock: Arc<dyn Clock>) -> Self {
        let [initial, max, elapsed] = READ_RETRY;
        Self { client, table, keep, clock, reads: RetryPolicy::new(initial, max, elapsed) }
    }

    async fn retried<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        read: impl FnMut() -> F,
    ) -> Result<T, Fault> {
        self.reads.run(Deadline::NONE, "read letters", read).await
    }

    async fn store_letter(&self, letter: &Letter) -> Result<(), Fault> {
        let expires = letter.head.last_at().saturating_add(self.keep.as_secs());
        let kept = match self.head_row(&letter.head.id, Some(rows::PLACE_ATTRIBUTES)).await? {
            Some(row) => self.prolong(&letter.head.id, &row, expires).await?,
            None => false,
        };
        let place = if kept { None } else { Some(self.put_record(letter, expires).await?) };
        let update = rows::head_update(letter, place.as_ref(), expires)
            .map_err(|why| self.damaged(letter.head.id.as_str(), &why))?;
        for _ in 0..MAX_TRIMS {
            if self.update_head(&letter.head.id, &update).await? {
                return Ok(());
            }
            self.trim(&letter.head.id).await?;
        }
        Err(Fault::new(
            FaultKind::Conflict,
            format!("{}: others keep adding attempts to it", self.doing("store", letter.head.id.as_str())),
        ))
    }

    /// Lets the record of a letter that is stored already live on; `false` if it is not there, or not whole.
    async fn prolong(&self, id: &LetterId, row: &Item, expires: u64) -> Result<bool, Fault> {
        let Some(place) = RecordPlace::of_row(row) else { return Ok(false) };
        for part in 1..=place.parts {
            let sent = self
                .client
                .update_item()
                .table_name(&*self.table)
                .set_key(Some(rows::key(&place.id, part)))
                .update_expression("SET #expires = :expires")
                .condition_expression("attribute_exists(#id)")
                .expression_attribute_names("#expires", rows::EXPIRES)
                .expression_attribute_names("#id", rows::ID)
                .expression_attribute_values(":expires", rows::number(expires + CHUNKS_OUTLIVE))
                .send()
                .await;
            match sent {
                Ok(_) => {}
                Err(error) if is_condition(error.as_service_error()) => return Ok(false),
                Err(error) => return Err(fault(self.doing("prolong the record of", id.as_str()), &error)),
            }
        }
        Ok(true)
    }

    /// Puts the chunks of a record: the same ones under the same names, however often.
    async fn put_record(&self, letter: &Letter, expires: u64) -> Result<RecordPlace, Fault> {
        let place = RecordPlace::new(&letter.head.id, &letter.record);
        for (part, chunk) in (1..).zip(letter.record.chunks(rows::CHUNK)) {
            self.client
                .put_item()
                .table_name(&*self.table)
                .set_item(Some(rows::key(&place.id, part)))
                .item(rows::BYTES, AttributeValue::B(Blob::new(chunk)))
                .item(rows::EXPIRES, rows::number(expires + CHUNKS_OUTLIVE))
                .send()
                .await
                .map_err(|error| fault(self.doing("store the record of", letter.head.id.as_str()), &error))?;
        }
        Ok(place)
    }

    /// Makes or extends the head; `false` if its history is full.
    async fn update_head(&self, id: &LetterId, update: &HeadUpdate) -> Result<bool, Fault> {
        let sent = self
            .client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(rows::key(id.as_str(), rows::HEAD)))
            .update_expression(&update.expression)
            .condition_expression(&update.condition)
            .set_expression_attribute_names(Some(update.names.clone()))
            .set_expression_attribute_values(Some(update.values.clone()))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(true),
            Err(error) if is_condition(error.as_service_error()) => Ok(false),
            Err(error) => Err(fault(self.doing("store", id.as_str()), &error)),
        }
    }

    /// Makes room in a full history. DynamoDB cannot drop from a list and append to it in one update; what is dropped
    /// is counted in the same one, so a crash in between loses nothing that was not to go anyway.
    async fn trim(&self, id: &LetterId) -> Result<(), Fault> {
        let sent = self
            .client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(rows::key(id.as_str(), rows::HEAD)))
            .update_expression(format!("REMOVE #attempts[{}] ADD #skipped :one", history::OLDEST_LATER))
            .condition_expression("size(#attempts) >= :max")
            .expression_attribute_names("#attempts", rows::ATTEMPTS)
            .expression_attribute_names("#skipped", rows::SKIPPED)
            .expression_attribute_values(":one", rows::number(1))
            .expression_attribute_values(":max", rows::number(history::MAX_ATTEMPTS as u64))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(()),
            // Another writer made room.
            Err(error) if is_condition(error.as_service_error()) => Ok(()),
            Err(error) => Err(fault(self.doing("trim the history of", id.as_str()), &error)),
        }
    }

    async fn page(
        &self,
        filter: &LetterFilter,
        from: Option<Item>,
    ) -> Result<(VecDeque<Result<LetterHead, Fault>>, Cursor), Fault> {
        let (index, attribute, value) = match &filter.projection {
            Some(projection) => (definition::BY_PROJECTION, "projection", projection.as_str()),
            None => (definition::BY_STATE, "state", LetterState::Open.as_str()),
        };
        let page = self
            .client
            .query()
            .table_name(&*self.table)
            .index_name(index)
            .key_condition_expression("#hash = :hash")
            .expression_attribute_names("#hash", attribute)
            .expression_attribute_values(":hash", AttributeValue::S(value.to_owned()))
            .set_exclusive_start_key(from)
            .limit(PAGE)
            .send()
            .await
            .map_err(|error| fault(format!("list the letters in table {}", self.table), &error))?;
        let next = page.last_evaluated_key.map_or(Cursor::End, Cursor::After);
        let rows = page.items.unwrap_or_default().into_iter().filter(|row| !self.is_expired(row));
        let heads = rows.map(|row| self.head(row)).filter(|head| match head {
            Ok(head) => filter.admits(head),
            // A letter that cannot be read might be one that was asked for.
            Err(_) => true,
        });
        Ok((heads.collect(), next))
    }

    async fn load_letter(&self, id: &LetterId) -> Result<Option<Letter>, Fault> {
        let Some(row) = self.head_row(id, None).await? else { return Ok(None) };
        if self.is_expired(&row) {
            return Ok(None);
        }
        let place = RecordPlace::of_row(&row)
            .ok_or_else(|| self.damaged(id.as_str(), "it does not say where its record is"))?;
        let head = self.head(row)?;
        let record = self.record(id, &place).await?;
        Ok(Some(Letter { head, record }))
    }

    async fn head_row(&self, id: &LetterId, only: Option<&str>) -> Result<Option<Item>, Fault> {
        let found = self
            .client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(rows::key(id.as_str(), rows::HEAD)))
            .set_projection_expression(only.map(str::to_owned))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| fault(self.doing("read", id.as_str()), &error))?;
        Ok(found.item)
    }

    async fn record(&self, id: &LetterId, place: &RecordPlace) -> Result<Bytes, Fault> {
        let mut record = Vec::with_capacity(place.size);
        let mut from = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&*self.table)
                .key_condition_expression("#id = :id")
                .expression_attribute_names("#id", rows::ID)
                .expression_attribute_values(":id", AttributeValue::S(place.id.clone()))
                .set_exclusive_start_key(from)
                .consistent_read(true)
                .send()
                .await
                .map_err(|error| fault(self.doing("read the record of", id.as_str()), &error))?;
            for row in page.items() {
                let chunk = row.get(rows::BYTES).and_then(|bytes| bytes.as_b().ok());
                record.extend_from_slice(chunk.map(AsRef::as_ref).unwrap_or_default());
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        match RecordPlace::new(id, &record) == *place {
            true => Ok(record.into()),
            false => Err(self.damaged(id.as_str(), "its record is not the one that was stored")),
        }
    }

    fn head(&self, row: Item) -> Result<LetterHead, Fault> {
        let id = row.get(rows::ID).and_then(|id| id.as_s().ok()).cloned().unwrap_or_default();
        rows::head(row).map_err(|why| self.damaged(&id, &why))
    }

    /// DynamoDB drops expired items days late; a letter is gone at once, so that no record is missed before its head.
    fn is_expired(&self, row: &HashMap<String, AttributeValue>) -> bool {
        rows::read_number(row, rows::EXPIRES).is_some_and(|expires| expires <= self.clock.unix_seconds())
    }

    fn doing(&self, what: &str, id: &str) -> String {
        format!("{what} letter {id} in table {}", self.table)
    }

    fn damaged(&self, id: &str, why: &str) -> Fault {
        Fault::new(FaultKind::Rejected, format!("letter {id} in table {} is damaged: {why}", self.table))
    }
}

fn is_condition(error: Option<&aws_sdk_dynamodb::operation::update_item::UpdateItemError>) -> bool {
    error.is_some_and(|error| error.is_conditional_check_failed_exception())
}
