//! Writes that need the ledger: rows that appear, change hands or go, in one transaction with their tombstone.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem,
};
use millstream_projections::Item;
use millstream_projections::effect::Target;

use super::client::{DynamoDbSink, Met, row};
use super::request::{
    Expression, May, SdkItem, absent, guarded, no_newer_tombstone, sdk_key, stored_guard, unchanged,
};
use crate::ledger::{EXPIRES, ID, VERSION, tombstone_id};
use crate::outcome::{Applied, Fault, FaultKind};
use crate::sink::RowWrite;
use crate::sink::fault::{fault, kind_of_code};

/// What is known of the row before a request is chosen.
enum Known {
    /// A row of ours, or one without a guard.
    Own,
    /// No row.
    Absent,
    /// A row that follows from another source item, with its guard.
    Others(String),
}

/// A row may change hands between two requests; after so many changes another attempt waits for its backoff.
const LOOKS: usize = 4;

impl DynamoDbSink {
    /// Puts a row: one conditional write where it is ours, a transaction where it is absent or another's.
    pub(super) async fn put_checked(
        &self,
        write: RowWrite<'_>,
        item: &Item,
        expect_row: bool,
    ) -> Result<Applied, Fault> {
        let mut known = if expect_row { Known::Own } else { Known::Absent };
        for _ in 0..LOOKS {
            let met = match &known {
                Known::Own => self.put_row(write, item, May::ChangeOwn).await?,
                Known::Absent => self.put_if(write, item, absent(write.key)).await?,
                Known::Others(seen) => self.put_if(write, item, unchanged(write.projection, seen)).await?,
            };
            known = match met {
                Met::Written => return Ok(Applied::Written),
                Met::Outdated => return Ok(Applied::Stale),
                Met::Refused(row) => match look(write, row.as_ref()) {
                    Some(known) => known,
                    None => return Ok(Applied::Stale),
                },
            };
        }
        Err(restless(write))
    }

    /// Deletes a row with its tombstone in one transaction; a row that is another's by now stays.
    pub(super) async fn delete_checked(&self, write: RowWrite<'_>) -> Result<Applied, Fault> {
        let mut known = Known::Own;
        for _ in 0..LOOKS {
            let first = match &known {
                Known::Own | Known::Absent => delete_own(write)?,
                Known::Others(seen) => check_unchanged(write, seen)?,
            };
            let met = self.transact(write, [first, self.put_tombstone(write)?]).await?;
            known = match (met, known) {
                (Met::Written, Known::Others(_)) | (Met::Outdated, _) => return Ok(Applied::Stale),
                (Met::Written, Known::Own | Known::Absent) => return Ok(Applied::Written),
                (Met::Refused(row), _) => match look(write, row.as_ref()) {
                    Some(known) => known,
                    None => return Ok(Applied::Stale),
                },
            };
        }
        Err(restless(write))
    }

    async fn put_if(&self, write: RowWrite<'_>, item: &Item, when: Expression) -> Result<Met, Fault> {
        let put = Put::builder()
            .table_name(&**write.table)
            .set_item(Some(row(write, item)))
            .condition_expression(&when.condition)
            .set_expression_attribute_values(when.some_values())
            .set_expression_attribute_names(Some(when.names))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build();
        let put = TransactWriteItem::builder().put(built(put)?).build();
        self.transact(write, [put, self.check_tombstone(write)?]).await
    }

    fn check_tombstone(&self, write: RowWrite<'_>) -> Result<TransactWriteItem, Fault> {
        let newer = no_newer_tombstone(write.guard);
        let check = ConditionCheck::builder()
            .table_name(&*self.ledger.table)
            .key(ID, AttributeValue::S(id(write)))
            .condition_expression(&newer.condition)
            .set_expression_attribute_names(Some(newer.names))
            .set_expression_attribute_values(Some(newer.values))
            .build();
        Ok(TransactWriteItem::builder().condition_check(built(check)?).build())
    }

    fn put_tombstone(&self, write: RowWrite<'_>) -> Result<TransactWriteItem, Fault> {
        let newer = no_newer_tombstone(write.guard);
        let put = Put::builder()
            .table_name(&*self.ledger.table)
            .item(ID, AttributeValue::S(id(write)))
            .item(VERSION, AttributeValue::S(write.guard.version.to_string()))
            .item(EXPIRES, AttributeValue::N(self.expires(self.ledger.keep)))
            .condition_expression(&newer.condition)
            .set_expression_attribute_names(Some(newer.names))
            .set_expression_attribute_values(Some(newer.values))
            .build();
        Ok(TransactWriteItem::builder().put(built(put)?).build())
    }

    /// Sends a transaction whose first action is on the row and whose second is on the ledger.
    async fn transact(&self, write: RowWrite<'_>, actions: [TransactWriteItem; 2]) -> Result<Met, Fault> {
        let result = self.client.transact_write_items().set_transact_items(Some(actions.into())).send().await;
        let Err(error) = result else { return Ok(Met::Written) };
        let doing = format!("TransactWriteItems on tables {} and {}", write.table, self.ledger.table);
        let reasons = reasons(&error);
        let resources = [&**write.table, &*self.ledger.table];
        if let Some(fault) = worst(&doing, reasons, &resources) {
            return Err(fault);
        }
        match reasons {
            [] => Err(fault(doing, &error)),
            [_, ledger] if is_failed(ledger) => Ok(Met::Outdated),
            [row, ..] => Ok(Met::Refused(row.item.clone())),
        }
    }
}

/// What the row that refused a write is; `None` if the write is stale.
fn look(write: RowWrite<'_>, row: Option<&SdkItem>) -> Option<Known> {
    let Some(row) = row else { return Some(Known::Absent) };
    match stored_guard(row, write.projection) {
        None => Some(Known::Own),
        Some(stored) if write.guard.is_stale_against(stored) => None,
        Some(stored) if write.guard.owns(stored) => Some(Known::Own),
        Some(stored) => Some(Known::Others(stored.to_owned())),
    }
}

fn delete_own(write: RowWrite<'_>) -> Result<TransactWriteItem, Fault> {
    let own = guarded(write.projection, write.guard, write.key, May::ChangeOwnOrCreate);
    let delete = Delete::builder()
        .table_name(&**write.table)
        .set_key(Some(sdk_key(write.key)))
        .condition_expression(&own.condition)
        .set_expression_attribute_names(Some(own.names))
        .set_expression_attribute_values(Some(own.values))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build();
    Ok(TransactWriteItem::builder().delete(built(delete)?).build())
}

fn check_unchanged(write: RowWrite<'_>, seen: &str) -> Result<TransactWriteItem, Fault> {
    let same = unchanged(write.projection, seen);
    let check = ConditionCheck::builder()
        .table_name(&**write.table)
        .set_key(Some(sdk_key(write.key)))
        .condition_expression(&same.condition)
        .set_expression_attribute_names(Some(same.names))
        .set_expression_attribute_values(Some(same.values))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build();
    Ok(TransactWriteItem::builder().condition_check(built(check)?).build())
}

fn id(write: RowWrite<'_>) -> String {
    let row = Target::Row { table: write.table.clone(), key: write.key.clone() };
    tombstone_id(write.projection, write.guard, &row)
}

/// Why each action of a transaction was not done; nothing if the error does not say.
pub(super) fn reasons<R>(error: &SdkError<TransactWriteItemsError, R>) -> &[CancellationReason] {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancelled.cancellation_reasons()
        }
        _ => &[],
    }
}

fn is_failed(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// The fault of a cancelled transaction, if any reason is more than a failed condition.
fn worst(doing: &str, reasons: &[CancellationReason], resources: &[&str; 2]) -> Option<Fault> {
    let faults = reasons.iter().zip(resources).filter_map(|(reason, resource)| {
        let code = reason.code().filter(|code| *code != "None" && *code != "ConditionalCheckFailed")?;
        let cause = format!("{code} on table {resource}: {}", reason.message().unwrap_or("no message"));
        Some(Fault { kind: kind_of_code(code), causes: vec![doing.to_owned(), cause] })
    });
    faults.reduce(|a, b| crate::apply::worse(Some(a), b))
}

/// The row changed hands with every look at it: a conflict like any other.
fn restless(write: RowWrite<'_>) -> Fault {
    Fault::new(
        FaultKind::Conflict,
        format!("a row of table {} changed hands {LOOKS} times in a row", write.table),
    )
}

fn built<T>(built: Result<T, aws_sdk_dynamodb::error::BuildError>) -> Result<T, Fault> {
    built.map_err(|error| Fault::from_error(FaultKind::Rejected, "request cannot be built", &error))
}
