//! What the ledger remembers of rows that went with their source item: a removal that comes twice must not take rows that
//! were made in between.

use aws_sdk_dynamodb::types::AttributeValue;
use millstream_projections::{Guard, ProjectionName};

use super::client::DynamoDbSink;
use super::request::no_newer_tombstone;
use crate::ledger::{EXPIRES, ID, VERSION, drop_id};
use crate::outcome::Fault;
use crate::sink::fault::fault;

impl DynamoDbSink {
    /// Whether the rows of this removal, or of a later one, went already.
    pub(super) async fn is_drop_remembered(
        &self,
        projection: &ProjectionName,
        guard: &Guard,
    ) -> Result<bool, Fault> {
        let row = self
            .client
            .get_item()
            .table_name(&*self.ledger.table)
            .key(ID, AttributeValue::S(drop_id(projection, guard)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| fault(format!("GetItem on table {}", self.ledger.table), &error))?;
        let version = row.item().and_then(|row| row.get(VERSION)?.as_s().ok());
        Ok(version.is_some_and(|version| version.as_str() >= guard.version.as_str()))
    }

    /// Remembers that all rows of this removal went.
    pub(super) async fn put_drop(&self, projection: &ProjectionName, guard: &Guard) -> Result<(), Fault> {
        let newer = no_newer_tombstone(guard);
        let sent = self
            .client
            .put_item()
            .table_name(&*self.ledger.table)
            .item(ID, AttributeValue::S(drop_id(projection, guard)))
            .item(VERSION, AttributeValue::S(guard.version.to_string()))
            .item(EXPIRES, AttributeValue::N(self.expires(self.ledger.keep)))
            .condition_expression(newer.condition)
            .set_expression_attribute_names(Some(newer.names))
            .set_expression_attribute_values(Some(newer.values))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(()),
            // A later removal is remembered already.
            Err(error)
                if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(fault(format!("PutItem on table {}", self.ledger.table), &error)),
        }
    }
}
