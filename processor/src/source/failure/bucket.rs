//! Documents of failed batches from a bucket of S3, where an on-failure destination keeps them together with the event.

use aws_sdk_s3::Client;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::archive::{Archive, Listed, Page};
use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::fault;

/// What an address of S3 starts with.
const SCHEME: &str = "s3://";

/// A bucket, and what the names of its objects start with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The bucket.
    pub bucket: String,
    /// What the keys start with; empty for the whole bucket.
    pub prefix: String,
}

/// Why a text names no place in S3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place in S3: write s3://bucket/prefix")]
pub struct NoPrefix(String);

impl Prefix {
    /// Whether a text is meant to be a place in S3, right or wrong.
    pub fn is_meant(text: &str) -> bool {
        text.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    }

    /// Reads `s3://bucket/prefix`.
    pub fn parse(text: &str) -> Result<Self, NoPrefix> {
        let wrong = || NoPrefix(text.to_owned());
        let rest = text.strip_prefix(SCHEME).ok_or_else(wrong)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        match (3..=63).contains(&bucket.len()) && bucket.bytes().all(valid) {
            true => Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() }),
            false => Err(wrong()),
        }
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.bucket, self.prefix)
    }
}

/// A bucket that an on-failure destination fills. Its objects stay: it is an archive.
#[derive(Debug, Clone)]
pub struct FailureBucket {
    client: Client,
    place: Prefix,
}

impl FailureBucket {
    /// Makes no request.
    pub fn new(client: Client, place: Prefix) -> Self {
        Self { client, place }
    }

    async fn list(&self, from: Option<String>) -> Result<Page, Fault> {
        let Prefix { bucket, prefix } = &self.place;
        let request = self.client.list_objects_v2().bucket(bucket).prefix(prefix);
        let sent = request.set_continuation_token(from).send().await;
        let page = sent.map_err(|error| fault(format!("ListObjectsV2 of {}", self.place), &error))?;
        // A page can be empty, and others come after it.
        let documents = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let name = object.key?;
            let size = object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
            // Consoles make an empty object for each folder.
            (size > 0 || !name.ends_with('/')).then_some(Listed { name, size })
        });
        Ok(Page { documents: documents.collect(), next: page.next_continuation_token })
    }

    async fn object(&self, key: &str) -> Result<Vec<u8>, Fault> {
        let doing = || format!("GetObject {key} of bucket {}", self.place.bucket);
        let sent = self.client.get_object().bucket(&self.place.bucket).key(key).send().await;
        let object = sent.map_err(|error| fault(doing(), &error))?;
        let body = object.body.collect().await;
        body.map(|body| body.into_bytes().into())
            .map_err(|error| Fault::from_error(FaultKind::Unavailable, doing(), &error))
    }
}

impl Archive for FailureBucket {
    fn page(&self, from: Option<String>) -> BoxFuture<'_, Result<Page, Fault>> {
        self.list(from).boxed()
    }

    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<u8>, Fault>> {
        self.object(name).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_bucket_and_the_beginning_of_keys() {
        for (text, bucket, prefix) in [
            ("s3://failures", "failures", ""),
            ("s3://failures/", "failures", ""),
            ("s3://my.failures-1/aws/lambda/0f/", "my.failures-1", "aws/lambda/0f/"),
            ("s3://failures//odd", "failures", "/odd"),
        ] {
            let place = Prefix::parse(text).unwrap();
            assert_eq!((place.bucket.as_str(), place.prefix.as_str()), (bucket, prefix));
        }
        for text in
            ["s3://", "s3:///prefix", "s3://a/b", "S3://failures", "s3://has space/x", "https://failures"]
        {
            let error = Prefix::parse(text).unwrap_err().to_string();
            assert!(error.contains("s3://bucket/prefix"), "{error}");
        }
        assert!(Prefix::is_meant("S3://x") && !Prefix::is_meant("s3") && !Prefix::is_meant("failures/s3"));
    }
}
