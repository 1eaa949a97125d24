//! The commands against a store in memory.

use bytes::Bytes;
use clap::Parser;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use millstream_processor::letters::{
    Attempt, AuditEntry, Closing, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore,
    Stored,
};
use millstream_processor::outcome::FaultKind;
use millstream_projections::{ProjectionName, SourceName};

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    replay: ReplayArgs,
}

#[derive(Clone)]
struct Memory(Vec<Result<Letter, Fault>>);

impl LetterStore for Memory {
    fn store<'a>(&'a self, _: &'a Letter) -> BoxFuture<'a, Result<Stored, Fault>> {
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

    fn close<'a>(&'a self, _: &'a LetterId, _: u32, _: &'a Closing) -> BoxFuture<'a, Result<bool, Fault>> {
        unreachable!("nothing closes here")
    }

    fn edit<'a>(&'a self, _: &'a LetterId, _: u32, _: &'a Bytes) -> BoxFuture<'a, Result<bool, Fault>> {
        unreachable!("nothing edits here")
    }

    fn original<'a>(&'a self, _: &'a LetterId) -> BoxFuture<'a, Result<Option<Bytes>, Fault>> {
        async { Ok(None) }.boxed()
    }

    fn audit<'a>(&'a self, _: &'a AuditEntry) -> BoxFuture<'a, Result<(), Fault>> {
        unreachable!("nothing is done here")
    }

    fn trail(&self) -> BoxStream<'_, Result<AuditEntry, Fault>> {
        let entry = |letter: Option<LetterId>| AuditEntry {
            at: 1_750_000_000,
            by: "kim".to_owned(),
            action: "apply".to_owned(),
            letter,
            result: "replayed\u{1b}".to_owned(),
        };
        stream::iter([Ok(entry(None))]).boxed()
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
    let office = Office { store: Arc::new(letters.clone()), known, desk: None };
    let done = execute(&cli.replay.command, &office, &mut out).await;
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
async fn gauges_have_every_projection_and_are_whole_or_not_at_all() {
    let (done, text) = replay("list --prometheus", &three()).await;
    done.unwrap();
    for line in [
        "millstream_letters{projection=\"a\",state=\"open\"} 2\n",
        "millstream_letters{projection=\"b\",state=\"open\"} 0\n",
        "millstream_letters{projection=\"gone\",state=\"open\"} 1\n",
        "millstream_oldest_letter_seconds{projection=\"b\"} 0\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    replay("list --prometheus", &Memory(Vec::new())).await.0.unwrap();
    let damaged = Fault::new(FaultKind::Rejected, "x.json is damaged");
    let (done, text) = replay("list --prometheus", &Memory(vec![Err(damaged), Ok(letter(1, "a"))])).await;
    assert!(matches!(&done, Err(Failure::Failed(_))) && text.is_empty(), "{done:?} {text}");
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

#[tokio::test]
async fn filters_by_key_time_and_state_hold_and_wrong_ones_say_what_is_right() {
    let digest = letter(1, "a").head.digest.unwrap();
    for (words, lines) in [
        (format!("list --ids --key {digest}"), 1),
        (r#"list --ids --key {"pk":"nobody"}"#.to_owned(), 0),
        ("list --ids --since 2025-06-15T15:06:42Z".to_owned(), 2),
        ("list --ids --until 2025-06-15T15:06:42Z".to_owned(), 1),
        ("list --ids --state held,open".to_owned(), 3),
        ("list --ids --state discarded".to_owned(), 0),
    ] {
        let (done, text) = replay(&words, &three()).await;
        done.unwrap();
        assert_eq!(text.lines().count(), lines, "{words}: {text}");
    }
    for (words, says) in [
        ("list --key ?", "--key"),
        ("list --key {}", "--key"),
        ("list --since yesterday", "2h for two hours ago"),
        ("list --until 2025-02-30", "--until"),
    ] {
        let (done, _) = replay(words, &three()).await;
        assert!(matches!(&done, Err(Failure::Usage(text)) if text.contains(says)), "{words}: {done:?}");
    }
}

#[tokio::test]
async fn an_export_has_the_records_and_a_log_obeys_no_terminal() {
    let (done, text) = replay("export --projection a", &three()).await;
    done.unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["record"]["not"]), (2, &"a change".into()));
    let (_, log) = replay("log", &three()).await;
    assert_eq!(log, "2025-06-15T15:06:40Z  kim  apply     -  replayed \n");
    let (_, log) = replay("log --json", &three()).await;
    assert_eq!(serde_json::from_str::<AuditEntry>(&log).unwrap().by, "kim");
}

#[test]
fn wrong_usage_is_told_before_anything_is_opened() {
    for words in
        ["apply --rate 0/s", "apply --rate x", "apply --limit 0", "discard", "discard x", "import", "edit"]
    {
        let error = Cli::try_parse_from(std::iter::once("replay").chain(words.split(' '))).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words}");
    }
    // What nobody means is told with the flag and what it takes, and reaches no clock.
    for rate in ["1e-19/s", "0.5/h", "1e300/s", "inf/s", "NaN/s", "-1/s", "0"] {
        let error = Cli::try_parse_from(["replay", "apply", "--rate", rate]).unwrap_err();
        let told = error.to_string();
        assert_eq!(error.exit_code(), 2, "{rate}");
        assert!(told.contains("--rate") && told.contains("from 1/h to 100000/s"), "{rate}: {told}");
    }
    let error = Cli::try_parse_from(["replay", "import", "s3://x"]).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("s3://bucket/prefix"), "{error}");
    for words in [
        "apply --rate 20/s",
        "apply --rate 1/h",
        "apply --rate 100000/s",
        "import s3://failures/aws/lambda/",
        "apply --rate 0.5",
        "apply plan.json --yes",
        "discard a b --reason why",
    ] {
        Cli::try_parse_from(std::iter::once("replay").chain(words.split(' '))).unwrap();
    }
}
