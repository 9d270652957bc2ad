//! The seam to storage: a flat directory of files that grow at the end. Two implementations: the real one, and one in
//! memory that fails on demand (tests).

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::{JournalError, io_at};

const LOCK: &str = "lock";
/// Most files that stay open for reading.
const READING: usize = 32;

/// Bytes that may still be written on the file system of a directory.
pub(super) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let room = rustix::fs::statvfs(dir)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

/// One directory. Nothing is durable before the matching sync: bytes before [`sync`](Disk::sync) of the file, names
/// before [`sync_dir`](Disk::sync_dir). One thread writes; [`read_at`](Disk::read_at) may run beside it.
pub trait Disk: Send + Sync + 'static {
    /// File names, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Length of the file in bytes.
    fn size(&self, name: &str) -> io::Result<u64>;
    /// Makes an empty file; an error if it is there already.
    fn create(&self, name: &str) -> io::Result<()>;
    /// Writes all bytes at the end of the file.
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Makes the file's bytes and length durable.
    fn sync(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renamings and removals durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Renames a file.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Shortens the file to `len` bytes.
    fn truncate(&self, name: &str, len: u64) -> io::Result<()>;
    /// Up to `len` bytes from `offset`; fewer only at the end of the file.
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>>;
    /// Bytes that may still be written where it is.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// A directory of the operating system, readable by this user only, locked against a second process.
pub struct RealDisk {
    dir: PathBuf,
    handle: File,
    /// The file being written. Kept open, so that a sync reports the errors of the writes before it.
    writing: Mutex<Option<Writing>>,
    /// Files that are read, by name: those that are read are read again and again.
    reading: Mutex<BTreeMap<String, Arc<File>>>,
    _lock: Option<File>,
}

struct Writing {
    name: String,
    file: File,
}

impl RealDisk {
    /// Creates the directory if need be, durably, and takes its lock. Errors: [`JournalError::Io`]; the kind is
    /// [`io::ErrorKind::WouldBlock`] if the journal is open elsewhere.
    pub fn open(dir: &Path) -> Result<RealDisk, JournalError> {
        let mut disk = RealDisk::beside_others(dir)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(disk.dir.join(LOCK))
            .map_err(io_at("open lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let held = io::Error::new(io::ErrorKind::WouldBlock, "another process has this journal open");
                return Err(io_at("lock directory")(held));
            }
            Err(TryLockError::Error(error)) => return Err(io_at("lock directory")(error)),
        }
        disk._lock = Some(lock);
        Ok(disk)
    }

    /// Creates the directory if need be, durably, without a lock: its owner has one of its own.
    pub fn beside_others(dir: &Path) -> Result<RealDisk, JournalError> {
        let dir = std::path::absolute(dir).map_err(io_at("find directory"))?;
        create_dir(&dir).map_err(io_at("create directory"))?;
        // Also when the directory was there already: a process may have died between creating and syncing it.
        if let Some(parent) = dir.parent() {
            sync_path(parent).map_err(io_at("sync parent directory"))?;
        }
        let handle = File::open(&dir).map_err(io_at("open directory"))?;
        Ok(RealDisk { dir, handle, writing: Mutex::default(), reading: Mutex::default(), _lock: None })
    }

    fn writing(&self) -> MutexGuard<'_, Option<Writing>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reading(&self) -> MutexGuard<'_, BTreeMap<String, Arc<File>>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of this name, open for reading.
    fn to_read(&self, name: &str) -> io::Result<Arc<File>> {
        // Under the lock, so that nothing stays that a renaming or a removal beside it has put elsewhere.
        let mut reading = self.reading();
        if let Some(open) = reading.get(name) {
            return Ok(Arc::clone(open));
        }
        let file = Arc::new(File::open(self.dir.join(name))?);
        if reading.len() >= READING {
            reading.clear();
        }
        reading.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    /// Runs `act` on the file being written, opening `name` if that is another one.
    fn with_file<T>(&self, name: &str, act: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        let mut writing = self.writing();
        if let Some(open) = writing.as_mut()
            && open.name == name
        {
            return act(&mut open.file);
        }
        let file = OpenOptions::new().append(true).open(self.dir.join(name))?;
        act(&mut writing.insert(Writing { name: name.to_owned(), file }).file)
    }
}

impl Disk for RealDisk {
    fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(&self.dir)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.dir.join(name))?.len())
    }

    fn create(&self, name: &str) -> io::Result<()> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.dir.join(name))?;
        *self.writing() = Some(Writing { name: name.to_owned(), file });
        Ok(())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with_file(name, |file| file.write_all(bytes))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.with_file(name, |file| file.sync_data())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        {
            let mut reading = self.reading();
            reading.retain(|name, _| name != from && name != to);
            fs::rename(self.dir.join(from), self.dir.join(to))?;
        }
        if let Some(open) = self.writing().as_mut()
            && open.name == from
        {
            open.name = to.to_owned();
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.writing().take_if(|open| open.name == name);
        let mut reading = self.reading();
        reading.remove(name);
        fs::remove_file(self.dir.join(name))
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.with_file(name, |file| file.set_len(len))
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = self.to_read(name)?;
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while let Some(space) = bytes.get_mut(filled..).filter(|space| !space.is_empty()) {
            match file.read_at(space, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

/// Creates the directory and those above it, each durable before anything is put into it.
fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let Some(parent) = dir.parent() else { return Ok(()) };
    create_dir(parent)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_path(parent),
    }
}

fn sync_path(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_the_name_means_now() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        let made = |name: &str, bytes: &[u8]| {
            disk.create(name).unwrap();
            disk.append(name, bytes).unwrap();
        };
        let read = |name: &str| disk.read_at(name, 0, 9).map_err(|e| e.kind());
        made("a", b"first");
        assert_eq!(read("a").unwrap(), b"first");
        disk.append("a", b"+").unwrap();
        assert_eq!(read("a").unwrap(), b"first+", "what came since it was opened");
        made("b", b"second");
        assert_eq!(read("b").unwrap(), b"second");
        disk.rename("b", "a").unwrap();
        assert_eq!((read("a").unwrap(), read("b").unwrap_err()), (b"second".to_vec(), io::ErrorKind::NotFound));
        disk.truncate("a", 3).unwrap();
        assert_eq!(read("a").unwrap(), b"sec");
        disk.remove("a").unwrap();
        assert_eq!(read("a").unwrap_err(), io::ErrorKind::NotFound);
        made("a", b"third");
        assert_eq!(read("a").unwrap(), b"third");
        for n in 0..READING * 2 {
            made(&n.to_string(), &[7]);
            assert_eq!(read(&n.to_string()).unwrap(), [7]);
        }
        assert!(disk.reading().len() <= READING);
    }
}
