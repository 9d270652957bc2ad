//! The types that openraft is instantiated with.

use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::limits;
use crate::ledger::BatchReply;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Cursor;

/// Payload of a log entry: signed batches of nodes, opaque here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Each a `ledger::SignedBatch` with its signature.
    pub batches: Vec<Vec<u8>>,
}

impl Entry {
    /// Most batches of an entry.
    pub(super) const BATCHES: usize = 1_024;

    /// Whether it is of a size that the ledger takes (P8).
    pub(super) fn fits(&self) -> bool {
        let bytes = self.batches.iter().map(Vec::len).fold(0, usize::saturating_add);
        self.batches.len() <= Entry::BATCHES && bytes <= limits::ENTRY_BYTES
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} batches", self.batches.len())
    }
}

impl Canon for Entry {
    fn write(&self, w: &mut Writer) {
        w.list(self.batches.iter(), |w, b| {
            w.bytes(b);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Entry { batches: r.list(4096, |r| r.bytes(limits::BATCH_BYTES + 128).map(<[u8]>::to_vec))? })
    }
}

/// What applying an entry answered, one reply for each batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryReply {
    /// Index of the entry.
    pub index: u64,
    /// Replies in the order of the batches.
    pub replies: Vec<BatchReply>,
}

openraft::declare_raft_types!(
    /// openraft for this federation. Nodes carry no data: addresses are configuration, keys are ledger.
    pub TypeConfig:
        D = Entry,
        R = EntryReply,
        NodeId = u64,
        Node = openraft::EmptyNode,
        SnapshotData = Cursor<Vec<u8>>,
);

pub(super) type Raft = openraft::Raft<TypeConfig>;
pub(super) type LogId = openraft::LogId<u64>;
pub(super) type Vote = openraft::Vote<u64>;
pub(super) type LogEntry = openraft::Entry<TypeConfig>;
pub(super) type StoredMembership = openraft::StoredMembership<u64, openraft::EmptyNode>;
pub(super) type Membership = openraft::Membership<u64, openraft::EmptyNode>;
pub(super) type Snapshot = openraft::Snapshot<TypeConfig>;
pub(super) type SnapshotMeta = openraft::SnapshotMeta<u64, openraft::EmptyNode>;
pub(super) type StorageError = openraft::StorageError<u64>;
