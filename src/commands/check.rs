//! `millstream check`: what a config means, what may surprise, and what it costs. Exit codes: 0 right, 2 wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use millstream_processor::wiring::{self, WiringError};
use millstream_projections::config::{Config, lint};

use crate::deployment::template::Template;
use crate::{deployment, output};

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
    /// Also compares a template of CloudFormation or SAM that deploys the config: what would be lost, denied or missed.
    /// Variables of the config are what the template gives its functions, or else the environment's
    #[arg(long, value_name = "FILE", conflicts_with = "schema")]
    template: Option<PathBuf>,
    /// What a parameter of the template is, in place of its default; may be given several times
    #[arg(long, value_name = "NAME=VALUE", requires = "template", value_parser = parameter)]
    parameter: Vec<(String, String)>,
    /// Prints the JSON Schema of the config file, for editors, and nothing else
    #[arg(long)]
    schema: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, as in Stage=prod")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs the command.
pub(crate) fn run(args: CheckArgs) -> ExitCode {
    if args.schema {
        return print(&Said { text: format!("{:#}\n", Config::schema()), right: true });
    }
    let named = || std::env::var_os(wiring::CONFIG_VARIABLE).map(PathBuf::from);
    let path = args.config.or_else(named).unwrap_or_else(|| wiring::CONFIG_FILE.into());
    let Some(template) = &args.template else {
        return print(&say(&path, wiring::load(&path), None, args.json));
    };
    let template = match Template::read(template, &args.parameter) {
        Ok(template) => template,
        Err(error) => return print(&json::or_text(&error, args.json)),
    };
    let environment = template.environment();
    let loaded = wiring::load_as(&path, &|name| environment.get(name).cloned().flatten());
    let is_wrong = loaded.is_err();
    let ended = print(&say(&path, loaded, Some(&template), args.json));
    if is_wrong {
        tell_untold(&template, &environment);
    }
    ended
}

/// A config may lack nothing but what the template leaves to its deployment.
fn tell_untold(template: &Template, environment: &BTreeMap<String, Option<String>>) {
    let untold = environment.iter().filter(|(name, told)| told.is_none() && std::env::var_os(name).is_none());
    let untold: Vec<String> = untold.map(|(name, _)| format!("`{name}`")).collect();
    if !untold.is_empty() {
        output::complain(&format!(
            "note: {} gives its functions {}, and what that is only a deployment knows: say --parameter NAME=VALUE, or set the \
             variable here",
            template.file,
            untold.join(", ")
        ));
    }
}

/// What the command says of a config, and whether it can be used.
struct Said {
    text: String,
    right: bool,
}

fn say(path: &Path, loaded: Result<Config, WiringError>, template: Option<&Template>, json: bool) -> Said {
    let file = path.display().to_string();
    match (loaded, json) {
        (Ok(config), true) => Said { text: line(&json::config(&file, &config, template)), right: true },
        (Ok(config), false) => Said { text: page(&file, &config, template), right: true },
        (Err(error), true) => Said { text: line(&json::errors(&file, &error)), right: false },
        (Err(error), false) => Said { text: format!("{error}\n"), right: false },
    }
}

fn line(object: &serde_json::Value) -> String {
    format!("{object}\n")
}

fn page(file: &str, config: &Config, template: Option<&Template>) -> String {
    let warnings = lint(config);
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
    if let Some(template) = template {
        page.push_str(&deployed(config, template));
    }
    page.push('\n');
    page.push_str(&costs::table(config));
    page
}

/// What may surprise in a template that deploys the config.
fn deployed(config: &Config, template: &Template) -> String {
    let (file, findings) = (&template.file, deployment::lint::lint(config, template));
    let mut said = format!("\n{file}: {}\n", count(findings.len(), "warning"));
    for finding in &findings {
        said.push_str(&format!("warning: {file}:{finding}\n"));
    }
    said
}

fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
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
