//! Whether this node has ever taken part: a mark beside the ledger's folder, so that an emptied folder is noticed.
//!
//! A voter that lost its votes could vote a second time in one term. Nobody else can see that, so it does not start.

use std::fs::File;
use std::path::{Path, PathBuf};

/// What a node says that has the mark and no votes.
pub(super) const LOG_LOST: &str = "this node took part before and its ledger log is gone or older than that; it cannot \
    vote safely. Bring the folder back as it was; only if it never voted, remove `ledger.begun` beside it";

/// The mark.
pub(super) struct Begun(PathBuf);

impl Begun {
    pub(super) fn of(dir: &Path) -> Begun {
        Begun(dir.with_extension("begun"))
    }

    pub(super) fn is_set(&self) -> Result<bool, String> {
        self.0.try_exists().map_err(|e| format!("cannot look for `{}`: {e}", self.0.display()))
    }

    /// Sets it; durable when it answers.
    pub(super) fn set(&self) -> Result<(), String> {
        if self.is_set()? {
            return Ok(());
        }
        let set = || {
            File::create(&self.0)?.sync_all()?;
            self.0.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        };
        set().map_err(|e| format!("cannot write `{}`: {e}", self.0.display()))
    }
}
