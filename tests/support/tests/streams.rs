//! The scripted stream, seen through the real SDK client.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodbstreams::types::{
    OperationType, Record, Shard, ShardFilter, ShardFilterType, ShardIteratorType,
};
use millstream_test_support::embedded::START;
use millstream_test_support::faults::{Fault, FaultPlan, Rule};
use millstream_test_support::streams::{NewRecord, ScriptedStreams};

use ShardIteratorType::{AfterSequenceNumber, AtSequenceNumber, Latest, TrimHorizon};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A page: the numbers of its records, and its next iterator.
type Page = (Vec<String>, Option<String>);

fn streams(shards: &[&str]) -> ScriptedStreams {
    let streams = ScriptedStreams::new("Orders");
    shards.iter().for_each(|shard| streams.open(shard, None));
    streams
}

fn put(streams: &ScriptedStreams, shard: &str, count: u64) -> Vec<String> {
    (0..count).map(|n| streams.put(shard, NewRecord::put("a", n))).collect()
}

async fn iterator(
    streams: &ScriptedStreams,
    shard: &str,
    kind: ShardIteratorType,
    sequence: Option<&str>,
) -> Result<String, String> {
    let asked = streams.client().get_shard_iterator().stream_arn(streams.arn()).shard_id(shard);
    let answer =
        asked.shard_iterator_type(kind).set_sequence_number(sequence.map(str::to_owned)).send().await;
    answer.map(|it| it.shard_iterator.unwrap()).map_err(code)
}

async fn records(streams: &ScriptedStreams, iterator: &str) -> Result<(Vec<Record>, Option<String>), String> {
    let answer = streams.client().get_records().shard_iterator(iterator).send().await;
    answer.map(|it| (it.records.unwrap(), it.next_shard_iterator)).map_err(code)
}

async fn page(streams: &ScriptedStreams, iterator: &str) -> Result<Page, String> {
    records(streams, iterator).await.map(|(records, next)| (numbers(&records), next))
}

/// What an iterator of this type reads first, or the error of either call.
async fn first(
    streams: &ScriptedStreams,
    shard: &str,
    kind: ShardIteratorType,
    sequence: Option<&str>,
) -> Result<Vec<String>, String> {
    let iterator = iterator(streams, shard, kind, sequence).await?;
    Ok(page(streams, &iterator).await?.0)
}

fn numbers(records: &[Record]) -> Vec<String> {
    let number = |it: &Record| it.dynamodb().unwrap().sequence_number().unwrap().to_owned();
    records.iter().map(number).collect()
}

fn code<E: ProvideErrorMetadata + std::fmt::Debug>(error: SdkError<E>) -> String {
    error.code().map_or_else(|| format!("{error:?}"), str::to_owned)
}

async fn described(
    client: &Client,
    arn: &str,
    from: Option<String>,
    children_of: Option<&str>,
) -> Result<(Vec<Shard>, Option<String>), String> {
    let child_shards = ShardFilter::builder().r#type(ShardFilterType::ChildShards);
    let filter = children_of.map(|parent| child_shards.shard_id(parent).build());
    let asked = client.describe_stream().stream_arn(arn).set_exclusive_start_shard_id(from);
    let answer = asked.set_shard_filter(filter).send().await.map_err(code)?;
    let stream = answer.stream_description.unwrap();
    Ok((stream.shards.unwrap(), stream.last_evaluated_shard_id))
}

/// The pages of a listing of everything.
async fn listing(streams: &ScriptedStreams) -> Vec<Vec<Shard>> {
    let (client, mut pages, mut from) = (streams.client(), Vec::new(), None);
    loop {
        let (shards, last) = described(&client, streams.arn(), from, None).await.unwrap();
        pages.push(shards);
        from = last;
        if from.is_none() {
            return pages;
        }
    }
}

async fn children(streams: &ScriptedStreams, parent: &str) -> Vec<String> {
    let (shards, last) = described(&streams.client(), streams.arn(), None, Some(parent)).await.unwrap();
    assert_eq!(last, None);
    shards.into_iter().map(|it| it.shard_id.unwrap()).collect()
}

/// Every listed shard as `name`, `name<parent`, and with a `.` behind it if it is closed.
async fn listed(streams: &ScriptedStreams) -> Vec<String> {
    let shards = listing(streams).await.into_iter().flatten();
    shards
        .map(|shard| {
            let parent = shard.parent_shard_id().map(|it| format!("<{it}")).unwrap_or_default();
            let is_closed = shard.sequence_number_range().unwrap().ending_sequence_number().is_some();
            format!("{}{parent}{}", shard.shard_id().unwrap(), if is_closed { "." } else { "" })
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_record_is_sent_as_it_was_written() {
    let streams = streams(&["s"]);
    tokio::time::advance(Duration::from_millis(1_999)).await;
    streams.put("s", NewRecord::put("a", 1));
    streams.put("s", NewRecord::update("a", 1, 2).padded(500));
    streams.put("s", NewRecord::remove("a", 2).expired().made_at(START * 1_000 + 7_500));
    let iterator = iterator(&streams, "s", TrimHorizon, None).await.unwrap();
    let (sent, _) = records(&streams, &iterator).await.unwrap();
    let names: Vec<_> = sent.iter().map(|it| it.event_name().unwrap().clone()).collect();
    assert_eq!(names, [OperationType::Insert, OperationType::Modify, OperationType::Remove]);
    let written: Vec<_> = streams.records("s").into_iter().map(|it| it.sequence).collect();
    assert_eq!(numbers(&sent), written);

    let ids: BTreeSet<_> = sent.iter().map(|it| it.event_id().unwrap()).collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    let changes: Vec<_> = sent.iter().map(|it| it.dynamodb().unwrap()).collect();
    let images: Vec<_> =
        changes.iter().map(|it| (it.old_image().is_some(), it.new_image().is_some())).collect();
    assert_eq!(images, [(false, true), (true, true), (true, false)]);
    assert_eq!(changes[1].new_image().unwrap()["n"].as_n().unwrap(), "2");
    assert_eq!(changes[1].old_image().unwrap()["n"].as_n().unwrap(), "1");
    assert!(changes.iter().all(|it| it.keys().unwrap()["id"].as_s().unwrap() == "a"));
    assert!(changes[1].size_bytes().unwrap() > 1_000);
    let made: Vec<_> =
        changes.iter().map(|it| it.approximate_creation_date_time().unwrap().as_secs_f64()).collect();
    assert_eq!(made, [START as f64 + 1.0, START as f64 + 1.0, START as f64 + 7.0], "whole seconds");
    let who: Vec<_> = sent.iter().map(|it| it.user_identity().and_then(|it| it.principal_id())).collect();
    assert_eq!(who, [None, None, Some("dynamodb.amazonaws.com")]);
}

#[tokio::test(start_paused = true)]
async fn sequence_numbers_rise_over_the_whole_stream_and_outgrow_every_integer() {
    let streams = streams(&["s", "t"]);
    let numbers: Vec<_> =
        (0..400).map(|n| streams.put(["s", "t"][n % 2], NewRecord::put("a", n as u64))).collect();
    let padded: Vec<_> = numbers.iter().map(|it| format!("{it:0>40}")).collect();
    assert!(padded.is_sorted_by(|a, b| a < b));
    assert!(!numbers.is_sorted(), "as text they do not sort");
    let lengths: BTreeSet<_> = numbers.iter().map(String::len).collect();
    assert_eq!(lengths, (21..=40).collect());
    assert!(numbers[399].parse::<u128>().is_err());
    let is_dense = |pair: &&[String]| {
        let [a, b] = [&pair[0], &pair[1]].map(|it| it.parse::<u128>().unwrap());
        a + 1 == b
    };
    assert_eq!(numbers[..200].windows(2).filter(is_dense).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_iterator_starts_where_it_was_asked_to() {
    let streams = streams(&["s"]);
    let written = put(&streams, "s", 4);
    streams.close("s");
    let start = listing(&streams).await[0][0].sequence_number_range().unwrap().clone();
    let [first_possible, last_possible] =
        [start.starting_sequence_number(), start.ending_sequence_number()].map(Option::unwrap);
    let padded = format!("{:0>40}", written[1]);
    let invalid = || Err("ValidationException".to_owned());
    let cases = [
        (TrimHorizon, None, Ok(&written[..])),
        (Latest, None, Ok(&[][..])),
        (AtSequenceNumber, Some(written[1].as_str()), Ok(&written[1..])),
        (AfterSequenceNumber, Some(&written[1]), Ok(&written[2..])),
        (AfterSequenceNumber, Some(&padded), Ok(&written[2..])),
        (AfterSequenceNumber, Some(&written[3]), Ok(&[])),
        (AtSequenceNumber, Some(first_possible), Ok(&written[..])),
        (AfterSequenceNumber, Some(last_possible), Ok(&[])),
        (AfterSequenceNumber, Some("1"), invalid()),
        (AfterSequenceNumber, Some(&"9".repeat(40)), invalid()),
        (AtSequenceNumber, Some("SHARD_END"), invalid()),
        (AtSequenceNumber, None, invalid()),
    ];
    for (kind, sequence, expected) in cases {
        let read = first(&streams, "s", kind.clone(), sequence).await;
        assert_eq!(read.as_deref(), expected.as_ref().copied(), "{kind} {sequence:?}");
    }
    let unknown = first(&streams, "nobody", TrimHorizon, None).await;
    assert_eq!(unknown.unwrap_err(), "ResourceNotFoundException");
    let malformed = page(&streams, "no iterator").await;
    assert_eq!(malformed.unwrap_err(), "ValidationException");
    let (client, elsewhere) = (streams.client(), streams.arn().replace("Orders", "Others"));
    let elsewhere = described(&client, &elsewhere, None, None);
    assert_eq!(elsewhere.await.unwrap_err(), "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn an_iterator_lives_for_15_minutes_and_nothing_is_lost_with_it() {
    let streams = streams(&["s"]);
    let written = put(&streams, "s", 3);
    let given = iterator(&streams, "s", TrimHorizon, None).await.unwrap();
    tokio::time::advance(10 * MINUTE).await;
    streams.advance(5 * MINUTE);
    let (read, next) = page(&streams, &given).await.unwrap();
    assert_eq!(read, written, "it is as old as it may be");
    streams.advance(Duration::from_millis(1));
    assert_eq!(page(&streams, &given).await.unwrap_err(), "ExpiredIteratorException");
    let later = put(&streams, "s", 1);
    assert_eq!(page(&streams, &next.unwrap()).await.unwrap().0, later, "the next one is younger");
    let again = first(&streams, "s", AfterSequenceNumber, Some(&written[2])).await;
    assert_eq!(again.unwrap(), later);
}

#[tokio::test(start_paused = true)]
async fn a_page_has_at_most_1_000_records_and_1_mb() {
    async fn sizes(streams: &ScriptedStreams, limit: Option<i32>) -> Vec<usize> {
        let mut next = iterator(streams, "s", TrimHorizon, None).await.ok();
        let mut sizes = Vec::new();
        while let Some(iterator) = next {
            let asked = streams.client().get_records().shard_iterator(iterator).set_limit(limit);
            let answer = asked.send().await.unwrap();
            sizes.push(answer.records.unwrap().len());
            next = answer.next_shard_iterator;
        }
        sizes
    }
    // What is written, how many records a page may have, and the pages.
    let cases: [(u64, usize, Option<i32>, &[usize]); 6] = [
        (2_500, 0, None, &[1_000, 1_000, 500]),
        (1_000, 0, None, &[1_000]),
        (5, 0, Some(2), &[2, 2, 1]),
        (3, 400 << 10, None, &[2, 1]),
        (2, 2 << 20, None, &[1, 1]),
        (0, 0, None, &[0]),
    ];
    for (count, bytes, limit, expected) in cases {
        let streams = streams(&["s"]);
        for n in 0..count {
            streams.put("s", NewRecord::put("a", n).padded(bytes));
        }
        streams.close("s");
        assert_eq!(sizes(&streams, limit).await, expected, "{count} records of {bytes} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_shard_has_empty_pages_and_the_last_page_of_a_closed_one_holds_records() {
    let streams = streams(&["s"]);
    let written = put(&streams, "s", 1);
    let mut next = iterator(&streams, "s", TrimHorizon, None).await.unwrap();
    for expected in [&written[..], &[], &[]] {
        let (read, following) = page(&streams, &next).await.unwrap();
        assert_eq!(read, expected);
        next = following.unwrap();
    }
    let last = put(&streams, "s", 2);
    streams.close("s");
    assert_eq!(page(&streams, &next).await.unwrap(), (last.clone(), None));
    assert_eq!(page(&streams, &next).await.unwrap(), (last.clone(), None), "it can be asked for again");
    let at_end = iterator(&streams, "s", AfterSequenceNumber, Some(&last[1])).await.unwrap();
    assert_eq!(page(&streams, &at_end).await.unwrap(), (vec![], None));
    assert_eq!(streams.reads("s"), 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_a_day_is_refused_by_both_calls() {
    let streams = streams(&["s"]);
    let old = put(&streams, "s", 2);
    let given = iterator(&streams, "s", TrimHorizon, None).await.unwrap();
    let after_old = iterator(&streams, "s", AfterSequenceNumber, Some(&old[1])).await.unwrap();
    streams.advance(10 * MINUTE);
    let young = put(&streams, "s", 2);
    streams.advance(DAY - 10 * MINUTE);
    assert_eq!(first(&streams, "s", TrimHorizon, None).await.unwrap(), [&old[..], &young].concat());
    streams.advance(Duration::from_millis(1));
    let trimmed = || Err("TrimmedDataAccessException".to_owned());
    let cases = [
        (TrimHorizon, None, Ok(&young[..])),
        (AfterSequenceNumber, Some(&old[0]), trimmed()),
        (AtSequenceNumber, Some(&old[1]), trimmed()),
        (AfterSequenceNumber, Some(&old[1]), trimmed()),
        (AtSequenceNumber, Some(&young[0]), Ok(&young)),
        (AfterSequenceNumber, Some(&young[0]), Ok(&young[1..])),
        (Latest, None, Ok(&[])),
    ];
    for (kind, sequence, expected) in cases {
        let read = first(&streams, "s", kind.clone(), sequence.map(String::as_str)).await;
        assert_eq!(read.as_deref(), expected.as_ref().copied(), "{kind} {sequence:?}");
    }
    for iterator in [given, after_old] {
        assert_eq!(page(&streams, &iterator).await.unwrap_err(), "ExpiredIteratorException");
    }
    let kept: Vec<_> = streams.records("s").into_iter().map(|it| it.sequence).collect();
    assert_eq!(kept, [old, young].concat(), "the test still knows what there was");
}

#[tokio::test(start_paused = true)]
async fn an_iterator_that_is_overtaken_by_the_trimming_is_refused() {
    let streams = streams(&["s"]);
    let written = put(&streams, "s", 4);
    let given = iterator(&streams, "s", TrimHorizon, None).await.unwrap();
    let later = iterator(&streams, "s", AtSequenceNumber, Some(&written[2])).await.unwrap();
    streams.trim("s", &written[1]);
    assert_eq!(page(&streams, &given).await.unwrap_err(), "TrimmedDataAccessException");
    assert_eq!(page(&streams, &later).await.unwrap().0, written[2..]);
    streams.trim("s", &written[0]);
    assert_eq!(first(&streams, "s", TrimHorizon, None).await.unwrap(), written[2..], "nothing comes back");
}

#[tokio::test(start_paused = true)]
async fn a_shard_vanishes_a_day_after_its_end_and_a_forgotten_one_at_once() {
    let streams = streams(&["old", "open", "lost"]);
    put(&streams, "old", 1);
    put(&streams, "open", 1);
    let given = iterator(&streams, "lost", TrimHorizon, None).await.unwrap();
    streams.split("old", &["child"]);
    streams.close("old");
    streams.forget("lost");
    assert_eq!(listed(&streams).await, ["old.", "open", "child<old"]);
    assert_eq!(page(&streams, &given).await.unwrap_err(), "ResourceNotFoundException");
    streams.advance(DAY);
    assert_eq!(listed(&streams).await, ["old.", "open", "child<old"]);
    streams.advance(SECOND);
    assert_eq!(listed(&streams).await, ["open", "child<old"], "the child still names its parent");
    assert_eq!(children(&streams, "old").await, ["child"]);
    for shard in ["old", "lost"] {
        let gone = first(&streams, shard, TrimHorizon, None).await;
        assert_eq!(gone.unwrap_err(), "ResourceNotFoundException", "{shard}");
    }
    assert_eq!(first(&streams, "open", TrimHorizon, None).await.unwrap(), [""; 0]);
    assert_eq!(streams.shards(), ["old", "open", "lost", "child"]);
}

#[tokio::test(start_paused = true)]
async fn a_listing_has_pages_of_100_and_says_that_there_are_more() {
    for (count, expected) in [(0, &[0][..]), (1, &[1]), (100, &[100]), (101, &[100, 1]), (1_000, &[100; 10])]
    {
        let streams = streams(&[]);
        let names: Vec<_> = (0..count).map(|n| format!("shard-{n:04}")).collect();
        names.iter().for_each(|name| streams.open(name, None));
        let pages = listing(&streams).await;
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), expected);
        let listed: Vec<_> = pages.iter().flatten().map(|it| it.shard_id().unwrap()).collect();
        assert_eq!(listed, names);
        assert_eq!(streams.calls().describe_stream, expected.len() as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_goes_on_after_a_shard_that_has_vanished_meanwhile() {
    let streams = streams(&["a", "b", "c"]);
    let asked = streams.client().describe_stream().stream_arn(streams.arn()).limit(1);
    let described = asked.send().await.unwrap().stream_description.unwrap();
    assert_eq!(described.last_evaluated_shard_id(), Some("a"));
    streams.forget("a");
    assert_eq!(listed(&streams).await, ["b", "c"]);
    let last = described.last_evaluated_shard_id;
    let (rest, _) = crate::described(&streams.client(), streams.arn(), last, None).await.unwrap();
    assert_eq!(rest.iter().map(|it| it.shard_id().unwrap()).collect::<Vec<_>>(), ["b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_listing_can_be_behind() {
    let (streams, start) = (streams(&["parent"]), tokio::time::Instant::now());
    streams.list_open_until("parent", 3 * SECOND);
    streams.split("parent", &["left", "right"]);
    streams.list_from("left", 2 * SECOND);
    streams.list_from("right", 4 * SECOND);
    let written = put(&streams, "right", 2);
    assert_eq!(first(&streams, "right", TrimHorizon, None).await.unwrap(), written, "it can be read");
    let at = [
        (0, &["parent"][..], &[][..]),
        (2, &["parent", "left<parent"], &["left"]),
        (3, &["parent.", "left<parent"], &["left"]),
        (4, &["parent.", "left<parent", "right<parent"], &["left", "right"]),
    ];
    for (second, expected, expected_children) in at {
        tokio::time::sleep_until(start + Duration::from_secs(second)).await;
        assert_eq!(listed(&streams).await, expected, "after {second} s");
        assert_eq!(children(&streams, "parent").await, expected_children, "after {second} s");
    }
    assert_eq!(children(&streams, "left").await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn too_many_descriptions_in_a_second_are_refused_if_asked_for() {
    let streams = streams(&["s"]);
    streams.limit_descriptions(10);
    let describe = async || described(&streams.client(), streams.arn(), None, None).await.err();
    for _ in 0..10 {
        assert_eq!(describe().await, None);
    }
    assert_eq!(describe().await.as_deref(), Some("LimitExceededException"));
    tokio::time::advance(SECOND).await;
    assert_eq!(describe().await, None);
}

#[tokio::test(start_paused = true)]
async fn faults_reach_the_client_and_a_lost_reply_loses_nothing() {
    let streams = ScriptedStreams::with_faults("Orders", FaultPlan::default());
    streams.open("s", None);
    let written = put(&streams, "s", 2);
    let given = iterator(&streams, "s", TrimHorizon, None).await.unwrap();
    let codes = [
        (Fault::Throttle, "ProvisionedThroughputExceededException"),
        (Fault::Throttling, "ThrottlingException"),
        (Fault::LimitExceeded, "LimitExceededException"),
        (Fault::InternalError, "InternalServerError"),
        (Fault::ExpiredIterator, "ExpiredIteratorException"),
        (Fault::TrimmedData, "TrimmedDataAccessException"),
        (Fault::TableMissing, "ResourceNotFoundException"),
    ];
    for (fault, code) in codes {
        streams.faults().add(Rule::on("GetRecords", fault).table("Orders").first(1));
        assert_eq!(page(&streams, &given).await.unwrap_err(), code);
    }
    assert_eq!(streams.calls().get_records, 0, "a scripted fault is no answer");
    let lost = streams.faults().add(Rule::on("GetRecords", Fault::LoseReply).first(1));
    assert!(page(&streams, &given).await.unwrap_err().contains("connection reset"));
    assert_eq!((streams.faults().fired(lost), streams.calls().get_records), (1, 1));
    assert_eq!(page(&streams, &given).await.unwrap().0, written);
    assert_eq!(streams.faults().count("GetRecords"), 9);

    streams.faults().add(Rule::on("GetRecords", Fault::CrashAfter).first(1));
    tokio::select! {
        biased;
        _ = page(&streams, &given) => unreachable!("the process is dead"),
        () = streams.faults().crashed() => {}
    }
    streams.faults().revive();
    assert_eq!(page(&streams, &given).await.unwrap().0, written);
}

/// What a reader met.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Met {
    /// A page of a listing: shards, and whether they are listed as closed.
    Listing(Vec<(String, bool)>),
    /// How many shards a whole listing had.
    Listed(usize),
    /// A page of a shard: how many records, and whether it has a next iterator.
    Page(String, usize, bool),
}

/// Reads a tree of closed shards to its end, each shard as soon as it is listed.
async fn walk(seed: u64) -> (ScriptedStreams, Vec<Met>, BTreeSet<String>) {
    let streams = streams(&["root"]);
    streams.erratic(seed);
    put(&streams, "root", 40);
    streams.split("root", &["left", "right"]);
    for (shard, children) in [("left", ["a", "b"]), ("right", ["c", "d"])] {
        put(&streams, shard, 20);
        streams.split(shard, &children);
    }
    for shard in ["a", "b", "c", "d"] {
        put(&streams, shard, 10);
        streams.close(shard);
    }
    let (mut met, mut read, mut known) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    // A listing is at most some seconds behind.
    for _ in 0..12 {
        let pages = listing(&streams).await;
        met.push(Met::Listed(pages.iter().map(Vec::len).sum()));
        for shards in pages {
            let is_closed =
                |it: &Shard| it.sequence_number_range().unwrap().ending_sequence_number().is_some();
            let shards: Vec<_> =
                shards.iter().map(|it| (it.shard_id().unwrap().to_owned(), is_closed(it))).collect();
            met.push(Met::Listing(shards.clone()));
            for (shard, _) in shards.into_iter().filter(|it| known.insert(it.0.clone())) {
                let mut next = iterator(&streams, &shard, TrimHorizon, None).await.ok();
                while let Some(iterator) = next {
                    let (page, following) = page(&streams, &iterator).await.unwrap();
                    met.push(Met::Page(shard.clone(), page.len(), following.is_some()));
                    read.extend(page);
                    next = following;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    (streams, met, read)
}

#[tokio::test(start_paused = true)]
async fn an_erratic_stream_is_the_same_for_the_same_seed_and_loses_nothing() {
    let (mut ways, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..20 {
        let (streams, met, read) = walk(seed).await;
        let again = walk(seed).await;
        assert_eq!((&met, &read), (&again.1, &again.2), "seed {seed}");
        let written = streams.shards().into_iter().flat_map(|it| streams.records(&it));
        assert_eq!(read, written.map(|it| it.sequence).collect(), "seed {seed}");
        let whims = met.iter().filter_map(|it| match it {
            Met::Page(_, 0, true) => Some("an empty page before there is no more"),
            Met::Page(_, 0, false) => Some("an end without records"),
            Met::Page(_, 1.., false) => Some("an end with records"),
            Met::Page(shard, ..40, true) if shard == "root" => Some("a short page"),
            Met::Page(..) => None,
            Met::Listing(shards) if shards.is_empty() => Some("a page of a listing without shards"),
            Met::Listing(shards) if shards.iter().any(|it| !it.1) => Some("a closed shard listed as open"),
            Met::Listing(shards) if !shards.is_sorted() => Some("a listing without order"),
            Met::Listing(_) => None,
            Met::Listed(count) => (*count < streams.shards().len()).then_some("a child that is listed late"),
        });
        seen.extend(whims);
        ways.insert(met);
    }
    assert_eq!(ways.len(), 20, "each seed has its own way");
    assert_eq!(seen.len(), 8, "together they have all: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn time_goes_on_by_itself_while_a_thousand_shards_are_polled_for_an_hour() {
    let streams = streams(&[]);
    let names: Vec<_> = (0..1_000).map(|n| format!("shard-{n:04}")).collect();
    names.iter().for_each(|name| streams.open(name, None));
    let client = streams.client();
    let mut polls = tokio::task::JoinSet::new();
    for name in names {
        let (streams, client) = (streams.clone(), client.clone());
        polls.spawn(async move {
            let mut next = iterator(&streams, &name, TrimHorizon, None).await.unwrap();
            let mut read = 0;
            // Hardly more seldom than an iterator allows.
            for _ in 0..5 {
                tokio::time::sleep(14 * MINUTE).await;
                streams.put(&name, NewRecord::put(&name, read));
                let answer = client.get_records().shard_iterator(next).send().await.unwrap();
                read += answer.records().len() as u64;
                next = answer.next_shard_iterator.unwrap();
            }
            read
        });
    }
    assert_eq!(polls.join_all().await, [5; 1_000]);
    assert_eq!(streams.now_ms(), START * 1_000 + 70 * 60 * 1_000);
    assert_eq!(streams.calls().get_records, 5_000);
    assert_eq!(streams.calls().all(), 6_000);
    assert!(streams.faults().requests().is_empty(), "its plan keeps no log");
}

#[tokio::test]
async fn a_socket_serves_the_same_stream_under_the_same_faults() {
    let streams = streams(&["s"]);
    let written = put(&streams, "s", 2);
    let served = streams.serve().await;
    let client = Client::new(&served.sdk_config());
    let listed = client.list_streams().table_name("Orders").send().await.unwrap();
    assert_eq!(listed.streams()[0].stream_arn(), Some(streams.arn()));
    assert!(client.list_streams().table_name("Other").send().await.unwrap().streams().is_empty());
    let asked = client.get_shard_iterator().stream_arn(streams.arn()).shard_id("s");
    let given = asked.shard_iterator_type(TrimHorizon).send().await.unwrap().shard_iterator.unwrap();
    streams.faults().add(Rule::on("GetRecords", Fault::Throttling).first(1));
    let refused = client.get_records().shard_iterator(&given).send().await;
    assert_eq!(code(refused.unwrap_err()), "ThrottlingException");
    let read = client.get_records().shard_iterator(&given).send().await.unwrap();
    assert_eq!(numbers(read.records()), written);
}
