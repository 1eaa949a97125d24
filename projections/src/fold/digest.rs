//! What tells the attributes of lookup rows apart: a digest that is the same for values that mean the same.

use crate::decimal::Decimal;
use crate::item::{Item, Value, type_name};
use crate::version::KeyDigest;

/// The digest of a row's attributes beside its key: the same however DynamoDB orders sets and spells numbers.
pub fn attributes_digest(attributes: &Item) -> KeyDigest {
    let mut bytes = Vec::with_capacity(128);
    write_map(&mut bytes, attributes.iter());
    KeyDigest::of_bytes(&bytes)
}

fn write_map<'a>(out: &mut Vec<u8>, map: impl Iterator<Item = (&'a String, &'a Value)>) {
    let mut entries: Vec<_> = map.collect();
    entries.sort_unstable_by_key(|(name, _)| *name);
    write_count(out, entries.len());
    for (name, value) in entries {
        write_bytes(out, name.as_bytes());
        write(out, value);
    }
}

/// Each value with its type, and each part with its length, so that no two values share a form.
fn write(out: &mut Vec<u8>, value: &Value) {
    write_bytes(out, type_name(value).as_bytes());
    match value {
        Value::S(text) => write_bytes(out, text.as_bytes()),
        Value::N(digits) => write_bytes(out, plain(digits).as_bytes()),
        Value::B(bytes) => write_bytes(out, bytes),
        Value::Bool(bool) => out.push(u8::from(*bool)),
        Value::Null(_) => {}
        Value::M(map) => write_map(out, map.iter()),
        Value::L(list) => {
            write_count(out, list.len());
            list.iter().for_each(|element| write(out, element));
        }
        Value::Ss(set) => write_set(out, set.iter().map(|text| text.as_bytes().to_vec())),
        Value::Ns(set) => write_set(out, set.iter().map(|digits| plain(digits).into_bytes())),
        Value::Bs(set) => write_set(out, set.iter().cloned()),
    }
}

fn write_set(out: &mut Vec<u8>, set: impl Iterator<Item = Vec<u8>>) {
    let mut members: Vec<_> = set.collect();
    members.sort_unstable();
    write_count(out, members.len());
    members.iter().for_each(|member| write_bytes(out, member));
}

fn plain(digits: &str) -> String {
    Decimal::parse(digits).map_or_else(|_| digits.to_owned(), |number| number.to_string())
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn write_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u64).to_be_bytes());
}
