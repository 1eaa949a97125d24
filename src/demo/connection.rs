//! Which DynamoDB the demo talks to: one inside this process, an endpoint, or AWS itself.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use millstream_processor::wiring::Aws;

use super::DemoError;
use super::server::Server;

/// The word that stands for AWS itself where an endpoint's URL is asked for.
pub(crate) const AWS: &str = "aws";
/// The Region of services on this machine, where the environment names none.
pub(crate) const REGION: &str = "eu-west-1";
/// A service on this machine that accepts connections does so at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A DynamoDB, spoken to in two ways.
pub(crate) struct Connection {
    /// How the services write: with the SDK's own retries.
    pub(crate) services: SdkConfig,
    /// How the pipeline writes: it retries by itself.
    pub(crate) pipeline: Aws,
    /// Where it is; AWS itself has no URL of its own.
    pub(crate) url: Option<String>,
    /// Whether it ends with the demo.
    pub(crate) inside: bool,
    _server: Option<Server>,
}

impl Connection {
    /// Connects to `endpoint`, or starts a DynamoDB where none is given.
    pub(crate) async fn open(endpoint: Option<&str>) -> Result<Self, DemoError> {
        let server = match endpoint {
            None => Some(
                Server::start()
                    .map_err(|e| DemoError::new(format!("cannot start the DynamoDB inside: {e}")))?,
            ),
            Some(_) => None,
        };
        let url = match &server {
            Some(server) => Some(server.url().to_owned()),
            None => endpoint.filter(|endpoint| *endpoint != AWS).map(str::to_owned),
        };
        let base = configuration(url.as_deref(), server.is_some()).await;
        let services =
            base.clone().into_builder().retry_config(RetryConfig::standard().with_max_attempts(5)).build();
        let pipeline = Aws::from_config(base.into_builder().retry_config(RetryConfig::disabled()).build());
        Ok(Self { services, pipeline, url, inside: server.is_some(), _server: server })
    }
}

/// The configuration for an endpoint. What is on this machine needs no credentials; made-up ones are sent, since something has to be.
pub(crate) async fn configuration(url: Option<&str>, inside: bool) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(Duration::from_secs(20))
        .build();
    let made_up =
        SharedCredentialsProvider::new(Credentials::new("demo", "demo", None, None, "millstream demo"));
    if inside {
        // Nothing of the environment may lead the demo to anyone's real tables.
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(made_up)
            .timeout_config(timeouts);
        config.set_endpoint_url(url.map(str::to_owned));
        return config.build();
    }
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts);
    if let Some(url) = url {
        loader = loader.endpoint_url(url);
        if is_loopback(url) && std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
            loader = loader.credentials_provider(made_up);
            if std::env::var_os("AWS_REGION").is_none() && std::env::var_os("AWS_DEFAULT_REGION").is_none() {
                loader = loader.region(Region::new(REGION));
            }
        }
    }
    loader.load().await
}

fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    ["127.", "localhost", "[::1]"].iter().any(|start| host.starts_with(start))
}
