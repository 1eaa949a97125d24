//! The Lambda function: one binary for stream, queue and topic events.

use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use lambda_runtime::{LambdaEvent, service_fn};
use millstream_processor::clock::SystemClock;
use millstream_processor::host::lambda::LambdaHost;
use millstream_processor::wiring::{self, Aws};
use serde_json::value::RawValue;

fn main() -> ExitCode {
    millstream_processor::logs::json();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run()),
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

async fn run() -> Result<(), lambda_runtime::Error> {
    let metrics = metrics_cloudwatch_embedded::Builder::new().cloudwatch_namespace("Millstream").init()?;
    let config = wiring::load(&wiring::config_path())?;
    let aws = Aws::connect(None).await;
    let host = LambdaHost {
        pipeline: wiring::pipeline(&config, &aws, Arc::new(SystemClock)),
        sources: wiring::sources(&config),
        margin: config.pipeline.deadline_margin,
    };
    let host = &host;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = event.context.deadline();
        let body = Bytes::from(String::from(Box::<str>::from(event.payload)));
        let response = host.handle(body, deadline).await;
        metrics.flush(std::io::stdout())?;
        response.map_err(|error| {
            tracing::error!(cause = %error, "invocation failed");
            lambda_runtime::Error::from(error)
        })
    }))
    .await
}
