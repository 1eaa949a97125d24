//! Items and attribute values (those of `serde_dynamo`), and one canonical byte form that keys are compared by.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One attribute value with its DynamoDB type; numbers stay text, so 38 digits survive.
pub use serde_dynamo::AttributeValue as Value;
/// A whole item: attribute names to values.
pub use serde_dynamo::Item;

/// The name of an attribute, shared between the config and all that is made from it.
pub type AttributeName = Arc<str>;

/// Attributes whose names start with this are Millstream's own: guards, and inline tombstones.
pub const RESERVED: &str = "ms:";

/// A primary key, of a table or an index: its attributes in the order of their names.
pub type Key = BTreeMap<AttributeName, Value>;

/// The descriptor that DynamoDB's JSON puts before a value: `S`, `N`, `BOOL` and so on.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::N(_) => "N",
        Value::S(_) => "S",
        Value::Bool(_) => "BOOL",
        Value::B(_) => "B",
        Value::Null(_) => "NULL",
        Value::M(_) => "M",
        Value::L(_) => "L",
        Value::Ss(_) => "SS",
        Value::Ns(_) => "NS",
        Value::Bs(_) => "BS",
    }
}

/// Whether two values mean the same: sets have no order, everything else is compared as it is.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Ss(a), Value::Ss(b)) | (Value::Ns(a), Value::Ns(b)) => same_set(a, b),
        (Value::Bs(a), Value::Bs(b)) => same_set(a, b),
        (Value::L(a), Value::L(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::M(a), Value::M(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn same_set<T: Ord>(a: &[T], b: &[T]) -> bool {
    let sorted = |set: &[T]| -> Vec<usize> {
        let mut order: Vec<usize> = (0..set.len()).collect();
        order.sort_by(|&i, &j| set[i].cmp(&set[j]));
        order
    };
    a.len() == b.len() && sorted(a).into_iter().zip(sorted(b)).all(|(i, j)| a[i] == b[j])
}

/// Appends the canonical form of a scalar: its type, its length and its bytes, so that no two keys share a form.
///
/// Only scalars can be keys; the other types are written by their JSON, which is enough to tell them apart.
pub fn write_canonical(out: &mut Vec<u8>, name: &str, value: &Value) {
    let json;
    let bytes: &[u8] = match value {
        Value::S(text) | Value::N(text) => text.as_bytes(),
        Value::B(bytes) => bytes,
        Value::Bool(_)
        | Value::Null(_)
        | Value::M(_)
        | Value::L(_)
        | Value::Ss(_)
        | Value::Ns(_)
        | Value::Bs(_) => {
            json = serde_json::to_vec(value).unwrap_or_default();
            &json
        }
    };
    for part in [name.as_bytes(), type_name(value).as_bytes(), bytes] {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    }
}
