//! How a conditional write ended: written, refused by its condition, or failed.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::{TransactWriteItemsError, TransactWriteItemsOutput};
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::CancellationReason;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::rows::Item;
use crate::outcome::Fault;
use crate::sink::fault::{fault, kind_of_code};

/// What a conditional write met.
#[derive(Debug)]
pub(super) enum Met {
    /// Its condition held.
    Written,
    /// Its condition did not hold. The row as it stands, if there is one.
    Refused(Option<Item>),
}

impl Met {
    /// What the first action of a transaction met; if another one refused, the row that this one would have changed is
    /// not told.
    pub(super) fn of_first(refusals: Option<Vec<Option<Item>>>) -> Self {
        match refusals {
            None => Self::Written,
            Some(refusals) => Self::Refused(refusals.into_iter().next().flatten()),
        }
    }
}

/// What an update met.
pub(super) fn met(
    sent: Result<UpdateItemOutput, SdkError<UpdateItemError, HttpResponse>>,
    doing: impl Fn() -> String,
) -> Result<Met, Fault> {
    let Err(error) = sent else { return Ok(Met::Written) };
    match error.as_service_error() {
        Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
            Ok(Met::Refused(refused.item.clone()))
        }
        _ => Err(fault(doing(), &error)),
    }
}

/// What each action of a refused transaction met: the row where its condition failed, an empty one if there is none.
/// `None` if the transaction was done.
pub(super) fn refusals(
    sent: Result<TransactWriteItemsOutput, SdkError<TransactWriteItemsError, HttpResponse>>,
    doing: impl Fn() -> String,
) -> Result<Option<Vec<Option<Item>>>, Fault> {
    let Err(error) = sent else { return Ok(None) };
    let reasons = match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancelled.cancellation_reasons()
        }
        _ => &[],
    };
    let faults = reasons.iter().filter_map(|reason| {
        let code = reason.code().filter(|code| !matches!(*code, "None" | REFUSED))?;
        let cause = format!("{code}: {}", reason.message().unwrap_or("no message"));
        Some(Fault { kind: kind_of_code(code), causes: vec![doing(), cause] })
    });
    if let Some(worst) = faults.reduce(|a, b| crate::apply::worse(Some(a), b)) {
        return Err(worst);
    }
    if reasons.is_empty() {
        return Err(fault(doing(), &error));
    }
    let met = |reason: &CancellationReason| {
        (reason.code() == Some(REFUSED)).then(|| reason.item.clone().unwrap_or_default())
    };
    Ok(Some(reasons.iter().map(met).collect()))
}

const REFUSED: &str = "ConditionalCheckFailed";
