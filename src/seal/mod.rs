//! Suites, envelopes, grants, audience keys, tags, key rings, signatures and domain-separated digests.
//!
//! This room turns plaintext into what may leave a node, and back. It decides nothing about who may read:
//! whoever has the key can open. It has no clock, no I/O and no randomness of its own ([`Entropy`] is an
//! argument), and its callers see no type of a cryptography crate.
//!
//! Invariants
//! - Every hash, MAC, signature and derived key names its domain; two uses never share input bytes.
//! - Signed and hashed bytes come from the canonical writer (P31). Formats start with a name and a version,
//!   and `frozen.rs` keeps their bytes fixed.
//! - A data key is random, used for one portion of one version, and checked against the header's key
//!   commitment before anything is decrypted: AES-GCM alone does not commit.
//! - An audience key's id commits to the key (P15), so a grant or a wrapped key cannot open in two ways.
//! - An [`Envelope`] in memory is consistent: its ciphertexts have the hashes and sizes of its header, or lie apart, where a
//!   [`ContentCheck`] held them against it.
//!   That it is authentic is a separate question, answered by [`Envelope::verify`].
//! - Secrets do not implement Debug, Clone or Serialize, and are zeroed when dropped.
//!
//! Who may call: every room of layer 2 and above. [`open_portion`] and its like yield plaintext of records and are called
//! from `vault::disclose` alone.
//!
//! A second suite enters here and nowhere else: [`Suite`] is written in every header and public key, and a
//! suite that this build does not have is refused by name (P32).
//!
//! [`Entropy`]: crate::domain::time::Entropy

mod aead;
mod audience;
mod batch;
mod content;
mod digest;
mod envelope;
mod error;
#[cfg(test)]
mod frozen;
mod grant;
mod header;
mod kem;
mod keyring;
mod pad;
mod sealer;
mod sign;
mod suite;
mod tags;
mod text;
mod together;
mod verified;

pub use aead::{
    CHUNK_BYTES, ChunkOpener, ChunkSealer, TAG_BYTES, key_commitment, open_chunks, open_one, seal_chunks, seal_one,
    sealed_len,
};
pub use audience::{AudienceKey, AudienceObject, AudienceScope, WrappedKey};
pub use batch::{BatchSigned, sign_batch};
pub use content::ContentCheck;
pub use digest::{LongDigest, Sha256, ct_eq, digest, expand, hmac, sha256, signature_of};
pub use envelope::{
    CONTENT_BYTES, DataKey, ENVELOPE_BYTES, Envelope, EnvelopeDraft, EnvelopeIds, PortionPlain, hiding_commitment,
    open_beginning_from, open_portion, open_portion_from,
};
pub use error::SealError;
#[cfg(test)]
pub(crate) use frozen::Counter;
pub use grant::{GRANT_BYTES, GrantBody, GrantDraft, SealedGrant};
pub use header::{Header, PortionHeader};
pub use kem::{AudienceOpener, GradePublic, GradeSecret, open_with, seal_to};
pub use keyring::KeyRing;
pub use pad::{PADDED_BYTES, bucket, pad, pad_coarsely, unpad};
pub use sealer::EnvelopeSealer;
pub use sign::{PublicKey, Signature, SigningKey};
pub use suite::{SUITE_NOTICE, Suite};
pub use tags::{PairKey, PairNames, TaggedVersion, month_of, padded_tags, pull_check};
pub use text::{TextOpener, open_portion_pieces};
pub use together::{read_together, write_together};
pub use verified::Verified;
