//! Exact decimal numbers: sums of DynamoDB's numbers, which have 38 digits, without a float in between.

use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub};
use std::str::FromStr;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::Sign;

/// How many significant digits a number of DynamoDB can have.
pub const MAX_DIGITS: u64 = 38;
/// The largest power of ten in a number of DynamoDB: 9.99…E+125.
const MAX_POWER: i64 = 125;
/// The smallest: 1E-130.
const MIN_POWER: i64 = -130;

/// An exact decimal number of any size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Decimal(BigDecimal);

/// A number that DynamoDB cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// The text is no number.
    #[error("is no decimal number")]
    NoNumber,
    /// Too many significant digits.
    #[error("has {0} significant digits, and DynamoDB holds {MAX_DIGITS}")]
    TooManyDigits(u64),
    /// Too large, or too close to zero.
    #[error("is beyond what DynamoDB holds, ±1E{MIN_POWER} to ±9.99E+{MAX_POWER}")]
    OutOfRange,
}

impl Decimal {
    /// One.
    pub fn one() -> Self {
        Self(BigDecimal::from(1))
    }

    /// Reads a number as DynamoDB writes it.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let number = BigDecimal::from_str(text).map_err(|_| DecimalError::NoNumber)?;
        // A text such as `1E9999999` would fill the memory with the first addition.
        checked(&number)?;
        Ok(Self(number.normalized()))
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.0.sign() == Sign::NoSign
    }

    /// Whether it is less than zero.
    pub fn is_negative(&self) -> bool {
        self.0.sign() == Sign::Minus
    }

    /// The number as DynamoDB reads it; an error if it cannot hold it.
    pub fn to_number(&self) -> Result<String, DecimalError> {
        checked(&self.0)?;
        Ok(self.to_string())
    }

    /// Its significant digits without trailing zeros, and the power of ten of the first of them.
    pub(crate) fn digits_and_power(&self) -> (String, i64) {
        let (digits, scale) = self.0.normalized().into_bigint_and_exponent();
        let digits = digits.magnitude().to_string();
        let power = digits.len() as i64 - 1 - scale;
        (digits, power)
    }
}

fn checked(number: &BigDecimal) -> Result<(), DecimalError> {
    if number.sign() == Sign::NoSign {
        return Ok(());
    }
    let normal = number.normalized();
    let digits = normal.digits();
    let power = digits as i64 - 1 - normal.fractional_digit_count();
    if digits > MAX_DIGITS {
        Err(DecimalError::TooManyDigits(digits))
    } else if (MIN_POWER..=MAX_POWER).contains(&power) {
        Ok(())
    } else {
        Err(DecimalError::OutOfRange)
    }
}

/// Plain digits, as DynamoDB answers them.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.normalized().to_plain_string())
    }
}

impl From<u64> for Decimal {
    fn from(number: u64) -> Self {
        Self(BigDecimal::from(number))
    }
}

impl Add for &Decimal {
    type Output = Decimal;

    fn add(self, other: Self) -> Decimal {
        Decimal(&self.0 + &other.0)
    }
}

impl AddAssign<&Decimal> for Decimal {
    fn add_assign(&mut self, other: &Decimal) {
        self.0 += &other.0;
    }
}

impl Sub for &Decimal {
    type Output = Decimal;

    fn sub(self, other: Self) -> Decimal {
        Decimal(&self.0 - &other.0)
    }
}

impl Neg for &Decimal {
    type Output = Decimal;

    fn neg(self) -> Decimal {
        Decimal(-&self.0)
    }
}
