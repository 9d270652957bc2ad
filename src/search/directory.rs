//! Encrypted files for the index engine.
//!
//! A file is `magic ‖ salt ‖ chunks`: chunked AES-256-GCM under a key derived from the grade's index key, the salt
//! and the file's name, so that a file that was cut, changed, renamed or exchanged does not open. A file is read
//! whole when it is opened.

use crate::domain::time::Entropy;
use crate::seal::{digest, expand, open_chunks, seal_chunks};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, DirectoryLock, FileHandle, Lock, OwnedBytes, TerminatingWrite, WatchCallback, WatchHandle, WritePtr,
};
use zeroize::Zeroizing;

/// The number counts up with what the terms are, too: an index of another analysis would find the wrong things, so it does
/// not open and is begun anew. 2: simplified characters, words for ranking. 4: one field of title and body.
const MAGIC: &[u8; 8] = b"HUFUIDX4";
const SALT: usize = 32;

/// The files of one index.
#[derive(Clone)]
pub(super) struct SealedDirectory {
    dir: PathBuf,
    key: Arc<Zeroizing<[u8; 32]>>,
    entropy: Arc<Mutex<Box<dyn Entropy>>>,
}

impl fmt::Debug for SealedDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedDirectory({})", self.dir.display())
    }
}

impl SealedDirectory {
    pub(super) fn new(dir: &Path, key: [u8; 32], entropy: Arc<Mutex<Box<dyn Entropy>>>) -> SealedDirectory {
        SealedDirectory { dir: dir.to_owned(), key: Arc::new(Zeroizing::new(key)), entropy }
    }

    fn seal(&self, path: &Path, plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut salt = [0u8; SALT];
        self.entropy.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut salt);
        let chunks = seal_chunks(&self.file_key(path, &salt), &context(path), 0, plain).map_err(io::Error::other)?;
        Ok([MAGIC.as_slice(), &salt, &chunks].concat())
    }

    fn open(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let bytes = fs::read(self.dir.join(path))?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "an index file does not open");
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let (salt, chunks) = rest.split_first_chunk::<SALT>().ok_or_else(damaged)?;
        open_chunks(&self.file_key(path, salt), &context(path), 0, chunks).map_err(|_| damaged())
    }

    fn file_key(&self, path: &Path, salt: &[u8; SALT]) -> Zeroizing<[u8; 32]> {
        expand(&self.key, "hufu.search.file", &[salt, path.as_os_str().as_encoded_bytes()])
    }
}

fn context(path: &Path) -> [u8; 32] {
    digest("hufu.search.path", &[path.as_os_str().as_encoded_bytes()])
}

/// Collects a file and seals it when it is complete.
struct Writer {
    directory: SealedDirectory,
    path: PathBuf,
    file: File,
    plain: Zeroizing<Vec<u8>>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.plain.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminatingWrite for Writer {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        let sealed = self.directory.seal(&self.path, &self.plain)?;
        self.file.write_all(&sealed)?;
        self.file.sync_data()
    }
}

impl tantivy::Directory for SealedDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let plain = self.atomic_read(path)?;
        Ok(Arc::new(OwnedBytes::new(plain)))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        fs::remove_file(self.dir.join(path)).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => DeleteError::FileDoesNotExist(path.to_owned()),
            _ => DeleteError::IoError { io_error: Arc::new(e), filepath: path.to_owned() },
        })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.dir.join(path).exists())
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let file = File::create_new(self.dir.join(path)).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => OpenWriteError::FileAlreadyExists(path.to_owned()),
            _ => OpenWriteError::wrap_io_error(e, path.to_owned()),
        })?;
        let plain = Zeroizing::new(Vec::new());
        Ok(BufWriter::new(Box::new(Writer { directory: self.clone(), path: path.to_owned(), file, plain })))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        // The engine keeps it for as long as the file is open; wiping a copy of it would hide nothing.
        self.open(path).map(|mut plain| std::mem::take(&mut *plain)).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => OpenReadError::FileDoesNotExist(path.to_owned()),
            _ => OpenReadError::wrap_io_error(e, path.to_owned()),
        })
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let (name, aside) = (self.dir.join(path), self.dir.join(path).with_extension("new"));
        let mut file = File::create(&aside)?;
        file.write_all(&self.seal(path, data)?)?;
        file.sync_data()?;
        fs::rename(&aside, &name)?;
        self.sync_directory()
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    /// The node holds a lock on all of its data.
    fn acquire_lock(&self, _: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    /// Readers are reloaded by hand after each commit.
    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}
