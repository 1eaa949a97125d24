//! What `millstream demo` does: raise a world, let its services write, deliver badly, compare, tell.

/// The first service's companies.
mod companies;
/// Which DynamoDB is spoken to.
mod connection;
/// How changes are delivered.
mod deal;
/// The run itself.
mod drive;
/// Why the demo could not be carried through.
mod error;
/// What stays up after the comparison.
mod keep;
/// An event source mapping that gives up.
mod mapping;
/// What every row should be.
mod oracle;
/// The second service's orders.
mod orders;
/// How far the run is.
mod progress;
/// Queues for what failed.
mod queues;
/// A topic of SNS with a queue of SQS.
mod remote;
/// Rows and values.
mod row;
/// The DynamoDB inside.
mod server;
/// What is told before and after.
mod story;
/// The services' tables.
mod tables;
/// The streams of the source tables.
mod tail;
/// A topic inside the process.
mod topic;
/// What the services do.
mod workload;
/// What the demo stands on.
mod world;

use futures_util::StreamExt;
use millstream_processor::letters::LetterFilter;
use std::time::Instant;

use crate::output::print;
pub(crate) use connection::AWS;
use drive::Run;
pub(crate) use error::DemoError;
use progress::Progress;
use story::Summary;
use workload::Workload;
use world::World;

/// What the demo is asked to do.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// How many changes the services make.
    pub(crate) changes: usize,
    /// Where chance starts.
    pub(crate) seed: u64,
    /// How many of the changes can never be projected.
    pub(crate) poison: usize,
    /// One JSON object in place of the story.
    pub(crate) json: bool,
    /// Stay up after the comparison.
    pub(crate) keep: bool,
    /// Where the DynamoDB is; inside the process if it is left out.
    pub(crate) endpoint: Option<String>,
    /// What the tables' names start with.
    pub(crate) prefix: Option<String>,
    /// Where SNS and SQS are; inside the process if it is left out.
    pub(crate) sns_endpoint: Option<String>,
    /// Whether the letters go to a queue there.
    pub(crate) letters_queue: bool,
    /// Whether a mapping gives up on a batch, and its document goes to a queue there.
    pub(crate) give_up: bool,
}

/// Runs the demo; tells whether every row was right and every poison record became a letter.
pub(crate) async fn run(settings: &Settings) -> Result<bool, DemoError> {
    let started = Instant::now();
    if !settings.json {
        print(&story::opening(settings))?;
    }
    let mut world = World::connect(settings).await?;
    let right = on(&mut world, settings, started).await;
    // Also after a failure: what was made is removed.
    let removed = world.remove().await;
    let right = right?;
    removed?;
    Ok(right)
}

async fn on(world: &mut World, settings: &Settings, started: Instant) -> Result<bool, DemoError> {
    let mut workload = Workload::new(settings.seed, settings.changes, settings.poison);
    let progress = Progress::new(settings.changes);
    progress.say("making the tables");
    stoppable(world.build()).await?;
    let mut run = stoppable(Run::new(world, settings)).await?;
    stoppable(run.play(&mut workload, &progress)).await?;
    progress.say("comparing every row");
    let summary = stoppable(summarise(&run, &workload, settings, started)).await?;
    drop(progress);
    print(&if settings.json { summary.json() } else { summary.story() })?;
    if settings.keep {
        keep::stay(&mut run, settings).await?;
    }
    if settings.give_up {
        // What was given up may have been replayed meanwhile.
        let again = summarise(&run, &workload, settings, started).await?;
        keep::tell(settings, &again.once_more())?;
        return Ok(again.has_no_difference());
    }
    Ok(summary.is_right())
}

/// Compares, and counts the letters.
async fn summarise(
    run: &Run<'_>,
    workload: &Workload,
    settings: &Settings,
    started: Instant,
) -> Result<Summary, DemoError> {
    let world = run.world();
    let comparison = oracle::compare(&world.services, &world.prefix, workload.memory()).await?;
    let letters = world.letters();
    let heads: Vec<_> = letters.list(&LetterFilter::default()).collect().await;
    // Of a queue others see at once what was looked at here.
    letters.release().await;
    let letters = heads.into_iter().collect::<Result<Vec<_>, _>>()?.len();
    let (tally, records) = (run.tally(), run.records());
    Ok(Summary {
        seed: settings.seed,
        poison: settings.poison,
        tally,
        records,
        letters,
        given_up: run.given_up(),
        comparison,
        elapsed: started.elapsed(),
    })
}

/// Does some work, unless the demo is told to stop.
async fn stoppable<T>(work: impl Future<Output = Result<T, DemoError>>) -> Result<T, DemoError> {
    tokio::select! {
        done = work => done,
        () = told_to_stop() => Err(DemoError::new("stopped before the end")),
    }
}

/// Ends when the demo is told to stop, by Ctrl-C or by `kill`.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers a signal ends the process by itself.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
