//! What is told before and after the run: for people, or as JSON.

use std::time::Duration;

use serde::Serialize;

use super::drive::Tally;
use super::oracle::{Comparison, Difference};
use super::{AWS, Settings};

/// How many differences are shown one by one.
const SHOWN: usize = 10;

/// How the run ended.
pub(crate) struct Summary {
    pub(crate) seed: u64,
    pub(crate) poison: usize,
    pub(crate) tally: Tally,
    /// Records that the streams brought, each once.
    pub(crate) records: u64,
    /// Letters that lie in their store.
    pub(crate) letters: usize,
    /// Records that a mapping gave up on.
    pub(crate) given_up: usize,
    pub(crate) comparison: Comparison,
    pub(crate) elapsed: Duration,
}

/// The summary for programs. The names are a promise.
#[derive(Serialize)]
struct Json {
    changes: u64,
    deliveries: u64,
    writes: u64,
    coalesced: u64,
    stale: u64,
    letters: usize,
    poison: usize,
    rows_compared: usize,
    differences: usize,
    elapsed_ms: u128,
    seed: u64,
    records: u64,
    events: u64,
}

/// What is going on, before it goes on.
pub(crate) fn opening(settings: &Settings) -> String {
    let place = match settings.endpoint.as_deref() {
        None => "a DynamoDB inside this process".to_owned(),
        Some(AWS) => "AWS".to_owned(),
        Some(url) => url.to_owned(),
    };
    let poison = match settings.poison {
        0 => String::new(),
        1 => "\nOne order can never be projected: it has to end as a letter and hold up nothing else."
            .to_owned(),
        many => format!(
            "\n{many} orders can never be projected: each has to end as a letter and hold up nothing else."
        ),
    };
    format!(
        "\
Millstream demo, seed {} on {place}

One service owns companies, a shop owns orders. Statistics, billing, accounting, inventory and shipping each
keep what they need of them in tables of their own. Beside them stand the totals of orders by customer and by
month, and lookups of companies by VAT id and of orders by tag. The services now make {} random changes;
Millstream reads their streams and keeps the other tables true, although batches are delivered twice, half, out
of order, long outdated, and to two processors at once.{poison}

",
        settings.seed,
        thousands(settings.changes as u64)
    )
}

impl Summary {
    /// Whether every row was right, and every poison record is a letter.
    pub(crate) fn is_right(&self) -> bool {
        self.comparison.differences.is_empty() && self.letters == self.poison
    }

    /// Whether every row was right.
    pub(crate) fn has_no_difference(&self) -> bool {
        self.comparison.differences.is_empty()
    }

    /// What the comparison at the very end came to.
    pub(crate) fn once_more(&self) -> String {
        match self.comparison.differences.len() {
            0 => "Compared once more: every row of the five tables is what the source tables say.".to_owned(),
            some => format!("Compared once more: {} left.", count(some, "difference")),
        }
    }

    /// One object on one line.
    pub(crate) fn json(&self) -> String {
        let counts = self.tally.counts;
        let json = Json {
            changes: self.tally.changes,
            deliveries: self.tally.deliveries,
            writes: counts.written,
            coalesced: counts.coalesced,
            stale: counts.stale,
            letters: self.letters,
            poison: self.poison,
            rows_compared: self.comparison.rows,
            differences: self.comparison.differences.len(),
            elapsed_ms: self.elapsed.as_millis(),
            seed: self.seed,
            records: self.records,
            events: self.tally.events,
        };
        // Numbers under fixed names always make JSON.
        format!("{}\n", serde_json::to_string(&json).unwrap_or_default())
    }

    /// A table, and what it proves.
    pub(crate) fn story(&self) -> String {
        let counts = self.tally.counts;
        let lines: [(&str, u64, String); 8] = [
            ("changes", self.tally.changes, "that the services made".to_owned()),
            ("deliveries", self.tally.deliveries, "handed to Millstream, with all repetitions".to_owned()),
            ("writes", counts.written, "of rows and events".to_owned()),
            (
                "coalesced",
                counts.coalesced,
                "writes saved: the batch held something newer for the row".to_owned(),
            ),
            (
                "stale",
                counts.stale,
                "writes dropped: the row had that already, or something newer".to_owned(),
            ),
            ("letters", self.letters as u64, format!("for {}", count(self.poison, "poison record"))),
            (
                "rows compared",
                self.comparison.rows as u64,
                "in nine tables, attribute by attribute".to_owned(),
            ),
            ("differences", self.comparison.differences.len() as u64, String::new()),
        ];
        let mut story = String::new();
        for (name, count, meaning) in lines {
            story.push_str(format!("  {name:<14}{:>9}  {meaning}", thousands(count)).trim_end());
            story.push('\n');
        }
        story.push('\n');
        story.push_str(&self.verdict());
        story
    }

    fn verdict(&self) -> String {
        let mut verdict = String::new();
        let differences = &self.comparison.differences;
        if self.given_up > 0 {
            return format!(
                "The event source mapping gave up on {}, as it was told to: {}. Its document is in the queue.\n\
                 Replay what it points at, and end the demo: it compares once more.\n",
                count(self.given_up, "change"),
                count(differences.len(), "difference")
            );
        }
        for difference in differences.iter().take(SHOWN) {
            verdict.push_str(&line(difference));
        }
        if differences.len() > SHOWN {
            verdict.push_str(&format!("  and {} more\n", differences.len() - SHOWN));
        }
        let seconds = self.elapsed.as_secs_f64();
        if self.is_right() {
            verdict.push_str(&format!(
                "Proven in {seconds:.1} s: every row of the nine tables is what the source tables say, by a check that shares no\n\
                 code with the projections. No update was lost, none was applied out of turn or counted twice, nothing deleted\n\
                 came back, and what could not be projected is kept as a letter with its cause.\n"
            ));
        } else {
            let (differences, letters) =
                (count(differences.len(), "difference"), count(self.letters, "letter"));
            verdict.push_str(&format!(
                "NOT proven: {differences}, {letters} for {}. `--seed {}` repeats this run.\n",
                count(self.poison, "poison record"),
                self.seed
            ));
        }
        verdict
    }
}

fn line(difference: &Difference) -> String {
    let Difference { table, key, attribute, expected, found } = difference;
    let attribute = if attribute.is_empty() { "the row" } else { attribute };
    let or_nothing = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    format!("  {table} {key}: {attribute} should be {} and is {}\n", or_nothing(expected), or_nothing(found))
}

fn count(count: usize, what: &str) -> String {
    format!("{} {what}{}", thousands(count as u64), if count == 1 { "" } else { "s" })
}

/// A number with commas between its thousands.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
