//! What is the letters' directory's own: its files, and what else may lie among them.
#![expect(clippy::unwrap_used, reason = "a helper that fails has to fail its test")]

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::StreamExt;
use millstream_processor::clock::SystemClock;
use millstream_processor::letters::directory::DirectoryLetters;
use millstream_processor::letters::{
    Attempt, AuditEntry, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore,
};
use millstream_processor::outcome::{Fault, FaultKind};
use millstream_processor::projections::SourceName;
use tempfile::TempDir;

const NOW: u64 = 1_750_000_000;

#[tokio::test]
async fn a_letter_is_one_readable_file_dated_by_its_first_attempt() {
    let (directory, store) = ready();
    let stored = letter(r#"{"eventID": "1"}"#);
    store.store(&stored).await.unwrap();
    let path = directory.path().join(format!("{}.json", stored.head.id));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(json["head"]["source"], "orders");
    assert_eq!(json["record"]["eventID"], "1");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(time, UNIX_EPOCH + Duration::from_secs(NOW));
    let names: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the letter and the lock: {names:?}");
}

#[tokio::test]
async fn a_file_that_was_formatted_by_hand_is_still_a_letter() {
    let (directory, store) = ready();
    let stored = letter(r#"{"eventID":"1"}"#);
    store.store(&stored).await.unwrap();
    let path = directory.path().join(format!("{}.json", stored.head.id));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::write(&path, serde_json::to_vec(&json).unwrap()).unwrap();
    assert_eq!(store.load(&stored.head.id).await.unwrap(), Some(stored));
}

#[tokio::test]
async fn foreign_files_are_named_and_left_where_they_are() {
    let (directory, store) = ready();
    store.store(&letter("{}")).await.unwrap();
    let other = LetterId::from_text(&"0".repeat(24)).unwrap();
    std::fs::write(directory.path().join("notes.txt"), "mine").unwrap();
    std::fs::write(directory.path().join(format!("{other}.json")), "{}").unwrap();
    std::fs::write(directory.path().join(".hidden"), "yours").unwrap();
    std::fs::create_dir(directory.path().join("more")).unwrap();

    let listed: Vec<_> = store.list(&LetterFilter::default()).collect().await;
    assert_eq!(listed.iter().filter(|it| it.is_ok()).count(), 1);
    let mut faults: Vec<String> =
        listed.into_iter().filter_map(|it| it.err().map(|it| it.to_string())).collect();
    faults.sort();
    for (fault, name) in faults.iter().zip([other.as_str(), "more is no letter", "notes.txt is no letter"]) {
        assert!(fault.contains(name), "{fault}");
    }
    assert_eq!(faults.len(), 3);
    assert_eq!(std::fs::read_to_string(directory.path().join("notes.txt")).unwrap(), "mine");
}

#[tokio::test]
async fn a_letter_whose_file_is_damaged_is_stored_beside_it() {
    let (directory, store) = ready();
    let stored = letter("{}");
    let name = format!("{}.json", stored.head.id);
    for scribble in ["{", "}"] {
        std::fs::write(directory.path().join(&name), scribble).unwrap();
        store.store(&stored).await.unwrap();
        assert_eq!(store.load(&stored.head.id).await.unwrap(), Some(stored.clone()));
    }
    let listed: Vec<_> = store.list(&LetterFilter::default()).collect().await;
    assert_eq!(listed.iter().filter(|it| it.is_err()).count(), 2, "both damaged files are kept and reported");
}

#[tokio::test]
async fn a_file_under_another_letters_name_is_damaged() {
    let (directory, store) = ready();
    let stored = letter("{}");
    store.store(&stored).await.unwrap();
    let other = LetterId::from_text(&"0".repeat(24)).unwrap();
    let path = |id: &LetterId| directory.path().join(format!("{id}.json"));
    std::fs::copy(path(&stored.head.id), path(&other)).unwrap();
    let refused = store.load(&other).await.unwrap_err();
    assert!(refused.to_string().contains(stored.head.id.as_str()), "{refused}");
}

#[tokio::test]
async fn a_line_of_the_trail_that_a_crash_tore_off_is_named_and_takes_no_other_with_it() {
    let (directory, store) = ready();
    let entry = |at| AuditEntry {
        at,
        by: "alice".to_owned(),
        action: "apply".to_owned(),
        letter: None,
        result: "done".to_owned(),
    };
    store.audit(&entry(1)).await.unwrap();
    let path = directory.path().join("audit.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{}", &text[..10])).unwrap();
    store.audit(&entry(2)).await.unwrap();
    let trail: Vec<_> = store.trail().collect().await;
    assert_eq!((trail.len(), &trail[0], &trail[2]), (3, &Ok(entry(1)), &Ok(entry(2))));
    assert!(trail[1].as_ref().unwrap_err().to_string().contains("line 2 of"), "{trail:?}");
    assert_eq!(store.list(&LetterFilter::default()).count().await, 0, "the trail is no foreign file");
}

fn ready() -> (TempDir, DirectoryLetters) {
    let directory = TempDir::new().unwrap();
    let store = DirectoryLetters::new(directory.path(), Arc::new(SystemClock));
    (directory, store)
}

fn letter(record: &'static str) -> Letter {
    let source = SourceName::new("orders").unwrap();
    Letter {
        head: LetterHead {
            id: LetterId::of(&source, None, b"1"),
            state: LetterState::Open,
            source: source.to_string(),
            projection: None,
            config: "c0ffee".to_owned(),
            key: None,
            digest: None,
            version: None,
            attempts: vec![Attempt::new(NOW, &Fault::new(FaultKind::Rejected, "it is wrong"))],
            edited: 0,
            closing: None,
        },
        record: record.into(),
    }
}
