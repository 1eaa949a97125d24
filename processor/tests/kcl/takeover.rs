//! Lease tables as KCL 1, 2 and 3 leave them, read and taken over through the real protocol.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodbstreams::types::Record;
use millstream_processor::clock::Clock;
use millstream_processor::host::poll::{self, TableStream};
use millstream_processor::outcome::{Fault as Failure, FaultKind};
use millstream_processor::poller::kcl::{Order, Plan, Takeover};
use millstream_processor::poller::state::table::TableState;
use millstream_processor::poller::state::{Checkpoint, Held, Session, ShardRow, ShardState, StateStore};
use millstream_processor::projections::config::Config;
use millstream_processor::setup::create_tables;
use millstream_processor::wiring::Aws;
use millstream_test_support::embedded::{Embedded, START, StreamViewType};
use millstream_test_support::faults::{Fault, Rule};
use serde_json::{Value, json};

const LEASES: &str = "orders-app";
const STATE: &str = "dev-state";
const DAY: u64 = 86_400;
const GONE: &str = "shardId-00000001414576573621-f55eea83";
const KCL_1: &str = include_str!("../golden/kcl1.json");
const KCL_2: &str = include_str!("../golden/kcl2.json");
const KCL_3: &str = include_str!("../golden/kcl3.json");
const KCL_3_STREAMS: &str = include_str!("../golden/kcl3_streams.json");
const CONFIG: &str = r#"
[state]
prefix = "dev-"
[source.orders]
table = "Orders"
[source.mail]
table = "Mail"
[projection.accounting]
kind = "replica"
from = "orders"
table = "Accounting"
key = { orderId = "{orderId}" }
set = { total = "{total}" }
[projection.letters]
kind = "replica"
from = "mail"
table = "Accounting"
key = { orderId = "{orderId}" }
set = { total = "{total}" }
"#;

/// What becomes of the stream of [`World`] by each of the golden tables: the tenth record is the newest of shard 2.
#[tokio::test]
async fn leases_of_every_version_are_understood() {
    let rest = "1:ended 2:after-7 3:oldest 4:oldest";
    // KCL 1 keeps leases for hours. Of shard 4 no lease was made yet.
    check(KCL_1, &format!("gone:ended 0:ended {rest}")).await;
    // A lease was dropped: what follows its shard is done. A checkpoint that is pending is none.
    check(KCL_2, &format!("0:ended {rest}")).await;
    check(KCL_3, &format!("0:ended {rest}")).await;
    check(KCL_3_STREAMS, &format!("0:ended {rest}")).await;
}

#[track_caller]
fn check(golden: &'static str, expected: &str) -> impl Future<Output = ()> {
    let (expected, at) = (expected.to_owned(), std::panic::Location::caller());
    async move {
        let world = World::of(golden).await;
        let plan = world.plan().await;
        assert_eq!((plan.refusals.clone(), world.text(&plan)), (Vec::new(), expected.clone()), "{at}");
        world.takeover.write(&plan).await.unwrap();
        let rows = world.rows().await;
        let planned: Vec<ShardRow> = plan.streams[0].shards.iter().map(|shard| shard.row.clone()).collect();
        assert_eq!(sorted(&rows), sorted(&planned), "{at}");
        for row in rows {
            let expires = world.raw(&row.shard).await["expires"].clone();
            let kept = if row.state == ShardState::Ended { json!(START + 2 * DAY) } else { Value::Null };
            assert_eq!(expires, kept, "{at}: ended shards are remembered as long as others");
        }
    }
}

#[tokio::test]
async fn a_plan_tells_who_holds_leases_and_what_is_left() {
    let world = World::of(KCL_3_STREAMS).await;
    let plan = world.plan().await;
    assert_eq!((plan.leases, plan.held_by.len(), plan.streams[0].source.as_str()), (4, 2, "orders"));
    let left: Vec<_> = plan.left.iter().map(|(stream, leases)| (&**stream, *leases)).collect();
    assert_eq!(left, [("000000000000:eu-west-1$000000000000$Archive$2024-01-01T00_00_00.000:1", 1)]);
    assert!(world.rows().await.is_empty(), "a plan writes nothing");
    let writes = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"];
    assert!(writes.iter().all(|write| world.db.faults().count(write) == 0));
}

#[tokio::test]
async fn a_lease_table_is_read_page_by_page_and_consistently() {
    let world = World::of(KCL_2).await;
    for n in 0..40 {
        let shard = format!("shardId-{:020}-{n:08x}", 1_600_000_000_000_u64);
        let mut row = lease(&shard, "SHARD_END");
        row["pendingCheckpointState"] = json!("x".repeat(60_000));
        world.db.put(LEASES, row).await;
    }
    world.db.clear_requests();
    let plan = world.plan().await;
    assert_eq!((plan.leases, plan.refusals), (43, Vec::new()));
    let scans: Vec<_> =
        world.db.requests().into_iter().filter(|request| request.operation == "Scan").collect();
    assert!(scans.len() >= 6, "two looks of three pages: {}", scans.len());
    assert!(scans.iter().all(|scan| scan.body["ConsistentRead"] == true));
}

#[tokio::test]
async fn throttles_and_lost_replies_are_no_end() {
    let world = World::of(KCL_2).await;
    for operation in ["Scan", "DescribeStream", "Query", "PutItem"] {
        world.db.faults().add(Rule::on(operation, Fault::Throttle).first(1));
        world.db.faults().add(Rule::on(operation, Fault::LoseReply).nth(2));
    }
    let plan = world.plan().await;
    world.takeover.write(&plan).await.unwrap();
    assert_eq!(world.rows().await.len(), 5);
}

#[tokio::test]
async fn what_one_listing_lacks_the_other_has() {
    const NONE: &str = r#"{"StreamDescription":{"Shards":[]}}"#;
    for look in [1, 2] {
        let world = World::of(KCL_2).await;
        let lacks = Rule::on("DescribeStream", Fault::Answer(200, NONE)).containing("table/Orders").nth(look);
        let lacks = world.db.faults().add(lacks);
        let plan = world.plan().await;
        let expected = "0:ended 1:ended 2:after-7 3:oldest 4:oldest";
        assert_eq!((plan.refusals.clone(), world.text(&plan)), (Vec::new(), expected.to_owned()));
        assert_eq!(world.db.faults().fired(lacks), 1);
    }
}

#[tokio::test]
async fn what_was_begun_is_completed() {
    let whole = World::of(KCL_1).await;
    whole.takeover.write(&whole.plan().await).await.unwrap();
    let expected = sorted(&whole.rows().await);
    for puts in 1..=expected.len() {
        let world = World::of(KCL_1).await;
        let plan = world.plan().await;
        world.db.faults().add(Rule::on("PutItem", Fault::Crash).nth(puts));
        tokio::select! {
            written = world.takeover.write(&plan) => panic!("it was to be killed: {written:?}"),
            () = world.db.faults().crashed() => {}
        }
        world.db.faults().revive();
        world.db.faults().clear();
        let left = world.plan().await;
        assert_eq!((left.refusals.clone(), left.streams[0].present), (Vec::new(), world.rows().await.len()));
        world.takeover.write(&left).await.unwrap();
        assert_eq!(sorted(&world.rows().await), expected, "killed at put {puts}");
    }
    let again = whole.plan().await;
    assert_eq!((again.refusals.clone(), again.streams[0].present), (Vec::new(), expected.len()));
    whole.takeover.write(&again).await.unwrap();
    assert_eq!(sorted(&whole.rows().await), expected, "nothing is left to do");
}

#[tokio::test]
async fn a_table_in_which_anything_moves_is_refused() {
    let lease = "shardId-00000001700000000000-00000002";
    let worker = "c0b7a7d2-2f0d-4f7f-8a52-5bbf6a9b1d22";
    let moves = [
        // A renewal, a checkpoint, figures of a worker, the leader's heartbeat.
        (
            lease,
            json!({ "leaseCounter": { "N": "132" } }),
            "held by 8f8f0b2a-5c5e-4f0e-9a3e-0d2f3c1e7b11, c0b7a7d2-",
        ),
        (lease, json!({ "checkpoint": { "S": "100000000000000000010" } }), lease),
        (worker, json!({ "lut": { "N": "1750000030" } }), "held by c0b7a7d2-2f0d-4f7f-8a52-5bbf6a9b1d22"),
        ("Leader", json!({ "recordVersionNumber": { "S": "x" } }), "none of them names a worker"),
    ];
    for (key, change, expected) in moves {
        let world = World::of(KCL_3).await;
        let row = world.db.get_typed(LEASES, json!({ "leaseKey": { "S": key } })).await;
        let mut row = row.unwrap();
        row.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let plan = world.plan_with(world.order(), world.db.put_typed(LEASES, row)).await.unwrap();
        let said = refusal(&plan);
        assert!(said.contains("still runs: 1 row moved within 30s") && said.contains(expected), "{said}");
        assert_eq!(plan.streams.len(), 1, "the rest of the plan is told all the same");
        assert_eq!(world.takeover.write(&plan).await.unwrap_err().kind, FaultKind::Misconfigured);
        assert!(world.rows().await.is_empty());
    }
    // A lease that comes, and one that goes.
    for (comes, goes) in [(true, false), (false, true)] {
        let world = World::of(KCL_2).await;
        let pause = async {
            if comes {
                world
                    .db
                    .put(LEASES, self::lease("shardId-00000001700000000000-00000004", "TRIM_HORIZON"))
                    .await;
            }
            if goes {
                world.db.delete(LEASES, json!({ "leaseKey": lease })).await;
            }
        };
        let said = refusal(&world.plan_with(world.order(), pause).await.unwrap());
        assert!(said.contains("1 row moved"), "{said}");
    }
}

#[tokio::test]
async fn a_lease_without_a_place_wants_a_time() {
    for sentinel in ["LATEST", "AT_TIMESTAMP"] {
        let world = World::of(KCL_2).await;
        world.db.put(LEASES, lease("shardId-00000001700000000000-00000004", sentinel)).await;
        let said = refusal(&world.plan().await);
        assert!(said.contains("shardId-00000001700000000000-00000004") && said.contains("--since"), "{said}");
        let order = Order { since: Some(START - 60), ..world.order() };
        let plan = world.plan_with(order, async {}).await.unwrap();
        let expected = "0:ended 1:ended 2:after-7 3:oldest 4:since-1749999940";
        assert_eq!((plan.refusals.clone(), world.text(&plan)), (Vec::new(), expected.to_owned()));
        world.db.clear_requests();
        world.takeover.write(&plan).await.unwrap();
        let puts: Vec<Value> =
            world.db.requests().into_iter().map(|request| request.body["Item"].clone()).collect();
        let last = puts.iter().rfind(|item| item.is_object()).unwrap();
        assert_eq!(
            last["checkpoint"]["S"], "since 1749999940",
            "others would begin with it if this was cut off"
        );
    }
}

#[tokio::test]
async fn what_the_stream_forgot_is_a_gap_that_is_accepted_or_not() {
    let world = World::of(KCL_2).await;
    world.db.put(LEASES, lease(GONE, world.record(2))).await;
    world.db.put(LEASES, lease("shardId-00000001414576573621-00000000", "LATEST")).await;
    let said = refusal(&world.plan().await);
    assert!(said.contains(GONE) && said.contains("lost") && said.contains("--accept-gaps"), "{said}");
    let order = Order { accepts_gaps: true, ..world.order() };
    let plan = world.plan_with(order, async {}).await.unwrap();
    assert_eq!(plan.refusals, []);
    world.takeover.write(&plan).await.unwrap();
    let gaps = world.state.gaps(&world.stream).await.unwrap();
    let after: Vec<_> = gaps.iter().map(|gap| (gap.after.as_deref(), gap.found_at)).collect();
    assert_eq!(after, [(None, START), (Some(world.record(2)), START)]);
    let gone: Vec<_> =
        world.rows().await.into_iter().filter(|row| row.shard.contains("1414576573621")).collect();
    assert!(gone.len() == 2 && gone.iter().all(|row| row.state == ShardState::Ended), "{gone:?}");
}

/// A child that was made a moment ago can be missing from a listing, and an old shard can be there still.
#[tokio::test]
async fn a_shard_that_is_not_listed_is_asked_for() {
    let world = World::of(KCL_2).await;
    world.db.trim_stream("Orders");
    let plan = world.plan().await;
    // Shards 1 and 2 are not listed any more, and of 2 something was not read.
    assert!(refusal(&plan).contains("shardId-00000001700000000000-00000002"), "{}", refusal(&plan));
    world.db.put(LEASES, lease("shardId-00000001700000000000-00000002", world.record(10))).await;
    let plan = world.plan().await;
    assert_eq!(
        (plan.refusals.clone(), world.text(&plan)),
        (Vec::new(), "1:ended 2:after-10 3:oldest 4:oldest".to_owned())
    );
}

#[tokio::test]
async fn a_shard_at_its_end_without_children_waits_for_them() {
    let world = World::of("[]").await;
    world.db.put(LEASES, lease("shardId-00000001700000000000-00000003", "SHARD_END")).await;
    world.db.put(LEASES, lease("shardId-00000001700000000000-00000004", world.record(12))).await;
    let plan = world.plan().await;
    assert_eq!(world.text(&plan), "0:ended 1:ended 2:ended 3:ended-no-children 4:after-12");
    world.takeover.write(&plan).await.unwrap();
    // It is listed by the next time, which changes nothing.
    world.db.roll_shards("Orders");
    let again = world.plan().await;
    assert_eq!((again.refusals.clone(), again.streams[0].present), (Vec::new(), 5));
    assert_eq!(world.text(&again), "0:ended 1:ended 2:ended 3:ended 4:after-12 5:oldest 6:oldest");
}

#[tokio::test]
async fn rows_of_a_poller_that_was_at_work_are_left_alone() {
    let world = World::of(KCL_2).await;
    let plan = world.plan().await;
    world.takeover.write(&plan).await.unwrap();
    let row = world.rows().await.into_iter().find(|row| row.state == ShardState::Open).unwrap();
    let held = world.state.claim(&world.stream, &row, None, &Session("worker".into())).await.unwrap();
    assert_eq!(held, Held::Done);
    let before = world.rows().await;
    let again = world.plan().await;
    let said = refusal(&again);
    assert!(said.contains("consumer shop") && said.contains(&*row.shard), "{said}");
    assert!(said.contains(&format!("shop/{}", world.stream)) && said.contains(STATE), "{said}");
    assert!(world.takeover.write(&again).await.is_err());
    assert_eq!(world.rows().await, before);
    // A poller that comes in between is found afterwards.
    let world = World::of(KCL_2).await;
    let plan = world.plan().await;
    world
        .state
        .add(&world.stream, &[ShardRow { checkpoint: Checkpoint::Since(START), ..row }])
        .await
        .unwrap();
    let refused = world.takeover.write(&plan).await.unwrap_err();
    assert!(refused.to_string().contains("somebody else wrote"), "{refused}");
}

#[tokio::test]
async fn what_is_not_understood_is_refused_by_name() {
    let cases = [
        (
            lease("shardId-1", "49590338271490256608559692538361571095921575989136588898"),
            "`shardId-1` is not understood",
        ),
        (json!({ "leaseKey": "shardId-1", "checkpoint": "LATEST" }), "no `leaseCounter`"),
        (json!({ "leaseKey": "a:b", "leaseCounter": 1, "checkpoint": "SHARD_END" }), "its key is neither"),
        (
            json!({ "leaseKey": "shardId-00000001700000000000-00000004", "leaseCounter": 1, "checkpoint": "SHARD_END" }),
            "",
        ),
    ];
    for (row, because) in cases {
        let world = World::of(KCL_2).await;
        world.db.put(LEASES, row).await;
        let plan = world.plan().await;
        match because {
            "" => assert_eq!(plan.refusals, []),
            because => assert!(refusal(&plan).contains(because), "{}", refusal(&plan)),
        }
    }
    let world = World::of(KCL_2).await;
    let mut row = lease("shardId-00000001700000000000-00000004", "TRIM_HORIZON");
    let parent = json!({ "SS": ["shardId-00000001700000000000-00000001"] });
    row = millstream_test_support::embedded::typed(&row);
    row["parentShardId"] = parent;
    world.db.put_typed(LEASES, row).await;
    assert!(refusal(&world.plan().await).contains("another parent"), "{}", refusal(&world.plan().await));
}

#[tokio::test]
async fn the_stream_of_the_leases_is_found_or_asked_for() {
    let world = World::of("[]").await;
    assert!(refusal(&world.plan().await).contains("has no lease"));
    world.db.put(LEASES, lease(GONE, "SHARD_END")).await;
    let said = refusal(&world.plan().await);
    assert!(
        said.contains("of the 1 leases none is of a shard that source orders and source mail lists"),
        "{said}"
    );
    world.db.put(LEASES, lease("shardId-00000001700000000000-00000000", "SHARD_END")).await;
    assert_eq!(world.plan().await.streams[0].source.as_str(), "orders");
    world.db.put(LEASES, lease("shardId-00000001700000000001-00000000", "SHARD_END")).await;
    assert!(refusal(&world.plan().await).contains("say whose with --source"));
    let plan = world.plan_of("mail").await;
    assert_eq!(plan.streams[0].source.as_str(), "mail");
    let arn = world.db.stream_arn("Mail").await;
    let label = arn.rsplit_once("/stream/").unwrap().1.replace(':', "_");
    let stream = format!("000000000000:eu-west-1$000000000000$Mail${label}:1");
    world.db.put(LEASES, lease(&format!("{stream}:{GONE}"), "SHARD_END")).await;
    assert!(refusal(&world.plan_of("mail").await).contains("two forms"));
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let world = World::of(KCL_2).await;
    let order = Order { lease_table: "nowhere".into(), ..world.order() };
    let said = world.plan_with(order, async {}).await.unwrap_err().to_string();
    assert!(
        said.contains("nowhere") && said.contains("KCL names its lease table after the application"),
        "{said}"
    );
    let order = Order { lease_table: STATE.into(), ..world.order() };
    world.takeover.write(&world.plan().await).await.unwrap();
    let said = world.plan_with(order, async {}).await.unwrap_err().to_string();
    assert!(said.contains("dev-state is no lease table of KCL"), "{said}");
    world.db.perform("DeleteTable", json!({ "TableName": STATE })).await;
    let said = world.plan_with(world.order(), async { panic!("it does not wait") }).await.unwrap_err();
    assert!(said.to_string().contains("millstream setup"), "{said}");
}

/// Orders with a stream of five shards: 0 was split into 1 and 2, which rolled over to 3 and 4. Records 1 to 4 are in the first,
/// 5 to 10 in the next two, 11 to 14 in the last two. And mail with a stream of one.
struct World {
    db: Embedded,
    config: Config,
    takeover: Takeover,
    state: TableState,
    stream: String,
    /// The sequence numbers of the orders' records, of which the shards are read in turn.
    records: Vec<String>,
}

impl World {
    async fn of(golden: &str) -> Self {
        let db = Embedded::new();
        for table in ["Orders", "Mail"] {
            db.create_table(table, "orderId", None, Some(StreamViewType::NewAndOldImages)).await;
        }
        // Here all tables begin with a shard of the same id, unless their streams were made anew.
        db.disable_stream("Mail").await;
        db.enable_stream("Mail", StreamViewType::KeysOnly).await;
        let order = |n: u32| json!({ "orderId": format!("order-{n}"), "total": n });
        for n in 1..=14 {
            match n {
                5 => db.split_shards("Orders"),
                11 => db.roll_shards("Orders"),
                _ => {}
            }
            db.put("Orders", order(n)).await;
        }
        db.create_table(LEASES, "leaseKey", None, None).await;
        let records: Vec<String> = db.read_stream("Orders").await.iter().map(sequence).collect();
        let named = |text: String, (place, sequence): (usize, &String)| {
            text.replace(&format!("<record {}>", place + 1), sequence)
        };
        let rows = records.iter().enumerate().fold(golden.to_owned(), named);
        let rows: Vec<Value> = serde_json::from_str(&rows).unwrap();
        for row in rows {
            db.put_typed(LEASES, row).await;
        }
        let config = Config::parse("test.toml", CONFIG, &|_| None).unwrap();
        create_tables(&config, &Aws::from_config(db.backstage())).await.unwrap();
        let (aws, clock) = (Aws::from_config(db.sdk_config()), Arc::new(StandingClock));
        let takeover = Takeover::new(&config, &aws, "shop".into(), clock.clone());
        let backstage = aws_sdk_dynamodb::Client::new(&db.backstage());
        let state = TableState::new(backstage, STATE.into(), "shop".into(), clock);
        let stream = db.stream_arn("Orders").await;
        Self { db, config, takeover, state, stream, records }
    }

    fn order(&self) -> Order {
        Order { lease_table: LEASES.into(), wait: Duration::from_secs(30), since: None, accepts_gaps: false }
    }

    async fn plan(&self) -> Plan {
        self.plan_with(self.order(), async {}).await.unwrap()
    }

    async fn plan_of(&self, source: &str) -> Plan {
        let mut sources = self.sources(&self.db.sdk_config()).await;
        sources.retain(|found| found.source.as_str() == source);
        self.takeover.plan(&self.order(), &sources, async {}).await.unwrap()
    }

    async fn plan_with(&self, order: Order, pause: impl Future<Output = ()>) -> Result<Plan, Failure> {
        let sources = self.sources(&self.db.backstage()).await;
        self.takeover.plan(&order, &sources, pause).await
    }

    async fn sources(&self, aws: &SdkConfig) -> Vec<TableStream> {
        poll::streams(&self.config, &Aws::from_config(aws.clone()), Duration::ZERO).await
    }

    async fn rows(&self) -> Vec<ShardRow> {
        self.state.shards(&self.stream).await.unwrap()
    }

    /// The sequence number of the nth record, counted from 1.
    fn record(&self, nth: usize) -> &str {
        &self.records[nth - 1]
    }

    fn place(&self, sequence: &str) -> usize {
        self.records.iter().position(|it| it == sequence).unwrap() + 1
    }

    /// `<last digit of the shard>:<what becomes of it>`, sorted; records by their place in the stream.
    fn text(&self, plan: &Plan) -> String {
        let shard = |row: &ShardRow| {
            let name = if *row.shard == *GONE { "gone" } else { &row.shard[row.shard.len() - 1..] };
            let is = match (row.state, &row.checkpoint) {
                (ShardState::Open, Checkpoint::From(first)) => format!("from {first}"),
                (ShardState::Ended, _) => "ended".to_owned(),
                (ShardState::EndedNoChildren, _) => "ended-no-children".to_owned(),
                (ShardState::Open, Checkpoint::TrimHorizon) => "oldest".to_owned(),
                (ShardState::Open, Checkpoint::Since(at)) => format!("since-{at}"),
                (ShardState::Open, Checkpoint::After(at)) => format!("after-{}", self.place(at)),
                (ShardState::Gap, _) => "gap".to_owned(),
            };
            (row.shard.clone(), format!("{name}:{is}"))
        };
        let mut shards: Vec<_> = plan.streams[0].shards.iter().map(|plan| shard(&plan.row)).collect();
        shards.sort();
        shards.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
    }

    async fn raw(&self, shard: &str) -> Value {
        let key = json!({ "consumer": format!("shop/{}", self.stream), "row": format!("shard/{shard}") });
        self.db.get(STATE, key).await.unwrap()
    }
}

/// A lease as plain JSON.
fn lease(shard: &str, checkpoint: &str) -> Value {
    json!({ "leaseKey": shard, "leaseCounter": 7, "leaseOwner": "worker-1", "checkpoint": checkpoint })
}

/// The one refusal of a plan.
fn refusal(plan: &Plan) -> String {
    assert_eq!(plan.refusals.len(), 1, "{:?}", plan.refusals);
    plan.refusals[0].to_string()
}

fn sequence(record: &Record) -> String {
    record.dynamodb().unwrap().sequence_number().unwrap().to_owned()
}

fn sorted(rows: &[ShardRow]) -> Vec<ShardRow> {
    let mut rows = rows.to_vec();
    rows.sort_by(|one, other| one.shard.cmp(&other.shard));
    rows
}

struct StandingClock;

impl Clock for StandingClock {
    fn unix_seconds(&self) -> u64 {
        START
    }
}
