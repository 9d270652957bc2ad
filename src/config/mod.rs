//! A node's checked configuration (`hufu.toml`) and a person's profile.
//!
//! Reads TOML, resolves relative paths against the file's own folder and refuses what no node could run
//! with. It opens no socket. Unknown keys are errors, so that a typing mistake is never
//! a silent default.

mod files;
mod node;
mod people;
mod profile;

pub use files::{Secrecy, read_descriptor, read_genesis, write_descriptor, write_file, write_genesis};
pub use node::{Listen, NodeConfig, Notices, PeerConfig, Raft, Webhook};
pub use people::FirstPerson;
pub use profile::Profile;

use crate::domain::fault::Fault;
use std::path::Path;

/// Reads a text file; the error names it.
pub fn read_text(path: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(path)
        .map_err(|e| Fault::usage("UNREADABLE_FILE", format!("cannot read `{}`: {e}", path.display())))
}
