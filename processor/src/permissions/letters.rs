//! Letters in their stores, as `letters/` keeps them, and what an event source mapping gave up on.

use std::sync::Arc;

use millstream_projections::config::LettersStore;

use super::grants::{Grants, Purpose};
use super::resource::{OnFailure, Resource};
use super::writes::ledger;
use super::{Deployment, Role};
use crate::letters::table::DEFINITION;

const GET: &str = "dynamodb:GetItem";
const PUT: &str = "dynamodb:PutItem";
const UPDATE: &str = "dynamodb:UpdateItem";
const DELETE: &str = "dynamodb:DeleteItem";
const QUERY: &str = "dynamodb:Query";
const BATCH_GET: &str = "dynamodb:BatchGetItem";

/// The index that tells which letters wait.
const BY_STATE: &str = "by-state";

const SEND: &str = "sqs:SendMessage";
const SIZE: &str = "sqs:GetQueueAttributes";
const RECEIVE: &str = "sqs:ReceiveMessage";
const REMOVE: &str = "sqs:DeleteMessage";
const HIDE: &str = "sqs:ChangeMessageVisibility";

/// What storing letters needs; where a projection keeps an order, also looking at them and closing those whose change
/// went through after all.
pub(super) fn stored(deployment: &Deployment<'_>, keeps_order: bool, grants: &mut Grants) {
    let config = deployment.config;
    match &config.letters.store {
        LettersStore::Table => {
            let letters = Resource::Table(config.state.letters_table().into());
            grants.add(Purpose::Letters, letters, [GET, PUT, UPDATE]);
        }
        LettersStore::Queue(url) => {
            grants.add(Purpose::Letters, Resource::Queue(url.clone()), [SEND, SIZE]);
            // Whether a letter is closed, and that it is no longer.
            grants.add(Purpose::Ledger, ledger(config), [GET, DELETE]);
            if keeps_order {
                grants.add(Purpose::Letters, Resource::Queue(url.clone()), [RECEIVE, REMOVE, HIDE]);
                grants.add(Purpose::Ledger, ledger(config), [PUT]);
            }
        }
        LettersStore::Directory(_) => {}
    }
}

/// What counting the letters that wait needs, beside what storing them does: that is enough for a queue.
pub(super) fn counted(deployment: &Deployment<'_>, grants: &mut Grants) {
    let config = deployment.config;
    match &config.letters.store {
        LettersStore::Table => {
            let index = Resource::Index(config.state.letters_table().into(), BY_STATE.into());
            grants.add(Purpose::Letters, index, [QUERY]);
        }
        LettersStore::Queue(_) | LettersStore::Directory(_) => {}
    }
}

/// What listing, showing, closing and editing letters needs, and the trail of who did so.
pub(super) fn mended(deployment: &Deployment<'_>, grants: &mut Grants) {
    let config = deployment.config;
    match &config.letters.store {
        LettersStore::Table => {
            let table: Arc<str> = config.state.letters_table().into();
            let letters = Resource::Table(table.clone());
            grants.add(Purpose::Letters, letters, [GET, PUT, UPDATE, QUERY, BATCH_GET]);
            for (index, _, _) in DEFINITION.indexes {
                let index = Resource::Index(table.clone(), (*index).into());
                grants.add(Purpose::Letters, index, [QUERY]);
            }
        }
        LettersStore::Queue(url) => {
            let letters = Resource::Queue(url.clone());
            grants.add(Purpose::Letters, letters, [SEND, SIZE, RECEIVE, REMOVE, HIDE]);
            grants.add(Purpose::Ledger, ledger(config), [GET, PUT, UPDATE, DELETE, BATCH_GET]);
        }
        LettersStore::Directory(_) => {}
    }
}

/// What Lambda itself needs of the function's role to tell of what it gives up on.
pub(super) fn reported(deployment: &Deployment<'_>, role: Role, grants: &mut Grants) {
    let destination = match (role, deployment.on_failure) {
        (Role::StreamFunction, Some(destination)) => destination,
        // A queue has a dead-letter queue of its own, which no role writes to.
        _ => return,
    };
    match destination {
        OnFailure::Queue(arn) => grants.add(Purpose::Failures, Resource::Arn(arn.clone()), [SEND]),
        OnFailure::Topic(arn) => grants.add(Purpose::Failures, Resource::Arn(arn.clone()), ["sns:Publish"]),
        OnFailure::Bucket(arn) => {
            grants.add(Purpose::Failures, Resource::Arn(arn.clone()), ["s3:ListBucket"]);
            grants.add(Purpose::Failures, objects(arn), ["s3:PutObject"]);
        }
    }
}

/// What `millstream replay import` needs of the same place. What a topic tells comes from a queue or a file.
pub(super) fn imported(deployment: &Deployment<'_>, grants: &mut Grants) {
    match deployment.on_failure {
        Some(OnFailure::Queue(arn)) => {
            grants.add(Purpose::Failures, Resource::Arn(arn.clone()), [RECEIVE, REMOVE, HIDE]);
        }
        Some(OnFailure::Bucket(arn)) => {
            grants.add(Purpose::Failures, Resource::Arn(arn.clone()), ["s3:ListBucket"]);
            grants.add(Purpose::Failures, objects(arn), ["s3:GetObject"]);
        }
        Some(OnFailure::Topic(_)) | None => {}
    }
}

/// Where in a bucket Lambda puts what its mappings give up on.
fn objects(bucket: &str) -> Resource {
    Resource::Arn(format!("{bucket}/aws/lambda/*").into())
}
