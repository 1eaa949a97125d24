//! The demo's config, worked by functions and an operator of which each has the policy that is printed for it.

use millstream_processor::permissions::Role;
use serde_json::{Value, json};

use crate::world::{Stage, World};

const DEMO: &str = include_str!("../../demo/millstream.toml");
const TOPIC: &str = "arn:aws:sns:eu-west-1:000000000000:company-changed";

/// The key of a source of the demo.
pub(crate) fn key_of(table: &str) -> Option<&'static str> {
    match table {
        "CompanyProfile" => Some("companyId"),
        "Orders" => Some("orderId"),
        _ => None,
    }
}

/// Draws that a seed repeats.
struct Chance(u64);

impl Chance {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % count
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len() as u64) as usize]
    }
}

/// One change of a company or an order, as the demo's services make them.
async fn change(world: &World, chance: &mut Chance) {
    let company = format!("c{}", chance.below(4));
    if chance.below(4) == 0 {
        if chance.below(4) == 0 {
            return world.db.delete("CompanyProfile", json!({ "companyId": company })).await;
        }
        let mut item = json!({ "companyId": company, "name": format!("Mill {}", chance.below(9)) });
        if chance.below(2) == 0 {
            item["status"] = json!(chance.one_of(&["ACTIVE", "CLOSED"]));
            // Sometimes another company has it already.
            item["vatId"] = json!(format!("VAT{}", chance.below(4)));
        }
        return world.db.put("CompanyProfile", item).await;
    }
    let order = format!("o{}", chance.below(12));
    if chance.below(5) == 0 {
        return world.db.delete("Orders", json!({ "orderId": order })).await;
    }
    let mut item = json!({
        "orderId": order, "companyId": company, "warehouse": chance.one_of(&["Porto", "Turku"]),
        "status": chance.one_of(&["DRAFT", "PLACED", "PAID", "SHIPPED"]),
        "customer": { "name": chance.one_of(&["ann", "bob"]), "city": "Graz" },
        "lines": [{ "sku": "bolt", "qty": chance.below(9) }],
        "tags": [chance.one_of(&["gift", "express"])], "month": chance.one_of(&["2026-03", "2026-04"]),
        "placedAt": format!("2026-03-{:02}", 1 + chance.below(28)), "discount": chance.below(100),
    });
    item["total"] = json!(chance.below(1_000));
    world.db.put("Orders", item).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_runs_under_its_policies() {
    for seed in 0..3 {
        let world = World::new(DEMO, None).await;
        for company in 0..4 {
            for row in 0..2 {
                let row = json!({ "row": format!("{company}/{row}"), "companyId": format!("c{company}") });
                world.db.put("CompanyStatistics", row).await;
            }
            world.db.put("CompanyBilling", json!({ "companyId": format!("c{company}") })).await;
        }
        // Accounting can never be told of an order without a total.
        world.db.put("Orders", json!({ "orderId": "poison", "status": "PAID", "companyId": "c0" })).await;
        let stage = |role: Role| {
            let policy = world.policy(role, &[]);
            Stage::new(world.another(), role, policy)
        };
        let mut stream = stage(Role::StreamFunction);
        let (queue, operator) = (stage(Role::QueueFunction), stage(Role::Operator));
        let mut chance = Chance(seed);
        let mut seen = [0, 0];
        for _ in 0..6 {
            for _ in 0..12 {
                change(&world, &mut chance).await;
            }
            for (place, table) in ["CompanyProfile", "Orders"].into_iter().enumerate() {
                // A batch may begin before where the last one ended.
                let from = seen[place] - chance.below(1 + seen[place] as u64 / 2) as usize;
                stream.deliver_from(table, from).await;
                seen[place] = world.db.read_stream(table).await.len();
            }
            assert!(queue.invoke(messages(&world)).await);
        }
        assert!(operator.letters().await > 0, "the poison of seed {seed} is no letter");
        operator.apply_all().await;
        for stage in [stream, queue, operator] {
            let denied = stage.authority.denied();
            assert!(denied.is_empty(), "{} may not, of seed {seed}: {denied:#?}", stage.role);
        }
    }
}

/// What was published, as the queue gets it.
fn messages(world: &World) -> Value {
    let records = world.topics.published(TOPIC).into_iter().map(|message| {
        json!({
            "messageId": message.message_id, "receiptHandle": "r", "body": message.message, "attributes": {},
            "messageAttributes": {}, "md5OfBody": "", "eventSource": "aws:sqs", "awsRegion": "eu-west-1",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:company-events",
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}
