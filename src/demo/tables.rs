//! The tables of the demo's services: how they are keyed, made and removed.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableStatus,
    TimeToLiveSpecification,
};
use millstream_processor::sink::fault::fault;

use super::DemoError;

/// Company profiles: what the first service owns.
pub(crate) const COMPANIES: &str = "CompanyProfile";
/// Statistics, several rows a company: another service's rows with a copy of the company's name.
pub(crate) const STATISTICS: &str = "CompanyStatistics";
/// Billing, one row a company: another service's rows with a copy.
pub(crate) const BILLING: &str = "CompanyBilling";
/// Orders: what the second service owns.
pub(crate) const ORDERS: &str = "Orders";
/// What accounting needs of an order.
pub(crate) const ACCOUNTING: &str = "AccountingOrders";
/// What inventory needs of an order, by warehouse.
pub(crate) const INVENTORY: &str = "InventoryOrders";
/// What shipping needs of an order.
pub(crate) const SHIPPING: &str = "ShippingOrders";
/// Totals of the orders of each customer.
pub(crate) const BY_CUSTOMER: &str = "OrdersByCustomer";
/// Totals of the orders of each month.
pub(crate) const BY_MONTH: &str = "OrdersByMonth";
/// Which orders have a tag.
pub(crate) const BY_TAG: &str = "OrdersByTag";
/// Which company has a VAT id.
pub(crate) const BY_VAT: &str = "CompanyByVat";

/// How a table is keyed. All key attributes are text.
pub(crate) struct Layout {
    /// The name without the prefix.
    pub(crate) name: &'static str,
    /// The primary key, partition key first.
    pub(crate) key: &'static [&'static str],
    /// An index by one attribute: its name and the attribute.
    index: Option<(&'static str, &'static str)>,
    /// Whether it has a stream.
    stream: bool,
}

/// The time to live of tables whose removed rows leave a mark for a while, as the config keeps them in `ShippingOrders`.
const EXPIRES: (&str, &str) = (SHIPPING, "ms:expires");

/// Every table of the two services.
pub(crate) const LAYOUTS: [Layout; 11] = [
    Layout { name: COMPANIES, key: &["companyId"], index: None, stream: true },
    Layout { name: ORDERS, key: &["orderId"], index: None, stream: true },
    Layout {
        name: STATISTICS,
        key: &["statisticsId"],
        index: Some(("by-company", "companyId")),
        stream: false,
    },
    Layout { name: BILLING, key: &["companyId"], index: None, stream: false },
    Layout { name: ACCOUNTING, key: &["orderId"], index: None, stream: false },
    Layout { name: INVENTORY, key: &["warehouse", "orderId"], index: None, stream: false },
    Layout { name: SHIPPING, key: &["orderId"], index: None, stream: false },
    Layout { name: BY_CUSTOMER, key: &["customer"], index: None, stream: false },
    Layout { name: BY_MONTH, key: &["month"], index: None, stream: false },
    Layout { name: BY_TAG, key: &["tag", "orderId"], index: None, stream: false },
    Layout { name: BY_VAT, key: &["vatId"], index: None, stream: false },
];

/// How long a table may take to come up or to go. AWS needs some seconds.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often a table is asked whether it is there yet.
const PAUSE: Duration = Duration::from_millis(500);

/// Makes one table and does not wait for it.
pub(crate) async fn create(client: &Client, prefix: &str, layout: &Layout) -> Result<(), DemoError> {
    let table = format!("{prefix}{}", layout.name);
    let built = (key_schema(layout.key), definitions(layout), index(layout));
    let (Ok(keys), Ok(definitions), Ok(index)) = built else {
        return Err(DemoError::new(format!("the layout of table {table} is incomplete")));
    };
    let stream = layout.stream.then(|| {
        StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(StreamViewType::NewAndOldImages)
            .build()
    });
    client
        .create_table()
        .table_name(&table)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(keys))
        .set_attribute_definitions(Some(definitions))
        .set_global_secondary_indexes(index.map(|index| vec![index]))
        .set_stream_specification(stream.transpose()?)
        .send()
        .await
        .map_err(|error| fault(format!("CreateTable {table}"), &error))?;
    Ok(())
}

/// Lets DynamoDB drop the marks of removed rows when their time has passed.
pub(crate) async fn expire(client: &Client, prefix: &str) -> Result<(), DemoError> {
    let table = format!("{prefix}{}", EXPIRES.0);
    let expire = TimeToLiveSpecification::builder().attribute_name(EXPIRES.1).enabled(true).build()?;
    let expired =
        client.update_time_to_live().table_name(&table).time_to_live_specification(expire).send().await;
    expired.map(drop).map_err(|error| fault(format!("UpdateTimeToLive on table {table}"), &error).into())
}

/// Waits until a table and its indexes can be used.
pub(crate) async fn await_active(client: &Client, table: &str) -> Result<(), DemoError> {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let described = describe(client, table).await?.and_then(|description| description.table_status);
        if described == Some(TableStatus::Active) {
            return Ok(());
        }
        if tokio::time::Instant::now() > give_up {
            return Err(DemoError::new(format!("table {table} is not ready after {} s", PATIENCE.as_secs())));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a table is; `None` if there is none.
pub(crate) async fn describe(
    client: &Client,
    table: &str,
) -> Result<Option<aws_sdk_dynamodb::types::TableDescription>, DemoError> {
    match client.describe_table().table_name(table).send().await {
        Ok(described) => Ok(described.table),
        Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
            Ok(None)
        }
        Err(error) => Err(fault(format!("DescribeTable {table}"), &error).into()),
    }
}

/// Removes a table, if it is there. One that is still being made is waited for.
pub(crate) async fn remove(client: &Client, table: &str) -> Result<(), DemoError> {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let Err(error) = client.delete_table().table_name(table).send().await else { return Ok(()) };
        match error.as_service_error() {
            Some(e) if e.is_resource_not_found_exception() => return Ok(()),
            Some(e) if e.is_resource_in_use_exception() && tokio::time::Instant::now() < give_up => {
                tokio::time::sleep(PAUSE).await;
            }
            _ => return Err(fault(format!("DeleteTable {table}"), &error).into()),
        }
    }
}

fn key_schema(key: &[&str]) -> Result<Vec<KeySchemaElement>, BuildError> {
    let kinds = [KeyType::Hash, KeyType::Range];
    let element = |(name, kind): (&&str, KeyType)| {
        KeySchemaElement::builder().attribute_name(*name).key_type(kind).build()
    };
    key.iter().zip(kinds).map(element).collect()
}

fn definitions(layout: &Layout) -> Result<Vec<AttributeDefinition>, BuildError> {
    let names = layout.key.iter().copied().chain(layout.index.map(|(_, attribute)| attribute));
    let definition = |name| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build()
    };
    names.map(definition).collect()
}

fn index(layout: &Layout) -> Result<Option<GlobalSecondaryIndex>, BuildError> {
    let Some((name, attribute)) = layout.index else { return Ok(None) };
    GlobalSecondaryIndex::builder()
        .index_name(name)
        .set_key_schema(Some(key_schema(&[attribute])?))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
        .map(Some)
}
