//! Names of sources and projections: checked once, cheap to clone, safe in attribute names and metrics.

use std::fmt;
use std::sync::Arc;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: use 1 to 100 of a-z, A-Z, 0-9, `-`, `_` and `.`")]
pub struct NameError(String);

/// A name becomes part of attribute names (`ms:<projection>`) and of metric labels, so it stays plain and short.
const MAX_NAME: usize = 100;

fn checked(text: &str) -> Result<Arc<str>, NameError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(plain) {
        return Err(NameError(text.to_owned()));
    }
    Ok(Arc::from(text))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes it a name.
            pub fn new(text: &str) -> Result<Self, NameError> {
                checked(text).map(Self)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name! {
    /// The name of a source in the config: `[source.<name>]`.
    SourceName
}
name! {
    /// The name of a projection in the config: `[projection.<name>]`.
    ProjectionName
}
