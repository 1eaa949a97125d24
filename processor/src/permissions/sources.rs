//! What is read: streams and queues by event source mappings and by pollers, and what pollers agree on.

use millstream_projections::config::SourceKind;

use super::grants::{Grants, Purpose};
use super::resource::Resource;
use super::{Deployment, Role};
use crate::setup;

const DESCRIBE_TABLE: &str = "dynamodb:DescribeTable";
const DESCRIBE_STREAM: &str = "dynamodb:DescribeStream";
const ITERATOR: &str = "dynamodb:GetShardIterator";
const RECORDS: &str = "dynamodb:GetRecords";
const LIST_STREAMS: &str = "dynamodb:ListStreams";
const QUERY: &str = "dynamodb:Query";
const SCAN: &str = "dynamodb:Scan";
const PUT: &str = "dynamodb:PutItem";
const UPDATE: &str = "dynamodb:UpdateItem";
const DELETE: &str = "dynamodb:DeleteItem";
const CHECK: &str = "dynamodb:ConditionCheckItem";

const RECEIVE: &str = "sqs:ReceiveMessage";
const REMOVE: &str = "sqs:DeleteMessage";
const HIDE: &str = "sqs:ChangeMessageVisibility";
const ATTRIBUTES: &str = "sqs:GetQueueAttributes";

/// What Lambda itself needs of the function's role to read a stream or a queue. A topic invokes the function by the
/// function's own policy, and needs nothing of its role.
pub(super) fn mapped(deployment: &Deployment<'_>, role: Role, grants: &mut Grants) {
    for source in deployment.sources_of(role) {
        match &source.kind {
            SourceKind::Table(table) => {
                // Lambda makes no mapping for a role that may not list streams, though it is told which one to read.
                let streams = Resource::Streams(table.clone());
                grants.add(Purpose::Streams, streams, [DESCRIBE_STREAM, ITERATOR, RECORDS, LIST_STREAMS]);
            }
            SourceKind::Queue(url) => {
                // What a function does not report, Lambda lets come again by itself: it hides nothing.
                let queue = Resource::Queue(url.clone());
                grants.add(Purpose::Queues, queue, [RECEIVE, REMOVE, ATTRIBUTES]);
            }
            SourceKind::Topic(_) => {}
        }
    }
}

/// What a poller needs to find streams, to read them and to share them with others, and to read queues, which SQS shares
/// out: who reads no stream needs no state.
pub(super) fn polled(deployment: &Deployment<'_>, grants: &mut Grants) {
    for source in deployment.sources_of(Role::Poller) {
        match &source.kind {
            SourceKind::Table(table) => {
                grants.add(Purpose::Sources, Resource::Table(table.clone()), [DESCRIBE_TABLE]);
                let streams = Resource::Streams(table.clone());
                grants.add(Purpose::Streams, streams, [LIST_STREAMS, DESCRIBE_STREAM, ITERATOR, RECORDS]);
                grants.add(Purpose::State, state(deployment), [QUERY, PUT, UPDATE, DELETE, CHECK]);
            }
            SourceKind::Queue(url) => {
                let queue = Resource::Queue(url.clone());
                grants.add(Purpose::Queues, queue, [RECEIVE, REMOVE, HIDE, ATTRIBUTES]);
            }
            SourceKind::Topic(_) => {}
        }
    }
}

/// What an operator needs to see how far pollers are and how much waits in queues, and to fetch the records that a mapping
/// gave up on.
pub(super) fn looked_at(deployment: &Deployment<'_>, grants: &mut Grants) {
    for source in deployment.sources_of(Role::Operator) {
        match &source.kind {
            SourceKind::Table(table) => {
                grants.add(Purpose::Sources, Resource::Table(table.clone()), [DESCRIBE_TABLE]);
                grants.add(Purpose::Streams, Resource::Streams(table.clone()), [ITERATOR, RECORDS]);
                grants.add(Purpose::State, state(deployment), [QUERY]);
            }
            SourceKind::Queue(url) => {
                grants.add(Purpose::Queues, Resource::Queue(url.clone()), [ATTRIBUTES]);
            }
            SourceKind::Topic(_) => {}
        }
    }
}

/// What reading the leases of another library needs, and adding what follows from them to our state.
pub(super) fn taken_over(deployment: &Deployment<'_>, grants: &mut Grants) {
    for table in deployment.tables_of(Role::Migration) {
        grants.add(Purpose::Sources, Resource::Table(table.clone()), [DESCRIBE_TABLE]);
        let streams = Resource::Streams(table.clone());
        // Whether a shard can be read on the request for an iterator tells: no record is fetched.
        grants.add(Purpose::Streams, streams, [DESCRIBE_STREAM, ITERATOR]);
        grants.add(Purpose::State, state(deployment), [QUERY, PUT, UPDATE]);
    }
    if let Some(leases) = deployment.lease_table {
        grants.add(Purpose::Leases, Resource::Table(leases.into()), [SCAN]);
    }
}

fn state(deployment: &Deployment<'_>) -> Resource {
    Resource::Table(deployment.config.state.state_table().into())
}

/// What making our own tables needs.
pub(super) fn made(deployment: &Deployment<'_>, grants: &mut Grants) {
    for own in setup::tables(deployment.config) {
        let table = Resource::Table(own.name.as_str().into());
        let purpose = purpose_of(own.holds);
        grants.add(purpose, table.clone(), ["dynamodb:CreateTable", DESCRIBE_TABLE]);
        if own.definition.expires.is_some() {
            grants.add(purpose, table, ["dynamodb:DescribeTimeToLive", "dynamodb:UpdateTimeToLive"]);
        }
    }
}

fn purpose_of(holds: setup::Holds) -> Purpose {
    match holds {
        setup::Holds::Ledger => Purpose::Ledger,
        setup::Holds::Values => Purpose::Values,
        setup::Holds::Letters => Purpose::Letters,
        setup::Holds::State => Purpose::State,
    }
}
