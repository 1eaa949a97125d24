//! From the config file to letters, and to a desk where a command needs one.

use std::path::PathBuf;
use std::sync::Arc;

use millstream_processor::clock::{Clock, SystemClock};
use millstream_processor::ledger::Ledger;
use millstream_processor::sink::dynamodb::DynamoDbSink;
use millstream_processor::source::Sources;
use millstream_processor::wiring::{self, Aws};
use millstream_projections::config::Config;
use millstream_replay::desk::Desk;

use super::{Failure, Known, Office, ReplayArgs};

/// A desk and what it was wired of.
pub(super) struct Wired {
    pub(super) desk: Desk,
    pub(super) sources: Sources,
    pub(super) aws: Aws,
}

pub(super) async fn open(args: &ReplayArgs) -> Result<Office, Failure> {
    let named = || std::env::var_os(wiring::CONFIG_VARIABLE).map(PathBuf::from);
    let path = args.config.clone().or_else(named).unwrap_or_else(|| wiring::CONFIG_FILE.into());
    let config = wiring::load(&path).map_err(|error| Failure::Usage(error.to_string()))?;
    let known = Known {
        projections: config.projections.iter().map(|projection| projection.name.to_string()).collect(),
        sources: config.sources.iter().map(|source| source.name.to_string()).collect(),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keeps_order = config.projections.iter().any(|projection| projection.build().keeps_order());
    if !args.command.needs_desk(keeps_order) {
        let store = wiring::open_letters(&config, args.endpoint.as_deref(), clock).await;
        return Ok(Office { store, known, desk: None });
    }
    let aws = Aws::connect(args.endpoint.as_deref()).await;
    let desk = desk(&config, &aws, clock, operator(args.identity.as_deref()));
    let store = desk.pipeline.letters.clone();
    Ok(Office { store, known, desk: Some(Wired { desk, sources: wiring::sources(&config), aws }) })
}

fn desk(config: &Config, aws: &Aws, clock: Arc<dyn Clock>, by: String) -> Desk {
    let ledger = Ledger::of(&config.state);
    Desk {
        pipeline: wiring::pipeline(config, aws, clock.clone()),
        rows: Arc::new(DynamoDbSink::new(aws.dynamodb(), ledger, clock)),
        sources: config.sources.iter().map(|source| source.name.clone()).collect(),
        tombstones: config.state.tombstones,
        by,
    }
}

/// Who is at work: the user of the operating system, and who they say they are.
fn operator(identity: Option<&str>) -> String {
    let user = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
    let user = user.filter(|user| !user.is_empty()).unwrap_or_else(|| "unknown user".to_owned());
    match identity {
        Some(identity) => format!("{user} as {identity}"),
        None => user,
    }
}
