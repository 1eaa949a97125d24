//! The `main` of a Lambda function: config, clients and pipeline once, then event after event.

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use lambda_runtime::tower::util::MapRequestLayer;
use lambda_runtime::{Error, LambdaEvent, LambdaInvocation, Runtime, service_fn};
use metrics_cloudwatch_embedded::Collector;

use super::init_error;
use super::lambda::LambdaHost;
use crate::clock::SystemClock;
use crate::route::{RegisterError, Registry};
use crate::wiring::{self, Aws};

/// The function's name, which Lambda sets.
const FUNCTION_NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";

/// Runs the function until Lambda ends it. `register` adds projections written in Rust to those of the config.
pub fn main(register: impl FnOnce(&mut Registry<'_>) -> Result<(), RegisterError>) -> ExitCode {
    crate::logs::json();
    match start(register) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(cause = %error, "function cannot start");
            init_error::report(&error.to_string());
            ExitCode::from(2)
        }
    }
}

fn start(register: impl FnOnce(&mut Registry<'_>) -> Result<(), RegisterError>) -> Result<(), Error> {
    // One thread: Lambda gives a function less than two processors below 3.5 GB, and the work waits for answers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let metrics = metrics_cloudwatch_embedded::Builder::new().cloudwatch_namespace("Millstream");
    // Two stages in one account are two functions: their numbers must not mix.
    let metrics = metrics.with_dimension("FunctionName", std::env::var(FUNCTION_NAME).unwrap_or_default());
    let metrics = metrics.init()?;
    let config = wiring::load(&wiring::config_path())?;
    runtime.block_on(async {
        let aws = Aws::connect(None).await;
        let mut pipeline = wiring::pipeline(&config, &aws, Arc::new(SystemClock));
        register(&mut Registry::new(&config, &mut pipeline.routes))?;
        let sources = wiring::sources(&config);
        run(LambdaHost { pipeline, sources, margin: config.pipeline.deadline_margin }, metrics).await
    })
}

/// Answers event after event.
async fn run(host: LambdaHost, metrics: &'static Collector) -> Result<(), Error> {
    let host = &host;
    // `lambda_runtime` would parse and copy the whole event before we do: it is handed on as it came instead.
    let body = Rc::new(Cell::new(Bytes::new()));
    let keep = MapRequestLayer::new({
        let body = body.clone();
        move |mut invocation: LambdaInvocation| {
            body.set(std::mem::replace(&mut invocation.body, Bytes::from_static(b"null")));
            invocation
        }
    });
    let handler = service_fn(move |event: LambdaEvent<()>| {
        let body = body.take();
        async move {
            let response = host.handle(body, event.context.deadline()).await;
            metrics.flush(std::io::stdout())?;
            response.map_err(|error| {
                tracing::error!(cause = %error, "invocation failed");
                Error::from(error)
            })
        }
    });
    Runtime::new(handler).layer(keep).run().await
}
