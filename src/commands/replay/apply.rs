//! `millstream replay apply`: replays letters.

use std::io::{IsTerminal, Write};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use millstream_replay::apply::{Applied, Brake, Done, Pace, Progress, Selection, Stopped, apply};
use millstream_replay::desk::Desk;
use millstream_replay::plan::{PlanFile, PlanFileError};
use serde_json::json;

use super::filter::FilterArgs;
use super::{Failure, Office, ask, count, print_json, warn};
use crate::output;

/// What is said where everything that was asked for is done already, or nothing of it is there.
const NOTHING_WAITS: &str = "nothing to replay: no letter of this selection waits";

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// A plan that `plan --out` wrote; it is refused if the config or its letters changed since
    #[arg(value_name = "PLAN")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
    /// At most so many letters in a time, from 1/h to 100000/s: 20/s, 100/m
    #[arg(long, value_name = "N/s", allow_hyphen_values = true, value_parser = interval)]
    rate: Option<Duration>,
    /// At most so many letters
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Starts nothing more after so many failures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    stop_after: Option<u64>,
    /// How many keys are worked on side by side
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Does not ask
    #[arg(long)]
    yes: bool,
    /// JSON: one line a letter, and a summary
    #[arg(long)]
    json: bool,
}

/// The rates that make sense, in letters a second: a slower one than one an hour ends with nobody there any more, and no
/// store is as fast as the other end.
const RATES: RangeInclusive<f64> = 1.0 / 3_600.0..=100_000.0;

/// The time between two letters of a rate like `20/s`.
fn interval(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let unit = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err("write 20/s, 100/m or 500/h".to_owned()),
    };
    match number.parse::<f64>().map(|number| number / unit) {
        Ok(rate) if RATES.contains(&rate) => {
            Duration::try_from_secs_f64(1.0 / rate).map_err(|error| error.to_string())
        }
        Ok(_) => Err("rates go from 1/h to 100000/s".to_owned()),
        Err(_) => Err("write a number, from 1/h to 100000/s, as in 20/s".to_owned()),
    }
}

pub(super) async fn run(
    args: &ApplyArgs,
    office: &Office,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let desk = office.desk()?;
    let mut selection = select(args, office)?;
    let mut pace = Pace {
        interval: args.rate,
        limit: args.limit,
        stop_after: args.stop_after,
        concurrency: args.concurrency.into(),
    };
    let is_plan = matches!(selection, Selection::Plan(_));
    let mut unreadable = Vec::new();
    // A plan is compared with its letters in any case; where nobody is asked, once is enough.
    if !(is_plan && args.yes) {
        let letters = waiting(desk, &selection, &mut unreadable).await?;
        if letters == 0 {
            // What comes meanwhile was not agreed to.
            pace.limit = Some(0);
        }
        if letters == 0
            && let Selection::Filter(filter) = selection
        {
            args.filter.nothing(&office.known, NOTHING_WAITS)?;
            selection = Selection::Keys(filter);
        } else {
            // They are listed once more.
            unreadable.clear();
        }
        if letters > 0 && !confirmed(args, letters)? {
            return Err(Failure::Failed("nothing was done".to_owned()));
        }
    }
    let brake = Brake::default();
    let listener = tokio::spawn(stop_on_ctrl_c(brake.clone()));
    let telling = Mutex::new(Telling { out, json: args.json, bar: bar(args), failure: None });
    let tell = |progress: Progress<'_>| lock(&telling).tell(progress);
    let applied = apply(desk, selection, pace, &brake, &tell).await;
    listener.abort();
    let telling = telling.into_inner().unwrap_or_else(PoisonError::into_inner);
    telling.bar.finish_and_clear();
    let mut applied = applied.map_err(refused)?;
    applied.faults.splice(0..0, unreadable);
    applied.faults.iter().for_each(warn);
    // Whether anyone reads it or not: what was done is done, and what is left is left.
    let printed = telling.failure.map_or(Ok(()), Err).and_then(|()| summary(args, &applied, telling.out));
    verdict(&applied)?;
    printed
}

/// How many letters there are to be replayed, and what is wrong with those that cannot be read.
async fn waiting(desk: &Desk, selection: &Selection, wrong: &mut Vec<String>) -> Result<u64, Failure> {
    let filter = match selection {
        Selection::Plan(plan) => return plan.waiting(desk).await.map_err(refused),
        Selection::Filter(filter) | Selection::Keys(filter) => filter,
    };
    let (mut letters, mut heads) = (0, desk.letters().list(filter));
    while let Some(head) = heads.next().await {
        match head {
            Ok(head) => letters += u64::from(head.state.waits()),
            Err(fault) => wrong.push(fault.to_string()),
        }
    }
    Ok(letters)
}

fn select(args: &ApplyArgs, office: &Office) -> Result<Selection, Failure> {
    let Some(path) = &args.plan else { return Ok(Selection::Filter(args.filter.filter(&office.known)?)) };
    if !args.filter.is_empty() {
        return Err(Failure::Usage("a plan says itself which letters: leave out the filters".to_owned()));
    }
    let told = |what: String| Failure::Usage(format!("cannot apply {}: {what}", path.display()));
    let json = std::fs::read(path).map_err(|error| told(error.to_string()))?;
    PlanFile::parse(&json).map(Selection::Plan).map_err(|error| told(error.to_string()))
}

fn refused(error: PlanFileError) -> Failure {
    match error {
        PlanFileError::Store(fault) => fault.into(),
        PlanFileError::Unreadable(_) | PlanFileError::Config { .. } | PlanFileError::Letters(_) => {
            Failure::Usage(format!("the plan cannot be applied: {error}"))
        }
    }
}

/// Whether the letters are to be replayed. In a pipe that has to be said.
fn confirmed(args: &ApplyArgs, letters: u64) -> Result<bool, Failure> {
    if args.yes {
        return Ok(true);
    }
    if !ask::is_possible() {
        return Err(Failure::Usage(format!(
            "{} would be replayed: say --yes where nobody can be asked",
            count(letters, "letter")
        )));
    }
    let letters = args.limit.map_or(letters, |limit| letters.min(limit));
    Ok(ask::yes(&format!("Replay {}?", count(letters, "letter")))?)
}

/// The first Ctrl-C lets what is under way end, the second one does not wait for it.
async fn stop_on_ctrl_c(brake: Brake) {
    if tokio::signal::ctrl_c().await.is_ok() {
        output::complain("stopping: what is under way ends, nothing new starts; Ctrl-C again does not wait");
        brake.pull();
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    }
}

/// Progress on a terminal; in a pipe nothing is drawn.
fn bar(args: &ApplyArgs) -> ProgressBar {
    if args.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let template = "{bar:30} {pos} of {len} letters, {per_sec}, {eta} left";
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Where progress is told.
struct Telling<'a> {
    out: &'a mut (dyn Write + Send),
    json: bool,
    bar: ProgressBar,
    failure: Option<Failure>,
}

fn lock<'a, 'b>(telling: &'a Mutex<Telling<'b>>) -> std::sync::MutexGuard<'a, Telling<'b>> {
    telling.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Telling<'_> {
    fn tell(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Chosen(letters) => self.bar.set_length(letters),
            Progress::Letter(done) => {
                self.bar.inc(1);
                if self.json {
                    let told = print_json(done, false, self.out).and_then(|()| Ok(self.out.flush()?));
                    self.failure = self.failure.take().or(told.err());
                } else if !done.outcome.is_done() {
                    self.bar.suspend(|| complain(done));
                }
            }
        }
    }
}

fn complain(done: &Done) {
    let projection = done.projection.as_deref().unwrap_or("-");
    output::complain(&format!("{}  {projection}: {}", done.id, done.outcome.text()));
}

fn summary(args: &ApplyArgs, applied: &Applied, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let why = match applied.stopped {
        None => None,
        Some(Stopped::Brake) => Some("stopped; the same command goes on".to_owned()),
        Some(Stopped::Limit) => Some("the limit is reached".to_owned()),
        Some(Stopped::Failures) => Some(format!("stopped after {}", count(applied.failed, "failure"))),
    };
    if args.json {
        print_json(&json!({ "applied": applied, "stopped": why }), false, out)?;
    } else if applied.chosen > 0 {
        write!(out, "{} replayed, {} superseded", applied.replayed, applied.superseded)?;
        for (number, what) in [
            (applied.was_closed, "closed by others"),
            (applied.failed, "failed"),
            (applied.behind, "behind a letter that has to go first"),
            (applied.still_held, "keys that still wait for letters that are lost or on their way"),
        ] {
            if number > 0 {
                write!(out, ", {number} {what}")?;
            }
        }
        writeln!(
            out,
            " of {}{}",
            count(applied.chosen, "letter"),
            why.map_or_else(String::new, |why| format!("; {why}"))
        )?;
    }
    Ok(())
}

/// Whether it ended as it was asked to. A limit is asked for; to be stopped by hand is not, and a script has to know.
fn verdict(applied: &Applied) -> Result<(), Failure> {
    if applied.stopped == Some(Stopped::Brake) {
        let left = count(applied.left, "letter");
        return Err(Failure::Failed(format!("stopped before the end: {left} left")));
    }
    match applied.is_clean() {
        true => Ok(()),
        false => Err(Failure::Failed("not all of it is done, see above".to_owned())),
    }
}
