//! `millstream replay edit`: the record of a letter in an editor.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use millstream_processor::letters::Letter;
use millstream_replay::edit::{EditError, draft, replace};

use super::{Failure, Office, ask, show};

/// What opens a record where neither VISUAL nor EDITOR names anything.
const EDITOR: &str = "vi";

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// The letter, as `list --ids` names it
    id: String,
}

pub(super) async fn run(
    args: &EditArgs,
    office: &Office,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let desk = office.desk()?;
    let letter = show::find(&args.id, &*office.store).await?;
    if !letter.head.state.waits() {
        let state = letter.head.state.as_str();
        return Err(Failure::Usage(format!("letter {} does not wait any more: it is {state}", args.id)));
    }
    let before = draft(&letter);
    let file = Draft::write(&letter, &before)?;
    loop {
        file.open_editor()?;
        let after = fs::read_to_string(&file.0).map_err(|error| broken(&file.0, &error))?;
        if after == before {
            file.remove();
            return Ok(writeln!(out, "{}: nothing was changed", args.id)?);
        }
        match replace(desk, &letter, &after).await {
            Ok(()) => {
                file.remove();
                return Ok(writeln!(
                    out,
                    "{}: the record was edited; see it with `millstream replay plan`",
                    args.id
                )?);
            }
            Err(EditError::Store(fault)) => {
                return Err(Failure::Failed(format!("{fault}; your record is in {}", file.0.display())));
            }
            Err(why) => {
                let again = !matches!(why, EditError::Overtaken) && ask::is_possible();
                if !again || !ask::yes(&format!("{why}. Edit again?"))? {
                    return Err(Failure::Failed(format!("{why}; your record is in {}", file.0.display())));
                }
            }
        }
    }
}

/// A record in a file of its own, which nobody else may read.
struct Draft(PathBuf);

impl Draft {
    fn write(letter: &Letter, text: &str) -> Result<Self, Failure> {
        let name = format!("millstream-{}-{}.json", letter.head.id, std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| broken(&path, &error))?;
        Ok(Self(path))
    }

    fn open_editor(&self) -> Result<(), Failure> {
        let named = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok());
        let editor = named.filter(|editor| !editor.trim().is_empty()).unwrap_or_else(|| EDITOR.to_owned());
        // As git does it: what the variable says may have arguments of its own.
        let status =
            Command::new("sh").arg("-c").arg(format!("{editor} \"$@\"")).arg(&editor).arg(&self.0).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                Err(Failure::Failed(format!("`{editor}` ended with {status}; nothing was changed")))
            }
            Err(error) => Err(Failure::Failed(format!("`{editor}` cannot be started: {error}"))),
        }
    }

    fn remove(&self) {
        // What is left behind is in a folder that the system empties.
        let _ = fs::remove_file(&self.0);
    }
}

fn broken(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}
