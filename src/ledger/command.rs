//! What a node may put on the ledger. Variant order is format.

use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{AgencyId, NodeId, RecordId};
use crate::seal::Signature;

use super::act::SignedAct;
use super::level::CERTIFIED;

/// Most tags of one commitment (P13: padded to 4, 8, 16 …).
pub const TAGS: usize = 4096;
/// Most signatures of a certificate; a voter set is far smaller.
const SIGNATURES: usize = 64;

/// One command of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// An act of authority.
    Act(SignedAct),
    /// A pair key for tags, sealed to the recipient (P13).
    Introduce {
        /// Recipient.
        to: AgencyId,
        /// Months since 1970 from which it counts.
        month: u32,
        /// HPKE-sealed key.
        sealed: Vec<u8>,
    },
    /// A hiding commitment with its first grant (P11, P12).
    Commit {
        /// Envelope id; carries the origin.
        record: RecordId,
        /// 1, 2, …; exactly one above the last.
        version: u32,
        /// Hiding commitment of the header.
        commitment: [u8; 32],
        /// Hiding commitment of the grant.
        grant: [u8; 32],
        /// Blinded tags, padded and sorted.
        tags: Vec<[u8; 16]>,
    },
    /// A later grant: widening, late joiners, relabel (P11).
    Grant {
        /// Envelope id.
        record: RecordId,
        /// Its version.
        version: u32,
        /// Hiding commitment of the grant.
        grant: [u8; 32],
        /// Blinded tags.
        tags: Vec<[u8; 16]>,
    },
    /// A checkpoint hash of the node's audit log (P27).
    Anchor {
        /// Digest of the checkpoint.
        checkpoint: [u8; 32],
    },
    /// Up to which level the node knows the rules (P5).
    Supports {
        /// That level.
        level: u16,
    },
    /// A majority of the voters signed the state after an index (P7).
    Certified {
        /// That index.
        index: u64,
        /// The state's digest.
        digest: [u8; 32],
        /// Voters in the order of their numbers, and what each signed.
        signatures: Vec<(NodeId, Signature)>,
    },
    /// One that the ledger's level does not have, by its number. It is refused.
    Later(u8),
}

impl Canon for Command {
    fn write(&self, w: &mut Writer) {
        let write_tags = |w: &mut Writer, tags: &Vec<[u8; 16]>| {
            w.list(tags.iter(), |w, t| {
                w.array(t);
            });
        };
        match self {
            Command::Act(a) => {
                w.u8(0).value(a);
            }
            Command::Introduce { to, month, sealed } => {
                w.u8(1).value(to).u32(*month).bytes(sealed);
            }
            Command::Commit { record, version, commitment, grant, tags } => {
                w.u8(2).value(record).u32(*version).array(commitment).array(grant);
                write_tags(w, tags);
            }
            Command::Grant { record, version, grant, tags } => {
                w.u8(3).value(record).u32(*version).array(grant);
                write_tags(w, tags);
            }
            Command::Anchor { checkpoint } => {
                w.u8(4).array(checkpoint);
            }
            Command::Supports { level } => {
                w.u8(5).u16(*level);
            }
            Command::Certified { index, digest, signatures } => {
                w.u8(6).u64(*index).array(digest).list(signatures.iter(), |w, (voter, signature)| {
                    w.value(voter).value(signature);
                });
            }
            Command::Later(code) => {
                w.u8(*code);
            }
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(match r.u8()? {
            0 => Command::Act(r.value()?),
            1 => Command::Introduce { to: r.value()?, month: r.u32()?, sealed: r.bytes(8192)?.to_vec() },
            2 => Command::Commit {
                record: r.value()?,
                version: r.u32()?,
                commitment: r.array()?,
                grant: r.array()?,
                tags: read_tags(r)?,
            },
            3 => Command::Grant { record: r.value()?, version: r.u32()?, grant: r.array()?, tags: read_tags(r)? },
            4 => Command::Anchor { checkpoint: r.array()? },
            5 => Command::Supports { level: r.u16()? },
            6 => Command::Certified {
                index: r.u64()?,
                digest: r.array()?,
                signatures: r.list(SIGNATURES, |r| Ok((r.value()?, r.value()?)))?,
            },
            _ => return Err(CanonError::Invalid("command")),
        })
    }
}

impl Command {
    /// As it stands in a batch, by the rules of a level. What a level does not have is looked at no further, so that no
    /// program, however new, calls the batch malformed for what another one cannot read.
    pub(super) fn open(bytes: &[u8], level: u16) -> Result<Command, CanonError> {
        match bytes.first() {
            Some(code) if *code > last_of(level) => Ok(Command::Later(*code)),
            _ => Command::from_canon(bytes),
        }
    }
}

/// The highest number of a command that a level has.
fn last_of(level: u16) -> u8 {
    if level < CERTIFIED { 5 } else { 6 }
}

pub(super) fn read_tags(r: &mut Reader<'_>) -> Result<Vec<[u8; 16]>, CanonError> {
    let tags = r.list(TAGS, |r| r.array())?;
    if tags.len() < 4 || !tags.len().is_power_of_two() || !tags.is_sorted_by(|a, b| a < b) {
        return Err(CanonError::Invalid("tags"));
    }
    Ok(tags)
}
