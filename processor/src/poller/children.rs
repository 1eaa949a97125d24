//! The shards that follow those that have ended. Shards that were opened together end together, and a stream may be asked ten
//! times a second: where many ask at once, one listing answers all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodbstreams::Client;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::lineage::Listed;
use super::listing;
use crate::outcome::Fault;
use crate::retry::RetryPolicy;

/// From so many on, all shards are listed: that costs a request for every hundred of them.
const MANY: usize = 4;

/// What all shards of one stream ask together.
pub(super) struct Children {
    client: Client,
    stream: Arc<str>,
    retry: RetryPolicy,
    asking: AtomicUsize,
    /// The last listing of all shards, and when it was begun.
    listed: Mutex<Option<(Instant, Vec<Listed>)>>,
}

impl Children {
    pub(super) fn new(client: Client, stream: Arc<str>, retry: RetryPolicy) -> Self {
        Self { client, stream, retry, asking: AtomicUsize::new(0), listed: Mutex::new(None) }
    }

    /// The children of a shard, as far as a listing shows them that is begun from now on.
    pub(super) async fn of(&self, parent: &str) -> Result<Vec<Listed>, Fault> {
        let asked = Instant::now();
        let _asks = Asks::new(&self.asking);
        let mut listed = self.listed.lock().await;
        if let Some((_, all)) = listed.as_ref().filter(|(begun, _)| *begun >= asked) {
            return Ok(listing::of(all, parent));
        }
        if self.asking.load(Ordering::Relaxed) < MANY
            && let Some(children) = listing::children(&self.client, &self.stream, parent, &self.retry).await?
        {
            return Ok(children);
        }
        let begun = Instant::now();
        let all = listing::list(&self.client, &self.stream, None, &self.retry).await?;
        let children = listing::of(&all, parent);
        *listed = Some((begun, all));
        Ok(children)
    }
}

/// One that asks, until it has its answer or is gone.
struct Asks<'a>(&'a AtomicUsize);

impl<'a> Asks<'a> {
    fn new(asking: &'a AtomicUsize) -> Self {
        asking.fetch_add(1, Ordering::Relaxed);
        Self(asking)
    }
}

impl Drop for Asks<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
