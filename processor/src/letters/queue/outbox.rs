//! Sends letters, in as many messages as each needs.

use aws_sdk_sqs::types::QueueAttributeName;

use super::{QueueLetters, message};
use crate::letters::file::Filed;
use crate::letters::{Letter, LetterHead, LetterState, Stored, history};
use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::fault;

/// The largest message that every queue takes, unless someone set its limit lower.
const USUAL_SIZE: usize = 256 * 1024;
/// The limit counts the body alone here; what SQS adds is not much.
const SPARE: usize = 1024;

impl QueueLetters {
    pub(super) async fn store_letter(&self, letter: &Letter) -> Result<Stored, Fault> {
        match self.closed.state_now(&letter.head.id).await? {
            Some(closed) if closed == LetterState::Discarded || letter.head.state == LetterState::Held => {
                return Ok(Stored::Closed(closed));
            }
            Some(_) => self.closed.remove(&letter.head.id).await?,
            None => {}
        }
        let attempts = letter.head.attempts.iter().map(history::bounded).collect();
        let head = LetterHead { attempts, ..letter.head.clone() };
        self.send(&Filed { letter: Letter { head, record: letter.record.clone() }, original: None }).await?;
        // If it was being worked on it is so no longer, and others see it with its new attempt.
        let worked_on = self.inbox.pile().take(&letter.head.id);
        self.inbox.give_back(&worked_on).await;
        Ok(Stored::Waits)
    }

    /// Sends all messages of a letter; it is there once the last one is.
    pub(super) async fn send(&self, filed: &Filed) -> Result<(), Fault> {
        let id = &filed.letter.head.id;
        let limit = self.message_size().await?;
        let messages = message::outgoing(filed, limit)
            .map_err(|damage| Fault::from_error(FaultKind::Rejected, self.doing("store", id), &damage))?;
        for message in messages {
            let mut request = self.client.send_message().queue_url(&*self.url).message_body(message.body);
            if self.url.ends_with(".fifo") {
                request = request.message_group_id(&message.name).message_deduplication_id(message.name);
            }
            request.send().await.map_err(|error| fault(self.doing("store", id), &error))?;
        }
        Ok(())
    }

    /// How large a message may be. Who may not ask the queue gets the size that queues have had from the beginning.
    async fn message_size(&self) -> Result<usize, Fault> {
        let name = QueueAttributeName::MaximumMessageSize;
        let ask = || async {
            let request = self.client.get_queue_attributes().queue_url(&*self.url);
            let doing = || format!("read the message size of queue {}", self.url);
            let answer = match request.attribute_names(name.clone()).send().await {
                Ok(answer) => answer,
                Err(error) => {
                    let fault = fault(doing(), &error);
                    let is_denied = fault.causes.iter().any(|cause| cause.contains("AccessDenied"));
                    return if is_denied { Ok(USUAL_SIZE - SPARE) } else { Err(fault) };
                }
            };
            let size = answer.attributes().and_then(|all| all.get(&name)).and_then(|size| size.parse().ok());
            match size.unwrap_or(USUAL_SIZE) {
                size if size < message::LEAST_SIZE => Err(Fault::new(
                    FaultKind::Misconfigured,
                    format!(
                        "queue {} takes messages of {size} bytes only; letters need {}",
                        self.url,
                        message::LEAST_SIZE
                    ),
                )),
                size => Ok(size - SPARE),
            }
        };
        self.size.get_or_try_init(ask).await.copied()
    }
}
