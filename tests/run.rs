//! `millstream run` as real processes, against the embedded DynamoDB on a socket.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail their test")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use millstream_test_support::embedded::StreamViewType;
use millstream_test_support::faults::{Fault, Rule};
use serde_json::Value;

use self::world::{AGAIN, GRACE, PACE, PATIENCE, Status, World, config, get, text};

mod world;

#[tokio::test(flavor = "multi_thread")]
async fn once_drains_the_stream_and_ends() {
    let world = World::set_up().await;
    world.write(0..100).await;
    let output = world.output(&format!("run --once {PACE}")).await;
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(world.is_in_step().await, "{log}");
    assert!(log.contains("source news is not read: a topic cannot be"), "{log}");

    // What came since, and nothing of before: the checkpoint is stored.
    world.write(50..150).await;
    let output = world.output(&format!("run --once --logs json {PACE}")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(world.is_in_step().await);
    for line in text(&output.stdout).lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "{line}");
    }
    let status = world.status().await;
    assert_eq!(status.sessions(), BTreeSet::new(), "who ends takes its row along");
    assert_eq!(status.0["totals"]["shards"], 1);
    assert_eq!(status.owners(), BTreeSet::new());
    let page = world.output("status").await;
    assert!(
        text(&page.stdout).contains("0 workers; 1 open shard, 1 read by nobody; 0 letters; 0 gaps"),
        "{}",
        text(&page.stdout)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_switched_off_and_on_is_read_before_the_one_that_follows() {
    let world = World::set_up().await;
    world.write(0..5).await;
    assert!(world.output(&format!("run --once {PACE}")).await.status.success());
    // What is written now is in the old stream, and what comes after it in the new one, of another name.
    world.write(5..10).await;
    world.database.disable_stream("Orders").await;
    world.database.enable_stream("Orders", StreamViewType::NewAndOldImages).await;
    world.write(10..15).await;
    config(world.folder.path(), |config| {
        config.replace("table = \"Orders\"", "table = \"Orders\"\nstart = \"latest\"")
    });
    let output = world.output(&format!("run --once {PACE}")).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(world.is_in_step().await, "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn once_after_a_run_that_was_killed_waits_for_its_shards_and_drains_them() {
    let world = World::set_up().await;
    let mut killed = world.start("killed", PACE);
    world.until("it reads", |status| status.owners().len() == 1).await;
    killed.signal("-KILL");
    killed.ended().await;
    world.write(0..20).await;
    let output = world.output(&format!("run --once {PACE}")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(world.is_in_step().await, "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn once_reads_every_generation_of_a_stream() {
    let world = World::set_up().await;
    for generation in 0..4 {
        world.write(generation * 5..generation * 5 + 5).await;
        world.database.roll_shards("Orders");
    }
    world.database.split_shards("Orders");
    world.write(20..30).await;
    let output = world.output(&format!("run --once {PACE}")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(world.is_in_step().await, "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_stands_still_until_it_is_said_to_go_on() {
    let world = World::set_up().await;
    world.write(0..5).await;
    assert!(world.output(&format!("run --once {PACE}")).await.status.success());
    // A day passes before anyone reads on.
    world.write(5..10).await;
    world.database.trim_stream("Orders");
    world.write(10..15).await;
    let output = world.output(&format!("run --once {PACE}")).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("stands still") && said.contains("--on-gap continue"), "{said}");
    let status = world.status().await;
    assert_eq!(status.0["totals"]["gaps"], 1, "{:#}", status.0);
    let mut worker = world.start("worker", &format!("--listen 127.0.0.1:0 {PACE}"));
    let address = worker.address().await;
    until_told(&address, "millstream_halted_shards{source=\"orders\"} 1").await;
    worker.signal("-TERM");
    assert_eq!(worker.ended().await, Some(0));

    let output = world.output(&format!("run --once --on-gap continue {PACE}")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let rows = world.database.scan_all("Rows").await;
    assert_eq!(rows.len(), 10, "what was lost is lost, and the rest is there");
    assert_eq!(world.status().await.0["totals"]["gaps"], 1, "it is the same gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_hands_over() {
    let world = World::set_up().await;
    let pace = format!("--listen off {PACE}");
    let (mut first, mut second) = (world.start("first", &pace), world.start("second", &pace));
    world.until("both are there", |status| status.sessions().len() == 2).await;
    world.write(0..50).await;
    let shared = world.until_shared(2).await;
    let stays = shared.session_of(&second).to_owned();
    world.write(25..100).await;
    first.signal("-TERM");
    world.write(75..150).await;
    assert_eq!(first.ended().await, Some(0));
    world.until_in_step().await;
    let left = world.until("one is left", |status| status.sessions().len() == 1 && status.is_settled()).await;
    assert_eq!((left.sessions(), left.owners()), ([&*stays].into(), [&*stays].into()));
    assert_eq!(left.0["workers"][0]["heartbeatMoved"], true);
    assert_eq!(left.0["totals"]["gaps"], 0);
    second.signal("-INT");
    assert_eq!(second.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shards_of_a_worker_that_is_killed_are_taken_over() {
    let world = World::set_up().await;
    let pace = format!("--listen off {PACE}");
    let (mut first, mut second) = (world.start("first", &pace), world.start("second", &pace));
    world.until("both are there", |status| status.sessions().len() == 2).await;
    world.write(0..50).await;
    let shared = world.until_shared(2).await;
    let stays = shared.session_of(&second).to_owned();
    world.write(25..100).await;
    first.signal("-KILL");
    world.write(75..150).await;
    assert_eq!(first.ended().await, None);
    world.until_in_step().await;
    let is_taken = |status: &Status| status.is_settled() && status.owners() == [&*stays].into();
    world.until("all shards are the other's", is_taken).await;
    second.signal("-TERM");
    assert_eq!(second.ended().await, Some(0));
}

/// One stalls for longer than others wait for it and comes back, one dies, one is told to stop, while orders change all the time.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_stall_die_and_stop_under_load_lose_nothing() {
    let world = Arc::new(World::set_up().await);
    let pace = format!("--listen off {PACE}");
    let (mut stalls, mut dies) = (world.start("stalls", &pace), world.start("dies", &pace));
    let mut stops = world.start("stops", &pace);
    world.until("all are there", |status| status.sessions().len() == 3).await;
    world.write(0..50).await;
    let shared = world.until_shared(3).await;
    let [stalled, dead] = [&stalls, &dies].map(|worker| shared.session_of(worker).to_owned());
    let load = tokio::spawn({
        let world = world.clone();
        async move {
            for round in 0.. {
                let order = round * 7 % 150;
                world.write(order..order + 1).await;
            }
        }
    });

    stalls.signal("-STOP");
    world.until("others read its shards", |status| status.is_settled_without(&stalled)).await;
    stalls.signal("-CONT");
    let is_back = |status: &Status| status.is_settled() && status.owners().contains(&*stalled);
    world.until("it has its shards again", is_back).await;
    dies.signal("-KILL");
    assert_eq!(dies.ended().await, None);
    world.until("others read the shards of the dead", |status| status.is_settled_without(&dead)).await;
    stops.signal("-TERM");
    assert_eq!(stops.ended().await, Some(0));
    let is_alone = |status: &Status| status.is_settled() && status.owners() == [&*stalled].into();
    world.until("one reads all", is_alone).await;

    load.abort();
    assert!(load.await.unwrap_err().is_cancelled());
    world.until_in_step().await;
    assert_eq!(world.status().await.0["totals"]["gaps"], 0);
    stalls.signal("-TERM");
    assert_eq!(stalls.ended().await, Some(0));
}

/// The state table does not answer any more, so there is nobody to hand over to.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_in_time_and_the_second_one_at_once() {
    let world = World::set_up().await;
    let pace = format!("--listen off {PACE}");
    let (mut patient, mut hasty) = (world.start("patient", &pace), world.start("hasty", &pace));
    world.until("both are at work", |status| status.sessions().len() == 2 && status.is_settled()).await;
    world.database.faults().add(Rule::any(Fault::Timeout).table("t-state"));
    let told = Instant::now();
    patient.signal("-TERM");
    hasty.signal("-TERM");
    hasty.until_logged("a second signal ends this at once").await;
    hasty.signal("-INT");
    assert_eq!(hasty.ended().await, Some(1));
    assert!(patient.child.try_wait().unwrap().is_none(), "the other still tries");
    assert_eq!(patient.ended().await, Some(1));
    let took = told.elapsed();
    assert!(took < GRACE, "{took:?}: {}", patient.log());
    assert!(patient.log().contains("error: unavailable: DeleteItem (leave)"), "{}", patient.log());
}

async fn until_told(address: &str, number: &str) {
    let give_up = Instant::now() + PATIENCE;
    while !get(address, "/metrics").1.contains(number) {
        assert!(Instant::now() < give_up, "{}", get(address, "/metrics").1);
        tokio::time::sleep(AGAIN).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_numbers_are_told() {
    let world = World::set_up().await;
    let mut worker = world.start("worker", &format!("--listen 127.0.0.1:0 {PACE}"));
    let address = worker.address().await;
    let give_up = Instant::now() + PATIENCE;
    while get(&address, "/readyz").0 != "200" {
        assert!(Instant::now() < give_up, "{}", worker.log());
        tokio::time::sleep(AGAIN).await;
    }
    assert_eq!(get(&address, "/healthz"), ("200".to_owned(), "alive\n".to_owned()));
    world.write(0..10).await;
    world.until_in_step().await;
    until_told(&address, "millstream_writes_total{table=\"Rows\",kind=\"put\"}").await;
    let numbers = get(&address, "/metrics").1;
    assert!(numbers.contains("# TYPE millstream_lag_seconds gauge"), "{numbers}");
    assert!(numbers.contains("millstream_apply_seconds_bucket"), "{numbers}");

    let second = world.output(&format!("run --listen {address}")).await;
    assert_eq!(second.status.code(), Some(2));
    assert!(
        text(&second.stderr).contains(&format!("error: {address} is in use")),
        "{}",
        text(&second.stderr)
    );
    worker.signal("-TERM");
    assert_eq!(worker.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() {
    let world = World::new().await;
    for command in ["run --once", "status"] {
        let output = world.output(command).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("millstream setup"), "{command}: {said}");
    }
    assert!(world.output("setup").await.status.success());
    world.database.create_table("Plain", "id", None, None).await;
    config(world.folder.path(), |text| text.replace("\"Orders\"", "\"Plain\""));
    let output = world.output("run --once").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("table Plain has no stream"), "{}", text(&output.stderr));
    let output = world.output("status").await;
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("table Plain has no stream"), "{}", text(&output.stdout));
}

/// Nothing of a wrong deployment is lost, and nobody waits for it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn once_gives_up_where_something_has_to_be_mended() {
    let world = World::set_up().await;
    config(world.folder.path(), |text| text.replace("\"Rows\"", "\"NoSuchTable\""));
    world.write(0..5).await;
    let output = world.output(&format!("run --once {PACE}")).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot be drained") && said.contains("NoSuchTable"), "{said}");
    config(world.folder.path(), |text| text.replace("\"NoSuchTable\"", "\"Rows\""));
    let output = world.output(&format!("run --once {PACE}")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(world.is_in_step().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrongly_ends_with_2() {
    let world = World::new().await;
    for wrong in [
        "run --ttl 10",
        "run --ttl 100ms",
        "run --idle 1h",
        "run --max-moves 0",
        "run --on-gap skip",
        "run --listen 9464",
        "run --consumer a/b",
        "run --logs xml",
        "status --consumer a/b",
    ] {
        let output = world.output(wrong).await;
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", text(&output.stderr));
    }
    config(world.folder.path(), |text| {
        text.replace("table = \"Orders\"", "topic = \"arn:aws:sns:eu-west-1:000000000000:orders\"")
    });
    let output = world.output("run").await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no source is a table or a queue"), "{}", text(&output.stderr));
}
