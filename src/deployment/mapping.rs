//! The event source mapping of each source: what Lambda has to be told so that nothing is lost, and what it need not deliver.

use std::time::Duration;

use millstream_processor::permissions::{Place, QueueUrl};
use millstream_projections::config::{Config, SourceConfig, SourceKind, Start, duration};
use millstream_projections::filter::{self, Filter};

use super::document::{Call, Part};

/// A stream keeps its records for so long.
pub(crate) const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// Attempts without end. The age of a record ends them: their number says nothing of how long a wrong deployment takes to be
/// mended, and a misconfigured function fails thousands of times within minutes.
pub(crate) const ATTEMPTS: i64 = -1;

/// What the mapping of a source may leave out.
pub(crate) fn filter(config: &Config, source: &SourceConfig) -> Filter {
    filter::filter(source, config.projections_of(&source.name))
}

/// When a mapping gives up on a record: half-way between `hold`, at which Millstream has made a letter of it, and the end
/// of the stream's memory, so that there is time to fetch what the on-failure document points at.
pub(crate) fn record_age(hold: Duration) -> Duration {
    Duration::from_secs((hold + (RETENTION.saturating_sub(hold)) / 2).as_secs())
}

/// How a snippet names things that the template has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A resource of its own.
    Resource,
    /// An event of a SAM function.
    Event,
}

/// Where the stack is to be, as far as that is known.
#[derive(Debug, Default)]
pub(crate) struct Stack {
    /// The Region.
    pub(crate) region: Option<String>,
    /// The account.
    pub(crate) account: Option<String>,
}

/// The mapping of one source: its logical id, and what it is; none of a topic, which invokes functions by itself.
pub(crate) fn mapping(
    config: &Config,
    source: &SourceConfig,
    form: Form,
    stack: &Stack,
) -> Option<(String, Part)> {
    let base = base(config, source);
    let (function, kind, key, origin, settings) = match &source.kind {
        SourceKind::Table(_) => {
            let stream = Part::Call(Call::GetAtt, format!("{base}Table.StreamArn"));
            ("StreamFunction", "DynamoDB", "Stream", stream, of_stream(config, source))
        }
        SourceKind::Queue(url) => {
            ("QueueFunction", "SQS", "Queue", queue(url, &base, stack), of_queue(url.ends_with(".fifo")))
        }
        SourceKind::Topic(_) => return None,
    };
    let mut properties = match form {
        Form::Resource => vec![
            ("FunctionName".to_owned(), Part::Call(Call::Ref, function.to_owned())),
            ("EventSourceArn".to_owned(), origin),
        ],
        Form::Event => vec![(key.to_owned(), origin)],
    };
    properties.extend(settings.into_iter().map(|(name, part)| (name.to_owned(), part)));
    let kind = match form {
        Form::Resource => "AWS::Lambda::EventSourceMapping",
        Form::Event => kind,
    };
    let part = Part::map([("Type", Part::text(kind)), ("Properties", Part::Map(properties))]);
    let name = if form == Form::Resource { format!("{base}Mapping") } else { base };
    Some((name, part))
}

/// A queue beside the function is taken to be in its template. One of another place cannot be, and has an ARN.
fn queue(url: &str, base: &str, stack: &Stack) -> Part {
    let (own, whose) = (stack.region.as_deref(), stack.account.as_deref());
    match QueueUrl::of(url) {
        QueueUrl { region: Some(region), account: Some(account), name }
            if own != Some(region) || whose != Some(account) =>
        {
            let partition = Place::partition_of(region);
            Part::text(format!("arn:{partition}:sqs:{region}:{account}:{name}")).noted([format!(
                "a queue of another account or Region: Lambda reads queues of its own Region only, so the function has to be in {region}"
            )])
        }
        _ => Part::Call(Call::GetAtt, format!("{base}Queue.Arn")),
    }
}

type Settings = Vec<(&'static str, Part)>;

fn of_stream(config: &Config, source: &SourceConfig) -> Settings {
    let hold = config.pipeline.hold;
    let age = record_age(hold);
    let start = match source.start {
        Start::TrimHorizon => Part::text("TRIM_HORIZON"),
        Start::Since(_) => {
            Part::text("TRIM_HORIZON").noted(["a mapping of a stream of DynamoDB cannot start at a time"])
        }
        Start::Latest => {
            Part::text("LATEST").noted(["as `start` says; it can miss changes while the mapping starts"])
        }
    };
    let failures = Part::Call(Call::GetAtt, "StreamFailures.Arn".to_owned());
    let mut settings = vec![
        ("StartingPosition", start),
        ("BatchSize", Part::Number(500)),
        (
            "ParallelizationFactor",
            Part::Number(2)
                .noted(["changes of one item keep their order; more, to 10, while the iterator's age grows"]),
        ),
        reports(),
        (
            "BisectBatchOnFunctionError",
            Part::Bool(true).noted(["without it the good rest of a batch goes when retries run out"]),
        ),
        ("MaximumRetryAttempts", Part::Number(ATTEMPTS).noted(["the age ends retries, not their number"])),
        (
            "MaximumRecordAgeInSeconds",
            Part::Number(i64::try_from(age.as_secs()).unwrap_or(i64::MAX)).noted([format!(
                "{}: after `hold` = {}, and before the stream forgets at 24h",
                duration::text(age),
                duration::text(hold)
            )]),
        ),
        (
            "DestinationConfig",
            Part::map([("OnFailure", Part::map([("Destination", failures)]))])
                .noted(["what `millstream replay import` fetches the records by"]),
        ),
    ];
    let patterns = filter(config, source).patterns;
    if !patterns.is_empty() {
        let one = |pattern: &serde_json::Value| Part::map([("Pattern", Part::text(pattern.to_string()))]);
        let filters = Part::List(patterns.iter().map(one).collect());
        settings.push((
            "FilterCriteria",
            Part::map([("Filters", filters)])
                .noted(["made of every `where` of this source: to be made anew when one of them changes"]),
        ));
    }
    settings
}

fn of_queue(fifo: bool) -> Settings {
    let mut settings = match fifo {
        // A FIFO queue gives ten messages at most, and waits for none.
        true => vec![("BatchSize", Part::Number(10))],
        false => vec![("BatchSize", Part::Number(100)), ("MaximumBatchingWindowInSeconds", Part::Number(1))],
    };
    settings.push(reports());
    let scaling = Part::map([("MaximumConcurrency", Part::Number(10))]);
    settings.push(("ScalingConfig", scaling.noted(["2 to 1000: as much as the target tables take"])));
    settings
}

fn reports() -> (&'static str, Part) {
    ("FunctionResponseTypes", Part::list(["ReportBatchItemFailures"]))
}

/// What a source's logical ids begin with: its name, and its place among those whose names differ in signs only.
fn base(config: &Config, source: &SourceConfig) -> String {
    let name = camel(source.name.as_str());
    let before = config.sources.iter().take_while(|it| it.name != source.name);
    match before.filter(|it| camel(it.name.as_str()) == name).count() {
        0 if !name.is_empty() => name,
        number => format!("{name}Source{}", number + 1),
    }
}

/// A name as logical ids are written: letters and digits, each word with a capital.
fn camel(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_gives_up_between_hold_and_the_end_of_the_stream() {
        for (hold, age) in [(20, 22), (24, 24), (10, 17)] {
            let hours = |hours: u64| Duration::from_secs(hours * 3_600);
            assert_eq!(record_age(hours(hold)), hours(age));
        }
        // Lambda takes a minute at least.
        assert!(record_age(Duration::from_secs(60)).as_secs() >= 60);
    }

    #[test]
    fn logical_ids_are_letters_and_digits() {
        assert_eq!(camel("company-events"), "CompanyEvents");
        assert_eq!(camel("a.b_c"), "ABC");
    }
}
