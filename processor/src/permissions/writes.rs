//! The writes of projections, as `sink/` sends them, and what plans read before them. A transaction is allowed where each
//! of its actions is: `PutItem`, `UpdateItem`, `DeleteItem`, `ConditionCheckItem`.

use std::sync::Arc;

use millstream_projections::config::{Config, Kind};
use millstream_projections::effect::Tombstones;
use millstream_projections::kinds::aggregate::Aggregate;
use millstream_projections::kinds::copy::{Copy, OnDelete, Rows};
use millstream_projections::kinds::replica::Replica;

use super::grants::{Grants, Purpose};
use super::resource::Resource;

const GET: &str = "dynamodb:GetItem";
const PUT: &str = "dynamodb:PutItem";
const UPDATE: &str = "dynamodb:UpdateItem";
const DELETE: &str = "dynamodb:DeleteItem";
const CHECK: &str = "dynamodb:ConditionCheckItem";
const QUERY: &str = "dynamodb:Query";
const BATCH_GET: &str = "dynamodb:BatchGetItem";
/// Asked where DynamoDB refuses a write, to tell a record that is at fault from a config that does not fit the table.
const DESCRIBE: &str = "dynamodb:DescribeTable";

/// What a projection needs for its writes.
pub(super) fn written(config: &Config, kind: &Kind, grants: &mut Grants) {
    match kind {
        Kind::Replica(replica) => of_replica(config, replica, grants),
        Kind::Copy(copy) => of_copy(config, copy, grants),
        Kind::Aggregate(aggregate) => of_aggregate(config, aggregate, grants),
        Kind::Index(index) => {
            grants.add(Purpose::Lookups, table(&index.table), [PUT, DELETE, DESCRIBE]);
            grants.add(Purpose::Ledger, ledger(config), [GET, UPDATE]);
        }
        Kind::Emit(emit) => {
            grants.add(Purpose::Topics, Resource::Arn(emit.topic.clone()), ["sns:Publish"]);
            // Which keys wait behind a letter.
            grants.add(Purpose::Ledger, ledger(config), [GET, PUT, UPDATE, DELETE]);
        }
    }
}

/// What a plan reads beside that: rows as they stand, and what the ledger remembers of them.
pub(super) fn planned(config: &Config, kind: &Kind, grants: &mut Grants) {
    let (purpose, rows, remembered) = match kind {
        Kind::Replica(replica) => (Purpose::Replicas, &replica.table, true),
        Kind::Copy(copy) => (Purpose::Copies, &copy.table, false),
        Kind::Aggregate(aggregate) => (Purpose::Totals, &aggregate.table, true),
        Kind::Index(index) => (Purpose::Lookups, &index.table, true),
        Kind::Emit(_) => return,
    };
    grants.add(purpose, table(rows), [GET]);
    if remembered {
        grants.add(Purpose::Ledger, ledger(config), [GET]);
    }
}

fn of_replica(config: &Config, replica: &Replica, grants: &mut Grants) {
    grants.add(Purpose::Replicas, table(&replica.table), [PUT, DESCRIBE]);
    match replica.tombstones {
        Tombstones::Ledger => {
            grants.add(Purpose::Replicas, table(&replica.table), [DELETE, CHECK]);
            grants.add(Purpose::Ledger, ledger(config), [PUT, CHECK]);
        }
        // A marker is put in the row's place, or the row stays.
        Tombstones::Inline | Tombstones::Never => {}
    }
}

fn of_copy(config: &Config, copy: &Copy, grants: &mut Grants) {
    grants.add(Purpose::Copies, table(&copy.table), [UPDATE, DESCRIBE]);
    if let Rows::Many { index, .. } = &copy.rows {
        let index = Resource::Index(copy.table.clone(), index.clone());
        grants.add(Purpose::Indexes, index, [QUERY]);
    }
    match copy.on_delete {
        OnDelete::Delete => {
            grants.add(Purpose::Copies, table(&copy.table), [DELETE]);
            // Which removals have taken their rows with them.
            grants.add(Purpose::Ledger, ledger(config), [GET, PUT]);
        }
        OnDelete::Clear | OnDelete::Keep => {}
    }
}

fn of_aggregate(config: &Config, aggregate: &Aggregate, grants: &mut Grants) {
    grants.add(Purpose::Totals, table(&aggregate.table), [UPDATE, DESCRIBE]);
    grants.add(Purpose::Ledger, ledger(config), [GET, UPDATE]);
    if aggregate.keeps.delete_empty {
        grants.add(Purpose::Totals, table(&aggregate.table), [DELETE, CHECK]);
    }
    if aggregate.keeps.has_statistics() {
        grants.add(Purpose::Totals, table(&aggregate.table), [GET]);
        let values = Resource::Table(config.state.values_table().into());
        grants.add(Purpose::Values, values, [BATCH_GET, QUERY, PUT, DELETE]);
    }
}

fn table(name: &Arc<str>) -> Resource {
    Resource::Table(name.clone())
}

pub(super) fn ledger(config: &Config) -> Resource {
    Resource::Table(config.state.ledger_table().into())
}
