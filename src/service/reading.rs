//! Opening in pieces: an open like any other, of which no more than a piece of a text is in memory.
//!
//! Every envelope's intent and outcome are durable before the first byte of any leaves the vault: whatever becomes of the node
//! meanwhile, the originator learns of it. What was cut off by whoever reads, or by damage, is told besides. Whether the person
//! may is asked anew before each piece.

use super::core::Core;
use super::door::{Act, Caller};
use super::records::{Showing, check_purpose};
use crate::audit::{Object, Stage};
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
        let _outcome = self.log(caller, &act, Stage::Outcome, &decision).await?;
        let (audit_seq, ledger_index) = (receipt.seq(), self.cluster.applied());
        let request = act.request;
        Ok(Reading { record: of.0, version, origin, disclosing, audit_seq, ledger_index, request, showing })
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

    /// Logs that the reading of one envelope was cut off somewhere.
    ///
    /// # Errors
    /// A failed audit log.
    pub async fn cut_off(&self, caller: &Caller, of: &Reading, purpose: &str) -> Result<(), Fault> {
        let act = Act {
            action: of.showing.action(),
            audit: of.showing.audit(),
            object: Object::Record { id: of.record, version: of.version },
            label: Some(of.disclosing.label()),
            purpose,
            origin: Some(of.origin.clone()),
            request: of.request,
        };
        let cut = Decision::Allow { policies: vec!["cut-off".into()] };
        let _outcome = self.log(caller, &act, Stage::Outcome, &cut).await?;
        Ok(())
    }
}
