//! No letter is ever written in a simulation: nothing in it can never be done.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, empty};
use futures_util::{FutureExt, StreamExt};
use millstream_processor::letters::{
    AuditEntry, Closing, Letter, LetterFilter, LetterHead, LetterId, LetterStore, Stored,
};
use millstream_processor::outcome::{Fault, FaultKind};

use crate::judge::Judge;

/// Tells the judge of every letter.
pub(crate) struct NoLetters(pub(crate) Arc<Judge>);

fn none<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, Fault>> {
    std::future::ready(Err(Fault::new(FaultKind::Unavailable, "there are no letters"))).boxed()
}

impl LetterStore for NoLetters {
    fn store<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<Stored, Fault>> {
        self.0.accuse(format!("a letter: {:?}", letter.head));
        none()
    }

    fn list<'a>(&'a self, _: &'a LetterFilter) -> BoxStream<'a, Result<LetterHead, Fault>> {
        empty().boxed()
    }

    fn load<'a>(&'a self, _: &'a LetterId) -> BoxFuture<'a, Result<Option<Letter>, Fault>> {
        none()
    }

    fn close<'a>(&'a self, _: &'a LetterId, _: u32, _: &'a Closing) -> BoxFuture<'a, Result<bool, Fault>> {
        none()
    }

    fn edit<'a>(&'a self, _: &'a LetterId, _: u32, _: &'a Bytes) -> BoxFuture<'a, Result<bool, Fault>> {
        none()
    }

    fn original<'a>(&'a self, _: &'a LetterId) -> BoxFuture<'a, Result<Option<Bytes>, Fault>> {
        none()
    }

    fn audit<'a>(&'a self, _: &'a AuditEntry) -> BoxFuture<'a, Result<(), Fault>> {
        none()
    }

    fn trail(&self) -> BoxStream<'_, Result<AuditEntry, Fault>> {
        empty().boxed()
    }
}
