//! Documents in a real bucket: read page by page, told by their keys, and left where they are.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use futures_util::{StreamExt, stream};
use millstream_processor::outcome::{Fault, FaultKind};
use millstream_processor::source::failure::bucket::Prefix;
use millstream_processor::source::failure::{FailureBucket, StreamRanges};
use millstream_processor::wiring::{self, Aws};
use millstream_replay::import::Importer;
use millstream_test_support::emulators::Ministack;
use millstream_test_support::lambda_event;
use serde_json::{Value, json};

use crate::import::{four_orders, pointer};
use crate::world::{ORDERS, World};

/// What a destination's keys start with.
const PREFIX: &str = "aws/lambda/0f0f0f0f-1111-2222-3333-444444444444";
/// S3 lists so many objects at once.
const PAGE: usize = 1_000;

struct Bucket {
    world: World,
    services: Ministack,
    s3: aws_sdk_s3::Client,
}

/// What an import told.
#[derive(Debug, Default, PartialEq)]
struct Told {
    stored: usize,
    known: u64,
    problems: Vec<(String, String)>,
}

impl Bucket {
    async fn start() -> Self {
        let (world, services) = (four_orders().await, Ministack::start().await);
        let s3 = Aws::from_config(services.sdk_config()).s3();
        let region =
            CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuWest1);
        let create = s3.create_bucket().bucket("failures").create_bucket_configuration(region.build());
        create.send().await.unwrap();
        Self { world, services, s3 }
    }

    async fn put(&self, key: &str, body: impl Into<Vec<u8>>) {
        let body = ByteStream::from(body.into());
        self.s3.put_object().bucket("failures").key(key).body(body).send().await.unwrap();
    }

    async fn put_foreign(&self, key: String) {
        self.put(&key, r#"{"hello":1}"#).await;
    }

    async fn keys(&self) -> usize {
        let pages = self.s3.list_objects_v2().bucket("failures").into_paginator().send();
        pages.try_collect().await.unwrap().iter().map(|page| page.contents().len()).sum()
    }

    async fn import(&self, place: &str) -> Result<Told, Fault> {
        let (desk, sources) = (self.world.desk(ORDERS), wiring::sources(&self.world.config(ORDERS)));
        let ranges = StreamRanges::new(self.world.db.streams());
        let importer = Importer { desk: &desk, sources: &sources, ranges: &ranges };
        let mut told = Told::default();
        let mut tell = |key: &str, imported: &Result<millstream_replay::import::Imported, _>| match imported {
            Ok(imported) => {
                told.stored += imported.stored.len();
                told.known += imported.known;
            }
            Err(error) => told.problems.push((key.to_owned(), ToString::to_string(error))),
        };
        let bucket = FailureBucket::new(self.s3.clone(), Prefix::parse(place).unwrap());
        importer.sweep(&bucket, &mut tell).await?;
        Ok(told)
    }

    /// A document as S3 gets it: with the event itself, of which the stream may have forgotten everything.
    async fn document(&self, first: usize, last: usize, as_text: bool) -> Value {
        let records = self.world.db.read_stream("Orders").await;
        let event = lambda_event::event(&self.world.db.stream_arn("Orders").await, &records[first..=last]);
        let mut document = pointer(&self.world, first, last).await;
        document["payload"] = if as_text { json!(event.to_string()) } else { event };
        document
    }
}

#[tokio::test]
async fn objects_become_letters_once_and_stay_where_they_are() {
    let bucket = Bucket::start().await;
    let (first, second) = (bucket.document(0, 1, true).await, bucket.document(2, 3, false).await);
    bucket.put(&format!("{PREFIX}/2025/06/15/2025-06-15T15.06.40-a"), first.to_string()).await;
    bucket.put(&format!("{PREFIX}/2025/06/16/2025-06-16T15.06.40-b"), second.to_string()).await;
    bucket.put("others/of-another-function", second.to_string()).await;
    // The stream has nothing any more: the archive alone has the records.
    bucket.world.db.trim_stream("Orders");

    let one_day = format!("s3://failures/{PREFIX}/2025/06/15/");
    assert_eq!(bucket.import(&one_day).await.unwrap(), Told { stored: 2, ..Told::default() });
    let all = format!("s3://failures/{PREFIX}/");
    assert_eq!(bucket.import(&all).await.unwrap(), Told { stored: 2, known: 2, problems: Vec::new() });
    let letters = bucket.world.letters(&[]).await;
    assert_eq!(letters.len(), 4);

    // Once more it changes nothing.
    assert_eq!(bucket.import(&all).await.unwrap(), Told { known: 4, ..Told::default() });
    assert_eq!(bucket.world.letters(&[]).await, letters);
    assert_eq!((bucket.world.trail().await.len(), bucket.keys().await), (2, 3));
}

#[tokio::test]
async fn every_page_is_read_and_what_cannot_be_imported_is_told_by_its_key() {
    let bucket = Bucket::start().await;
    let last = format!("{PREFIX}/9999/12/31/z");
    bucket.put(&last, bucket.document(0, 3, true).await.to_string()).await;
    bucket.put(&format!("{PREFIX}/0/binary"), vec![0xff, 0xfe]).await;
    bucket.put(&format!("{PREFIX}/0/folder/"), "").await;
    let foreign = (0..PAGE).map(|number| format!("{PREFIX}/2025/06/15/{number:04}"));
    stream::iter(foreign).for_each_concurrent(16, |key| bucket.put_foreign(key)).await;

    let told = bucket.import("s3://failures/aws/lambda/").await.unwrap();
    assert_eq!((told.stored, told.problems.len()), (4, PAGE + 1));
    let (key, problem) = &told.problems[0];
    assert!(key.ends_with("/0/binary") && problem.contains("not text"), "{key}: {problem}");
    let (key, problem) = &told.problems[1];
    assert!(key.ends_with("/0000") && problem.contains("DDBStreamBatchInfo"), "{key}: {problem}");
    assert_eq!(bucket.keys().await, PAGE + 3);
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told() {
    let bucket = Bucket::start().await;
    let fault = bucket.import("s3://no-such-bucket/aws/").await.unwrap_err().to_string();
    assert!(fault.contains("s3://no-such-bucket/aws/") && fault.contains("NoSuchBucket"), "{fault}");
    assert_eq!(bucket.import("s3://failures/nothing/").await.unwrap(), Told::default());
    drop(bucket.services);
}

#[tokio::test]
async fn a_bucket_that_refuses_is_told() {
    let (world, services) = (four_orders().await, Ministack::start_with(&[("AUTH", "true")]).await);
    let s3 = Aws::from_config(services.sdk_config()).s3();
    let bucket = Bucket { world, services, s3 };
    let fault = bucket.import("s3://failures/aws/").await.unwrap_err();
    assert!(fault.to_string().contains("s3://failures/aws/"), "{fault}");
    assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
}
