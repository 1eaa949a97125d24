//! What the benches share: an event as Lambda hands it over, and sinks that do nothing.

#![allow(dead_code, reason = "each bench uses its part")]
#![allow(clippy::allow_attributes, reason = "`expect` is not fulfilled in the bench that uses everything")]

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millstream_processor::outcome::{Applied, Fault};
use millstream_processor::projections::item::{Key, Value as Attribute};
use millstream_processor::projections::{Guard, ProjectionName};
use millstream_processor::projections::{Item, KeyDigest};
use millstream_processor::sink::fold::{Action, Commit, Contributed, FoldSink, From, SharedRow, ValueCount};
use millstream_processor::sink::{Entry, Page, RowSink, RowWrite, TopicSink};
use serde_json::{Value, json};

/// Records of one event, as in the figures of other languages.
pub(crate) const RECORDS: usize = 1_000;
/// The stream that all records come from.
pub(crate) const STREAM: &str =
    "arn:aws:dynamodb:eu-west-1:000000000000:table/Orders/stream/2026-11-20T09:14:07.512";

/// One modification of an order with ten attributes, of about 1.2 KB.
pub(crate) fn record(number: usize) -> Value {
    json!({
        "eventID": format!("{number:032x}"), "eventName": "MODIFY", "eventVersion": "1.1",
        "eventSource": "aws:dynamodb", "awsRegion": "eu-west-1", "eventSourceARN": STREAM,
        "dynamodb": {
            "ApproximateCreationDateTime": 1_795_253_652.0, "Keys": { "orderId": { "S": order(number) } },
            "NewImage": image(number, "PAID"), "OldImage": image(number, "DRAFT"),
            "SequenceNumber": format!("442158450000000001745{number:07}"), "SizeBytes": 612,
            "StreamViewType": "NEW_AND_OLD_IMAGES"
        }
    })
}

/// An event of so many records, each of another order.
pub(crate) fn event(records: usize) -> String {
    json!({ "Records": (0..records).map(record).collect::<Vec<_>>() }).to_string()
}

fn order(number: usize) -> String {
    format!("order-{number:06}")
}

fn image(number: usize, status: &str) -> Value {
    json!({
        "orderId": { "S": order(number) }, "customerId": { "S": format!("customer-{:04}", number % 1_000) },
        "status": { "S": status }, "total": { "N": format!("{}.95", number % 997) },
        "currency": { "S": "EUR" }, "express": { "BOOL": number.is_multiple_of(2) },
        "placedAt": { "S": "2026-11-20T09:14:07Z" }, "weight": { "N": "1250" },
        "address": { "M": { "street": { "S": "Harbour Road 7, 2nd floor" }, "city": { "S": "Hamburg" } } },
        "labels": { "SS": ["gift", "export", "fragile"] }
    })
}

/// A sink that has written everything at once; an index finds one row.
pub(crate) struct Nowhere;

impl RowSink for Nowhere {
    fn apply<'a>(&'a self, _write: RowWrite<'a>) -> BoxFuture<'a, Result<Applied, Fault>> {
        async { Ok(Applied::Written) }.boxed()
    }

    fn was_dropped<'a>(
        &'a self,
        _projection: &'a ProjectionName,
        _guard: &'a Guard,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        async { Ok(false) }.boxed()
    }

    fn remember_drop<'a>(
        &'a self,
        _projection: &'a ProjectionName,
        _guard: &'a Guard,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async { Ok(()) }.boxed()
    }

    fn find<'a>(
        &'a self,
        _table: &'a Arc<str>,
        _index: &'a Arc<str>,
        _key: &'a Key,
        _from: Option<Key>,
    ) -> BoxFuture<'a, Result<Page, Fault>> {
        let row = Key::from([("id".into(), Attribute::S("1".to_owned()))]);
        async { Ok(Page { rows: vec![row], next: None }) }.boxed()
    }
}

impl TopicSink for Nowhere {
    fn publish<'a>(
        &'a self,
        _topic: &'a Arc<str>,
        entries: &'a [Entry<'a>],
    ) -> BoxFuture<'a, Vec<Result<(), Fault>>> {
        async { entries.iter().map(|_| Ok(())).collect() }.boxed()
    }
}

impl FoldSink for Nowhere {
    fn commit<'a>(
        &'a self,
        _projection: &'a ProjectionName,
        _actions: &'a [Action],
    ) -> BoxFuture<'a, Result<Commit, Fault>> {
        async { Ok(Commit::Done) }.boxed()
    }

    fn contributed<'a>(
        &'a self,
        _projection: &'a ProjectionName,
        _digest: KeyDigest,
    ) -> BoxFuture<'a, Result<Option<Contributed>, Fault>> {
        async { Ok(None) }.boxed()
    }

    fn totals<'a>(&'a self, _row: &'a SharedRow) -> BoxFuture<'a, Result<Option<Item>, Fault>> {
        async { Ok(None) }.boxed()
    }

    fn counts<'a>(
        &'a self,
        _column: &'a str,
        _orders: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<ValueCount>, Fault>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn values<'a>(
        &'a self,
        _column: &'a str,
        _from: From,
        _after: Option<&'a [u8]>,
    ) -> BoxFuture<'a, Result<Vec<ValueCount>, Fault>> {
        async { Ok(Vec::new()) }.boxed()
    }
}
