//! What every read model and copy should hold, worked out by hand from the source tables.
//!
//! It shares no code with the projections, and reads no config: it is the second opinion.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use millstream_processor::sink::fault::fault;

use super::DemoError;
use super::row::{Row, text};
use super::tables::{
    ACCOUNTING, BILLING, BY_CUSTOMER, BY_MONTH, BY_TAG, BY_VAT, COMPANIES, INVENTORY, LAYOUTS, ORDERS,
    SHIPPING, STATISTICS,
};
use super::workload::Memory;

/// What the tables of lookups should hold.
mod lookups;
/// What the tables of totals should hold.
mod totals;

/// The rows of one table by their key in words.
type Rows = BTreeMap<String, Row>;
/// Rows by table.
type Tables = BTreeMap<&'static str, Rows>;

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
const TARGETS: [&str; 9] =
    [STATISTICS, BILLING, ACCOUNTING, INVENTORY, SHIPPING, BY_CUSTOMER, BY_MONTH, BY_TAG, BY_VAT];
/// What Millstream writes for itself beside the data.
const OWN: &str = "ms:";

/// Marks a row that is removed, where the mark stands in the row's own place.
const REMOVED: &str = "ms:removed";

/// Reads the source tables and all tables that follow from them, and compares.
pub(crate) async fn compare(client: &Client, prefix: &str, memory: &Memory) -> Result<Comparison, DemoError> {
    let companies = scan(client, prefix, COMPANIES).await?;
    let orders = scan(client, prefix, ORDERS).await?;
    let mut found = Tables::new();
    for table in TARGETS {
        found.insert(table, scan(client, prefix, table).await?);
    }
    totals::as_expected(&mut found);
    Ok(diff(&expected(&companies, &orders, memory), &found))
}

/// What should be there.
fn expected(companies: &Rows, orders: &Rows, memory: &Memory) -> Tables {
    let mut tables: Tables = TARGETS.map(|table| (table, Rows::new())).into();
    let mut add =
        |table: &'static str, row: Row| drop(tables.entry(table).or_default().insert(key(table, &row), row));
    for ((table, _), own) in &memory.others {
        let mut row = own.clone();
        match *table {
            STATISTICS => statistics(&mut row, companies),
            _ => billing(&mut row, companies, memory),
        }
        add(table, row);
    }
    for order in orders.values() {
        accounting(order).into_iter().for_each(|row| add(ACCOUNTING, row));
        inventory(order).into_iter().for_each(|row| add(INVENTORY, row));
        shipping(order).into_iter().for_each(|row| add(SHIPPING, row));
        lookups::by_tag(order).into_iter().for_each(|row| add(BY_TAG, row));
    }
    companies.values().filter_map(lookups::by_vat).for_each(|row| add(BY_VAT, row));
    totals::by_customer(orders).into_iter().for_each(|row| add(BY_CUSTOMER, row));
    totals::by_month(orders).into_iter().for_each(|row| add(BY_MONTH, row));
    tables
}

/// Statistics know name and status of their company, and nothing of a company that is gone.
fn statistics(row: &mut Row, companies: &Rows) {
    let Some(company) = row.get("companyId").and_then(|id| companies.get(&in_words(id))) else { return };
    row.extend(company.get("name").map(|name| ("companyName".to_owned(), name.clone())));
    row.extend(company.get("status").map(|status| ("companyStatus".to_owned(), status.clone())));
}

/// Billing knows the name, and keeps the last one of a company that is gone.
fn billing(row: &mut Row, companies: &Rows, memory: &Memory) {
    let Some(id) = row.get("companyId").map(in_words) else { return };
    let name = companies.get(&id).and_then(|company| company.get("name")).or(memory.names.get(&id));
    row.extend(name.map(|name| ("companyName".to_owned(), name.clone())));
}

/// Accounting has every order but drafts. An order without a total can never be told to it.
fn accounting(order: &Row) -> Option<Row> {
    if status(order) == "DRAFT" {
        return None;
    }
    let company = order.get("companyId")?.as_s().ok()?;
    Some(Row::from([
        ("orderId".to_owned(), order.get("orderId")?.clone()),
        ("total".to_owned(), order.get("total")?.clone()),
        ("status".to_owned(), order.get("status")?.clone()),
        ("customer".to_owned(), customer(order)?),
        ("company".to_owned(), text(format!("COMPANY#{company}"))),
    ]))
}

/// Inventory has the orders that are to be picked, by warehouse.
fn inventory(order: &Row) -> Option<Row> {
    if !["PLACED", "PAID"].contains(&status(order)) {
        return None;
    }
    let lines = order.get("lines")?;
    let first = lines.as_l().ok()?.first()?.as_m().ok()?;
    Some(Row::from([
        ("warehouse".to_owned(), order.get("warehouse")?.clone()),
        ("orderId".to_owned(), order.get("orderId")?.clone()),
        ("sku".to_owned(), first.get("sku")?.clone()),
        ("quantity".to_owned(), first.get("qty")?.clone()),
        ("lines".to_owned(), lines.clone()),
    ]))
}

/// Shipping has what is paid or on its way, with the address as far as it is known.
fn shipping(order: &Row) -> Option<Row> {
    if !["PAID", "SHIPPED"].contains(&status(order)) {
        return None;
    }
    let mut row = Row::from([
        ("orderId".to_owned(), order.get("orderId")?.clone()),
        ("customer".to_owned(), customer(order)?),
        ("status".to_owned(), order.get("status")?.clone()),
    ]);
    row.extend(order.get("address").map(|address| ("address".to_owned(), address.clone())));
    Some(row)
}

fn status(order: &Row) -> &str {
    order.get("status").and_then(|status| status.as_s().ok()).map_or("", String::as_str)
}

fn customer(order: &Row) -> Option<AttributeValue> {
    order.get("customer")?.as_m().ok()?.get("name").cloned()
}

/// Compares all rows of all tables, attribute by attribute.
fn diff(expected: &Tables, found: &Tables) -> Comparison {
    let mut comparison = Comparison::default();
    let (none, nothing) = (Rows::new(), Row::new());
    for table in TARGETS {
        let (expected, found) = (expected.get(table).unwrap_or(&none), found.get(table).unwrap_or(&none));
        for key in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
            comparison.rows += 1;
            let (expected, found) = (expected.get(key), found.get(key));
            if expected.is_some() != found.is_some() {
                let (expected, found) = (expected.map(row_in_words), found.map(row_in_words));
                let difference =
                    Difference { table, key: key.clone(), attribute: String::new(), expected, found };
                comparison.differences.push(difference);
                continue;
            }
            let (expected, found) = (expected.unwrap_or(&nothing), found.unwrap_or(&nothing));
            comparison.differences.extend(attributes(table, key, expected, found));
        }
    }
    comparison
}

fn attributes(table: &'static str, key: &str, expected: &Row, found: &Row) -> Vec<Difference> {
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let different = names.into_iter().filter(|name| expected.get(*name) != found.get(*name));
    different
        .map(|name| Difference {
            table,
            key: key.to_owned(),
            attribute: name.clone(),
            expected: expected.get(name).map(in_words),
            found: found.get(name).map(in_words),
        })
        .collect()
}

/// All rows of a table, without what Millstream keeps in them for itself.
async fn scan(client: &Client, prefix: &str, table: &'static str) -> Result<Rows, DemoError> {
    let name = format!("{prefix}{table}");
    let mut rows = Rows::new();
    let mut from = None;
    loop {
        let page =
            client.scan().table_name(&name).consistent_read(true).set_exclusive_start_key(from).send().await;
        let page = page.map_err(|error| fault(format!("Scan of table {name}"), &error))?;
        for item in page.items.unwrap_or_default() {
            if item.contains_key(REMOVED) {
                continue;
            }
            let row: Row = item.into_iter().filter(|(name, _)| !name.starts_with(OWN)).collect();
            rows.insert(key(table, &row), row);
        }
        match page.last_evaluated_key {
            Some(last) => from = Some(last),
            None => return Ok(rows),
        }
    }
}

fn key(table: &str, row: &Row) -> String {
    let names = LAYOUTS.iter().find(|layout| layout.name == table).map_or(&[][..], |layout| layout.key);
    let values = names.iter().map(|name| row.get(*name).map_or_else(String::new, in_words));
    values.collect::<Vec<_>>().join(" / ")
}

/// A value as a person reads it.
fn in_words(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.clone(),
        AttributeValue::M(map) => row_in_words(&map.clone().into_iter().collect()),
        AttributeValue::L(list) => format!("[{}]", list.iter().map(in_words).collect::<Vec<_>>().join(", ")),
        other => format!("{other:?}"),
    }
}

fn row_in_words(row: &Row) -> String {
    let attributes: Vec<String> =
        row.iter().map(|(name, value)| format!("{name}: {}", in_words(value))).collect();
    format!("{{{}}}", attributes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::row::{number, row};

    fn order(status: &str) -> Row {
        let lines = AttributeValue::L(vec![AttributeValue::M(
            row([("sku", text("lamp")), ("qty", number(2))]).into_iter().collect(),
        )]);
        let customer = AttributeValue::M(row([("name", text("Buyer 1"))]).into_iter().collect());
        row([
            ("orderId", text("order-1")),
            ("companyId", text("company-1")),
            ("customer", customer),
            ("status", text(status)),
            ("warehouse", text("Porto")),
            ("lines", lines),
            ("total", number("178.00")),
            ("month", text("2026-05")),
            ("placedAt", text("2026-05-17")),
            ("tags", AttributeValue::Ss(vec!["gift".to_owned(), "return".to_owned()])),
        ])
    }

    fn world(status: &str) -> Tables {
        let mut memory = Memory::default();
        memory.others.insert((BILLING, "company-1".to_owned()), row([("companyId", text("company-1"))]));
        let company =
            [("companyId", text("company-1")), ("name", text("Amber Mills")), ("vatId", text("EU1"))];
        let company = row(company);
        let (companies, orders) =
            ([("company-1".to_owned(), company)], [("order-1".to_owned(), order(status))]);
        expected(&companies.into(), &orders.into(), &memory)
    }

    #[test]
    fn equal_tables_have_no_difference() {
        let tables = world("PAID");
        let comparison = diff(&tables, &tables);
        assert_eq!(comparison.rows, 9, "one in each table but statistics, two by tag");
        assert_eq!(comparison.differences, []);
    }

    #[test]
    fn every_attribute_that_is_tampered_with_is_found() {
        let tables = world("PAID");
        let places: Vec<(&str, String, String)> = tables
            .iter()
            .flat_map(|(table, rows)| rows.iter().map(move |(key, row)| (*table, key, row)))
            .flat_map(|(table, key, row)| row.keys().map(move |name| (table, key.clone(), name.clone())))
            .collect();
        assert_eq!(places.len(), 37);
        for (table, key, name) in places {
            let mut changed = tables.clone();
            changed.get_mut(table).unwrap().get_mut(&key).unwrap().insert(name.clone(), text("tampered"));
            let mut removed = tables.clone();
            removed.get_mut(table).unwrap().get_mut(&key).unwrap().remove(&name);
            for found in [changed, removed] {
                let differences = diff(&tables, &found).differences;
                assert_eq!(differences.len(), 1, "{table} {key} {name}");
                assert_eq!((differences[0].table, &differences[0].attribute), (table, &name));
            }
        }
    }

    #[test]
    fn rows_too_many_and_too_few_are_found() {
        let tables = world("PLACED");
        for table in [BILLING, ACCOUNTING, INVENTORY, BY_CUSTOMER, BY_MONTH, BY_VAT] {
            let mut fewer = tables.clone();
            fewer.get_mut(table).unwrap().clear();
            assert_eq!(diff(&tables, &fewer).differences.len(), 1);
            assert_eq!(diff(&fewer, &tables).differences.len(), 1);
        }
    }

    #[test]
    fn an_order_is_where_its_status_puts_it() {
        let tables_of_orders = [ACCOUNTING, INVENTORY, SHIPPING, BY_CUSTOMER, BY_MONTH, BY_TAG];
        for (status, expected) in [
            ("DRAFT", [0, 0, 0, 0, 0, 0]),
            ("PLACED", [1, 1, 0, 1, 1, 2]),
            ("PAID", [1, 1, 1, 1, 1, 2]),
            ("SHIPPED", [1, 0, 1, 1, 1, 2]),
        ] {
            let tables = world(status);
            assert_eq!(tables_of_orders.map(|table| tables[table].len()), expected, "{status}");
        }
    }
}
