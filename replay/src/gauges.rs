//! The letters as gauges, in Prometheus' text format: how many there are, and how long the oldest one waits.

use std::fmt;

use millstream_processor::letters::{LetterHead, Tally};

/// What is known of the letters of each projection.
#[derive(Debug)]
pub struct Gauges {
    now: u64,
    tally: Tally,
}

impl Gauges {
    /// No letters yet. The projections of the config have their gauges from the start, so that an alarm can end.
    pub fn new<'a>(now: u64, projections: impl IntoIterator<Item = &'a str>) -> Self {
        Self { now, tally: Tally::of_projections(projections) }
    }

    /// Counts one letter.
    pub fn add(&mut self, head: &LetterHead) {
        self.tally.add(head);
    }
}

impl fmt::Display for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# HELP millstream_letters Dead letters by projection and state.")?;
        writeln!(f, "# TYPE millstream_letters gauge")?;
        for (name, waiting) in &self.tally.projections {
            let name = escaped(name);
            for (state, letters) in &waiting.letters {
                writeln!(f, "millstream_letters{{projection=\"{name}\",state=\"{state}\"}} {letters}")?;
            }
        }
        writeln!(
            f,
            "# HELP millstream_oldest_letter_seconds How long the oldest letter waits; 0 without one."
        )?;
        writeln!(f, "# TYPE millstream_oldest_letter_seconds gauge")?;
        for (name, waiting) in &self.tally.projections {
            let (name, age) =
                (escaped(name), waiting.oldest.map_or(0, |oldest| self.now.saturating_sub(oldest)));
            writeln!(f, "millstream_oldest_letter_seconds{{projection=\"{name}\"}} {age}")?;
        }
        Ok(())
    }
}

/// The value of a label. A letter's projection is what a store says, which may be anything.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use millstream_processor::letters::{Attempt, LetterId, LetterState};
    use millstream_processor::outcome::{Fault, FaultKind};
    use millstream_projections::SourceName;

    use super::*;

    fn head(at: u64, projection: Option<&str>, state: LetterState) -> LetterHead {
        LetterHead {
            id: LetterId::of(&SourceName::new("orders").unwrap(), None, &at.to_be_bytes()),
            state,
            source: "orders".to_owned(),
            projection: projection.map(str::to_owned),
            config: String::new(),
            key: None,
            digest: None,
            version: None,
            attempts: vec![Attempt::new(at, &Fault::new(FaultKind::Rejected, "no"))],
            edited: 0,
            closing: None,
        }
    }

    #[test]
    fn letters_are_counted_and_the_oldest_that_waits_has_its_age() {
        let mut gauges = Gauges::new(100, ["a", "b"]);
        for (at, projection, state) in [
            (90, Some("a"), LetterState::Open),
            (40, Some("a"), LetterState::Held),
            (10, Some("a"), LetterState::Replayed),
            (120, None, LetterState::Open),
            (99, Some("gone\"\n"), LetterState::Open),
        ] {
            gauges.add(&head(at, projection, state));
        }
        let expected = r#"# HELP millstream_letters Dead letters by projection and state.
# TYPE millstream_letters gauge
millstream_letters{projection="-",state="held"} 0
millstream_letters{projection="-",state="open"} 1
millstream_letters{projection="a",state="held"} 1
millstream_letters{projection="a",state="open"} 1
millstream_letters{projection="a",state="replayed"} 1
millstream_letters{projection="b",state="held"} 0
millstream_letters{projection="b",state="open"} 0
millstream_letters{projection="gone\"\n",state="held"} 0
millstream_letters{projection="gone\"\n",state="open"} 1
# HELP millstream_oldest_letter_seconds How long the oldest letter waits; 0 without one.
# TYPE millstream_oldest_letter_seconds gauge
millstream_oldest_letter_seconds{projection="-"} 0
millstream_oldest_letter_seconds{projection="a"} 60
millstream_oldest_letter_seconds{projection="b"} 0
millstream_oldest_letter_seconds{projection="gone\"\n"} 1
"#;
        assert_eq!(gauges.to_string(), expected);
    }
}
