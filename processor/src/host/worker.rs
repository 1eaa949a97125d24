//! All that one process reads: streams as one worker among others, and queues side by side with them.

use std::sync::Arc;

use futures_util::future::join;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::outcome::Fault;
use crate::poller::queue::QueueReader;
use crate::poller::queues::{self, is_told};
use crate::poller::{Poller, Until};

/// All that one process reads.
pub struct Worker {
    /// The streams; none where no source is a table. Only they need the table of the workers' state.
    pub streams: Option<Poller>,
    /// The queues. Workers share each of them by receiving from it.
    pub queues: Vec<Arc<QueueReader>>,
}

impl Worker {
    /// Works until it is told to stop, and then hands over, or gives back, all that it has.
    ///
    /// With [`Until::Drained`] it also ends when the streams are drained, and the queues after them: what the streams' changes
    /// published may still be on its way into a queue.
    pub async fn run(&self, until: Until, stop: impl Future<Output = ()>) -> Result<(), Fault> {
        let (tell, told) = watch::channel(false);
        let streams = async {
            let ended = match (&self.streams, until) {
                (Some(poller), _) => poller.run(until, is_told(told.clone())).await,
                (None, Until::Told) => {
                    is_told(told.clone()).await;
                    Ok(())
                }
                (None, Until::Drained) => Ok(()),
            };
            if ended.is_ok() && until == Until::Drained {
                tokio::select! {
                    () = queues::drained(&self.queues, Instant::now()) => {}
                    () = is_told(told.clone()) => {}
                }
            }
            tell.send_replace(true);
            ended
        };
        let queues = async {
            let ended = queues::run(&self.queues, until, told.clone()).await;
            if ended.is_err() {
                tell.send_replace(true);
            }
            ended
        };
        let stop = async {
            stop.await;
            tell.send_replace(true);
            std::future::pending().await
        };
        let ended = tokio::select! {
            (streams, queues) = join(streams, queues) => streams.and(queues),
            never = stop => never,
        };
        // What was received to close letters is for the operators.
        let readers = self.queues.first().map(|reader| &reader.pipeline);
        if let Some(pipeline) = self.streams.as_ref().map(|poller| &poller.pipeline).or(readers) {
            pipeline.letters.release().await;
        }
        ended
    }
}
