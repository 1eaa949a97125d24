//! `millstream setup`: the tables that a config needs for itself, made where they are missing.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use millstream_processor::setup::create_tables;
use millstream_processor::wiring::{self, Aws, CONFIG_FILE, CONFIG_VARIABLE};

use super::Failure;
use crate::output::print;

/// What `millstream setup` is told.
#[derive(Debug, Args)]
pub(crate) struct SetupArgs {
    /// The config file; without it, what MILLSTREAM_CONFIG names, or millstream.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another DynamoDB than that of the environment's AWS account
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

/// Makes the tables and tells their names.
pub(crate) async fn run(args: SetupArgs) -> Result<ExitCode, Failure> {
    let named = || std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
    let path = args.config.or_else(named).unwrap_or_else(|| CONFIG_FILE.into());
    let config = wiring::load(&path).map_err(|error| Failure::Wrong(error.to_string()))?;
    let aws = Aws::connect(args.endpoint.as_deref()).await;
    let tables = create_tables(&config, &aws).await.map_err(|fault| Failure::Failed(fault.to_string()))?;
    for table in tables {
        print(&format!("{table} is ready\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
