//! Held keys in the ledger.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_projections::{KeyDigest, ProjectionName, Version};

use super::{Held, Holding, Holds, MAX_CHANGES, MAX_KEYS, Released};
use crate::ledger::ID;
use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::{fault, kind_of_code};

/// The set of held keys in a projection's row.
const KEYS: &str = "keys";
/// From which version a key is held.
const FIRST: &str = "first";
/// Up to which version.
const LAST: &str = "last";
/// How many versions that is.
const CHANGES: &str = "changes";

/// Held keys in the ledger's table.
#[derive(Debug, Clone)]
pub struct LedgerHolds {
    client: Client,
    table: Arc<str>,
    max_keys: u64,
    max_changes: u64,
}

impl LedgerHolds {
    /// Held keys in `table`. Makes no request.
    pub fn new(client: Client, table: Arc<str>) -> Self {
        Self { client, table, max_keys: MAX_KEYS, max_changes: MAX_CHANGES }
    }

    /// The same with other limits: how many keys of a projection can be held, and how many changes of a key.
    pub fn with_limits(self, max_keys: u64, max_changes: u64) -> Self {
        Self { max_keys: max_keys.min(MAX_KEYS), max_changes, ..self }
    }

    async fn row(&self, id: String) -> Result<Option<HashMap<String, AttributeValue>>, Fault> {
        let doing = format!("GetItem of held keys in table {}", self.table);
        let read = self.client.get_item().table_name(&*self.table).key(ID, text(id)).consistent_read(true);
        Ok(read.send().await.map_err(|error| fault(doing, &error))?.item)
    }

    async fn held_keys(&self, projection: &ProjectionName) -> Result<HashSet<KeyDigest>, Fault> {
        let Some(row) = self.row(projection_id(projection)).await? else { return Ok(HashSet::new()) };
        let keys = row.get(KEYS).and_then(|keys| keys.as_ss().ok());
        Ok(keys.into_iter().flatten().filter_map(|key| KeyDigest::from_text(key)).collect())
    }

    async fn held(&self, projection: &ProjectionName, key: KeyDigest) -> Result<Option<Held>, Fault> {
        let Some(row) = self.row(key_id(projection, key)).await? else { return Ok(None) };
        let version = |name: &str| {
            let text = row.get(name).and_then(|value| value.as_s().ok());
            text.map(|text| Version::from_text(text)).ok_or_else(|| self.damaged(projection, key, name))
        };
        let changes = row.get(CHANGES).and_then(|value| value.as_n().ok()?.parse().ok());
        let changes = changes.ok_or_else(|| self.damaged(projection, key, CHANGES))?;
        Ok(Some(Held { first: version(FIRST)?, last: version(LAST)?, changes }))
    }

    fn damaged(&self, projection: &ProjectionName, key: KeyDigest, attribute: &str) -> Fault {
        let row = key_id(projection, key);
        Fault::new(
            FaultKind::Misconfigured,
            format!("row `{row}` of table {} has no usable `{attribute}`", self.table),
        )
    }

    async fn hold_up_to(
        &self,
        projection: &ProjectionName,
        key: KeyDigest,
        version: &Version,
        behind: bool,
    ) -> Result<Holding, Fault> {
        match self.held(projection, key).await? {
            None if behind => Ok(Holding::LetGo),
            None => self.hold_anew(projection, key, version).await,
            Some(held) if *version <= held.last => Ok(Holding::Held),
            Some(held) if held.changes >= self.max_changes => Err(Fault::new(
                FaultKind::Misconfigured,
                format!(
                    "projection {projection}: {} changes wait behind a letter of the key {key}; replay or discard it",
                    self.max_changes
                ),
            )),
            Some(held) => self.prolong(projection, key, version, &held).await,
        }
    }

    async fn hold_anew(
        &self,
        projection: &ProjectionName,
        key: KeyDigest,
        version: &Version,
    ) -> Result<Holding, Fault> {
        let row = Put::builder()
            .table_name(&*self.table)
            .item(ID, text(key_id(projection, key)))
            .item(FIRST, text(version))
            .item(LAST, text(version))
            .item(CHANGES, AttributeValue::N("1".to_owned()))
            .condition_expression("attribute_not_exists(#id)")
            .expression_attribute_names("#id", ID)
            .build();
        let named = Update::builder()
            .table_name(&*self.table)
            .key(ID, text(projection_id(projection)))
            .update_expression("ADD #keys :key")
            .condition_expression("attribute_not_exists(#keys) OR size(#keys) < :most")
            .expression_attribute_names("#keys", KEYS)
            .expression_attribute_values(":key", AttributeValue::Ss(vec![key.to_string()]))
            .expression_attribute_values(":most", AttributeValue::N(self.max_keys.to_string()))
            .build();
        let actions = [
            TransactWriteItem::builder().put(built(row)?).build(),
            TransactWriteItem::builder().update(built(named)?).build(),
        ];
        match self.transact(actions).await? {
            [true, true] => Ok(Holding::Held),
            [true, false] => Err(Fault::new(
                FaultKind::Misconfigured,
                format!(
                    "projection {projection}: {MAX_KEYS} keys wait behind letters; replay or discard some"
                ),
            )),
            [false, _] => Err(raced(projection, key)),
        }
    }

    async fn prolong(
        &self,
        projection: &ProjectionName,
        key: KeyDigest,
        version: &Version,
        held: &Held,
    ) -> Result<Holding, Fault> {
        let sent = self
            .client
            .update_item()
            .table_name(&*self.table)
            .key(ID, text(key_id(projection, key)))
            .update_expression("SET #last = :version ADD #changes :one")
            .condition_expression("#last = :seen")
            .expression_attribute_names("#last", LAST)
            .expression_attribute_names("#changes", CHANGES)
            .expression_attribute_values(":version", text(version))
            .expression_attribute_values(":seen", text(&held.last))
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Holding::Held),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Err(raced(projection, key))
            }
            Err(error) => Err(fault(format!("UpdateItem of a held key in table {}", self.table), &error)),
        }
    }

    async fn let_go(
        &self,
        projection: &ProjectionName,
        key: KeyDigest,
        version: &Version,
    ) -> Result<Released, Fault> {
        let Some(held) = self.held(projection, key).await? else { return Ok(Released::Free) };
        if held.last > *version {
            return Ok(Released::More);
        }
        let row = Delete::builder()
            .table_name(&*self.table)
            .key(ID, text(key_id(projection, key)))
            .condition_expression("#last = :last")
            .expression_attribute_names("#last", LAST)
            .expression_attribute_values(":last", text(&held.last))
            .build();
        let named = Update::builder()
            .table_name(&*self.table)
            .key(ID, text(projection_id(projection)))
            .update_expression("DELETE #keys :key")
            .expression_attribute_names("#keys", KEYS)
            .expression_attribute_values(":key", AttributeValue::Ss(vec![key.to_string()]))
            .build();
        let actions = [
            TransactWriteItem::builder().delete(built(row)?).build(),
            TransactWriteItem::builder().update(built(named)?).build(),
        ];
        match self.transact(actions).await? {
            [true, true] => Ok(Released::Free),
            [false, _] | [_, false] => Ok(Released::More),
        }
    }

    /// Sends two actions; tells of each whether its condition held.
    async fn transact(&self, actions: [TransactWriteItem; 2]) -> Result<[bool; 2], Fault> {
        let sent = self.client.transact_write_items().set_transact_items(Some(actions.into())).send().await;
        let Err(error) = sent else { return Ok([true, true]) };
        let doing = format!("TransactWriteItems of a held key in table {}", self.table);
        let codes = codes(&error);
        let other = codes.iter().find(|code| !matches!(code.as_str(), "None" | "ConditionalCheckFailed"));
        match (other, codes.as_slice()) {
            (None, [first, second]) => Ok([first == "None", second == "None"]),
            (Some(code), _) => Err(Fault { kind: kind_of_code(code), causes: vec![doing, code.clone()] }),
            (None, _) => Err(fault(doing, &error)),
        }
    }
}

impl Holds for LedgerHolds {
    fn keys<'a>(
        &'a self,
        projection: &'a ProjectionName,
    ) -> BoxFuture<'a, Result<HashSet<KeyDigest>, Fault>> {
        self.held_keys(projection).boxed()
    }

    fn look<'a>(
        &'a self,
        projection: &'a ProjectionName,
        key: KeyDigest,
    ) -> BoxFuture<'a, Result<Option<Held>, Fault>> {
        self.held(projection, key).boxed()
    }

    fn hold<'a>(
        &'a self,
        projection: &'a ProjectionName,
        key: KeyDigest,
        version: &'a Version,
        behind: bool,
    ) -> BoxFuture<'a, Result<Holding, Fault>> {
        self.hold_up_to(projection, key, version, behind).boxed()
    }

    fn release<'a>(
        &'a self,
        projection: &'a ProjectionName,
        key: KeyDigest,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<Released, Fault>> {
        self.let_go(projection, key, version).boxed()
    }
}

fn projection_id(projection: &ProjectionName) -> String {
    format!("held/{projection}")
}

fn key_id(projection: &ProjectionName, key: KeyDigest) -> String {
    format!("held/{projection}/{key}")
}

fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

/// Someone else was at the key in the same moment: look again.
fn raced(projection: &ProjectionName, key: KeyDigest) -> Fault {
    Fault::new(
        FaultKind::Conflict,
        format!("projection {projection}: the held key {key} was changed meanwhile"),
    )
}

fn codes<R>(error: &SdkError<TransactWriteItemsError, R>) -> Vec<String> {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            let code = |reason: &aws_sdk_dynamodb::types::CancellationReason| {
                reason.code().unwrap_or("None").to_owned()
            };
            cancelled.cancellation_reasons().iter().map(code).collect()
        }
        _ => Vec::new(),
    }
}

fn built<T>(built: Result<T, aws_sdk_dynamodb::error::BuildError>) -> Result<T, Fault> {
    built.map_err(|error| Fault::from_error(FaultKind::Rejected, "request cannot be built", &error))
}
