//! Sends requests to DynamoDB and judges the answers.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_projections::effect::{Reach, Tombstones, Write};
use millstream_projections::item::Key;
use millstream_projections::{Guard, Item, ProjectionName, Value};

use super::request::{EXPIRES, Expression, May, REMOVED, SdkItem, guard_attribute, guarded, key_of, sdk_key};
use super::schema::{Schema, Schemas};
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
    pub(super) schemas: Schemas,
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
            Write::Patch { set, remove, reach } => {
                let expression = guarded(write.projection, write.guard, write.key, within(*reach))
                    .and_found_by(write.found_by)
                    .updating(set.iter(), remove);
                self.update(write, expression).await
            }
            Write::Drop { reach } => self.drop_row(write, within(*reach)).await,
            Write::Publish(_) | Write::Fold(_) => {
                Err(Fault::new(FaultKind::Rejected, format!("a {} is no row", write.write.kind())))
            }
        };
        match result {
            Err(fault) => Err(self.blame(write.table, fault, |schema| misfit(write, schema)).await),
            result => result,
        }
    }

    /// A rejected request is the record's fault only if the config fits the table.
    pub(super) async fn blame(
        &self,
        table: &Arc<str>,
        refused: Fault,
        misfit: impl FnOnce(&Schema) -> Option<String>,
    ) -> Fault {
        if refused.kind != FaultKind::Rejected {
            return refused;
        }
        match self.schemas.fresh(&self.client, table).await {
            Ok(schema) => match misfit(&schema) {
                Some(cause) => misconfigured(cause, refused),
                None => refused,
            },
            // Without a look at the table there is no case against the deployment.
            Err(unknown) => Fault { causes: [refused.causes, unknown.causes].concat(), ..refused },
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

    async fn drop_row(&self, write: RowWrite<'_>, may: May) -> Result<Applied, Fault> {
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
        let mut schema = self.schemas.of(&self.client, table).await?;
        if unusable(&schema, table, index, key).is_some() {
            schema = self.schemas.fresh(&self.client, table).await?;
        }
        if let Some(cause) = unusable(&schema, table, index, key) {
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
            .await;
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                let refused = fault(format!("Query on index {index} of table {table}"), &error);
                if refused.kind == FaultKind::Rejected {
                    let schema = self.schemas.fresh(&self.client, table).await?;
                    if let Some(cause) = unusable(&schema, table, index, key) {
                        return Err(misconfigured(cause, refused));
                    }
                }
                return Err(refused);
            }
        };
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

/// Why a config does not fit a table, if it does not.
fn misfit(write: RowWrite<'_>, schema: &Schema) -> Option<String> {
    let (table, projection) = (write.table, write.projection);
    if let Some(cause) = schema.misfit(table, write.key, &format!("projection {projection}")) {
        return Some(cause);
    }
    let Write::Patch { set, remove, .. } = write.write else { return None };
    let patched = set.keys().chain(remove).find(|name| schema.key.contains(name))?;
    Some(format!("`{patched}` is part of the key of table {table}, which projection {projection} cannot set"))
}

/// Why an index cannot be asked for a key, if it cannot.
fn unusable(schema: &Schema, table: &str, index: &str, key: &Key) -> Option<String> {
    let Some(found) = schema.indexes.get(index) else {
        let mut known: Vec<_> = schema.indexes.keys().map(String::as_str).collect();
        known.sort_unstable();
        return Some(format!("table {table} has no index `{index}`; it has: {}", known.join(", ")));
    };
    if let Some(stranger) = key.keys().find(|name| !found.key.contains(name)) {
        return Some(format!("index `{index}` of table {table} is not keyed by `{stranger}`"));
    }
    if let Some(partition) = found.key.first().filter(|partition| !key.contains_key(*partition)) {
        return Some(format!(
            "index `{index}` of table {table} can only be asked with its partition key `{partition}`"
        ));
    }
    (!found.filled).then(|| format!("index `{index}` of table {table} is still being filled"))
}

fn misconfigured(cause: String, refused: Fault) -> Fault {
    Fault { kind: FaultKind::Misconfigured, causes: [vec![cause], refused.causes].concat() }
}

/// Which rows a reach lets a write change.
fn within(reach: Reach) -> May {
    match reach {
        Reach::Own => May::ChangeGuarded,
        Reach::Unguarded => May::ChangeOwn,
        Reach::Others => May::TakeOver,
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

    fn was_dropped<'a>(
        &'a self,
        projection: &'a ProjectionName,
        guard: &'a Guard,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        self.is_drop_remembered(projection, guard).boxed()
    }

    fn remember_drop<'a>(
        &'a self,
        projection: &'a ProjectionName,
        guard: &'a Guard,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        self.put_drop(projection, guard).boxed()
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
