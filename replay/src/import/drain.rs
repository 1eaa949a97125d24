//! Documents from a queue: each message is deleted only when its letters are safe.

use std::collections::HashSet;
use std::time::Duration;

use millstream_processor::outcome::Fault;
use millstream_processor::source::failure::FailureQueue;
use millstream_processor::source::failure::queue::Message;

use super::{ImportError, Imported, Importer};

/// After so many receives without anything new a queue is taken to be empty: one asks a part of SQS's servers only.
const EMPTY_RECEIVES: u32 = 2;
/// A message that takes long is kept out of sight this often, well before it would come back.
const PROLONG_EVERY: Duration = Duration::from_secs(30);

impl Importer<'_> {
    /// Takes every message of a queue once, and tells what came of it. What cannot be imported whole is left there: it
    /// comes back by itself.
    pub async fn drain(
        &self,
        queue: &FailureQueue,
        tell: &mut (dyn FnMut(&str, &Result<Imported, ImportError>) + Send),
    ) -> Result<(), Fault> {
        let (mut seen, mut empty) = (HashSet::new(), 0);
        while empty < EMPTY_RECEIVES {
            let mut new = false;
            for message in self.desk.retried("receive messages", || queue.receive()).await? {
                if !seen.insert(message.id.clone()) {
                    continue;
                }
                new = true;
                let imported = self.while_prolonged(queue, &message).await?;
                tell(&message.id, &imported);
                if imported.is_ok_and(|imported| imported.late.is_none()) {
                    self.desk.retried("delete a message", || queue.delete(&message)).await?;
                }
            }
            empty = if new { 0 } else { empty + 1 };
        }
        Ok(())
    }

    async fn while_prolonged(
        &self,
        queue: &FailureQueue,
        message: &Message,
    ) -> Result<Result<Imported, ImportError>, Fault> {
        let mut import = std::pin::pin!(self.import(&message.body));
        loop {
            // The messages before this one may have taken their time as well.
            self.desk.retried("prolong a message", || queue.prolong(message)).await?;
            tokio::select! {
                imported = &mut import => return Ok(imported),
                () = tokio::time::sleep(PROLONG_EVERY) => {}
            }
        }
    }
}
