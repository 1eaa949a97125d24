//! How the work on a queue ends: what was begun is brought to its end, and what was not is given back at once.

use std::time::Duration;

use futures_util::stream::StreamExt;
use tokio::time::Instant;

use super::Work;

/// How long a worker that stops waits for what it began.
const PATIENCE: Duration = Duration::from_secs(7);
/// And then until what was cut off is given back.
const GIVE_BACK: Duration = Duration::from_secs(2);
/// How long it waits for receives after the last message was given back. One that is still under way would take what is given
/// back, and the queue need not notice that nobody waits for its answer any more.
const RECEIVE: Duration = Duration::from_secs(1);

impl Work {
    /// Brings to its end what was begun, and gives back at once what was not.
    pub(super) async fn leave(mut self) {
        self.reader.health.send_modify(|health| health.is_leaving = true);
        let mut receive_until = Instant::now() + RECEIVE;
        let (give_up, end) = (Instant::now() + PATIENCE, Instant::now() + PATIENCE + GIVE_BACK);
        loop {
            let now = Instant::now();
            let rest = self.inbox.rest();
            self.give_back_now(rest);
            if now >= give_up {
                self.cut();
            }
            if self.settling > 0 {
                receive_until = now + RECEIVE;
            }
            let is_receiving = self.receiving > 0 && now < receive_until;
            let is_done = self.running.is_empty() && self.settling == 0 && !is_receiving;
            if is_done || now >= end {
                break;
            }
            self.renew();
            let limit = if now < give_up { give_up } else { end };
            let receive_until = if is_receiving { receive_until } else { limit };
            let wake_at = self.inbox.next_renewal().map_or(limit, |at| at.min(limit)).min(receive_until);
            tokio::select! {
                // A queue that may not be read need not be read any more.
                Some(event) = self.tasks.next() => drop(self.take(event)),
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
        if self.settling > 0 {
            let source = &self.reader.source;
            tracing::warn!(%source, "messages are not all given back, and come again when their time out of sight is over");
        }
    }

    /// What still runs ends here: nobody knows what of it was done, and all of it comes again.
    fn cut(&mut self) {
        self.running.clear();
        let cut = self.inbox.all();
        if !cut.is_empty() {
            tracing::warn!(source = %self.reader.source, messages = cut.len(), "messages are cut off, and given back");
        }
        self.give_back_now(cut);
    }
}
