//! The form in which the ledger holds a contribution: plain attributes, so that operators can read them.

use std::collections::{BTreeMap, HashMap};

use super::{Contribution, Part, Share, Totals};
use crate::decimal::Decimal;
use crate::item::{AttributeName, Value};
use crate::version::KeyDigest;

const TABLE: &str = "table";
const KEY: &str = "key";
const ADD: &str = "add";
const VALUES: &str = "values";
const ROW: &str = "row";

/// A ledger row that does not hold what this version, or an earlier one, wrote there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{attribute}` of a share is missing, or is no {expected}")]
pub struct Damaged {
    /// The attribute.
    pub attribute: &'static str,
    /// What it should be.
    pub expected: &'static str,
}

impl Contribution {
    /// The form in which the ledger holds it: the same for equal contributions, so that a condition can compare it.
    pub fn to_value(&self) -> Value {
        Value::L(self.shares().iter().map(Share::to_value).collect())
    }

    /// Reads what the ledger holds.
    pub fn from_value(value: &Value) -> Result<Self, Damaged> {
        let damaged = Damaged { attribute: "shares", expected: "list" };
        let Value::L(shares) = value else { return Err(damaged) };
        let shares = shares.iter().map(Share::from_value).collect::<Result<_, _>>()?;
        Self::new(shares).map_err(|_| damaged)
    }
}

impl Share {
    fn to_value(&self) -> Value {
        let key = self.key.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        let mut map = HashMap::from([
            (TABLE.to_owned(), Value::S(self.table.to_string())),
            (KEY.to_owned(), Value::M(key)),
        ]);
        match &self.part {
            Part::Totals(totals) => {
                let add = totals.add.iter().map(|(name, add)| (name.to_string(), Value::N(add.to_string())));
                let values = totals.values.iter().map(|(name, value)| (name.to_string(), value.clone()));
                map.insert(ADD.to_owned(), Value::M(add.collect()));
                map.insert(VALUES.to_owned(), Value::M(values.collect()));
            }
            Part::Lookup { digest } => {
                map.insert(ROW.to_owned(), Value::S(digest.to_string()));
            }
        }
        Value::M(map)
    }

    fn from_value(value: &Value) -> Result<Self, Damaged> {
        let damaged = |attribute, expected| Damaged { attribute, expected };
        let Value::M(map) = value else { return Err(damaged("shares", "list of maps")) };
        let Some(Value::S(table)) = map.get(TABLE) else { return Err(damaged(TABLE, "text")) };
        let key = named(map, KEY)?;
        let part = match map.get(ROW) {
            Some(Value::S(row)) => {
                let digest = KeyDigest::from_text(row).ok_or(damaged(ROW, "digest"))?;
                Part::Lookup { digest }
            }
            Some(_) => return Err(damaged(ROW, "digest")),
            None => {
                let number = |value: &Value| match value {
                    Value::N(text) => Decimal::parse(text).ok(),
                    _ => None,
                };
                let add = named::<AttributeName>(map, ADD)?
                    .into_iter()
                    .map(|(name, value)| Some((name, number(&value)?)))
                    .collect::<Option<_>>()
                    .ok_or(damaged(ADD, "map of numbers"))?;
                Part::Totals(Totals { add, values: named(map, VALUES)? })
            }
        };
        Ok(Self { table: table.as_str().into(), key, part })
    }
}

fn named<N: for<'a> From<&'a str> + Ord>(
    map: &HashMap<String, Value>,
    attribute: &'static str,
) -> Result<BTreeMap<N, Value>, Damaged> {
    match map.get(attribute) {
        Some(Value::M(named)) => {
            Ok(named.iter().map(|(name, value)| (N::from(name.as_str()), value.clone())).collect())
        }
        _ => Err(Damaged { attribute, expected: "map" }),
    }
}
