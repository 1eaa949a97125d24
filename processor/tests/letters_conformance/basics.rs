//! What every store keeps, lists and says.

use futures_util::StreamExt;
use millstream_processor::letters::{Letter, LetterFilter, LetterHead, LetterId};
use millstream_processor::outcome::{Fault, FaultKind};
use millstream_processor::projections::{KeyDigest, SourceName};
use millstream_test_support::faults::{Fault as Wire, Rule};
use serde_json::json;

use crate::fixture::{Fixture, NOW, Place};
use crate::{heads, letter, name, rejected};

pub(crate) async fn what_is_stored_comes_back(fixture: Fixture) {
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

pub(crate) async fn records_of_any_kind_and_size_come_back_byte_for_byte(fixture: Fixture) {
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

pub(crate) async fn two_images_of_400_kb_come_back_byte_for_byte(fixture: Fixture) {
    let image = |c: &str| json!({ "pk": { "S": "1" }, "text": { "S": c.repeat(400 * 1024 - 10) } });
    let record = json!({ "eventID": "1", "dynamodb": { "NewImage": image("n"), "OldImage": image("o") } });
    let letter = Letter { record: record.to_string().into(), ..rejected(1, NOW) };
    assert!(letter.record.len() > 800 * 1024);
    fixture.store.store(&letter).await.unwrap();
    let loaded = fixture.second().load(&letter.head.id).await.unwrap().unwrap();
    assert!(loaded == letter);
}

pub(crate) async fn storing_again_adds_the_attempt_and_nothing_else(fixture: Fixture) {
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

pub(crate) async fn two_stores_at_once_both_keep_their_attempts(fixture: Fixture) {
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

pub(crate) async fn a_history_without_end_keeps_its_ends_and_counts_the_rest(fixture: Fixture) {
    for at in 0..60 {
        fixture.store.store(&rejected(1, NOW + at)).await.unwrap();
    }
    let letter = fixture.store.load(&rejected(1, NOW).head.id).await.unwrap().unwrap();
    assert_eq!((letter.head.tries(), letter.head.attempts.len()), (60, 51));
    assert_eq!((letter.head.attempts[0].at, letter.head.attempts[0].skipped), (NOW, 9));
    assert_eq!((letter.head.attempts[1].at, letter.head.last_at()), (NOW + 10, NOW + 59));
}

pub(crate) async fn an_attempt_with_huge_causes_is_stored(fixture: Fixture) {
    let mut letter = rejected(1, NOW);
    letter.head.attempts[0].causes = vec!["ü".repeat(500_000); 20];
    for at in 0..60 {
        letter.head.attempts[0].at = NOW + at;
        fixture.store.store(&letter).await.unwrap();
    }
    let loaded = fixture.store.load(&letter.head.id).await.unwrap().unwrap();
    assert_eq!(loaded.head.tries(), 60);
    assert!(loaded.head.attempts[0].causes[0].starts_with("üü"));
}

pub(crate) async fn lists_filter_and_begin_with_the_oldest(fixture: Fixture) {
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
            LetterFilter {
                projection: Some(a.clone()),
                source: source("orders"),
                fault: Some(FaultKind::Throttled),
                ..all.clone()
            },
            vec![5],
        ),
        (LetterFilter { since: Some(NOW + 3), ..all.clone() }, vec![3, 4, 5]),
        (LetterFilter { until: Some(NOW + 3), ..all.clone() }, vec![1, 2]),
        (LetterFilter { since: Some(NOW + 2), until: Some(NOW + 4), ..all.clone() }, vec![2, 3]),
        (LetterFilter { projection: Some(a.clone()), since: Some(NOW + 4), ..all.clone() }, vec![4, 5]),
        (LetterFilter { projection: Some(a), until: Some(NOW + 5), ..all.clone() }, vec![3, 4]),
        (LetterFilter { since: Some(NOW + 4), until: Some(NOW + 4), ..all.clone() }, vec![]),
        (LetterFilter { until: Some(0), ..all.clone() }, vec![]),
        (LetterFilter { projection: Some(name("nobody")), ..all }, vec![]),
    ];
    for (filter, expected) in cases {
        let found: Vec<u64> =
            heads(&*fixture.store, &filter).await.iter().map(|head| head.first_at() - NOW).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

pub(crate) async fn the_letters_of_a_key_come_in_the_order_of_their_versions(fixture: Fixture) {
    let digest = KeyDigest::of_bytes(b"one key");
    for (at, version) in [(1, 3), (2, 1), (3, 2), (4, 4)] {
        let mut letter = rejected(version, NOW + at);
        letter.head.digest = Some(digest.to_string());
        fixture.store.store(&letter).await.unwrap();
    }
    fixture.store.store(&rejected(9, NOW)).await.unwrap();
    let of_key = LetterFilter { digest: Some(digest), ..LetterFilter::default() };
    let ids = |heads: Vec<LetterHead>| heads.into_iter().map(|head| head.id).collect::<Vec<_>>();
    let of = |versions: &[u64]| versions.iter().map(|it| rejected(*it, NOW).head.id).collect::<Vec<_>>();
    assert_eq!(ids(heads(&*fixture.store, &of_key).await), of(&[1, 2, 3, 4]));
    let late = LetterFilter { since: Some(NOW + 2), until: Some(NOW + 4), ..of_key.clone() };
    assert_eq!(ids(heads(&*fixture.store, &late).await), of(&[1, 2]));
    let of_nobody = LetterFilter { projection: Some(name("nobody")), ..of_key };
    assert_eq!(heads(&*fixture.store, &of_nobody).await, []);
}

pub(crate) async fn a_thousand_letters_are_listed_one_by_one(fixture: Fixture) {
    for number in 0..1_000 {
        fixture.store.store(&rejected(number, NOW + number)).await.unwrap();
    }
    let filter = LetterFilter::default();
    let before = fixture.reads();
    let first = fixture.store.list(&filter).next().await.unwrap().unwrap();
    assert_eq!(first.first_at(), NOW);
    assert!(fixture.reads() - before <= 2, "the first letter needs no more than one page of each state");

    let times: Vec<u64> = heads(&*fixture.store, &filter).await.iter().map(LetterHead::first_at).collect();
    assert_eq!(times, (NOW..NOW + 1_000).collect::<Vec<_>>());
}

pub(crate) async fn an_unknown_letter_is_none_and_an_empty_store_lists_nothing(fixture: Fixture) {
    assert_eq!(fixture.store.load(&rejected(1, NOW).head.id).await.unwrap(), None);
    assert_eq!(heads(&*fixture.store, &LetterFilter::default()).await, []);
}

pub(crate) async fn a_damaged_letter_is_named_and_the_rest_goes_on(fixture: Fixture) {
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

pub(crate) async fn a_foreign_thing_is_named_with_its_place_and_left_there(fixture: Fixture) {
    let letters: Vec<Letter> = (0..3).map(|number| rejected(number, NOW + number)).collect();
    fixture.store.store(&letters[0]).await.unwrap();
    let Some(place) = fixture.add_foreign().await else {
        assert!(matches!(fixture.place, Place::Table(_)), "only in a table of our own nobody else writes");
        return;
    };
    for letter in &letters[1..] {
        fixture.store.store(letter).await.unwrap();
    }
    for _ in 0..2 {
        let listed: Vec<_> = fixture.store.list(&LetterFilter::default()).collect().await;
        let (good, bad): (Vec<_>, Vec<_>) = listed.into_iter().partition(Result::is_ok);
        assert_eq!(good.len(), 3);
        assert_eq!(bad.len(), 1);
        let fault = bad.into_iter().next().unwrap().unwrap_err();
        assert!(fault.to_string().contains(&place), "{fault}");
    }
}

pub(crate) async fn a_store_that_is_down_says_so_and_works_again(fixture: Fixture) {
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

pub(crate) async fn a_list_goes_on_where_it_was_interrupted(fixture: Fixture) {
    for number in 0..600 {
        fixture.store.store(&rejected(number, NOW + number)).await.unwrap();
    }
    if let Place::Table(embedded) = &fixture.place {
        embedded.faults().add(Rule::on("Query", Wire::Throttle).every(2));
    }
    assert_eq!(heads(&*fixture.store, &LetterFilter::default()).await.len(), 600);
}
