//! What a table's primary key is made of, looked up once, when it is first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{IndexStatus, TableDescription};
use millstream_projections::item::{AttributeName, Key};

use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::fault;

/// What a write has to know of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The attributes of the primary key, partition key first.
    pub key: Vec<AttributeName>,
    /// The indexes by name.
    pub indexes: HashMap<String, Index>,
}

/// What a query has to know of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The attributes of its key, partition key first.
    pub key: Vec<AttributeName>,
    /// Whether it is filled already, so that it can be asked.
    pub filled: bool,
}

/// The schemas of the tables that were asked for.
#[derive(Debug, Default)]
pub struct Schemas {
    known: Mutex<HashMap<Arc<str>, Arc<Schema>>>,
}

impl Schemas {
    /// The schema of a table, as it was when it was first asked for.
    pub async fn of(&self, client: &Client, table: &Arc<str>) -> Result<Arc<Schema>, Fault> {
        if let Some(schema) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(table) {
            return Ok(schema.clone());
        }
        self.fresh(client, table).await
    }

    /// The schema of a table as it is now. A verdict against the deployment rests on this one: someone may have mended it.
    pub async fn fresh(&self, client: &Client, table: &Arc<str>) -> Result<Arc<Schema>, Fault> {
        let doing = format!("DescribeTable {table}");
        let described = client.describe_table().table_name(&**table).send().await;
        let described = described.map_err(|error| fault(&doing, &error))?;
        let Some(description) = described.table else {
            return Err(Fault::new(
                FaultKind::Unavailable,
                format!("{doing}: the answer describes no table"),
            ));
        };
        let schema = Arc::new(Schema::of(&description));
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(table.clone(), schema.clone());
        Ok(schema)
    }
}

impl Schema {
    fn of(description: &TableDescription) -> Self {
        let names = |elements: &[aws_sdk_dynamodb::types::KeySchemaElement]| -> Vec<AttributeName> {
            elements.iter().map(|element| element.attribute_name().into()).collect()
        };
        let filled = |status: Option<&IndexStatus>, backfilling: Option<bool>| {
            !matches!(status, Some(IndexStatus::Creating)) && backfilling != Some(true)
        };
        let global = description.global_secondary_indexes().iter().map(|index| {
            let filled = filled(index.index_status(), index.backfilling());
            (index.index_name(), Index { key: names(index.key_schema()), filled })
        });
        let local = description.local_secondary_indexes().iter();
        let local =
            local.map(|index| (index.index_name(), Index { key: names(index.key_schema()), filled: true }));
        let indexes = global.chain(local).filter_map(|(name, index)| Some((name?.to_owned(), index)));
        Self { key: names(description.key_schema()), indexes: indexes.collect() }
    }

    /// Why `who` cannot write rows of this key to the table, if its key is another.
    pub fn misfit(&self, table: &str, key: &Key, who: &str) -> Option<String> {
        let fits = key.len() == self.key.len() && self.key.iter().all(|name| key.contains_key(name));
        let named: Vec<_> = key.keys().map(|name| &**name).collect();
        let (has, named) = (self.key.join(", "), named.join(", "));
        (!fits).then(|| format!("table {table} has the key ({has}), but {who} writes the key ({named})"))
    }
}
