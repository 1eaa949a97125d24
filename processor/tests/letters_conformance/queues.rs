//! What is a queue's own: letters of several messages, messages that come twice, and what is given back.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use millstream_processor::letters::{Closing, Letter, LetterFilter, LetterState};
use millstream_processor::outcome::FaultKind;

use crate::fixture::{Fixture, NOW, Place, Queue};
use crate::{heads, rejected};

fn queue(fixture: &Fixture) -> &Queue {
    match &fixture.place {
        Place::Queue(queue) => queue,
        Place::Table(_) | Place::Directory(_) => unreachable!("these tests have a queue"),
    }
}

fn large(number: u64, at: u64) -> Letter {
    Letter { record: vec![b'x'; 900 * 1024].into(), ..rejected(number, at) }
}

#[tokio::test]
async fn a_letter_that_lacks_a_part_is_named_and_whole_after_the_next_store() {
    for suffix in ["", ".fifo"] {
        let fixture = Fixture::queue(suffix).await;
        let letter = large(1, NOW);
        let id = &letter.head.id;
        fixture.store.store(&letter).await.unwrap();
        fixture.store.store(&rejected(2, NOW)).await.unwrap();
        assert_eq!(queue(&fixture).visible().await, 3);
        assert!(queue(&fixture).remove(&format!(r#""letter":"{id}""#)).await);

        let listed: Vec<_> = fixture.store.list(&LetterFilter::default()).collect().await;
        assert_eq!(listed.len(), 2);
        let fault = listed.into_iter().find_map(Result::err).unwrap().to_string();
        assert!(fault.contains(id.as_str()) && fault.contains("1 of 2 parts"), "{fault}");
        assert_eq!(fixture.store.load(id).await.unwrap_err().kind, FaultKind::Rejected);

        fixture.store.store(&large(1, NOW + 1)).await.unwrap();
        assert_eq!(heads(&*fixture.store, &LetterFilter::default()).await.len(), 2);
        let loaded = fixture.store.load(id).await.unwrap().unwrap();
        assert!(loaded == large(1, NOW + 1));
        // The part that was left alone goes with it.
        assert!(fixture.store.close(id, 0, &replayed()).await.unwrap());
        fixture.store.release().await;
        assert_eq!(queue(&fixture).visible().await, 1);
    }
}

#[tokio::test]
async fn the_same_attempt_twice_counts_once() {
    for (suffix, messages) in [("", 2), (".fifo", 1)] {
        let fixture = Fixture::queue(suffix).await;
        let letter = rejected(1, NOW);
        for _ in 0..2 {
            fixture.store.store(&letter).await.unwrap();
        }
        assert_eq!(queue(&fixture).visible().await, messages);
        assert_eq!(
            heads(&*fixture.store, &LetterFilter::default()).await,
            std::slice::from_ref(&letter.head)
        );
        assert!(fixture.store.close(&letter.head.id, 0, &replayed()).await.unwrap());
        assert_eq!(fixture.second().load(&letter.head.id).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_edit_that_died_before_it_deleted_the_old_message_counts() {
    let fixture = Fixture::queue("").await;
    let letter = rejected(1, NOW);
    fixture.store.store(&letter).await.unwrap();
    let old = queue(&fixture).bodies().await;
    assert!(fixture.store.edit(&letter.head.id, 0, &Bytes::from("edited")).await.unwrap());
    fixture.store.release().await;
    queue(&fixture).send(&old[0]).await;

    let other = fixture.second();
    let loaded = other.load(&letter.head.id).await.unwrap().unwrap();
    assert_eq!((loaded.head.edited, loaded.head.tries(), &loaded.record[..]), (1, 1, &b"edited"[..]));
    assert_eq!(other.original(&letter.head.id).await.unwrap(), Some(letter.record));
    assert!(other.edit(&letter.head.id, 1, &Bytes::from("again")).await.unwrap());
    other.release().await;
    assert_eq!(queue(&fixture).visible().await, 1);
}

#[tokio::test]
async fn what_is_left_of_letters_that_were_closed_is_neither_listed_nor_kept() {
    let fixture = Fixture::queue("").await;
    let (waits, closed, halved) = (rejected(1, NOW), rejected(2, NOW), large(3, NOW));
    for letter in [&closed, &halved] {
        fixture.store.store(letter).await.unwrap();
        let left = queue(&fixture).bodies().await.remove(0);
        assert!(fixture.store.close(&letter.head.id, 0, &replayed()).await.unwrap());
        fixture.store.release().await;
        // As if others had received it before it was deleted.
        queue(&fixture).send(&left).await;
    }
    fixture.store.store(&waits).await.unwrap();
    let other = fixture.second();
    assert_eq!(heads(&*other, &LetterFilter::default()).await, [waits.head]);
    other.release().await;
    assert_eq!(queue(&fixture).visible().await, 1);
}

#[tokio::test]
async fn what_is_left_of_a_letter_that_was_closed_is_deleted_when_it_is_asked_for() {
    for suffix in ["", ".fifo"] {
        let fixture = Fixture::queue(suffix).await;
        let letter = rejected(1, NOW);
        let id = &letter.head.id;
        fixture.store.store(&letter).await.unwrap();
        let body = queue(&fixture).bodies().await.remove(0);
        assert!(fixture.store.close(id, 0, &replayed()).await.unwrap());
        fixture.store.release().await;
        // As if whoever closed it had died before it was deleted.
        queue(&fixture).send(&body).await;
        let other = fixture.second();
        assert_eq!(other.state(id).await.unwrap(), Some(LetterState::Replayed));
        assert_eq!(queue(&fixture).visible().await, 1);
        assert_eq!(other.load(id).await.unwrap(), None);
        other.release().await;
        assert_eq!(queue(&fixture).visible().await, 0);
        assert_eq!(heads(&*other, &LetterFilter::default()).await, []);
    }
}

#[tokio::test]
async fn a_list_that_is_dropped_gives_back_what_it_received() {
    let fixture = Fixture::queue("").await;
    for number in 0..30 {
        fixture.store.store(&rejected(number, NOW + number)).await.unwrap();
    }
    let filter = LetterFilter::default();
    let mut list = fixture.store.list(&filter);
    assert!(list.next().await.unwrap().is_ok());
    assert_eq!(queue(&fixture).visible().await, 0);
    drop(list);
    while queue(&fixture).visible().await < 30 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn letters_are_loaded_and_closed_while_they_are_listed() {
    let fixture = Fixture::queue(".fifo").await;
    for number in 0..25 {
        fixture.store.store(&rejected(number, NOW + number)).await.unwrap();
    }
    let filter = LetterFilter::default();
    let mut list = fixture.store.list(&filter);
    let mut number = 0;
    while let Some(head) = list.next().await {
        let id = head.unwrap().id;
        assert_eq!(fixture.store.load(&id).await.unwrap(), Some(rejected(number, NOW + number)));
        fixture.store.prolong(&id).await.unwrap();
        assert!(fixture.store.close(&id, 0, &replayed()).await.unwrap());
        number += 1;
    }
    assert_eq!(number, 25);
    fixture.store.release().await;
    assert_eq!(heads(&*fixture.second(), &filter).await, []);
}

#[tokio::test]
async fn workers_side_by_side_each_get_every_letter_they_ask_for() {
    let fixture = Fixture::queue("").await;
    for number in 0..40 {
        fixture.store.store(&rejected(number, NOW + number)).await.unwrap();
    }
    let workers = (0..40).map(|number| {
        let store = fixture.store.clone();
        tokio::spawn(async move {
            let letter = rejected(number, NOW + number);
            assert_eq!(store.load(&letter.head.id).await.unwrap(), Some(letter.clone()), "{number}");
            store.prolong(&letter.head.id).await.unwrap();
            assert!(store.close(&letter.head.id, 0, &replayed()).await.unwrap(), "{number}");
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    fixture.store.release().await;
    assert_eq!(heads(&*fixture.second(), &LetterFilter::default()).await, []);
}

#[tokio::test]
async fn a_letter_whose_time_is_over_is_received_again() {
    let fixture = Fixture::queue("").await;
    let letter = rejected(1, NOW);
    fixture.store.store(&letter).await.unwrap();
    let worker = queue(&fixture).open(Duration::from_secs(1));
    worker.prolong(&letter.head.id).await.unwrap();
    while queue(&fixture).visible().await == 0 {
        tokio::task::yield_now().await;
    }
    assert!(worker.close(&letter.head.id, 0, &replayed()).await.unwrap());
    assert_eq!(fixture.store.load(&letter.head.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_queue_that_is_missing_or_takes_too_little_is_a_wrong_deployment() {
    let fixture = Fixture::queue("").await;
    let name = aws_sdk_sqs::types::QueueAttributeName::MaximumMessageSize;
    let request = queue(&fixture).sqs.set_queue_attributes().queue_url(&queue(&fixture).url);
    request.attributes(name, "1024").send().await.unwrap();
    let refused = fixture.store.store(&rejected(1, NOW)).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Misconfigured, "{refused}");
    assert!(refused.to_string().contains("1024 bytes"), "{refused}");

    fixture.break_down().await;
    let refused = fixture.second().store(&rejected(1, NOW)).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Misconfigured, "{refused}");
    assert!(refused.to_string().contains(&queue(&fixture).url), "{refused}");
}

fn replayed() -> Closing {
    Closing { state: LetterState::Replayed, at: NOW, by: "alice".to_owned(), reason: "written".to_owned() }
}
