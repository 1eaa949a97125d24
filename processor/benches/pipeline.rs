//! A Lambda event of 1,000 records of 1.2 KB: decoded, projected, laned and reported on one core, with sinks that do nothing.

#![expect(clippy::expect_used, reason = "a bench that cannot run has to stop")]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millstream_processor::clock::SystemClock;
use millstream_processor::holds::NoHolds;
use millstream_processor::host::lambda::LambdaHost;
use millstream_processor::letters::directory::DirectoryLetters;
use millstream_processor::pipeline::{Limits, Pipeline};
use millstream_processor::projections::config::Config;
use millstream_processor::retry::RetryPolicy;
use millstream_processor::route::Routes;
use millstream_processor::wiring;
use support::{Nowhere, RECORDS, event};

const SOURCE: &str = r#"
[source.orders]
table = "Orders"
"#;

const REPLICA: &str = r#"
[projection.accounting]
kind = "replica"
from = "orders"
table = "Accounting"
key = { orderId = "{orderId}" }
set = { total = "{total}", customer = "{customerId}", city = "{address.city}" }
"#;

const FILTERED: &str = r#"
[projection.cancelled]
kind = "replica"
from = "orders"
where = "new.status == 'CANCELLED'"
table = "Cancelled"
key = { orderId = "{orderId}" }
set = { total = "{total}" }
"#;

const UNTOUCHED: &str = r#"
[projection.moved]
kind = "replica"
from = "orders"
changed = ["address"]
table = "Moved"
key = { orderId = "{orderId}" }
set = { city = "{address.city}" }
"#;

const COPY: &str = r#"
[projection.shipping-status]
kind = "copy"
from = "orders"
changed = ["status"]
table = "Shipments"
match = { index = "by-order", key = { orderId = "{orderId}" } }
set = { orderStatus = "{status}" }
"#;

const EMIT: &str = r#"
[projection.order-changed]
kind = "emit"
from = "orders"
changed = ["status"]
topic = "arn:aws:sns:eu-west-1:000000000000:order-changed"
include = ["status", "total"]
"#;

const AGGREGATE: &str = r#"
[projection.by-customer]
kind = "aggregate"
from = "orders"
table = "CustomerStats"
group = { customerId = "{customerId}" }
count = "orders"
sum = { revenue = "{total}" }
"#;

fn host(projections: &[&str]) -> LambdaHost {
    let toml = format!("{SOURCE}{}", projections.concat());
    let config = Config::parse("bench.toml", &toml, &|_| None).expect("a valid config");
    let mut routes = Routes::default();
    for projection in &config.projections {
        routes.add(projection.from.clone(), projection.build());
    }
    let settings = &config.pipeline;
    let pipeline = Pipeline {
        routes,
        rows: Arc::new(Nowhere),
        folds: Arc::new(Nowhere),
        topics: Arc::new(Nowhere),
        // No record of these events becomes a letter.
        letters: Arc::new(DirectoryLetters::new("unused", Arc::new(SystemClock))),
        holds: Arc::new(NoHolds),
        clock: Arc::new(SystemClock),
        limits: Limits {
            concurrency: settings.concurrency.get(),
            hold: settings.hold,
            retry: RetryPolicy::new(settings.retry_initial, settings.retry_max, settings.retry_elapsed),
        },
        config: config.hash.clone(),
    };
    LambdaHost { pipeline, sources: wiring::sources(&config), margin: settings.deadline_margin }
}

fn pipeline(criterion: &mut Criterion) {
    let event = Bytes::from(event(RECORDS));
    println!("{} bytes a record", event.len() / RECORDS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let cases: [(&str, &[&str]); 5] = [
        ("nothing concerned (changed)", &[UNTOUCHED]),
        ("nothing concerned (where)", &[FILTERED]),
        ("one replica, distinct keys", &[REPLICA]),
        ("one aggregate, distinct items", &[AGGREGATE]),
        ("replica, copy and emit", &[REPLICA, COPY, EMIT]),
    ];
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(RECORDS as u64));
    for (name, projections) in cases {
        let host = host(projections);
        let handle = || {
            let deadline = SystemTime::now() + Duration::from_secs(60);
            runtime.block_on(host.handle(black_box(event.clone()), deadline))
        };
        let response = handle().expect("an answer");
        assert!(response.batch_item_failures.is_empty(), "everything is done");
        group.bench_function(name, |bencher| bencher.iter(handle));
    }
    group.finish();
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
