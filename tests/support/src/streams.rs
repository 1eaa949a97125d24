//! A DynamoDB stream whose shards, records and clock are the test's, spoken to by the real AWS SDK's client.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodbstreams::Client;

use crate::connector::sdk_config;
use crate::faults::FaultPlan;
use crate::served::Served;

pub use self::record::{NewRecord, Written};
pub use self::server::Calls;

use self::server::Server;
use self::state::State;

mod erratic;
mod listing;
mod reading;
mod record;
mod sequence;
mod server;
mod shard;
mod state;

/// One stream of one table. Clones share it.
///
/// It starts without shards; what happens to them is scripted. Requests are answered where they are made, without
/// a thread of their own, so that tokio's paused clock goes on by itself. The stream's clock is
/// [`START`](crate::embedded::START), and what tokio's clock and [`ScriptedStreams::advance`] added since.
///
/// A method that names a shard panics if there never was one of that name.
#[derive(Clone, Debug)]
pub struct ScriptedStreams {
    arn: Arc<str>,
    state: Arc<Mutex<State>>,
    faults: FaultPlan,
}

impl ScriptedStreams {
    /// The stream of a table, without faults. Its plan keeps no log of requests: they can be millions.
    pub fn new(table: &str) -> Self {
        Self::with_faults(table, FaultPlan::without_log())
    }

    /// The stream of a table, on a plan that other doubles may share, so that one crash cuts them all.
    pub fn with_faults(table: &str, faults: FaultPlan) -> Self {
        let state = State::new(table);
        Self { arn: state.arn().into(), state: Arc::new(Mutex::new(state)), faults }
    }

    /// The ARN of the stream.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// What goes wrong on the connector.
    pub fn faults(&self) -> &FaultPlan {
        &self.faults
    }

    /// The stream's time, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.lock().now_ms()
    }

    /// Moves the stream's clock on; tokio's stays.
    pub fn advance(&self, by: Duration) {
        self.lock().advance(by);
    }

    /// Opens a shard. Its parent need not be there any more.
    pub fn open(&self, shard: &str, parent: Option<&str>) {
        self.lock().open(shard, parent);
    }

    /// Closes a shard: it takes no more records. One that is closed stays as it is.
    pub fn close(&self, shard: &str) {
        self.lock().close(shard);
    }

    /// Closes a shard and opens its children; one child is a rollover.
    pub fn split(&self, shard: &str, children: &[&str]) {
        let mut state = self.lock();
        state.close(shard);
        children.iter().for_each(|child| state.open(child, Some(shard)));
    }

    /// Writes a record to an open shard and gives its sequence number.
    ///
    /// The numbers rise over the whole stream, with gaps, from 21 digits to 40.
    pub fn put(&self, shard: &str, record: NewRecord) -> String {
        self.lock().put(shard, record)
    }

    /// No listing shows the shard until this long after now. It can be read all the same.
    pub fn list_from(&self, shard: &str, at: Duration) {
        self.lock().list_from(shard, at);
    }

    /// Listings show the shard as open until this long after now, although it is closed, or will be.
    pub fn list_open_until(&self, shard: &str, at: Duration) {
        self.lock().list_open_until(shard, at);
    }

    /// Forgets the shard's records up to this sequence number, and that one, as if they were older than 24 hours.
    pub fn trim(&self, shard: &str, through: &str) {
        self.lock().trim(shard, through);
    }

    /// Forgets the shard: it is not listed, and `ResourceNotFoundException` for whoever reads it.
    pub fn forget(&self, shard: &str) {
        self.lock().forget(shard);
    }

    /// From now on pages are sometimes empty or short although there is more, listings have no useful order, children
    /// are listed some seconds late, and a closed shard is listed as open for some: by the seed and the number of the
    /// request, so that the same requests get the same answers.
    pub fn erratic(&self, seed: u64) {
        self.lock().be_erratic(seed);
    }

    /// From now on more `DescribeStream`s than this in one second are `LimitExceededException`. AWS has it at 10.
    pub fn limit_descriptions(&self, per_second: u32) {
        self.lock().limit_descriptions(per_second);
    }

    /// Everything that was ever written to a shard, oldest first, also what the stream forgot.
    pub fn records(&self, shard: &str) -> Vec<Written> {
        self.lock().records(shard)
    }

    /// The names of all shards that there ever were, in the order in which they were opened.
    pub fn shards(&self) -> Vec<String> {
        self.lock().shards()
    }

    /// How many requests of each operation were answered, also with a refusal; a scripted fault does not count.
    pub fn calls(&self) -> Calls {
        self.lock().calls()
    }

    /// How many `GetRecords` of this shard were answered.
    pub fn reads(&self, shard: &str) -> u64 {
        self.lock().reads(shard)
    }

    /// A client configuration of the code under test: dummy credentials, no retries, this stream.
    pub fn sdk_config(&self) -> SdkConfig {
        sdk_config(Arc::new(self.server()), Some(self.faults.clone()))
    }

    /// A streams client of the code under test.
    pub fn client(&self) -> Client {
        Client::new(&self.sdk_config())
    }

    /// Serves the stream and its faults on a socket, for processes under test.
    pub async fn serve(&self) -> Served {
        Served::start(Arc::new(self.server()), self.faults.clone()).await
    }

    fn server(&self) -> Server {
        Server::new(self.lock().table.clone(), self.state.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the stream")
    }
}
