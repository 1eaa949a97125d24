//! From the SDKs' errors to faults: one table of the services' error codes.

use std::error::Error;
use std::fmt::Debug;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::outcome::{Fault, FaultKind};

/// The fault behind an error of any AWS SDK, with what was being done when it came.
pub fn fault<E>(doing: impl Into<String>, error: &SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let doing = doing.into();
    match error {
        SdkError::ServiceError(service) => {
            let (status, service) = (service.raw().status().as_u16(), service.err());
            let message = service.message().unwrap_or("no message");
            match service.code() {
                Some(code) => {
                    Fault { kind: kind_of_code(code), causes: vec![doing, format!("{code}: {message}")] }
                }
                // A proxy or a balancer answers in no protocol of AWS.
                None => Fault {
                    kind: kind_of_status(status),
                    causes: vec![doing, format!("HTTP status {status} without an error code: {message}")],
                },
            }
        }
        SdkError::DispatchFailure(dispatch) => match dispatch.as_connector_error() {
            None => Fault { kind: FaultKind::Unavailable, causes: vec![doing, "no connection".to_owned()] },
            Some(error) => {
                let lacks_credentials = has_cause::<CredentialsError>(error);
                let reachable = error.is_user() && !error.is_timeout() && !error.is_io();
                let kind = match lacks_credentials || reachable {
                    true => FaultKind::Misconfigured,
                    false => FaultKind::Unavailable,
                };
                Fault::from_error(kind, doing, error)
            }
        },
        SdkError::TimeoutError(_) => Fault {
            kind: FaultKind::Unavailable,
            causes: vec![doing, "no answer within the time-out".to_owned()],
        },
        // The service answered something that is no answer of its protocol, as a broken proxy does.
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            let cause = format!("HTTP status {status} with an answer that cannot be read");
            Fault { kind: FaultKind::Unavailable, causes: vec![doing, cause] }
        }
        // The request could not even be made: no region, no credentials, an endpoint that is no URL.
        SdkError::ConstructionFailure(_) => {
            Fault::from_error(FaultKind::Misconfigured, doing, &Described(error))
        }
        // The SDK's enum is open; a kind of error that is new to us must lose nothing.
        other => Fault::from_error(FaultKind::Unavailable, doing, &Described(other)),
    }
}

/// What an HTTP status alone says.
fn kind_of_status(status: u16) -> FaultKind {
    match status {
        429 => FaultKind::Throttled,
        500.. => FaultKind::Unavailable,
        _ => FaultKind::Misconfigured,
    }
}

/// The table of error codes of DynamoDB, its streams, SNS, SQS and S3.
pub fn kind_of_code(code: &str) -> FaultKind {
    match code {
        "ProvisionedThroughputExceededException"
        | "ProvisionedThroughputExceeded"
        | "ThrottlingException"
        | "Throttling"
        | "ThrottlingError"
        | "ThrottledException"
        | "Throttled"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "LimitExceededException"
        | "TooManyRequestsException"
        | "SlowDown"
        // So many messages of a queue are out of sight that it gives out no more.
        | "OverLimit"
        | "KMSThrottlingException"
        | "KMSThrottling"
        | "KmsThrottled" => FaultKind::Throttled,
        "TransactionConflictException" | "TransactionConflict" | "TransactionInProgressException" => {
            FaultKind::Conflict
        }
        "InternalServerError"
        | "InternalServerErrorException"
        | "InternalFailure"
        | "InternalError"
        | "InternalErrorException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "ReplicatedWriteConflictException"
        // Nothing is lost: whoever read the shard asks for another iterator.
        | "ExpiredIteratorException" => FaultKind::Unavailable,
        "ValidationException"
        | "ValidationError"
        | "ItemCollectionSizeLimitExceededException"
        | "ItemCollectionSizeLimitExceeded"
        | "InvalidParameter"
        | "InvalidParameterException"
        | "InvalidParameterValue"
        | "ParameterValueInvalid"
        | "SerializationException" => FaultKind::Rejected,
        // Access denied, tables or topics missing, bad signatures, disabled regions, and whatever code is new:
        // to leave a change unfinished loses nothing, a letter for every record would.
        _ => FaultKind::Misconfigured,
    }
}

fn has_cause<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<T>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// An SDK error as a plain error, whatever its parameters.
#[derive(Debug)]
struct Described<'a, E>(&'a SdkError<E, HttpResponse>);

impl<E: Error + 'static> std::fmt::Display for Described<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            SdkError::ConstructionFailure(failure) => write!(f, "{failure:?}"),
            other => write!(f, "{other}"),
        }
    }
}

impl<E: Error + 'static> Error for Described<'_, E> {}
