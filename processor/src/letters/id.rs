//! Names of letters: the same change that fails in the same projection has the same one.

use millstream_projections::{KeyDigest, ProjectionName, SourceName, Version};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Names a letter: the same change that fails in the same projection has the same id, however often it fails.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LetterId(String);

impl LetterId {
    /// The id of a change that failed: 24 hexadecimal digits.
    pub fn of(source: &SourceName, projection: Option<&ProjectionName>, place: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in
            [source.as_str().as_bytes(), projection.map_or(&b""[..], |name| name.as_str().as_bytes()), place]
        {
            hash.update((part.len() as u32).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The id of a change whose key and version are known.
    pub fn of_change(
        source: &SourceName,
        projection: Option<&ProjectionName>,
        key: KeyDigest,
        version: &Version,
    ) -> Self {
        Self::of(source, projection, format!("{key}/{version}").as_bytes())
    }

    /// Reads an id that a person or a store gives; `None` if it is not 24 hexadecimal digits.
    pub fn from_text(text: &str) -> Option<Self> {
        let valid =
            text.len() == 24 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        valid.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for LetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
