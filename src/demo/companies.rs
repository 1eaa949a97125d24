//! The first service: company profiles that are made, renamed, deleted and made again.

use rand::RngExt;
use rand::rngs::StdRng;

use super::row::{Row, number, row, text};
use super::tables::COMPANIES;
use super::workload::{Act, Write, put};

const FIRST: [&str; 8] = ["Amber", "Birch", "Cedar", "Dover", "Elm", "Falcon", "Granite", "Harbour"];
const SECOND: [&str; 8] = ["Mills", "Foods", "Tools", "Textiles", "Logistics", "Paper", "Optics", "Energy"];
const STATUSES: [&str; 4] = ["TRIAL", "ACTIVE", "SUSPENDED", "CLOSING"];

/// The companies, by their place; `None` where there is none at the moment.
pub(crate) struct Companies(Vec<Option<Company>>);

#[derive(Clone)]
struct Company {
    name: String,
    /// A company need not have one.
    status: Option<usize>,
    vat: u32,
    employees: u32,
}

impl Companies {
    /// Room for so many companies; none exists yet.
    pub(crate) fn new(places: usize) -> Self {
        Self(vec![None; places])
    }

    /// How many there can be.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The id of the company at a place.
    pub(crate) fn id(place: usize) -> String {
        format!("company-{:03}", place + 1)
    }

    /// One change of one company.
    pub(crate) fn change(&mut self, chance: &mut StdRng) -> Write {
        let place = chance.random_range(0..self.0.len());
        let key = row([("companyId", text(Self::id(place)))]);
        let slot = &mut self.0[place];
        match slot {
            None => *slot = Some(Company::new(chance)),
            Some(_) if chance.random_bool(0.15) => {
                *slot = None;
                return Write { table: COMPANIES, act: Act::Delete(key) };
            }
            Some(company) => company.change(chance),
        }
        // A slot that is empty by now has returned above.
        put(COMPANIES, self.row(place).unwrap_or(key))
    }

    /// Any company that exists, as it stands.
    pub(crate) fn any(&self, chance: &mut StdRng) -> Option<Row> {
        self.row(chance.random_range(0..self.0.len()))
    }

    fn row(&self, place: usize) -> Option<Row> {
        let company = self.0[place].as_ref()?;
        let mut item = row([
            ("companyId", text(Self::id(place))),
            ("name", text(&company.name)),
            ("vatId", text(format!("EU{:08}", company.vat))),
            ("employees", number(company.employees)),
        ]);
        item.extend(company.status.map(|status| ("status".to_owned(), text(STATUSES[status]))));
        Some(item)
    }
}

impl Company {
    fn new(chance: &mut StdRng) -> Self {
        let name = name(chance);
        let status = chance.random_bool(0.8).then(|| chance.random_range(0..STATUSES.len()));
        Self {
            name,
            status,
            vat: chance.random_range(1..100_000_000),
            employees: chance.random_range(1..5_000),
        }
    }

    /// A new name, a new status, or something that nobody else is told of.
    fn change(&mut self, chance: &mut StdRng) {
        match chance.random_range(0..10) {
            0..=4 => {
                let name = name(chance);
                self.name = if name == self.name { format!("{name} & Sons") } else { name };
            }
            5..=6 => {
                let step = chance.random_range(1..STATUSES.len());
                self.status = Some(self.status.map_or(step, |status| (status + step) % STATUSES.len()));
            }
            7 => match self.status.take() {
                Some(_) => {}
                None => self.vat += 1,
            },
            _ => self.employees += chance.random_range(1..100),
        }
    }
}

fn name(chance: &mut StdRng) -> String {
    let (first, second) = (chance.random_range(0..FIRST.len()), chance.random_range(0..SECOND.len()));
    format!("{} {}", FIRST[first], SECOND[second])
}
