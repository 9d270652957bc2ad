//! Who takes part at one index, in few bytes: what a node is given that does not know it from its own log yet.
//!
//! A node that is new, or was away for long, believes whom the genesis or its last entries name. When others lead by now, it
//! would hear nobody. So whoever runs it gives it a charter, as they gave it the genesis, and compares the fingerprint by
//! voice. It counts until the node's own log is as far, and never against it.

use crate::domain::canon::{Canon, CanonError, Reader, Writer, read_set, write_set};
use crate::domain::ids::{AgencyId, FederationId, NodeId};
use crate::domain::limits;
use crate::seal::{PublicKey, digest};
use std::collections::BTreeSet;

use super::genesis::{NodeEntry, Place, node_id};
use super::state::State;

const CHARTER: &str = "hufu.charter";
/// Most nodes of one.
const NODES: usize = 1 << 16;

/// Who takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charter {
    /// Federation.
    pub federation: FederationId,
    /// As of this index.
    pub index: u64,
    /// Sets whose majority may be asked.
    pub voters: Vec<BTreeSet<NodeId>>,
    /// Agencies that stand, each with an authority of its own, DER; one that exchanges its authority stands here with both.
    pub agencies: Vec<(AgencyId, Vec<u8>)>,
    /// Nodes of agencies that stand.
    pub nodes: Vec<(AgencyId, NodeEntry)>,
}

impl Charter {
    /// A node's agency and key.
    pub fn node(&self, id: NodeId) -> Option<(&AgencyId, &PublicKey)> {
        self.nodes.iter().find(|(a, n)| node_id(a, &n.local) == id).map(|(a, n)| (a, &n.key))
    }

    /// Fingerprint to compare by voice.
    pub fn fingerprint(&self) -> [u8; 32] {
        digest("hufu.charter.fingerprint", &[&self.to_canon()])
    }
}

impl State {
    /// Who takes part by this state, which is that of `index`.
    pub fn charter(&self, index: u64) -> Charter {
        let standing = self.agencies().filter(|(id, _)| self.stands(id));
        let entry = |id: &NodeId, local: &str, key: PublicKey| NodeEntry {
            local: local.to_owned(),
            key,
            place: self.place(*id),
        };
        let nodes = self.nodes().filter(|(_, n)| self.stands(&n.agency));
        Charter {
            federation: self.federation().clone(),
            index,
            voters: self.voter_sets(),
            agencies: standing.flat_map(|(id, a)| a.roots().iter().map(|root| (id.clone(), root.clone()))).collect(),
            nodes: nodes.map(|(id, n)| (n.agency.clone(), entry(id, n.local.as_str(), n.key))).collect(),
        }
    }
}

impl Canon for Charter {
    fn write(&self, w: &mut Writer) {
        let Charter { federation, index, voters, agencies, nodes } = self;
        w.array(&Writer::new(CHARTER, 1).finish()).value(federation).u64(*index);
        w.list(voters.iter(), write_set);
        w.list(agencies.iter(), |w, (agency, root)| {
            w.value(agency).bytes(root);
        });
        w.list(nodes.iter(), |w, (agency, n)| {
            w.value(agency).value(n).option(n.place.as_ref(), |w, p| p.write(w));
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        if r.str(32)? != CHARTER || r.u16()? != 1 {
            return Err(CanonError::Header);
        }
        let node = |r: &mut Reader<'_>| {
            let (agency, mut node): (AgencyId, NodeEntry) = (r.value()?, r.value()?);
            node.place = r.option(Place::read)?;
            Ok((agency, node))
        };
        Ok(Charter {
            federation: r.value()?,
            index: r.u64()?,
            voters: r.list(3, |r| read_set(r, limits::AGENCIES))?,
            agencies: r.list(2 * limits::AGENCIES, |r| Ok((r.value()?, r.bytes(8192)?.to_vec())))?,
            nodes: r.list(NODES, node)?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::super::fixture::{approve, federation, suspended};
    use super::*;

    #[test]
    fn a_charter_says_who_stands_and_who_votes() {
        let f = federation();
        let founded = State::genesis(&f.genesis).unwrap();
        let changing = approve(&f, &founded, &[&f.police, &f.customs, &f.third]);
        let charter = changing.charter(9);
        assert_eq!((charter.index, charter.voters.len(), charter.nodes.len()), (9, 2, 3));
        assert_eq!(charter.node(f.third.node), Some((&f.third.id, &f.third.node_key.public())));
        assert_eq!(Charter::from_canon(&charter.to_canon()), Ok(charter.clone()));
        let fewer = suspended(&founded, &f.third.id).charter(9);
        assert!(fewer.node(f.third.node).is_none() && fewer.agencies.len() == 2);
        assert_ne!(fewer.fingerprint(), charter.fingerprint());
    }
}
