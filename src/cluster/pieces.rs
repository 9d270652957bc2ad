//! A snapshot on its way in: pieces in order, and no more than a limit, looked at as a whole before it counts.
//!
//! openraft's own receiver seeks to whatever offset a piece names, and what does not decode would stop the node when it
//! is installed and at every start afterwards. So openraft sees no piece: it installs the very bytes that were checked.

use super::door::DoorError;
use super::snapshot::decode_snapshot;
use super::types::{Membership, Snapshot, TypeConfig};
use crate::ledger::State;
use openraft::raft::InstallSnapshotRequest;
use std::io::Cursor;

/// Largest snapshot that is taken, in bytes.
const SNAPSHOT_BYTES: usize = 2 << 30;

/// The snapshot under way, if there is one.
#[derive(Default)]
pub(super) struct Pieces {
    id: String,
    bytes: Vec<u8>,
}

impl Pieces {
    /// Adds a piece; with the last one answers the whole, if `check` agrees with it. After a refusal it begins anew.
    pub(super) fn add(
        &mut self,
        m: &InstallSnapshotRequest<TypeConfig>,
        check: impl FnOnce(&State, &Membership) -> Result<(), DoorError>,
    ) -> Result<Option<Snapshot>, DoorError> {
        // A first piece, or one that is sent again because its answer was lost.
        let at = usize::try_from(m.offset).unwrap_or(usize::MAX);
        if at == 0 {
            *self = Pieces { id: m.meta.snapshot_id.clone(), bytes: Vec::new() };
        }
        if self.id != m.meta.snapshot_id || at > self.bytes.len() || at.saturating_add(m.data.len()) > SNAPSHOT_BYTES {
            *self = Pieces::default();
            return Err(DoorError::Pieces);
        }
        self.bytes.truncate(at);
        self.bytes.extend_from_slice(&m.data);
        if !m.done {
            return Ok(None);
        }
        let whole = std::mem::take(self);
        let (meta, state) = decode_snapshot(&whole.bytes).map_err(|_| DoorError::Snapshot("it does not parse"))?;
        if meta != m.meta {
            return Err(DoorError::Snapshot("it is of another position or membership"));
        }
        let state = State::decode(&state).map_err(|_| DoorError::Snapshot("its state does not parse"))?;
        check(&state, meta.last_membership.membership())?;
        Ok(Some(Snapshot { meta, snapshot: Box::new(Cursor::new(whole.bytes)) }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::snapshot::encode_snapshot;
    use super::super::types::{SnapshotMeta, Vote};
    use super::*;
    use crate::ledger::fixture::federation;

    fn piece(meta: &SnapshotMeta, offset: usize, data: &[u8], done: bool) -> InstallSnapshotRequest<TypeConfig> {
        let (vote, meta, data) = (Vote::new_committed(3, 1), meta.clone(), data.to_vec());
        InstallSnapshotRequest { vote, meta, offset: offset as u64, data, done }
    }

    #[test]
    fn pieces_come_in_order_and_the_whole_is_looked_at() {
        let state = State::genesis(&federation().genesis).unwrap();
        let meta = SnapshotMeta { snapshot_id: "3-9".into(), ..SnapshotMeta::default() };
        let bytes = encode_snapshot(&meta, &state.encode());
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        let mut pieces = Pieces::default();
        let accept = |s: &State, _: &Membership| (s.digest() == state.digest()).then_some(()).ok_or(DoorError::Order);
        let mut add = |meta: &SnapshotMeta, offset, data: &[u8], done| {
            let whole = pieces.add(&piece(meta, offset, data, done), accept)?;
            Ok(whole.map(|s| s.snapshot.into_inner()))
        };
        assert_eq!(add(&meta, 0, first, false), Ok(None));
        // One that is sent again, after more of it came: what is installed is what was looked at.
        assert_eq!(add(&meta, first.len(), &[rest, b"more"].concat(), false), Ok(None));
        assert_eq!(add(&meta, first.len(), rest, true), Ok(Some(bytes.clone())));
        // A piece far behind the end would have all that lies between allocated.
        assert_eq!(add(&meta, 0, first, false), Ok(None));
        assert_eq!(add(&meta, 1 << 50, rest, true), Err(DoorError::Pieces));
        assert_eq!(add(&meta, first.len(), rest, true), Err(DoorError::Pieces), "begun anew");
        // What would stop the node at its installation is refused before.
        let spoilt = encode_snapshot(&meta, &state.encode()[1..]);
        assert_eq!(add(&meta, 0, &spoilt, true), Err(DoorError::Snapshot("its state does not parse")));
        let other = SnapshotMeta { snapshot_id: "3-10".into(), ..meta.clone() };
        assert!(matches!(add(&other, 0, &bytes, true), Err(DoorError::Snapshot(_))));
    }
}
