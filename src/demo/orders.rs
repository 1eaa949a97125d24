//! The second service: orders that are drafted, placed, moved between warehouses, shipped and deleted.

use rand::RngExt;
use rand::rngs::StdRng;
use aws_sdk_dynamodb::types::AttributeValue;

use super::companies::Companies;
use super::row::{Row, amount, number, row, text};
use super::tables::ORDERS;
use super::workload::{Act, Write, put};

const STATUSES: [&str; 5] = ["DRAFT", "PLACED", "PAID", "PACKED", "SHIPPED"];
const WAREHOUSES: [&str; 4] = ["Antwerp", "Gdansk", "Porto", "Turku"];
const CITIES: [&str; 6] = ["Bergen", "Cork", "Graz", "Lyon", "Malmö", "Split"];
const SKUS: [&str; 6] = ["bolt", "gear", "hinge", "lamp", "pump", "valve"];

/// The orders, by their place; `None` where one was deleted.
#[derive(Default)]
pub(crate) struct Orders(Vec<Option<Order>>);

#[derive(Clone)]
struct Order {
    company: usize,
    status: usize,
    warehouse: usize,
    city: usize,
    lines: Vec<Line>,
    /// Whether the total is left out, without which accounting can never be told of the order.
    poisoned: bool,
}

#[derive(Clone)]
struct Line {
    sku: usize,
    quantity: u32,
    cents: u64,
}

impl Orders {
    /// One change of one order: new, changed, deleted, or made again under the id of a deleted one.
    pub(crate) fn change(&mut self, chance: &mut StdRng, companies: usize) -> Write {
        if self.0.is_empty() || chance.random_bool(0.25) {
            self.0.push(Some(Order::new(chance, companies)));
            return self.put(self.0.len() - 1);
        }
        let place = chance.random_range(0..self.0.len());
        let slot = &mut self.0[place];
        match slot {
            None => *slot = Some(Order::new(chance, companies)),
            Some(order) if order.poisoned => order.poisoned = false,
            Some(_) if chance.random_bool(0.12) => {
                *slot = None;
                return Write { table: ORDERS, act: Act::Delete(row([("orderId", text(id(place)))])) };
            }
            Some(order) => order.change(chance),
        }
        self.put(place)
    }

    /// A new order that accounting can never be told of.
    pub(crate) fn poison(&mut self, chance: &mut StdRng, companies: usize) -> Row {
        let mut order = Order::new(chance, companies);
        order.status = 1;
        order.poisoned = true;
        self.0.push(Some(order));
        self.row(self.0.len() - 1).unwrap_or_default()
    }

    /// Any order that exists, as it stands; none that is poisoned, for each of these is written once.
    pub(crate) fn any(&self, chance: &mut StdRng) -> Option<Row> {
        let place = chance.random_range(0..self.0.len().max(1));
        self.0.get(place)?.as_ref().filter(|order| !order.poisoned)?;
        self.row(place)
    }

    fn put(&self, place: usize) -> Write {
        put(ORDERS, self.row(place).unwrap_or_default())
    }

    fn row(&self, place: usize) -> Option<Row> {
        let order = self.0.get(place)?.as_ref()?;
        let customer = row([
            ("companyId", text(Companies::id(order.company))),
            ("name", text(format!("Purchasing, {}", Companies::id(order.company)))),
        ]);
        let address = row([("city", text(CITIES[order.city])), ("zip", text(format!("{:05}", 10_000 + order.city * 7)))]);
        let mut item = row([
            ("orderId", text(id(place))),
            ("companyId", text(Companies::id(order.company))),
            ("customer", map(customer)),
            ("status", text(STATUSES[order.status])),
            ("warehouse", text(WAREHOUSES[order.warehouse])),
            ("lines", AttributeValue::L(order.lines.iter().map(Line::value).collect())),
            ("address", map(address)),
        ]);
        if !order.poisoned {
            item.insert("total".to_owned(), amount(order.total()));
        }
        Some(item)
    }
}

impl Order {
    fn new(chance: &mut StdRng, companies: usize) -> Self {
        let lines = chance.random_range(1..4);
        Self {
            company: chance.random_range(0..companies),
            status: chance.random_range(0..2),
            warehouse: chance.random_range(0..WAREHOUSES.len()),
            city: chance.random_range(0..CITIES.len()),
            lines: (0..lines).map(|_| Line::new(chance)).collect(),
            poisoned: false,
        }
    }

    /// On to the next status, back to a draft, to another warehouse, other lines, another address.
    fn change(&mut self, chance: &mut StdRng) {
        match chance.random_range(0..10) {
            0..=2 => self.status = (self.status + 1) % STATUSES.len(),
            3 => self.status = if self.status == 0 { 1 } else { 0 },
            4..=5 => self.warehouse = (self.warehouse + chance.random_range(1..WAREHOUSES.len())) % WAREHOUSES.len(),
            6..=7 => self.city = (self.city + chance.random_range(1..CITIES.len())) % CITIES.len(),
            8 if self.lines.len() < 8 => self.lines.push(Line::new(chance)),
            _ => {
                let line = chance.random_range(0..self.lines.len());
                self.lines[line].quantity += chance.random_range(1..5);
            }
        }
    }

    fn total(&self) -> u64 {
        self.lines.iter().map(|line| u64::from(line.quantity) * line.cents).sum()
    }
}

impl Line {
    fn new(chance: &mut StdRng) -> Self {
        Self {
            sku: chance.random_range(0..SKUS.len()),
            quantity: chance.random_range(1..20),
            cents: chance.random_range(99..50_000),
        }
    }

    fn value(&self) -> AttributeValue {
        map(row([("sku", text(SKUS[self.sku])), ("quantity", number(self.quantity)), ("price", amount(self.cents))]))
    }
}

fn id(place: usize) -> String {
    format!("order-{:05}", place + 1)
}

fn map(row: Row) -> AttributeValue {
    AttributeValue::M(row.into_iter().collect())
}
