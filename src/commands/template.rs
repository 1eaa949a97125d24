//! `millstream template`: the event source mapping of each source, with the filter that the config allows.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use millstream_processor::permissions::Place;
use millstream_processor::wiring::{self, CONFIG_FILE, CONFIG_VARIABLE};
use millstream_projections::config::{Config, SourceConfig, SourceKind};
use millstream_projections::filter::{Filter, MAX_PATTERN, MAX_PATTERNS};
use serde_json::{Value, json};

use super::Failure;
use super::policy::{account, region, sources};
use crate::deployment::document::Part;
use crate::deployment::mapping::{Form, Stack, filter, mapping};
use crate::output::print;

/// Prints what Lambda has to be told of each source, as a part of a template. Asks no service.
#[derive(Debug, Args)]
pub(crate) struct TemplateArgs {
    /// The config file; without it, what MILLSTREAM_CONFIG names, or millstream.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only this source of the config; may be given several times
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
    /// Where the stack is to be, so that a queue elsewhere has its ARN [default: where the config's topics and queues are]
    #[arg(long, value_name = "REGION", value_parser = region)]
    region: Option<String>,
    /// Whose it is [default: whose the config's topics and queues are]
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    account: Option<String>,
    /// As events of a SAM function, not as resources
    #[arg(long)]
    sam: bool,
    /// Prints one JSON object, with what became of each projection
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &TemplateArgs) -> Result<ExitCode, Failure> {
    let named = || std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
    let path = args.config.clone().or_else(named).unwrap_or_else(|| CONFIG_FILE.into());
    let config = wiring::load(&path).map_err(|error| Failure::Wrong(error.to_string()))?;
    let names = sources(&config, &args.source)?;
    let chosen: Vec<&SourceConfig> =
        config.sources.iter().filter(|source| names.is_empty() || names.contains(&source.name)).collect();
    let form = if args.sam { Form::Event } else { Form::Resource };
    let (region, account) = Place::named_in(&config);
    let stack = Stack { region: args.region.clone().or(region), account: args.account.clone().or(account) };
    let file = path.display().to_string();
    print(&match args.json {
        true => format!("{}\n", object(&file, &config, &chosen, (form, &stack))),
        false => page(&file, &config, &chosen, (form, &stack)),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn page(file: &str, config: &Config, sources: &[&SourceConfig], (form, stack): (Form, &Stack)) -> String {
    let mut parts = Vec::new();
    let mut page = format!("# Event source mappings of {file} (config {})\n", config.hash);
    for source in sources {
        match mapping(config, source, form, stack) {
            Some((name, part)) => parts.push((name, part.noted(about(config, source)))),
            None => about(config, source).iter().for_each(|line| page.push_str(&format!("# {line}\n"))),
        }
    }
    if !parts.is_empty() {
        let root = if form == Form::Event { "Events" } else { "Resources" };
        page.push_str(&Part::map([(root, Part::Map(parts))]).to_yaml());
    }
    page
}

/// What is to be known of a source's mapping.
fn about(config: &Config, source: &SourceConfig) -> Vec<String> {
    let (name, word, resource) = (&source.name, source.kind.word(), source.kind.resource());
    let mut lines = vec![format!("{name}: {word} {resource}")];
    match &source.kind {
        SourceKind::Table(_) => lines.extend(of_filter(&filter(config, source))),
        SourceKind::Queue(_) => {
            lines.push("no filter: what a queue carries is what its `emit` let through".to_owned());
        }
        SourceKind::Topic(_) => lines.push(
            "no mapping: a topic invokes functions by itself, and cannot be told which messages failed; put a queue in between".to_owned(),
        ),
    }
    lines
}

fn of_filter(filter: &Filter) -> Vec<String> {
    if filter.projections.is_empty() {
        return vec!["no filter: no projection follows it".to_owned()];
    }
    if filter.too_large {
        return vec![
            format!(
                "no filter: its conditions are more than {MAX_PATTERNS} patterns of {MAX_PATTERN} characters, as many as a mapping takes;"
            ),
            "  let all parts of each `where` that `||` joins name one attribute, as in new.type == 'a'"
                .to_owned(),
        ];
    }
    let needing = filter
        .projections
        .iter()
        .filter_map(|pushed| pushed.needs_all.as_ref().map(|why| format!("  {}: {why}", pushed.projection)));
    let needing: Vec<String> = needing.collect();
    match needing.is_empty() {
        true => vec!["filtered: what cannot concern any of its projections is not delivered".to_owned()],
        false => {
            std::iter::once("no filter, since all changes are needed by".to_owned()).chain(needing).collect()
        }
    }
}

fn object(file: &str, config: &Config, sources: &[&SourceConfig], (form, stack): (Form, &Stack)) -> Value {
    let one = |source: &&SourceConfig| {
        let filter = filter(config, source);
        let (name, part) = mapping(config, source, form, stack).unzip();
        let pushed = filter
            .projections
            .iter()
            .map(|pushed| json!({ "projection": pushed.projection.as_str(), "needsAll": pushed.needs_all }));
        let mut object = json!({
            "source": source.name.as_str(),
            "line": source.line,
            "name": name,
            "mapping": part.and_then(|part| serde_json::to_value(part).ok()),
            "filter": {
                "patterns": filter.patterns,
                "tooLarge": filter.too_large,
                "projections": pushed.collect::<Vec<_>>(),
            },
        });
        object[source.kind.word()] = json!(**source.kind.resource());
        object
    };
    let mappings: Vec<Value> = sources.iter().map(one).collect();
    json!({ "file": file, "config": config.hash, "mappings": mappings })
}
