//! What is wrong with a config: every error at its line, collected rather than reported one by one.

use std::fmt;

/// One thing that is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The section: `projection.orders`; empty at the top of the file.
    pub section: String,
    /// The key inside the section: `set.total`; empty if the section as a whole is wrong.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub advice: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.section.is_empty() {
            write!(f, "[{}] ", self.section)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.what)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

/// Everything that is wrong with a config, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The errors.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(error, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The lines of a text, for finding the line of an offset.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of a byte offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|&newline| newline < offset) + 1
    }
}

/// Collects what is wrong while a config is read.
#[derive(Default)]
pub(super) struct Report {
    found: Vec<Found>,
    /// Values that an error was found in already: what follows from it is not worth telling.
    poisoned: Vec<usize>,
}

struct Found {
    offset: usize,
    section: String,
    key: String,
    what: String,
    advice: String,
}

impl Report {
    /// Notes an error at a byte offset.
    pub(super) fn error(
        &mut self,
        offset: usize,
        (section, key): (&str, &str),
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        if !self.poisoned.contains(&offset) {
            let (section, key) = (section.to_owned(), key.to_owned());
            self.found.push(Found { offset, section, key, what: what.into(), advice: advice.into() });
        }
    }

    /// Leaves out all further errors of the value at this offset.
    pub(super) fn poison(&mut self, offset: usize) {
        self.poisoned.push(offset);
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All that was found, in the order of the file.
    pub(super) fn into_errors(mut self, file: &str, lines: &Lines) -> ConfigErrors {
        self.found.sort_by_key(|found| found.offset);
        let errors = self.found.into_iter().map(|found| ConfigError {
            file: file.to_owned(),
            line: lines.line(found.offset),
            section: found.section,
            key: found.key,
            what: found.what,
            advice: found.advice,
        });
        ConfigErrors(errors.collect())
    }
}

/// One section of the file while it is read: knows what errors are to say about their place.
pub(super) struct Section<'r> {
    /// Where errors go.
    pub(super) report: &'r mut Report,
    /// `projection.orders`.
    pub(super) header: String,
    /// Where the section's header stands.
    pub(super) offset: usize,
}

impl Section<'_> {
    /// Notes an error of one value.
    pub(super) fn error(
        &mut self,
        offset: usize,
        key: &str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.report.error(offset, (&self.header, key), what, advice);
    }

    /// Notes that something is missing, or wrong with the section as a whole.
    pub(super) fn error_here(&mut self, key: &str, what: impl Into<String>, advice: impl Into<String>) {
        self.report.error(self.offset, (&self.header, key), what, advice);
    }
}
