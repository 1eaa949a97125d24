//! What dynoxide does not check: a sum that a number of DynamoDB cannot hold refuses its transaction.

use std::str::FromStr;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::Sign;
use serde_json::{Value, json};

use crate::engine::Refused;

/// A number of DynamoDB has at most so many significant digits.
const DIGITS: u64 = 38;
/// And is at most 9.99…E+125.
const LARGEST: i64 = 125;

/// The refusal of a transaction one of whose ADDs overflows; `read` gives the item of a table and key.
pub(crate) fn overflow(body: &Value, read: impl Fn(&Value, &Value) -> Value) -> Option<Refused> {
    let actions = body["TransactItems"].as_array()?;
    let overflows: Vec<bool> = actions
        .iter()
        .map(|action| {
            let update = &action["Update"];
            let adds = adds(update);
            if adds.is_empty() {
                return false;
            }
            let item = read(&update["TableName"], &update["Key"]);
            adds.iter().any(|(name, more)| {
                let now = item[name]["N"].as_str().and_then(|text| BigDecimal::from_str(text).ok());
                !holds(&(now.unwrap_or_default() + more))
            })
        })
        .collect();
    let reason = |overflows: &bool| match overflows {
        true => json!({
            "Code": "ValidationError",
            "Message": "Number overflow. Attempting to store a number with magnitude larger than supported range",
        }),
        false => json!({ "Code": "None" }),
    };
    overflows.contains(&true).then(|| Refused {
        status: 400,
        body: json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons",
            "CancellationReasons": overflows.iter().map(reason).collect::<Vec<_>>(),
        }),
    })
}

/// The attributes and numbers of the `ADD` clause of an update, which is its last one here.
fn adds(update: &Value) -> Vec<(String, BigDecimal)> {
    let expression = update["UpdateExpression"].as_str().unwrap_or_default();
    let Some((_, clause)) = expression.split_once("ADD ") else { return Vec::new() };
    let add = |pair: &str| {
        let (name, value) = pair.trim().split_once(' ')?;
        let name = update["ExpressionAttributeNames"][name].as_str().unwrap_or(name).to_owned();
        let number = update["ExpressionAttributeValues"][value.trim()]["N"].as_str()?;
        Some((name, BigDecimal::from_str(number).ok()?))
    };
    clause.split(',').filter_map(add).collect()
}

fn holds(number: &BigDecimal) -> bool {
    let number = number.normalized();
    let power = number.digits() as i64 - 1 - number.fractional_digit_count();
    number.sign() == Sign::NoSign || (number.digits() <= DIGITS && power <= LARGEST)
}
