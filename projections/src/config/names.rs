//! Names that AWS gives meaning to: tables, indexes, topics, queues.

/// DynamoDB's names of tables and indexes have 3 to 255 characters.
const TABLE_LENGTH: std::ops::RangeInclusive<usize> = 3..=255;

/// Whether a text can be the name of a table or an index; otherwise what is wrong with it.
pub(super) fn table(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(odd) = name.chars().find(|c| !plain(*c)) {
        return Err(format!("`{name}` has a `{odd}` in it"));
    }
    if !TABLE_LENGTH.contains(&name.len()) {
        return Err(format!("`{name}` has {} characters", name.len()));
    }
    Ok(())
}

/// What the name of a table or an index looks like.
pub(super) const TABLE_ADVICE: &str =
    "use a name of 3 to 255 of a-z, A-Z, 0-9, `-`, `_` and `.`, without account or region";

/// Whether a text is the ARN of an SNS topic: `arn:<partition>:sns:<region>:<account>:<name>`.
pub(super) fn is_topic_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    matches!(parts.as_slice(), ["arn", partition, "sns", region, account, name]
        if ![partition, region, account, name].iter().any(|part| part.is_empty()))
}

/// What the ARN of a topic looks like.
pub(super) const TOPIC_ADVICE: &str = "use the topic's ARN: arn:aws:sns:<region>:<account>:<name>";

/// Whether a text can be the URL of a queue; plain HTTP is what local servers speak.
pub(super) fn is_queue_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        rest.split_once('/').is_some_and(|(host, path)| !host.is_empty() && !path.is_empty())
    }) && !text.chars().any(char::is_whitespace)
}

/// What the URL of a queue looks like.
pub(super) const QUEUE_ADVICE: &str =
    "use the queue's URL: https://sqs.<region>.amazonaws.com/<account>/<name>";
