//! Held keys in the ledger.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_projections::{KeyDigest, ProjectionName, Version};

use super::{Held, Holding, Holds, MAX_BYTES, MAX_CHANGES, MAX_KEYS, OrderedKey, raced};
use crate::ledger::ID;
use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::{fault, kind_of_code};

/// The set of held keys in a projection's row.
const KEYS: &str = "keys";
/// The set of held versions in a key's row.
const VERSIONS: &str = "versions";
/// Since when a key is held, in seconds since 1970.
const SINCE: &str = "since";
/// Another one after each write of a key's row.
const STAMP: &str = "stamp";

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
        Self { max_keys: max_keys.min(MAX_KEYS), max_changes: max_changes.min(MAX_CHANGES), ..self }
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

    async fn held(&self, key: &OrderedKey) -> Result<Option<Held>, Fault> {
        let Some(row) = self.row(key_id(key)).await? else { return Ok(None) };
        let damaged = |attribute: &str| {
            let cause = format!("row `{}` of table {} has no usable `{attribute}`", key_id(key), self.table);
            Fault::new(FaultKind::Misconfigured, cause)
        };
        let versions = row.get(VERSIONS).and_then(|versions| versions.as_ss().ok());
        let mut versions: Vec<Version> =
            versions.into_iter().flatten().map(|text| Version::from_text(text)).collect();
        versions.sort_unstable();
        let mut versions = versions.into_iter();
        let first = versions.next().ok_or_else(|| damaged(VERSIONS))?;
        let since = row.get(SINCE).and_then(|value| value.as_n().ok()?.parse().ok());
        let stamp = row.get(STAMP).and_then(|value| value.as_s().ok());
        Ok(Some(Held {
            first,
            later: versions.collect(),
            since: since.ok_or_else(|| damaged(SINCE))?,
            stamp: stamp.ok_or_else(|| damaged(STAMP))?.clone(),
        }))
    }

    async fn hold_version(
        &self,
        key: &OrderedKey,
        version: &Version,
        behind: bool,
        at: u64,
    ) -> Result<Holding, Fault> {
        let Some(held) = self.held(key).await? else {
            return match behind {
                true => Ok(Holding::LetGo),
                false => self.hold_anew(key, version, at).await,
            };
        };
        if held.contains(version) {
            return Ok(Holding::Held);
        }
        let bytes = held.versions().chain([version]).map(|version| version.as_str().len()).sum::<usize>();
        if held.changes() >= self.max_changes || bytes > MAX_BYTES {
            let OrderedKey { projection, digest, .. } = key;
            let changes = held.changes();
            let cause = format!(
                "projection {projection}: {changes} changes are held, or done since, behind a letter of the key {digest}; replay or discard what waits"
            );
            return Err(Fault::new(FaultKind::Misconfigured, cause));
        }
        let added = self
            .update(key)
            .update_expression("SET #stamp = :stamp ADD #versions :versions")
            .condition_expression("attribute_exists(#versions) AND size(#versions) < :most")
            .expression_attribute_values(":versions", set(version))
            .expression_attribute_values(":most", number(self.max_changes));
        match self.sent(added).await? {
            true => Ok(Holding::Held),
            false => Err(raced(key)),
        }
    }

    async fn hold_anew(&self, key: &OrderedKey, version: &Version, at: u64) -> Result<Holding, Fault> {
        let row = Put::builder()
            .table_name(&*self.table)
            .item(ID, text(key_id(key)))
            .item(VERSIONS, set(version))
            .item(SINCE, number(at))
            .item(STAMP, text(stamp()))
            .condition_expression("attribute_not_exists(#id)")
            .expression_attribute_names("#id", ID)
            .build();
        let named = Update::builder()
            .table_name(&*self.table)
            .key(ID, text(projection_id(&key.projection)))
            .update_expression("ADD #keys :key")
            .condition_expression("attribute_not_exists(#keys) OR size(#keys) < :most")
            .expression_attribute_names("#keys", KEYS)
            .expression_attribute_values(":key", set(key.digest))
            .expression_attribute_values(":most", number(self.max_keys))
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
                    "projection {}: {} keys wait behind letters; replay or discard some",
                    key.projection, self.max_keys
                ),
            )),
            [false, _] => Err(raced(key)),
        }
    }

    async fn touch_row(&self, key: &OrderedKey, version: &Version) -> Result<Holding, Fault> {
        let touched = self
            .update(key)
            .update_expression("SET #stamp = :stamp")
            .condition_expression("contains(#versions, :version)")
            .expression_attribute_values(":version", text(version));
        match self.sent(touched).await? {
            true => Ok(Holding::Held),
            false => Ok(Holding::LetGo),
        }
    }

    async fn release_row(&self, key: &OrderedKey, seen: &Held) -> Result<bool, Fault> {
        let row = Delete::builder()
            .table_name(&*self.table)
            .key(ID, text(key_id(key)))
            .condition_expression("#stamp = :seen")
            .expression_attribute_names("#stamp", STAMP)
            .expression_attribute_values(":seen", text(&seen.stamp))
            .build();
        let named = Update::builder()
            .table_name(&*self.table)
            .key(ID, text(projection_id(&key.projection)))
            .update_expression("DELETE #keys :key")
            .expression_attribute_names("#keys", KEYS)
            .expression_attribute_values(":key", set(key.digest))
            .build();
        let actions = [
            TransactWriteItem::builder().delete(built(row)?).build(),
            TransactWriteItem::builder().update(built(named)?).build(),
        ];
        Ok(self.transact(actions).await? == [true, true])
    }

    async fn forget_version(&self, key: &OrderedKey, seen: &Held, version: &Version) -> Result<bool, Fault> {
        if seen.later.is_empty() {
            return self.release_row(key, seen).await;
        }
        let forgotten = self
            .update(key)
            .update_expression("SET #stamp = :stamp DELETE #versions :versions")
            .condition_expression("#stamp = :seen")
            .expression_attribute_values(":versions", set(version))
            .expression_attribute_values(":seen", text(&seen.stamp));
        self.sent(forgotten).await
    }

    /// An update of a key's row, with another stamp.
    fn update(&self, key: &OrderedKey) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&*self.table)
            .key(ID, text(key_id(key)))
            .expression_attribute_names("#stamp", STAMP)
            .expression_attribute_names("#versions", VERSIONS)
            .expression_attribute_values(":stamp", text(stamp()))
    }

    /// Sends an update; tells whether its condition held.
    async fn sent(&self, update: UpdateItemFluentBuilder) -> Result<bool, Fault> {
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(fault(format!("UpdateItem of a held key in table {}", self.table), &error)),
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

    fn look<'a>(&'a self, key: &'a OrderedKey) -> BoxFuture<'a, Result<Option<Held>, Fault>> {
        self.held(key).boxed()
    }

    fn hold<'a>(
        &'a self,
        key: &'a OrderedKey,
        version: &'a Version,
        behind: bool,
        at: u64,
    ) -> BoxFuture<'a, Result<Holding, Fault>> {
        self.hold_version(key, version, behind, at).boxed()
    }

    fn touch<'a>(
        &'a self,
        key: &'a OrderedKey,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<Holding, Fault>> {
        self.touch_row(key, version).boxed()
    }

    fn release<'a>(&'a self, key: &'a OrderedKey, seen: &'a Held) -> BoxFuture<'a, Result<bool, Fault>> {
        self.release_row(key, seen).boxed()
    }

    fn forget<'a>(
        &'a self,
        key: &'a OrderedKey,
        seen: &'a Held,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        self.forget_version(key, seen, version).boxed()
    }
}

/// Drawn by lot: nothing hangs on what it is, only on its being another one. A count would begin anew with the row.
fn stamp() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn projection_id(projection: &ProjectionName) -> String {
    format!("held/{projection}")
}

fn key_id(key: &OrderedKey) -> String {
    format!("held/{}/{}", key.projection, key.digest)
}

fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

fn set(value: impl ToString) -> AttributeValue {
    AttributeValue::Ss(vec![value.to_string()])
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
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
