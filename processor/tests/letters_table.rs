//! What is the letters' table's own: its making, its rows through crashes and renderings, and how letters expire.
#![expect(clippy::unwrap_used, reason = "a helper that fails has to fail its test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use millstream_processor::clock::Clock;
use millstream_processor::letters::table::{self, TableLetters};
use millstream_processor::letters::{
    Attempt, AuditEntry, Closing, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore,
};
use millstream_processor::outcome::{Fault, FaultKind};
use millstream_processor::projections::SourceName;
use millstream_test_support::embedded::Embedded;
use millstream_test_support::faults::{Fault as Wire, Rule};
use serde_json::json;

const TABLE: &str = "letters";
const NOW: u64 = 1_750_000_000;
const DAY: u64 = 24 * 60 * 60;

#[tokio::test]
async fn the_table_is_made_once_with_what_it_needs() {
    let embedded = Embedded::new();
    table::create(&embedded.dynamodb(), TABLE).await.unwrap();
    table::create(&embedded.dynamodb(), TABLE).await.unwrap();
    assert_eq!(embedded.faults().count("UpdateTimeToLive"), 1);
    let described = embedded.perform("DescribeTable", json!({ "TableName": TABLE })).await;
    assert_eq!(described["Table"]["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST");
    let ttl = embedded.perform("DescribeTimeToLive", json!({ "TableName": TABLE })).await;
    assert_eq!(ttl["TimeToLiveDescription"]["AttributeName"], "expires");
}

#[tokio::test]
async fn another_table_of_that_name_is_refused_in_words() {
    let embedded = Embedded::new();
    embedded.create_table(TABLE, "id", Some("part:N"), None).await;
    let refused = table::create(&embedded.dynamodb(), TABLE).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Misconfigured);
    assert!(refused.to_string().contains("the index `by-projection`"), "{refused}");
}

#[tokio::test]
async fn a_table_that_is_missing_is_a_wrong_deployment() {
    let (embedded, clock) = (Embedded::new(), manual_clock());
    let refused = letters(&embedded, &clock).store(&letter("x", NOW)).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Misconfigured, "{refused}");
    assert!(refused.to_string().contains(TABLE), "{refused}");
}

#[tokio::test]
async fn a_crash_before_or_after_any_request_leaves_no_half_letter_and_a_second_store_makes_it_whole() {
    let big: Bytes = vec![b'x'; 900 * 1024].into();
    let stored = letter(big, NOW);
    for (before, request) in [true, false].into_iter().flat_map(|before| (1..=5).map(move |n| (before, n))) {
        let (embedded, clock) = ready().await;
        let store = letters(&embedded, &clock);
        embedded.faults().add(Rule::any(if before { Wire::Crash } else { Wire::CrashAfter }).nth(request));
        tokio::select! {
            _ = store.store(&stored) => panic!("it has only five requests"),
            () = embedded.faults().crashed() => {}
        }
        embedded.faults().clear();
        embedded.faults().revive();
        let found = store.load(&stored.head.id).await.unwrap();
        let whole = !before && request == 5;
        assert!(found == whole.then(|| stored.clone()), "crash around request {request}");
        let listed = store.list(&LetterFilter::default()).count().await;
        assert_eq!(listed, usize::from(whole));

        store.store(&stored).await.unwrap();
        let found = store.load(&stored.head.id).await.unwrap().unwrap();
        assert!(found.record == stored.record);
        assert_eq!(found.head.tries(), 1 + u64::from(whole));
    }
}

#[tokio::test]
async fn two_renderings_of_one_change_do_not_mix() {
    let (embedded, clock) = ready().await;
    let (one, other) = (letter(vec![b'1'; 800 * 1024], NOW), letter(vec![b'2'; 800 * 1024], NOW + 1));
    let stores = [one.clone(), other.clone()].map(|letter| {
        let store = letters(&embedded, &clock);
        tokio::spawn(async move { store.store(&letter).await })
    });
    for stored in stores {
        stored.await.unwrap().unwrap();
    }
    let found = letters(&embedded, &clock).load(&one.head.id).await.unwrap().unwrap();
    assert!(found.record == one.record || found.record == other.record);
    assert_eq!(found.head.tries(), 2);
}

#[tokio::test]
async fn a_lost_chunk_is_reported_and_the_next_store_brings_the_record_back() {
    let (embedded, clock) = ready().await;
    let store = letters(&embedded, &clock);
    let stored = letter(vec![b'x'; 800 * 1024], NOW);
    store.store(&stored).await.unwrap();
    let chunks = embedded.scan_typed(TABLE).await;
    let chunk = chunks.iter().find(|row| row["part"]["N"] == "2").unwrap();
    let key = json!({ "id": chunk["id"], "part": chunk["part"] });
    embedded.perform("DeleteItem", json!({ "TableName": TABLE, "Key": key })).await;

    let refused = store.load(&stored.head.id).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Rejected);
    store.store(&letter(stored.record.clone(), NOW + 1)).await.unwrap();
    let found = store.load(&stored.head.id).await.unwrap().unwrap();
    assert!(found.record == stored.record);
}

#[tokio::test]
async fn a_letter_expires_after_its_last_attempt_and_never_before_its_record() {
    let (embedded, clock) = ready().await;
    let store = letters(&embedded, &clock);
    let stored = letter("record", NOW);
    store.store(&stored).await.unwrap();
    store.store(&letter("record", NOW + DAY)).await.unwrap();
    let rows = embedded.scan_all(TABLE).await;
    let expires = |head: bool| {
        let row = rows.iter().find(|row| (row["part"] == 0) == head).unwrap();
        row["expires"].as_u64().unwrap()
    };
    assert_eq!(expires(true), NOW + 15 * DAY);
    assert!(expires(false) > expires(true));

    clock.0.store(NOW + 15 * DAY - 1, Ordering::SeqCst);
    assert!(store.load(&stored.head.id).await.unwrap().is_some());
    clock.0.store(NOW + 15 * DAY, Ordering::SeqCst);
    assert_eq!(store.load(&stored.head.id).await.unwrap(), None);
    assert_eq!(store.list(&LetterFilter::default()).count().await, 0);
}

#[tokio::test]
async fn what_was_edited_and_its_original_live_as_long_as_the_letter() {
    let (embedded, clock) = ready().await;
    let store = letters(&embedded, &clock);
    let stored = letter("record", NOW);
    let id = &stored.head.id;
    store.store(&stored).await.unwrap();
    clock.0.store(NOW + 13 * DAY, Ordering::SeqCst);
    assert!(store.edit(id, 0, &Bytes::from("edited")).await.unwrap());
    let expires = |rows: &[serde_json::Value]| {
        let of = |head: bool| rows.iter().filter(move |row| (row["part"] == 0) == head);
        let all = |head| of(head).map(|row| row["expires"].as_u64().unwrap()).collect::<Vec<_>>();
        (all(true), all(false))
    };
    let (heads, chunks) = expires(&embedded.scan_all(TABLE).await);
    assert_eq!(heads, [NOW + 14 * DAY], "an edit lets no letter live longer");
    assert!(chunks.len() == 2 && chunks.iter().all(|it| *it > heads[0]), "{chunks:?}");

    // It fails again: the letter lives on, and with it both records.
    store.store(&letter("record", NOW + 13 * DAY)).await.unwrap();
    let (heads, chunks) = expires(&embedded.scan_all(TABLE).await);
    assert_eq!(heads, [NOW + 27 * DAY]);
    assert!(chunks.len() == 2 && chunks.iter().all(|it| *it > heads[0]), "{chunks:?}");

    // What is over is over, even if DynamoDB has not dropped it yet.
    clock.0.store(NOW + 27 * DAY, Ordering::SeqCst);
    assert_eq!(store.original(id).await.unwrap(), None);
    assert_eq!(store.state(id).await.unwrap(), None);
    assert!(!store.edit(id, 1, &Bytes::from("again")).await.unwrap());
    assert!(!store.close(id, 0, &closing()).await.unwrap());
}

#[tokio::test]
async fn a_crash_in_an_edit_leaves_the_old_record_or_the_new_one() {
    let big: Bytes = vec![b'x'; 900 * 1024].into();
    for (before, request) in [true, false].into_iter().flat_map(|before| (1..=5).map(move |n| (before, n))) {
        let (embedded, clock) = ready().await;
        let store = letters(&embedded, &clock);
        let stored = letter("record", NOW);
        let id = &stored.head.id;
        store.store(&stored).await.unwrap();
        embedded.faults().add(Rule::any(if before { Wire::Crash } else { Wire::CrashAfter }).nth(request));
        tokio::select! {
            _ = store.edit(id, 0, &big) => panic!("it has only five requests"),
            () = embedded.faults().crashed() => {}
        }
        embedded.faults().clear();
        embedded.faults().revive();
        let found = store.load(id).await.unwrap().unwrap();
        let done = !before && request == 5;
        assert!(found.record == if done { big.clone() } else { stored.record.clone() });
        assert_eq!(found.head.edited, u32::from(done));
        assert_eq!(store.original(id).await.unwrap(), done.then(|| stored.record.clone()));
    }
}

#[tokio::test]
async fn lists_ask_the_index_for_the_time_and_the_table_for_no_more_than_that() {
    let (embedded, clock) = ready().await;
    let store = letters(&embedded, &clock);
    let filter = LetterFilter { since: Some(NOW), until: Some(NOW + 1), ..LetterFilter::default() };
    assert_eq!(store.list(&filter).count().await, 0);
    for (request, state) in embedded.requests().iter().zip(["open", "held"]) {
        assert_eq!(request.body["IndexName"], "by-state");
        assert_eq!(request.body["ExpressionAttributeValues"][":hash"]["S"], state);
        assert_eq!(
            request.body["KeyConditionExpression"],
            "#hash = :hash AND #first BETWEEN :since AND :last"
        );
    }
    assert_eq!(embedded.requests().len(), 2);
}

#[tokio::test]
async fn a_line_of_the_trail_that_is_damaged_is_named_and_one_that_was_never_written_is_passed_over() {
    let (embedded, clock) = ready().await;
    let store = letters(&embedded, &clock);
    let entry = |at| AuditEntry {
        at,
        by: "alice".to_owned(),
        action: "apply".to_owned(),
        letter: None,
        result: "done".to_owned(),
    };
    for at in 1..=4 {
        store.audit(&entry(at)).await.unwrap();
    }
    let key = |id: &str| json!({ "id": { "S": id }, "part": { "N": "0" } });
    embedded.perform("DeleteItem", json!({ "TableName": TABLE, "Key": key("audit/2") })).await;
    embedded.perform("PutItem", json!({ "TableName": TABLE, "Item": key("audit/3") })).await;
    let trail: Vec<_> = store.trail().collect().await;
    assert_eq!((trail.len(), &trail[0], &trail[2]), (3, &Ok(entry(1)), &Ok(entry(4))));
    assert!(trail[1].as_ref().unwrap_err().to_string().contains("audit/3"), "{trail:?}");
    assert_eq!(embedded.faults().count("Scan"), 0);
}

#[tokio::test]
async fn writers_that_meet_in_a_full_history_all_get_in() {
    let (embedded, clock) = ready().await;
    for at in 0..51 {
        letters(&embedded, &clock).store(&letter("x", NOW + at)).await.unwrap();
    }
    let stores = (0..6).map(|i| {
        let store = letters(&embedded, &clock);
        tokio::spawn(async move { store.store(&letter("x", NOW + 100 + i)).await })
    });
    for stored in stores.collect::<Vec<_>>() {
        stored.await.unwrap().unwrap();
    }
    let found = letters(&embedded, &clock).load(&letter("x", NOW).head.id).await.unwrap().unwrap();
    assert_eq!(found.head.tries(), 57);
    assert!(found.head.attempts.len() <= 51);
    assert_eq!(found.head.attempts.iter().filter(|attempt| attempt.at >= NOW + 100).count(), 6);
}

#[tokio::test]
async fn a_declared_version_too_long_for_an_index_is_cut() {
    let (embedded, clock) = ready().await;
    let store = letters(&embedded, &clock);
    let mut long = letter("record", NOW);
    long.head.version = Some("ü".repeat(100_000));
    store.store(&long).await.unwrap();
    let found = store.load(&long.head.id).await.unwrap().unwrap();
    assert_eq!(found.head.version.unwrap(), "ü".repeat(512));
    assert_eq!(found.record, long.record);
}

#[tokio::test]
async fn lists_query_and_never_scan() {
    let (embedded, clock) = ready().await;
    let store = letters(&embedded, &clock);
    store.store(&letter("record", NOW)).await.unwrap();
    assert_eq!(store.list(&LetterFilter::default()).count().await, 1);
    assert_eq!(embedded.faults().count("Scan"), 0);
}

fn closing() -> Closing {
    let (by, reason) = ("alice".to_owned(), "it is mended".to_owned());
    Closing { state: LetterState::Discarded, at: NOW, by, reason }
}

async fn ready() -> (Embedded, Arc<ManualClock>) {
    let embedded = Embedded::new();
    table::create(&embedded.dynamodb(), TABLE).await.unwrap();
    embedded.clear_requests();
    (embedded, manual_clock())
}

fn letters(embedded: &Embedded, clock: &Arc<ManualClock>) -> TableLetters {
    TableLetters::new(embedded.dynamodb(), TABLE.into(), Duration::from_secs(14 * DAY), clock.clone())
}

fn manual_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock(AtomicU64::new(NOW)))
}

struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

fn letter(record: impl Into<Bytes>, at: u64) -> Letter {
    let source = SourceName::new("orders").unwrap();
    Letter {
        head: LetterHead {
            id: LetterId::of(&source, None, b"1"),
            state: LetterState::Open,
            source: source.to_string(),
            projection: None,
            config: "c0ffee".to_owned(),
            key: None,
            digest: Some("A".repeat(22)),
            version: Some("2025/1".to_owned()),
            attempts: vec![Attempt::new(at, &Fault::new(FaultKind::Rejected, "it is wrong"))],
            edited: 0,
            closing: None,
        },
        record: record.into(),
    }
}
