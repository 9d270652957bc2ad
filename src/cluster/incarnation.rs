//! The number of a node's start, above every earlier one's.
//!
//! The ledger answers a batch that it has already taken with the stored reply (P3), and knows it by (incarnation, sequence).
//! A start that took an earlier one's number would hear the reply to another batch, and acknowledge what is not there. The
//! clock alone does not tell starts apart: it is set back, and what this node applied may be behind what it signed. So the
//! number is kept in a file, durable before the first batch carries it.

use crate::domain::canon::{CanonError, Reader, Writer};
use crate::domain::time::Millis;
use crate::journal::{Disk, Host, read_whole, write_whole};
use std::path::Path;
use std::sync::Arc;

const FILE: &str = "incarnation";
const DOMAIN: &str = "hufu.incarnation";
const VERSION: u16 = 1;

/// This start's number.
pub struct Incarnation {
    disk: Arc<dyn Disk>,
    number: u64,
}

impl Incarnation {
    /// The number of a new start: the time, or one above the last start's. `dir` is the node's data folder.
    ///
    /// # Errors
    /// In words, when the file cannot be read or written, or is not one.
    pub fn begin(host: &dyn Host, dir: &Path, now: Millis) -> Result<Incarnation, String> {
        let disk = host.files(dir).map_err(|e| e.to_string())?;
        let kept = read_whole(disk.as_ref(), FILE).map_err(|e| format!("cannot read `{FILE}`: {e}"))?;
        let kept = kept.map_or(Ok(0), |bytes| read(&bytes)).map_err(|e| format!("`{FILE}` does not parse: {e}"))?;
        let mut begun = Incarnation { disk, number: 0 };
        begun.set(now.0.max(kept.saturating_add(1)))?;
        Ok(begun)
    }

    /// The number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Goes above what the ledger has of this node: its file may have been lost.
    pub(super) fn rise_above(&mut self, last: u64) -> Result<(), String> {
        self.set(last.saturating_add(1))
    }

    fn set(&mut self, number: u64) -> Result<(), String> {
        let bytes = Writer::new(DOMAIN, VERSION).u64(number).finish();
        write_whole(self.disk.as_ref(), FILE, &bytes).map_err(|e| format!("cannot write `{FILE}`: {e}"))?;
        self.number = number;
        Ok(())
    }
}

fn read(bytes: &[u8]) -> Result<u64, CanonError> {
    let mut r = Reader::new(bytes, DOMAIN, VERSION)?;
    let number = r.u64()?;
    r.finish()?;
    Ok(number)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::journal::System;

    #[test]
    fn every_start_has_a_number_of_its_own_whatever_the_clock_says() {
        let dir = tempfile::tempdir().unwrap();
        let begin = |now| Incarnation::begin(&System, dir.path(), Millis(now)).unwrap();
        let numbers: Vec<u64> = [100, 100, 50, 7_000, 1].map(|now| begin(now).number()).to_vec();
        assert_eq!(numbers, [100, 101, 102, 7_000, 7_001]);
        let mut raised = begin(2);
        raised.rise_above(9_000).unwrap();
        assert_eq!((raised.number(), begin(3).number()), (9_001, 9_002));
        std::fs::write(dir.path().join(FILE), b"?").unwrap();
        assert!(Incarnation::begin(&System, dir.path(), Millis(1)).is_err());
    }
}
