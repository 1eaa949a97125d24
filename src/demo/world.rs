//! Everything the demo stands on: a DynamoDB with the services' tables, a topic, and the shipped config wired to both.

use std::borrow::Cow;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use millstream_processor::clock::SystemClock;
use millstream_processor::letters::LetterStore;
use millstream_processor::letters::queue::{Patience, QueueLetters};
use millstream_processor::pipeline::Pipeline;
use millstream_processor::projections::SourceName;
use millstream_processor::projections::config::{Config, SourceKind};
use millstream_processor::sink::TopicSink;
use millstream_processor::{setup, wiring};

use super::connection::{Connection, REGION, configuration};
use super::queues::Queues;
use super::remote::RemoteTopic;
use super::tables::{self, LAYOUTS};
use super::topic::LocalTopic;
use super::{AWS, DemoError, Settings};

/// The config that the demo runs. It ships with the program, so that the demo runs anywhere.
const CONFIG: &str = include_str!("../../demo/millstream.toml");
/// The line of it that keeps letters in a table, and the one that keeps them in a queue.
const TABLE: &str = r#"store = "table""#;
/// See [`TABLE`].
const QUEUE: &str = r#"store = { queue = "${LETTERS_QUEUE}" }"#;
/// What messages about it call it.
const CONFIG_NAME: &str = "demo/millstream.toml";

/// What the demo stands on.
pub(crate) struct World {
    /// The DynamoDB.
    pub(crate) connection: Connection,
    /// What every table's name starts with.
    pub(crate) prefix: String,
    /// The client of the two services.
    pub(crate) services: Client,
    /// The topic between the services.
    pub(crate) topic: Topic,
    /// Queues for what failed.
    pub(crate) queues: Queues,
    /// The config.
    pub(crate) config: Config,
    /// The tables that were made, to be removed again.
    made: Vec<String>,
}

/// The topic between the services, and the queue behind it.
pub(crate) enum Topic {
    /// Inside the process.
    Local(Arc<LocalTopic>),
    /// Of SNS and SQS.
    Remote(Box<RemoteTopic>),
}

impl World {
    /// Connects, and makes the topic. No table is made yet.
    pub(crate) async fn connect(settings: &Settings) -> Result<Self, DemoError> {
        let connection = Connection::open(settings.endpoint.as_deref()).await?;
        let prefix = match (&settings.prefix, connection.inside) {
            (Some(prefix), _) => prefix.clone(),
            (None, true) => String::new(),
            (None, false) => format!("millstream-demo-{}-", settings.seed),
        };
        // Checked before anything is made.
        parse(&prefix, None, None)?;
        // Making a topic that is there already is no error to SNS, so only a name of its own is safe to remove.
        let own = format!("{prefix}company-changed-{:08x}", rand::random::<u32>()).replace('.', "-");
        let (topic, queues) = match &settings.sns_endpoint {
            None => (Topic::Local(Arc::default()), Queues::none(&connection.services)),
            Some(url) => {
                let url = Some(url.as_str()).filter(|url| *url != AWS);
                let remote = configuration(url, false).await;
                let topic = RemoteTopic::create(&remote, &own).await?;
                match Queues::create(settings, &remote, &own).await {
                    Ok(queues) => (Topic::Remote(Box::new(topic)), queues),
                    Err(error) => {
                        topic.remove().await?;
                        return Err(error);
                    }
                }
            }
        };
        let config = parse(&prefix, Some(&topic), queues.letters.as_deref())?;
        let services = Client::new(&connection.services);
        Ok(Self { connection, prefix, services, topic, queues, config, made: Vec::new() })
    }

    /// Makes the services' tables and Millstream's own.
    pub(crate) async fn build(&mut self) -> Result<(), DemoError> {
        let services = LAYOUTS.iter().map(|layout| format!("{}{}", self.prefix, layout.name));
        let all: Vec<String> = services.chain(self.own_tables()).collect();
        for table in &all {
            if tables::describe(&self.services, table).await?.is_some() {
                let prefix = "choose another --prefix, the demo removes its tables when it ends";
                return Err(DemoError::new(format!("table {table} is there already: {prefix}")));
            }
        }
        // From here on they are ours: none was there.
        self.made = all;
        for layout in &LAYOUTS {
            tables::create(&self.services, &self.prefix, layout).await?;
        }
        setup::create_tables(&self.config, &self.connection.pipeline).await?;
        for table in &self.made {
            tables::await_active(&self.services, table).await?;
        }
        tables::expire(&self.services, &self.prefix).await
    }

    /// A pipeline as the config describes it; its events go to the demo's topic.
    pub(crate) fn pipeline(&self) -> Pipeline {
        let mut pipeline = wiring::pipeline(&self.config, &self.connection.pipeline, Arc::new(SystemClock));
        pipeline.topics = self.topic.sink();
        pipeline.letters = self.letters();
        pipeline
    }

    /// Millstream's own tables.
    pub(crate) fn own_tables(&self) -> Vec<String> {
        let state = &self.config.state;
        let letters = self.queues.letters.is_none().then(|| state.letters_table());
        let always = [state.ledger_table(), state.values_table(), state.state_table()];
        always.into_iter().chain(letters).collect()
    }

    /// The letters, where the config keeps them. The queue is not where the tables are.
    pub(crate) fn letters(&self) -> Arc<dyn LetterStore> {
        let aws = &self.connection.pipeline;
        match &self.queues.letters {
            None => wiring::letters(&self.config, aws, Arc::new(SystemClock)),
            Some(url) => Arc::new(QueueLetters::new(
                self.queues.sqs.clone(),
                url.as_str().into(),
                Patience::default(),
                aws.dynamodb(),
                self.config.state.ledger_table().into(),
            )),
        }
    }

    /// The sources that are tables: their names, and their tables' names.
    pub(crate) fn table_sources(&self) -> Vec<(SourceName, Arc<str>)> {
        let sources = self.config.sources.iter().filter_map(|source| match &source.kind {
            SourceKind::Table(table) => Some((source.name.clone(), table.clone())),
            SourceKind::Queue(_) | SourceKind::Topic(_) => None,
        });
        sources.collect()
    }

    /// The source that the topic's queue is.
    pub(crate) fn queue_source(&self) -> Result<SourceName, DemoError> {
        let queue = self.config.sources.iter().find(|source| matches!(source.kind, SourceKind::Queue(_)));
        queue
            .map(|source| source.name.clone())
            .ok_or_else(|| DemoError::new(format!("{CONFIG_NAME} has no queue")))
    }

    /// A table's name with its prefix.
    pub(crate) fn table(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Removes everything that was made. What is inside the process goes by itself.
    pub(crate) async fn remove(&mut self) -> Result<(), DemoError> {
        let mut result = Ok(());
        if !self.connection.inside {
            for table in self.made.drain(..) {
                let removed = tables::remove(&self.services, &table).await;
                result = result.and(removed);
            }
        }
        if let Topic::Remote(topic) = &self.topic {
            result = result.and(topic.remove().await);
            result = result.and(self.queues.remove().await);
        }
        result
    }
}

impl Topic {
    fn sink(&self) -> Arc<dyn TopicSink> {
        match self {
            Self::Local(topic) => topic.clone(),
            Self::Remote(topic) => topic.sink(),
        }
    }

    /// Whether everything that was published has been received.
    pub(crate) fn is_drained(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Remote(topic) => topic.is_drained(),
        }
    }
}

/// The shipped config with the demo's names in it.
fn parse(prefix: &str, topic: Option<&Topic>, letters: Option<&str>) -> Result<Config, DemoError> {
    let (arn, queue) = match topic {
        Some(Topic::Remote(topic)) => (topic.topic.clone(), topic.queue.clone()),
        Some(Topic::Local(_)) | None => (
            format!("arn:aws:sns:{REGION}:000000000000:company-changed"),
            format!("https://sqs.{REGION}.amazonaws.com/000000000000/company-events"),
        ),
    };
    let environment = |name: &str| match name {
        "PREFIX" => Some(prefix.to_owned()),
        "COMPANY_CHANGED_TOPIC" => Some(arn.clone()),
        "COMPANY_EVENTS_QUEUE" => Some(queue.clone()),
        "LETTERS_QUEUE" => letters.map(str::to_owned),
        _ => None,
    };
    let text = match letters {
        None => CONFIG.into(),
        Some(_) => Cow::from(CONFIG.replace(TABLE, QUEUE)),
    };
    Config::parse(CONFIG_NAME, &text, &environment).map_err(|errors| DemoError::new(errors.to_string()))
}
