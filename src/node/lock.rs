//! One process for one data folder, and one folder for one node.

use crate::domain::fault::Fault;
use crate::domain::ids::NodeId;
use rustix::fs::FlockOperation;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};

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
        let path = data.join("LOCK");
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        lock(&file).map_err(|_| {
            Fault::conflict("DATA_IN_USE", format!("another process uses data folder `{}`", data.display()))
                .hint("stop that node first; two nodes never share a folder")
        })?;
        let owner = format!("node {node} genesis {}\n", data_encoding::HEXLOWER.encode(federation_fingerprint));
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
            return Err(Fault::conflict(
                "FOREIGN_DATA",
                format!("data folder `{}` belongs to another node or federation", data.display()),
            )
            .hint(format!("it says `{}`", found.trim_end())));
        }
        Ok(DataLock { _file: file })
    }
}
