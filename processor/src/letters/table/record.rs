//! Records in chunks: put, let live on, and read together again.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;

use super::rows::{self, RecordPlace};
use super::{TableLetters, is_condition};
use crate::letters::LetterId;
use crate::outcome::Fault;
use crate::sink::fault::fault;

/// Chunks outlive their head by this: DynamoDB drops expired items in any order, within a few days.
const CHUNKS_OUTLIVE: u64 = 7 * 24 * 60 * 60;

impl TableLetters {
    /// Lets a record that is stored already live on; `false` if it is not there, or not whole.
    pub(super) async fn keep_record(
        &self,
        id: &LetterId,
        place: &RecordPlace,
        expires: u64,
    ) -> Result<bool, Fault> {
        for part in 1..=place.parts {
            let sent = self
                .client
                .update_item()
                .table_name(&*self.table)
                .set_key(Some(rows::key(&place.id, part)))
                .update_expression("SET #expires = :expires")
                .condition_expression("attribute_exists(#id)")
                .expression_attribute_names("#expires", rows::EXPIRES)
                .expression_attribute_names("#id", rows::ID)
                .expression_attribute_values(":expires", rows::number(expires + CHUNKS_OUTLIVE))
                .send()
                .await;
            match sent {
                Ok(_) => {}
                Err(error) if is_condition(error.as_service_error()) => return Ok(false),
                Err(error) => return Err(fault(self.doing("prolong the record of", id.as_str()), &error)),
            }
        }
        Ok(true)
    }

    /// Puts the chunks of a record: the same ones under the same names, however often.
    pub(super) async fn put_record(
        &self,
        id: &LetterId,
        record: &Bytes,
        expires: u64,
    ) -> Result<RecordPlace, Fault> {
        let place = RecordPlace::new(id, record);
        for (part, chunk) in (1..).zip(record.chunks(rows::CHUNK)) {
            self.client
                .put_item()
                .table_name(&*self.table)
                .set_item(Some(rows::key(&place.id, part)))
                .item(rows::BYTES, AttributeValue::B(Blob::new(chunk)))
                .item(rows::EXPIRES, rows::number(expires + CHUNKS_OUTLIVE))
                .send()
                .await
                .map_err(|error| fault(self.doing("store the record of", id.as_str()), &error))?;
        }
        Ok(place)
    }

    /// A record, whole, or the fault that says that it is not.
    pub(super) async fn record(&self, id: &LetterId, place: &RecordPlace) -> Result<Bytes, Fault> {
        let mut record = Vec::with_capacity(place.size);
        let mut from = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&*self.table)
                .key_condition_expression("#id = :id")
                .expression_attribute_names("#id", rows::ID)
                .expression_attribute_values(":id", AttributeValue::S(place.id.clone()))
                .set_exclusive_start_key(from)
                .consistent_read(true)
                .send()
                .await
                .map_err(|error| fault(self.doing("read the record of", id.as_str()), &error))?;
            for row in page.items() {
                let chunk = row.get(rows::BYTES).and_then(|bytes| bytes.as_b().ok());
                record.extend_from_slice(chunk.map(AsRef::as_ref).unwrap_or_default());
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        match RecordPlace::new(id, &record) == *place {
            true => Ok(record.into()),
            false => Err(self.damaged(id.as_str(), "its record is not the one that was stored")),
        }
    }
}
