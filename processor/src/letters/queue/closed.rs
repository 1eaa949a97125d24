//! That a letter of a queue was closed: a row of the ledger, for as long as the queue could have kept the letter.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::clock::Deadline;
use crate::ledger::{EXPIRES, ID};
use crate::letters::{AuditEntry, Closing, LetterHead, LetterId, LetterState};
use crate::outcome::Fault;
use crate::retry::RetryPolicy;
use crate::sink::fault::fault;

/// The longest that SQS keeps a message, in seconds.
const KEEP: u64 = 14 * 24 * 60 * 60;
const STATE: &str = "state";

#[derive(Clone)]
pub(super) struct ClosedLetters {
    client: Client,
    table: Arc<str>,
    reads: RetryPolicy,
}

impl ClosedLetters {
    pub(super) fn new(client: Client, table: Arc<str>) -> Self {
        Self { client, table, reads: crate::letters::reads() }
    }

    /// Closes a letter; `false` if it is closed already.
    pub(super) async fn put(&self, id: &LetterId, closing: &Closing) -> Result<bool, Fault> {
        let expires = closing.at.saturating_add(KEEP).to_string();
        let sent = self
            .client
            .put_item()
            .table_name(&*self.table)
            .item(ID, key(id))
            .item(STATE, AttributeValue::S(closing.state.as_str().to_owned()))
            .item(EXPIRES, AttributeValue::N(expires))
            .condition_expression("attribute_not_exists(#id)")
            .expression_attribute_names("#id", ID)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(fault(self.doing("note in", id), &error)),
        }
    }

    /// Lets a letter wait again.
    pub(super) async fn remove(&self, id: &LetterId) -> Result<(), Fault> {
        let request = self.client.delete_item().table_name(&*self.table).key(ID, key(id));
        request.send().await.map_err(|error| fault(self.doing("remove from", id), &error))?;
        Ok(())
    }

    /// How a letter was closed; `None` if it was not.
    pub(super) async fn state(&self, id: &LetterId) -> Result<Option<LetterState>, Fault> {
        let read = || self.state_now(id);
        self.reads.run(Deadline::NONE, "read how a letter was closed", read).await
    }

    /// The same, asked once.
    pub(super) async fn state_now(&self, id: &LetterId) -> Result<Option<LetterState>, Fault> {
        let request = self.client.get_item().table_name(&*self.table).key(ID, key(id));
        let found = request.consistent_read(true).send().await;
        let row = found.map_err(|error| fault(self.doing("read in", id), &error))?.item;
        let state = row.as_ref().and_then(|row| row.get(STATE)?.as_s().ok());
        Ok(state.and_then(|state| LetterState::from_text(state)))
    }

    fn doing(&self, what: &str, id: &LetterId) -> String {
        format!("{what} table {} that letter {id} was closed", self.table)
    }
}

fn key(id: &LetterId) -> AttributeValue {
    AttributeValue::S(format!("closed/{id}"))
}

/// What remains of a letter that is discarded.
pub(super) fn last_words(head: &LetterHead, closing: &Closing) -> AuditEntry {
    let part =
        |name: &str, value: Option<&str>| value.map_or(String::new(), |value| format!(", {name} {value}"));
    let result = format!(
        "discarded: {}; the queue does not keep it: source {}{}{}{}",
        closing.reason,
        head.source,
        part("projection", head.projection.as_deref()),
        part("key", head.digest.as_deref()),
        part("version", head.version.as_deref()),
    );
    let (by, letter) = (closing.by.clone(), Some(head.id.clone()));
    AuditEntry { at: closing.at, by, action: "delete".to_owned(), letter, result }
}
