//! Folds in DynamoDB: one TransactWriteItems a commit, and the reads that statistics need.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason, KeysAndAttributes};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_projections::{Item, KeyDigest, ProjectionName, Value};

use super::client::DynamoDbSink;
use super::fold_request::{Place, request};
use super::request::{SdkItem, sdk_key};
use super::transaction::reasons;
use crate::ledger::{COLUMN, ID, ITEMS, ORDER, VALUE, contributed, fold_id};
use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::{fault, kind_of_code};
use crate::sink::fold::{
    Action, Commit, Contributed, FoldSink, From, Refusal, SharedRow, VALUES_PAGE, ValueCount,
};

/// The most keys of one BatchGetItem.
const MAX_KEYS: usize = 100;

impl DynamoDbSink {
    async fn fold(&self, projection: &ProjectionName, actions: &[Action]) -> Result<Commit, Fault> {
        let place = Place { projection, ledger: &self.ledger, expires: self.expires(self.ledger.keep) };
        let items = actions.iter().map(|action| request(&place, action)).collect::<Result<Vec<_>, _>>()?;
        let sent = self.client.transact_write_items().set_transact_items(Some(items)).send().await;
        let Err(error) = sent else { return Ok(Commit::Done) };
        let doing = format!("TransactWriteItems of projection {projection}");
        let reasons = reasons(&error);
        let who = format!("projection {projection}");
        if reasons.len() != actions.len() {
            let rows = actions.iter().filter_map(Action::row);
            return Err(self.blame_rows(&who, rows, fault(doing, &error)).await);
        }
        let mut refusals = Vec::with_capacity(actions.len());
        for (reason, action) in reasons.iter().zip(actions) {
            refusals.push(self.refusal(&doing, &who, action, reason).await?);
        }
        Ok(Commit::Refused(refusals))
    }

    /// What a reason says of its action; an error where it is one for the whole transaction, which may then be repeated.
    async fn refusal(
        &self,
        doing: &str,
        who: &str,
        action: &Action,
        reason: &CancellationReason,
    ) -> Result<Refusal, Fault> {
        let code = reason.code().unwrap_or("None");
        match code {
            "None" => return Ok(Refusal::Innocent),
            "ConditionalCheckFailed" => return Ok(Refusal::Condition(reason.item.clone().map(item))),
            _ => {}
        }
        let table = match action {
            Action::Value(_) => &self.ledger.values,
            other => other.row().map_or(&self.ledger.table, |row| &row.table),
        };
        let cause = format!("{code} on table {table}: {}", reason.message().unwrap_or("no message"));
        let refused = Fault { kind: kind_of_code(code), causes: vec![doing.to_owned(), cause] };
        let refused = self.blame_rows(who, action.row().into_iter(), refused).await;
        if refused.kind == FaultKind::Rejected { Ok(Refusal::Rejected(refused)) } else { Err(refused) }
    }

    /// A rejected request is the record's fault only if the config fits the tables of all rows that it names.
    async fn blame_rows(
        &self,
        who: &str,
        rows: impl Iterator<Item = &SharedRow>,
        mut refused: Fault,
    ) -> Fault {
        let mut seen = HashSet::new();
        for SharedRow { table, key } in rows {
            if seen.insert((table, key.keys().collect::<Vec<_>>())) {
                refused = self.blame(table, refused, |schema| schema.misfit(table, key, who)).await;
            }
        }
        refused
    }

    async fn read_row(&self, table: &str, key: SdkItem) -> Result<Option<Item>, Fault> {
        let read = self.client.get_item().table_name(table).set_key(Some(key)).consistent_read(true);
        let row = read.send().await.map_err(|error| fault(format!("GetItem on table {table}"), &error))?;
        Ok(row.item.map(item))
    }

    async fn read_counts(&self, column: &str, orders: &[Vec<u8>]) -> Result<Vec<ValueCount>, Fault> {
        let table = &self.ledger.values;
        let mut counts = Vec::with_capacity(orders.len());
        let mut missing: Vec<SdkItem> = orders.iter().map(|order| value_key(column, order)).collect();
        while !missing.is_empty() {
            let rest = missing.split_off(missing.len().min(MAX_KEYS));
            let asked = missing.len();
            let keys = KeysAndAttributes::builder().set_keys(Some(missing)).consistent_read(true).build();
            let doing = || format!("BatchGetItem on table {table}");
            let keys = keys.map_err(|error| Fault::from_error(FaultKind::Rejected, doing(), &error))?;
            let read = self.client.batch_get_item().request_items(&**table, keys).send().await;
            let read = read.map_err(|error| fault(doing(), &error))?;
            let rows = read.responses.into_iter().flatten().flat_map(|(_, rows)| rows);
            for row in rows {
                counts.push(self.count(row)?);
            }
            // A full answer, or a throttled one, leaves some keys over.
            let unread = read.unprocessed_keys.into_iter().flatten().flat_map(|(_, keys)| keys.keys);
            let unread: Vec<SdkItem> = unread.collect();
            if unread.len() >= asked {
                return Err(Fault::new(FaultKind::Throttled, format!("{}: none was read", doing())));
            }
            missing = rest;
            missing.extend(unread);
        }
        Ok(counts)
    }

    async fn read_values(
        &self,
        column: &str,
        from: From,
        after: Option<&[u8]>,
    ) -> Result<Vec<ValueCount>, Fault> {
        let table = &self.ledger.values;
        let read = self
            .client
            .query()
            .table_name(&**table)
            .consistent_read(true)
            .key_condition_expression("#column = :column")
            .expression_attribute_names("#column", COLUMN)
            .expression_attribute_values(":column", AttributeValue::S(column.to_owned()))
            .scan_index_forward(from == From::Least)
            .set_exclusive_start_key(after.map(|after| value_key(column, after)))
            .limit(VALUES_PAGE as i32)
            .send()
            .await
            .map_err(|error| fault(format!("Query on table {table}"), &error))?;
        read.items.into_iter().flatten().map(|row| self.count(row)).collect()
    }

    fn count(&self, row: SdkItem) -> Result<ValueCount, Fault> {
        let order = row.get(ORDER).and_then(|order| order.as_b().ok()).cloned();
        let items = row.get(ITEMS).and_then(|items| items.as_n().ok()?.parse().ok());
        match (order, items, row.get(VALUE).cloned()) {
            (Some(order), Some(items), Some(value)) => {
                Ok(ValueCount { order: order.into_inner(), value: Value::from(value), items })
            }
            _ => Err(Fault::new(
                FaultKind::Misconfigured,
                format!(
                    "a row of table {} has no usable `{ORDER}`, `{ITEMS}` or `{VALUE}`",
                    self.ledger.values
                ),
            )),
        }
    }
}

impl FoldSink for DynamoDbSink {
    fn commit<'a>(
        &'a self,
        projection: &'a ProjectionName,
        actions: &'a [Action],
    ) -> BoxFuture<'a, Result<Commit, Fault>> {
        self.fold(projection, actions).boxed()
    }

    fn contributed<'a>(
        &'a self,
        projection: &'a ProjectionName,
        digest: KeyDigest,
    ) -> BoxFuture<'a, Result<Option<Contributed>, Fault>> {
        async move {
            let id = AttributeValue::S(fold_id(projection, digest));
            let row = self.read_row(&self.ledger.table, SdkItem::from([(ID.to_owned(), id)])).await?;
            row.map(|row| contributed(Some(&row))).transpose()
        }
        .boxed()
    }

    fn totals<'a>(&'a self, row: &'a SharedRow) -> BoxFuture<'a, Result<Option<Item>, Fault>> {
        async move {
            match self.read_row(&row.table, sdk_key(&row.key)).await {
                Err(refused) => Err(self.blame_rows("an aggregate", std::iter::once(row), refused).await),
                read => read,
            }
        }
        .boxed()
    }

    fn counts<'a>(
        &'a self,
        column: &'a str,
        orders: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<ValueCount>, Fault>> {
        self.read_counts(column, orders).boxed()
    }

    fn values<'a>(
        &'a self,
        column: &'a str,
        from: From,
        after: Option<&'a [u8]>,
    ) -> BoxFuture<'a, Result<Vec<ValueCount>, Fault>> {
        self.read_values(column, from, after).boxed()
    }
}

/// The key of a value's row.
pub(super) fn value_key(column: &str, order: &[u8]) -> SdkItem {
    SdkItem::from([
        (COLUMN.to_owned(), AttributeValue::S(column.to_owned())),
        (ORDER.to_owned(), AttributeValue::B(Blob::new(order))),
    ])
}

fn item(row: SdkItem) -> Item {
    let values = row.into_iter().map(|(name, value)| (name, Value::from(value)));
    values.collect::<HashMap<_, _>>().into()
}
