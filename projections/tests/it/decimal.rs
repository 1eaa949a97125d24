//! Exact decimal numbers.

use millstream_projections::decimal::{Decimal, DecimalError};
use proptest::prelude::*;

fn number(text: &str) -> Decimal {
    Decimal::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn numbers_are_written_in_plain_digits() {
    let written = ["0", "-0", "0.00", "1.50", "15e-1", "1E+3", "-0.001", "00012", ".5", "1E-130"];
    let plain = written.map(|text| number(text).to_string());
    let tiny = format!("0.{}1", "0".repeat(129));
    assert_eq!(plain, ["0", "0", "0", "1.5", "1.5", "1000", "-0.001", "12", "0.5", &tiny]);
}

#[test]
fn sums_of_38_digits_are_exact() {
    let (large, small) = (number("99999999999999999999999999999999999999"), number("0.1"));
    let mut sum = &large + &small;
    // It is more than DynamoDB holds, and exact all the same.
    assert_eq!(sum.to_string(), "99999999999999999999999999999999999999.1");
    assert_eq!(sum.to_number(), Err(DecimalError::TooManyDigits(39)));
    sum += &-&large;
    assert_eq!(sum.to_number(), Ok("0.1".to_owned()));
    assert!((&small - &small).is_zero());
    assert!((&small - &large).is_negative());
}

#[test]
fn what_dynamodb_cannot_hold() {
    let refused =
        |text: &str, error: &DecimalError| assert_eq!(Decimal::parse(text).as_ref(), Err(error), "{text}");
    for text in ["", "x", "1.2.3", "NaN", "Infinity", "1e", "0x10", " 1"] {
        refused(text, &DecimalError::NoNumber);
    }
    refused(&"9".repeat(39), &DecimalError::TooManyDigits(39));
    refused("1E126", &DecimalError::OutOfRange);
    refused("1E-131", &DecimalError::OutOfRange);
    refused("-1E9999999", &DecimalError::OutOfRange);
    assert_eq!(
        number("9.9999999999999999999999999999999999999E+125").to_number().map(|text| text.len()),
        Ok(126)
    );
    let (top, double) = (number("9E125"), &number("9E125") + &number("9E125"));
    assert_eq!((top.to_number().is_ok(), double.to_number()), (true, Err(DecimalError::OutOfRange)));
}

/// Numbers as DynamoDB has them: up to 38 digits, any power, negative ones and zero.
pub(crate) fn numbers() -> impl Strategy<Value = String> {
    let digits = prop_oneof!["[0-9]{1,4}", "[1-9][0-9]{0,37}"];
    (any::<bool>(), digits, prop_oneof![-3i32..4, -130i32..88]).prop_filter_map(
        "beyond DynamoDB",
        |(negative, digits, power)| {
            let text = format!("{}{digits}E{power}", if negative { "-" } else { "" });
            Decimal::parse(&text).is_ok().then_some(text)
        },
    )
}

proptest! {
    #[test]
    fn a_number_reads_as_it_is_written(text in numbers()) {
        let number = number(&text);
        prop_assert_eq!(Decimal::parse(&number.to_string()), Ok(number.clone()));
        prop_assert_eq!(number.to_number(), Ok(number.to_string()));
    }

    #[test]
    fn sums_do_not_depend_on_the_order(texts in proptest::collection::vec(numbers(), 0..20), at in any::<prop::sample::Index>()) {
        let numbers: Vec<Decimal> = texts.iter().map(|text| number(text)).collect();
        let sum = |numbers: &[Decimal]| numbers.iter().fold(Decimal::default(), |sum, number| &sum + number);
        let mut turned = numbers.clone();
        if !turned.is_empty() {
            turned.rotate_left(at.index(numbers.len()));
        }
        let total = sum(&numbers);
        prop_assert_eq!(&total, &sum(&turned));
        // What was added comes off again, without a rest.
        let rest = turned.iter().fold(total, |rest, number| &rest - number);
        prop_assert!(rest.is_zero());
    }

    #[test]
    fn any_text_is_a_number_or_none(text in prop_oneof![any::<String>(), "[-+0-9.eE]{0,12}"]) {
        if let Ok(number) = Decimal::parse(&text) {
            prop_assert!(number.to_number().is_ok());
        }
    }
}
