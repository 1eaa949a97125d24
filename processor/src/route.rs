//! Which projections a change concerns.

use std::collections::HashMap;
use std::sync::Arc;

use millstream_projections::config::Config;
use millstream_projections::{Projection, ProjectionName, SourceName};

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

    /// The routes of one projection alone; `None` if there is no such projection.
    pub fn only(&self, projection: &ProjectionName) -> Option<Self> {
        self.by_source.iter().find_map(|(source, projections)| {
            let found = projections.iter().find(|other| other.name() == projection)?;
            let by_source = HashMap::from([(source.clone(), vec![found.clone()])]);
            Some(Self { by_source })
        })
    }

    /// The projections that see the changes of a source; none for a source nobody reads.
    pub fn of(&self, source: &SourceName) -> &[Arc<dyn Projection>] {
        self.by_source.get(source).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Why a projection cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The config has no such source.
    #[error(
        "projection `{projection}` reads source `{source_name}`, which the config does not have; it has: {known}"
    )]
    UnknownSource {
        /// The projection.
        projection: String,
        /// The source it asked for.
        source_name: String,
        /// The sources there are.
        known: String,
    },
    /// Another projection has the name already; their guards would be one.
    #[error("there is a projection `{0}` already: two projections of one name would share their guards")]
    SameName(String),
}

/// Adds projections written in Rust to those of the config.
pub struct Registry<'a> {
    config: &'a Config,
    routes: &'a mut Routes,
}

impl<'a> Registry<'a> {
    /// A registry that checks against `config` and adds to `routes`.
    pub fn new(config: &'a Config, routes: &'a mut Routes) -> Self {
        Self { config, routes }
    }

    /// Lets `projection` see the changes of the config's source of that name.
    pub fn add(&mut self, source: &str, projection: Arc<dyn Projection>) -> Result<(), RegisterError> {
        let name = projection.name();
        let mut registered = self.routes.by_source.values().flatten();
        if registered.any(|other| other.name() == name) {
            return Err(RegisterError::SameName(name.to_string()));
        }
        let Some(known) = self.config.sources.iter().find(|known| known.name.as_str() == source) else {
            let known: Vec<_> = self.config.sources.iter().map(|source| source.name.as_str()).collect();
            return Err(RegisterError::UnknownSource {
                projection: name.to_string(),
                source_name: source.to_owned(),
                known: known.join(", "),
            });
        };
        self.routes.add(known.name.clone(), projection);
        Ok(())
    }
}
