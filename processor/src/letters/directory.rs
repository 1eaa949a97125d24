//! Letters as JSON files in a directory, one file each: for one machine, for the demo, and for carrying letters around.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};

use super::file::{self, Damage, Filed};
use super::{
    Attempt, AuditEntry, Closing, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore,
    Stored, history,
};
use crate::clock::Clock;
use crate::outcome::{Fault, FaultKind};

mod trail;

/// Held by whoever writes, so that two processes both keep their attempts. Hidden names are no letters.
const LOCK: &str = ".lock";
/// What a letter's file is called behind its id.
const EXTENSION: &str = ".json";

/// Letters in a directory, which the first store makes. `<id>.json` is one letter, `audit.jsonl` the trail of operators.
///
/// The directory may be shared by processes of one machine, and over a network where file locks work. Lists come in
/// the order of the files' modification times, which are set to the first attempt; copying the files loses that order
/// and nothing else. Nothing expires here.
#[derive(Clone)]
pub struct DirectoryLetters {
    path: Arc<Path>,
    clock: Arc<dyn Clock>,
}

impl LetterStore for DirectoryLetters {
    fn store<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<Stored, Fault>> {
        let (letter, now) = (letter.clone(), self.clock.unix_seconds());
        self.blocking(move |path| store(path, &letter, now)).boxed()
    }

    fn list<'a>(&'a self, filter: &'a LetterFilter) -> BoxStream<'a, Result<LetterHead, Fault>> {
        let heads = self.heads().filter(move |head| {
            // A letter that cannot be read might be one that was asked for.
            std::future::ready(head.as_ref().map_or(true, |head| filter.admits(head)))
        });
        match &filter.digest {
            None => heads.boxed(),
            // The letters of one source item are few, and their order is not that of the files.
            Some(_) => {
                let sorted = heads.collect::<Vec<_>>().map(|mut heads| {
                    heads.sort_by(|one, other| version(one).cmp(&version(other)));
                    stream::iter(heads)
                });
                sorted.flatten_stream().boxed()
            }
        }
    }

    fn load<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Letter>, Fault>> {
        let id = id.clone();
        self.blocking(move |path| Ok(read_letter(path, &id)?.map(|filed| filed.letter))).boxed()
    }

    fn close<'a>(
        &'a self,
        id: &'a LetterId,
        seen: u32,
        closing: &'a Closing,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        let (id, closing) = (id.clone(), closing.clone());
        let close = move |filed: &mut Filed| {
            if filed.letter.head.edited != seen {
                return false;
            }
            filed.letter.head.state = closing.state;
            filed.letter.head.closing = Some(closing);
            true
        };
        self.blocking(move |path| change(path, "close", &id, close)).boxed()
    }

    fn edit<'a>(
        &'a self,
        id: &'a LetterId,
        seen: u32,
        record: &'a Bytes,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        let (id, record) = (id.clone(), record.clone());
        let edit = move |filed: &mut Filed| {
            let Letter { head, record: current } = &mut filed.letter;
            if head.edited != seen {
                return false;
            }
            head.edited += 1;
            let was = std::mem::replace(current, record);
            filed.original.get_or_insert(was);
            true
        };
        self.blocking(move |path| change(path, "edit", &id, edit)).boxed()
    }

    fn original<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Bytes>, Fault>> {
        let id = id.clone();
        self.blocking(move |path| Ok(read_letter(path, &id)?.and_then(|filed| filed.original))).boxed()
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn audit<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<(), Fault>> {
        let entry = entry.clone();
        self.blocking(move |path| trail::append(path, &entry)).boxed()
    }

    fn trail(&self) -> BoxStream<'_, Result<AuditEntry, Fault>> {
        let opened = self.blocking(trail::Reader::open).map(move |opened| match opened {
            Ok(None) => stream::empty().boxed(),
            Ok(Some(reader)) => self.lines(reader).boxed(),
            Err(fault) => stream::iter([Err(fault)]).boxed(),
        });
        opened.flatten_stream().boxed()
    }
}

impl DirectoryLetters {
    /// Letters in a directory, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { path: path.into().into(), clock }
    }

    /// The heads, oldest first, and the faults of what is no letter.
    fn heads(&self) -> impl Stream<Item = Result<LetterHead, Fault>> + Send {
        let files = self.blocking(list).map(|found| {
            let found = found.unwrap_or_else(|fault| vec![Err(fault)]);
            stream::iter(found)
        });
        files.flatten_stream().filter_map(move |found| async move {
            match found {
                Err(fault) => Some(Err(fault)),
                Ok(id) => self.blocking(move |path| read_head(path, &id)).await.transpose(),
            }
        })
    }

    fn lines(&self, reader: trail::Reader) -> impl Stream<Item = Result<AuditEntry, Fault>> + Send {
        let pages = stream::unfold(Some(reader), move |reader| async move {
            let mut reader = reader?;
            let read = self.blocking(move |_| {
                let page = reader.page()?;
                Ok((page, reader))
            });
            match read.await {
                Ok((page, _)) if page.is_empty() => None,
                Ok((page, reader)) => Some((stream::iter(page), Some(reader))),
                Err(fault) => Some((stream::iter(vec![Err(fault)]), None)),
            }
        });
        pages.flatten()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        // Blocking work ends early only when the runtime goes down.
        done.unwrap_or_else(|error| {
            Err(Fault::from_error(FaultKind::Unavailable, "work on the letters' directory", &error))
        })
    }
}

fn store(directory: &Path, letter: &Letter, now: u64) -> Result<Stored, Fault> {
    let doing = |error: &io::Error| {
        io_fault(format!("store letter {} in {}", letter.head.id, directory.display()), error)
    };
    // The lock is given back when the file is closed, also by a crash.
    let _lock = lock(directory).map_err(|error| doing(&error))?;
    let path = directory.join(file_name(&letter.head.id));
    let unknown = || {
        let head = LetterHead { attempts: Vec::new(), ..letter.head.clone() };
        Filed { letter: Letter { head, ..letter.clone() }, original: None }
    };
    let mut filed = match read_letter(directory, &letter.head.id) {
        Ok(Some(known)) => known,
        Ok(None) => unknown(),
        Err(fault) if fault.kind == FaultKind::Rejected => {
            // Its content stays, under a name that lists report, and this letter is safe all the same.
            fs::rename(&path, free_name(&path, now)).map_err(|error| doing(&error))?;
            unknown()
        }
        Err(fault) => return Err(fault),
    };
    let head = &mut filed.letter.head;
    let stored = match (head.state, letter.head.state) {
        (LetterState::Discarded, _) => Stored::Closed(LetterState::Discarded),
        (closed, LetterState::Held) if !closed.waits() => Stored::Closed(closed),
        (_, state) => {
            // What has failed is never held.
            if head.state != LetterState::Open {
                head.state = state;
            }
            if let Some(closing) = head.closing.take() {
                history::push(&mut head.attempts, &Attempt::of_closing(&closing));
            }
            Stored::Waits
        }
    };
    if letter.head.state == LetterState::Held && stored != Stored::Waits {
        return Ok(stored);
    }
    for attempt in &letter.head.attempts {
        history::push(&mut head.attempts, attempt);
    }
    replace(directory, &path, &filed).map_err(|error| doing(&error))?;
    Ok(stored)
}

/// Changes a letter that waits, under the lock; `false` if it is not there or does not wait, or if `change` says so.
fn change(
    directory: &Path,
    what: &str,
    id: &LetterId,
    change: impl FnOnce(&mut Filed) -> bool,
) -> Result<bool, Fault> {
    let doing = |error: &io::Error| io_fault(format!("{what} letter {id} in {}", directory.display()), error);
    if !directory.is_dir() && !fs::exists(directory).map_err(|error| doing(&error))? {
        return Ok(false);
    }
    let _lock = lock(directory).map_err(|error| doing(&error))?;
    let Some(mut filed) = read_letter(directory, id)? else { return Ok(false) };
    if !filed.letter.head.state.waits() || !change(&mut filed) {
        return Ok(false);
    }
    let path = directory.join(file_name(id));
    replace(directory, &path, &filed).map_err(|error| doing(&error))?;
    Ok(true)
}

/// A name beside a damaged file that nothing has yet: the time of day, and a number where that is not enough.
fn free_name(path: &Path, now: u64) -> PathBuf {
    let mut name = path.with_added_extension(format!("damaged-{now}"));
    let mut number = 2;
    while name.exists() {
        name = path.with_added_extension(format!("damaged-{now}-{number}"));
        number += 1;
    }
    name
}

fn lock(directory: &Path) -> io::Result<File> {
    if !directory.is_dir() {
        fs::create_dir_all(directory)?;
        // A new directory is safe only once the one above it is.
        let above = directory.parent().filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    let lock = File::options().create(true).append(true).open(directory.join(LOCK))?;
    lock.lock()?;
    Ok(lock)
}

/// Puts a file in the place of another in one step: a reader, and a crash, see the old one or the new one.
fn replace(directory: &Path, path: &Path, filed: &Filed) -> io::Result<()> {
    let head = &filed.letter.head;
    // One name for each letter, so that a crash leaves at most one behind; the lock makes it ours.
    let beside = directory.join(format!(".{}.tmp", head.id));
    let mut new = File::create(&beside)?;
    file::write(&mut new, filed)?;
    new.set_modified(UNIX_EPOCH + Duration::from_secs(head.first_at()))?;
    new.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(directory)?.sync_all()
}

/// The letters' ids, oldest first, after a fault for each file that is no letter.
fn list(directory: &Path) -> Result<Vec<Result<LetterId, Fault>>, Fault> {
    let doing = |error: &io::Error| io_fault(format!("list the letters in {}", directory.display()), error);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // Nothing was ever stored.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(doing(&error)),
    };
    let (mut foreign, mut letters) = (Vec::new(), Vec::new());
    for entry in entries {
        let entry = entry.map_err(|error| doing(&error))?;
        match id_of(&entry.file_name()) {
            Named::Letter(id) => {
                let time = entry.metadata().and_then(|it| it.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                letters.push((time, id));
            }
            Named::Hidden => {}
            Named::Foreign => {
                let path = entry.path();
                foreign
                    .push(Err(Fault::new(FaultKind::Rejected, format!("{} is no letter", path.display()))));
            }
        }
    }
    letters.sort_unstable();
    Ok(foreign.into_iter().chain(letters.into_iter().map(|(_, id)| Ok(id))).collect())
}

/// A fault comes before every letter.
fn version(head: &Result<LetterHead, Fault>) -> Option<&str> {
    head.as_ref().ok().and_then(|head| head.version.as_deref())
}

enum Named {
    Letter(LetterId),
    Hidden,
    Foreign,
}

fn id_of(name: &OsString) -> Named {
    let Some(name) = name.to_str() else { return Named::Foreign };
    if name.starts_with('.') || name == trail::FILE {
        return Named::Hidden;
    }
    name.strip_suffix(EXTENSION).and_then(LetterId::from_text).map_or(Named::Foreign, Named::Letter)
}

fn file_name(id: &LetterId) -> String {
    format!("{id}{EXTENSION}")
}

fn read_head(directory: &Path, id: &LetterId) -> Result<Option<LetterHead>, Fault> {
    read(directory, id, file::read_head)
}

fn read_letter(directory: &Path, id: &LetterId) -> Result<Option<Filed>, Fault> {
    read(directory, id, file::read)
}

fn read<T>(
    directory: &Path,
    id: &LetterId,
    decode: impl FnOnce(&[u8], &LetterId) -> Result<T, Damage>,
) -> Result<Option<T>, Fault> {
    let path = directory.join(file_name(id));
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_fault(format!("read {}", path.display()), &error)),
    };
    let damaged = |damage: Damage| {
        Fault::from_error(FaultKind::Rejected, format!("{} is damaged", path.display()), &damage)
    };
    decode(&bytes, id).map(Some).map_err(damaged)
}

/// What someone has to mend by hand is a wrong deployment; what may pass by itself is not.
fn io_fault(doing: String, error: &io::Error) -> Fault {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::Unsupported => FaultKind::Misconfigured,
        // Full disks, quotas, interrupted calls, broken networks: the enum is open, and none of it is the record's fault.
        _ => FaultKind::Unavailable,
    };
    Fault::from_error(kind, doing, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_may_pass_and_a_missing_permission_has_to_be_mended() {
        let kind = |kind: io::ErrorKind| io_fault("store".to_owned(), &kind.into()).kind;
        assert_eq!(kind(io::ErrorKind::StorageFull), FaultKind::Unavailable);
        assert_eq!(kind(io::ErrorKind::QuotaExceeded), FaultKind::Unavailable);
        assert_eq!(kind(io::ErrorKind::PermissionDenied), FaultKind::Misconfigured);
        assert_eq!(kind(io::ErrorKind::ReadOnlyFilesystem), FaultKind::Misconfigured);
    }
}
