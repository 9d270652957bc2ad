//! Small files that are rewritten as a whole.
//!
//! One is written aside, synced, renamed, and its folder synced, before anybody is told of it. A crash before the rename
//! leaves a part beside it, which the next writing removes; one between rename and sync of the folder leaves the old or the
//! new file, both whole.

use super::disk::Disk;
use std::io;

/// The whole file, if it is there.
pub fn read_whole(disk: &dyn Disk, name: &str) -> io::Result<Option<Vec<u8>>> {
    if !disk.list()?.iter().any(|n| n == name) {
        return Ok(None);
    }
    let len = usize::try_from(disk.size(name)?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    disk.read_at(name, 0, len).map(Some)
}

/// Puts the file there, or in place of the one that is; durable when it answers.
pub fn write_whole(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = format!("{name}.new");
    if disk.list()?.contains(&aside) {
        disk.remove(&aside)?;
    }
    disk.create(&aside)?;
    disk.append(&aside, bytes)?;
    disk.sync(&aside)?;
    disk.rename(&aside, name)?;
    disk.sync_dir()
}
