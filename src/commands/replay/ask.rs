//! Questions to a person at a terminal. In a pipe there is nobody to ask.

use std::io::{self, BufRead, IsTerminal, Write};

/// Whether there is someone to ask.
pub(super) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question that is answered by `y`; anything else is a no.
pub(super) fn yes(question: &str) -> io::Result<bool> {
    let mut err = io::stderr();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
