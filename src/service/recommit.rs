//! What was accepted and is not on the ledger: it goes there as soon as it can, and nobody has to ask.

use super::core::Core;
use super::publish::{RandomOf, gone};
use crate::cluster::refused;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::RecordId;
use crate::ledger::CommandReply;
use std::collections::BTreeSet;
use std::time::Duration;

/// What the rounds of proposing again know of those before.
#[derive(Default)]
pub struct Recommits {
    /// Cannot go on the ledger.
    stuck: BTreeSet<(RecordId, u32)>,
    /// The own agency's standing when that was found: what is refused while it is suspended is taken when it stands again.
    standing: u32,
    /// Was not there at the last look.
    lacked: BTreeSet<(RecordId, u32)>,
}

impl Recommits {
    /// With another standing of the own agency everything is tried anew.
    fn stand(&mut self, standing: u32) {
        if std::mem::replace(&mut self.standing, standing) != standing {
            self.stuck.clear();
        }
    }

    /// Of what is not on the ledger now, what was not there at the last look: the rest is most likely on its way.
    fn left_over(&mut self, now: Vec<(RecordId, u32)>) -> Vec<(RecordId, u32)> {
        let before = std::mem::replace(&mut self.lacked, now.iter().copied().collect());
        now.into_iter().filter(|part| before.contains(part) && !self.stuck.contains(part)).collect()
    }
}

impl Core {
    /// Proposes again what is journaled here and was not on the ledger at the last look either, lower parts before the
    /// records that name them. What is still being published may be among it: the ledger takes the same commitment once.
    /// What cannot go there is told once and left until the next start, or until this agency's standing is another.
    pub async fn recommit(&self, known: &mut Recommits, timeout: Duration) {
        let state = self.state();
        known.stand(state.agency(&self.agency).map_or(0, |a| a.standing));
        let left_over = known.left_over(self.vault.uncommitted(&state));
        if self.cluster.status().leader.is_none() {
            return;
        }
        for (record, version) in left_over {
            let parts = match self.vault.goes_to_ledger(&state, &record, version) {
                Ok(parts) => parts,
                Err(error) => {
                    tracing::error!(%record, version, %error, "what was accepted here cannot be read");
                    known.stuck.insert((record, version));
                    Vec::new()
                }
            };
            for (part, of) in parts {
                match self.settle(part, of, timeout).await {
                    Ok(index) => tracing::info!(record = %part, index, "on the ledger, as it was accepted"),
                    Err(fault) if fault.kind == FaultKind::Unavailable => return,
                    Err(fault) => {
                        tracing::error!(record = %part, version = of, %fault, "what was accepted here cannot go on the ledger");
                        known.stuck.insert((record, version));
                        break;
                    }
                }
            }
        }
    }

    /// Whether what is journaled here, and the ledger did not take for this reason, goes there by itself.
    pub(super) fn goes_later(&self, why: &Fault) -> bool {
        goes_later(why, self.state().stands(&self.agency))
    }

    /// The index of a version that is journaled here; one that missed the ledger is proposed again.
    pub(super) async fn settle(&self, record: RecordId, version: u32, timeout: Duration) -> Result<u64, Fault> {
        let state = self.state();
        if let Some(index) = self.committed_at(&record, version) {
            return Ok(index);
        }
        self.check_kept(&record, version)?;
        let command = self.vault.recommit(&state, &record, version, self.clock.now(), &mut RandomOf(self))?;
        let command = command.ok_or_else(|| gone(&record))?;
        match self.committer.submit(command, timeout).await? {
            (_, CommandReply::Refused(why)) => Err(refused(why)),
            (index, _) => Ok(self.committed_at(&record, version).unwrap_or(index)),
        }
    }

    /// Where the ledger took a version, as far as it is applied here. Who proposed it a second time is answered from a later
    /// index.
    pub(super) fn committed_at(&self, record: &RecordId, version: u32) -> Option<u64> {
        self.state().record(record)?.iter().find(|v| v.version == version).map(|v| v.index)
    }
}

/// Nobody took it; or this agency is suspended, and is refused whatever it brings until it stands again.
fn goes_later(why: &Fault, stands: bool) -> bool {
    why.kind == FaultKind::Unavailable || !stands && why.reason == "REFUSED_BY_LEDGER"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Refusal;

    /// Whoever publishes at the leader of a suspended agency is told that it is accepted: it is published when the agency stands
    /// again. What the ledger refuses for what it is, is refused.
    #[test]
    fn what_a_suspended_agency_brings_is_accepted_and_not_refused() {
        let suspended = refused(Refusal::UnknownNode);
        assert!(goes_later(&suspended, false) && !goes_later(&suspended, true));
        assert!(!goes_later(&refused(Refusal::VersionConflict), false));
        assert!(goes_later(&Fault::unavailable("NO_LEADER", "x"), true));
    }

    #[test]
    fn what_is_on_its_way_is_left_alone() {
        let part = |n: u8| (RecordId::from_bytes([n; 16]), 1);
        let mut known = Recommits::default();
        assert!(known.left_over(vec![part(1), part(2)]).is_empty(), "seen for the first time");
        assert_eq!(known.left_over(vec![part(2), part(3)]), [part(2)]);
        known.stuck.insert(part(3));
        assert_eq!(known.left_over(vec![part(2), part(3)]), [part(2)], "what cannot go there is not tried again");
    }

    /// The ledger takes no batch of a suspended agency. What was accepted goes there when it stands again, without a start.
    #[test]
    fn what_was_refused_while_suspended_is_tried_again_afterwards() {
        let part = (RecordId::from_bytes([1; 16]), 1);
        let mut known = Recommits::default();
        known.stand(2);
        assert!(known.left_over(vec![part]).is_empty(), "seen for the first time");
        known.stuck.insert(part);
        known.stand(2);
        assert!(known.left_over(vec![part]).is_empty());
        known.stand(3);
        assert_eq!(known.left_over(vec![part]), [part]);
    }
}
