//! From a change to CEL's values, without a form in between.

use std::collections::HashMap;

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString,
};
use cel::common::value::Val;

use super::reads::Read;
use crate::change::Change;
use crate::image::{Image, ImageError};
use crate::item::Value;

type Cel = Box<dyn Val>;

/// What is read of an image. A missing image is an empty map, so that `has(old.x)` is false rather than an error.
pub(super) fn image(image: Option<&Image>, read: &Read) -> Result<Cel, ImageError> {
    let Some(image) = image else { return Ok(map(std::iter::empty())) };
    let Read::Attributes(names) = read else { return Ok(map(image.item()?.clone().into_inner())) };
    let mut values = Vec::with_capacity(names.len());
    for name in names {
        if let Some(value) = image.attribute(name)? {
            values.push((name.clone(), value));
        }
    }
    Ok(map(values))
}

/// What happened, as opposed to what the item is.
pub(super) fn event(change: &Change) -> Cel {
    map([
        ("type".to_owned(), Value::S(change.kind.as_str().to_owned())),
        ("source".to_owned(), Value::S(change.source.to_string())),
        ("expired".to_owned(), Value::Bool(change.expired)),
    ])
}

fn map(values: impl IntoIterator<Item = (String, Value)>) -> Cel {
    let entries = values.into_iter().map(|(name, it)| (CelMapKey::String(CelString::from(name)), value(it)));
    Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
}

fn list<T>(values: Vec<T>, form: impl Fn(T) -> Cel) -> Cel {
    Box::new(CelList::from(values.into_iter().map(form).collect::<Vec<_>>()))
}

fn value(value: Value) -> Cel {
    match value {
        Value::S(it) => text(it),
        Value::N(it) => number(it),
        Value::Bool(it) => Box::new(CelBool::from(it)),
        Value::B(it) => bytes(it),
        Value::Null(_) => Box::new(CelNull),
        Value::M(it) => map(it),
        Value::L(it) => list(it, self::value),
        Value::Ss(it) => list(it, text),
        Value::Ns(it) => list(it, number),
        Value::Bs(it) => list(it, bytes),
    }
}

fn text(text: String) -> Cel {
    Box::new(CelString::from(text))
}

fn bytes(bytes: Vec<u8>) -> Cel {
    Box::new(CelBytes::from(bytes))
}

/// Whole numbers that fit are CEL ints, all others doubles: comparing beyond 2^53 with fractions is not exact.
fn number(digits: String) -> Cel {
    match (digits.parse::<i64>(), digits.parse::<f64>()) {
        (Ok(int), _) => Box::new(CelInt::from(int)),
        (Err(_), Ok(float)) => Box::new(CelDouble::from(float)),
        (Err(_), Err(_)) => text(digits),
    }
}
