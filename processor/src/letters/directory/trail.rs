//! The trail of operators beside the letters: one line of JSON each, only ever added to.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{io_fault, lock};
use crate::letters::AuditEntry;
use crate::outcome::{Fault, FaultKind};

/// The file's name.
pub(super) const FILE: &str = "audit.jsonl";
/// How many lines are read at a time.
const PAGE: usize = 256;

/// Adds a line, under the lock: two processes do not mix theirs.
pub(super) fn append(directory: &Path, entry: &AuditEntry) -> Result<(), Fault> {
    let path = directory.join(FILE);
    let write = || {
        let _lock = lock(directory)?;
        let known = fs::exists(&path)?;
        let mut file = File::options().create(true).append(true).read(true).open(&path)?;
        let mut line = Vec::new();
        // A line that a crash tore off must not take the next one with it.
        if is_torn(&mut file)? {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, entry)?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_all()?;
        if known { Ok(()) } else { File::open(directory)?.sync_all() }
    };
    write().map_err(|error| io_fault(format!("write to {}", path.display()), &error))
}

fn is_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// How far a reader of the trail is.
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    line: usize,
}

impl Reader {
    /// A reader at the first line; `None` if nothing was ever written.
    pub(super) fn open(directory: &Path) -> Result<Option<Self>, Fault> {
        let path = directory.join(FILE);
        match File::open(&path) {
            Ok(file) => Ok(Some(Self { path, file: BufReader::new(file), line: 0 })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_fault(format!("read {}", path.display()), &error)),
        }
    }

    /// The next lines; none at the end.
    pub(super) fn page(&mut self) -> Result<Vec<Result<AuditEntry, Fault>>, Fault> {
        let mut page = Vec::new();
        while page.len() < PAGE {
            let mut line = Vec::new();
            let read = self.file.read_until(b'\n', &mut line);
            let read = read.map_err(|error| io_fault(format!("read {}", self.path.display()), &error))?;
            if read == 0 {
                break;
            }
            self.line += 1;
            page.push(serde_json::from_slice(&line).map_err(|error| {
                let place = format!("line {} of {} is damaged", self.line, self.path.display());
                Fault::from_error(FaultKind::Rejected, place, &error)
            }));
        }
        Ok(page)
    }
}
