//! The letters' table: its keys, its indexes and its time to live.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, IndexStatus, KeySchemaElement, KeyType,
    Projection, ProjectionType, ScalarAttributeType, TableDescription, TableStatus, TimeToLiveSpecification,
    TimeToLiveStatus,
};

use super::rows::{EXPIRES, FIRST_AT, ID, PART};
use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::fault;

/// Heads of one projection, oldest first.
pub(super) const BY_PROJECTION: &str = "by-projection";
/// Heads of one source item, in the order of its changes.
const BY_KEY: &str = "by-key";
/// Heads that wait, oldest first.
pub(super) const BY_STATE: &str = "by-state";

/// The indexes: name, hash key, range key. Only heads have these attributes, so chunks are in none of them.
const INDEXES: [(&str, &str, &str); 3] =
    [(BY_PROJECTION, "projection", FIRST_AT), (BY_KEY, "digest", "version"), (BY_STATE, "state", FIRST_AT)];

/// The key attributes that are numbers; all others are text.
const NUMBERS: [&str; 2] = [PART, FIRST_AT];

/// How often a table that is being made is looked at again, and for how long altogether.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LOOKS: usize = 300;

/// Makes the table with its indexes, its time to live and on-demand billing, and waits until it can be used.
///
/// A table that is there already is only checked; it may lack nothing that the letters need.
pub async fn create(client: &Client, table: &str) -> Result<(), Fault> {
    let doing = || format!("create the letters' table {table}");
    let mut request = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    let ours = |error: BuildError| Fault::from_error(FaultKind::Rejected, doing(), &error);
    for element in key_schema(ID, PART).map_err(ours)? {
        request = request.key_schema(element);
    }
    for attribute in attributes().map_err(ours)? {
        request = request.attribute_definitions(attribute);
    }
    for index in indexes().map_err(ours)? {
        request = request.global_secondary_indexes(index);
    }
    match request.send().await {
        Ok(_) => {}
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {}
        Err(error) => return Err(fault(doing(), &error)),
    }
    let described = active(client, table).await?;
    check(&described, table)?;
    expire(client, table).await
}

fn key_schema(hash: &str, range: &str) -> Result<Vec<KeySchemaElement>, BuildError> {
    let element = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    Ok(vec![element(hash, KeyType::Hash)?, element(range, KeyType::Range)?])
}

fn attributes() -> Result<Vec<AttributeDefinition>, BuildError> {
    let mut names = vec![ID, PART];
    for (_, hash, range) in INDEXES {
        names.extend([hash, range]);
    }
    names.sort_unstable();
    names.dedup();
    let kind = |name| if NUMBERS.contains(&name) { ScalarAttributeType::N } else { ScalarAttributeType::S };
    let attribute =
        |name| AttributeDefinition::builder().attribute_name(name).attribute_type(kind(name)).build();
    names.into_iter().map(attribute).collect()
}

fn indexes() -> Result<Vec<GlobalSecondaryIndex>, BuildError> {
    let all = Projection::builder().projection_type(ProjectionType::All).build();
    let index = |(name, hash, range)| {
        GlobalSecondaryIndex::builder()
            .index_name(name)
            .set_key_schema(Some(key_schema(hash, range)?))
            .projection(all.clone())
            .build()
    };
    INDEXES.into_iter().map(index).collect()
}

/// Waits until the table and its indexes can be used.
async fn active(client: &Client, table: &str) -> Result<TableDescription, Fault> {
    for _ in 0..LOOKS {
        match client.describe_table().table_name(table).send().await {
            Ok(described) => {
                if let Some(described) = described.table.filter(is_active) {
                    return Ok(described);
                }
            }
            // The description of a table that was made a moment ago can lag.
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {}
            Err(error) => return Err(fault(format!("describe the letters' table {table}"), &error)),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(Fault::new(FaultKind::Unavailable, format!("the letters' table {table} is still being made")))
}

fn is_active(table: &TableDescription) -> bool {
    let usable =
        |status: Option<&TableStatus>| matches!(status, Some(TableStatus::Active | TableStatus::Updating));
    usable(table.table_status.as_ref())
        && table
            .global_secondary_indexes()
            .iter()
            .all(|index| matches!(index.index_status, Some(IndexStatus::Active | IndexStatus::Updating)))
}

/// A table of the same name that someone else made must not swallow letters.
fn check(described: &TableDescription, table: &str) -> Result<(), Fault> {
    let lacks = |what: String| {
        Fault::new(FaultKind::Misconfigured, format!("table {table} cannot keep letters: it lacks {what}"))
    };
    if !has_keys(described.key_schema(), ID, PART) {
        return Err(lacks(format!("the primary key `{ID}`, `{PART}`")));
    }
    for (name, hash, range) in INDEXES {
        let found =
            described.global_secondary_indexes().iter().find(|index| index.index_name() == Some(name));
        if !found.is_some_and(|index| has_keys(index.key_schema(), hash, range)) {
            return Err(lacks(format!("the index `{name}` on `{hash}`, `{range}`")));
        }
    }
    Ok(())
}

fn has_keys(schema: &[KeySchemaElement], hash: &str, range: &str) -> bool {
    let has = |name, kind| schema.iter().any(|it| it.attribute_name() == name && *it.key_type() == kind);
    has(hash, KeyType::Hash) && has(range, KeyType::Range)
}

async fn expire(client: &Client, table: &str) -> Result<(), Fault> {
    let doing = || format!("let letters in table {table} expire");
    let described = client
        .describe_time_to_live()
        .table_name(table)
        .send()
        .await
        .map_err(|error| fault(doing(), &error))?
        .time_to_live_description;
    // Enabling it twice is an error of the service.
    let on = described.is_some_and(|ttl| {
        ttl.attribute_name() == Some(EXPIRES)
            && matches!(ttl.time_to_live_status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling))
    });
    if on {
        return Ok(());
    }
    let spec = TimeToLiveSpecification::builder()
        .attribute_name(EXPIRES)
        .enabled(true)
        .build()
        .map_err(|error| Fault::from_error(FaultKind::Rejected, doing(), &error))?;
    let sent = client.update_time_to_live().table_name(table).time_to_live_specification(spec).send().await;
    sent.map(|_| ()).map_err(|error| fault(doing(), &error))
}
