//! Which source of the config an ARN belongs to.

use std::fmt;

use millstream_projections::SourceName;

/// What a source reads, as the config names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKey {
    /// A table's stream, by the table's name or ARN.
    Table(String),
    /// A queue, by its URL or by its name alone.
    Queue(String),
    /// A topic, by its ARN.
    Topic(String),
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => write!(f, "table {table}"),
            Self::Queue(queue) => write!(f, "queue {queue}"),
            Self::Topic(topic) => write!(f, "topic {topic}"),
        }
    }
}

/// The sources of the config, found by the ARNs that records carry.
#[derive(Debug, Clone, Default)]
pub struct Sources(Vec<(SourceName, SourceKey)>);

impl Sources {
    /// All sources of a config. Where two read the same thing, the first one gets its records.
    pub fn new(sources: impl IntoIterator<Item = (SourceName, SourceKey)>) -> Self {
        Self(sources.into_iter().collect())
    }

    /// The source that a stream's, a queue's or a topic's ARN belongs to.
    pub fn resolve(&self, arn: &str) -> Option<&SourceName> {
        let place = Place::of(arn)?;
        self.0.iter().find(|(_, key)| place.matches(arn, key)).map(|(name, _)| name)
    }

    /// All sources in words, for errors.
    pub fn known(&self) -> String {
        if self.0.is_empty() {
            return "none".to_owned();
        }
        self.0.iter().map(|(name, key)| format!("{name} ({key})")).collect::<Vec<_>>().join(", ")
    }
}

/// What an ARN points at.
enum Place<'a> {
    Stream { table: &'a str },
    Queue { account: &'a str, name: &'a str },
    Topic,
}

impl<'a> Place<'a> {
    fn of(arn: &'a str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let (start, _partition, service) = (parts.next()?, parts.next()?, parts.next()?);
        let (_region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        match (start, service) {
            ("arn", "dynamodb") => {
                let (table, _label) = resource.strip_prefix("table/")?.split_once("/stream/")?;
                Some(Self::Stream { table })
            }
            ("arn", "sqs") => Some(Self::Queue { account, name: resource }),
            ("arn", "sns") => Some(Self::Topic),
            _ => None,
        }
    }

    fn matches(&self, arn: &str, key: &SourceKey) -> bool {
        match (self, key) {
            (Self::Stream { table }, SourceKey::Table(known)) => {
                known == table || arn.split_once("/stream/").is_some_and(|(table_arn, _)| known == table_arn)
            }
            (Self::Queue { account, name }, SourceKey::Queue(known)) => {
                let mut segments = known.trim_end_matches('/').rsplit('/');
                let same_name = segments.next() == Some(name);
                // A URL names the account too; a bare name does not.
                same_name
                    && segments.next().filter(|segment| is_account(segment)).is_none_or(|it| it == *account)
            }
            (Self::Topic, SourceKey::Topic(known)) => known == arn,
            (Self::Stream { .. } | Self::Queue { .. } | Self::Topic, _) => false,
        }
    }
}

fn is_account(segment: &str) -> bool {
    segment.len() == 12 && segment.bytes().all(|byte| byte.is_ascii_digit())
}
