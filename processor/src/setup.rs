//! The tables of our own, made where they are missing: for demos, tests and first runs. Making them twice changes nothing.

use millstream_projections::config::{Config, LettersStore, SourceKind};

use crate::ledger;
use crate::letters::table as letters;
use crate::outcome::Fault;
use crate::poller::state::table as state;
use crate::wiring::Aws;

/// One table.
pub(crate) mod table;

/// Makes the ledger, and the tables of values, of letters and of the pollers' state if the config needs them. Tells the
/// names of the tables.
pub async fn create_tables(config: &Config, aws: &Aws) -> Result<Vec<String>, Fault> {
    let client = aws.dynamodb();
    let mut tables = vec![(config.state.ledger_table(), &ledger::DEFINITION)];
    if config.projections.iter().any(|projection| projection.kind.keeps_values()) {
        tables.push((config.state.values_table(), &ledger::VALUES));
    }
    if matches!(config.letters.store, LettersStore::Table) {
        tables.push((config.state.letters_table(), &letters::DEFINITION));
    }
    // What a poller can read; who delivers by Lambda alone pays nothing for a table without rows.
    let polled = |kind: &SourceKind| matches!(kind, SourceKind::Table(_) | SourceKind::Queue(_));
    if config.sources.iter().any(|source| polled(&source.kind)) {
        tables.push((config.state.state_table(), &state::DEFINITION));
    }
    for (name, definition) in &tables {
        table::create(&client, name, definition).await?;
    }
    Ok(tables.into_iter().map(|(name, _)| name).collect())
}
