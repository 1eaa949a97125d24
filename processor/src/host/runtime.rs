//! The `main` of a Lambda function: config, clients and pipeline once, then event after event.

use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;

use super::lambda::LambdaHost;
use crate::clock::SystemClock;
use crate::route::{RegisterError, Registry};
use crate::wiring::{self, Aws};

/// Runs the function until Lambda ends it. `register` adds projections written in Rust to those of the config.
pub fn main(register: impl FnOnce(&mut Registry<'_>) -> Result<(), RegisterError>) -> ExitCode {
    crate::logs::json();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(register)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(cause = %error, "function cannot start");
            ExitCode::from(2)
        }
    }
}

async fn run(register: impl FnOnce(&mut Registry<'_>) -> Result<(), RegisterError>) -> Result<(), Error> {
    let metrics = metrics_cloudwatch_embedded::Builder::new().cloudwatch_namespace("Millstream").init()?;
    let config = wiring::load(&wiring::config_path())?;
    let aws = Aws::connect(None).await;
    let mut pipeline = wiring::pipeline(&config, &aws, Arc::new(SystemClock));
    register(&mut Registry::new(&config, &mut pipeline.routes))?;
    let host =
        LambdaHost { pipeline, sources: wiring::sources(&config), margin: config.pipeline.deadline_margin };
    let host = &host;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = event.context.deadline();
        let body = Bytes::from(String::from(Box::<str>::from(event.payload)));
        let response = host.handle(body, deadline).await;
        metrics.flush(std::io::stdout())?;
        response.map_err(|error| {
            tracing::error!(cause = %error, "invocation failed");
            Error::from(error)
        })
    }))
    .await
}
