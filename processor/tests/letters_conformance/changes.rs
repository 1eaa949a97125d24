//! What operators do to letters, and what remains of it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use millstream_processor::letters::tally::{Count, Tally, UNDECODED, Waiting};
use millstream_processor::letters::{
    AuditEntry, Closing, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore, Stored,
};
use millstream_processor::outcome::FaultKind;

use crate::fixture::{Fixture, NOW, Place};
use crate::{heads, letter, name, rejected};

fn closing(state: LetterState, by: &str) -> Closing {
    Closing { state, at: NOW + 50, by: by.to_owned(), reason: "it is mended".to_owned() }
}

fn in_state(state: LetterState) -> LetterFilter {
    LetterFilter { states: vec![state], ..LetterFilter::default() }
}

async fn ids(store: &dyn LetterStore, filter: &LetterFilter) -> Vec<LetterId> {
    heads(store, filter).await.into_iter().map(|head| head.id).collect()
}

pub(crate) async fn a_closed_letter_waits_no_more(fixture: Fixture) {
    for (number, state) in (1..).zip([LetterState::Replayed, LetterState::Superseded, LetterState::Discarded])
    {
        let letter = rejected(number, NOW);
        fixture.store.store(&letter).await.unwrap();
        assert_eq!(fixture.store.state(&letter.head.id).await.unwrap(), Some(LetterState::Open));
        let closing = closing(state, "alice");
        assert!(fixture.store.close(&letter.head.id, 0, &closing).await.unwrap());
        assert!(!fixture.store.close(&letter.head.id, 0, &closing).await.unwrap(), "it is closed already");

        let other = fixture.second();
        assert_eq!(heads(&*other, &LetterFilter::default()).await, []);
        assert_eq!(other.state(&letter.head.id).await.unwrap(), Some(state));
        let head = LetterHead { state, closing: Some(closing), ..letter.head.clone() };
        let kept = fixture.keeps_closed().then(|| Letter { head: head.clone(), ..letter.clone() });
        assert_eq!(other.load(&letter.head.id).await.unwrap(), kept);
        let listed = if fixture.keeps_closed() { vec![head] } else { Vec::new() };
        assert_eq!(heads(&*other, &in_state(state)).await, listed);
    }
    let unknown = rejected(9, NOW).head.id;
    assert!(!fixture.store.close(&unknown, 0, &closing(LetterState::Discarded, "alice")).await.unwrap());
    assert_eq!(fixture.store.state(&unknown).await.unwrap(), None);

    // Of what is not kept, the trail has who discarded it, and what it was.
    let trail: Vec<AuditEntry> = fixture.store.trail().try_collect().await.unwrap();
    match fixture.keeps_closed() {
        true => assert_eq!(trail, [], "who closes writes the trail"),
        false => {
            assert_eq!(trail.len(), 1, "{trail:?}");
            assert_eq!((trail[0].by.as_str(), &trail[0].letter), ("alice", &Some(rejected(3, NOW).head.id)));
            assert!(trail[0].result.contains("it is mended"), "{trail:?}");
        }
    }
}

pub(crate) async fn one_of_two_that_close_at_once_wins(fixture: Fixture) {
    for number in 0..10 {
        let letter = rejected(number, NOW);
        fixture.store.store(&letter).await.unwrap();
        let closers = ["alice", "bob"].map(|by| {
            let (store, id) = (fixture.second(), letter.head.id.clone());
            tokio::spawn(
                async move { store.close(&id, 0, &closing(LetterState::Discarded, by)).await.unwrap() },
            )
        });
        let mut won = Vec::new();
        for (by, closer) in ["alice", "bob"].into_iter().zip(closers) {
            if closer.await.unwrap() {
                won.push(by);
            }
        }
        assert_eq!(won.len(), 1, "letter {number}");
        if fixture.keeps_closed() {
            let head = fixture.store.load(&letter.head.id).await.unwrap().unwrap().head;
            assert_eq!(head.closing.unwrap().by, won[0]);
        }
    }
}

pub(crate) async fn a_letter_that_is_stored_after_it_was_closed_waits_again(fixture: Fixture) {
    let letter = rejected(1, NOW);
    fixture.store.store(&letter).await.unwrap();
    assert!(fixture.store.close(&letter.head.id, 0, &closing(LetterState::Replayed, "alice")).await.unwrap());
    let again = rejected(1, NOW + 100);
    fixture.second().store(&again).await.unwrap();

    let loaded = fixture.store.load(&letter.head.id).await.unwrap().unwrap();
    assert_eq!((loaded.head.state, &loaded.head.closing), (LetterState::Open, &None));
    assert_eq!(fixture.store.state(&letter.head.id).await.unwrap(), Some(LetterState::Open));
    assert_eq!(ids(&*fixture.store, &LetterFilter::default()).await, std::slice::from_ref(&letter.head.id));
    assert_eq!(ids(&*fixture.store, &in_state(LetterState::Replayed)).await, []);
    let faults: Vec<&str> = loaded.head.attempts.iter().map(|attempt| attempt.fault.as_str()).collect();
    match fixture.keeps_closed() {
        true => {
            assert_eq!(faults, ["rejected", "replayed", "rejected"]);
            assert_eq!(loaded.head.attempts[1].causes, ["it is mended", "by alice"]);
            assert_eq!((loaded.head.tries(), loaded.head.first_at()), (2, NOW));
        }
        // What was deleted is not remembered.
        false => assert_eq!((faults, loaded.head.first_at()), (vec!["rejected"], NOW + 100)),
    }
    assert!(fixture.store.close(&letter.head.id, 0, &closing(LetterState::Superseded, "bob")).await.unwrap());
}

fn held(number: u64, at: u64) -> Letter {
    let mut letter = rejected(number, at);
    letter.head.state = LetterState::Held;
    letter.head.attempts[0].fault = FaultKind::Held.as_str().to_owned();
    letter
}

pub(crate) async fn what_is_held_stays_held_until_it_fails_and_what_is_open_is_never_held(fixture: Fixture) {
    fixture.store.store(&held(1, NOW)).await.unwrap();
    fixture.store.store(&held(1, NOW + 1)).await.unwrap();
    fixture.store.store(&rejected(2, NOW + 2)).await.unwrap();
    fixture.store.store(&held(2, NOW + 3)).await.unwrap();
    fixture.store.store(&held(3, NOW + 4)).await.unwrap();
    fixture.store.store(&rejected(3, NOW + 5)).await.unwrap();
    for again in [held(3, NOW + 6), rejected(3, NOW + 7)] {
        assert_eq!(fixture.store.store(&again).await.unwrap(), Stored::Waits);
    }
    let listed = heads(&*fixture.store, &LetterFilter::default()).await;
    let found: Vec<_> = listed.iter().map(|head| (head.state, head.tries())).collect();
    assert_eq!(found, [(LetterState::Held, 2), (LetterState::Open, 2), (LetterState::Open, 4)]);
    let faults: Vec<&str> = listed[2].attempts.iter().map(|attempt| attempt.fault.as_str()).collect();
    assert_eq!(faults, ["held", "rejected", "held", "rejected"]);
    let state = fixture.second().state(&listed[2].id).await.unwrap();
    assert_eq!(state, Some(LetterState::Open));
}

pub(crate) async fn what_was_closed_is_closed_for_a_change_that_only_waits(fixture: Fixture) {
    let closed = [LetterState::Replayed, LetterState::Superseded, LetterState::Discarded];
    for (number, state) in (1..).zip(closed) {
        let id = rejected(number, NOW).head.id;
        assert_eq!(fixture.store.store(&held(number, NOW)).await.unwrap(), Stored::Waits);
        assert_eq!(fixture.store.closed(&id).await.unwrap(), None, "it waits");
        assert!(fixture.store.close(&id, 0, &closing(state, "alice")).await.unwrap());
        let other = fixture.second();
        let before = other.load(&id).await.unwrap();
        assert_eq!(other.store(&held(number, NOW + 100)).await.unwrap(), Stored::Closed(state));
        assert_eq!(other.load(&id).await.unwrap(), before, "nothing of it was changed");
        for store in [&fixture.store, &other] {
            assert_eq!(store.state(&id).await.unwrap(), Some(state));
            assert_eq!(store.closed(&id).await.unwrap(), Some(state));
        }
    }
    assert_eq!(ids(&*fixture.store, &LetterFilter::default()).await, []);
    assert_eq!(fixture.store.closed(&rejected(9, NOW).head.id).await.unwrap(), None, "there is none");
}

pub(crate) async fn what_was_discarded_is_discarded_however_often_it_fails(fixture: Fixture) {
    let letter = rejected(1, NOW);
    let id = &letter.head.id;
    fixture.store.store(&letter).await.unwrap();
    assert!(fixture.store.close(id, 0, &closing(LetterState::Discarded, "alice")).await.unwrap());
    for at in [100, 200] {
        let stored = fixture.second().store(&rejected(1, NOW + at)).await.unwrap();
        assert_eq!(stored, Stored::Closed(LetterState::Discarded));
    }
    assert_eq!(fixture.store.state(id).await.unwrap(), Some(LetterState::Discarded));
    assert_eq!(ids(&*fixture.store, &LetterFilter::default()).await, []);
    let kept = fixture.store.load(id).await.unwrap();
    assert_eq!(kept.is_some(), fixture.keeps_closed());
    if let Some(Letter { head, record }) = kept {
        assert_eq!((head.tries(), head.closing.unwrap().by.as_str()), (3, "alice"));
        assert_eq!(record, letter.record);
    }
}

pub(crate) async fn a_letter_that_was_edited_meanwhile_is_not_closed(fixture: Fixture) {
    let letter = rejected(1, NOW);
    let id = &letter.head.id;
    fixture.store.store(&letter).await.unwrap();
    let replayed = closing(LetterState::Replayed, "alice");
    assert!(!fixture.store.close(id, 1, &replayed).await.unwrap(), "it was never edited");
    fixture.store.release().await;
    let other = fixture.second();
    assert!(other.edit(id, 0, &Bytes::from("edited")).await.unwrap());
    other.release().await;
    assert!(!fixture.store.close(id, 0, &replayed).await.unwrap());
    let loaded = fixture.store.load(id).await.unwrap().unwrap();
    assert_eq!(
        (loaded.head.state, loaded.head.edited, &loaded.record[..]),
        (LetterState::Open, 1, &b"edited"[..])
    );
    assert!(fixture.store.close(id, 1, &replayed).await.unwrap());
    assert_eq!(fixture.store.state(id).await.unwrap(), Some(LetterState::Replayed));
}

pub(crate) async fn states_are_listed_one_by_one_and_together(fixture: Fixture) {
    let mut all = Vec::new();
    for (number, state) in (0..).zip(LetterState::ALL.into_iter().cycle().take(10)) {
        let mut letter = rejected(number, NOW + number);
        if state == LetterState::Held {
            letter.head.state = state;
        }
        fixture.store.store(&letter).await.unwrap();
        if !state.waits() {
            assert!(fixture.store.close(&letter.head.id, 0, &closing(state, "alice")).await.unwrap());
        }
        all.push((state, letter.head.id));
    }
    let of = |states: &[LetterState]| -> Vec<LetterId> {
        let kept = |state: &LetterState| state.waits() || fixture.keeps_closed();
        all.iter().filter(|(it, _)| states.contains(it) && kept(it)).map(|(_, id)| id.clone()).collect()
    };
    let waiting = of(&[LetterState::Open, LetterState::Held]);
    assert_eq!(ids(&*fixture.store, &LetterFilter::default()).await, waiting);
    let of_projection =
        LetterFilter { projection: Some(name("orders-for-accounting")), ..LetterFilter::default() };
    assert_eq!(ids(&*fixture.store, &of_projection).await, waiting);
    for states in [&LetterState::ALL[..], &LetterState::ALL[1..3], &LetterState::ALL[4..]] {
        for projection in [None, Some(name("orders-for-accounting"))] {
            let filter = LetterFilter { states: states.to_vec(), projection, ..LetterFilter::default() };
            assert_eq!(ids(&*fixture.store, &filter).await, of(states), "{filter:?}");
        }
    }
}

pub(crate) async fn what_waits_is_counted_without_taking_it_out_of_sight(fixture: Fixture) {
    fixture.break_down().await;
    assert!(fixture.store.waiting().await.is_err(), "nobody knows how many there are");
    fixture.mend().await;
    let nothing = if fixture.counts() { Waiting::Letters(Tally::default()) } else { Waiting::Messages(0) };
    assert_eq!(fixture.store.waiting().await.unwrap(), nothing);
    let mut letters =
        vec![rejected(1, NOW + 5), rejected(2, NOW), rejected(3, NOW - 5), rejected(4, NOW + 9)];
    letters[1].head.state = LetterState::Held;
    letters.push(letter(5, NOW + 7, None, "orders", FaultKind::Rejected));
    for letter in &letters {
        fixture.store.store(letter).await.unwrap();
    }
    let closed = &letters[2].head.id;
    assert!(fixture.store.close(closed, 0, &closing(LetterState::Discarded, "alice")).await.unwrap());
    let count =
        |open, held, oldest| Count { letters: [("open", open), ("held", held)].into(), oldest: Some(oldest) };
    let projections = [
        ("orders-for-accounting".to_owned(), count(2, 1, NOW)),
        (UNDECODED.to_owned(), count(1, 0, NOW + 7)),
    ];
    let expected = match fixture.counts() {
        true => Waiting::Letters(Tally { projections: projections.into() }),
        false => Waiting::Messages(4),
    };
    assert_eq!(fixture.second().waiting().await.unwrap(), expected);
    assert_eq!(heads(&*fixture.store, &LetterFilter::default()).await.len(), 4, "others see them all");

    if fixture.counts() {
        fixture.damage(&letters[0].head.id).await;
        let fault = fixture.store.waiting().await.unwrap_err();
        assert!(fault.to_string().contains(letters[0].head.id.as_str()), "{fault}");
    }
}

pub(crate) async fn an_edit_keeps_the_original_and_counts(fixture: Fixture) {
    let letter = rejected(1, NOW);
    let id = &letter.head.id;
    fixture.store.store(&letter).await.unwrap();
    assert_eq!(fixture.store.original(id).await.unwrap(), None);
    for (seen, text) in [(0, r#"{"edited":1}"#), (1, "edited to something else")] {
        let record = Bytes::from(text);
        assert!(fixture.second().edit(id, seen, &record).await.unwrap());
        let expected =
            Letter { head: LetterHead { edited: seen + 1, ..letter.head.clone() }, record: record.clone() };
        assert_eq!(fixture.store.load(id).await.unwrap(), Some(expected.clone()));
        assert_eq!(heads(&*fixture.store, &LetterFilter::default()).await, [expected.head]);
        assert_eq!(fixture.store.original(id).await.unwrap(), Some(letter.record.clone()));
    }
    // It fails again, from the stream: what was edited stays.
    fixture.store.store(&rejected(1, NOW + 10)).await.unwrap();
    let loaded = fixture.store.load(id).await.unwrap().unwrap();
    assert_eq!((loaded.head.edited, loaded.head.tries()), (2, 2));
    assert_eq!(loaded.record, "edited to something else");
    assert_eq!(fixture.store.original(id).await.unwrap(), Some(letter.record.clone()));
    assert_eq!(fixture.store.original(&rejected(2, NOW).head.id).await.unwrap(), None);
}

pub(crate) async fn an_edit_of_what_was_edited_meanwhile_or_does_not_wait_is_refused(fixture: Fixture) {
    let letter = rejected(1, NOW);
    let id = &letter.head.id;
    fixture.store.store(&letter).await.unwrap();
    assert!(!fixture.store.edit(id, 1, &Bytes::from("2")).await.unwrap());
    let editors = ["alice", "bob"].map(|by| {
        let (store, id) = (fixture.second(), id.clone());
        tokio::spawn(async move {
            let edited = store.edit(&id, 0, &Bytes::from(by)).await.unwrap();
            store.release().await;
            edited
        })
    });
    let mut won = Vec::new();
    for (by, editor) in ["alice", "bob"].into_iter().zip(editors) {
        if editor.await.unwrap() {
            won.push(by);
        }
    }
    assert_eq!(won.len(), 1);
    let loaded = fixture.store.load(id).await.unwrap().unwrap();
    assert_eq!((loaded.head.edited, &loaded.record[..]), (1, won[0].as_bytes()));

    assert!(fixture.store.close(id, 1, &closing(LetterState::Discarded, "alice")).await.unwrap());
    assert!(!fixture.store.edit(id, 1, &Bytes::from("2")).await.unwrap());
    assert!(!fixture.store.edit(&rejected(9, NOW).head.id, 0, &Bytes::from("2")).await.unwrap());
}

pub(crate) async fn a_large_record_is_edited_into_another_and_both_come_back(fixture: Fixture) {
    let large = |c: u8| Bytes::from(vec![c; 900 * 1024]);
    let letter = Letter { record: large(b'1'), ..rejected(1, NOW) };
    let id = &letter.head.id;
    fixture.store.store(&letter).await.unwrap();
    assert!(fixture.store.edit(id, 0, &large(b'2')).await.unwrap());
    fixture.store.release().await;
    let other = fixture.second();
    assert!(other.load(id).await.unwrap().unwrap().record == large(b'2'));
    assert!(other.original(id).await.unwrap().unwrap() == large(b'1'));
}

pub(crate) async fn the_trail_of_operators_is_kept_in_order(fixture: Fixture) {
    assert_eq!(fixture.store.trail().collect::<Vec<_>>().await, []);
    let entry = |number: u64| AuditEntry {
        // The clocks of two operators differ: what was written first stays first.
        at: NOW - number % 3,
        by: "alice (arn:aws:iam::123456789012:user/alice)".to_owned(),
        action: "apply".to_owned(),
        letter: number.is_multiple_of(2).then(|| rejected(number, NOW).head.id),
        result: format!("line {number}\nwith \"more\""),
    };
    fixture.store.store(&rejected(1, NOW)).await.unwrap();
    for number in 0..300 {
        let store = if number % 7 == 0 { fixture.second() } else { fixture.store.clone() };
        store.audit(&entry(number)).await.unwrap();
    }
    let trail: Vec<AuditEntry> = fixture.second().trail().try_collect().await.unwrap();
    assert_eq!(trail, (0..300).map(entry).collect::<Vec<_>>());
    assert_eq!(heads(&*fixture.store, &LetterFilter::default()).await.len(), 1, "no line is a letter");

    let writers = (0..8).map(|number| {
        let (store, entry) = (fixture.second(), entry(number));
        tokio::spawn(async move { store.audit(&entry).await.unwrap() })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(fixture.store.trail().try_collect::<Vec<_>>().await.unwrap().len(), 308);
}

/// Only a queue has to be told; for all others it is enough that telling does no harm.
pub(crate) async fn a_letter_that_is_worked_on_stays_with_its_worker(fixture: Fixture) {
    let (worked_on, other) = (rejected(1, NOW), rejected(2, NOW + 1));
    for letter in [&worked_on, &other] {
        fixture.store.store(letter).await.unwrap();
    }
    let Place::Queue(queue) = &fixture.place else {
        fixture.store.prolong(&worked_on.head.id).await.unwrap();
        fixture.store.release().await;
        assert_eq!(heads(&*fixture.store, &LetterFilter::default()).await.len(), 2);
        return;
    };
    let worker = queue.open(Duration::from_secs(2));
    worker.prolong(&worked_on.head.id).await.unwrap();
    let waiting = LetterFilter::default();
    assert_eq!(ids(&*fixture.store, &waiting).await, [], "the worker holds what it received");
    // The other letter comes back by itself, as after a crash. The one that is worked on does not.
    while queue.visible().await == 0 {
        worker.prolong(&worked_on.head.id).await.unwrap();
    }
    assert_eq!(ids(&*fixture.store, &waiting).await, std::slice::from_ref(&other.head.id));
    let refused = fixture.store.prolong(&worked_on.head.id).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Conflict, "{refused}");
    worker.release().await;
    assert_eq!(ids(&*fixture.store, &waiting).await, [worked_on.head.id, other.head.id]);
}

pub(crate) async fn several_letters_stand_where_each_of_them_does(fixture: Fixture) {
    let letters: Vec<Letter> = (0..25).map(|number| rejected(number, NOW + number)).collect();
    for letter in &letters[..24] {
        fixture.store.store(letter).await.unwrap();
    }
    assert!(
        fixture.store.close(&letters[3].head.id, 0, &closing(LetterState::Replayed, "alice")).await.unwrap()
    );
    fixture.store.release().await;
    let ids: Vec<LetterId> = letters.iter().rev().map(|letter| letter.head.id.clone()).collect();
    let mut expected = vec![Some(LetterState::Open); 25];
    (expected[0], expected[21]) = (None, Some(LetterState::Replayed));
    let other = fixture.second();
    assert_eq!(other.states(&ids).await.unwrap(), expected);
    assert_eq!(other.states(&[]).await.unwrap(), []);
    // Nothing of it is held on.
    assert_eq!(fixture.store.states(&ids).await.unwrap(), expected);
}

pub(crate) async fn what_is_closed_unseen_is_closed_where_absence_is_not_certain(fixture: Fixture) {
    let letter = rejected(1, NOW);
    let id = &letter.head.id;
    let discarded = closing(LetterState::Discarded, "alice");
    let closed = fixture.store.close_unseen(id, &discarded).await.unwrap();
    assert_eq!(closed, !fixture.store.knows_absence());
    assert_eq!(fixture.store.state(id).await.unwrap(), closed.then_some(LetterState::Discarded));
    assert!(!fixture.store.close_unseen(id, &discarded).await.unwrap(), "it is done");
    let stored = fixture.store.store(&letter).await.unwrap();
    assert_eq!(stored == Stored::Closed(LetterState::Discarded), closed);
}
