//! Reads the config file and makes clients, sinks and stores of it. The only place that reads the environment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use millstream_projections::config::{Config, ConfigErrors, LettersStore, SourceKind};

use crate::clock::{Clock, SystemClock};
use crate::holds::LedgerHolds;
use crate::ledger::Ledger;
use crate::letters::LetterStore;
use crate::letters::directory::DirectoryLetters;
use crate::letters::queue::{Patience, QueueLetters};
use crate::letters::table::TableLetters;
use crate::pipeline::{Limits, Pipeline};
use crate::poller::state::StateStore;
use crate::poller::state::table::TableState;
use crate::retry::RetryPolicy;
use crate::route::Routes;
use crate::sink::dynamodb::DynamoDbSink;
use crate::sink::sns::SnsSink;
use crate::source::{SourceKey, Sources};

/// The environment variable that names the config file.
pub const CONFIG_VARIABLE: &str = "MILLSTREAM_CONFIG";
/// The config file's name where nothing else is said.
pub const CONFIG_FILE: &str = "millstream.toml";

/// A connection that is not made within this time is tried again by the pipeline's own retries.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// DynamoDB answers in milliseconds; an attempt that takes this long is lost, and safe to repeat.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The file cannot be read.
    #[error("cannot read the config file {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What it says is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
}

/// Reads and checks the config file.
pub fn load(path: &Path) -> Result<Config, WiringError> {
    load_as(path, &|_| None)
}

/// The same where some variables are known to be others than those of the environment.
pub fn load_as(path: &Path, known: &dyn Fn(&str) -> Option<String>) -> Result<Config, WiringError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| WiringError::Unreadable { path: path.to_owned(), source })?;
    let environment = |name: &str| known(name).or_else(|| std::env::var(name).ok());
    Ok(Config::parse_at(&path.display().to_string(), &text, &environment, SystemClock.unix_seconds())?)
}

/// Where a host finds its config: named by the environment, else beside the binary.
pub fn config_path() -> PathBuf {
    if let Some(path) = std::env::var_os(CONFIG_VARIABLE) {
        return path.into();
    }
    let beside = std::env::current_exe().ok().and_then(|binary| Some(binary.parent()?.join(CONFIG_FILE)));
    beside.unwrap_or_else(|| CONFIG_FILE.into())
}

/// Clients of the AWS services, all of one account and region. Making one makes no request.
#[derive(Debug, Clone)]
pub struct Aws {
    config: SdkConfig,
}

impl Aws {
    /// Takes account, region and credentials from the environment, as every AWS tool does.
    pub async fn connect(endpoint: Option<&str>) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            // The pipeline retries itself: it knows the deadline, and what a lost answer means.
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .build(),
            );
        if let Some(endpoint) = endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        Self { config: loader.load().await }
    }

    /// Takes a configuration that was made elsewhere, as tests do.
    pub fn from_config(config: SdkConfig) -> Self {
        Self { config }
    }

    /// A DynamoDB client.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }

    /// A DynamoDB client that gives up an attempt sooner than others do.
    fn dynamodb_within(&self, patience: Duration) -> aws_sdk_dynamodb::Client {
        let connect = CONNECT_TIMEOUT.min(patience);
        let timeouts = TimeoutConfig::builder().connect_timeout(connect).operation_attempt_timeout(patience);
        let config = aws_sdk_dynamodb::config::Builder::from(&self.config).timeout_config(timeouts.build());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// A client of DynamoDB's streams.
    pub fn streams(&self) -> aws_sdk_dynamodbstreams::Client {
        aws_sdk_dynamodbstreams::Client::new(&self.config)
    }

    /// An SNS client.
    pub fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&self.config)
    }

    /// An S3 client. Where an endpoint is set, the bucket goes into the path: names like `bucket.localhost` seldom resolve.
    #[cfg(feature = "s3")]
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let own = std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
        let path_style = own || self.config.endpoint_url().is_some();
        let config = aws_sdk_s3::Config::from(&self.config).to_builder().force_path_style(path_style);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// An SQS client.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.config)
    }
}

/// The pipeline that a config describes. Makes no request.
pub fn pipeline(config: &Config, aws: &Aws, clock: Arc<dyn Clock>) -> Pipeline {
    let settings = &config.pipeline;
    let sink = Arc::new(DynamoDbSink::new(aws.dynamodb(), Ledger::of(&config.state), clock.clone()));
    Pipeline {
        routes: routes(config),
        rows: sink.clone(),
        folds: sink,
        topics: Arc::new(SnsSink::new(aws.sns())),
        letters: letters(config, aws, clock.clone()),
        holds: Arc::new(LedgerHolds::new(aws.dynamodb(), config.state.ledger_table().into())),
        clock,
        limits: Limits {
            concurrency: settings.concurrency.get(),
            hold: settings.hold,
            retry: RetryPolicy::new(settings.retry_initial, settings.retry_max, settings.retry_elapsed),
        },
        config: config.hash.clone(),
    }
}

/// The letter store that a config names. Makes no request.
pub fn letters(config: &Config, aws: &Aws, clock: Arc<dyn Clock>) -> Arc<dyn LetterStore> {
    match &config.letters.store {
        LettersStore::Table => Arc::new(TableLetters::new(
            aws.dynamodb(),
            config.state.letters_table().into(),
            config.letters.keep,
            clock,
        )),
        LettersStore::Queue(url) => {
            let ledger = config.state.ledger_table().into();
            Arc::new(QueueLetters::new(aws.sqs(), url.clone(), Patience::default(), aws.dynamodb(), ledger))
        }
        LettersStore::Directory(path) => Arc::new(DirectoryLetters::new(path.clone(), clock)),
    }
}

/// The letter store that a config names, connected only if it is not a directory.
pub async fn open_letters(
    config: &Config,
    endpoint: Option<&str>,
    clock: Arc<dyn Clock>,
) -> Arc<dyn LetterStore> {
    match &config.letters.store {
        LettersStore::Table | LettersStore::Queue(_) => letters(config, &Aws::connect(endpoint).await, clock),
        LettersStore::Directory(path) => Arc::new(DirectoryLetters::new(path.clone(), clock)),
    }
}

/// What the pollers of a consumer agree on. Makes no request. An attempt at a request takes as long as `patience` says at most.
pub fn state(
    config: &Config,
    aws: &Aws,
    consumer: Arc<str>,
    patience: Duration,
    clock: Arc<dyn Clock>,
) -> Arc<dyn StateStore> {
    let client = aws.dynamodb_within(patience);
    Arc::new(TableState::new(client, config.state.state_table().into(), consumer, clock))
}

/// How the wires name the sources of a config.
pub fn sources(config: &Config) -> Sources {
    Sources::new(config.sources.iter().map(|source| {
        let key = match &source.kind {
            SourceKind::Table(table) => SourceKey::Table(table.to_string()),
            SourceKind::Queue(url) => SourceKey::Queue(url.to_string()),
            SourceKind::Topic(arn) => SourceKey::Topic(arn.to_string()),
        };
        (source.name.clone(), key)
    }))
}

fn routes(config: &Config) -> Routes {
    let mut routes = Routes::default();
    for projection in &config.projections {
        routes.add(projection.from.clone(), projection.build());
    }
    routes
}
