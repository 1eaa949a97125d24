//! One small deployment for any config, and someone who works in it under the policy that `millstream policy` prints.

use std::fs;
use std::process::Command;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use millstream_processor::clock::{Clock, SystemClock};
use millstream_processor::host::lambda::LambdaHost;
use millstream_processor::host::poll;
use millstream_processor::ledger::Ledger;
use millstream_processor::letters::LetterFilter;
use millstream_processor::letters::queue::{Patience, QueueLetters};
use millstream_processor::permissions::Role;
use millstream_processor::pipeline::Pipeline;
use millstream_processor::poller::Until;
use millstream_processor::poller::settings::{OnGap, Settings};
use millstream_processor::setup;
use millstream_processor::sink::dynamodb::DynamoDbSink;
use millstream_processor::source::failure::StreamRanges;
use millstream_processor::wiring::{self, Aws};
use millstream_projections::config::{Config, Kind, LettersStore, SourceKind};
use millstream_projections::kinds::copy::Rows;
use millstream_replay::apply::{Brake, Pace, Progress, Selection, apply};
use millstream_replay::desk::Desk;
use millstream_replay::import::Importer;
use millstream_replay::plan::plan;
use millstream_test_support::embedded::{Embedded, StreamViewType};
use millstream_test_support::emulators::Ministack;
use millstream_test_support::faults::FaultPlan;
use millstream_test_support::iam::{Authority, Policy};
use millstream_test_support::lambda_event;
use millstream_test_support::sns::Topics;
use millstream_test_support::sqs::Queues;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

/// The table of the configs here.
pub(crate) const THINGS: &str = "Things";
/// How long messages of a source stay out of sight: as short as a worker takes it.
const VISIBILITY: Duration = Duration::from_secs(10);

/// Tables, topics and queues for a config. What is done here is the hand of the test, and needs no permission.
pub(crate) struct World {
    pub(crate) db: Embedded,
    pub(crate) topics: Topics,
    /// Queues that changes come from.
    pub(crate) queues: Queues,
    pub(crate) config: Config,
    /// Queues that letters or failures go to, and S3, where the config or a flow needs them.
    pub(crate) services: Option<Arc<Ministack>>,
    folder: TempDir,
}

impl World {
    /// Everything that the config names. The tables of rows are keyed as the config says.
    pub(crate) async fn new(toml: &str, services: Option<Arc<Ministack>>) -> Self {
        let plan = FaultPlan::default();
        let (db, topics) = (Embedded::with_faults(plan.clone()), Topics::with_faults(plan));
        db.set_now(SystemTime::now());
        let config = Config::parse("m.toml", toml, &|_| None).unwrap_or_else(|error| panic!("{error}"));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("m.toml"), toml).unwrap();
        let world = Self { db, topics, queues: Queues::new(), config, services, folder };
        setup::create_tables(&world.config, &Aws::from_config(world.db.backstage())).await.unwrap();
        world.make_sources().await;
        world.make_targets().await;
        if let LettersStore::Queue(url) = &world.config.letters.store {
            world.make_queue(url.rsplit('/').next().unwrap()).await;
        }
        world
    }

    /// Another hand on the same tables, topics and queues.
    pub(crate) fn another(&self) -> Self {
        Self {
            db: self.db.clone(),
            topics: self.topics.clone(),
            queues: self.queues.clone(),
            config: self.config.clone(),
            services: self.services.clone(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn make_sources(&self) {
        let view = Some(StreamViewType::NewAndOldImages);
        for source in &self.config.sources {
            match &source.kind {
                SourceKind::Table(table) => {
                    let key = crate::demo::key_of(table).unwrap_or("id");
                    self.db.create_table(table, key, None, view.clone()).await;
                }
                SourceKind::Queue(url) => {
                    drop(self.queues.create(url.rsplit('/').next().unwrap(), VISIBILITY));
                }
                SourceKind::Topic(arn) => drop(self.topics.create(arn.rsplit(':').next().unwrap())),
            }
        }
    }

    async fn make_targets(&self) {
        for projection in &self.config.projections {
            let table = projection.kind.resource();
            let keys: Vec<&str> = projection.kind.key().iter().map(|(name, _)| &**name).collect();
            match &projection.kind {
                Kind::Emit(emit) => drop(self.topics.create(emit.topic.rsplit(':').next().unwrap())),
                Kind::Copy(copy) => match &copy.rows {
                    Rows::One(_) => self.db.create_table(table, keys[0], None, None).await,
                    Rows::Many { index, .. } => {
                        let index = (&**index, keys[0], None);
                        self.db.create_table_with_index(table, "row", None, None, index).await;
                    }
                },
                Kind::Replica(_) | Kind::Aggregate(_) | Kind::Index(_) => {
                    self.db.create_table(table, keys[0], keys.get(1).copied(), None).await;
                }
            }
        }
    }

    /// A queue on the server, empty.
    pub(crate) async fn make_queue(&self, name: &str) {
        let sqs = Aws::from_config(self.services().sdk_config()).sqs();
        // What an earlier world left in it.
        if let Ok(known) = sqs.get_queue_url().queue_name(name).send().await {
            sqs.delete_queue().set_queue_url(known.queue_url).send().await.unwrap();
        }
        sqs.create_queue().queue_name(name).send().await.unwrap();
    }

    pub(crate) fn services(&self) -> &Ministack {
        self.services.as_deref().expect("the flow has a server")
    }

    /// The policy that the real command prints.
    pub(crate) fn policy(&self, role: Role, more: &[&str]) -> Policy {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.args(["policy", "--config", "m.toml", "--role", role.as_str()]).args(more);
        command.args(["--region", "eu-west-1", "--account", "000000000000"]);
        let output = command.current_dir(self.folder.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.is_empty(), "{told}");
        Policy::parse(&serde_json::from_slice(&output.stdout).unwrap())
    }
}

/// A worker in a hurry.
fn quick() -> Settings {
    Settings {
        ttl: Duration::from_secs(30),
        busy: Duration::from_millis(5),
        idle: Duration::from_millis(20),
        ..Settings::default()
    }
}

/// Someone with a role in a world.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) role: Role,
    pub(crate) authority: Authority,
    pub(crate) clock: Arc<dyn Clock>,
    /// How far the stream was delivered.
    delivered: usize,
}

impl Stage {
    pub(crate) fn new(world: World, role: Role, policy: Policy) -> Self {
        let (authority, clock) = (Authority::new(policy), Arc::new(SystemClock));
        Self { world, role, authority, clock, delivered: 0 }
    }

    /// Clients whose every request is judged.
    pub(crate) fn aws(&self) -> Aws {
        let World { db, topics, queues, .. } = &self.world;
        let (tables, topics, queues) = (db.sdk_config(), topics.sdk_config(), queues.sdk_config());
        Aws::from_config(self.authority.judged_each(&tables, &topics, &queues))
    }

    /// The same, of the server.
    pub(crate) fn services(&self) -> Aws {
        Aws::from_config(self.authority.judged(&self.world.services().sdk_config()))
    }

    pub(crate) fn pipeline(&self) -> Pipeline {
        let mut pipeline = wiring::pipeline(&self.world.config, &self.aws(), self.clock.clone());
        self.refit(&mut pipeline);
        pipeline
    }

    /// Letters are in a queue of the server.
    fn refit(&self, pipeline: &mut Pipeline) {
        if let LettersStore::Queue(url) = &self.world.config.letters.store {
            let ledger = self.world.config.state.ledger_table().into();
            // The server has one part only, so an answer without messages says that there are none.
            let patience = Patience { wait: Duration::ZERO, ..Patience::default() };
            let (sqs, name) = (self.services().sqs(), url.rsplit('/').next().unwrap());
            let url = format!("{}/000000000000/{name}", self.world.services().endpoint());
            let letters = QueueLetters::new(sqs, url.into(), patience, self.aws().dynamodb(), ledger);
            pipeline.letters = Arc::new(letters);
        }
    }

    pub(crate) fn desk(&self) -> Desk {
        let ledger = Ledger::of(&self.world.config.state);
        Desk {
            pipeline: self.pipeline(),
            rows: Arc::new(DynamoDbSink::new(self.aws().dynamodb(), ledger, self.clock.clone())),
            sources: self.world.config.sources.iter().map(|source| source.name.clone()).collect(),
            tombstones: self.world.config.state.tombstones,
            by: "kim".to_owned(),
        }
    }

    /// Brings what is new in the stream to whoever has this role: by the mapping, by polling, or as letters that are
    /// imported and applied.
    pub(crate) async fn deliver(&mut self) {
        self.deliver_from(THINGS, self.delivered).await;
    }

    /// Brings the whole stream again.
    pub(crate) async fn deliver_again(&mut self) {
        match self.role {
            // Another consumer reads everything for itself.
            Role::Poller => self.poll("again").await,
            // A letter that is open or held is what comes again.
            Role::Operator => self.apply_all().await,
            Role::StreamFunction | Role::QueueFunction | Role::Setup | Role::Migration => {
                self.deliver_from(THINGS, 0).await;
            }
        }
    }

    pub(crate) async fn deliver_from(&mut self, table: &str, first: usize) {
        let records = self.world.db.read_stream(table).await;
        let event = lambda_event::event(&self.world.db.stream_arn(table).await, &records[first..]);
        self.delivered = records.len();
        match self.role {
            Role::StreamFunction => drop(self.invoke(event).await),
            Role::Poller => self.poll("default").await,
            Role::Operator => {
                self.import(&event).await;
                self.apply_all().await;
            }
            Role::QueueFunction | Role::Setup | Role::Migration => panic!("{} brings no changes", self.role),
        }
    }

    /// Hands an event to the function. What it says is for other tests to judge.
    pub(crate) async fn invoke(&self, event: Value) -> bool {
        let host = LambdaHost {
            pipeline: self.pipeline(),
            sources: wiring::sources(&self.world.config),
            margin: Duration::from_secs(2),
        };
        let deadline = SystemTime::now() + Duration::from_secs(60);
        host.handle(Bytes::from(event.to_string()), deadline).await.is_ok()
    }

    pub(crate) async fn poll(&self, consumer: &str) {
        self.poll_with(consumer, OnGap::Halt).await;
    }

    pub(crate) async fn poll_with(&self, consumer: &str, on_gap: OnGap) {
        let settings = Settings { consumer: consumer.into(), on_gap, ..quick() };
        self.run(settings, Until::Drained, std::future::pending()).await;
    }

    /// Reads until all is done that was to be, which nobody who is denied something sees.
    pub(crate) async fn work(&self, done: impl Future<Output = ()>) {
        self.run(quick(), Until::Told, done).await;
    }

    async fn run(&self, settings: Settings, until: Until, done: impl Future<Output = ()>) {
        let mut worker = match poll::worker(&self.world.config, &self.aws(), settings, true).await {
            Ok(worker) => worker,
            Err(fault) => return assert!(!self.authority.denied().is_empty(), "{fault}"),
        };
        if let Some(poller) = &mut worker.streams {
            self.refit(&mut poller.pipeline);
        }
        let lacking = async {
            while self.authority.denied().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let stop = async {
            tokio::select! {
                () = done => {}
                () = lacking => {}
            }
        };
        let ended = worker.run(until, stop).await;
        assert!(ended.is_ok() || !self.authority.denied().is_empty(), "{ended:?}");
    }

    /// Makes letters of an event, as of a document that S3 keeps of a mapping that gave up on it.
    pub(crate) async fn import(&self, event: &Value) {
        let document = json!({
            "requestContext": { "requestId": "r", "functionArn": "arn:f", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 4 },
            "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": null },
            "version": "1.0", "timestamp": "2025-06-15T16:00:00Z",
            "DDBStreamBatchInfo": {
                "shardId": "shardId-1", "startSequenceNumber": "1", "endSequenceNumber": "2",
                "approximateArrivalOfFirstRecord": "2025-06-14T12:06:40Z",
                "approximateArrivalOfLastRecord": "2025-06-14T12:06:41Z",
                "batchSize": 1, "streamArn": self.world.db.stream_arn(THINGS).await,
            },
            "payload": event,
        });
        self.import_document(&document.to_string()).await;
    }

    pub(crate) async fn import_document(&self, document: &str) {
        let (desk, sources) = (self.desk(), wiring::sources(&self.world.config));
        let ranges = StreamRanges::new(self.aws().streams());
        let importer = Importer { desk: &desk, sources: &sources, ranges: &ranges };
        if let Err(error) = importer.import(document).await {
            eprintln!("import: {error}");
        }
        desk.pipeline.letters.release().await;
    }

    pub(crate) async fn apply_all(&self) {
        let desk = self.desk();
        let all = Selection::Filter(LetterFilter::default());
        let applied = apply(&desk, all, Pace::default(), &Brake::default(), &|_: Progress<'_>| ()).await;
        applied.unwrap();
        desk.pipeline.letters.release().await;
    }

    /// How many letters there are, after a plan of each.
    pub(crate) async fn letters(&self) -> usize {
        let desk = self.desk();
        let plans = plan(&desk, &LetterFilter::default(), false).collect::<Vec<_>>().await;
        plans.len()
    }

    pub(crate) async fn put(&self, thing: Value) {
        self.world.db.put(THINGS, thing).await;
    }

    pub(crate) async fn delete(&self, id: &str) {
        self.world.db.delete(THINGS, json!({ "id": id })).await;
    }
}

/// One server for all tests that run at once; it ends with the last of them.
pub(crate) async fn server() -> Arc<Ministack> {
    static SERVER: Mutex<Weak<Ministack>> = Mutex::const_new(Weak::new());
    let mut server = SERVER.lock().await;
    if let Some(running) = server.upgrade() {
        return running;
    }
    let started = Arc::new(Ministack::start().await);
    *server = Arc::downgrade(&started);
    started
}
