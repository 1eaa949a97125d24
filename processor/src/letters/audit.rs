//! The trail of what operators did, as numbered rows of one of our own tables: added by number, read by number.
//!
//! | `id` | holds |
//! |---|---|
//! | `audit/0` | how many numbers were given out |
//! | `audit/1` to `audit/n` | one line each |
//!
//! Numbers, and no index over time: so the trail is read in its order without a scan also from a table that has no
//! sort key, as the ledger. A number under which nothing stands was taken by a process that died before its line was
//! written. The lines do not expire.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValue};
use futures_util::stream::{self, BoxStream, StreamExt};

use super::AuditEntry;
use crate::clock::Deadline;
use crate::outcome::{Fault, FaultKind};
use crate::retry::RetryPolicy;
use crate::sink::fault::fault;

/// How many lines one request reads: what BatchGetItem takes.
const PAGE: u64 = 100;
/// The longest result of a line, in bytes: far below an item, and enough for a reason and a chain of causes.
const MAX_RESULT: usize = 16 * 1024;

const ID: &str = "id";
const LAST: &str = "last";

type Row = HashMap<String, AttributeValue>;

/// A trail in a table whose hash key is `id`.
#[derive(Clone)]
pub(super) struct AuditTable {
    client: Client,
    table: Arc<str>,
    /// The table's sort key, a number, where it has one.
    sort: Option<&'static str>,
    reads: RetryPolicy,
}

impl AuditTable {
    /// A trail in the ledger.
    pub(super) fn in_ledger(client: Client, table: Arc<str>) -> Self {
        Self { client, table, sort: None, reads: super::reads() }
    }

    /// A trail in a table with a sort key.
    pub(super) fn with_sort(client: Client, table: Arc<str>, sort: &'static str) -> Self {
        Self { client, table, sort: Some(sort), reads: super::reads() }
    }

    /// Adds a line. Not tried again; done twice it stands there twice.
    pub(super) async fn append(&self, entry: &AuditEntry) -> Result<(), Fault> {
        let number = self.next_number().await?;
        let mut line = entry.clone();
        line.result.truncate(line.result.floor_char_boundary(MAX_RESULT));
        let row: Row = serde_dynamo::to_item(line)
            .map_err(|error| Fault::from_error(FaultKind::Rejected, self.doing("write to"), &error))?;
        self.client
            .put_item()
            .table_name(&*self.table)
            .set_item(Some(row.into_iter().chain(self.key(number)).collect()))
            // It is only ever added to.
            .condition_expression("attribute_not_exists(#id)")
            .expression_attribute_names("#id", ID)
            .send()
            .await
            .map_err(|error| fault(self.doing("write to"), &error))?;
        Ok(())
    }

    /// All lines, oldest first.
    pub(super) fn read(&self) -> BoxStream<'_, Result<AuditEntry, Fault>> {
        let pages = stream::unfold(Some(Page::Start), move |page| async move {
            let read = match page? {
                Page::Start => self.retried(|| self.last_number()).await.map(|last| (Vec::new(), 1, last)),
                Page::From(from, last) if from > last => return None,
                Page::From(from, last) => {
                    let to = last.min(from + PAGE - 1);
                    self.retried(|| self.lines(from, to)).await.map(|lines| (lines, to + 1, last))
                }
            };
            Some(match read {
                Ok((lines, from, last)) => (stream::iter(lines), Some(Page::From(from, last))),
                Err(fault) => (stream::iter(vec![Err(fault)]), None),
            })
        });
        pages.flatten().boxed()
    }

    async fn next_number(&self) -> Result<u64, Fault> {
        let counted = self
            .client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(self.key(0)))
            .update_expression("ADD #last :one")
            .expression_attribute_names("#last", LAST)
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .return_values(ReturnValue::UpdatedNew)
            .send()
            .await
            .map_err(|error| fault(self.doing("write to"), &error))?;
        number_of(counted.attributes.as_ref()).ok_or_else(|| self.damaged(0, "it does not count"))
    }

    async fn last_number(&self) -> Result<u64, Fault> {
        let found = self
            .client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(self.key(0)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| fault(self.doing("read"), &error))?;
        match found.item {
            // Nothing was ever done.
            None => Ok(0),
            Some(row) => number_of(Some(&row)).ok_or_else(|| self.damaged(0, "it does not count")),
        }
    }

    /// The lines with these numbers. The service gives them in any order, and sometimes not all at once.
    async fn lines(&self, from: u64, to: u64) -> Result<Vec<Result<AuditEntry, Fault>>, Fault> {
        let mut found: BTreeMap<u64, Row> = BTreeMap::new();
        let keys = KeysAndAttributes::builder().consistent_read(true);
        let keys = keys.set_keys(Some((from..=to).map(|number| self.key(number)).collect())).build();
        let keys =
            keys.map_err(|error| Fault::from_error(FaultKind::Rejected, self.doing("read"), &error))?;
        let mut wanted = HashMap::from([(self.table.to_string(), keys)]);
        loop {
            let page = self.client.batch_get_item().set_request_items(Some(wanted)).send().await;
            let page = page.map_err(|error| fault(self.doing("read"), &error))?;
            let rows = page.responses.unwrap_or_default().into_values().flatten();
            let known = found.len();
            found.extend(rows.filter_map(|row| Some((line_number(&row)?, row))));
            wanted = page.unprocessed_keys.unwrap_or_default();
            if wanted.is_empty() {
                break;
            }
            if found.len() == known {
                return Err(Fault::new(FaultKind::Throttled, self.doing("read")));
            }
        }
        let line = |(number, row): (u64, Row)| {
            serde_dynamo::from_item(row).map_err(|error| self.damaged(number, &error.to_string()))
        };
        Ok(found.into_iter().map(line).collect())
    }

    async fn retried<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        read: impl FnMut() -> F,
    ) -> Result<T, Fault> {
        self.reads.run(Deadline::NONE, "read the audit trail", read).await
    }

    fn key(&self, number: u64) -> Row {
        let id = (ID.to_owned(), AttributeValue::S(format!("audit/{number}")));
        let sort = self.sort.map(|name| (name.to_owned(), AttributeValue::N("0".to_owned())));
        std::iter::once(id).chain(sort).collect()
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} the audit trail in table {}", self.table)
    }

    fn damaged(&self, number: u64, why: &str) -> Fault {
        let cause = format!("line audit/{number} in table {} is damaged: {why}", self.table);
        Fault::new(FaultKind::Rejected, cause)
    }
}

/// How far a reader is: the next number, and the last one.
enum Page {
    Start,
    From(u64, u64),
}

fn number_of(row: Option<&Row>) -> Option<u64> {
    row?.get(LAST)?.as_n().ok()?.parse().ok()
}

fn line_number(row: &Row) -> Option<u64> {
    row.get(ID)?.as_s().ok()?.strip_prefix("audit/")?.parse().ok()
}
