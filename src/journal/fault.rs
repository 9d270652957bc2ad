//! A disk in memory that keeps what is durable apart from what is only written, and fails when told.

use super::disk::Disk;
use super::error::JournalError;
use super::host::{Host, Waker, Work};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What a failing operation leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// It failed and nothing of it is on the disk.
    Nothing,
    /// It failed and is on the disk all the same.
    Everything,
}

/// A file, whatever it is called.
struct File {
    written: Vec<u8>,
    /// What of it would survive.
    synced: Vec<u8>,
}

#[derive(Default)]
struct State {
    files: Vec<File>,
    /// Names as the process sees them, each with the number of its file.
    seen: BTreeMap<String, usize>,
    /// Names that would survive.
    names: BTreeMap<String, usize>,
    operations: u64,
    fail_at: Option<(u64, Leaves)>,
    /// Bytes that are free; none when there is no end of them.
    free: Option<u64>,
}

impl State {
    fn file(&self, name: &str) -> io::Result<&File> {
        self.seen.get(name).and_then(|n| self.files.get(*n)).ok_or_else(absent)
    }

    fn file_mut(&mut self, name: &str) -> io::Result<&mut File> {
        let n = *self.seen.get(name).ok_or_else(absent)?;
        self.files.get_mut(n).ok_or_else(absent)
    }

    fn add(&mut self, name: String, bytes: Vec<u8>) {
        self.seen.insert(name, self.files.len());
        self.files.push(File { written: bytes.clone(), synced: bytes });
    }
}

/// Clones share the disk.
#[derive(Clone, Default)]
pub(crate) struct FaultDisk(Arc<Mutex<State>>);

impl FaultDisk {
    /// Lets the n-th changing operation from now on (0 is the next) fail.
    pub fn fail_at(&self, n: u64, leaves: Leaves) {
        let mut s = self.0.lock().unwrap();
        s.fail_at = Some((s.operations + n, leaves));
    }

    /// From now on so many bytes are free, whatever is written.
    pub fn set_free(&self, bytes: u64) {
        self.0.lock().unwrap().free = Some(bytes);
    }

    /// Changing operations so far.
    pub fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    /// The disk after a power cut: only what was synced.
    pub fn after_power_cut(&self) -> FaultDisk {
        let s = self.0.lock().unwrap();
        FaultDisk::of(s.names.iter().map(|(name, n)| (name.clone(), s.files.get(*n).unwrap().synced.clone())))
    }

    /// The disk after a power cut in the middle of writing: of what was appended and not synced, a beginning is there, as
    /// long as `keep` says of its length.
    pub fn after_torn_cut(&self, mut keep: impl FnMut(usize) -> usize) -> FaultDisk {
        let s = self.0.lock().unwrap();
        FaultDisk::of(s.names.iter().map(|(name, n)| {
            let file = s.files.get(*n).unwrap();
            let mut bytes = file.synced.clone();
            if let Some(unsynced) = file.written.strip_prefix(bytes.as_slice()) {
                let kept = keep(unsynced.len()).min(unsynced.len());
                bytes.extend_from_slice(unsynced.get(..kept).unwrap());
            }
            (name.clone(), bytes)
        }))
    }

    /// The disk after the process died: everything written.
    pub fn after_kill(&self) -> FaultDisk {
        let s = self.0.lock().unwrap();
        FaultDisk::of(s.seen.iter().map(|(name, n)| (name.clone(), s.files.get(*n).unwrap().written.clone())))
    }

    /// Changes a file behind everybody's back.
    pub fn edit(&self, name: &str, f: impl FnOnce(&mut Vec<u8>)) {
        f(&mut self.0.lock().unwrap().file_mut(name).unwrap().written);
    }

    fn of(files: impl Iterator<Item = (String, Vec<u8>)>) -> FaultDisk {
        let mut state = State::default();
        files.for_each(|(name, bytes)| state.add(name, bytes));
        state.names = state.seen.clone();
        FaultDisk(Arc::new(Mutex::new(state)))
    }

    fn change(&self, f: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        let mut s = self.0.lock().unwrap();
        let n = s.operations;
        s.operations += 1;
        match s.fail_at {
            Some((at, Leaves::Nothing)) if at == n => Err(io::Error::other("injected")),
            Some((at, Leaves::Everything)) if at == n => {
                f(&mut s)?;
                Err(io::Error::other("injected"))
            }
            _ => f(&mut s),
        }
    }
}

fn absent() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Disk for FaultDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().seen.keys().cloned().collect())
    }
    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().file(name)?.written.len() as u64)
    }
    fn create(&self, name: &str) -> io::Result<()> {
        self.change(|s| {
            s.add(name.to_owned(), Vec::new());
            Ok(())
        })
    }
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.change(|s| {
            s.file_mut(name)?.written.extend_from_slice(bytes);
            Ok(())
        })
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        self.change(|s| {
            let file = s.file_mut(name)?;
            file.synced = file.written.clone();
            Ok(())
        })
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.change(|s| {
            s.names = s.seen.clone();
            Ok(())
        })
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|s| {
            let file = s.seen.remove(from).ok_or_else(absent)?;
            s.seen.insert(to.to_owned(), file);
            Ok(())
        })
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(|s| s.seen.remove(name).map(|_| ()).ok_or_else(absent))
    }
    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.change(|s| {
            s.file_mut(name)?.written.truncate(len as usize);
            Ok(())
        })
    }
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let s = self.0.lock().unwrap();
        let written = &s.file(name)?.written;
        let from = written.len().min(offset as usize);
        let to = written.len().min(from.saturating_add(len));
        Ok(written.get(from..to).unwrap_or_default().to_vec())
    }
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().free.unwrap_or(u64::MAX))
    }
}

type Worker = Arc<Mutex<Work>>;

/// A machine whose disks stand still: its workers work when the test says so, or for a caller that blocks.
#[derive(Clone, Default)]
pub(crate) struct Stalled(Arc<Mutex<Vec<Worker>>>);

impl Stalled {
    /// Everything queued is worked off.
    pub fn go(&self) {
        let all = self.0.lock().unwrap().clone();
        all.iter().for_each(work_off);
    }
}

fn work_off(worker: &Worker) {
    let mut work = worker.lock().unwrap();
    (*work)();
}

impl Host for Stalled {
    fn disk(&self, _: &Path) -> Result<Arc<dyn Disk>, JournalError> {
        Ok(Arc::new(FaultDisk::default()))
    }
    fn files(&self, _: &Path) -> Result<Arc<dyn Disk>, JournalError> {
        Ok(Arc::new(FaultDisk::default()))
    }
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
    fn used_memory(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn given_memory(&self) -> u64 {
        u64::MAX
    }
    fn start(&self, _: &str, work: Work) -> io::Result<Box<dyn Waker>> {
        let worker = Arc::new(Mutex::new(work));
        self.0.lock().unwrap().push(Arc::clone(&worker));
        Ok(Box::new(Asleep(worker)))
    }
}

struct Asleep(Worker);

impl Waker for Asleep {
    fn wake(&self) {}
    fn wake_and_wait(&self) {
        work_off(&self.0);
    }
}
