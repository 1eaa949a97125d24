//! `index`: lookup rows that have one owner each, and go when he goes.

use serde_json::{Value, json};

use crate::world::World;

const COMPANIES: &str = r#"
[source.companies]
table = "Companies"

[projection.by-vat]
kind = "index"
from = "companies"
table = "ByVat"
key = { vat = "{vat?}" }
set = { companyId = "{companyId}", name = "{name?}" }
"#;

const TAGGED: &str = r#"
[source.orders]
table = "Orders"

[projection.by-tag]
kind = "index"
from = "orders"
table = "ByTag"
each = "{tags?}"
key = { tag = "{ms:each}", orderId = "{orderId}" }
unique = false
"#;

async fn companies() -> World {
    let world = World::new(COMPANIES).await;
    world.source("Companies", "companyId").await;
    world.table("ByVat", "vat").await;
    world
}

async fn put(world: &World, id: &str, vat: &str) {
    world.db.put("Companies", json!({ "companyId": id, "vat": vat })).await;
}

fn row(vat: &str, id: &str) -> Value {
    json!({ "vat": vat, "companyId": id })
}

async fn causes(world: &World) -> Vec<String> {
    let letters = world.letters().await;
    letters.iter().map(|letter| letter.head.fault().expect("a fault").causes.join(": ")).collect()
}

#[tokio::test]
async fn a_lookup_row_comes_moves_changes_and_goes_with_its_item() {
    let world = companies().await;
    put(&world, "c1", "v1").await;
    world.deliver_all("Companies").await;
    assert_eq!(world.rows("ByVat").await, [row("v1", "c1")]);
    put(&world, "c1", "v2").await;
    world.db.put("Companies", json!({ "companyId": "c1", "vat": "v2", "name": "Amber" })).await;
    world.deliver_all("Companies").await;
    assert_eq!(world.rows("ByVat").await, [json!({ "vat": "v2", "companyId": "c1", "name": "Amber" })]);
    world.db.put("Companies", json!({ "companyId": "c1" })).await;
    world.deliver_all("Companies").await;
    assert_eq!(world.rows("ByVat").await, Vec::<Value>::new(), "without the attribute there is no row");
    put(&world, "c1", "v3").await;
    world.db.delete("Companies", json!({ "companyId": "c1" })).await;
    world.deliver_all("Companies").await;
    assert_eq!(world.rows("ByVat").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_clash_is_a_letter_that_names_both_owners_and_nothing_is_overwritten() {
    let world = companies().await;
    put(&world, "c1", "v1").await;
    put(&world, "c2", "v2").await;
    world.deliver_all("Companies").await;
    put(&world, "c2", "v1").await;
    world.deliver_all("Companies").await;
    // What it gave up is given up; what it asked for is another's.
    assert_eq!(world.rows("ByVat").await, [row("v1", "c1")]);
    let causes = causes(&world).await;
    assert!(causes.len() == 1 && causes[0].contains("c1") && causes[0].contains("c2"), "{causes:?}");
    assert!(causes[0].contains("ByVat") && causes[0].contains("v1"), "{causes:?}");
}

#[tokio::test]
async fn a_row_that_is_given_up_and_taken_in_one_batch_changes_its_owner() {
    for taken_first in [false, true] {
        let world = companies().await;
        put(&world, "c1", "v1").await;
        put(&world, "c2", "v2").await;
        world.deliver_all("Companies").await;
        let [giver, taker] = [("c1", "v3"), ("c2", "v1")];
        let order = if taken_first { [taker, giver] } else { [giver, taker] };
        for (id, vat) in order {
            put(&world, id, vat).await;
        }
        world.deliver_all("Companies").await;
        assert_eq!(world.rows("ByVat").await, [row("v3", "c1"), row("v1", "c2")]);
        assert_eq!(causes(&world).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn two_items_that_swap_their_rows_in_one_batch_do_not_wait_for_each_other() {
    let world = companies().await;
    put(&world, "c1", "v1").await;
    put(&world, "c2", "v2").await;
    world.deliver_all("Companies").await;
    put(&world, "c1", "v2").await;
    put(&world, "c2", "v1").await;
    world.deliver_all("Companies").await;
    assert_eq!(world.rows("ByVat").await, [row("v2", "c1"), row("v1", "c2")]);
    assert_eq!(causes(&world).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_row_that_millstream_did_not_write_is_refused_where_rows_are_unique_and_else_adopted() {
    let world = companies().await;
    world.db.put("ByVat", row("v1", "by hand")).await;
    put(&world, "c1", "v1").await;
    world.deliver_all("Companies").await;
    assert_eq!(world.rows("ByVat").await, [row("v1", "by hand")]);
    assert!(causes(&world).await[0].contains("did not write"));

    let world = World::new(&format!("{COMPANIES}unique = false\n")).await;
    world.source("Companies", "companyId").await;
    world.table("ByVat", "vat").await;
    world.db.put("ByVat", row("v1", "by hand")).await;
    put(&world, "c1", "v1").await;
    world.deliver_all("Companies").await;
    assert_eq!(world.rows("ByVat").await, [row("v1", "c1")]);
}

#[tokio::test]
async fn a_row_that_someone_gave_to_another_is_not_dropped() {
    let world = companies().await;
    put(&world, "c1", "v1").await;
    put(&world, "c2", "v2").await;
    world.deliver_all("Companies").await;
    let mut rows = world.db.scan_all("ByVat").await;
    let (mine, other): (Vec<_>, Vec<_>) = rows.drain(..).partition(|row| row["vat"] == "v1");
    let mut stolen = mine[0].clone();
    stolen["ms:by-vat"] = other[0]["ms:by-vat"].clone();
    world.db.put("ByVat", stolen).await;
    world.db.delete("Companies", json!({ "companyId": "c1" })).await;
    world.deliver_all("Companies").await;
    assert_eq!(world.rows("ByVat").await, [row("v1", "c1"), row("v2", "c2")]);
    assert_eq!(causes(&world).await, Vec::<String>::new());
}

#[tokio::test]
async fn every_element_of_a_list_or_set_has_its_row() {
    let world = World::new(TAGGED).await;
    world.source("Orders", "orderId").await;
    world.db.create_table("ByTag", "tag", Some("orderId"), None).await;
    let tags = |tags: &[&str]| json!({ "orderId": "o1", "tags": tags });
    world.db.put("Orders", tags(&["a", "b", "a"])).await;
    world.deliver_all("Orders").await;
    let row = |tag: &str| json!({ "tag": tag, "orderId": "o1" });
    assert_eq!(world.rows("ByTag").await, [row("a"), row("b")]);
    world.db.put("Orders", tags(&["b", "c"])).await;
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("ByTag").await, [row("b"), row("c")]);
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("ByTag").await, Vec::<Value>::new());
}

#[tokio::test]
async fn more_rows_than_a_transaction_holds_come_and_go_in_several() {
    let world = World::new(TAGGED).await;
    world.source("Orders", "orderId").await;
    world.db.create_table("ByTag", "tag", Some("orderId"), None).await;
    let tags = |from: u32| {
        let tags: Vec<String> = (from..from + 250).map(|tag| format!("t{tag:04}")).collect();
        json!({ "orderId": "o1", "tags": tags })
    };
    world.db.put("Orders", tags(0)).await;
    world.db.clear_requests();
    world.deliver_all("Orders").await;
    assert_eq!((world.rows("ByTag").await.len(), world.db.requests().len()), (250, 3));
    world.db.put("Orders", tags(200)).await;
    // The process dies in the middle, and the change comes again.
    let faults = world.db.faults();
    faults.add(
        millstream_test_support::faults::Rule::any(millstream_test_support::faults::Fault::CrashAfter).nth(3),
    );
    let records = world.db.read_stream("Orders").await;
    tokio::select! {
        _ = world.report("Orders", &records) => panic!("it should have died"),
        () = faults.crashed() => faults.revive(),
    }
    world.deliver("Orders", &records).await;
    let rows = world.rows("ByTag").await;
    assert_eq!(rows.len(), 250);
    assert_eq!((&rows[0]["tag"], &rows[249]["tag"]), (&json!("t0200"), &json!("t0449")));
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("ByTag").await, Vec::<Value>::new());
}
