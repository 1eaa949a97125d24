//! Letters that are older than what is remembered of removals.

use std::time::Duration;

use millstream_replay::apply::{Applied, Brake, Outcome, Pace, Progress, apply};
use millstream_replay::desk::Desk;
use millstream_replay::discard::{Discarded, discard};
use millstream_replay::plan::{Totals, Verdict};
use serde_json::json;

use crate::world::{ORDERS, World, all, mended, plans};

const DAY: Duration = Duration::from_secs(86_400);

/// o1 fails and is removed, o2 stands and fails then. Letters in a directory last as long as somebody lets them.
async fn removed_and_standing() -> World {
    let [_, world] = World::each().await;
    world.order("o1", None).await;
    world.order("o2", Some(2)).await;
    world.deliver(ORDERS).await;
    world.order("o2", None).await;
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    world.deliver_from(ORDERS, 2).await;
    assert_eq!(world.rows().await, [json!({ "orderId": "o2", "total": 2 })]);
    world
}

async fn tried(desk: &Desk) -> (Applied, Vec<String>) {
    let said = std::sync::Mutex::new(Vec::new());
    let tell = |progress: Progress<'_>| {
        if let Progress::Letter(done) = progress {
            said.lock().unwrap().push(done.outcome.text());
        }
    };
    let applied = apply(desk, all(), Pace::default(), &Brake::default(), &tell).await.unwrap();
    (applied, said.into_inner().unwrap())
}

#[tokio::test]
async fn a_removal_that_is_remembered_supersedes_the_letter() {
    let world = removed_and_standing().await;
    world.later(29 * DAY).await;
    let (applied, said) = tried(&world.desk(&mended())).await;
    assert_eq!((applied.superseded, applied.replayed, applied.failed), (1, 1, 0), "{said:?}");
    assert_eq!(world.rows().await, [json!({ "orderId": "o2" })]);
}

#[tokio::test]
async fn a_letter_whose_removal_may_be_forgotten_is_refused_and_stays() {
    let world = removed_and_standing().await;
    world.later(31 * DAY).await;
    assert!(world.db.scan_all("millstream-ledger").await.is_empty(), "the tombstone is gone");
    let desk = world.desk(&mended());

    let planned = plans(&desk).await;
    let mut totals = Totals::default();
    planned.iter().for_each(|plan| totals.add(plan));
    assert_eq!((totals.too_old, totals.would_write), (1, 1), "{planned:?}");
    let old = planned.iter().find(|plan| plan.verdict == Verdict::TooOld).unwrap();
    let text = old.to_string();
    assert!(text.contains("too old: discard it, or rebuild the projection"), "{text}");
    assert!(text.contains("put Accounting") && text.contains("forgotten by now"), "{text}");

    // The row that stands shows itself that nothing removed it.
    let (applied, said) = tried(&desk).await;
    assert_eq!((applied.failed, applied.replayed, applied.superseded), (1, 1, 0), "{said:?}");
    assert!(said.contains(&Outcome::TooOld.text()), "{said:?}");
    assert_eq!(world.rows().await, [json!({ "orderId": "o2" })]);

    let letters = world.letters(&[]).await;
    assert_eq!((letters.len(), letters[0].head.attempts.len()), (1, 1), "as it was");
    assert_eq!(letters[0].head.id, old.id);
    assert!(world.trail().await.iter().any(|entry| entry.result.contains("too old")));
    assert_eq!(discard(&desk, &old.id, "the order is gone").await.unwrap(), Discarded::Done);
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_not_put_either() {
    use millstream_test_support::faults::{Fault, Rule};
    let world = removed_and_standing().await;
    world.later(31 * DAY).await;
    world.db.faults().add(Rule::on("GetItem", Fault::AccessDenied));
    let (applied, said) = tried(&world.desk(&mended())).await;
    assert!(applied.failed > 0 && said.iter().any(|text| text.starts_with("unfinished")), "{said:?}");
    world.db.faults().clear();
    assert!(world.rows().await.iter().all(|row| row["orderId"] != "o1"));
}
