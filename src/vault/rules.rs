//! What every receiving node checks before it holds an object (the R rules of `docs/rules.md`).

use super::error::VaultError;
use super::keys::Keys;
use super::object::SealedObject;
use super::sync::committed;
use crate::domain::agreement::Terms;
use crate::domain::ids::{AgencyId, AgreementId};
use crate::domain::label::Label;
use crate::domain::time::Millis;
use crate::ledger::State;
use crate::seal::{AudienceKey, DataKey, GrantBody};
use std::sync::Arc;

/// Media type of portion 0, the meta portion.
pub const META_TYPE: &str = "application/vnd.hufu.meta";

/// An object that verified and opens: its grant's body and the audience key.
pub(super) struct Opened {
    pub(super) body: GrantBody,
    pub(super) audience: Arc<AudienceKey>,
}

impl Opened {
    /// The data key of a portion.
    pub(super) fn data_key(&self, object: &SealedObject, portion: usize) -> Result<DataKey, VaultError> {
        let wrapped = self.body.keys.get(portion).ok_or(VaultError::Rule("a portion has no key"))?;
        let number = u16::try_from(portion).map_err(|_| VaultError::Rule("a portion has no key"))?;
        Ok(self.audience.unwrap_key(&object.envelope.hash(), number, wrapped)?)
    }
}

/// Signatures by role, one origin for all parts, entitlement of this agency, a key for the grade, and that every key opens what
/// it should (P15). Whether an agreement covers it is [`check_agreement`], and whether it may be here now [`check_ceiling`].
pub(super) fn open(keys: &Keys, state: &State, object: &SealedObject) -> Result<Opened, VaultError> {
    let rule = VaultError::Rule;
    let header = object.envelope.header();
    let (agency, key) = state.signer(header.node).ok_or(rule("the sealing node is unknown"))?;
    if *agency != header.originator {
        return Err(rule("the sealing node is not of the originator's agency"));
    }
    if state.origin_of(&header.id) != Some(&header.originator) {
        return Err(rule("the record id carries another origin"));
    }
    object.envelope.verify_once(key, keys.verified())?;
    let scope = object.audience.scope();
    for (origin, signer) in [(object.grant.origin(), object.grant.node()), (&scope.origin, scope.node)] {
        if *origin != header.originator || state.signer(signer).is_none_or(|(agency, _)| agency != origin) {
            return Err(rule("a part comes from another origin"));
        }
    }
    object.grant.verify_once(&node_key(state, object.grant.node())?, keys.verified())?;
    object.audience.verify_once(&node_key(state, scope.node)?, object.audience.name(), keys.verified())?;
    let audience = keys.open_audience(&object.audience)?;
    let body = object.grant.open(&audience)?;
    if body.envelope != header.id || body.version != header.version || body.header_hash != object.envelope.hash() {
        return Err(rule("the grant is for another envelope"));
    }
    if body.label.originator != header.originator || body.label.audience() != body.agencies {
        return Err(rule("the grant's label and agencies disagree"));
    }
    if body.label.grade != scope.grade || body.label.compartments != scope.compartments {
        return Err(rule("the audience key is for another grade"));
    }
    if !body.agencies.contains(keys.agency()) {
        return Err(rule("this agency is not entitled to it"));
    }
    // Everybody who is named has a copy of the audience key, and nobody else.
    if !object.audience.agencies().eq(body.agencies.iter()) {
        return Err(rule("the audience key is for other agencies"));
    }
    if body.pull_checks.len() + 1 != body.agencies.len() || !body.agencies.iter().all(|a| state.agency(a).is_some()) {
        return Err(rule("its agencies are not those of the ledger"));
    }
    if body.label.grade > keys.ceiling() {
        return Err(rule("the grade is above this node's ceiling"));
    }
    // What was committed under another tier was marked rightly then. One that was lowered on the way keeps it from others, and is
    // no reason to lose what is the own agency's.
    let at = committed(state, &header.id, header.version).map(|c| c.index);
    let is_own = at.is_some() && header.originator == *keys.agency();
    let tier = state.agency(&header.originator).map(|a| a.tier_at(at.unwrap_or(u64::MAX)).marking_authority());
    if !is_own && tier.is_none_or(|t| body.label.grade > t) {
        return Err(rule("the label is above the originator's marking authority"));
    }
    let lawful = match &body.label.period {
        Some(period) => period.check(body.label.grade, header.created).is_ok(),
        None => body.label.grade.max_years().is_none(),
    };
    if !lawful {
        return Err(rule("its period is missing or over the legal maximum of its grade"));
    }
    if body.lower.iter().any(|(id, _)| *id == header.id || state.origin_of(id) != Some(&header.originator)) {
        return Err(rule("it names a lower envelope of another origin"));
    }
    if body.keys.len() != header.portions.len() {
        return Err(rule("a portion has no key"));
    }
    let opened = Opened { body, audience };
    for portion in 0..header.portions.len() {
        object.envelope.check_key(portion, &opened.data_key(object, portion)?)?;
    }
    Ok(opened)
}

/// Whether this agency's systems may take in what has this label, by the ceiling of now. What they held before a ceiling was
/// lowered stays held, and nobody reads it: it is not the object that is wrong.
pub(super) fn check_ceiling(keys: &Keys, state: &State, label: &Label) -> Result<(), VaultError> {
    let own = state.agency(keys.agency()).ok_or(VaultError::Rule("the own agency is not on the ledger"))?;
    match own.may_hold(label.grade, &label.compartments) {
        true => Ok(()),
        false => Err(VaultError::Rule("the label is above what this agency's systems may hold")),
    }
}

/// Whether a label that was checked a while ago still fits: its agencies stand and may hold it, its originator marks so high, and
/// its agreement is in force.
pub(super) fn check_label(
    state: &State,
    label: &Label,
    agreement: Option<&(AgreementId, u32)>,
) -> Result<(), VaultError> {
    let may_hold = |a: &AgencyId| state.agency(a).is_some_and(|s| s.may_hold(label.grade, &label.compartments));
    if !label.audience().iter().all(may_hold) {
        return Err(VaultError::Rule("an agency may not hold this label any more"));
    }
    if !label.release.iter().all(|a| state.stands(a)) {
        return Err(VaultError::Rule("an agency that it is for was suspended"));
    }
    if state.agency(&label.originator).is_none_or(|a| label.grade > a.tier().marking_authority()) {
        return Err(VaultError::Rule("the label is above the originator's marking authority"));
    }
    check_agreement(state, label, agreement, At { index: u64::MAX, time: state.time() })
}

/// When a version came on the ledger, or the position now if it has not.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) index: u64,
    /// Ledger time.
    pub(super) time: Millis,
}

/// Whether an agreement in force at the commit covers what was released to others, and the agency may have it: the
/// version that its originator saw, or a newer one signed meanwhile. That it has begun is asked at every reading.
pub(super) fn check_agreement(
    state: &State,
    label: &Label,
    agreement: Option<&(AgreementId, u32)>,
    at: At,
) -> Result<(), VaultError> {
    if label.release.is_empty() {
        return Ok(());
    }
    covering(state, label, agreement, at).map(|_| ())
}

/// The terms that cover a label at a commit.
pub(super) fn covering<'a>(
    state: &'a State,
    label: &Label,
    agreement: Option<&(AgreementId, u32)>,
    at: At,
) -> Result<&'a Terms, VaultError> {
    let (id, version) = agreement.ok_or(VaultError::Rule("it is released without an agreement"))?;
    let mut why = VaultError::Rule("its agreement was not in force");
    for signed in state.agreements_at(id, at.index, at.time) {
        match check_terms(&signed.terms, label, at) {
            Ok(()) if signed.terms.version >= *version => return Ok(&signed.terms),
            Ok(()) => {}
            Err(error) => why = error,
        }
    }
    Err(why)
}

fn check_terms(t: &Terms, label: &Label, at: At) -> Result<(), VaultError> {
    if !label.audience().is_subset(&t.parties) {
        return Err(VaultError::Rule("its agreement does not name these agencies"));
    }
    if !t.may_publish(&label.originator) {
        return Err(VaultError::Rule("its agreement goes in the other direction"));
    }
    if label.grade > t.grade || !label.compartments.is_subset(&t.compartments) {
        return Err(VaultError::Rule("its label is outside its agreement"));
    }
    if at.time >= t.end {
        return Err(VaultError::Rule("its agreement was over"));
    }
    Ok(())
}

fn node_key(state: &State, node: crate::domain::ids::NodeId) -> Result<crate::seal::PublicKey, VaultError> {
    state.signer(node).map(|(_, key)| *key).ok_or(VaultError::Rule("a signing node is unknown"))
}
