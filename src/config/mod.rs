//! A node's checked configuration (`hufu.toml`) and a person's profile.
//!
//! Reads TOML, resolves relative paths against the file's own folder and refuses what no node could run
//! with. It opens no socket. Unknown keys are errors, so that a typing mistake is never
//! a silent default.

mod files;
mod node;
mod people;
mod profile;

pub use files::{Secrecy, read_descriptor, read_genesis, read_text, write_descriptor, write_file, write_genesis};
pub use node::{CHANGEABLE, Listen, Load, LogForm, LogLevel, NodeConfig, Notices, PeerConfig, Raft, Webhook};
pub use people::FirstPerson;
pub use profile::Profile;
