//! Reads rows as they stand, so that a plan can tell what a write would meet.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_projections::effect::Target;
use millstream_projections::item::Key;
use millstream_projections::{Guard, Item, ProjectionName, Value};

use super::client::DynamoDbSink;
use super::request::{SdkItem, sdk_key};
use crate::ledger::{ID, VERSION, tombstone_id};
use crate::outcome::Fault;
use crate::sink::RowReader;
use crate::sink::fault::fault;

impl DynamoDbSink {
    async fn row(&self, table: &str, key: SdkItem) -> Result<Option<SdkItem>, Fault> {
        let read = self.client.get_item().table_name(table).set_key(Some(key)).consistent_read(true);
        Ok(read.send().await.map_err(|error| fault(format!("GetItem on table {table}"), &error))?.item)
    }
}

impl RowReader for DynamoDbSink {
    fn current<'a>(
        &'a self,
        table: &'a Arc<str>,
        key: &'a Key,
    ) -> BoxFuture<'a, Result<Option<Item>, Fault>> {
        async move {
            let row = self.row(table, sdk_key(key)).await?;
            let item = |row: SdkItem| -> Item {
                let values = row.into_iter().map(|(name, value)| (name, Value::from(value)));
                values.collect::<std::collections::HashMap<_, _>>().into()
            };
            Ok(row.map(item))
        }
        .boxed()
    }

    fn tombstone<'a>(
        &'a self,
        projection: &'a ProjectionName,
        guard: &'a Guard,
        row: &'a Target,
    ) -> BoxFuture<'a, Result<Option<String>, Fault>> {
        async move {
            let id = AttributeValue::S(tombstone_id(projection, guard, row));
            let found = self.row(&self.ledger.table, SdkItem::from([(ID.to_owned(), id)])).await?;
            let version = found.as_ref().and_then(|row| row.get(VERSION)?.as_s().ok());
            Ok(version.cloned())
        }
        .boxed()
    }
}
