//! What a grant is about, and its ARN.

use std::sync::Arc;

use millstream_projections::config::{Config, LettersStore, SourceKind};

/// Something that can be allowed to be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// A DynamoDB table of the deployment's own account and Region.
    Table(Arc<str>),
    /// An index of such a table.
    Index(Arc<str>, Arc<str>),
    /// Every stream that such a table has, or had: a stream that is switched off and on is another one.
    Streams(Arc<str>),
    /// An SQS queue, by its URL.
    Queue(Arc<str>),
    /// What has an ARN of its own, as a topic.
    Arn(Arc<str>),
}

impl Resource {
    /// Its ARN in a place.
    pub fn arn(&self, place: &Place) -> String {
        match self {
            Self::Table(table) => place.table(table),
            Self::Index(table, index) => format!("{}/index/{index}", place.table(table)),
            Self::Streams(table) => format!("{}/stream/*", place.table(table)),
            Self::Queue(url) => {
                let queue = QueueUrl::of(url);
                let region = queue.region.unwrap_or(&place.region);
                let account = queue.account.unwrap_or(&place.account);
                format!("arn:{}:sqs:{region}:{account}:{}", place.partition, queue.name)
            }
            Self::Arn(arn) => arn.to_string(),
        }
    }
}

/// Where a deployment is. What is not known may be a placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `aws`, or that of China or of the government.
    pub partition: String,
    /// The Region.
    pub region: String,
    /// The account.
    pub account: String,
}

impl Place {
    /// The Region and the account that all topics and queues of a config agree on; none where they do not, or where there
    /// is none.
    pub fn named_in(config: &Config) -> (Option<String>, Option<String>) {
        let topics = config.sources.iter().map(|source| &source.kind);
        let mut places: Vec<(Option<&str>, Option<&str>)> = topics.filter_map(of_source).collect();
        let targets = config.projections.iter().map(|projection| projection.kind.resource());
        places.extend(targets.filter_map(|target| of_arn(target)));
        if let LettersStore::Queue(url) = &config.letters.store {
            let queue = QueueUrl::of(url);
            places.push((queue.region, queue.account));
        }
        let agreed = |told: Vec<&str>| {
            let first = *told.first()?;
            told.iter().all(|it| *it == first).then(|| first.to_owned())
        };
        let regions = places.iter().filter_map(|(region, _)| *region).collect();
        let accounts = places.iter().filter_map(|(_, account)| *account).collect();
        (agreed(regions), agreed(accounts))
    }

    /// The partition that a Region is in.
    pub fn partition_of(region: &str) -> &'static str {
        match region {
            _ if region.starts_with("cn-") => "aws-cn",
            _ if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }

    fn table(&self, table: &str) -> String {
        format!("arn:{}:dynamodb:{}:{}:table/{table}", self.partition, self.region, self.account)
    }
}

fn of_source(kind: &SourceKind) -> Option<(Option<&str>, Option<&str>)> {
    match kind {
        SourceKind::Table(_) => None,
        SourceKind::Queue(url) => {
            let queue = QueueUrl::of(url);
            Some((queue.region, queue.account))
        }
        SourceKind::Topic(arn) => of_arn(arn),
    }
}

fn of_arn(arn: &str) -> Option<(Option<&str>, Option<&str>)> {
    let mut parts = arn.strip_prefix("arn:")?.splitn(5, ':').skip(2);
    Some((parts.next(), parts.next()))
}

/// What the URL of a queue tells: `https://sqs.<region>.amazonaws.com/<account>/<name>`, or an older form of it, or that of
/// an endpoint in a VPC. Of another server's URL only the name is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueUrl<'a> {
    /// The Region.
    pub region: Option<&'a str>,
    /// The account.
    pub account: Option<&'a str>,
    /// The queue's name.
    pub name: &'a str,
}

impl<'a> QueueUrl<'a> {
    /// Reads a URL.
    pub fn of(url: &'a str) -> Self {
        let (_, rest) = url.split_once("://").unwrap_or(("", url));
        let (host, path) = rest.split_once('/').unwrap_or(("", rest));
        let mut path = path.trim_end_matches('/').rsplit('/');
        let name = path.next().unwrap_or_default();
        let is_account = |text: &&str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        let labels: Vec<&str> = host.split('.').collect();
        let after = |word: &str| {
            let place = labels.iter().position(|label| *label == word)?;
            labels.get(place + 1).copied()
        };
        let region = after("sqs").or(match labels.as_slice() {
            [region, "queue", "amazonaws", ..] => Some(region),
            ["queue", "amazonaws", ..] => Some("us-east-1"),
            _ => None,
        });
        // Every Region has its number at the end, as no other label has there.
        let region = region.filter(|it| it.contains('-') && it.ends_with(|c: char| c.is_ascii_digit()));
        Self { region, account: path.next().filter(is_account), name }
    }
}

/// Where an event source mapping tells of what it gives up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnFailure {
    /// An SQS queue, by its ARN.
    Queue(Arc<str>),
    /// An SNS topic, by its ARN.
    Topic(Arc<str>),
    /// An S3 bucket, by its ARN.
    Bucket(Arc<str>),
}

/// Why a text names no place for what a mapping gives up on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the ARN of an SQS queue, an SNS topic or an S3 bucket")]
pub struct NoDestination(String);

impl OnFailure {
    /// Reads an ARN.
    pub fn parse(arn: &str) -> Result<Self, NoDestination> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        match parts.as_slice() {
            ["arn", _, "sqs", _, _, name] if !name.is_empty() => Ok(Self::Queue(arn.into())),
            ["arn", _, "sns", _, _, name] if !name.is_empty() => Ok(Self::Topic(arn.into())),
            ["arn", _, "s3", "", "", bucket] if !bucket.is_empty() && !bucket.contains('/') => {
                Ok(Self::Bucket(arn.into()))
            }
            _ => Err(NoDestination(arn.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urls_of_queues() {
        for (url, arn) in [
            (
                "https://sqs.eu-west-1.amazonaws.com/123456789012/mail",
                "arn:aws:sqs:eu-west-1:123456789012:mail",
            ),
            (
                "https://eu-central-1.queue.amazonaws.com/123456789012/mail.fifo",
                "arn:aws:sqs:eu-central-1:123456789012:mail.fifo",
            ),
            ("https://queue.amazonaws.com/123456789012/mail", "arn:aws:sqs:us-east-1:123456789012:mail"),
            (
                "https://vpce-0a-b1.sqs.us-east-2.vpce.amazonaws.com/123456789012/mail",
                "arn:aws:sqs:us-east-2:123456789012:mail",
            ),
            ("https://sqs.us-west-2.api.aws/123456789012/mail/", "arn:aws:sqs:us-west-2:123456789012:mail"),
            ("http://127.0.0.1:4566/000000000000/mail", "arn:aws:sqs:here:000000000000:mail"),
            ("http://sqs.localhost:4566/mail", "arn:aws:sqs:here:mine:mail"),
        ] {
            let place =
                Place { partition: "aws".to_owned(), region: "here".to_owned(), account: "mine".to_owned() };
            assert_eq!(Resource::Queue(url.into()).arn(&place), arn, "{url}");
        }
    }

    #[test]
    fn where_failures_can_go() {
        assert!(matches!(OnFailure::parse("arn:aws:sqs:eu-west-1:1:q"), Ok(OnFailure::Queue(_))));
        assert!(matches!(OnFailure::parse("arn:aws-cn:sns:cn-north-1:1:t"), Ok(OnFailure::Topic(_))));
        assert!(matches!(OnFailure::parse("arn:aws:s3:::bucket"), Ok(OnFailure::Bucket(_))));
        for wrong in
            ["", "bucket", "arn:aws:s3:::bucket/key", "arn:aws:lambda:r:1:function:f", "arn:aws:sqs:r:1:"]
        {
            let error = OnFailure::parse(wrong).unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
