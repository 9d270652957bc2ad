//! What an agency keeps to itself, between its own nodes. It carries no tag of anybody, so that no token of P13 names it; the
//! ledger says which node committed it, and that is how the others know what they lack.
//!
//! Their token names record and version in clear, as the ledger does, and proves the agency's shared secret (P22). It is shown
//! to nodes of the own agency only, and served to them only: the caller is known by its certificate before it is looked at.

use super::holder::Vault;
use super::sync::committed;
use crate::domain::ids::{AgencyId, RecordId};
use crate::ledger::{State, VersionEntry};
use crate::seal::TaggedVersion;

/// The agency's key towards itself does not change by month: it never leaves its nodes.
const MONTH: u32 = 0;

impl Vault {
    /// The token by which a node of this agency asks another one for a version of their own.
    pub(super) fn token_within(&self, record: &RecordId, version: &VersionEntry) -> [u8; 32] {
        let (version, commitment) = (version.version, version.commitment);
        let of = TaggedVersion { record: *record, version, commitment };
        let mut token = self.keys.pair_key(self.keys.agency(), MONTH).pull_token(self.keys.federation(), &of);
        for (to, named) in token.iter_mut().zip(record.as_bytes().iter().chain(&version.to_be_bytes())) {
            *to = *named;
        }
        token
    }

    /// The version that a token names to another node of this agency, if it is the token for it.
    pub(super) fn named_within(&self, state: &State, puller: &AgencyId, token: &[u8; 32]) -> Option<(RecordId, u32)> {
        let own = self.keys.agency();
        let (record, version) = named(token)?;
        if puller != own || state.origin_of(&record) != Some(own) {
            return None;
        }
        let of = committed(state, &record, version)?;
        (self.token_within(&record, of) == *token).then_some((record, version))
    }

    /// Whether this agency has another node now.
    pub(super) fn has_siblings(&self, state: &State) -> bool {
        state.nodes().any(|(id, n)| n.agency == *self.keys.agency() && *id != self.keys.node())
    }
}

/// Whether a token is for nodes of the own agency alone: no other token begins with what it is for.
pub(super) fn is_within(token: &[u8; 32], of: (RecordId, u32)) -> bool {
    named(token) == Some(of)
}

fn named(token: &[u8; 32]) -> Option<(RecordId, u32)> {
    let (record, rest) = token.split_first_chunk::<16>()?;
    let (version, _) = rest.split_first_chunk::<4>()?;
    Some((RecordId::from_bytes(*record), u32::from_be_bytes(*version)))
}
