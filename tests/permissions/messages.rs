//! Queues, topics and buckets: where letters are, and where a mapping tells of what it gives up on.

use std::time::SystemTime;

use aws_config::{Region, SdkConfig};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use millstream_processor::letters::{Closing, LetterFilter, LetterHead, LetterState};
use millstream_processor::permissions::Role;
use millstream_processor::setup;
use millstream_processor::source::failure::bucket::Prefix;
use millstream_processor::source::failure::{FailureBucket, FailureQueue, StreamRanges};
use millstream_processor::wiring;
use millstream_projections::config::Config;
use millstream_replay::import::Importer;
use millstream_test_support::embedded::Embedded;
use millstream_test_support::iam::{Authority, Policy, Right};
use millstream_test_support::lambda_event;
use serde_json::json;

use crate::flows::{CHANGES, Flow, STREAM_MAPPING};
use crate::operator::OPERATOR;
use crate::world::{Stage, THINGS, World, server};
use crate::{check, check_with, config, kind};

const FAILURES: &str = "arn:aws:sqs:eu-west-1:000000000000:failures";

/// Clients of the test itself.
fn wiring_of(stage: &Stage) -> wiring::Aws {
    wiring::Aws::from_config(stage.world.services().sdk_config())
}

/// What a closed letter needs that comes again, in a queue.
const AGAIN: &[Flow] =
    &[("a letter that was closed fails again", |stage| Box::pin(closed_fails_again(stage)))];

async fn closed_fails_again(stage: &mut Stage) {
    stage.put(json!({ "id": "a", "slot": "a", "who": "ann" })).await;
    stage.deliver().await;
    let others = Stage::new(stage.world.another(), Role::Operator, Policy::everything());
    let (letters, ours) = (others.pipeline().letters, stage.pipeline().letters);
    let heads: Vec<LetterHead> = letters.list(&LetterFilter::default()).try_collect().await.unwrap();
    let letter = letters.load(&heads[0].id).await.unwrap().unwrap();
    let closing =
        Closing { state: LetterState::Replayed, at: 0, by: "kim".to_owned(), reason: "done".to_owned() };
    assert!(letters.close(&letter.head.id, letter.head.edited, &closing).await.unwrap());
    letters.release().await;
    drop(ours.store(&letter).await);
}

fn letters_in(queue: &str, name: &str) -> String {
    let url = format!("https://sqs.eu-west-1.amazonaws.com/000000000000/{queue}");
    config(&[kind(name)]) + &format!("[letters]\nstore = {{ queue = '{url}' }}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_in_a_queue() {
    let services = server().await;
    let checks = ["a replica that keeps its rows", "events"].into_iter().flat_map(|name| {
        [
            (name, Role::StreamFunction, [CHANGES, STREAM_MAPPING, AGAIN]),
            (name, Role::Operator, [CHANGES, OPERATOR, AGAIN]),
        ]
    });
    // Each has a queue of its own, so that they run side by side.
    let checks = checks.enumerate().map(|(number, (name, role, flows))| {
        let (services, toml) = (services.clone(), letters_in(&format!("letters{number}"), name));
        async move { check_with(Some(services), name, &toml, role, &[], &flows).await }
    });
    join_all(checks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_in_a_directory() {
    // No service has to do with it.
    let folder = tempfile::tempdir().unwrap();
    let name = "a replica that keeps its rows";
    let store = format!("[letters]\nstore = {{ directory = '{}' }}\n", folder.path().display());
    let toml = config(&[kind(name)]) + &store;
    check(name, &toml, Role::Operator, &[], &[CHANGES, OPERATOR]).await;
}

/// What Lambda does when it gives up on a batch, and what an operator does then.
const TO_A_QUEUE: &[Flow] = &[("Lambda gives up, to a queue", |stage| Box::pin(sends(stage)))];
const FROM_A_QUEUE: &[Flow] = &[("documents are imported from a queue", |stage| Box::pin(drains(stage)))];
const TO_A_TOPIC: &[Flow] = &[("Lambda gives up, to a topic", |stage| Box::pin(publishes(stage)))];
const TO_A_BUCKET: &[Flow] = &[("Lambda gives up, to a bucket", |stage| Box::pin(puts(stage)))];
const FROM_A_BUCKET: &[Flow] = &[("documents are imported from a bucket", |stage| Box::pin(sweeps(stage)))];

async fn sends(stage: &mut Stage) {
    stage.world.make_queue("failures").await;
    let url = format!("{}/000000000000/failures", stage.world.services().endpoint());
    drop(stage.services().sqs().send_message().queue_url(url).message_body("{}").send().await);
}

async fn publishes(stage: &mut Stage) {
    let arn = stage.world.topics.create("failures");
    let topics = wiring::Aws::from_config(stage.authority.judged(&stage.world.topics.sdk_config()));
    drop(topics.sns().publish().topic_arn(arn).message("{}").send().await);
}

async fn puts(stage: &mut Stage) {
    make_bucket(stage).await;
    let s3 = judged_buckets(stage).s3();
    drop(s3.list_objects_v2().bucket("failures").send().await);
    let put = s3.put_object().bucket("failures").key("aws/lambda/uuid/shard/2025/06/15/x");
    drop(put.body(b"{}".to_vec().into()).send().await);
}

async fn make_bucket(stage: &Stage) {
    // It may be there already.
    drop(buckets(stage).s3().create_bucket().bucket("failures").send().await);
}

/// Clients of the test itself, where a bucket can be made without a word about where.
fn buckets(stage: &Stage) -> wiring::Aws {
    wiring::Aws::from_config(in_us(stage.world.services().sdk_config()))
}

fn judged_buckets(stage: &Stage) -> wiring::Aws {
    wiring::Aws::from_config(stage.authority.judged(&in_us(stage.world.services().sdk_config())))
}

fn in_us(config: SdkConfig) -> SdkConfig {
    config.into_builder().region(Region::new("us-east-1")).build()
}

async fn document(stage: &Stage) -> String {
    stage.put(json!({ "id": "a", "slot": "a", "who": "ann", "n": 1 })).await;
    let (records, arn) = (stage.world.db.read_stream(THINGS).await, stage.world.db.stream_arn(THINGS).await);
    json!({
        "requestContext": { "requestId": "r", "functionArn": "arn:f", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 4 },
        "version": "1.0", "timestamp": "2025-06-15T16:00:00Z",
        "DDBStreamBatchInfo": {
            "shardId": "shardId-1", "startSequenceNumber": "1", "endSequenceNumber": "2",
            "approximateArrivalOfFirstRecord": "2025-06-14T12:06:40Z",
            "approximateArrivalOfLastRecord": "2025-06-14T12:06:41Z", "batchSize": 1, "streamArn": arn,
        },
        "payload": lambda_event::event(&arn, &records),
    })
    .to_string()
}

async fn drains(stage: &mut Stage) {
    stage.world.make_queue("failures").await;
    let url = format!("{}/000000000000/failures", stage.world.services().endpoint());
    let body = document(stage).await;
    wiring_of(stage).sqs().send_message().queue_url(&url).message_body(body).send().await.unwrap();
    let (desk, sources) = (stage.desk(), wiring::sources(&stage.world.config));
    let ranges = StreamRanges::new(stage.aws().streams());
    let importer = Importer { desk: &desk, sources: &sources, ranges: &ranges };
    drop(importer.drain(&FailureQueue::new(stage.services().sqs(), url), &mut |_, _| ()).await);
}

async fn sweeps(stage: &mut Stage) {
    make_bucket(stage).await;
    let body = document(stage).await.into_bytes();
    let put = buckets(stage).s3().put_object().bucket("failures").key("aws/lambda/uuid/shard/2025/06/15/x");
    put.body(body.into()).send().await.unwrap();
    let (desk, sources) = (stage.desk(), wiring::sources(&stage.world.config));
    let ranges = StreamRanges::new(stage.aws().streams());
    let importer = Importer { desk: &desk, sources: &sources, ranges: &ranges };
    let place = Prefix::parse("s3://failures/aws/lambda/").unwrap();
    let bucket = FailureBucket::new(judged_buckets(stage).s3(), place);
    drop(importer.sweep(&bucket, &mut |_, _| ()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_mapping_tells_of_what_it_gives_up_on() {
    let services = server().await;
    let name = "a replica that keeps its rows";
    let toml = config(&[kind(name)]);
    let places: [(&str, &[Flow], &[Flow]); 3] = [
        (FAILURES, TO_A_QUEUE, FROM_A_QUEUE),
        ("arn:aws:sns:eu-west-1:000000000000:failures", TO_A_TOPIC, &[]),
        ("arn:aws:s3:::failures", TO_A_BUCKET, FROM_A_BUCKET),
    ];
    for (arn, gives_up, imports) in places {
        let more = ["--on-failure", arn];
        let flows = [CHANGES, STREAM_MAPPING, gives_up];
        check_with(Some(services.clone()), name, &toml, Role::StreamFunction, &more, &flows).await;
        let flows = [CHANGES, OPERATOR, imports];
        check_with(Some(services.clone()), name, &toml, Role::Operator, &more, &flows).await;
    }
}

#[tokio::test]
async fn making_the_tables() {
    let toml = config(&[kind("the least of values")]);
    let policy = World::new(&toml, None).await.policy(Role::Setup, &[]);
    let (authority, bare) = (Authority::new(policy.clone()), Embedded::new());
    bare.set_now(SystemTime::now());
    let config = Config::parse("m.toml", &toml, &|_| None).unwrap();
    let aws = wiring::Aws::from_config(authority.judged(&bare.sdk_config()));
    setup::create_tables(&config, &aws).await.unwrap();
    let asked = authority.asked();
    let needless: Vec<&Right> = policy.rights().iter().filter(|right| !asked.contains(right)).collect();
    assert!(needless.is_empty(), "granted and never asked: {needless:?}");
}
