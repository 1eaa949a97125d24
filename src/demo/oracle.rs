//! What every read model and copy should hold, worked out by hand from the source tables.
//!
//! It shares no code with the projections, and reads no config: it is the second opinion.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use millstream_processor::sink::fault::fault;

use super::DemoError;
use super::row::{Row, text};
use super::tables::{ACCOUNTING, BILLING, COMPANIES, INVENTORY, LAYOUTS, ORDERS, SHIPPING, STATISTICS};
use super::workload::Others;

/// The rows of one table by their key in words.
pub(crate) type Rows = BTreeMap<String, Row>;
/// Rows by table.
pub(crate) type Tables = BTreeMap<&'static str, Rows>;

/// What is different where nothing should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The table, without the prefix.
    pub(crate) table: &'static str,
    /// The row's key.
    pub(crate) key: String,
    /// The attribute; the whole row where it is empty.
    pub(crate) attribute: String,
    /// What should be there.
    pub(crate) expected: Option<String>,
    /// What is there.
    pub(crate) found: Option<String>,
}

/// What the comparison came to.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// Rows that should be there or are there.
    pub(crate) rows: usize,
    /// What is different.
    pub(crate) differences: Vec<Difference>,
}

/// The tables that are compared.
const TARGETS: [&str; 5] = [STATISTICS, BILLING, ACCOUNTING, INVENTORY, SHIPPING];
/// What Millstream writes for itself beside the data.
const OWN: &str = "ms:";

/// Reads the source tables and all tables that follow from them, and compares.
pub(crate) async fn compare(client: &Client, prefix: &str, others: &Others) -> Result<Comparison, DemoError> {
    let companies = scan(client, prefix, COMPANIES).await?;
    let orders = scan(client, prefix, ORDERS).await?;
    let mut found = Tables::new();
    for table in TARGETS {
        found.insert(table, scan(client, prefix, table).await?);
    }
    Ok(diff(&expected(&companies, &orders, others), &found))
}

/// What should be there.
pub(crate) fn expected(companies: &Rows, orders: &Rows, others: &Others) -> Tables {
    let mut tables: Tables = TARGETS.map(|table| (table, Rows::new())).into();
    let mut add = |table: &'static str, row: Row| drop(tables.entry(table).or_default().insert(key(table, &row), row));
    for ((table, _), own) in others {
        add(table, with_copies(table, own, companies));
    }
    for order in orders.values() {
        accounting(order).into_iter().for_each(|row| add(ACCOUNTING, row));
        inventory(order).into_iter().for_each(|row| add(INVENTORY, row));
        shipping(order).into_iter().for_each(|row| add(SHIPPING, row));
    }
    tables
}

/// Another service's row, with what it should know of its company; nothing of a company that is not there.
fn with_copies(table: &str, own: &Row, companies: &Rows) -> Row {
    let mut row = own.clone();
    let company = own.get("companyId").and_then(|id| companies.get(&in_words(id)));
    let Some(company) = company else { return row };
    let copied: &[(&str, &str)] = match table {
        STATISTICS => &[("companyName", "name")],
        _ => &[("companyName", "name"), ("companyStatus", "status")],
    };
    for (attribute, source) in copied {
        row.extend(company.get(*source).map(|value| ((*attribute).to_owned(), value.clone())));
    }
    row
}
