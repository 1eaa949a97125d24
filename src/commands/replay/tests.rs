//! The commands against a store in memory.

use clap::Parser;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use millstream_processor::letters::{
    Attempt, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore,
};
use millstream_processor::outcome::FaultKind;
use millstream_projections::{ProjectionName, SourceName};

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    replay: ReplayArgs,
}

struct Memory(Vec<Result<Letter, Fault>>);

impl LetterStore for Memory {
    fn store<'a>(&'a self, _: &'a Letter) -> BoxFuture<'a, Result<(), Fault>> {
        unreachable!("nothing stores here")
    }

    fn list<'a>(&'a self, filter: &'a LetterFilter) -> BoxStream<'a, Result<LetterHead, Fault>> {
        let heads =
            self.0.iter().map(|letter| letter.as_ref().map(|it| it.head.clone()).map_err(Clone::clone));
        stream::iter(heads.filter(|head| head.as_ref().map_or(true, |head| filter.admits(head)))).boxed()
    }

    fn load<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Letter>, Fault>> {
        let found = self.0.iter().flatten().find(|letter| letter.head.id == *id).cloned();
        async move { Ok(found) }.boxed()
    }
}

fn letter(number: u64, projection: &str) -> Letter {
    let (source, name) = (SourceName::new("orders").unwrap(), ProjectionName::new(projection).unwrap());
    let fault = Fault::new(FaultKind::Rejected, format!("row {number} is too large"));
    Letter {
        head: LetterHead {
            id: LetterId::of(&source, Some(&name), &number.to_be_bytes()),
            state: LetterState::Open,
            source: source.to_string(),
            projection: Some(projection.to_owned()),
            config: "c0ffee".to_owned(),
            key: None,
            digest: Some(format!("{number:022}")),
            version: None,
            attempts: vec![Attempt::new(1_750_000_000 + number, &fault)],
            edited: 0,
            closing: None,
        },
        record: r#"{"not":"a change"}"#.into(),
    }
}

async fn replay(words: &str, letters: &Memory) -> (Result<(), Failure>, String) {
    let cli = Cli::try_parse_from(std::iter::once("replay").chain(words.split_whitespace())).unwrap();
    let known =
        Known { projections: vec!["a".to_owned(), "b".to_owned()], sources: vec!["orders".to_owned()] };
    let mut out = Vec::new();
    let done = execute(&cli.replay.command, letters, &known, &mut out).await;
    (done, String::from_utf8(out).unwrap())
}

fn three() -> Memory {
    Memory(vec![Ok(letter(1, "a")), Ok(letter(2, "a")), Ok(letter(3, "gone"))])
}

#[tokio::test]
async fn a_list_groups_and_names_a_letter_of_each_group() {
    let (done, text) = replay("list", &three()).await;
    done.unwrap();
    assert!(
        text.contains("rejected: row # is too large") && text.contains("3 letters in 2 groups"),
        "{text}"
    );
    assert!(text.contains(letter(1, "a").head.id.as_str()), "{text}");

    let (_, json) = replay("list --json", &three()).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["letters"], &json["groups"][0]["letters"]), (&3.into(), &2.into()));
}

#[tokio::test]
async fn ids_are_one_line_each_and_filters_hold() {
    let (_, text) = replay("list --ids --projection a", &three()).await;
    assert_eq!(text.lines().count(), 2);
    assert!(text.starts_with(letter(1, "a").head.id.as_str()), "{text}");
    let (_, json) = replay("list --ids --json --fault rejected --source orders", &three()).await;
    let mut ids = json.lines().map(|line| serde_json::from_str::<LetterHead>(line).unwrap().id);
    assert_eq!(ids.next_back(), Some(letter(3, "gone").head.id));
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_wrong_usage_and_one_without_letters_is_not() {
    for (words, expected) in [
        (
            "list --projection c",
            "there is no projection `c`, nor are there letters of it; the config has `a`, `b`",
        ),
        ("list --source s", "there is no source `s`, nor are there letters of it; the config has `orders`"),
        (
            "list --projection ?",
            "there is no projection `?`, nor are there letters of it; the config has `a`, `b`",
        ),
    ] {
        let (done, _) = replay(words, &three()).await;
        assert!(matches!(&done, Err(Failure::Usage(text)) if text == expected), "{done:?}");
    }
    // A projection that is gone from the config still has its letters.
    for words in ["list --projection b", "list --projection gone"] {
        replay(words, &three()).await.0.unwrap();
    }
}

#[tokio::test]
async fn an_unknown_letter_is_wrong_usage_that_names_some() {
    for id in ["no-id", "000000000000000000000000"] {
        let (done, _) = replay(&format!("show {id}"), &three()).await;
        let Err(Failure::Usage(text)) = done else { panic!("{done:?}") };
        assert!(text.contains(id) && text.contains(letter(2, "a").head.id.as_str()), "{text}");
    }
}

#[tokio::test]
async fn a_letter_is_shown_as_text_and_as_json() {
    let id = letter(1, "a").head.id;
    let (done, text) = replay(&format!("show {id}"), &three()).await;
    done.unwrap();
    assert!(text.contains("row 1 is too large") && text.contains("not") && text.ends_with('\n'), "{text}");
    let (_, hidden) = replay(&format!("show {id} --redact"), &three()).await;
    assert!(!hidden.contains("a change"), "{hidden}");
    let (_, json) = replay(&format!("show {id} --json"), &three()).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["record"]["not"], "a change");
}

#[tokio::test]
async fn a_letter_that_cannot_be_read_fails_the_list_after_the_rest_of_it() {
    let damaged = Fault::new(FaultKind::Rejected, "x.json is damaged");
    let letters = Memory(vec![Err(damaged), Ok(letter(1, "a"))]);
    for words in ["list", "list --ids"] {
        let (done, text) = replay(words, &letters).await;
        assert!(matches!(&done, Err(Failure::Failed(_))), "{done:?}");
        assert!(text.contains(letter(1, "a").head.id.as_str()), "{text}");
    }
}

#[test]
fn a_wrong_kind_of_fault_is_told_the_right_ones() {
    let error = Cli::try_parse_from(["replay", "list", "--fault", "bad"]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("misconfigured"), "{error}");
}
