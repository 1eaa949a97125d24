//! `millstream check`: what a config means, what may surprise, and what it costs. Exit codes: 0 right, 2 wrong.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use millstream_processor::wiring::{self, WiringError};
use millstream_projections::config::{Config, SourceKind, lint};

use crate::output;

mod costs;
mod json;
mod picture;
#[cfg(test)]
mod tests;

/// Says what a config means, what may surprise in it, and what its writes cost. Asks no service.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The config file; without it, what MILLSTREAM_CONFIG names, or millstream.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prints the JSON Schema of the config file, for editors, and nothing else
    #[arg(long)]
    schema: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: CheckArgs) -> ExitCode {
    if args.schema {
        return print(&Said { text: format!("{:#}\n", Config::schema()), right: true });
    }
    let named = || std::env::var_os(wiring::CONFIG_VARIABLE).map(PathBuf::from);
    let path = args.config.or_else(named).unwrap_or_else(|| wiring::CONFIG_FILE.into());
    print(&say(&path, wiring::load(&path), args.json))
}

/// What the command says of a config, and whether it can be used.
struct Said {
    text: String,
    right: bool,
}

fn say(path: &Path, loaded: Result<Config, WiringError>, json: bool) -> Said {
    let file = path.display().to_string();
    match (loaded, json) {
        (Ok(config), true) => Said { text: line(&json::config(&file, &config)), right: true },
        (Ok(config), false) => Said { text: page(&file, &config), right: true },
        (Err(error), true) => Said { text: line(&json::errors(&file, &error)), right: false },
        (Err(error), false) => Said { text: format!("{error}\n"), right: false },
    }
}

fn line(object: &serde_json::Value) -> String {
    format!("{object}\n")
}

fn page(file: &str, config: &Config) -> String {
    let warnings = lint(config);
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut page = format!(
        "{file}: {}, {}, {} (config {})\n\n",
        count(config.sources.len(), "source"),
        count(config.projections.len(), "projection"),
        count(warnings.len(), "warning"),
        config.hash
    );
    page.push_str(&picture::picture(config));
    for warning in &warnings {
        let (line, subject) = (warning.line, &warning.subject);
        page.push_str(&format!("\nwarning: {file}:{line}: [{subject}] {}; {}", warning.text, warning.advice));
    }
    if !warnings.is_empty() {
        page.push('\n');
    }
    page.push('\n');
    page.push_str(&costs::table(config));
    page
}

/// The table of values, where the config needs one.
fn values_table(config: &Config) -> Option<String> {
    let needed = config.projections.iter().any(|projection| projection.kind.keeps_values());
    needed.then(|| config.state.values_table())
}

/// The table of the pollers' state, where the config has something that a poller can read.
fn state_table(config: &Config) -> Option<String> {
    let needed = config.sources.iter().any(|source| !matches!(source.kind, SourceKind::Topic(_)));
    needed.then(|| config.state.state_table())
}

/// A config that is wrong is told on stderr; a JSON object is what was asked for, so it goes to stdout either way.
fn print(said: &Said) -> ExitCode {
    if said.right || said.text.starts_with('{') {
        // Nobody reads any more, as after `| head`: what the config is stays as it is.
        let _ = output::print(&said.text);
    } else {
        output::complain(said.text.trim_end());
    }
    if said.right { ExitCode::SUCCESS } else { ExitCode::from(2) }
}
