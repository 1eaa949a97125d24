//! A double on a loopback socket, under the same faults, for code that runs in another process.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::connector::{Service, base_config, through_plan};
use crate::faults::FaultPlan;

/// A double that listens. Dropping it closes the socket and every connection.
#[derive(Debug)]
pub struct Served {
    endpoint: String,
    server: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start(service: Arc<dyn Service>, plan: FaultPlan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("the listener is bound"));
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, service.clone(), plan.clone()));
            }
        });
        Self { endpoint, server }
    }

    /// What a process is given as its `AWS_ENDPOINT_URL`, or as that of one service.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A client configuration for the socket: dummy credentials, no retries.
    pub fn sdk_config(&self) -> SdkConfig {
        base_config().into_builder().endpoint_url(&self.endpoint).build()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn connection(stream: TcpStream, service: Arc<dyn Service>, plan: FaultPlan) {
    let answer = service_fn(move |request| answer(request, service.clone(), plan.clone()));
    // An error of the service is a scripted one: it has closed the connection without a reply, as it should.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
}

async fn answer(
    request: Request<Incoming>,
    service: Arc<dyn Service>,
    plan: FaultPlan,
) -> Result<Response<Full<Bytes>>, ConnectorError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|error| ConnectorError::io(error.into()))?.to_bytes();
    let mut request = HttpRequest::new(SdkBody::from(body));
    if let Some(target) = head.headers.get("x-amz-target").and_then(|it| it.to_str().ok()) {
        request.headers_mut().insert("x-amz-target", target.to_owned());
    }
    match through_plan(service.clone(), plan, service.read(&request)).await {
        // Only the caller can let a request time out.
        Err(error) if error.is_timeout() => std::future::pending().await,
        Err(error) => Err(error),
        Ok(reply) => {
            let status = reply.status().as_u16();
            let content_type = reply.headers().get("content-type").unwrap_or_default().to_owned();
            let body = Bytes::copy_from_slice(reply.body().bytes().unwrap_or_default());
            let response = Response::builder().status(status).header("content-type", content_type);
            Ok(response.body(Full::new(body)).expect("the reply is well formed"))
        }
    }
}
