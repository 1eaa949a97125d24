//! What the two services do: a random but repeatable sequence of writes, made without I/O.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use rand::{RngExt, SeedableRng};

use super::companies::Companies;
use super::orders::Orders;
use super::row::{Row, number, row, text};
use super::tables::{BILLING, COMPANIES, ORDERS, STATISTICS};

/// How likely a change is followed by a write that changes nothing.
const NOTHING_NEW: f64 = 0.03;
/// How likely another service writes its own rows in between.
const OTHERS_AT_WORK: f64 = 0.15;
/// How likely a change is one of an order.
const ORDER: f64 = 0.65;

/// One write of a service to its own table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Write {
    /// The table, without the prefix.
    pub(crate) table: &'static str,
    /// What is written.
    pub(crate) act: Act,
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    /// The whole item.
    Put(Row),
    /// The item with this key goes.
    Delete(Row),
    /// One attribute of the row with this key.
    Set {
        /// The key.
        key: Row,
        /// The attribute and its new value.
        attribute: (&'static str, AttributeValue),
    },
}

/// One step: a change of a source, and what else happens in that moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// The change.
    pub(crate) change: Write,
    /// Writes that change nothing in a source, or that other services make to rows of their own.
    pub(crate) beside: Vec<Write>,
}

/// The rows that other services own, as they last wrote them: table and key to row.
pub(crate) type Others = BTreeMap<(&'static str, String), Row>;

/// What the source tables no longer tell at the end, but the oracle has to know.
#[derive(Debug, Default, Clone)]
pub(crate) struct Memory {
    /// The rows of other services, with what those services wrote there.
    pub(crate) others: Others,
    /// The name that each company had last, also of one that is gone.
    pub(crate) names: BTreeMap<String, AttributeValue>,
}

/// The sequence of writes.
pub(crate) struct Workload {
    chance: StdRng,
    left: usize,
    done: usize,
    poison: BTreeSet<usize>,
    companies: Companies,
    orders: Orders,
    memory: Memory,
}

impl Workload {
    /// `changes` changes, of which `poison` can never be projected.
    pub(crate) fn new(seed: u64, changes: usize, poison: usize) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let companies = Companies::new((changes / 20).clamp(3, 150));
        let poison = sample(&mut chance, changes, poison.min(changes)).into_iter().collect();
        let memory = Memory { others: others(&mut chance, &companies), names: BTreeMap::new() };
        Self { chance, left: changes, done: 0, poison, companies, orders: Orders::default(), memory }
    }

    /// What the source tables do not tell.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// How many changes are still to come.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Everything so far has been delivered: what a company gave up may be another's from now on.
    pub(crate) fn delivered(&mut self) {
        self.companies.delivered();
    }

    fn change(&mut self) -> Write {
        if self.poison.contains(&self.done) {
            return put(ORDERS, self.orders.poison(&mut self.chance, self.companies.len()));
        }
        if self.chance.random_bool(ORDER) {
            self.orders.change(&mut self.chance, self.companies.len())
        } else {
            self.companies.change(&mut self.chance)
        }
    }

    /// An item as it stands, written once more.
    fn nothing_new(&mut self) -> Option<Write> {
        if self.chance.random_bool(0.5) {
            self.orders.any(&mut self.chance).map(|row| put(ORDERS, row))
        } else {
            self.companies.any(&mut self.chance).map(|row| put(COMPANIES, row))
        }
    }

    /// Another service counts something on one of its own rows.
    fn others_at_work(&mut self) -> Option<Write> {
        let others = &mut self.memory.others;
        let at = self.chance.random_range(0..others.len().max(1));
        let ((table, _), own) = others.iter_mut().nth(at)?;
        let (key_name, counter) = counter_of(table);
        let value = number(self.chance.random_range(1..1_000_000_u32));
        own.insert(counter.to_owned(), value.clone());
        let key = own.get_key_value(key_name).map(|(name, value)| (name.clone(), value.clone()))?;
        Some(Write { table, act: Act::Set { key: Row::from([key]), attribute: (counter, value) } })
    }
}

impl Iterator for Workload {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        self.left = self.left.checked_sub(1)?;
        let change = self.change();
        self.done += 1;
        self.memory.learn(&change);
        let mut beside = Vec::new();
        if self.chance.random_bool(NOTHING_NEW) {
            beside.extend(self.nothing_new());
        }
        if self.chance.random_bool(OTHERS_AT_WORK) {
            beside.extend(self.others_at_work());
        }
        Some(Step { change, beside })
    }
}

impl Memory {
    fn learn(&mut self, change: &Write) {
        let Act::Put(row) = &change.act else { return };
        let id = row.get("companyId").and_then(|id| id.as_s().ok());
        if let (COMPANIES, Some(id), Some(name)) = (change.table, id, row.get("name")) {
            self.names.insert(id.clone(), name.clone());
        }
    }
}

/// A whole item into a table.
pub(crate) fn put(table: &'static str, row: Row) -> Write {
    Write { table, act: Act::Put(row) }
}

/// One billing row and one to three statistics rows for each company, whether the company exists yet or not.
fn others(chance: &mut StdRng, companies: &Companies) -> Others {
    let mut others = Others::new();
    for place in 0..companies.len() {
        let company = Companies::id(place);
        let billing = [("companyId", text(&company)), ("plan", text("monthly")), ("openInvoices", number(0))];
        others.insert((BILLING, company.clone()), row(billing));
        for year in 2024..=2024 + chance.random_range(0..3_u32) {
            let id = format!("{company}/{year}");
            let statistics = [
                ("statisticsId", text(&id)),
                ("companyId", text(&company)),
                ("year", number(year)),
                ("visits", number(0)),
            ];
            others.insert((STATISTICS, id), row(statistics));
        }
    }
    others
}

/// The key of another service's rows and the attribute that the service counts in.
fn counter_of(table: &str) -> (&'static str, &'static str) {
    if table == BILLING { ("companyId", "openInvoices") } else { ("statisticsId", "visits") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_writes() {
        let all = |seed| Workload::new(seed, 500, 3).collect::<Vec<_>>();
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        assert_eq!(all(7).len(), 500);
    }

    #[test]
    fn every_poison_order_lacks_a_total_and_is_a_new_item() {
        for poison in [0, 1, 5, 40] {
            let mut seen = BTreeSet::new();
            let mut poisoned = 0;
            for step in Workload::new(11, 40, poison) {
                let Act::Put(row) = &step.change.act else { continue };
                let Some(id) = row.get("orderId").and_then(|id| id.as_s().ok()) else { continue };
                let fresh = seen.insert(id.clone());
                if !row.contains_key("total") {
                    assert!(fresh);
                    assert_ne!(row["status"], text("DRAFT"));
                    poisoned += 1;
                }
            }
            assert_eq!(poisoned, poison);
        }
    }

    #[test]
    fn every_change_changes_something() {
        let mut items: BTreeMap<(&str, String), Row> = BTreeMap::new();
        for step in Workload::new(3, 2_000, 2) {
            let (Act::Put(row) | Act::Delete(row)) = &step.change.act else {
                panic!("a source is never patched")
            };
            let key = row.get("orderId").or(row.get("companyId")).and_then(|key| key.as_s().ok()).unwrap();
            let place = (step.change.table, key.clone());
            let before = match &step.change.act {
                Act::Put(row) => items.insert(place, row.clone()),
                _ => Some(items.remove(&place).expect("only what is there is deleted")),
            };
            assert_ne!(before.as_ref(), Some(row), "{step:?}");
        }
    }

    #[test]
    fn no_two_companies_have_one_vat_id_and_what_is_given_up_waits_for_its_delivery() {
        let mut workload = Workload::new(5, 4_000, 0);
        // By company what it has; by id who had it last, and what was given up since the last delivery.
        let mut has: BTreeMap<String, String> = BTreeMap::new();
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        let mut given_up = BTreeSet::new();
        let mut taken_over = 0;
        while let Some(step) = workload.next() {
            let (Act::Put(row) | Act::Delete(row)) = &step.change.act else { continue };
            if step.change.table != COMPANIES {
                continue;
            }
            let text = |name: &str| row.get(name).and_then(|value| value.as_s().ok()).cloned();
            let company = text("companyId").unwrap();
            let (before, now) = (has.remove(&company), text("vatId"));
            if before != now {
                given_up.extend(before);
                if let Some(id) = now.clone() {
                    assert!(!given_up.contains(&id), "{id} is not free yet");
                    let former = last.insert(id, company.clone());
                    taken_over += usize::from(former.is_some_and(|former| former != company));
                }
            }
            if let Some(id) = now {
                assert!(has.values().all(|other| *other != id), "{id} is another's");
                has.insert(company, id);
            }
            if workload.left().is_multiple_of(50) {
                workload.delivered();
                given_up.clear();
            }
        }
        assert!(taken_over > 20, "{taken_over}");
    }
}
