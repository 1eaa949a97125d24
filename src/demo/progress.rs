//! How far the run is, live on a terminal; nothing at all in a pipe.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use super::drive::Tally;

/// One line on standard error.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar of so many changes.
    pub(crate) fn new(changes: usize) -> Self {
        if !stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::new(changes as u64);
        let style = ProgressStyle::with_template("  {bar:28.cyan/dim} {pos}/{len} changes  {msg:.dim}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar }
    }

    /// Shows where things stand.
    pub(crate) fn show(&self, tally: &Tally) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_position(tally.changes);
        let (written, stale) = (tally.counts.written, tally.counts.stale);
        self.bar.set_message(format!("{} delivered, {written} written, {stale} stale", tally.deliveries));
    }

    /// Says what happens beside the changes.
    pub(crate) fn say(&self, what: &'static str) {
        self.bar.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
