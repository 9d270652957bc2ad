//! A disk in memory that keeps what is durable apart from what is only written, and fails when told.

use super::disk::Disk;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

/// What a failing operation leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// It failed and nothing of it is on the disk.
    Nothing,
    /// It failed and is on the disk all the same.
    Everything,
}

#[derive(Clone, Default)]
struct Image {
    files: BTreeMap<String, Vec<u8>>,
}

#[derive(Default)]
struct State {
    /// What the process sees.
    seen: Image,
    /// File contents that would survive, by the name they were synced under.
    bytes: BTreeMap<String, Vec<u8>>,
    /// Names that would survive.
    names: Vec<String>,
    operations: u64,
    fail_at: Option<(u64, Leaves)>,
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

    /// Changing operations so far.
    pub fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    /// The disk after a power cut: only what was synced.
    pub fn after_power_cut(&self) -> FaultDisk {
        let s = self.0.lock().unwrap();
        let files: BTreeMap<String, Vec<u8>> =
            s.names.iter().map(|n| (n.clone(), s.bytes.get(n).cloned().unwrap_or_default())).collect();
        FaultDisk::of(files)
    }

    /// The disk after the process died: everything written.
    pub fn after_kill(&self) -> FaultDisk {
        FaultDisk::of(self.0.lock().unwrap().seen.files.clone())
    }

    /// Changes a file behind everybody's back.
    pub fn edit(&self, name: &str, f: impl FnOnce(&mut Vec<u8>)) {
        f(self.0.lock().unwrap().seen.files.get_mut(name).unwrap());
    }

    fn of(files: BTreeMap<String, Vec<u8>>) -> FaultDisk {
        let names = files.keys().cloned().collect();
        FaultDisk(Arc::new(Mutex::new(State {
            seen: Image { files: files.clone() },
            bytes: files,
            names,
            ..State::default()
        })))
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
        Ok(self.0.lock().unwrap().seen.files.keys().cloned().collect())
    }
    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.files.get(name).ok_or_else(absent)?.len() as u64)
    }
    fn create(&self, name: &str) -> io::Result<()> {
        self.change(|s| {
            s.seen.files.insert(name.to_owned(), Vec::new());
            s.bytes.insert(name.to_owned(), Vec::new());
            Ok(())
        })
    }
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.change(|s| {
            s.seen.files.get_mut(name).ok_or_else(absent)?.extend_from_slice(bytes);
            Ok(())
        })
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        self.change(|s| {
            let bytes = s.seen.files.get(name).ok_or_else(absent)?.clone();
            s.bytes.insert(name.to_owned(), bytes);
            Ok(())
        })
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.change(|s| {
            s.names = s.seen.files.keys().cloned().collect();
            Ok(())
        })
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|s| {
            let bytes = s.seen.files.remove(from).ok_or_else(absent)?;
            s.seen.files.insert(to.to_owned(), bytes);
            Ok(())
        })
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(|s| s.seen.files.remove(name).map(|_| ()).ok_or_else(absent))
    }
    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.change(|s| {
            s.seen.files.get_mut(name).ok_or_else(absent)?.truncate(len as usize);
            Ok(())
        })
    }
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let s = self.0.lock().unwrap();
        let bytes = s.seen.files.get(name).ok_or_else(absent)?;
        Ok(bytes.iter().skip(offset as usize).take(len).copied().collect())
    }
}
