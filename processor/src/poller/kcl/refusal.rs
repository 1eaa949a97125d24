//! What stands against taking over a lease table, and what to do about it.

use std::sync::Arc;

use millstream_projections::SourceName;

use super::table::Moves;

/// How many shards or workers an error names; of the rest it gives the number.
const NAMED: usize = 5;

/// Why nothing is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody writes to the lease table.
    #[error(
        "the KCL application still runs: {} moved within {waited} (`{}` is the first), {}. Stop all of its workers, and start \
         this again",
        rows(moves.rows), moves.first, whose(moves)
    )]
    Moves {
        /// What was seen.
        moves: Moves,
        /// Within which time.
        waited: String,
    },
    /// There is nothing to take over.
    #[error("lease table {table} has no lease")]
    Empty {
        /// Which.
        table: Arc<str>,
    },
    /// A row is none that KCL writes for a DynamoDB stream.
    #[error("lease `{lease}` is not understood: {why}")]
    Damaged {
        /// Its key.
        lease: Arc<str>,
        /// What is wrong with it.
        why: String,
    },
    /// Leases name no stream, and no stream lists one of their shards.
    #[error(
        "of the {leases} leases none is of a shard that {} lists: they are another table's, or the application stopped more \
         than a day ago. Then nothing is left to go on with: rebuild, and let the poller begin anew",
        sources(among)
    )]
    Strange {
        /// How many.
        leases: usize,
        /// Whose shards they were compared with.
        among: Vec<SourceName>,
    },
    /// Leases name no stream, and several list some of their shards.
    #[error("leases are of shards of {}: say whose with --source", sources(among))]
    Ambiguous {
        /// Which sources.
        among: Vec<SourceName>,
    },
    /// An application of one stream and one of several have left leases of the same stream.
    #[error(
        "leases of source {source_name} have two forms, as of an application of one stream and of one of several (`{one}`, \
         `{several}`). KCL reads those of one form alone: delete the others"
    )]
    TwoForms {
        /// Of which source.
        source_name: SourceName,
        /// The key of one that names no stream.
        one: Arc<str>,
        /// The key of one that does.
        several: Arc<str>,
    },
    /// Leases say another parent than the stream.
    #[error("leases name another parent than the stream does: {}. They are not of this stream", list(shards))]
    Parents {
        /// Of which shards.
        shards: Vec<Arc<str>>,
    },
    /// Leases say only that KCL began somewhere.
    #[error(
        "leases at LATEST or AT_TIMESTAMP do not say where KCL began: {}. Say with --since from which time on their shards are \
         read, such as when the application was first started; a time more than a day ago is all that the stream still has",
        list(shards)
    )]
    NoTime {
        /// Of which shards.
        shards: Vec<Arc<str>>,
    },
    /// Shards were not read to their end, and are gone.
    #[error(
        "shards were not read to their end, and the stream does not have them any more: {}. What KCL had not read of them is \
         lost: rebuild what is made of it. With --accept-gaps this goes on, and records a gap for each",
        list(shards)
    )]
    Lost {
        /// Which.
        shards: Vec<Arc<str>>,
    },
    /// A poller has rows of this stream, and they say something else.
    #[error(
        "consumer {consumer} knows shards of source {source_name} already, and not as they would be taken over: {}. Take another \
         --consumer, or delete its rows of this stream: `{place}` in table {table}",
        list(shards)
    )]
    Taken {
        /// Which consumer.
        consumer: Arc<str>,
        /// Of which source.
        source_name: SourceName,
        /// Which rows.
        shards: Vec<Arc<str>>,
        /// Their partition key.
        place: String,
        /// The table of the pollers' state.
        table: Arc<str>,
    },
}

impl Refusal {
    /// Whether an operator may accept it.
    pub(super) fn is_a_gap(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }
}

fn rows(count: usize) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}

fn whose(moves: &Moves) -> String {
    let workers: Vec<Arc<str>> = moves.workers.iter().cloned().collect();
    match workers.len() {
        0 => "and none of them names a worker".to_owned(),
        1 => format!("held by {}", workers[0]),
        _ => format!("held by {}", list(&workers)),
    }
}

fn sources(names: &[SourceName]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("source {name}")).collect();
    names.join(" and ")
}

fn list(names: &[Arc<str>]) -> String {
    let named = names.iter().take(NAMED).map(|name| &**name).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
