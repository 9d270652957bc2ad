//! Open, save, load, and starting over.

use super::error::StoreError;
use super::format::{CHUNK_BYTES, HEAD, Head, join, part};
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
    /// A database that verifies; it may still be empty.
    Existing,
    /// A database that does not. It was renamed and an empty one opened. Worth an audit event.
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
    /// The database failed. It was renamed, and the state saved into an empty one. Worth an audit event.
    Rebuilt {
        /// How it failed.
        why: String,
        /// Where it lies now.
        aside: PathBuf,
    },
}

/// The opaque position and the state, as they were saved.
pub type Saving = (Vec<u8>, Vec<u8>);

/// The newest state that was saved, and its position.
pub struct Materialised {
    dir: PathBuf,
    /// None only after a failed attempt to start over.
    db: Option<sled::Db>,
    head: Option<Head>,
}

impl Materialised {
    /// Opens the database in `dir` and verifies what it holds; one that fails is set aside as `<dir>.aside-<n>` and an
    /// empty one takes its place.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if it is open elsewhere, [`StoreError::Io`] if the folder cannot be made or renamed,
    /// [`StoreError::Database`] if even an empty database cannot be opened.
    pub fn open_or_rebuild(dir: &Path) -> Result<(Materialised, Opened), StoreError> {
        match Materialised::open(dir) {
            Ok((store, true)) => Ok((store, Opened::Existing)),
            Ok((store, false)) => Ok((store, Opened::Fresh)),
            Err(e) if e.calls_for_rebuild() => {
                let aside = set_aside(dir)?;
                let (store, _) = Materialised::open(dir)?;
                Ok((store, Opened::SetAside { why: e.to_string(), aside }))
            }
            Err(e) => Err(e),
        }
    }

    /// Saves a state and the opaque bytes of its position, in place of what was saved before. Not durable before the
    /// database's next background sync, and not to be relied on then.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`]; or the database failed, and so did an empty one in its place.
    pub fn save(&mut self, applied: &[u8], state: &[u8]) -> Result<Saved, StoreError> {
        let payload = join(applied, state)?;
        match self.write(&payload) {
            Ok(()) => Ok(Saved::Written),
            Err(e) if e.calls_for_rebuild() => {
                let aside = self.start_over()?;
                self.write(&payload)?;
                Ok(Saved::Rebuilt { why: e.to_string(), aside })
            }
            Err(e) => Err(e),
        }
    }

    /// Position and state as last saved; none if nothing was.
    ///
    /// # Errors
    /// [`StoreError::Database`] or [`StoreError::Damaged`]: treat it as nothing saved; the next start sets it aside.
    pub fn load(&self) -> Result<Option<Saving>, StoreError> {
        match self.read()? {
            Some((_, payload)) => Ok(Some(part(&payload)?)),
            None => Ok(None),
        }
    }

    /// Whether the database was there before.
    fn open(dir: &Path) -> Result<(Materialised, bool), StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io("create its folder"))?;
        let db = open_database(dir)?;
        let was_there = db.was_recovered();
        let mut store = Materialised { dir: dir.to_owned(), db: Some(db), head: None };
        if let Some((head, payload)) = store.read()? {
            part(&payload)?;
            store.head = Some(head);
        }
        Ok((store, was_there))
    }

    fn database(&self) -> Result<&sled::Db, StoreError> {
        self.db.as_ref().ok_or_else(|| StoreError::Database("it is not open".into()))
    }

    /// New chunks and head in, old chunks out, in one batch.
    fn write(&mut self, payload: &[u8]) -> Result<(), StoreError> {
        let generation = self.head.map_or(1, |h| h.generation.wrapping_add(1));
        let head = Head::of(generation, payload)?;
        let mut batch = sled::Batch::default();
        for key in self.head.iter().flat_map(Head::keys) {
            batch.remove(key);
        }
        for (key, chunk) in head.keys().zip(payload.chunks(CHUNK_BYTES)) {
            batch.insert(key, chunk);
        }
        batch.insert(HEAD, head.encode());
        let db = self.database()?;
        guarded(|| db.apply_batch(batch))?;
        self.head = Some(head);
        Ok(())
    }

    fn read(&self) -> Result<Option<(Head, Vec<u8>)>, StoreError> {
        let db = self.database()?;
        let Some(head) = guarded(|| db.get(HEAD))? else { return Ok(None) };
        let head = Head::decode(&head)?;
        let mut payload = Vec::new();
        for key in head.keys() {
            let chunk = guarded(|| db.get(key))?.ok_or(StoreError::Damaged("a part is missing"))?;
            payload.extend_from_slice(&chunk);
        }
        head.check(&payload)?;
        Ok(Some((head, payload)))
    }

    fn start_over(&mut self) -> Result<PathBuf, StoreError> {
        self.close();
        self.head = None;
        let aside = set_aside(&self.dir)?;
        let (mut fresh, _) = Materialised::open(&self.dir)?;
        self.db = fresh.db.take();
        Ok(aside)
    }

    /// Closing a broken database may panic too.
    fn close(&mut self) {
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
fn set_aside(dir: &Path) -> Result<PathBuf, StoreError> {
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
