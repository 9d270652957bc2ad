//! Open, save, load, and starting over.

use super::error::StoreError;
use super::format::{HEAD, Head, PART, PartsHead, VALUE_BYTES, WholeHead};
use std::any::Any;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

const CACHE_BYTES: u64 = 8 << 20;
/// The database's only real fsync is that of its background thread: never switch it off.
const FLUSH_EVERY_MS: u64 = 500;
/// Of files that are no larger none is written anew.
const FILES_BYTES: u64 = 16 << 20;
/// Files that are so many times as large as when everything had been written at once are written anew: the database keeps
/// segments of which half is no longer valid, and gives none back to the file system but the last ones.
const GROWTH: u64 = 2;
/// How the database words a lock that it did not get.
const LOCKED: &str = "could not acquire lock";
/// A database that was just closed lets go of its lock when its last background thread ends.
const LOCK_TRIES: u32 = 20;
const LOCK_WAIT: Duration = Duration::from_millis(50);
/// Most folders set aside beside each other. More means that something keeps breaking them.
const ASIDE: u32 = 1000;

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// Nothing: the folder is new.
    Fresh,
    /// A database of a format that is known; it may still be empty.
    Existing,
    /// A database that cannot be read. It was renamed and an empty one opened. Worth an audit event.
    SetAside {
        /// What was wrong with it.
        why: String,
        /// Where it lies now, for whoever wants to look.
        aside: PathBuf,
    },
}

/// How a save went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// Into the database that was open.
    Written,
    /// Not at all: the database failed. It was renamed, and an empty one is open. Worth an audit event.
    SetAside {
        /// How it failed.
        why: String,
        /// Where it lies now.
        aside: PathBuf,
    },
}

/// A key and its value.
pub type Part = (Vec<u8>, Vec<u8>);

/// What was saved, with the opaque bytes of its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// In parts, in the order of their keys.
    Parts {
        /// The position.
        applied: Vec<u8>,
        /// All parts.
        parts: Vec<Part>,
    },
    /// Whole, by an earlier version. The next save takes its place, so it brings all parts.
    Whole {
        /// The position.
        applied: Vec<u8>,
        /// The state.
        state: Vec<u8>,
    },
}

/// The newest state that was saved, and its position.
pub struct Materialised {
    dir: PathBuf,
    /// None only after a failed attempt to start over.
    db: Option<sled::Db>,
    /// None while nothing is saved.
    head: Option<Head>,
}

impl Materialised {
    /// Opens the database in `dir`; one that fails is set aside as `<dir>.aside-<n>` and an empty one takes its place.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if it is open elsewhere, [`StoreError::Io`] if the folder cannot be made or renamed,
    /// [`StoreError::Database`] if even an empty database cannot be opened.
    pub fn open_or_rebuild(dir: &Path) -> Result<(Materialised, Opened), StoreError> {
        match Materialised::open(dir) {
            Ok((store, true)) => Ok((store, Opened::Existing)),
            Ok((store, false)) => Ok((store, Opened::Fresh)),
            Err(e) if e.calls_for_rebuild() => {
                let aside = rename_aside(dir)?;
                let (store, _) = Materialised::open(dir)?;
                Ok((store, Opened::SetAside { why: e.to_string(), aside }))
            }
            Err(e) => Err(e),
        }
    }

    /// Whether all parts should be saved again: nothing is kept, or in the format of before, or in files that grew too much.
    pub fn needs_all(&self) -> bool {
        match &self.head {
            None | Some(Head::Whole(_)) => true,
            Some(Head::Parts(head)) => {
                let most = head.whole_bytes.saturating_mul(GROWTH).max(FILES_BYTES);
                head.whole_bytes > 0 && self.files_bytes() > most
            }
        }
    }

    /// Saves what changed since the last save, and the opaque bytes of the position, together. Not durable before the
    /// database's next background sync, and not to be relied on then.
    ///
    /// # Errors
    /// The database failed, and no empty one could take its place.
    pub fn save(&mut self, applied: &[u8], put: Vec<Part>, removed: Vec<Vec<u8>>) -> Result<Saved, StoreError> {
        let written = match &self.head {
            // Changes of nothing: what they belong to went with the last failure.
            None | Some(Head::Whole(_)) => Err(StoreError::Damaged("there is nothing to be changed")),
            Some(Head::Parts(_)) => self.write(applied, put, removed),
        };
        self.or_set_aside(written)
    }

    /// Saves all parts with their position, in the place of whatever is kept, which is removed before: it is a cache. After a
    /// crash in between nothing is kept. Durable as [`Materialised::save`] is.
    ///
    /// # Errors
    /// The database failed, and no empty one could take its place; or its folder could not be removed.
    pub fn save_all(&mut self, applied: &[u8], parts: Vec<Part>) -> Result<Saved, StoreError> {
        let written = self.empty().and_then(|()| self.write(applied, parts, Vec::new()));
        self.or_set_aside(written)
    }

    /// What was saved last; none if nothing was.
    ///
    /// # Errors
    /// [`StoreError::Database`] or [`StoreError::Damaged`]: treat it as nothing saved, and set it aside.
    pub fn load(&self) -> Result<Option<Stored>, StoreError> {
        let Some(head) = &self.head else { return Ok(None) };
        let db = self.database()?;
        match head {
            Head::Parts(head) => {
                let parted = |(key, value): (sled::IVec, sled::IVec)| {
                    (key.get(PART.len()..).unwrap_or_default().to_vec(), value.to_vec())
                };
                let read = || db.scan_prefix(PART).map(|part| part.map(parted)).collect::<Result<Vec<Part>, _>>();
                Ok(Some(Stored::Parts { applied: head.applied.clone(), parts: guarded(read)? }))
            }
            Head::Whole(head) => {
                let (applied, state) = read_whole(db, head)?;
                Ok(Some(Stored::Whole { applied, state }))
            }
        }
    }

    /// Renames the database, for whoever found that what it gave back is not what was saved; an empty one takes its place.
    ///
    /// # Errors
    /// Its folder cannot be renamed, or no empty one can be opened.
    pub fn set_aside(&mut self) -> Result<PathBuf, StoreError> {
        self.close();
        let aside = rename_aside(&self.dir)?;
        self.begin()?;
        Ok(aside)
    }

    /// Whether the database was there before.
    fn open(dir: &Path) -> Result<(Materialised, bool), StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io("create its folder"))?;
        let db = open_database(dir)?;
        let was_there = db.was_recovered();
        let head = guarded(|| db.get(HEAD))?.map(|head| Head::decode(&head)).transpose()?;
        Ok((Materialised { dir: dir.to_owned(), db: Some(db), head }, was_there))
    }

    fn database(&self) -> Result<&sled::Db, StoreError> {
        self.db.as_ref().ok_or_else(|| StoreError::Database("it is not open".into()))
    }

    fn or_set_aside(&mut self, written: Result<(), StoreError>) -> Result<Saved, StoreError> {
        match written {
            Ok(()) => Ok(Saved::Written),
            Err(e) if e.calls_for_rebuild() => Ok(Saved::SetAside { why: e.to_string(), aside: self.set_aside()? }),
            Err(e) => Err(e),
        }
    }

    fn write(&mut self, applied: &[u8], put: Vec<Part>, removed: Vec<Vec<u8>>) -> Result<(), StoreError> {
        let whole_bytes = match &self.head {
            Some(Head::Parts(head)) if head.whole_bytes > 0 => head.whole_bytes,
            Some(_) => self.files_bytes(),
            None => 0,
        };
        let head = PartsHead { applied: applied.to_vec(), whole_bytes };
        let mut batch = sled::Batch::default();
        for key in removed {
            batch.remove([PART, &key].concat());
        }
        for (key, value) in put {
            if value.len() > VALUE_BYTES {
                return Err(StoreError::TooLarge);
            }
            batch.insert([PART, &key].concat(), value);
        }
        batch.insert(HEAD, head.encode());
        let db = self.database()?;
        guarded(|| db.apply_batch(batch))?;
        self.head = Some(Head::Parts(head));
        Ok(())
    }

    /// Bytes of the files; 0 if that cannot be told.
    fn files_bytes(&self) -> u64 {
        let told = self.database().and_then(|db| guarded(|| db.size_on_disk()));
        told.unwrap_or_default()
    }

    /// An empty database in the place of one that holds something, or that could not be opened the last time.
    fn empty(&mut self) -> Result<(), StoreError> {
        if self.db.is_none() {
            self.begin()?;
        }
        if self.head.is_some() {
            self.close();
            fs::remove_dir_all(&self.dir).map_err(StoreError::io("remove its folder"))?;
            self.begin()?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        let (mut fresh, _) = Materialised::open(&self.dir)?;
        (self.db, self.head) = (fresh.db.take(), fresh.head.take());
        Ok(())
    }

    /// Closing a broken database may panic too.
    fn close(&mut self) {
        self.head = None;
        let db = self.db.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(db))) {
            tracing::warn!(why = words(panic.as_ref()), "the store's database panicked when it was closed");
        }
    }
}

impl Drop for Materialised {
    fn drop(&mut self) {
        self.close();
    }
}

/// What version 1 kept.
fn read_whole(db: &sled::Db, head: &WholeHead) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let mut joined = Vec::new();
    for key in head.keys() {
        let chunk = guarded(|| db.get(key))?.ok_or(StoreError::Damaged("a part is missing"))?;
        joined.extend_from_slice(&chunk);
    }
    head.part(&joined)
}

fn open_database(dir: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
    let mut tries = 0;
    loop {
        match guarded(|| config.open()) {
            Err(StoreError::Database(why)) if why.contains(LOCKED) => {
                if tries == LOCK_TRIES {
                    return Err(StoreError::InUse);
                }
                tries += 1;
                sleep(LOCK_WAIT);
            }
            opened => return opened,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
pub(super) fn open_for_test(dir: &Path) -> sled::Db {
    open_database(dir).unwrap()
}

/// Leaves a state as version 1 of the format kept it.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
pub(crate) fn write_whole(dir: &Path, applied: &[u8], state: &[u8]) {
    let db = open_database(dir).unwrap();
    for (key, value) in super::format::written_whole(applied, state) {
        db.insert(key, value).unwrap();
    }
    db.flush().unwrap();
}

/// Runs a call into the database; a panic in it is an error of it.
fn guarded<T>(call: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|e| StoreError::Database(e.to_string())),
        Err(panic) => Err(StoreError::Database(format!("it panicked: {}", words(panic.as_ref())))),
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "without words",
    }
}

/// Renames `dir` to the first free `<dir>.aside-<n>`. A crash in between leaves the folder under one of the two names.
fn rename_aside(dir: &Path) -> Result<PathBuf, StoreError> {
    let name = |n: u32| {
        let mut name = OsString::from(dir.as_os_str());
        name.push(format!(".aside-{n}"));
        PathBuf::from(name)
    };
    let step = "set a folder aside";
    let full = || StoreError::io(step)(std::io::Error::other("too many were set aside before"));
    let free = (1..=ASIDE).map(name).find(|to| fs::symlink_metadata(to).is_err()).ok_or_else(full)?;
    fs::rename(dir, &free).map_err(StoreError::io(step))?;
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        File::open(parent).and_then(|d| d.sync_all()).map_err(StoreError::io("sync the folder above"))?;
    }
    Ok(free)
}
