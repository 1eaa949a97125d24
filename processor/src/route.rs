//! Which projections a change concerns.

use std::collections::HashMap;
use std::sync::Arc;

use millstream_projections::{Projection, SourceName};

/// The projections of every source, in the order in which they were registered.
#[derive(Default, Clone)]
pub struct Routes {
    by_source: HashMap<SourceName, Vec<Arc<dyn Projection>>>,
}

impl Routes {
    /// Lets `projection` see the changes of `source`.
    pub fn add(&mut self, source: SourceName, projection: Arc<dyn Projection>) {
        self.by_source.entry(source).or_default().push(projection);
    }

    /// The projections that see the changes of a source; none for a source nobody reads.
    pub fn of(&self, source: &SourceName) -> &[Arc<dyn Projection>] {
        self.by_source.get(source).map(Vec::as_slice).unwrap_or_default()
    }
}
