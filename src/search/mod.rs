//! Search: one encrypted index for each grade that this node may hold.
//!
//! What it is: Chinese and Latin analysis ([`Query`] and documents alike), the indexes ([`Indexes`]) and the
//! encrypted files under them. What it is not: it authorizes nobody. The caller names the classes that
//! a person may see, every hit is authorized again, and texts come from the vault.
//!
//! Invariants
//! - No title and no body is stored; terms and positions are, in files sealed under a key of that grade (chunked
//!   AEAD, bound to the file's name), so that a lower grade's key opens nothing of a higher one.
//! - A document outside the allowed classes is not matched, scored or counted.
//! - What matches is decided by characters: bigrams at their places, width, case and traditional forms folded. Words of the
//!   dictionary only raise the best of the matches; with or without them the same records are found and counted.
//! - A record is in the indexes at most once, whatever was interrupted: a commit deletes it and adds it.
//! - An index is rebuildable. One that does not open is begun anew and named.
//!
//! Known limit: an open index lies decrypted in this process's memory, about as large as its files.
//!
//! Who may call: `service` and `node`. Calls block.

mod analysis;
mod directory;
mod error;
mod index;
mod query;
mod quiet;
mod rank;
mod simplified;
#[cfg(test)]
mod tests;
mod tokens;
mod words;

pub use error::SearchError;
pub use index::{Allowed, Document, Indexes, Match};
pub use query::Query;
pub use quiet::quietly;
