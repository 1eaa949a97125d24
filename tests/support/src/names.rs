//! How dynoxide's names for streams read on the wire: ARNs, labels, sequence numbers, shard iterators.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use dynoxide::actions::get_shard_iterator::{decode_shard_iterator, encode_shard_iterator};
use serde_json::Value;

use crate::connector::{ACCOUNT, REGION};

/// What dynoxide adds to its own count to make a sequence number of 21 digits.
const SEQUENCE_OFFSET: u128 = 100_000_000_000_000_000_000;

/// Rewrites dynoxide's ARNs and stream labels, in a description of a table or a list of streams, as AWS has them.
pub(crate) fn mend_names(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match member {
                    Value::String(text) if name.ends_with("StreamLabel") => *text = public_label(text),
                    Value::String(text) if name.ends_with("Arn") => *text = public_arn(text),
                    other => mend_names(other),
                }
            }
        }
        Value::Array(members) => members.iter_mut().for_each(mend_names),
        _ => {}
    }
}

/// The table in an ARN of a table or of a stream.
pub(crate) fn table_of_arn(arn: &str) -> Option<String> {
    arn.split('/').nth(1).map(str::to_owned)
}

/// The table that an iterator is for.
pub(crate) fn table_of_iterator(iterator: &str) -> Option<String> {
    unwrap_iterator(iterator).map(|it| it.0)
}

pub(crate) fn number_of(position: i64) -> String {
    (SEQUENCE_OFFSET + u128::from(position.unsigned_abs())).to_string()
}

pub(crate) fn position_of(number: &str) -> Option<i64> {
    i64::try_from(number.parse::<u128>().ok()?.checked_sub(SEQUENCE_OFFSET)?).ok()
}

pub(crate) fn wrap_iterator(table: &str, position: i64, label: &str, shard: &str) -> String {
    format!("{}|{label}|{shard}", encode_shard_iterator(table, "", position))
}

pub(crate) fn unwrap_iterator(iterator: &str) -> Option<(String, i64, String, String)> {
    let mut parts = iterator.split('|');
    let (table, _, position) = decode_shard_iterator(parts.next()?)?;
    Some((table, position, parts.next()?.to_owned(), parts.next()?.to_owned()))
}

/// `1750000000.001000000` becomes `2025-06-15T15:06:40.001`.
pub(crate) fn public_label(label: &str) -> String {
    let (seconds, nanos) = label.split_once('.').unwrap_or((label, "0"));
    let (Ok(seconds), Ok(nanos)) = (seconds.parse(), nanos.parse::<u32>()) else { return label.to_owned() };
    let text = DateTime::from_secs(seconds).fmt(Format::DateTime).expect("the clock is within the calendar");
    // The clock is a float: round, or a millisecond may come out as 999,999 nanoseconds.
    format!("{}.{:03}", text.trim_end_matches('Z'), ((nanos + 500_000) / 1_000_000).min(999))
}

fn public_arn(arn: &str) -> String {
    let own = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:");
    let arn = arn.replacen("arn:aws:dynamodb:dynoxide:000000000000:", &own, 1);
    match arn.split_once("/stream/") {
        Some((table, label)) => format!("{table}/stream/{}", public_label(label)),
        None => arn,
    }
}
