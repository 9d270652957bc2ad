//! 通报: urgent messages from one agency's node to another's, and the receipts that come back.
//!
//! What it is: letters sealed to the addressee ([`Letter`]), signed receipts ([`Receipt`]), the pure book of what was
//! sent, taken in and answered ([`Book`]), which decides what is done about each event, the pure schedule of attempts
//! ([`Schedule`]), the pure memory of a relay ([`Relay`]), and the shell that signs and makes frames durable ([`Office`]).
//! It needs no ledger message: sender and addressee agree by receipts alone.
//! What it is not: it decides nothing about persons, and carries nothing over the network; `service` and `node` do.
//!
//! Invariants
//! - Accepted means durable in the sender's journal; delivered means durable in the addressee's, and openable.
//! - An addressee takes a letter once, by however many paths it comes; every copy gets the same receipts.
//! - A letter is tried until its receipt is here or it expires; an expired one is *unknown*, and a late receipt
//!   corrects that.
//! - A receipt is signed by a node of the addressee; acknowledged and answered by the person too (P24).
//! - Content is opened for a person only behind a durable audit entry, and no words of a person lie readable on disk.
//! - A recalled notice is opened for nobody any more. Its ciphertext lies in the journal until the day on which it came in
//!   is thirty days old; the key that opens it is the grade's, and stays.

mod at_rest;
mod book;
mod decide;
mod error;
mod frame;
mod homes;
mod letter;
mod office;
mod quota;
mod receipt;
mod receive;
mod relay;
mod retain;
mod schedule;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests;

pub use book::{Book, End, In, Out, Recall};
pub use decide::{disk_work, memory_work};
pub use error::{NoticeError, RECALLS_FULL};
pub use frame::{Frame, Step, Warned};
pub use letter::{Content, LETTER_BYTES, Letter, LetterDigest, LetterHeader, LetterKind};
pub use office::{Accepted, Draft, Identity, Office, Taken, Word};
pub use quota::{Allowance, Quota, demoted, flash_allowance, origin_allowance};
pub use receipt::{By, Receipt, SignedReceipt, person_bytes, sign_as_person};
pub use receive::{is_of_addressee, may_go};
pub use relay::{Passage, Relay, passed_back};
pub use retain::{KEPT_MS, Retired};
pub use schedule::{Schedule, Try};
