//! What pollers agree on: who owns which shard, through lost replies, conflicts and races. The contract is kept by the table,
//! over the real protocol, and by the store in memory for runs that have to be quick.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails has to fail its test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use millstream_processor::clock::Clock;
use millstream_processor::outcome::FaultKind;
use millstream_processor::poller::acks::Acks;
use millstream_processor::poller::lineage::{Listed, to_add};
use millstream_processor::poller::state::table::TableState;
use millstream_processor::poller::state::{
    Checkpoint, Child, Claim, GapRow, Held, Session, ShardRow, ShardState, StateStore, WorkerRow,
};
use millstream_processor::projections::config::Config;
use millstream_processor::setup::create_tables;
use millstream_processor::wiring::Aws;
use millstream_test_support::embedded::{Embedded, START};
use millstream_test_support::faults::{Fault, Rule};
use serde_json::{Value, json};

use memory_state::MemoryState;

#[path = "poller_memory/state.rs"]
mod memory_state;

const TABLE: &str = "dev-state";
const STREAM: &str = "arn:aws:dynamodb:eu-west-1:0:table/Orders/stream/2025-06-15T15:06:40.000";
const DAY: u64 = 86_400;
const CONFIG: &str = r#"
[state]
prefix = "dev-"
[source.orders]
table = "Orders"
[projection.accounting]
kind = "replica"
from = "orders"
table = "Accounting"
key = { orderId = "{orderId}" }
set = { total = "{total}" }
"#;

/// The contract: every store has to keep it.
macro_rules! kept_by_every_store {
    ($($case:ident,)*) => {
        mod in_a_table {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::World::in_a_table().await).await;
            })*
        }
        mod in_memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::World::in_memory()).await;
            })*
        }
    };
}

kept_by_every_store! {
    a_shard_comes_back_as_it_was_written,
    rows_that_are_known_stay_as_they_are,
    the_streams_of_a_table_are_remembered_in_their_order,
    a_worker_beats_leaves_and_keeps_its_mail,
    a_shard_is_claimed_from_nobody_and_from_the_dead_alone,
    of_many_that_claim_one_shard_exactly_one_has_it,
    many_shards_change_their_owner_together_and_one_that_cannot_holds_up_no_other,
    what_is_done_for_good_is_not_claimed,
    a_checkpoint_after_a_take_over_is_lost,
    a_shard_is_handed_over_only_to_who_stays,
    the_end_of_a_shard_brings_its_children_in_one_transaction,
    a_shard_without_children_ends_again_and_can_be_handed_over,
    a_gap_is_recorded_once_and_halts_if_it_shall,
    a_write_whose_reply_was_lost_is_done_when_it_is_repeated,
    a_repeated_write_that_another_has_overtaken_is_lost,
}

#[tokio::test]
async fn setup_makes_the_table_for_what_a_poller_can_read() {
    let world = World::in_a_table().await;
    let described = world.db().perform("DescribeTable", json!({ "TableName": TABLE })).await;
    let keys = described["Table"]["KeySchema"].as_array().unwrap();
    let keys: Vec<&str> = keys.iter().filter_map(|key| key["AttributeName"].as_str()).collect();
    assert_eq!(keys, ["consumer", "row"]);
    let ttl = world.db().perform("DescribeTimeToLive", json!({ "TableName": TABLE })).await;
    assert_eq!(ttl["TimeToLiveDescription"]["AttributeName"], "expires");
    let topic = CONFIG.replace("table = \"Orders\"", "topic = \"arn:aws:sns:eu-west-1:000000000000:orders\"");
    let config = Config::parse("test.toml", &topic, &|_| None).unwrap();
    let made = create_tables(&config, &Aws::from_config(Embedded::new().backstage())).await.unwrap();
    assert!(!made.contains(&TABLE.to_owned()), "{made:?}");
}

async fn a_shard_comes_back_as_it_was_written(world: World) {
    let full = ShardRow {
        parent: Some("p".into()),
        owner: Some(session("a")),
        epoch: 7,
        checkpoint: Checkpoint::After("49100000000000000000001".to_owned()),
        acks: Acks::from_text("49100000000000000000003-49100000000000000000005"),
        trouble: Some("the table Accounting is missing".to_owned()),
        behind_since: Some(START - 7),
        ..shard("full")
    };
    let since = ShardRow { checkpoint: Checkpoint::Since(START), state: ShardState::Gap, ..shard("since") };
    let all = [full, since, ShardRow { state: ShardState::EndedNoChildren, ..shard("x") }];
    world.state.add(STREAM, &all).await.unwrap();
    assert_eq!(world.state.shards(STREAM).await.unwrap(), all);
    assert!(world.state.shards("another").await.unwrap().is_empty());
    let other = world.consumer("other");
    assert!(other.shards(STREAM).await.unwrap().is_empty(), "consumers share a table and nothing else");
}

async fn rows_that_are_known_stay_as_they_are(world: World) {
    world.own("s", "a").await;
    let before = world.state.shards(STREAM).await.unwrap();
    world.state.add(STREAM, &[shard("s"), shard("t")]).await.unwrap();
    assert_eq!(world.row("s").await, before[0]);
    assert_eq!(world.row("t").await, shard("t"));
}

async fn the_streams_of_a_table_are_remembered_in_their_order(world: World) {
    let table = STREAM.split_once("/stream/").unwrap().0;
    let later = STREAM.replace("2025-06-15", "2025-06-16");
    let other = STREAM.replace("Orders", "OrdersOfOthers");
    for stream in [&later, STREAM, &other, STREAM] {
        world.state.add(stream, &[shard("s")]).await.unwrap();
    }
    world.state.add(&STREAM.replace("2025-06-15", "2025-06-17"), &[]).await.unwrap();
    assert_eq!(world.state.streams(table).await.unwrap(), [STREAM.into(), Arc::from(later)]);
}

#[tokio::test]
async fn many_shards_are_listed_over_pages_and_never_scanned() {
    let world = World::in_a_table().await;
    let acks =
        (0..20).map(|n| format!("{n:040}-{n:040}")).collect::<Vec<_>>().join(",").replace("0000-", "0009-");
    let many = (0..1_200).map(|n| ShardRow {
        acks: Acks::from_text(&acks),
        trouble: Some("x".repeat(900)),
        ..shard(&format!("shardId-{n:020}-{:08x}", n * 7_919))
    });
    let many: Vec<ShardRow> = many.collect();
    world.state.add(STREAM, &many).await.unwrap();
    world.db().clear_requests();
    assert_eq!(world.state.shards(STREAM).await.unwrap().len(), 1_200);
    let requests = world.db().requests();
    assert!(requests.len() > 1, "more than 1 MB is more than one page");
    assert!(requests.iter().all(|it| it.operation == "Query" && it.body["ConsistentRead"] == true));
}

#[tokio::test]
async fn parents_are_added_before_their_children() {
    let world = World::in_a_table().await;
    let listed: Vec<Listed> = (0..30_u32)
        .rev()
        .map(|n| Listed {
            shard: format!("s{n}").into(),
            parent: (n >= 10).then(|| format!("s{}", n - 10).into()),
            first: None,
            closed: n < 20,
        })
        .collect();
    world.db().clear_requests();
    // However they are given.
    let mut rows = to_add(&listed, &[], &Checkpoint::TrimHorizon, START);
    rows.reverse();
    world.state.add(STREAM, &rows).await.unwrap();
    let rows: Vec<String> =
        world.db().requests().iter().map(|it| text(&it.body["Item"]["row"]["S"])).collect();
    let place = |n: u32| rows.iter().position(|row| *row == format!("shard/s{n}")).unwrap();
    assert!((10..30).all(|n| place(n - 10) < place(n)), "{rows:?}");
}

async fn a_worker_beats_leaves_and_keeps_its_mail(world: World) {
    let row = world.beat("a", 1).await;
    assert_eq!(world.state.workers().await.unwrap(), std::slice::from_ref(&row));
    let claim = world.own("s", "b").await;
    assert_eq!(world.state.hand_over(&claim, Some(&session("a"))).await.unwrap(), Held::Done);
    world.clock.advance(60);
    let drains = WorkerRow { draining: true, heartbeat: 2, mail: 0, ..row.clone() };
    world.state.beat(&drains).await.unwrap();
    let seen = world.state.workers().await.unwrap();
    assert_eq!(seen, [WorkerRow { mail: 1, ..drains.clone() }], "a heartbeat does not take the mail away");
    assert_eq!(world.expires("workers", "worker/a").await, Some(START + 60 + DAY));
    // A heartbeat that was on its way for long sets nothing back.
    world.state.beat(&row).await.unwrap();
    assert_eq!(world.state.workers().await.unwrap(), seen);
    for _ in 0..2 {
        world.state.leave(&session("a")).await.unwrap();
        assert!(world.state.workers().await.unwrap().is_empty());
    }
}

async fn a_shard_is_claimed_from_nobody_and_from_the_dead_alone(world: World) {
    let dead = world.beat("dead", 5).await;
    let free = world.free("s").await;
    assert_eq!(world.claim(&free, None, "dead").await, Held::Done);
    let seen = world.row("s").await;
    assert_eq!((seen.owner.clone(), seen.epoch), (Some(session("dead")), 1));
    assert_eq!(world.claim(&seen, None, "a").await, Held::Lost, "nobody saw it dead, and it has a row");
    let moved = WorkerRow { heartbeat: 4, ..dead.clone() };
    assert_eq!(world.claim(&seen, Some(&moved), "a").await, Held::Lost, "its heartbeat moved");
    let stranger = WorkerRow { session: session("stranger"), ..dead.clone() };
    assert_eq!(world.claim(&seen, Some(&stranger), "a").await, Held::Lost, "another one is dead");
    assert_eq!(world.row("s").await, seen, "nothing was written");
    assert_eq!(world.claim(&seen, Some(&dead), "a").await, Held::Done);
    assert_eq!(world.claim(&free, None, "b").await, Held::Lost, "its row is not as it was seen");
    assert_eq!(world.claim(&seen, Some(&dead), "b").await, Held::Lost);
    let gone = world.row("s").await;
    assert_eq!((gone.owner.clone(), gone.epoch), (Some(session("a")), 2));
    assert_eq!(world.claim(&gone, None, "b").await, Held::Done, "the owner has no row any more");
}

async fn of_many_that_claim_one_shard_exactly_one_has_it(world: World) {
    for from_the_dead in [false, true] {
        let world = world.fresh().await;
        let dead = world.beat("dead", 9).await;
        let seen = match from_the_dead {
            false => world.free("s").await,
            true => {
                world.own("s", "dead").await;
                world.row("s").await
            }
        };
        let names: Vec<String> = (0..8).map(|n| format!("w{n}")).collect();
        let claims = names.iter().map(|name| {
            let (world, seen, dead) = (&world, &seen, &dead);
            async move { world.claim(seen, from_the_dead.then_some(dead), name).await }
        });
        let held = join_all(claims).await;
        let winners: Vec<_> = names.iter().zip(&held).filter(|(_, held)| **held == Held::Done).collect();
        assert_eq!(winners.len(), 1, "{held:?}");
        let row = world.row("s").await;
        assert_eq!((row.owner, row.epoch), (Some(session(winners[0].0)), seen.epoch + 1));
    }
}

async fn many_shards_change_their_owner_together_and_one_that_cannot_holds_up_no_other(world: World) {
    let (dead, _) = (world.beat("a", 4).await, world.beat("b", 1).await);
    let free: Vec<ShardRow> = (0..250).map(|number| shard(&format!("s{number:03}"))).collect();
    world.state.add(STREAM, &free).await.unwrap();
    assert_eq!(world.state.claim_all(STREAM, &free, None, &dead.session).await.unwrap(), [Held::Done; 250]);

    // One of them has gone elsewhere since it was seen.
    let seen = world.state.shards(STREAM).await.unwrap();
    assert_eq!(world.state.hand_over(&claim("s120", "a", 1), None).await.unwrap(), Held::Done);
    let before = world.transactions();
    let held = world.state.claim_all(STREAM, &seen, Some(&dead), &session("b")).await.unwrap();
    let lost: Vec<usize> = (0..250).filter(|place| held[*place] == Held::Lost).collect();
    assert_eq!(lost, [120]);
    if let Some((now, before)) = world.transactions().zip(before) {
        assert_eq!(now - before, 4, "of a hundred each, and the one that was refused again");
    }

    // Back to one that takes no more shards: none goes.
    let claims: Vec<Claim> =
        seen.iter().filter(|row| *row.shard != *"s120").map(|row| claim(&row.shard, "b", 2)).collect();
    let held = world.state.hand_over_all(&claims, Some(&session("gone"))).await.unwrap();
    assert_eq!(held, [Held::Lost; 249]);
    let held = world.state.hand_over_all(&claims, Some(&dead.session)).await.unwrap();
    assert_eq!(held, [Held::Done; 249]);
    let row = world.state.workers().await.unwrap().into_iter().find(|row| row.session == dead.session);
    assert!(row.as_ref().is_some_and(|row| row.mail > 0), "{row:?}");
    if world.transactions().is_some() {
        assert_eq!(row.map(|row| row.mail), Some(3), "one for each transaction");
    }
}

async fn what_is_done_for_good_is_not_claimed(world: World) {
    let ended = ShardRow { state: ShardState::Ended, ..shard("s") };
    assert_eq!(world.claim(&ended, None, "a").await, Held::Lost);
    // Where something was lost, someone may decide that what is left is read.
    let gap = ShardRow { state: ShardState::Gap, ..shard("g") };
    world.state.add(STREAM, std::slice::from_ref(&gap)).await.unwrap();
    assert_eq!(world.claim(&gap, None, "a").await, Held::Done);
    assert_eq!(world.row("g").await.state, ShardState::Open);
    // A checkpoint that came after the row was seen is not undone.
    let free = world.free("f").await;
    let moved = ShardRow { checkpoint: Checkpoint::After("1".to_owned()), ..free.clone() };
    assert_eq!(world.claim(&moved, None, "a").await, Held::Lost);
    assert_eq!(world.claim(&free, None, "a").await, Held::Done);
    let childless = ShardRow { state: ShardState::EndedNoChildren, ..shard("c") };
    world.state.add(STREAM, std::slice::from_ref(&childless)).await.unwrap();
    assert_eq!(world.claim(&childless, None, "a").await, Held::Done, "somebody has to ask for its children");
    // It ended for good after it was seen.
    let seen = world.row("c").await;
    assert_eq!(world.state.end(&claim("c", "a", 1), &[child("d")]).await.unwrap(), Held::Done);
    assert_eq!(world.claim(&seen, None, "b").await, Held::Lost);
}

async fn a_checkpoint_after_a_take_over_is_lost(world: World) {
    let old = world.own("s", "a").await;
    let at = Checkpoint::After("100".to_owned());
    let acks = Acks::from_text("102-104");
    assert_eq!(
        world.state.checkpoint(&old, &at, &acks, Some("no table"), Some(7)).await.unwrap(),
        Held::Done
    );
    let row = world.row("s").await;
    assert_eq!((&row.checkpoint, &row.acks, row.trouble.as_deref()), (&at, &acks, Some("no table")));
    assert_eq!(row.behind_since, Some(7));
    assert_eq!(world.claim(&row, None, "b").await, Held::Done);
    let taken = world.row("s").await;
    let late = Checkpoint::After("200".to_owned());
    let none = Acks::default();
    assert_eq!(world.state.checkpoint(&old, &late, &none, None, None).await.unwrap(), Held::Lost);
    assert_eq!(world.state.hand_over(&old, None).await.unwrap(), Held::Lost);
    assert_eq!(world.state.end(&old, &[]).await.unwrap(), Held::Lost);
    assert_eq!(world.state.end(&old, &[child("c")]).await.unwrap(), Held::Lost);
    for halt in [false, true] {
        assert_eq!(world.state.gap(&old, &gap("s"), halt).await.unwrap(), Held::Lost);
    }
    assert_eq!(world.state.shards(STREAM).await.unwrap(), [taken], "nothing was written");
    assert!(world.state.gaps(STREAM).await.unwrap().is_empty());
    // The same session, back after another had it: the epoch tells.
    let back = Claim { owner: session("b"), ..old };
    assert_eq!(world.state.checkpoint(&back, &late, &none, None, None).await.unwrap(), Held::Lost);
    let now = Claim { epoch: 2, ..back };
    assert_eq!(world.state.checkpoint(&now, &late, &none, None, None).await.unwrap(), Held::Done);
    let row = world.row("s").await;
    assert_eq!((row.checkpoint, row.acks, row.trouble, row.behind_since), (late, none, None, None));
    // Who reads the next row is told nothing of a shard that is done.
    world.state.checkpoint(&now, &at, &Acks::default(), None, Some(7)).await.unwrap();
    assert_eq!(world.state.end(&now, &[child("c")]).await.unwrap(), Held::Done);
    assert_eq!(world.row("s").await.behind_since, None);
}

async fn a_shard_is_handed_over_only_to_who_stays(world: World) {
    let claim = world.own("s", "a").await;
    assert_eq!(
        world.state.hand_over(&claim, Some(&session("b"))).await.unwrap(),
        Held::Lost,
        "it is not there"
    );
    let row = world.beat("b", 1).await;
    let drains = WorkerRow { draining: true, heartbeat: 2, ..row.clone() };
    world.state.beat(&drains).await.unwrap();
    assert_eq!(
        world.state.hand_over(&claim, Some(&session("b"))).await.unwrap(),
        Held::Lost,
        "it is about to stop"
    );
    assert_eq!(world.row("s").await.owner, Some(session("a")));
    world.beat("c", 1).await;
    assert_eq!(world.state.hand_over(&claim, Some(&session("c"))).await.unwrap(), Held::Done);
    let row = world.row("s").await;
    assert_eq!((row.owner, row.epoch), (Some(session("c")), 2));
    let mail = world.state.workers().await.unwrap().into_iter().map(|row| row.mail).collect::<Vec<_>>();
    assert_eq!(mail, [0, 1]);
    let theirs = Claim { owner: session("c"), epoch: 2, ..claim };
    assert_eq!(world.state.hand_over(&theirs, None).await.unwrap(), Held::Done);
    let row = world.row("s").await;
    assert_eq!((row.owner, row.epoch), (None, 3));
}

async fn the_end_of_a_shard_brings_its_children_in_one_transaction(world: World) {
    let claim = world.own("p", "a").await;
    let known = ShardRow { parent: Some("p".into()), checkpoint: Checkpoint::Since(5), ..shard("known") };
    let theirs = ShardRow { owner: Some(session("b")), epoch: 3, ..shard("theirs") };
    let done = ShardRow { state: ShardState::Ended, ..shard("done") };
    world.state.add(STREAM, &[known.clone(), theirs.clone(), done.clone()]).await.unwrap();
    world.clock.advance(100);
    world.forget_requests();
    let children = ["c1", "known", "theirs", "done", "c2"].map(child);
    assert_eq!(world.state.end(&claim, &children).await.unwrap(), Held::Done);
    if let Some(transactions) = world.transactions() {
        assert_eq!(transactions, 2, "asked again without the one that is done");
    }
    assert_eq!(world.row("p").await.state, ShardState::Ended);
    assert_eq!(world.expires(STREAM, "shard/p").await, Some(START + 100 + 2 * DAY));
    for name in ["c1", "c2"] {
        let child = ShardRow {
            parent: Some("p".into()),
            owner: Some(session("a")),
            epoch: 1,
            checkpoint: Checkpoint::From("7".to_owned()),
            written_at: START + 100,
            ..shard(name)
        };
        assert_eq!(world.row(name).await, child);
        assert_eq!(world.expires(STREAM, &format!("shard/{name}")).await, None);
    }
    let known = ShardRow { owner: Some(session("a")), ..known };
    assert_eq!(world.row("known").await, known, "it was nobody's");
    for kept in [&theirs, &done] {
        let mut row = world.row(&kept.shard).await;
        row.parent.clone_from(&kept.parent);
        assert_eq!(row, *kept);
    }
    // Once more, with a child that a first listing lacked.
    assert_eq!(world.state.end(&claim, &[child("c1"), child("late")]).await.unwrap(), Held::Done);
    assert_eq!(world.row("late").await.owner, Some(session("a")));
    assert_eq!(world.state.end(&claim, &[]).await.unwrap(), Held::Done);
    assert_eq!(world.row("p").await.state, ShardState::Ended, "its children stay known");
}

async fn a_shard_without_children_ends_again_and_can_be_handed_over(world: World) {
    let claim = world.own("p", "a").await;
    assert_eq!(world.state.end(&claim, &[]).await.unwrap(), Held::Done);
    world.clock.advance(DAY);
    assert_eq!(world.state.end(&claim, &[]).await.unwrap(), Held::Done);
    assert_eq!(world.row("p").await.state, ShardState::EndedNoChildren);
    assert_eq!(
        world.expires(STREAM, "shard/p").await,
        Some(START + 2 * DAY),
        "it is not remembered for ever"
    );
    world.beat("b", 1).await;
    assert_eq!(world.state.hand_over(&claim, Some(&session("b"))).await.unwrap(), Held::Done);
    let theirs = Claim { owner: session("b"), epoch: 2, ..claim };
    assert_eq!(world.state.end(&theirs, &[child("c")]).await.unwrap(), Held::Done);
    assert_eq!(world.row("c").await.owner, Some(session("b")));
    assert_eq!(world.state.hand_over(&theirs, None).await.unwrap(), Held::Lost, "it has ended for good");
}

async fn a_gap_is_recorded_once_and_halts_if_it_shall(world: World) {
    let claim = world.own("s", "a").await;
    let at = Checkpoint::After("100".to_owned());
    world.state.checkpoint(&claim, &at, &Acks::default(), None, None).await.unwrap();
    assert_eq!(world.state.gap(&claim, &gap("s"), false).await.unwrap(), Held::Done);
    assert_eq!(world.row("s").await.checkpoint, at, "what is not done is not said to be");
    let again = GapRow { found_at: START + 500, before: Some("150".to_owned()), ..gap("s") };
    assert_eq!(world.state.gap(&claim, &again, true).await.unwrap(), Held::Done);
    let found = GapRow { found_at: START, ..again.clone() };
    let whole = GapRow { after: None, before: None, ..gap("s") };
    let other = world.own("t/u", "a").await;
    let elsewhere = GapRow { shard: "t/u".into(), ..whole };
    assert_eq!(world.state.gap(&other, &elsewhere, true).await.unwrap(), Held::Done);
    assert_eq!(world.state.gaps(STREAM).await.unwrap(), [found, elsewhere]);
    let row = world.row("s").await;
    assert_eq!((row.state, row.owner, row.epoch), (ShardState::Gap, None, 2));
    assert_eq!(world.expires(STREAM, &format!("gap/s/{:0>40}", 100)).await, Some(START + 30 * DAY));
    assert_eq!(world.state.checkpoint(&claim, &at, &Acks::default(), None, None).await.unwrap(), Held::Lost);
}

/// Each write, sent again after its reply was lost: it is done, and done once.
async fn a_write_whose_reply_was_lost_is_done_when_it_is_repeated(world: World) {
    for halt in [false, true] {
        let world = world.fresh().await;
        let (dead, _) = (world.beat("dead", 3).await, world.beat("b", 1).await);
        let free = world.free("s").await;
        world.twice("UpdateItem", Held::Done, || world.state.claim(STREAM, &free, None, &dead.session)).await;
        let seen = world.row("s").await;
        let a = session("a");
        world.twice("Transact", Held::Done, || world.state.claim(STREAM, &seen, Some(&dead), &a)).await;
        let mine = claim("s", "a", 2);
        let at = Checkpoint::After("100".to_owned());
        let none = Acks::default();
        world.twice("UpdateItem", Held::Done, || world.state.checkpoint(&mine, &at, &none, None, None)).await;
        let b = session("b");
        world.twice("Transact", Held::Done, || world.state.hand_over(&mine, Some(&b))).await;
        let theirs = claim("s", "b", 3);
        assert_eq!(world.state.workers().await.unwrap()[0].mail, 1, "handed over once");
        world.twice("Transact", Held::Done, || world.state.gap(&theirs, &GAP, halt)).await;
        assert_eq!(world.state.gaps(STREAM).await.unwrap().len(), 1);
        if halt {
            assert_eq!(world.row("s").await.epoch, 4);
            continue;
        }
        world.twice("UpdateItem", Held::Done, || world.state.end(&theirs, &[])).await;
        let children = [child("c"), child("d")];
        world.twice("Transact", Held::Done, || world.state.end(&theirs, &children)).await;
        let rows = world.state.shards(STREAM).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.epoch).collect::<Vec<_>>(), [1, 1, 3]);
        let child = claim("c", "b", 1);
        world.twice("UpdateItem", Held::Done, || world.state.hand_over(&child, None)).await;
        assert_eq!(world.row("c").await.epoch, 2);
    }
}

async fn a_repeated_write_that_another_has_overtaken_is_lost(world: World) {
    world.beat("b", 1).await;
    let mine = world.own("s", "a").await;
    world.lose_reply("UpdateItem", || world.state.hand_over(&mine, None)).await;
    assert_eq!(world.claim(&world.row("s").await, None, "b").await, Held::Done);
    assert_eq!(world.state.hand_over(&mine, None).await.unwrap(), Held::Lost);
    assert_eq!(world.row("s").await.owner, Some(session("b")));
}

#[tokio::test]
async fn what_fails_says_what_it_is_and_writes_nothing() {
    let world = World::in_a_table().await;
    let (dead, claim) = (world.beat("dead", 3).await, world.own("s", "dead").await);
    let seen = world.row("s").await;
    let faults = [
        (Fault::TransactionConflict, FaultKind::Conflict),
        (Fault::Cancelled("ThrottlingError"), FaultKind::Throttled),
        (Fault::Throttle, FaultKind::Throttled),
        (Fault::InternalError, FaultKind::Unavailable),
        (Fault::Timeout, FaultKind::Unavailable),
        (Fault::AccessDenied, FaultKind::Misconfigured),
        (Fault::TableMissing, FaultKind::Misconfigured),
    ];
    for (wire, kind) in faults {
        let rule = world.db().faults().add(Rule::any(wire.clone()));
        let a = session("a");
        let claimed = world.state.claim(STREAM, &seen, Some(&dead), &a).await.unwrap_err();
        assert_eq!(claimed.kind, kind, "{wire:?}: {claimed}");
        assert!(claimed.to_string().contains(TABLE), "{claimed}");
        let single =
            world.state.checkpoint(&claim, &Checkpoint::TrimHorizon, &Acks::default(), None, None).await;
        // Alone, a write has no reasons of a cancelled transaction to read.
        if !matches!(wire, Fault::Cancelled(_)) {
            assert_eq!(single.unwrap_err().kind, kind, "{wire:?}");
        }
        assert!(world.state.workers().await.unwrap_err().to_string().contains(TABLE), "{wire:?}");
        world.db().faults().remove(rule);
        assert_eq!(world.row("s").await, seen);
    }
}

#[tokio::test]
async fn a_damaged_row_is_named() {
    let world = World::in_a_table().await;
    let item = json!({ "consumer": format!("shop/{STREAM}"), "row": "shard/s", "state": "open", "epoch": 1, "writtenAt": 1 });
    let damages = [("checkpoint", json!("somewhere")), ("state", json!("asleep")), ("epoch", json!("many"))];
    for (name, damage) in damages {
        let mut item = item.clone();
        item["checkpoint"] = json!("trim-horizon");
        item[name] = damage;
        world.db().put(TABLE, item).await;
        let refused = world.state.shards(STREAM).await.unwrap_err();
        assert_eq!(refused.kind, FaultKind::Misconfigured);
        let words = refused.to_string();
        assert!(words.contains("shard/s") && words.contains(name) && words.contains(TABLE), "{words}");
    }
}

static GAP: std::sync::LazyLock<GapRow> = std::sync::LazyLock::new(|| gap("s"));

struct World {
    kept: Kept,
    clock: Arc<ManualClock>,
    state: Arc<dyn StateStore>,
}

/// Where the state is kept.
enum Kept {
    Table(Embedded),
    Memory(MemoryState),
}

impl World {
    async fn in_a_table() -> Self {
        let db = Embedded::new();
        let config = Config::parse("test.toml", CONFIG, &|_| None).unwrap();
        let made = create_tables(&config, &Aws::from_config(db.backstage())).await.unwrap();
        assert!(made.contains(&TABLE.to_owned()), "{made:?}");
        let clock = Arc::new(ManualClock(AtomicU64::new(START)));
        let state = TableState::new(db.dynamodb(), TABLE.into(), "shop".into(), clock.clone());
        Self { kept: Kept::Table(db), clock, state: Arc::new(state) }
    }

    fn in_memory() -> Self {
        let clock = Arc::new(ManualClock(AtomicU64::new(START)));
        let state = MemoryState::new("shop", clock.clone());
        Self { kept: Kept::Memory(state.clone()), clock, state: Arc::new(state) }
    }

    /// Another one of the same kind.
    async fn fresh(&self) -> Self {
        match self.kept {
            Kept::Table(_) => Self::in_a_table().await,
            Kept::Memory(_) => Self::in_memory(),
        }
    }

    fn db(&self) -> &Embedded {
        match &self.kept {
            Kept::Table(db) => db,
            Kept::Memory(_) => panic!("only a table has a database"),
        }
    }

    /// How many transactions there were, if this is a table.
    fn transactions(&self) -> Option<usize> {
        match &self.kept {
            Kept::Table(db) => Some(db.faults().count("TransactWriteItems")),
            Kept::Memory(_) => None,
        }
    }

    fn forget_requests(&self) {
        if let Kept::Table(db) = &self.kept {
            db.clear_requests();
        }
    }

    fn consumer(&self, name: &str) -> Arc<dyn StateStore> {
        match &self.kept {
            Kept::Table(db) => {
                Arc::new(TableState::new(db.dynamodb(), TABLE.into(), name.into(), self.clock.clone()))
            }
            Kept::Memory(state) => Arc::new(state.consumer(name)),
        }
    }

    async fn beat(&self, name: &str, heartbeat: u64) -> WorkerRow {
        let row = WorkerRow {
            session: session(name),
            heartbeat,
            mail: 0,
            ttl_ms: 10_000,
            draining: false,
            host: "host:42".to_owned(),
            version: "0.1.0".to_owned(),
        };
        self.state.beat(&row).await.unwrap();
        if let Kept::Memory(state) = &self.kept {
            assert!(state.is_there(&row.session));
        }
        row
    }

    /// A shard that nobody owns.
    async fn free(&self, name: &str) -> ShardRow {
        self.state.add(STREAM, &[shard(name)]).await.unwrap();
        self.row(name).await
    }

    /// A shard that somebody owns.
    async fn own(&self, name: &str, owner: &str) -> Claim {
        let free = self.free(name).await;
        assert_eq!(self.claim(&free, None, owner).await, Held::Done);
        claim(name, owner, 1)
    }

    async fn claim(&self, seen: &ShardRow, dead: Option<&WorkerRow>, by: &str) -> Held {
        self.state.claim(STREAM, seen, dead, &session(by)).await.unwrap()
    }

    async fn row(&self, name: &str) -> ShardRow {
        let rows = self.state.shards(STREAM).await.unwrap();
        let row = rows.into_iter().find(|row| *row.shard == *name).unwrap();
        if let Kept::Memory(state) = &self.kept {
            assert_eq!(state.row(STREAM, name).as_ref(), Some(&row));
        }
        row
    }

    /// When a row expires, if it ever does.
    async fn expires(&self, place: &str, row: &str) -> Option<u64> {
        match &self.kept {
            Kept::Table(db) => {
                let key = json!({ "consumer": format!("shop/{place}"), "row": row });
                db.get(TABLE, key).await.unwrap()["expires"].as_u64()
            }
            Kept::Memory(state) => state.expires(place, row),
        }
    }

    /// Asks while the reply gets lost, and once more.
    async fn twice<F>(&self, operation: &str, expected: Held, ask: impl Fn() -> F)
    where
        F: Future<Output = Result<Held, millstream_processor::outcome::Fault>>,
    {
        self.lose_reply(operation, &ask).await;
        assert_eq!(ask().await.unwrap(), expected, "{operation}");
    }

    /// Asks, and never hears what became of it.
    async fn lose_reply<F>(&self, operation: &str, ask: impl Fn() -> F)
    where
        F: Future<Output = Result<Held, millstream_processor::outcome::Fault>>,
    {
        let Kept::Table(db) = &self.kept else {
            drop(ask().await);
            return;
        };
        let operation = if operation == "Transact" { "TransactWriteItems" } else { operation };
        let rule = db.faults().add(Rule::on(operation, Fault::LoseReply).first(1));
        let lost = ask().await.unwrap_err();
        assert_eq!((lost.kind, db.faults().fired(rule)), (FaultKind::Unavailable, 1), "{operation}");
        db.faults().remove(rule);
    }
}

fn session(name: &str) -> Session {
    Session(name.into())
}

fn claim(shard: &str, owner: &str, epoch: u64) -> Claim {
    Claim { stream: STREAM.into(), shard: shard.into(), owner: session(owner), epoch }
}

fn shard(name: &str) -> ShardRow {
    ShardRow {
        shard: name.into(),
        parent: None,
        state: ShardState::Open,
        owner: None,
        epoch: 0,
        checkpoint: Checkpoint::TrimHorizon,
        acks: Acks::default(),
        trouble: None,
        behind_since: None,
        written_at: START,
    }
}

/// A child that begins with its first record.
fn child(shard: &str) -> Child {
    Child { shard: shard.into(), begins: Checkpoint::From("7".to_owned()) }
}

fn gap(shard: &str) -> GapRow {
    GapRow { shard: shard.into(), after: Some("100".to_owned()), before: None, found_at: START }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

struct ManualClock(AtomicU64);

impl ManualClock {
    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
