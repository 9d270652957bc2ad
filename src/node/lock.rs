//! One process for one data folder, and one folder for one node.

use crate::domain::fault::Fault;
use crate::domain::ids::NodeId;
use rustix::fs::FlockOperation;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The file that is locked, and says whose the folder is.
const LOCK: &str = "LOCK";
/// A process that was killed holds its lock until the kernel has taken all of it down; a supervisor that starts the
/// next one at once must not be told that somebody else is there.
const LAST_BREATH: Duration = Duration::from_secs(3);
const TRY_AGAIN: Duration = Duration::from_millis(50);

fn lock(file: &File) -> rustix::io::Result<()> {
    let give_up = Instant::now() + LAST_BREATH;
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(_) if Instant::now() < give_up => std::thread::sleep(TRY_AGAIN),
            outcome => return outcome,
        }
    }
}

/// Held as long as the node runs; the kernel lets go when the process ends.
pub(super) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Creates and locks the folder; refuses another process's and another node's.
    pub(super) fn take(data: &Path, node: NodeId, federation_fingerprint: &[u8; 32]) -> Result<DataLock, Fault> {
        let io = |e: std::io::Error| {
            Fault::usage("BAD_DATA_DIR", format!("cannot use data folder `{}`: {e}", data.display()))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(io)?;
        let path = data.join(LOCK);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        lock(&file).map_err(|_| {
            Fault::conflict("DATA_IN_USE", format!("another process uses data folder `{}`", data.display()))
                .hint("stop that node first; two nodes never share a folder")
        })?;
        let owner = owner(node, federation_fingerprint);
        let mut found = String::new();
        file.read_to_string(&mut found).map_err(io)?;
        if found.is_empty() {
            file.write_all(owner.as_bytes()).map_err(io)?;
            file.sync_all().map_err(io)?;
            // The names too: of the lock in the folder, and of the folder.
            let absolute = std::path::absolute(data).map_err(io)?;
            for dir in [Some(absolute.as_path()), absolute.parent()].into_iter().flatten() {
                File::open(dir).and_then(|d| d.sync_all()).map_err(io)?;
            }
        } else if found != owner {
            return Err(foreign(data, &found));
        }
        Ok(DataLock { _file: file })
    }
}

/// Whether a start would find the folder to be another node's. It locks nothing, so a running node does not mind; a
/// folder that is not there or empty is nobody's yet.
pub(super) fn check_owner(data: &Path, node: NodeId, federation_fingerprint: &[u8; 32]) -> Result<(), Fault> {
    match std::fs::read_to_string(data.join(LOCK)) {
        Ok(found) if found.is_empty() || found == owner(node, federation_fingerprint) => Ok(()),
        Ok(found) => Err(foreign(data, &found)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => {
            let why = format!("cannot tell whose data folder `{}` is: {e}", data.display());
            Err(Fault::usage("BAD_DATA_DIR", why).hint("run the doctor as the node's user"))
        }
    }
}

/// How a folder names its node.
fn owner(node: NodeId, federation_fingerprint: &[u8; 32]) -> String {
    format!("node {node} genesis {}\n", data_encoding::HEXLOWER.encode(federation_fingerprint))
}

fn foreign(data: &Path, found: &str) -> Fault {
    let why = format!("data folder `{}` belongs to another node or federation", data.display());
    Fault::conflict("FOREIGN_DATA", why).hint(format!("it says `{}`", found.trim_end()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_node_without_being_locked() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let (own, genesis) = (NodeId(1), [7; 32]);
        check_owner(&data, own, &genesis).unwrap();
        let _running = DataLock::take(&data, own, &genesis).unwrap();
        check_owner(&data, own, &genesis).unwrap();
        for (node, genesis) in [(NodeId(2), genesis), (own, [8; 32])] {
            assert_eq!(check_owner(&data, node, &genesis).unwrap_err().reason, "FOREIGN_DATA");
        }
    }
}
