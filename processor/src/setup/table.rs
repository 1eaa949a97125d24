//! One table of our own: made if it is missing, checked if it is there.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, IndexStatus, KeySchemaElement, KeyType,
    Projection, ProjectionType, ScalarAttributeType, TableDescription, TableStatus, TimeToLiveSpecification,
    TimeToLiveStatus,
};

use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::fault;

/// How often a table that is being made is looked at again, and for how long altogether.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LOOKS: usize = 300;

/// What one of our tables is made of.
#[derive(Debug)]
pub struct Definition {
    /// The partition key, and the sort key where there is one.
    pub key: (&'static str, Option<&'static str>),
    /// The indexes over all attributes: name, partition key, sort key.
    pub indexes: &'static [(&'static str, &'static str, &'static str)],
    /// The key attributes that are numbers; all others are text, but for `binaries`.
    pub numbers: &'static [&'static str],
    /// The key attributes that are binary.
    pub binaries: &'static [&'static str],
    /// The attribute of the time to live, if rows expire.
    pub expires: Option<&'static str>,
}

impl Definition {
    /// The type of a key attribute, in DynamoDB's own word.
    pub fn type_of(&self, attribute: &str) -> &'static str {
        match attribute {
            _ if self.numbers.contains(&attribute) => "N",
            _ if self.binaries.contains(&attribute) => "B",
            _ => "S",
        }
    }
}

/// Makes a table with its indexes, its time to live and on-demand billing, and waits until it can be used.
///
/// A table that is there already is only checked: one of the same name that someone else made must not be written to.
pub(crate) async fn create(client: &Client, table: &str, definition: &Definition) -> Result<(), Fault> {
    let doing = || format!("create table {table}");
    let mut request = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    let ours = |error: BuildError| Fault::from_error(FaultKind::Rejected, doing(), &error);
    let (hash, range) = definition.key;
    for element in key_schema(hash, range).map_err(ours)? {
        request = request.key_schema(element);
    }
    for attribute in attributes(definition).map_err(ours)? {
        request = request.attribute_definitions(attribute);
    }
    for index in indexes(definition).map_err(ours)? {
        request = request.global_secondary_indexes(index);
    }
    match request.send().await {
        Ok(_) => {}
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {}
        Err(error) => return Err(fault(doing(), &error)),
    }
    let described = active(client, table).await?;
    check(&described, table, definition)?;
    match definition.expires {
        Some(attribute) => expire(client, table, attribute).await,
        None => Ok(()),
    }
}

fn key_schema(hash: &str, range: Option<&str>) -> Result<Vec<KeySchemaElement>, BuildError> {
    let element = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let hash = std::iter::once(element(hash, KeyType::Hash));
    hash.chain(range.map(|range| element(range, KeyType::Range))).collect()
}

fn attributes(definition: &Definition) -> Result<Vec<AttributeDefinition>, BuildError> {
    let (hash, range) = definition.key;
    let mut names: Vec<&str> = std::iter::once(hash).chain(range).collect();
    names.extend(definition.indexes.iter().flat_map(|(_, hash, range)| [*hash, *range]));
    names.sort_unstable();
    names.dedup();
    let kind = |name| ScalarAttributeType::from(definition.type_of(name));
    let attribute =
        |name| AttributeDefinition::builder().attribute_name(name).attribute_type(kind(name)).build();
    names.into_iter().map(attribute).collect()
}

fn indexes(definition: &Definition) -> Result<Vec<GlobalSecondaryIndex>, BuildError> {
    let all = Projection::builder().projection_type(ProjectionType::All).build();
    let index = |(name, hash, range): &(&str, &str, &str)| {
        GlobalSecondaryIndex::builder()
            .index_name(*name)
            .set_key_schema(Some(key_schema(hash, Some(range))?))
            .projection(all.clone())
            .build()
    };
    definition.indexes.iter().map(index).collect()
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
            Err(error) => return Err(fault(format!("describe table {table}"), &error)),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(Fault::new(FaultKind::Unavailable, format!("table {table} is still being made")))
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

fn check(described: &TableDescription, table: &str, definition: &Definition) -> Result<(), Fault> {
    let lacks = |what: String| {
        let cause = format!("table {table} was not made by Millstream: it lacks {what}");
        Err(Fault::new(FaultKind::Misconfigured, cause))
    };
    let (hash, range) = definition.key;
    if !has_keys(described.key_schema(), hash, range) {
        return lacks(format!(
            "the primary key `{}`",
            [Some(hash), range].into_iter().flatten().collect::<Vec<_>>().join("`, `")
        ));
    }
    for (name, hash, range) in definition.indexes {
        let found =
            described.global_secondary_indexes().iter().find(|index| index.index_name() == Some(name));
        if !found.is_some_and(|index| has_keys(index.key_schema(), hash, Some(range))) {
            return lacks(format!("the index `{name}` on `{hash}`, `{range}`"));
        }
    }
    Ok(())
}

fn has_keys(schema: &[KeySchemaElement], hash: &str, range: Option<&str>) -> bool {
    let has = |name, kind| schema.iter().any(|it| it.attribute_name() == name && *it.key_type() == kind);
    has(hash, KeyType::Hash) && range.is_none_or(|range| has(range, KeyType::Range))
}

async fn expire(client: &Client, table: &str, attribute: &str) -> Result<(), Fault> {
    let doing = || format!("let rows of table {table} expire");
    let described = client
        .describe_time_to_live()
        .table_name(table)
        .send()
        .await
        .map_err(|error| fault(doing(), &error))?
        .time_to_live_description;
    // Enabling it twice is an error of the service.
    let on = described.is_some_and(|ttl| {
        ttl.attribute_name() == Some(attribute)
            && matches!(ttl.time_to_live_status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling))
    });
    if on {
        return Ok(());
    }
    let spec = TimeToLiveSpecification::builder()
        .attribute_name(attribute)
        .enabled(true)
        .build()
        .map_err(|error| Fault::from_error(FaultKind::Rejected, doing(), &error))?;
    let sent = client.update_time_to_live().table_name(table).time_to_live_specification(spec).send().await;
    sent.map(|_| ()).map_err(|error| fault(doing(), &error))
}
