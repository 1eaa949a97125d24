//! How fast a Lambda event of 1,000 records of 1.2 KB is decoded, by us and by what there is.

use std::hint::black_box;

use aws_lambda_events::dynamodb::Event;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millstream_processor::source::lambda_event::{Received, decode};
use millstream_processor::source::{SourceKey, Sources};
use millstream_projections::SourceName;
use serde_json::{Value, json};

const RECORDS: usize = 1_000;

fn image(number: usize, status: &str) -> Value {
    json!({
        "companyId": {"S": format!("c-{number:06}")}, "name": {"S": format!("Millwright & Sons No. {number}")},
        "status": {"S": status}, "employees": {"N": (number % 997).to_string()}, "public": {"BOOL": number.is_multiple_of(2)},
        "address": {"M": {"street": {"S": "Harbour Road 7"}, "city": {"S": "Hamburg"}, "zip": {"S": "20457"}}},
        "tags": {"SS": ["import", "export", "storage"]}, "note": {"S": "Calls on Mondays; prefers invoices by post, in two copies."}
    })
}

fn event() -> Bytes {
    let records: Vec<Value> = (0..RECORDS)
        .map(|number| {
            json!({
                "eventID": format!("{number:032x}"), "eventName": "MODIFY", "eventVersion": "1.1",
                "eventSource": "aws:dynamodb", "awsRegion": "eu-west-1",
                "dynamodb": {
                    "ApproximateCreationDateTime": 1_795_253_652.0, "Keys": {"companyId": {"S": format!("c-{number:06}")}},
                    "NewImage": image(number, "ACTIVE"), "OldImage": image(number, "DORMANT"),
                    "SequenceNumber": format!("442158450000000001745{number:07}"), "SizeBytes": 612,
                    "StreamViewType": "NEW_AND_OLD_IMAGES"
                },
                "eventSourceARN":
                    "arn:aws:dynamodb:eu-west-1:123456789012:table/CompanyProfile/stream/2026-11-20T09:14:07.512"
            })
        })
        .collect();
    Bytes::from(json!({ "Records": records }).to_string())
}

fn sources() -> Sources {
    let companies =
        SourceName::new("companies").map(|name| (name, SourceKey::Table("CompanyProfile".to_owned())));
    Sources::new(companies)
}

fn digests(received: Received) -> usize {
    let deliveries = received.batches.into_iter().flat_map(|batch| batch.deliveries);
    deliveries.filter(|delivery| delivery.change.as_ref().is_ok_and(|change| change.digest().is_ok())).count()
}

fn whole_images(received: Received) -> usize {
    let deliveries = received.batches.into_iter().flat_map(|batch| batch.deliveries);
    let images =
        deliveries.filter_map(|delivery| delivery.change.ok()).flat_map(|change| [change.new, change.old]);
    images.filter(|image| image.as_ref().is_some_and(|image| image.item().is_ok())).count()
}

fn decoding(criterion: &mut Criterion) {
    let (event, sources) = (event(), sources());
    println!("{} bytes a record", event.len() / RECORDS);
    // The last record fits no type: all was parsed in vain by then, and each record is looked at alone.
    let text = String::from_utf8_lossy(&event);
    let (good, bad) = text.rsplit_once("\"MODIFY\"").unwrap_or_default();
    let damaged = Bytes::from(format!("{good}7{bad}"));

    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("millstream", |b| b.iter(|| decode(black_box(event.clone()), &sources)));
    group.bench_function("millstream, keys digested", |b| {
        b.iter(|| decode(black_box(event.clone()), &sources).map(digests))
    });
    group.bench_function("millstream, images decoded whole", |b| {
        b.iter(|| decode(black_box(event.clone()), &sources).map(whole_images))
    });
    group.bench_function("millstream, one bad record", |b| {
        b.iter(|| decode(black_box(damaged.clone()), &sources))
    });
    group.bench_function("aws_lambda_events", |b| {
        b.iter(|| serde_json::from_slice::<Event>(black_box(&event)))
    });
    group.bench_function("serde_json::Value", |b| {
        b.iter(|| serde_json::from_slice::<Value>(black_box(&event)))
    });
    group.finish();
}

criterion_group!(benches, decoding);
criterion_main!(benches);
