//! The second service: orders that are drafted, placed, moved between warehouses, shipped and deleted.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use rand::RngExt;
use rand::rngs::StdRng;

use super::companies::Companies;
use super::row::{Row, amount, number, row, text};
use super::tables::ORDERS;
use super::workload::{Act, Write, put};

const STATUSES: [&str; 5] = ["DRAFT", "PLACED", "PAID", "SHIPPED", "CANCELLED"];
const WAREHOUSES: [&str; 4] = ["Antwerp", "Gdansk", "Porto", "Turku"];
const CITIES: [&str; 6] = ["Bergen", "Cork", "Graz", "Lyon", "Malmö", "Split"];
const TAGS: [&str; 6] = ["express", "fragile", "gift", "insured", "return", "wholesale"];
/// The months in which orders are placed.
const MONTHS: [&str; 5] = ["2026-03", "2026-04", "2026-05", "2026-06", "2026-07"];
/// What is sold, and its price in cents.
const ARTICLES: [(&str, u64); 6] =
    [("bolt", 12), ("gear", 1_999), ("hinge", 450), ("lamp", 8_900), ("pump", 129_900), ("valve", 3_015)];

/// The orders, by their place; `None` where one was deleted.
#[derive(Default)]
pub(crate) struct Orders(Vec<Option<Order>>);

#[derive(Clone)]
struct Order {
    company: usize,
    status: usize,
    warehouse: usize,
    /// Where it goes; a new order may not say so yet.
    city: Option<usize>,
    lines: Vec<Line>,
    /// When it was placed: the month and its day.
    placed: (usize, usize),
    /// In cents; most orders have none.
    discount: Option<u64>,
    tags: BTreeSet<usize>,
    /// Whether the total is left out, without which accounting can never be told of the order.
    poisoned: bool,
}

#[derive(Clone)]
struct Line {
    article: usize,
    quantity: u32,
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
            Some(order) => order.change(chance, companies),
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
            ("name", text(format!("Buyer {}", order.company + 1))),
            ("city", text(CITIES[order.company % CITIES.len()])),
        ]);
        let mut item = row([
            ("orderId", text(id(place))),
            ("companyId", text(Companies::id(order.company))),
            ("customer", map(customer)),
            ("status", text(STATUSES[order.status])),
            ("warehouse", text(WAREHOUSES[order.warehouse])),
            ("lines", AttributeValue::L(order.lines.iter().map(Line::value).collect())),
            ("month", text(MONTHS[order.placed.0])),
            ("placedAt", text(format!("{}-{:02}", MONTHS[order.placed.0], order.placed.1))),
        ]);
        item.extend(order.discount.map(|cents| ("discount".to_owned(), amount(cents))));
        // DynamoDB has no empty sets.
        if !order.tags.is_empty() {
            let tags = order.tags.iter().map(|tag| TAGS[*tag].to_owned()).collect();
            item.insert("tags".to_owned(), AttributeValue::Ss(tags));
        }
        if let Some(city) = order.city {
            let zip = format!("{:05}", 10_000 + city * 7);
            item.insert("address".to_owned(), map(row([("city", text(CITIES[city])), ("zip", text(zip))])));
        }
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
            city: chance.random_bool(0.7).then(|| chance.random_range(0..CITIES.len())),
            lines: (0..lines).map(|_| Line::new(chance)).collect(),
            placed: day(chance),
            discount: chance.random_bool(0.3).then(|| chance.random_range(1..2_000)),
            tags: (0..chance.random_range(0..4)).map(|_| chance.random_range(0..TAGS.len())).collect(),
            poisoned: false,
        }
    }

    /// On to the next status, back to a draft, to another warehouse, address, customer or day, other lines, another
    /// discount, a tag more or less.
    fn change(&mut self, chance: &mut StdRng, companies: usize) {
        match chance.random_range(0..16) {
            0..=2 => self.status = (self.status + 1) % STATUSES.len(),
            3 => self.status = if self.status == 0 { 1 } else { 0 },
            4..=5 => {
                self.warehouse =
                    (self.warehouse + chance.random_range(1..WAREHOUSES.len())) % WAREHOUSES.len()
            }
            6..=7 => {
                let step = chance.random_range(1..CITIES.len());
                self.city = Some(self.city.map_or(step, |city| (city + step) % CITIES.len()));
            }
            8..=9 => {
                let tag = chance.random_range(0..TAGS.len());
                if !self.tags.remove(&tag) {
                    self.tags.insert(tag);
                }
            }
            10 => self.company = (self.company + chance.random_range(1..companies)) % companies,
            11 => {
                let month = (self.placed.0 + chance.random_range(1..MONTHS.len())) % MONTHS.len();
                self.placed = (month, day(chance).1);
            }
            12 => {
                self.discount = match self.discount {
                    Some(_) => None,
                    None => Some(chance.random_range(1..2_000)),
                }
            }
            13 if self.lines.len() < 8 => self.lines.push(Line::new(chance)),
            _ => {
                let line = chance.random_range(0..self.lines.len());
                self.lines[line].quantity += chance.random_range(1..5);
            }
        }
    }

    fn total(&self) -> u64 {
        self.lines.iter().map(|line| u64::from(line.quantity) * ARTICLES[line.article].1).sum()
    }
}

impl Line {
    fn new(chance: &mut StdRng) -> Self {
        Self { article: chance.random_range(0..ARTICLES.len()), quantity: chance.random_range(1..20) }
    }

    fn value(&self) -> AttributeValue {
        map(row([("sku", text(ARTICLES[self.article].0)), ("qty", number(self.quantity))]))
    }
}

/// A month and a day that each month has.
fn day(chance: &mut StdRng) -> (usize, usize) {
    (chance.random_range(0..MONTHS.len()), chance.random_range(1..29))
}

fn id(place: usize) -> String {
    format!("order-{:05}", place + 1)
}

fn map(row: Row) -> AttributeValue {
    AttributeValue::M(row.into_iter().collect())
}
