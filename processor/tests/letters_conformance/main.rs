//! What every store of letters has to do, told once and asked of each of them.
#![expect(clippy::unwrap_used, reason = "a helper that fails has to fail its test")]

use std::collections::BTreeMap;

use futures_util::StreamExt;
use millstream_processor::letters::{
    Attempt, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore,
};
use millstream_processor::outcome::{Fault, FaultKind};
use millstream_processor::projections::{ProjectionName, SourceName, Value};

use self::fixture::Fixture;

mod basics;
mod changes;
mod fixture;
mod queues;

macro_rules! conformance {
    ($($module:ident::$test:ident),+ $(,)?) => {
        mod table_letters {
            $(#[tokio::test(start_paused = true)] async fn $test() {
                crate::$module::$test(crate::Fixture::table().await).await;
            })+
        }
        mod directory_letters {
            $(#[tokio::test(start_paused = true)] async fn $test() {
                crate::$module::$test(crate::Fixture::directory()).await;
            })+
        }
        // A server of its own process: paused time would run away from it.
        mod queue_letters {
            $(#[tokio::test] async fn $test() { crate::$module::$test(crate::Fixture::queue("").await).await; })+
        }
        mod fifo_queue_letters {
            $(#[tokio::test] async fn $test() { crate::$module::$test(crate::Fixture::queue(".fifo").await).await; })+
        }
    };
}

conformance!(
    basics::what_is_stored_comes_back,
    basics::records_of_any_kind_and_size_come_back_byte_for_byte,
    basics::two_images_of_400_kb_come_back_byte_for_byte,
    basics::storing_again_adds_the_attempt_and_nothing_else,
    basics::two_stores_at_once_both_keep_their_attempts,
    basics::a_history_without_end_keeps_its_ends_and_counts_the_rest,
    basics::an_attempt_with_huge_causes_is_stored,
    basics::lists_filter_and_begin_with_the_oldest,
    basics::the_letters_of_a_key_come_in_the_order_of_their_versions,
    basics::a_thousand_letters_are_listed_one_by_one,
    basics::an_unknown_letter_is_none_and_an_empty_store_lists_nothing,
    basics::a_damaged_letter_is_named_and_the_rest_goes_on,
    basics::a_foreign_thing_is_named_with_its_place_and_left_there,
    basics::a_store_that_is_down_says_so_and_works_again,
    basics::a_list_goes_on_where_it_was_interrupted,
    changes::a_closed_letter_waits_no_more,
    changes::several_letters_stand_where_each_of_them_does,
    changes::what_is_closed_unseen_is_closed_where_absence_is_not_certain,
    changes::one_of_two_that_close_at_once_wins,
    changes::a_letter_that_is_stored_after_it_was_closed_waits_again,
    changes::what_is_held_stays_held_until_it_fails_and_what_is_open_is_never_held,
    changes::what_was_closed_is_closed_for_a_change_that_only_waits,
    changes::what_was_discarded_is_discarded_however_often_it_fails,
    changes::a_letter_that_was_edited_meanwhile_is_not_closed,
    changes::states_are_listed_one_by_one_and_together,
    changes::what_waits_is_counted_without_taking_it_out_of_sight,
    changes::an_edit_keeps_the_original_and_counts,
    changes::an_edit_of_what_was_edited_meanwhile_or_does_not_wait_is_refused,
    changes::a_large_record_is_edited_into_another_and_both_come_back,
    changes::the_trail_of_operators_is_kept_in_order,
    changes::a_letter_that_is_worked_on_stays_with_its_worker,
);

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
            edited: 0,
            closing: None,
        },
        record: format!(
            r#"{{"eventID":"{number}","dynamodb":{{"Keys":{{"pk":{{"S":"ORDER#{number}"}}}}}}}}"#
        )
        .into(),
    }
}
