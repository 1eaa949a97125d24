//! Sends requests to DynamoDB and judges the answers.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_projections::effect::{Tombstones, Write};
use millstream_projections::item::Key;
use millstream_projections::{Item, Value};

use super::request::{EXPIRES, Expression, May, REMOVED, SdkItem, guard_attribute, guarded, key_of, sdk_key};
use super::schema::Schemas;
use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::outcome::{Applied, Fault, FaultKind};
use crate::sink::fault::fault;
use crate::sink::{Page, RowSink, RowWrite};

/// DynamoDB tables as a sink.
pub struct DynamoDbSink {
    pub(super) client: Client,
    pub(super) ledger: Ledger,
    pub(super) clock: Arc<dyn Clock>,
    schemas: Schemas,
}

/// What a conditional write met.
pub(super) enum Met {
    /// The condition held and the write is done.
    Written,
    /// The condition failed; the row as it stands, if there is one.
    Refused(Option<SdkItem>),
    /// The ledger remembers a removal of this version or a later one: whatever the row is, the write is stale.
    Outdated,
}

impl DynamoDbSink {
    /// A sink that writes through `client` and keeps its tombstones in `ledger`. Makes no request.
    pub fn new(client: Client, ledger: Ledger, clock: Arc<dyn Clock>) -> Self {
        Self { client, ledger, clock, schemas: Schemas::default() }
    }

    async fn write(&self, write: RowWrite<'_>) -> Result<Applied, Fault> {
        let result = match write.write {
            Write::Put { item, tombstones: Tombstones::Ledger, expect_row } => {
                self.put_checked(write, item, *expect_row).await
            }
            Write::Put { item, tombstones: Tombstones::Inline | Tombstones::Never, .. } => {
                self.put_row(write, item, May::TakeOverOrCreate).await.map(applied)
            }
            Write::Delete { tombstones: Tombstones::Ledger } => self.delete_checked(write).await,
            Write::Delete { tombstones: Tombstones::Inline } => self.mark_removed(write).await,
            // `on_delete = "keep"`: the projection makes no deletes.
            Write::Delete { tombstones: Tombstones::Never } => Ok(Applied::Stale),
            Write::Patch { set, remove, take_over } => {
                let may = if *take_over { May::TakeOver } else { May::ChangeOwn };
                let expression = guarded(write.projection, write.guard, write.key, may)
                    .and_found_by(write.found_by)
                    .updating(set.iter(), remove);
                self.update(write, expression).await
            }
            Write::Drop => self.drop_row(write).await,
            Write::Publish(_) => Err(Fault::new(FaultKind::Rejected, "an event is no row")),
        };
        match result {
            Err(fault) if fault.kind == FaultKind::Rejected => Err(self.blame(write, fault).await),
            result => result,
        }
    }

    /// A refused request is the record's fault only if the config names the table's key rightly.
    async fn blame(&self, write: RowWrite<'_>, fault: Fault) -> Fault {
        match self.schemas.of(&self.client, write.table).await {
            Ok(schema) if schema.has_key(write.key.keys()) => fault,
            Ok(schema) => {
                let named: Vec<_> = write.key.keys().map(|name| &**name).collect();
                let (table, projection) = (write.table, write.projection);
                let cause = format!(
                    "table {table} has the key ({}), but projection {projection} writes the key ({})",
                    schema.key.join(", "),
                    named.join(", ")
                );
                Fault { kind: FaultKind::Misconfigured, causes: [vec![cause], fault.causes].concat() }
            }
            Err(unknown) => unknown,
        }
    }

    /// Puts the whole row in one conditional write.
    pub(super) async fn put_row(&self, write: RowWrite<'_>, item: &Item, may: May) -> Result<Met, Fault> {
        let expression = guarded(write.projection, write.guard, write.key, may);
        let result = self
            .client
            .put_item()
            .table_name(&**write.table)
            .set_item(Some(row(write, item)))
            .condition_expression(&expression.condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match result {
            Ok(_) => Ok(Met::Written),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Met::Refused(failed.item.clone()))
                }
                _ => Err(fault(format!("PutItem on table {}", write.table), &error)),
            },
        }
    }

    /// Puts a marker in the place of the row, for projections that keep their tombstones inline.
    async fn mark_removed(&self, write: RowWrite<'_>) -> Result<Applied, Fault> {
        let expires = self.expires(self.ledger.keep);
        let mut marker = Item::default();
        marker.extend(write.key.iter().map(|(name, value)| (name.to_string(), value.clone())));
        marker.insert(REMOVED.to_owned(), Value::Bool(true));
        marker.insert(EXPIRES.to_owned(), Value::N(expires));
        self.put_row(write, &marker, May::ChangeOwnOrCreate).await.map(applied)
    }

    async fn update(&self, write: RowWrite<'_>, expression: Expression) -> Result<Applied, Fault> {
        let result = self
            .client
            .update_item()
            .table_name(&**write.table)
            .set_key(Some(sdk_key(write.key)))
            .update_expression(&expression.update)
            .condition_expression(&expression.condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .send()
            .await;
        match result {
            Ok(_) => Ok(Applied::Written),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(Applied::Stale),
                _ => Err(fault(format!("UpdateItem on table {}", write.table), &error)),
            },
        }
    }

    async fn drop_row(&self, write: RowWrite<'_>) -> Result<Applied, Fault> {
        let may = if write.found_by.is_some() { May::TakeOver } else { May::ChangeOwn };
        let expression = guarded(write.projection, write.guard, write.key, may).and_found_by(write.found_by);
        let result = self
            .client
            .delete_item()
            .table_name(&**write.table)
            .set_key(Some(sdk_key(write.key)))
            .condition_expression(&expression.condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .send()
            .await;
        match result {
            Ok(_) => Ok(Applied::Written),
            Err(error) => match error.as_service_error() {
                Some(e) if e.is_conditional_check_failed_exception() => Ok(Applied::Stale),
                _ => Err(fault(format!("DeleteItem on table {}", write.table), &error)),
            },
        }
    }

    async fn query(
        &self,
        table: &Arc<str>,
        index: &Arc<str>,
        key: &Key,
        from: Option<Key>,
    ) -> Result<Page, Fault> {
        let schema = self.schemas.of(&self.client, table).await?;
        let Some(index_key) = schema.indexes.get(&**index) else {
            let mut known: Vec<_> = schema.indexes.keys().map(String::as_str).collect();
            known.sort_unstable();
            let cause = format!("table {table} has no index `{index}`; it has: {}", known.join(", "));
            return Err(Fault::new(FaultKind::Misconfigured, cause));
        };
        if let Some(stranger) = key.keys().find(|name| !index_key.contains(name)) {
            let cause = format!("index `{index}` of table {table} is not keyed by `{stranger}`");
            return Err(Fault::new(FaultKind::Misconfigured, cause));
        }
        let by = Expression::default().and_found_by(Some(key));
        let mut names = by.names;
        let mut projection = Vec::new();
        for (place, name) in schema.key.iter().enumerate() {
            projection.push(format!("#key{place}"));
            names.insert(format!("#key{place}"), name.to_string());
        }
        let result = self
            .client
            .query()
            .table_name(&**table)
            .index_name(&**index)
            .key_condition_expression(by.condition.trim_start_matches(" AND "))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(by.values))
            .projection_expression(projection.join(", "))
            .set_exclusive_start_key(from.as_ref().map(sdk_key))
            .send()
            .await
            .map_err(|error| fault(format!("Query on index {index} of table {table}"), &error))?;
        let rows = result.items().iter().filter_map(|item| key_of(item, &schema.key)).collect();
        let next = result
            .last_evaluated_key
            .map(|last| last.into_iter().map(|(name, value)| (name.into(), Value::from(value))).collect());
        Ok(Page { rows, next })
    }

    /// When something that is kept for `keep` from now may go, in seconds since 1970, as a number's text.
    pub(super) fn expires(&self, keep: Duration) -> String {
        (self.clock.unix_seconds() + keep.as_secs()).to_string()
    }
}

/// The row as it is stored: with the guard.
pub(super) fn row(write: RowWrite<'_>, item: &Item) -> SdkItem {
    let mut row: SdkItem = item.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    row.insert(guard_attribute(write.projection), AttributeValue::S(write.guard.to_string()));
    row
}

fn applied(met: Met) -> Applied {
    match met {
        Met::Written => Applied::Written,
        Met::Refused(_) | Met::Outdated => Applied::Stale,
    }
}

impl RowSink for DynamoDbSink {
    fn apply<'a>(&'a self, write: RowWrite<'a>) -> BoxFuture<'a, Result<Applied, Fault>> {
        self.write(write).boxed()
    }

    fn find<'a>(
        &'a self,
        table: &'a Arc<str>,
        index: &'a Arc<str>,
        key: &'a Key,
        from: Option<Key>,
    ) -> BoxFuture<'a, Result<Page, Fault>> {
        self.query(table, index, key, from).boxed()
    }
}
