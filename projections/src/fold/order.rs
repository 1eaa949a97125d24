//! Bytes that compare as values do: what the least and the greatest value of a totals row are found by.
//!
//! Numbers come before text, text before binary. A number is its sign, its power of ten and its digits; of a negative one
//! the complement of these. Text and binary are their own bytes, as DynamoDB compares them.

use crate::decimal::{Decimal, DecimalError};
use crate::item::{Value, type_name};

/// The longest text or binary that is compared, in bytes: with what stands before it, it has to fit a sort key of 1,024.
pub const MAX_COMPARED: usize = 1_000;

/// A value that cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It has parts, or is no more than true, false or null.
    #[error("is of type {0}: only S, N and B can be compared")]
    Type(&'static str),
    /// It does not fit a sort key.
    #[error("has {0} bytes: only {MAX_COMPARED} can be compared")]
    TooLong(usize),
    /// It is no number that DynamoDB could hold.
    #[error(transparent)]
    Number(#[from] DecimalError),
}

const NUMBER: u8 = 1;
const TEXT: u8 = 2;
const BINARY: u8 = 3;

const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;

/// A number's powers of ten are -130 to 125: as a byte from 0 on.
const POWER_OF_ZERO: i64 = 130;
/// Ends a number's digits: less than any digit.
const END: u8 = 0;

/// Bytes that compare as the values do, and are equal for equal values.
pub fn sort_key(value: &Value) -> Result<Vec<u8>, OrderError> {
    comparable(value)?;
    Ok(match value {
        Value::N(digits) => number(&Decimal::parse(digits)?),
        Value::S(text) => tagged(TEXT, text.as_bytes()),
        Value::B(bytes) => tagged(BINARY, bytes),
        other => return Err(OrderError::Type(type_name(other))),
    })
}

/// Whether a value has a sort key, without making it.
pub(crate) fn comparable(value: &Value) -> Result<(), OrderError> {
    let length = match value {
        Value::N(digits) => return Ok(Decimal::parse(digits).map(drop)?),
        Value::S(text) => text.len(),
        Value::B(bytes) => bytes.len(),
        other => return Err(OrderError::Type(type_name(other))),
    };
    if length > MAX_COMPARED { Err(OrderError::TooLong(length)) } else { Ok(()) }
}

fn tagged(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + bytes.len());
    key.push(tag);
    key.extend_from_slice(bytes);
    key
}

fn number(number: &Decimal) -> Vec<u8> {
    if number.is_zero() {
        return vec![NUMBER, ZERO];
    }
    let (digits, power) = number.digits_and_power();
    // `Decimal::parse` lets no other power through.
    let power = u8::try_from(power + POWER_OF_ZERO).unwrap_or(u8::MAX);
    let mut key = Vec::with_capacity(4 + digits.len());
    key.extend([NUMBER, if number.is_negative() { NEGATIVE } else { POSITIVE }, power]);
    key.extend_from_slice(digits.as_bytes());
    key.push(END);
    if number.is_negative() {
        // Of two negative numbers the one that is farther from zero is the lesser.
        key[2..].iter_mut().for_each(|byte| *byte = !*byte);
    }
    key
}
