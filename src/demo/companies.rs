//! The first service: company profiles that are made, renamed, deleted and made again.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::rngs::StdRng;

use super::row::{Row, number, row, text};
use super::tables::COMPANIES;
use super::workload::{Act, Write, put};

const FIRST: [&str; 8] = ["Amber", "Birch", "Cedar", "Dover", "Elm", "Falcon", "Granite", "Harbour"];
const SECOND: [&str; 8] = ["Mills", "Foods", "Tools", "Textiles", "Logistics", "Paper", "Optics", "Energy"];
const STATUSES: [&str; 4] = ["TRIAL", "ACTIVE", "SUSPENDED", "CLOSING"];

/// How likely a VAT id is one that another company gave up, where there is such a one.
const SECOND_HAND: f64 = 0.6;

/// The companies.
pub(crate) struct Companies {
    /// By their place; `None` where there is none at the moment.
    places: Vec<Option<Company>>,
    vat_ids: VatIds,
}

#[derive(Clone)]
struct Company {
    name: String,
    /// A company need not have one.
    status: Option<usize>,
    /// Nor does it need one of these; no two companies have the same at any time.
    vat: Option<u32>,
    employees: u32,
}

/// Who gives VAT ids to companies.
///
/// One that is given up is given to another company only after the streams have told that it was: the changes of two
/// companies may be processed in any order, and who comes too early for an id gets a letter in place of a row.
#[derive(Default)]
struct VatIds {
    known: BTreeSet<u32>,
    given_up: Vec<u32>,
    free: Vec<u32>,
}

impl Companies {
    /// Room for so many companies; none exists yet.
    pub(crate) fn new(places: usize) -> Self {
        Self { places: vec![None; places], vat_ids: VatIds::default() }
    }

    /// How many there can be.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The id of the company at a place.
    pub(crate) fn id(place: usize) -> String {
        format!("company-{:03}", place + 1)
    }

    /// One change of one company.
    pub(crate) fn change(&mut self, chance: &mut StdRng) -> Write {
        let place = chance.random_range(0..self.places.len());
        let key = row([("companyId", text(Self::id(place)))]);
        let slot = &mut self.places[place];
        match slot {
            None => *slot = Some(Company::new(chance, &mut self.vat_ids)),
            Some(company) if chance.random_bool(0.15) => {
                self.vat_ids.given_up.extend(company.vat);
                *slot = None;
                return Write { table: COMPANIES, act: Act::Delete(key) };
            }
            Some(company) => company.change(chance, &mut self.vat_ids),
        }
        // A slot that is empty by now has returned above.
        put(COMPANIES, self.row(place).unwrap_or(key))
    }

    /// Everything so far has been delivered.
    pub(crate) fn delivered(&mut self) {
        self.vat_ids.free.append(&mut self.vat_ids.given_up);
    }

    /// Any company that exists, as it stands.
    pub(crate) fn any(&self, chance: &mut StdRng) -> Option<Row> {
        self.row(chance.random_range(0..self.places.len()))
    }

    fn row(&self, place: usize) -> Option<Row> {
        let company = self.places[place].as_ref()?;
        let mut item = row([
            ("companyId", text(Self::id(place))),
            ("name", text(&company.name)),
            ("employees", number(company.employees)),
        ]);
        item.extend(company.vat.map(|vat| ("vatId".to_owned(), text(format!("EU{vat:08}")))));
        item.extend(company.status.map(|status| ("status".to_owned(), text(STATUSES[status]))));
        Some(item)
    }
}

impl Company {
    fn new(chance: &mut StdRng, vat_ids: &mut VatIds) -> Self {
        let name = name(chance);
        let status = chance.random_bool(0.8).then(|| chance.random_range(0..STATUSES.len()));
        let vat = chance.random_bool(0.85).then(|| vat_ids.give(chance));
        Self { name, status, vat, employees: chance.random_range(1..5_000) }
    }

    /// A new name, a new status, another VAT id or none, or something that nobody else is told of.
    fn change(&mut self, chance: &mut StdRng, vat_ids: &mut VatIds) {
        match chance.random_range(0..12) {
            0..=4 => {
                let name = name(chance);
                self.name = if name == self.name { format!("{name} & Sons") } else { name };
            }
            5..=6 => {
                let step = chance.random_range(1..STATUSES.len());
                self.status = Some(self.status.map_or(step, |status| (status + step) % STATUSES.len()));
            }
            7 if self.status.is_some() => self.status = None,
            7..=9 => {
                let before = self.vat.take();
                if before.is_none() || chance.random_bool(0.8) {
                    self.vat = Some(vat_ids.give(chance));
                }
                vat_ids.given_up.extend(before);
            }
            _ => self.employees += chance.random_range(1..100),
        }
    }
}

impl VatIds {
    /// One that no company has.
    fn give(&mut self, chance: &mut StdRng) -> u32 {
        if !self.free.is_empty() && chance.random_bool(SECOND_HAND) {
            return self.free.swap_remove(chance.random_range(0..self.free.len()));
        }
        loop {
            let fresh = chance.random_range(1..100_000_000);
            if self.known.insert(fresh) {
                return fresh;
            }
        }
    }
}

fn name(chance: &mut StdRng) -> String {
    let (first, second) = (chance.random_range(0..FIRST.len()), chance.random_range(0..SECOND.len()));
    format!("{} {}", FIRST[first], SECOND[second])
}
