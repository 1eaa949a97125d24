//! The Lambda event source mapping of a DynamoDB stream, as AWS documents it: no emulator does it in full.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::types::{Record, Shard};
use futures_util::future::join_all;
use serde_json::Value;

use crate::batch::{Batch, Verdict, batches, condemn};
use crate::lambda_event;
use crate::runtime_api::FunctionError;
use crate::stream_reader::{list_shards, read_shard, sequence_number};

/// The function that every double says it is.
pub const FUNCTION_ARN: &str = "arn:aws:lambda:eu-west-1:000000000000:function:millstream";

/// What can be set on a mapping; the defaults are AWS's own, except that partial responses are on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most records of one invocation. AWS: 100, to 10,000.
    pub batch_size: usize,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`. AWS: off.
    pub report_batch_item_failures: bool,
    /// Attempts after the first; `None` is forever.
    pub maximum_retry_attempts: Option<usize>,
    /// `BisectBatchOnFunctionError`.
    pub bisect: bool,
    /// Records that are older are discarded; `None` is never.
    pub maximum_record_age: Option<Duration>,
    /// How many batches of one shard run at once; the order is kept per item.
    pub parallelization_factor: usize,
    /// Invocations of one drain, after which it gives up: a record that blocks its shard would go on for ever.
    pub invocation_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch_size: 100,
            report_batch_item_failures: true,
            maximum_retry_attempts: None,
            bisect: false,
            maximum_record_age: None,
            parallelization_factor: 1,
            invocation_limit: 10_000,
        }
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Drained {
    /// Every record that the stream held is done or discarded.
    End,
    /// The limit of invocations was met: a shard is blocked. The next drain goes on from there.
    Blocked,
}

/// One invocation of the function.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The shard that the batch came from.
    pub shard: String,
    /// The lane within the shard, below the parallelization factor.
    pub lane: usize,
    /// The sequence numbers of the batch, in order.
    pub sequence_numbers: Vec<String>,
    /// What the function answered.
    pub answer: Result<Value, FunctionError>,
}

/// A mapping from a stream to a function. It keeps its place between drains.
pub struct EventSourceMapping {
    client: Client,
    stream_arn: String,
    settings: Settings,
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    shards: BTreeMap<String, Progress>,
    journal: Mutex<Journal>,
}

/// How far a shard has been read, and what was read and is not done.
#[derive(Default)]
struct Progress {
    read: Option<String>,
    ended: bool,
    lanes: Vec<VecDeque<Batch>>,
}

#[derive(Default)]
struct Journal {
    deliveries: Vec<Delivery>,
    failures: Vec<Value>,
    budget: usize,
}

impl EventSourceMapping {
    /// A mapping of the stream from its oldest record on, on the machine's clock.
    pub fn new(client: Client, stream_arn: &str, settings: Settings) -> Self {
        Self {
            client,
            stream_arn: stream_arn.to_owned(),
            settings,
            clock: Arc::new(SystemTime::now),
            shards: BTreeMap::new(),
            journal: Mutex::default(),
        }
    }

    /// Judges the age of records by this clock, which has to be the stream's.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Invokes the function until the stream's end is reached, parents before their children.
    pub async fn drain<F, Answer>(&mut self, function: F) -> Drained
    where
        F: Fn(Value) -> Answer,
        Answer: Future<Output = Result<Value, FunctionError>>,
    {
        self.journal().budget = self.settings.invocation_limit;
        loop {
            let listing = list_shards(&self.client, &self.stream_arn).await;
            let mut moved = false;
            for shard in &listing {
                let id = shard.shard_id().expect("a shard has an id");
                if self.is_open_for(shard, &listing) {
                    moved |= self.read(id).await;
                    if self.deliver(id, &function).await == Drained::Blocked {
                        return Drained::Blocked;
                    }
                }
            }
            if !moved {
                return Drained::End;
            }
        }
    }

    /// Every invocation so far, in the order in which they were answered.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.journal().deliveries.clone()
    }

    /// The documents that went to the on-failure destination.
    pub fn failures(&self) -> Vec<Value> {
        self.journal().failures.clone()
    }

    /// A shard is read once its parent is done, or is not listed any more.
    fn is_open_for(&self, shard: &Shard, listing: &[Shard]) -> bool {
        let done = |id: &str| self.shards.get(id).is_some_and(|it| it.ended && it.is_idle());
        let listed = |id: &str| listing.iter().any(|it| it.shard_id() == Some(id));
        shard.parent_shard_id().is_none_or(|parent| done(parent) || !listed(parent))
    }

    /// Reads what a shard holds now into its lanes; tells whether there was anything new.
    async fn read(&mut self, id: &str) -> bool {
        let progress = self.shards.entry(id.to_owned()).or_default();
        if progress.ended {
            return false;
        }
        let after = progress.read.as_deref();
        let (records, ended) = read_shard(&self.client, &self.stream_arn, id, after).await;
        progress.ended = ended;
        let Some(last) = records.last() else { return ended };
        progress.read = Some(sequence_number(last).to_owned());
        let factor = self.settings.parallelization_factor.max(1);
        let mut lanes = vec![Vec::new(); factor];
        for record in records {
            lanes[lane_of(&record, factor)].push(record);
        }
        progress.lanes.resize_with(factor, VecDeque::new);
        for (lane, records) in progress.lanes.iter_mut().zip(lanes) {
            lane.extend(batches(records, self.settings.batch_size));
        }
        true
    }

    async fn deliver<F, Answer>(&mut self, id: &str, function: &F) -> Drained
    where
        F: Fn(Value) -> Answer,
        Answer: Future<Output = Result<Value, FunctionError>>,
    {
        let mut lanes = std::mem::take(&mut self.shards.get_mut(id).expect("it was read").lanes);
        let this = &*self;
        let run = |(lane, queue)| this.run_lane(id, lane, queue, function);
        join_all(lanes.iter_mut().enumerate().map(run)).await;
        let progress = self.shards.get_mut(id).expect("it was read");
        progress.lanes = lanes;
        if progress.is_idle() { Drained::End } else { Drained::Blocked }
    }

    async fn run_lane<F, Answer>(&self, shard: &str, lane: usize, queue: &mut VecDeque<Batch>, function: &F)
    where
        F: Fn(Value) -> Answer,
        Answer: Future<Output = Result<Value, FunctionError>>,
    {
        while let Some(batch) = queue.pop_front() {
            let batch = match batch.expire(self.settings.maximum_record_age, (self.clock)()) {
                (Some(expired), rest) => {
                    self.discard(shard, &expired, "RecordAgeExceeded");
                    rest
                }
                (None, rest) => rest,
            };
            let Some(mut batch) = batch else { continue };
            if !self.spend() {
                queue.push_front(batch);
                return;
            }
            let answer = function(lambda_event::event(&self.stream_arn, &batch.records)).await;
            batch.invocations += 1;
            self.journal().deliveries.push(Delivery {
                shard: shard.to_owned(),
                lane,
                sequence_numbers: batch.records.iter().map(|it| sequence_number(it).to_owned()).collect(),
                answer: answer.clone(),
            });
            let verdict = Verdict::of(&answer, &batch, self.settings.report_batch_item_failures);
            let (dropped, again) = condemn(batch, verdict, &self.settings);
            if let Some(dropped) = dropped {
                self.discard(shard, &dropped, "RetryAttemptsExhausted");
            }
            for batch in again.into_iter().rev() {
                queue.push_front(batch);
            }
        }
    }

    fn discard(&self, shard: &str, batch: &Batch, condition: &str) {
        let document = batch.on_failure(condition, shard, &self.stream_arn, (self.clock)());
        self.journal().failures.push(document);
    }

    /// Takes one invocation from the budget, if there is one left.
    fn spend(&self) -> bool {
        let mut journal = self.journal();
        let left = journal.budget.checked_sub(1);
        journal.budget = left.unwrap_or(0);
        left.is_some()
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().expect("nobody panics while holding the journal")
    }
}

impl Progress {
    fn is_idle(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }
}

/// Changes of one item share a lane, and so keep their order.
fn lane_of(record: &Record, factor: usize) -> usize {
    let keys = record.dynamodb().and_then(|it| it.keys()).map(lambda_event::item).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    keys.to_string().hash(&mut hasher);
    (hasher.finish() % factor as u64) as usize
}
