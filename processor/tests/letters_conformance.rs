//! What every store of letters has to do, told once and asked of each of them.
#![expect(clippy::unwrap_used, reason = "a helper that fails has to fail its test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use millstream_processor::clock::Clock;
use millstream_processor::letters::directory::DirectoryLetters;
use millstream_processor::letters::table::{self, TableLetters};
use millstream_processor::letters::{
    Attempt, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore,
};
use millstream_processor::outcome::{Fault, FaultKind, Verdict};
use millstream_processor::projections::{ProjectionName, SourceName, Value};
use millstream_test_support::embedded::Embedded;
use millstream_test_support::faults::{Fault as Wire, Rule};
use serde_json::json;
use tempfile::TempDir;

const TABLE: &str = "letters";
const NOW: u64 = 1_750_000_000;
const KEEP: Duration = Duration::from_secs(14 * 24 * 60 * 60);

macro_rules! conformance {
    ($($test:ident),+ $(,)?) => {
        mod table_letters {
            $(#[tokio::test(start_paused = true)] async fn $test() { super::$test(super::Fixture::table().await).await; })+
        }
        mod directory_letters {
            $(#[tokio::test(start_paused = true)] async fn $test() { super::$test(super::Fixture::directory()).await; })+
        }
    };
}

conformance!(
    what_is_stored_comes_back,
    records_of_any_kind_and_size_come_back_byte_for_byte,
    storing_again_adds_the_attempt_and_nothing_else,
    two_stores_at_once_both_keep_their_attempts,
    a_history_without_end_keeps_its_ends_and_counts_the_rest,
    an_attempt_with_huge_causes_is_stored,
    lists_filter_and_begin_with_the_oldest,
    a_thousand_letters_are_listed_one_by_one,
    an_unknown_letter_is_none_and_an_empty_store_lists_nothing,
    a_damaged_letter_is_named_and_the_rest_goes_on,
    a_store_that_is_down_says_so_and_works_again,
    a_list_goes_on_where_it_was_interrupted,
);

async fn what_is_stored_comes_back(fixture: Fixture) {
    let letter = rejected(1, NOW);
    fixture.store.store(&letter).await.unwrap();
    let other = fixture.second();
    assert_eq!(other.load(&letter.head.id).await.unwrap(), Some(letter.clone()));
    assert_eq!(heads(&*other, &LetterFilter::default()).await, [letter.head]);

    let undecodable = Letter {
        head: LetterHead {
            projection: None,
            key: None,
            digest: None,
            version: None,
            ..rejected(2, NOW).head
        },
        record: "not a record".into(),
    };
    fixture.store.store(&undecodable).await.unwrap();
    assert_eq!(fixture.store.load(&undecodable.head.id).await.unwrap(), Some(undecodable));
}

async fn records_of_any_kind_and_size_come_back_byte_for_byte(fixture: Fixture) {
    let big =
        json!({ "dynamodb": { "NewImage": { "text": { "S": "x\"\u{0}ü".repeat(150_000) } } } }).to_string();
    assert!(big.len() > 900 * 1024);
    let records: [Vec<u8>; 8] = [
        big.into_bytes(),
        (0..900 * 1024_u32).map(|i| (i * 31 % 251) as u8).collect(),
        vec![7; 350 * 1024],
        Vec::new(),
        b"null".to_vec(),
        b" {\"spaced\" : 1.0 ,\n\"spaced\":2} ".to_vec(),
        b"{\"spaced\" : 1.0 ,\n\"n\":12345678901234567890123456789012345678,\"u\":\"\\u00fc\\/\"}".to_vec(),
        b"\xff\xfe".to_vec(),
    ];
    for (number, record) in (1..).zip(records) {
        let letter = Letter { record: record.into(), ..rejected(number, NOW) };
        fixture.store.store(&letter).await.unwrap();
        let loaded = fixture.store.load(&letter.head.id).await.unwrap().unwrap();
        assert!(loaded == letter, "record {number} of {} bytes came back differently", letter.record.len());
        // Again, now that it is there.
        fixture.store.store(&letter).await.unwrap();
        let loaded = fixture.store.load(&letter.head.id).await.unwrap().unwrap();
        assert!(loaded.record == letter.record, "record {number} changed when it was stored again");
    }
}

async fn storing_again_adds_the_attempt_and_nothing_else(fixture: Fixture) {
    let first = rejected(1, NOW);
    fixture.store.store(&first).await.unwrap();
    let mut again = rejected(1, NOW + 60);
    again.head.attempts[0].fault = FaultKind::Throttled.as_str().to_owned();
    // What a later configuration, or another host's rendering of the record, would say.
    again.head.config = "other".to_owned();
    again.record = r#"{"rendered":"otherwise"}"#.into();
    fixture.second().store(&again).await.unwrap();

    let mut expected = first;
    expected.head.attempts.extend(again.head.attempts);
    assert_eq!(fixture.store.load(&expected.head.id).await.unwrap(), Some(expected.clone()));
    assert_eq!(heads(&*fixture.store, &LetterFilter::default()).await, [expected.head]);
}

async fn two_stores_at_once_both_keep_their_attempts(fixture: Fixture) {
    let big: bytes::Bytes = vec![b'x'; 800 * 1024].into();
    let stores = (0..8).map(|i| {
        let (store, record) = (fixture.second(), big.clone());
        tokio::spawn(async move { store.store(&Letter { record, ..rejected(1, NOW + i) }).await })
    });
    for stored in stores.collect::<Vec<_>>() {
        stored.await.unwrap().unwrap();
    }
    let letter = fixture.store.load(&rejected(1, NOW).head.id).await.unwrap().unwrap();
    let mut at: Vec<u64> = letter.head.attempts.iter().map(|attempt| attempt.at - NOW).collect();
    at.sort_unstable();
    assert_eq!(at, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(letter.record == big);
}

async fn a_history_without_end_keeps_its_ends_and_counts_the_rest(fixture: Fixture) {
    for at in 0..60 {
        fixture.store.store(&rejected(1, NOW + at)).await.unwrap();
    }
    let letter = fixture.store.load(&rejected(1, NOW).head.id).await.unwrap().unwrap();
    assert_eq!((letter.head.tries(), letter.head.attempts.len()), (60, 51));
    assert_eq!((letter.head.attempts[0].at, letter.head.attempts[0].skipped), (NOW, 9));
    assert_eq!((letter.head.attempts[1].at, letter.head.last_at()), (NOW + 10, NOW + 59));
}

async fn an_attempt_with_huge_causes_is_stored(fixture: Fixture) {
    let mut letter = rejected(1, NOW);
    letter.head.attempts[0].causes = vec!["ü".repeat(500_000); 20];
    for _ in 0..60 {
        fixture.store.store(&letter).await.unwrap();
    }
    let loaded = fixture.store.load(&letter.head.id).await.unwrap().unwrap();
    assert_eq!(loaded.head.tries(), 60);
    assert!(loaded.head.attempts[0].causes[0].starts_with("üü"));
}

async fn lists_filter_and_begin_with_the_oldest(fixture: Fixture) {
    let (a, b) = (name("a"), name("b"));
    let letters = [
        (3, Some(&a), "orders", FaultKind::Rejected),
        (1, Some(&b), "orders", FaultKind::Rejected),
        (5, Some(&a), "orders", FaultKind::Throttled),
        (2, None, "customers", FaultKind::Rejected),
        (4, Some(&a), "customers", FaultKind::Rejected),
    ];
    for (at, projection, source, kind) in letters {
        fixture.store.store(&letter(at, NOW + at, projection, source, kind)).await.unwrap();
    }
    let source = |name: &str| Some(SourceName::new(name).unwrap());
    let all = LetterFilter::default();
    let cases = [
        (all.clone(), vec![1, 2, 3, 4, 5]),
        (LetterFilter { projection: Some(a.clone()), ..all.clone() }, vec![3, 4, 5]),
        (LetterFilter { source: source("orders"), ..all.clone() }, vec![1, 3, 5]),
        (LetterFilter { fault: Some(FaultKind::Rejected), ..all.clone() }, vec![1, 2, 3, 4]),
        (
            LetterFilter { projection: Some(a), source: source("orders"), fault: Some(FaultKind::Throttled) },
            vec![5],
        ),
        (LetterFilter { projection: Some(name("nobody")), ..all }, vec![]),
    ];
    for (filter, expected) in cases {
        let found: Vec<u64> =
            heads(&*fixture.store, &filter).await.iter().map(|head| head.first_at() - NOW).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

async fn a_thousand_letters_are_listed_one_by_one(fixture: Fixture) {
    for number in 0..1_000 {
        fixture.store.store(&rejected(number, NOW + number)).await.unwrap();
    }
    let filter = LetterFilter::default();
    let before = fixture.reads();
    let first = fixture.store.list(&filter).next().await.unwrap().unwrap();
    assert_eq!(first.first_at(), NOW);
    assert!(fixture.reads() - before <= 1, "the first letter needs no more than one page");

    let times: Vec<u64> = heads(&*fixture.store, &filter).await.iter().map(LetterHead::first_at).collect();
    assert_eq!(times, (NOW..NOW + 1_000).collect::<Vec<_>>());
}

async fn an_unknown_letter_is_none_and_an_empty_store_lists_nothing(fixture: Fixture) {
    assert_eq!(fixture.store.load(&rejected(1, NOW).head.id).await.unwrap(), None);
    assert_eq!(heads(&*fixture.store, &LetterFilter::default()).await, []);
}

async fn a_damaged_letter_is_named_and_the_rest_goes_on(fixture: Fixture) {
    let letters: Vec<Letter> = (0..3).map(|number| rejected(number, NOW + number)).collect();
    for letter in &letters {
        fixture.store.store(letter).await.unwrap();
    }
    let damaged = &letters[1].head.id;
    fixture.damage(damaged).await;

    let listed: Vec<_> = fixture.store.list(&LetterFilter::default()).collect().await;
    let (good, bad): (Vec<_>, Vec<_>) = listed.into_iter().partition(Result::is_ok);
    let good: Vec<LetterId> = good.into_iter().map(|head| head.unwrap().id).collect();
    assert_eq!(good, [letters[0].head.id.clone(), letters[2].head.id.clone()]);
    let bad: Vec<Fault> = bad.into_iter().map(Result::unwrap_err).collect();
    assert_eq!(bad.len(), 1);
    assert!(bad[0].to_string().contains(damaged.as_str()), "{}", bad[0]);

    let refused = fixture.store.load(damaged).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Rejected);
    assert!(refused.to_string().contains(damaged.as_str()), "{refused}");
}

async fn a_store_that_is_down_says_so_and_works_again(fixture: Fixture) {
    let letter = rejected(1, NOW);
    let expected = fixture.break_down().await;
    let refused = fixture.store.store(&letter).await.unwrap_err();
    assert_eq!(refused.kind.verdict(), expected, "{refused}");
    let listed: Vec<_> = fixture.store.list(&LetterFilter::default()).collect().await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].as_ref().unwrap_err().kind.verdict(), expected);
    assert!(fixture.store.load(&letter.head.id).await.is_err());

    fixture.mend().await;
    fixture.store.store(&letter).await.unwrap();
    assert_eq!(fixture.store.load(&letter.head.id).await.unwrap(), Some(letter));
}

async fn a_list_goes_on_where_it_was_interrupted(fixture: Fixture) {
    for number in 0..600 {
        fixture.store.store(&rejected(number, NOW + number)).await.unwrap();
    }
    if let Place::Table(embedded) = &fixture.place {
        embedded.faults().add(Rule::on("Query", Wire::Throttle).every(2));
    }
    assert_eq!(heads(&*fixture.store, &LetterFilter::default()).await.len(), 600);
}

/// One store, and the hand of the test on the place where it keeps its letters.
struct Fixture {
    store: Arc<dyn LetterStore>,
    place: Place,
    clock: Arc<ManualClock>,
}

enum Place {
    Table(Box<Embedded>),
    Directory(TempDir),
}

impl Fixture {
    async fn table() -> Self {
        let embedded = Embedded::new();
        table::create(&embedded.dynamodb(), TABLE).await.unwrap();
        Self::of(Place::Table(Box::new(embedded)))
    }

    fn directory() -> Self {
        Self::of(Place::Directory(TempDir::new().unwrap()))
    }

    fn of(place: Place) -> Self {
        let clock = Arc::new(ManualClock(AtomicU64::new(NOW)));
        Self { store: place.open(clock.clone()), place, clock }
    }

    /// Another handle on the same letters, as another process has it.
    fn second(&self) -> Arc<dyn LetterStore> {
        self.place.open(self.clock.clone())
    }

    /// How often the table was queried.
    fn reads(&self) -> usize {
        match &self.place {
            Place::Table(embedded) => embedded.faults().count("Query"),
            Place::Directory(_) => 0,
        }
    }

    async fn damage(&self, id: &LetterId) {
        match &self.place {
            Place::Table(embedded) => {
                let request = json!({
                    "TableName": TABLE,
                    "Key": { "id": { "S": id.as_str() }, "part": { "N": "0" } },
                    "UpdateExpression": "SET attempts = :what",
                    "ExpressionAttributeValues": { ":what": { "S": "scribble" } },
                });
                embedded.perform("UpdateItem", request).await;
            }
            Place::Directory(directory) => {
                let path = directory.path().join("letters").join(format!("{id}.json"));
                let text = std::fs::read_to_string(&path).unwrap();
                let file = std::fs::File::options().write(true).open(&path).unwrap();
                // The time stays, so the order of the list does.
                file.set_len(text.len() as u64 / 2).unwrap();
            }
        }
    }

    /// Nothing works any more, for as long as readers wait; gives what a caller has to do about it.
    async fn break_down(&self) -> Verdict {
        match &self.place {
            Place::Table(embedded) => {
                embedded.faults().add(Rule::any(Wire::Unavailable));
                Verdict::Retry
            }
            Place::Directory(directory) => {
                std::fs::write(directory.path().join("letters"), "a file is in the way").unwrap();
                Verdict::Unfinished
            }
        }
    }

    async fn mend(&self) {
        match &self.place {
            Place::Table(embedded) => embedded.faults().clear(),
            Place::Directory(directory) => std::fs::remove_file(directory.path().join("letters")).unwrap(),
        }
    }
}

impl Place {
    fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn LetterStore> {
        match self {
            Self::Table(embedded) => {
                Arc::new(TableLetters::new(embedded.dynamodb(), TABLE.into(), KEEP, clock))
            }
            // A directory that is not there yet.
            Self::Directory(directory) => {
                Arc::new(DirectoryLetters::new(directory.path().join("letters"), clock))
            }
        }
    }
}

struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

async fn heads(store: &dyn LetterStore, filter: &LetterFilter) -> Vec<LetterHead> {
    store.list(filter).map(Result::unwrap).collect().await
}

fn name(text: &str) -> ProjectionName {
    ProjectionName::new(text).unwrap()
}

fn rejected(number: u64, at: u64) -> Letter {
    letter(number, at, Some(&name("orders-for-accounting")), "orders", FaultKind::Rejected)
}

fn letter(
    number: u64,
    at: u64,
    projection: Option<&ProjectionName>,
    source: &str,
    kind: FaultKind,
) -> Letter {
    let source = SourceName::new(source).unwrap();
    let fault =
        Fault { kind, causes: vec!["write to the row".to_owned(), format!("line {number} is wrong")] };
    let key = BTreeMap::from([
        ("pk".to_owned(), Value::S(format!("ORDER#{number}"))),
        ("raw".to_owned(), Value::B(vec![0, 255, number as u8])),
        ("at".to_owned(), Value::N("12345678901234567890123456789012345678".to_owned())),
    ]);
    Letter {
        head: LetterHead {
            id: LetterId::of(&source, projection, &number.to_be_bytes()),
            state: LetterState::Open,
            source: source.to_string(),
            projection: projection.map(ToString::to_string),
            config: "c0ffee".to_owned(),
            key: Some(key),
            digest: Some(format!("{number:022}")),
            version: Some(format!("2025-06-15T15:06:40.001/{number:040}")),
            attempts: vec![Attempt::new(at, &fault)],
        },
        record: format!(
            r#"{{"eventID":"{number}","dynamodb":{{"Keys":{{"pk":{{"S":"ORDER#{number}"}}}}}}}}"#
        )
        .into(),
    }
}
