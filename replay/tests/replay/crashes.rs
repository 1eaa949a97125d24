//! An apply that dies at any request, and is run again.

use millstream_test_support::faults::{Fault, Rule};
use serde_json::json;

use crate::world::{EVENTS, ORDERS, World, apply_all, mended, mended_events};

/// Applies until a crash, then again; `false` if nothing crashed any more.
async fn crash_and_go_on(world: &World, toml: &str, fault: Fault, request: usize) -> bool {
    world.db.faults().add(Rule::any(fault).nth(request));
    let desk = world.desk(toml);
    let crashed = tokio::select! {
        applied = apply_all(&desk) => { assert!(applied.is_clean(), "{applied:?}"); false }
        () = world.db.faults().crashed() => true,
    };
    drop(desk);
    world.db.faults().clear();
    world.db.faults().revive();
    let again = apply_all(&world.desk(toml)).await;
    assert!(again.is_clean() && again.still_held == 0, "request {request}: {again:?}");
    crashed
}

#[tokio::test]
async fn rows_are_right_whichever_request_was_the_last() {
    for fault in [Fault::Crash, Fault::CrashAfter] {
        for request in 1.. {
            let [table, directory] = World::each().await;
            let mut crashed = false;
            for world in [table, directory] {
                world.order("o1", None).await;
                world.order("o2", None).await;
                world.order("o2", Some(2)).await;
                world.order("o3", Some(3)).await;
                world.order("o3", None).await;
                world.deliver(ORDERS).await;
                crashed |= crash_and_go_on(&world, &mended(), fault.clone(), request).await;
                let expected = [
                    json!({ "orderId": "o1" }),
                    json!({ "orderId": "o2", "total": 2 }),
                    json!({ "orderId": "o3" }),
                ];
                assert_eq!(world.rows().await, expected, "request {request}");
                assert!(world.letters(&[]).await.is_empty(), "request {request}");
            }
            if !crashed {
                assert!(request > 8, "only {request} requests");
                break;
            }
        }
    }
}

#[tokio::test]
async fn events_are_all_out_and_in_order_whichever_request_was_the_last() {
    for fault in [Fault::Crash, Fault::CrashAfter] {
        for request in 1.. {
            let world = World::table().await;
            for n in 1..=3 {
                let mut order = json!({ "orderId": "o1", "n": n });
                if n > 1 {
                    order["status"] = json!("PAID");
                }
                world.db.put("Orders", order).await;
            }
            world.deliver(EVENTS).await;
            assert!(world.published().is_empty());
            let crashed = crash_and_go_on(&world, &mended_events(), fault.clone(), request).await;
            let mut published = world.published();
            // At least once: what was published and not closed goes out again, before anything later.
            published.dedup();
            assert_eq!(published, [1, 2, 3], "request {request}");
            assert!(world.letters(&[]).await.is_empty(), "request {request}");
            // The key is free again.
            world.db.put("Orders", json!({ "orderId": "o1", "n": 4, "status": "PAID" })).await;
            world.deliver_from(&mended_events(), 3).await;
            assert_eq!(world.published().last(), Some(&4), "request {request}");
            if !crashed {
                assert!(request > 10, "only {request} requests");
                break;
            }
        }
    }
}
