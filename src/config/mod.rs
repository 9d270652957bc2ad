//! A node's checked configuration (`hufu.toml`) and a person's profile.
//!
//! Reads TOML, resolves relative paths against the file's own folder and refuses what no node could run
//! with. It opens no socket. Unknown keys are errors, so that a typing mistake is never
//! a silent default.

mod files;
mod node;
mod people;
mod profile;

pub use files::{Secrecy, read_charter, read_descriptor, read_genesis, read_node, read_text};
pub use files::{write_charter, write_descriptor, write_file, write_genesis, write_node};
pub use node::{CHANGEABLE, Listen, Load, LogForm, LogLevel, NodeConfig, Notices, PeerConfig, Raft, Webhook};
pub use people::FirstPerson;
pub use profile::Profile;
