//! The page of a large fleet, of one in trouble, and of nothing at all.

use std::sync::Arc;

use millstream_processor::outcome::{Fault, FaultKind};
use millstream_processor::poller::acks::Acks;
use millstream_processor::poller::state::{ShardRow, WorkerRow};
use millstream_projections::SourceName;
use tokio::time::{Duration, Instant};

use super::super::beats::Beats;
use super::super::letters::ProjectionLetters;
use super::super::view::Rows;
use super::*;

const NOW: u64 = 1_750_000_000;

fn worker(name: &str, heartbeat: u64) -> WorkerRow {
    WorkerRow {
        session: session(name),
        heartbeat,
        mail: 0,
        ttl_ms: 10_000,
        draining: false,
        host: format!("{name}/4711"),
        version: "0.1.0".to_owned(),
    }
}

fn session(name: &str) -> Session {
    Session(format!("{name}-4711-0123456789abcdef").into())
}

fn shard(number: u64, owner: Option<&str>, behind: Option<u64>) -> ShardRow {
    ShardRow {
        shard: format!("shardId-{number:020}-f55eea83").into(),
        parent: None,
        state: ShardState::Open,
        owner: owner.map(session),
        epoch: 1,
        checkpoint: Checkpoint::After("4".repeat(40)),
        acks: Acks::default(),
        trouble: None,
        behind_since: behind.map(|seconds| NOW - seconds),
        written_at: NOW - 200,
    }
}

/// A page over workers, of which those that `moved` were seen to live, and the shards of one stream.
fn of(
    workers: &[&str],
    moved: &[&str],
    rows: Result<Rows, Fault>,
    letters: LettersView,
    all: bool,
) -> String {
    let (start, mut beats) = (Instant::now(), Beats::default());
    beats.observe(workers.iter().map(|name| worker(name, 1)).collect(), start);
    let later = |name: &&str| worker(name, 1 + u64::from(moved.contains(name)));
    beats.observe(workers.iter().map(later).collect(), start);
    let source = SourceName::new("orders").unwrap();
    let is_live = |session: &Session| beats.moved(session);
    let stream = StreamView::new(&source, &Arc::from("Orders"), rows, is_live, NOW);
    let view = View::new(
        &"default".into(),
        &beats,
        vec![stream],
        Vec::new(),
        letters,
        start + Duration::from_secs(300),
    );
    page(&view, all)
}

fn rows(shards: Vec<ShardRow>) -> Result<Rows, Fault> {
    Ok(("arn:aws:dynamodb:eu-west-1:0:table/Orders/stream/x".into(), shards, Vec::new()))
}

fn none() -> LettersView {
    LettersView { store: "table t-letters".to_owned(), fault: None, messages: None, projections: Vec::new() }
}

#[track_caller]
fn check(page: &str, expected: &str) {
    assert_eq!(page.trim_end(), expected.trim(), "\n{page}");
}

#[test]
fn a_fleet_at_work() {
    let shards = vec![
        shard(7, Some("web-1"), None),
        shard(8, Some("web-2"), Some(4)),
        ShardRow { state: ShardState::Ended, ..shard(1, Some("web-1"), None) },
    ];
    let mut letters = none();
    let count = |projection: &str, open, held, oldest_seconds| ProjectionLetters {
        projection: projection.to_owned(),
        open,
        held,
        oldest_seconds,
    };
    letters.projections = vec![count("accounting", 0, 0, None), count("company-changed", 1, 12, Some(7_200))];
    check(
        &of(&["web-1", "web-2"], &["web-1", "web-2"], rows(shards), letters, false),
        "
consumer default
┌────────────┬───────────┬────────┬─────────┐
│ worker     ┆ heartbeat ┆ shards ┆ version │
╞════════════╪═══════════╪════════╪═════════╡
│ web-1/4711 ┆ moves     ┆      1 ┆ 0.1.0   │
│ web-2/4711 ┆ moves     ┆      1 ┆ 0.1.0   │
└────────────┴───────────┴────────┴─────────┘

source orders, table Orders
┌────────────┬─────┬────────────┬────────────┐
│ shard      ┆ lag ┆ checkpoint ┆ read by    │
╞════════════╪═════╪════════════╪════════════╡
│ 8-f55eea83 ┆ 4 s ┆ 3 min ago  ┆ web-2/4711 │
│ 7-f55eea83 ┆ 0 s ┆ 3 min ago  ┆ web-1/4711 │
└────────────┴─────┴────────────┴────────────┘
1 shard before them is read to its end

letters in table t-letters
┌─────────────────┬──────┬──────┬──────────────────────┐
│ projection      ┆ open ┆ held ┆ the oldest waits for │
╞═════════════════╪══════╪══════╪══════════════════════╡
│ company-changed ┆    1 ┆   12 ┆ 2 h                  │
└─────────────────┴──────┴──────┴──────────────────────┘

2 workers; 2 open shards, 1 ended, lag 4 s at most; 13 letters; 0 gaps
",
    );
}

#[test]
fn what_has_to_be_mended_comes_first() {
    let halted = ShardRow { state: ShardState::Gap, owner: None, ..shard(1, None, None) };
    let stuck = ShardRow {
        trouble: Some("the table\nRows is missing".to_owned()),
        ..shard(2, Some("web-1"), Some(90))
    };
    let begins = ShardRow { checkpoint: Checkpoint::Since(NOW), ..shard(3, Some("web-9"), None) };
    let childless = ShardRow { state: ShardState::EndedNoChildren, ..shard(4, Some("web-2"), None) };
    let late = shard(5, Some("web-1"), Some(7_300));
    let queue = LettersView { store: "queue https://q/x".to_owned(), messages: Some(3), ..none() };
    let shards = vec![begins, late, childless, stuck, halted, shard(6, None, None)];
    check(
        &of(&["web-1", "web-2"], &["web-1"], rows(shards), queue, false),
        "
consumer default
┌────────────┬────────────────────────┬────────┬─────────┐
│ worker     ┆ heartbeat              ┆ shards ┆ version │
╞════════════╪════════════════════════╪════════╪═════════╡
│ web-1/4711 ┆ moves                  ┆      2 ┆ 0.1.0   │
│ web-2/4711 ┆ stands still for 5 min ┆      1 ┆ 0.1.0   │
└────────────┴────────────────────────┴────────┴─────────┘

source orders, table Orders
┌────────────┬──────┬────────────┬────────────────────────────┐
│ shard      ┆  lag ┆ checkpoint ┆ read by                    │
╞════════════╪══════╪════════════╪════════════════════════════╡
│ 1-f55eea83 ┆    – ┆ 3 min ago  ┆ –                          │
│ 2-f55eea83 ┆ 90 s ┆ 3 min ago  ┆ web-1/4711                 │
│ 6-f55eea83 ┆    – ┆ 3 min ago  ┆ –                          │
│ 5-f55eea83 ┆  2 h ┆ 3 min ago  ┆ web-1/4711                 │
│ 3-f55eea83 ┆    – ┆ none yet   ┆ web-9-4711-0123456789abcde │
│            ┆      ┆            ┆ f (gone)                   │
│ 4-f55eea83 ┆    – ┆ 3 min ago  ┆ web-2/4711 (stands still)  │
└────────────┴──────┴────────────┴────────────────────────────┘
shard 1-f55eea83: stands still at a gap, until an operator decides
shard 2-f55eea83: the table Rows is missing
shard 3-f55eea83: begins with 2025-06-15T15:06:40Z
shard 4-f55eea83: has ended, and its children are not listed yet

letters in queue https://q/x: about 3 messages; `millstream replay list` counts the letters

2 workers, 1 not seen to move; 6 open shards, 2 read by nobody, 2 in trouble, lag 2 h at most; 0 gaps
",
    );
}

#[test]
fn a_thousand_shards_with_long_names_fit_a_terminal() {
    let host = "orders-poller-deployment-7c9d8b6f5d-x2x4q";
    let shards = || (0..1_000).map(|n| shard(1_750_000_000_000 + n, Some(host), Some(n % 50))).collect();
    let page = of(&[host], &[host], rows(shards()), none(), false);
    let widest = page.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 80 && page.lines().count() < 70, "{widest} columns:\n{page}");
    assert!(page.contains("\nand 980 more, with a lag of 0 s to 48 s: --all shows them\n"), "{page}");
    let page = of(&[host], &[host], rows(shards()), none(), true);
    assert_eq!(page.matches("-f55eea83").count(), 1_000);
    assert!(!page.contains("more"));
}

#[test]
fn nothing_is_there() {
    let fault = || Fault::new(FaultKind::Misconfigured, "table Orders has no stream: switch one on");
    let letters = LettersView { fault: Some("access denied".to_owned()), ..none() };
    check(
        &of(&[], &[], Err(fault()), letters, false),
        "
consumer default
no worker is there

source orders, table Orders
cannot be told: misconfigured: table Orders has no stream: switch one on

letters in table t-letters: cannot be told: access denied

0 workers; 0 open shards; 0 gaps
",
    );
    let page = of(&[], &[], rows(Vec::new()), none(), false);
    assert!(page.contains("no worker has found its shards yet"), "{page}");
    assert!(page.ends_with(
        "letters in table t-letters: none waits\n\n0 workers; 0 open shards; 0 letters; 0 gaps\n"
    ));
}

#[test]
fn a_shards_name_without_what_all_have_in_common() {
    for (name, expected) in [
        ("shardId-00000001414576573621-f55eea83", "1414576573621-f55eea83"),
        ("shardId-00000000000000000000-f55eea83", "00000000000000000000-f55eea83"),
        ("shard-1", "shard-1"),
        ("", ""),
    ] {
        assert_eq!(short(name), expected);
    }
}
