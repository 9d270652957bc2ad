//! A snapshot on its way in: pieces in order, and no more than a limit, looked at as a whole before the last one counts.
//!
//! openraft seeks to whatever offset a piece names, and what does not decode would stop the node when it is installed
//! and at every start afterwards. So both are checked before openraft sees the piece.

use super::door::DoorError;
use super::machine::decode_snapshot;
use super::types::TypeConfig;
use crate::ledger::State;
use openraft::raft::InstallSnapshotRequest;

/// Largest snapshot that is taken, in bytes.
const SNAPSHOT_BYTES: usize = 2 << 30;

/// The snapshot under way, if there is one.
#[derive(Default)]
pub(super) struct Pieces {
    id: String,
    bytes: Vec<u8>,
}

impl Pieces {
    /// Adds a piece; the last one is taken only if `check` agrees with the whole. After a refusal it begins anew.
    pub(super) fn add(
        &mut self,
        m: &InstallSnapshotRequest<TypeConfig>,
        check: impl FnOnce(&State) -> Result<(), DoorError>,
    ) -> Result<(), DoorError> {
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
            return Ok(());
        }
        let whole = std::mem::take(self);
        let (meta, state) = decode_snapshot(&whole.bytes).map_err(|_| DoorError::Snapshot("it does not parse"))?;
        if meta != m.meta {
            return Err(DoorError::Snapshot("it is of another position or membership"));
        }
        check(&State::decode(&state).map_err(|_| DoorError::Snapshot("its state does not parse"))?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::machine::encode_snapshot;
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
        let accept = |s: &State| (s.digest() == state.digest()).then_some(()).ok_or(DoorError::Order);
        assert_eq!(pieces.add(&piece(&meta, 0, first, false), accept), Ok(()));
        assert_eq!(pieces.add(&piece(&meta, first.len(), rest, true), accept), Ok(()));
        // A piece far behind the end would make openraft allocate all that lies between.
        assert_eq!(pieces.add(&piece(&meta, 0, first, false), accept), Ok(()));
        assert_eq!(pieces.add(&piece(&meta, 1 << 50, rest, true), accept), Err(DoorError::Pieces));
        assert_eq!(pieces.add(&piece(&meta, first.len(), rest, true), accept), Err(DoorError::Pieces), "begun anew");
        // What would stop the node at its installation is refused before.
        let spoilt = encode_snapshot(&meta, &state.encode()[1..]);
        let refused = pieces.add(&piece(&meta, 0, &spoilt, true), accept);
        assert_eq!(refused, Err(DoorError::Snapshot("its state does not parse")));
        let other = SnapshotMeta { snapshot_id: "3-10".into(), ..meta.clone() };
        assert!(matches!(pieces.add(&piece(&other, 0, &bytes, true), accept), Err(DoorError::Snapshot(_))));
    }
}
