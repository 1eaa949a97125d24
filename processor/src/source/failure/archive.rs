//! Documents of failed batches that are kept for good, each under a name: listed page by page, and read one at a time.

use futures_util::future::BoxFuture;

use crate::outcome::Fault;

/// One page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// What there is, in the order of the names.
    pub documents: Vec<Listed>,
    /// Where the list goes on; none at its end.
    pub next: Option<String>,
}

/// One document, not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Keeps documents. Nothing here changes it, and nothing is tried again by itself.
pub trait Archive: Send + Sync {
    /// A page of the list, the first one or one that goes on where another ended.
    fn page(&self, from: Option<String>) -> BoxFuture<'_, Result<Page, Fault>>;

    /// The bytes of one document.
    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<u8>, Fault>>;
}
