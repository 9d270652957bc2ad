//! Foreign material into the words of the domain and back: bytes in, drafts of records out; warnings out as CAP.
//!
//! What it is: pure mapping, one file for each format. What it is not: it reads no files, knows no network and
//! decides nothing about labels.
//!
//! Invariants
//! - What cannot be read whole is refused with a reason; nothing is guessed and nothing is cut silently.
//! - The same bytes under the same name give the same draft on every machine.

mod cap;
mod json;
mod stix;
mod stix_marks;
mod stix_object;
#[cfg(test)]
mod stix_tests;
mod stix_text;
mod text;

pub use cap::{CapAlert, cap};
pub use stix::{StixDraft, StixFiles, StixImport};
pub use stix_marks::Stated;
pub use text::{TextDocument, text};
