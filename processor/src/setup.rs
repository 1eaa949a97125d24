//! The tables of our own, made where they are missing: for demos, tests and first runs. Making them twice changes nothing.

use millstream_projections::config::{Config, LettersStore, SourceKind};

use crate::ledger;
use crate::letters::table as letters;
use crate::outcome::Fault;
use crate::poller::state::table as state;
use crate::wiring::Aws;

/// One table.
pub mod table;

use self::table::Definition;

/// What a table of our own holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Tombstones, contributions and held keys.
    Ledger,
    /// What the least, the greatest and the number of different values rest on.
    Values,
    /// Dead letters.
    Letters,
    /// What pollers agree on.
    State,
}

/// A table of our own that a config needs.
#[derive(Debug)]
pub struct OwnTable {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub holds: Holds,
    /// What it is made of.
    pub definition: &'static Definition,
}

/// The ledger, and the tables of values, of letters and of the pollers' state if the config needs them.
pub fn tables(config: &Config) -> Vec<OwnTable> {
    let table = |name: String, holds, definition| OwnTable { name, holds, definition };
    let mut tables = vec![table(config.state.ledger_table(), Holds::Ledger, &ledger::DEFINITION)];
    if config.projections.iter().any(|projection| projection.kind.keeps_values()) {
        tables.push(table(config.state.values_table(), Holds::Values, &ledger::VALUES));
    }
    if matches!(config.letters.store, LettersStore::Table) {
        tables.push(table(config.state.letters_table(), Holds::Letters, &letters::DEFINITION));
    }
    // What workers have to agree on: SQS itself shares the messages of a queue out.
    if config.sources.iter().any(|source| matches!(source.kind, SourceKind::Table(_))) {
        tables.push(table(config.state.state_table(), Holds::State, &state::DEFINITION));
    }
    tables
}

/// The name of the table that holds something; none if the config does not need it.
pub fn table_of(config: &Config, holds: Holds) -> Option<String> {
    tables(config).into_iter().find(|table| table.holds == holds).map(|table| table.name)
}

/// Makes the tables of our own. Tells their names.
pub async fn create_tables(config: &Config, aws: &Aws) -> Result<Vec<String>, Fault> {
    let client = aws.dynamodb();
    let tables = tables(config);
    for OwnTable { name, definition, .. } in &tables {
        table::create(&client, name, definition).await?;
    }
    Ok(tables.into_iter().map(|table| table.name).collect())
}
