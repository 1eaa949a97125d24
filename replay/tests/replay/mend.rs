//! Records that are edited, and letters in part.

use millstream_processor::letters::LetterState;
use millstream_replay::edit::{self, EditError};
use serde_json::json;

use crate::world::{ORDERS, World, apply_all};

#[tokio::test]
async fn an_edited_record_is_replayed_and_the_original_is_kept() {
    for world in World::each().await {
        world.order("o1", None).await;
        world.deliver(ORDERS).await;
        let desk = world.desk(ORDERS);
        let letter = world.letters(&[]).await.remove(0);
        let draft = edit::draft(&letter);
        let with_total = draft.replace("\"n\":", "\"total\": { \"N\": \"7\" }, \"n\":");
        assert_ne!(draft, with_total);
        edit::replace(&desk, &letter, &with_total).await.unwrap();
        assert_eq!(world.letters(&[]).await[0].head.edited, 1);
        let original = desk.letters().original(&letter.head.id).await.unwrap();
        assert_eq!(original.as_ref(), Some(&letter.record));
        // Whoever edits what he saw before is told so.
        let other = draft.replace("\"n\":", "\"late\": { \"N\": \"7\" }, \"n\":");
        let late = edit::replace(&desk, &letter, &other).await;
        assert!(matches!(late, Err(EditError::Overtaken)));
        assert_eq!(apply_all(&desk).await.replayed, 1);
        assert_eq!(world.rows().await, [json!({ "orderId": "o1", "total": 7 })]);
        let actions: Vec<_> = world.trail().await.into_iter().map(|entry| entry.action).collect();
        assert_eq!(actions, ["edit", "apply"]);
    }
}

#[tokio::test]
async fn an_edit_that_would_not_be_this_change_is_not_taken() {
    let world = World::table().await;
    world.order("o1", None).await;
    world.deliver(ORDERS).await;
    let desk = world.desk(ORDERS);
    let letter = world.letters(&[]).await.remove(0);
    let draft = edit::draft(&letter);
    let sequence = letter.head.version.as_ref().unwrap().split('/').next_back().unwrap();
    let sequence = sequence.trim_start_matches('0');
    let cases = [
        ("{".to_owned(), "not JSON"),
        ("{}".to_owned(), "cannot be decoded"),
        (draft.replace("INSERT", "EXPLODE"), "EXPLODE"),
        (draft.replace("\"o1\"", "\"o2\""), "the key has to stay"),
        (draft.replace(sequence, "17"), "the sequence number has to stay"),
        (draft.replace("\"NewImage\": {", "\"NewImage\": { \"x\": 5,"), "`x`"),
    ];
    for (text, says) in cases {
        let error = edit::replace(&desk, &letter, &text).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(world.letters(&[]).await[0].head.edited, 0);
    assert!(world.trail().await.is_empty());
}

#[tokio::test]
async fn a_closed_letter_is_not_edited() {
    let world = World::table().await;
    world.order("o1", None).await;
    world.deliver(ORDERS).await;
    let letter = world.letters(&[]).await.remove(0);
    apply_all(&world.desk(&crate::world::mended())).await;
    let text = edit::draft(&letter).replace("\"n\":", "\"m\":");
    let error = edit::replace(&world.desk(ORDERS), &letter, &text).await.unwrap_err();
    assert!(matches!(error, EditError::Overtaken), "{error}");
    assert_eq!(world.letters(&[LetterState::Replayed]).await.len(), 1);
}
