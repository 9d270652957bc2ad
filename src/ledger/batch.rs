//! A node's signed batch of commands, and the answers (P3).

use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{FederationId, NodeId};
use crate::domain::limits;
use crate::domain::time::Millis;
use crate::seal::{PublicKey, Signature, SigningKey, digest};
use serde::{Deserialize, Serialize};
use std::fmt;

use super::command::Command;

const SIGN_BATCH: &str = "hufu.batch";

/// Commands of one node under one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBatch {
    /// Federation.
    pub federation: FederationId,
    /// Who signs.
    pub node: NodeId,
    /// Rises with every start of the node.
    pub incarnation: u64,
    /// Rises with every batch of an incarnation.
    pub sequence: u64,
    /// Not valid above this index.
    pub not_after: u64,
    /// The signer's clock: its agency's report to ledger time (P4).
    pub time: Millis,
    /// The commands.
    pub commands: Vec<Command>,
}

impl SignedBatch {
    /// The batch's bytes with signature.
    pub fn seal(&self, key: &SigningKey) -> Vec<u8> {
        let mut w = Writer::new(SIGN_BATCH, 1);
        w.value(&self.federation).value(&self.node).u64(self.incarnation).u64(self.sequence).u64(self.not_after);
        w.value(&self.time);
        w.list(self.commands.iter(), |w, c| {
            w.bytes(&c.to_canon());
        });
        let body = w.finish();
        let signature = key.sign(SIGN_BATCH, &body);
        Writer::bare().bytes(&body).value(&signature).finish()
    }

    /// Splits bytes into body and signature without trusting either, by the rules of a level.
    pub(super) fn open(bytes: &[u8], level: u16) -> Result<(SignedBatch, &[u8], Signature), CanonError> {
        let mut r = Reader::bare(bytes);
        let body = r.bytes(limits::BATCH_BYTES)?;
        let signature = r.value()?;
        r.finish()?;
        let mut r = Reader::new(body, SIGN_BATCH, 1)?;
        let batch = SignedBatch {
            federation: r.value()?,
            node: r.value()?,
            incarnation: r.u64()?,
            sequence: r.u64()?,
            not_after: r.u64()?,
            time: r.value()?,
            commands: r.list(limits::BATCH_COMMANDS, |r| Command::open(r.bytes(limits::BATCH_BYTES)?, level))?,
        };
        r.finish()?;
        Ok((batch, body, signature))
    }

    /// What tells a batch from every other one: the digest of its body. None if the bytes are no frame of a batch.
    pub fn content(bytes: &[u8]) -> Option<[u8; 32]> {
        Reader::bare(bytes).bytes(limits::BATCH_BYTES).ok().map(content_of)
    }

    /// The node that a batch names as its own, and its (incarnation, sequence). Whether it signed it is not asked.
    pub fn heading(bytes: &[u8]) -> Option<(NodeId, (u64, u64))> {
        let body = Reader::bare(bytes).bytes(limits::BATCH_BYTES).ok()?;
        let mut r = Reader::new(body, SIGN_BATCH, 1).ok()?;
        FederationId::read(&mut r).ok()?;
        Some((r.value().ok()?, (r.u64().ok()?, r.u64().ok()?)))
    }

    pub(super) fn signed_by(key: &PublicKey, body: &[u8], signature: &Signature) -> bool {
        key.verify(SIGN_BATCH, body, signature).is_ok()
    }
}

/// Digest of a batch's body. The signature is not in it: who signs the same twice says nothing else.
pub(super) fn content_of(body: &[u8]) -> [u8; 32] {
    digest("hufu.batch.content", &[body])
}

/// Why a batch or a command was refused. The order is format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Does not parse.
    Malformed = 0,
    /// Unknown or suspended node.
    UnknownNode = 1,
    /// Wrong federation or signature.
    BadSignature = 2,
    /// A lower (incarnation, sequence) than the last.
    Replayed = 3,
    /// Applied after its last index or ledger time.
    Expired = 4,
    /// The object has another version than expected.
    VersionConflict = 5,
    /// The signer holds no such role, or is not of a party.
    NoAuthority = 6,
    /// The object does not exist.
    Unknown = 7,
    /// The object is there already, with other content.
    Exists = 8,
    /// The record id carries another origin.
    ForeignRecord = 9,
    /// Content that no honest node proposes.
    Invalid = 10,
    /// A command that the ledger's level does not have (P5).
    Level = 11,
    /// Over what its agency may put on the ledger in a minute (P8).
    Budget = 12,
    /// The node signed another batch of the same (incarnation, sequence) before (P3).
    Doubled = 13,
    /// It would change the seats of several agencies among the voters at once (P6).
    Seats = 14,
    /// It would widen and narrow at once: one takes force certified, the other at first sight (P7).
    Mixed = 15,
    /// A suite that the ledger's level does not know, or none to seal with (P32).
    Suites = 16,
    /// A ceiling above the keys that the agency came in with.
    NoKey = 17,
}

impl Refusal {
    const ALL: [Refusal; 18] = [
        Refusal::Malformed,
        Refusal::UnknownNode,
        Refusal::BadSignature,
        Refusal::Replayed,
        Refusal::Expired,
        Refusal::VersionConflict,
        Refusal::NoAuthority,
        Refusal::Unknown,
        Refusal::Exists,
        Refusal::ForeignRecord,
        Refusal::Invalid,
        Refusal::Level,
        Refusal::Budget,
        Refusal::Doubled,
        Refusal::Seats,
        Refusal::Mixed,
        Refusal::Suites,
        Refusal::NoKey,
    ];
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Malformed => "it does not parse",
            Refusal::UnknownNode => "the node is unknown or suspended",
            Refusal::BadSignature => "a signature does not verify",
            Refusal::Replayed => "it repeats or precedes an earlier batch",
            Refusal::Expired => "it came after its expiry",
            Refusal::VersionConflict => "somebody else changed it first",
            Refusal::NoAuthority => "the signer has no authority for it",
            Refusal::Unknown => "there is no such object",
            Refusal::Exists => "there is another object of this name",
            Refusal::ForeignRecord => "the record id carries another origin",
            Refusal::Invalid => "its content is not allowed",
            Refusal::Level => "the ledger's level has no such command",
            Refusal::Budget => "it is over what the agency may put on the ledger in a minute",
            Refusal::Doubled => "the node signed another batch under its number",
            Refusal::Seats => "the voters change by one agency's seat at a time",
            Refusal::Mixed => "it widens and narrows at once",
            Refusal::Suites => "it names a suite that nobody has, or none to seal with",
            Refusal::NoKey => "the agency has no key for that grade",
        })
    }
}

impl Canon for Refusal {
    fn write(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let n = r.u8()?;
        Refusal::ALL.into_iter().find(|x| *x as u8 == n).ok_or(CanonError::Invalid("refusal"))
    }
}

/// The answer to one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandReply {
    /// In force, or written.
    Done,
    /// Recorded; more signatures are needed.
    Pending,
    /// Refused; nothing changed.
    Refused(Refusal),
    /// Written, and complete; in force once a majority of the voters certified it (P7).
    Waiting,
}

impl Canon for CommandReply {
    fn write(&self, w: &mut Writer) {
        match self {
            CommandReply::Done => w.u8(0),
            CommandReply::Pending => w.u8(1),
            CommandReply::Refused(x) => w.u8(2).value(x),
            CommandReply::Waiting => w.u8(3),
        };
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(match r.u8()? {
            0 => CommandReply::Done,
            1 => CommandReply::Pending,
            2 => CommandReply::Refused(r.value()?),
            3 => CommandReply::Waiting,
            _ => return Err(CanonError::Invalid("reply")),
        })
    }
}

/// The answer to a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchReply {
    /// Index at which it was first applied.
    pub index: u64,
    /// Why the whole batch was refused, if it was.
    pub refused: Option<Refusal>,
    /// One reply for each command, in order; empty when refused.
    pub replies: Vec<CommandReply>,
}

impl Canon for BatchReply {
    fn write(&self, w: &mut Writer) {
        w.u64(self.index);
        w.option(self.refused.as_ref(), |w, x| x.write(w));
        w.list(self.replies.iter(), |w, x| x.write(w));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(BatchReply {
            index: r.u64()?,
            refused: r.option(Refusal::read)?,
            replies: r.list(limits::BATCH_COMMANDS, CommandReply::read)?,
        })
    }
}
