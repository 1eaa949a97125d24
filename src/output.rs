//! Printing that survives a reader who has seen enough, as in `| head`.

use std::io::{self, Write, stderr, stdout};

/// Prints to standard output. A closed pipe is an error to hand on, not a panic.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a line to standard error; if nobody listens there, nobody is to be told.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(stderr().lock(), "{text}");
}
