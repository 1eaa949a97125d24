//! The actions of a fold as DynamoDB's, made without I/O.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
    Update,
};
use millstream_projections::decimal::Decimal;
use millstream_projections::item::AttributeName;
use millstream_projections::{Guard, Item, KeyDigest, ProjectionName, Value};

use super::fold::value_key;
use super::request::{Expression, SdkItem, absent, guard_attribute, sdk_key};
use crate::ledger::{EXPIRES, ID, ITEMS, Ledger, SHARES, SOURCE_KEY, VALUE, VERSION, fold_id};
use crate::outcome::{Fault, FaultKind};
use crate::sink::fold::{Action, LedgerMove, Numbers, Only, Revision, Seen, Settle, SharedRow, ValueMove};

const ALL_OLD: ReturnValuesOnConditionCheckFailure = ReturnValuesOnConditionCheckFailure::AllOld;

/// For which projection a request is, and where its ledger is.
pub(super) struct Place<'a> {
    pub(super) projection: &'a ProjectionName,
    pub(super) ledger: &'a Ledger,
    /// When a ledger row may go that says an item contributes nothing.
    pub(super) expires: String,
}

/// The request of one action.
pub(super) fn request(place: &Place<'_>, action: &Action) -> Result<TransactWriteItem, Fault> {
    let made = match action {
        Action::Ledger(moved) => ledger(place, moved),
        Action::Add { row, add, only } => update(row, condition(only), add),
        Action::Settle(settled) => settle(place.projection, settled),
        Action::DropEmpty { row, seen, revision } => {
            let mut only = unchanged_numbers(seen);
            if let Some(revision) = revision {
                only.and(unchanged(place.projection, revision));
            }
            delete(row, only)
        }
        Action::Absent { row } => check_absent(row),
        Action::PutLookup { row, item, guard, adopt } => {
            put_lookup(place.projection, row, item, guard, *adopt)
        }
        Action::DropLookup { row, digest, adopt } => {
            delete(row, own_or_absent(place.projection, row, *digest, *adopt))
        }
        Action::Value(moved) => value(place.ledger, moved),
    };
    made.map_err(|error| Fault::from_error(FaultKind::Rejected, "request cannot be built", &error))
}

fn ledger(place: &Place<'_>, moved: &LedgerMove) -> Result<TransactWriteItem, BuildError> {
    let mut expression = Expression::default();
    expression.name("#shares", SHARES);
    expression.name("#version", VERSION);
    expression.name("#key", SOURCE_KEY);
    expression.name("#expires", EXPIRES);
    expression.value(":version", AttributeValue::S(moved.guard.version.to_string()));
    expression.value(":seen", moved.seen.to_value().into());
    expression.value(":next", moved.next.to_value().into());
    expression.value(":key", AttributeValue::M(sdk_item(&moved.source_key)));
    let never = if moved.seen.is_empty() {
        "(attribute_not_exists(#shares) OR #shares = :seen)"
    } else {
        "#shares = :seen"
    };
    let older = "(attribute_not_exists(#version) OR #version < :version)";
    expression.condition = format!("{never} AND {older}");
    expression.update = "SET #shares = :next, #key = :key".to_owned();
    if moved.done {
        expression.update.push_str(", #version = :version");
    }
    if moved.done && moved.next.is_empty() {
        expression.value(":expires", AttributeValue::N(place.expires.clone()));
        expression.update.push_str(", #expires = :expires");
    } else {
        expression.update.push_str(" REMOVE #expires");
    }
    let id =
        SdkItem::from([(ID.to_owned(), AttributeValue::S(fold_id(place.projection, moved.guard.digest)))]);
    updating(&place.ledger.table, id, expression)
}

fn update(row: &SharedRow, mut only: Expression, add: &Numbers) -> Result<TransactWriteItem, BuildError> {
    only.update = adding(&mut only, add.iter());
    updating(&row.table, sdk_key(&row.key), only)
}

/// `ADD #a0 :a0, …`; what is zero is added as well, so that every row has every attribute.
fn adding<'a>(
    expression: &mut Expression,
    add: impl Iterator<Item = (&'a AttributeName, &'a Decimal)>,
) -> String {
    let mut update = String::new();
    for (place, (name, number)) in add.enumerate() {
        let (name_at, value_at) = (format!("#a{place}"), format!(":a{place}"));
        update.push_str(if place == 0 { "ADD " } else { ", " });
        update.push_str(&format!("{name_at} {value_at}"));
        expression.name(&name_at, name);
        expression.value(&value_at, AttributeValue::N(number.to_string()));
    }
    update
}

fn settle(projection: &ProjectionName, settled: &Settle) -> Result<TransactWriteItem, BuildError> {
    let mut only = unchanged(projection, &settled.seen);
    let (mut set, mut remove) = (Vec::new(), Vec::new());
    for (place, (name, value)) in settled.statistics.iter().enumerate() {
        let (name_at, value_at) = (format!("#s{place}"), format!(":s{place}"));
        only.name(&name_at, name);
        match value {
            Some(value) => {
                only.value(&value_at, value.clone().into());
                set.push(format!("{name_at} = {value_at}"));
            }
            None => remove.push(name_at),
        }
    }
    if let Revision(Some(next)) = &settled.next {
        only.value(":next", AttributeValue::S(next.clone()));
        set.push("#revision = :next".to_owned());
    }
    let mut update = format!("SET {}", set.join(", "));
    if !remove.is_empty() {
        update.push_str(&format!(" REMOVE {}", remove.join(", ")));
    }
    // What was added up under an earlier config and is a statistic now is set, not added.
    let add = settled.add.iter().filter(|(name, _)| !settled.statistics.contains_key(*name));
    let add = adding(&mut only, add);
    only.update = format!("{update} {add}");
    updating(&settled.row.table, sdk_key(&settled.row.key), only)
}

fn put_lookup(
    projection: &ProjectionName,
    row: &SharedRow,
    item: &Item,
    guard: &Guard,
    adopt: bool,
) -> Result<TransactWriteItem, BuildError> {
    let mut stored = sdk_item(item);
    stored.extend(sdk_key(&row.key));
    stored.insert(guard_attribute(projection), AttributeValue::S(guard.to_string()));
    let only = own_or_absent(projection, row, guard.digest, adopt);
    let put = Put::builder()
        .table_name(&*row.table)
        .set_item(Some(stored))
        .condition_expression(&only.condition)
        .set_expression_attribute_values(only.some_values())
        .set_expression_attribute_names(Some(only.names))
        .return_values_on_condition_check_failure(ALL_OLD)
        .build()?;
    Ok(TransactWriteItem::builder().put(put).build())
}

fn value(ledger: &Ledger, moved: &ValueMove) -> Result<TransactWriteItem, BuildError> {
    let key = value_key(&moved.column, &moved.order);
    let had = (moved.had > 0).then(|| Decimal::from(moved.had));
    let only = unchanged_numbers(&Seen::from([(ITEMS.into(), had)]));
    if moved.items == 0 {
        let delete = Delete::builder()
            .table_name(&*ledger.values)
            .set_key(Some(key))
            .condition_expression(&only.condition)
            .set_expression_attribute_values(only.some_values())
            .set_expression_attribute_names(Some(only.names))
            .build()?;
        return Ok(TransactWriteItem::builder().delete(delete).build());
    }
    let put = Put::builder()
        .table_name(&*ledger.values)
        .set_item(Some(key))
        .item(VALUE, moved.value.clone().into())
        .item(ITEMS, AttributeValue::N(moved.items.to_string()))
        .condition_expression(&only.condition)
        .set_expression_attribute_values(only.some_values())
        .set_expression_attribute_names(Some(only.names))
        .build()?;
    Ok(TransactWriteItem::builder().put(put).build())
}

fn check_absent(row: &SharedRow) -> Result<TransactWriteItem, BuildError> {
    let only = absent(&row.key);
    let check = ConditionCheck::builder()
        .table_name(&*row.table)
        .set_key(Some(sdk_key(&row.key)))
        .condition_expression(&only.condition)
        .set_expression_attribute_names(Some(only.names))
        .return_values_on_condition_check_failure(ALL_OLD)
        .build()?;
    Ok(TransactWriteItem::builder().condition_check(check).build())
}

fn updating(table: &str, key: SdkItem, expression: Expression) -> Result<TransactWriteItem, BuildError> {
    let values = expression.some_values();
    let condition = (!expression.condition.is_empty()).then_some(expression.condition);
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(key))
        .update_expression(expression.update)
        .set_condition_expression(condition)
        .set_expression_attribute_names(Some(expression.names))
        .set_expression_attribute_values(values)
        .return_values_on_condition_check_failure(ALL_OLD)
        .build()?;
    Ok(TransactWriteItem::builder().update(update).build())
}

fn delete(row: &SharedRow, only: Expression) -> Result<TransactWriteItem, BuildError> {
    let delete = Delete::builder()
        .table_name(&*row.table)
        .set_key(Some(sdk_key(&row.key)))
        .condition_expression(&only.condition)
        .set_expression_attribute_values(only.some_values())
        .set_expression_attribute_names(Some(only.names))
        .return_values_on_condition_check_failure(ALL_OLD)
        .build()?;
    Ok(TransactWriteItem::builder().delete(delete).build())
}

fn condition(only: &Only) -> Expression {
    match only {
        Only::Always => Expression::default(),
        Only::Above(name, number) => {
            let mut above = Expression::default();
            above.name("#above", name);
            above.value(":above", AttributeValue::N(number.to_string()));
            above.condition = "#above > :above".to_owned();
            above
        }
        Only::Unchanged(seen) => unchanged_numbers(seen),
    }
}

/// The condition that the row's numbers are what was seen.
fn unchanged_numbers(seen: &Seen) -> Expression {
    let mut only = Expression::default();
    let mut conditions = Vec::with_capacity(seen.len());
    for (place, (name, number)) in seen.iter().enumerate() {
        let (name_at, value_at) = (format!("#seen{place}"), format!(":seen{place}"));
        only.name(&name_at, name);
        conditions.push(match number {
            None => format!("attribute_not_exists({name_at})"),
            Some(number) => {
                only.value(&value_at, AttributeValue::N(number.to_string()));
                format!("{name_at} = {value_at}")
            }
        });
    }
    only.condition = conditions.join(" AND ");
    only
}

/// The condition that the row's statistics have not changed.
fn unchanged(projection: &ProjectionName, revision: &Revision) -> Expression {
    let mut only = Expression::default();
    only.name("#revision", &guard_attribute(projection));
    only.condition = match &revision.0 {
        None => "attribute_not_exists(#revision)".to_owned(),
        Some(seen) => {
            only.value(":revision", AttributeValue::S(seen.clone()));
            "#revision = :revision".to_owned()
        }
    };
    only
}

/// The condition that the row is the source item's own, or not there; where rows are adopted, or carries no guard.
fn own_or_absent(projection: &ProjectionName, row: &SharedRow, digest: KeyDigest, adopt: bool) -> Expression {
    let mut only = Expression::default();
    only.name("#guard", &guard_attribute(projection));
    only.value(":own", AttributeValue::S(format!("{digest}/")));
    let free = if adopt {
        "#guard"
    } else {
        only.row_name(&row.key);
        "#row"
    };
    only.condition = format!("attribute_not_exists({free}) OR begins_with(#guard, :own)");
    only
}

fn sdk_item(item: &Item) -> SdkItem {
    item.iter().map(|(name, value): (&String, &Value)| (name.clone(), value.clone().into())).collect()
}
