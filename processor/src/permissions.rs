//! What each role has to be allowed to do, for one config: from the calls that sinks, letters, holds and hosts make.
//!
//! Nothing here asks a service, and no SDK is needed. What is said here of a call is held to the code by
//! `tests/permissions`: flows of every role run under what is granted here, all of it has to be allowed, and all of it
//! has to be used. So a new call in a sink, a store or a host has to be granted here, and one that goes has to go here too.

/// What a role may do, gathered, and as a policy.
mod grants;
/// Letters, and what an event source mapping gave up on.
mod letters;
/// What a grant is about, and its ARN.
mod resource;
/// Streams, queues, and the state of the pollers.
mod sources;
/// The writes of projections, and what plans read.
mod writes;

use std::fmt;
use std::sync::Arc;

use millstream_projections::SourceName;
use millstream_projections::config::{Config, ProjectionConfig, SourceConfig, SourceKind};

pub use grants::{Grants, Statement};
pub use resource::{NoDestination, OnFailure, Place, QueueUrl, Resource};

/// Who does what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The function that streams invoke.
    StreamFunction,
    /// The function that queues and topics invoke.
    QueueFunction,
    /// `millstream run`, on any host.
    Poller,
    /// Who replays letters and looks at pollers: `millstream replay` and `millstream status`.
    Operator,
    /// Who makes Millstream's own tables once: `millstream setup`. Where a template makes them, nobody needs it.
    Setup,
    /// Who takes over from another library once: `millstream migrate kcl`.
    Migration,
}

impl Role {
    /// All roles that run or mend something. What is done once is none of them: [`Role::Setup`] and [`Role::Migration`].
    pub const USUAL: [Self; 4] = [Self::StreamFunction, Self::QueueFunction, Self::Poller, Self::Operator];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StreamFunction => "stream-function",
            Self::QueueFunction => "queue-function",
            Self::Poller => "poller",
            Self::Operator => "operator",
            Self::Setup => "setup",
            Self::Migration => "migration",
        }
    }

    /// Whether it has to do with a source.
    pub fn concerns(self, source: &SourceConfig) -> bool {
        match (self, &source.kind) {
            (Self::StreamFunction | Self::Migration, SourceKind::Table(_)) => true,
            (Self::QueueFunction, SourceKind::Queue(_) | SourceKind::Topic(_)) => true,
            (Self::Poller, SourceKind::Table(_) | SourceKind::Queue(_)) => true,
            (Self::Operator | Self::Setup, _) => true,
            (Self::StreamFunction | Self::Migration, SourceKind::Queue(_) | SourceKind::Topic(_))
            | (Self::QueueFunction, SourceKind::Table(_))
            | (Self::Poller, SourceKind::Topic(_)) => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// For what permissions are asked.
#[derive(Debug, Clone, Copy)]
pub struct Deployment<'a> {
    /// The config.
    pub config: &'a Config,
    /// Only what these sources need; all of the config's where there are none.
    pub sources: &'a [SourceName],
    /// Where the event source mapping of a stream tells of what it gives up on, if anywhere.
    pub on_failure: Option<&'a OnFailure>,
    /// The lease table that a migration reads, where there is one: no config names it.
    pub lease_table: Option<&'a str>,
}

impl<'a> Deployment<'a> {
    /// All that a role needs, and nothing else; empty where the config gives it nothing to do.
    pub fn grants(&self, role: Role) -> Grants {
        let mut grants = Grants::default();
        if self.sources_of(role).next().is_none() {
            return grants;
        }
        match role {
            Role::StreamFunction | Role::QueueFunction => {
                sources::mapped(self, role, &mut grants);
                letters::reported(self, role, &mut grants);
                self.pipeline(role, &mut grants);
            }
            Role::Poller => {
                sources::polled(self, &mut grants);
                // Who reads queues alone counts no letters: those who do share the work through the state of the streams.
                if self.tables_of(role).next().is_some() {
                    letters::counted(self, &mut grants);
                }
                self.pipeline(role, &mut grants);
            }
            Role::Operator => {
                sources::looked_at(self, &mut grants);
                letters::imported(self, &mut grants);
                letters::mended(self, &mut grants);
                for projection in self.projections_of(role) {
                    writes::planned(self.config, &projection.kind, &mut grants);
                }
                self.pipeline(role, &mut grants);
            }
            Role::Setup => sources::made(self, &mut grants),
            Role::Migration => sources::taken_over(self, &mut grants),
        }
        grants
    }

    /// What every host of the pipeline needs.
    fn pipeline(&self, role: Role, grants: &mut Grants) {
        for projection in self.projections_of(role) {
            writes::written(self.config, &projection.kind, grants);
        }
        let keeps_order = self.projections_of(role).any(|projection| projection.build().keeps_order());
        letters::stored(self, keeps_order, grants);
    }

    /// The sources that a role has to do with, as far as they were asked for.
    fn sources_of(&self, role: Role) -> impl Iterator<Item = &'a SourceConfig> {
        let asked = self.sources;
        let is_asked = move |source: &SourceConfig| asked.is_empty() || asked.contains(&source.name);
        self.config.sources.iter().filter(move |source| role.concerns(source) && is_asked(source))
    }

    fn projections_of(&self, role: Role) -> impl Iterator<Item = &'a ProjectionConfig> {
        self.sources_of(role).flat_map(|source| self.config.projections_of(&source.name))
    }

    /// The tables among a role's sources.
    fn tables_of(&self, role: Role) -> impl Iterator<Item = &'a Arc<str>> {
        self.sources_of(role).filter_map(|source| match &source.kind {
            SourceKind::Table(table) => Some(table),
            SourceKind::Queue(_) | SourceKind::Topic(_) => None,
        })
    }
}
