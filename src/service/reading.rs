//! Opening in pieces: an open like any other, of which no more than a piece of a text is in memory.
//!
//! The intents of all envelopes are durable before the first byte of any is given out, and each envelope's access before its own
//! first byte: whatever becomes of the node meanwhile, its originator learns of it, and of no envelope that nobody came to. How
//! far the reading went is an event when it ends, of whole or cut off, for each envelope that lies apart, was cut off, or was not
//! begun; one that lies in one message was given as an open gives it. Whether the person may is asked anew before each piece.
//!
//! A crash amid a reading leaves the intents, and the access of what was begun: everything of that may have been seen.

use super::core::Core;
use super::door::{Act, Caller};
use super::records::{Showing, check_purpose};
use crate::audit::{Action as AuditAction, Object, Stage};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AgencyId, RecordId};
use crate::policy::{Decision, Resource};
use crate::vault::{Card, Disclosing, Piece, is_covered};

/// One envelope of a record that is being read.
pub struct Reading {
    /// Record.
    pub record: RecordId,
    /// Version.
    pub version: u32,
    /// Originator.
    pub origin: AgencyId,
    /// What it is about, and its texts.
    pub disclosing: Disclosing,
    /// The intent's place in the audit log.
    pub audit_seq: u64,
    /// Ledger index answered from.
    pub ledger_index: u64,
    request: [u8; 16],
    showing: Showing,
    decision: Decision,
    given: Given,
}

/// How far a reading went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Given {
    pieces: u64,
    bytes: u64,
}

impl Given {
    fn add(&mut self, bytes: usize) {
        self.pieces = self.pieces.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// What stands in the log of it.
    fn rule(self, whole: bool) -> String {
        let how = if whole { "given-whole" } else { "cut-off" };
        format!("{how}: {} bytes, {} pieces", self.bytes, self.pieces)
    }
}

impl Reading {
    /// Notes that a piece was given out.
    pub fn gave(&mut self, bytes: usize) {
        self.given.add(bytes);
    }

    /// Bytes of its texts that were given out.
    pub fn given(&self) -> u64 {
        self.given.bytes
    }

    fn act<'a>(&'a self, audit: AuditAction, origin: Option<AgencyId>, purpose: &'a str) -> Act<'a> {
        Act {
            action: self.showing.action(),
            audit,
            object: Object::Record { id: self.record, version: self.version },
            label: Some(self.disclosing.label()),
            purpose,
            origin,
            request: self.request,
        }
    }
}

impl Core {
    /// Begins to open a record for a person: its own envelope and those of its lower classes that the person may see, in the
    /// order in which they are shown. As [`Core::open`], denied and absent take one path (P21).
    ///
    /// # Errors
    /// Not found when no part of it may be seen; damage.
    pub async fn open_in_pieces(
        &self,
        caller: &Caller,
        (record, version): (RecordId, u32),
        purpose: &str,
    ) -> Result<Vec<Reading>, Fault> {
        self.read_in_pieces(caller, (record, version), purpose, Showing::OnScreen).await
    }

    /// The same wherever the person gets to see it.
    pub(super) async fn read_in_pieces(
        &self,
        caller: &Caller,
        (record, version): (RecordId, u32),
        purpose: &str,
        showing: Showing,
    ) -> Result<Vec<Reading>, Fault> {
        check_purpose(purpose)?;
        let (card, mut lower) = self.parts(caller, (record, version), showing);
        let mut parts = Vec::with_capacity(lower.len() + 1);
        match self.begin_reading(caller, (record, version), card.as_ref(), purpose, showing).await {
            Ok(own) => parts.push(own),
            Err(fault) if fault.kind == FaultKind::NotFound => {
                self.keep_seen(caller, &mut lower, purpose, showing);
            }
            Err(fault) => return Err(fault),
        }
        for (part, version, card) in lower {
            match self.begin_reading(caller, (part, version), card.as_ref(), purpose, showing).await {
                Ok(part) => parts.push(part),
                Err(fault) if fault.kind == FaultKind::NotFound => {}
                Err(fault) => return Err(fault),
            }
        }
        if parts.is_empty() { Err(Fault::not_found()) } else { Ok(parts) }
    }

    async fn begin_reading(
        &self,
        caller: &Caller,
        of: (RecordId, u32),
        card: Option<&Card>,
        purpose: &str,
        showing: Showing,
    ) -> Result<Reading, Fault> {
        let (act, decision) = self.reading(caller, showing.action(), showing.audit(), of, card, purpose);
        let receipt = self.log(caller, &act, Stage::Intent, &decision).await?;
        let Some(card) = card.filter(|_| decision.is_allow()) else { return Err(Fault::not_found()) };
        let held = self.load(card)?;
        let (version, origin) = (held.version(), held.label.originator.clone());
        let disclosing = self.vault.disclose_in_pieces(held, &receipt)?;
        let (audit_seq, ledger_index) = (receipt.seq(), self.cluster.applied());
        let (request, given) = (act.request, Given::default());
        Ok(Reading {
            record: of.0,
            version,
            origin,
            disclosing,
            audit_seq,
            ledger_index,
            request,
            showing,
            decision,
            given,
        })
    }

    /// Logs that an envelope is given out; before its first byte is, its title too. Those before it took their time: whether the
    /// person may is asked anew.
    ///
    /// # Errors
    /// Not found when the person may not any more, a failed audit log: then nothing of it is given out, and it was no access.
    pub async fn begin_giving(&self, caller: &Caller, of: &Reading, purpose: &str) -> Result<(), Fault> {
        if !self.may_read_on(caller, of, purpose) {
            return Err(Fault::not_found());
        }
        let act = of.act(of.showing.audit(), Some(of.origin.clone()), purpose);
        let _outcome = self.log(caller, &act, Stage::Outcome, &of.decision).await?;
        Ok(())
    }

    /// The next piece; None at the end.
    ///
    /// # Errors
    /// Damage; the operator is told.
    pub fn read_on(&self, of: &mut Reading) -> Result<Option<Piece>, Fault> {
        self.vault.next_piece(&mut of.disclosing).map_err(|error| {
            tracing::error!(record = %of.record, %error, "a held text does not open");
            Fault::from(error)
        })
    }

    /// Whether the person may still read it, as directory, agreements and policies are now.
    pub fn may_read_on(&self, caller: &Caller, of: &Reading, purpose: &str) -> bool {
        let Ok(caller) = self.caller_now(caller) else { return false };
        let label = of.disclosing.label();
        let covered = is_covered(label, of.disclosing.agreement(), &self.state(), (&self.agency, self.clock.now()));
        let resource = Resource::Record { own: label.originator == self.agency, label: label.clone() };
        self.decide(&caller, of.showing.action(), resource, purpose, covered).is_allow()
    }

    /// Logs how far the reading of one envelope went, if it was not given as a whole in one message. It is no access of its
    /// own, of which an originator is told.
    ///
    /// # Errors
    /// A failed audit log.
    pub async fn end_giving(&self, caller: &Caller, of: &Reading, purpose: &str, whole: bool) -> Result<(), Fault> {
        if whole && !of.disclosing.is_apart() {
            return Ok(());
        }
        let act = of.act(AuditAction::Stream, None, purpose);
        let far = Decision::Allow { policies: vec![of.given.rule(whole)] };
        let _outcome = self.log(caller, &act, Stage::Outcome, &far).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_how_far_it_went() {
        let mut given = Given::default();
        assert_eq!(given.rule(false), "cut-off: 0 bytes, 0 pieces");
        given.add(65_536);
        given.add(100);
        assert_eq!(given.rule(true), "given-whole: 65636 bytes, 2 pieces");
        assert_eq!(given.rule(false), "cut-off: 65636 bytes, 2 pieces");
    }
}
