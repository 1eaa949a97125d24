//! The HTTP connector behind the AWS SDK's clients: it answers in the process, after asking the fault plan.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use serde_json::Value;

use crate::faults::{Fault, FaultPlan, Verdict};

/// The Region that every double is in.
pub(crate) const REGION: &str = "eu-west-1";
/// The account that every double is in.
pub(crate) const ACCOUNT: &str = "000000000000";

/// One request as a service understood it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) operation: String,
    /// The tables, or the topics, that the request names.
    pub(crate) tables: Vec<String>,
    pub(crate) body: Value,
}

/// What goes back over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

/// A service that runs in the process.
pub(crate) trait Service: std::fmt::Debug + Send + Sync + 'static {
    /// Understands a request. Nothing is applied yet.
    fn read(&self, request: &HttpRequest) -> Call;
    /// Whether an answer may take its time. One that may is given on a thread for blocking work.
    ///
    /// While such a thread is at work, tokio's paused clock does not go on by itself.
    fn may_block(&self) -> bool {
        true
    }
    /// Applies the request.
    fn answer(&self, call: &Call) -> Reply;
    /// Applies the request with one fault that only this service knows how to play, like a failed entry.
    fn answer_partly(&self, call: &Call, fault: &Fault) -> Reply;
    /// Says no in this service's own protocol, without applying anything.
    fn refuse(&self, call: &Call, fault: &Fault) -> Reply;
}

/// A client configuration whose every request goes to `service`, through `plan` if there is one.
///
/// The SDK's own retries are off: a fault has to reach the retry that is under test.
pub(crate) fn sdk_config(service: Arc<dyn Service>, plan: Option<FaultPlan>) -> SdkConfig {
    base_config().into_builder().http_client(http_client(service, plan)).build()
}

/// What every configuration of the tests has: dummy credentials, one Region, no retries, no time-outs.
pub(crate) fn base_config() -> SdkConfig {
    let credentials = Credentials::new("AKIDTEST", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}

fn http_client(service: Arc<dyn Service>, plan: Option<FaultPlan>) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(InProcess { service, plan });
    http_client_fn(move |_, _| connector.clone())
}

#[derive(Debug)]
struct InProcess {
    service: Arc<dyn Service>,
    plan: Option<FaultPlan>,
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (service, plan) = (self.service.clone(), self.plan.clone());
        HttpConnectorFuture::new(async move {
            let call = service.read(&request);
            match plan {
                None => respond(apply(service, call, None).await),
                Some(plan) => through_plan(service, plan, call).await,
            }
        })
    }
}

/// Answers one request, unless the plan has it fail. A request that a crash cut never completes.
pub(crate) async fn through_plan(
    service: Arc<dyn Service>,
    plan: FaultPlan,
    call: Call,
) -> Result<HttpResponse, ConnectorError> {
    let life = plan.life();
    plan.alive(life).await;
    let decision = plan.decide(&call);
    if !decision.delay.is_zero() {
        tokio::time::sleep(decision.delay).await;
        plan.alive(life).await;
    }
    let reply = match decision.verdict {
        Verdict::Pass => apply(service, call, None).await,
        Verdict::Crash { apply: false } => {
            plan.crash();
            std::future::pending().await
        }
        Verdict::Crash { apply: true } => {
            apply(service, call, None).await;
            plan.crash();
            std::future::pending().await
        }
        Verdict::Fault(Fault::LoseReply) => {
            apply(service, call, None).await;
            plan.alive(life).await;
            return Err(ConnectorError::io("connection reset by peer, after the request was applied".into()));
        }
        Verdict::Fault(Fault::Reset) => {
            return Err(ConnectorError::io("connection reset by peer".into()));
        }
        Verdict::Fault(Fault::Timeout) => return Err(ConnectorError::timeout("request timed out".into())),
        Verdict::Fault(fault @ Fault::FailEntries { .. }) => apply(service, call, Some(fault)).await,
        Verdict::Fault(fault) => service.refuse(&call, &fault),
    };
    // A process that crashed while this request was under way never sees its reply.
    plan.alive(life).await;
    respond(reply)
}

/// Runs the request to its end even when the caller goes away: a service does not undo what it was sent.
async fn apply(service: Arc<dyn Service>, call: Call, fault: Option<Fault>) -> Reply {
    let may_block = service.may_block();
    let answer = move || match fault {
        None => service.answer(&call),
        Some(fault) => service.answer_partly(&call, &fault),
    };
    if !may_block {
        return answer();
    }
    tokio::task::spawn_blocking(answer).await.expect("the double panicked")
}

fn respond(reply: Reply) -> Result<HttpResponse, ConnectorError> {
    let status = reply.status.try_into().expect("a fault's status is an HTTP status");
    let mut response = HttpResponse::new(status, SdkBody::from(reply.body));
    response.headers_mut().insert("content-type", reply.content_type);
    response.headers_mut().insert("x-amzn-requestid", "00000000-0000-0000-0000-000000000000");
    Ok(response)
}
