//! Plans that may go into a ticket: no value of an item is in them.

use futures_util::StreamExt;
use millstream_processor::letters::LetterFilter;
use millstream_replay::desk::Desk;
use millstream_replay::plan::{LetterPlan, Verdict, plan};
use serde_json::json;

use crate::world::{ORDERS, World};

/// Orders whose version is a value of theirs.
fn versioned() -> String {
    ORDERS.replace("from = \"orders\"", "from = \"orders\"\nversion = \"revision\"")
}

async fn only(desk: &Desk, redact: bool) -> LetterPlan {
    let filter = LetterFilter::default();
    let mut plans = std::pin::pin!(plan(desk, &filter, redact));
    plans.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn neither_versions_nor_causes_tell_what_an_item_holds() {
    let world = World::table().await;
    let order = |revision: &str| json!({ "orderId": "secret-order", "revision": revision });
    world.db.put("Orders", order("draft-of-anna")).await;
    world.deliver(&versioned()).await;
    let mut newer = order("secret-of-bert");
    newer["total"] = json!(4_711);
    world.db.put("Orders", newer).await;
    world.deliver_from(&versioned(), 1).await;

    let desk = world.desk(&versioned().replace("{total}", "{total?}"));
    let open = only(&desk, false).await;
    assert_eq!(open.verdict, Verdict::Superseded);
    assert!(open.effects[0].standing.as_ref().unwrap().contains("secret-of-bert"), "{open:?}");
    let hidden = only(&desk, true).await;
    assert_eq!(hidden.effects[0].standing.as_deref(), Some("<hidden>"));

    clean(&hidden);
}

fn clean(hidden: &LetterPlan) {
    for text in [hidden.to_string(), serde_json::to_string(hidden).unwrap()] {
        for secret in ["secret", "anna", "bert", "4711"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}
