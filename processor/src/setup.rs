//! The tables of our own, made where they are missing: for demos, tests and first runs. Making them twice changes nothing.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TimeToLiveSpecification,
};
use millstream_projections::config::{Config, LettersStore};

use crate::ledger;
use crate::letters::table;
use crate::outcome::Fault;
use crate::sink::fault::fault;
use crate::wiring::Aws;

/// Makes the ledger, and the table of letters if the config keeps them in one. Tells the names of the tables.
pub async fn create_tables(config: &Config, aws: &Aws) -> Result<Vec<String>, Fault> {
    let client = aws.dynamodb();
    let mut tables = vec![config.state.ledger_table()];
    create_ledger(&client, &tables[0]).await?;
    if matches!(config.letters.store, LettersStore::Table) {
        let letters = config.state.letters_table();
        table::create(&client, &letters).await?;
        tables.push(letters);
    }
    Ok(tables)
}

async fn create_ledger(client: &Client, table: &str) -> Result<(), Fault> {
    let key = KeySchemaElement::builder().attribute_name(ledger::ID).key_type(KeyType::Hash).build();
    let definition = AttributeDefinition::builder()
        .attribute_name(ledger::ID)
        .attribute_type(ScalarAttributeType::S)
        .build();
    let (key, definition) = (key.map_err(unbuildable)?, definition.map_err(unbuildable)?);
    let created = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key)
        .attribute_definitions(definition)
        .send()
        .await;
    match created {
        Ok(_) => expire_by(client, table, ledger::EXPIRES).await,
        Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => Ok(()),
        Err(error) => Err(fault(format!("CreateTable {table}"), &error)),
    }
}

/// Lets DynamoDB drop the rows whose time has passed.
pub(crate) async fn expire_by(client: &Client, table: &str, attribute: &str) -> Result<(), Fault> {
    let wait = format!("UpdateTimeToLive on table {table}");
    let specification = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(true).build();
    client
        .update_time_to_live()
        .table_name(table)
        .time_to_live_specification(specification.map_err(unbuildable)?)
        .send()
        .await
        .map(drop)
        .map_err(|error| fault(wait, &error))
}

pub(crate) fn unbuildable(error: aws_sdk_dynamodb::error::BuildError) -> Fault {
    Fault::from_error(crate::outcome::FaultKind::Misconfigured, "request cannot be built", &error)
}
