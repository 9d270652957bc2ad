//! Who may open a record now, and why not: the question that an originator has before and after it shares.
//!
//! Of other agencies this node knows what the ledger says: release list, standing, ceiling, agreement. Which of their people
//! are cleared is their own matter. Of the own people each is asked about as at the door of `open`. Nothing here says that
//! an agency's node keeps to it, or that it holds the record; `audit who-read` and `cluster status` are for that.

use super::core::Core;
use super::door::Caller;
use super::records::check_purpose;
use crate::audit::{Action as AuditAction, Stage};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, RecordId};
use crate::domain::label::Grade;
use crate::domain::person::Role;
use crate::domain::time::Millis;
use crate::ledger::State;
use crate::policy::{Action, Resource};
use crate::vault::{Card, Facts};

/// An agency, or a person of the own one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReachLine {
    /// Agency.
    pub agency: AgencyId,
    /// Name of a person of the own agency; none for the agency as a whole.
    pub who: Option<String>,
    /// Whether they may open it now.
    pub may: bool,
    /// The rule that says so: of an agency `originator`, `released`, `lattice:release`, `agency-suspended`, `ceiling`,
    /// `lattice:agreement` or `ledger-diverged`; of a person what `policy explain` names.
    pub rule: String,
}

/// Everybody that the person may know of.
#[derive(Debug)]
pub struct Reach {
    /// By agency, each followed by its people.
    pub lines: Vec<ReachLine>,
    /// Ledger index answered from.
    pub ledger_index: u64,
}

impl Core {
    /// Who may open the newest version of a record that is held here: for an own record every agency of the federation, for
    /// another's the own agency alone; of the own agency also each person.
    ///
    /// # Errors
    /// Refused without the role. To whoever may not know of the record it is absent; a security officer knows of every
    /// record that is held.
    pub async fn who_can(&self, caller: &Caller, record: RecordId, purpose: &str) -> Result<Reach, Fault> {
        check_purpose(purpose)?;
        let ledger_index = self.cluster.applied();
        let state = self.state();
        let found = self.find(&state, &record, 0);
        let own_log = Resource::Audit { agency: self.agency.clone() };
        let role = self.decide(caller, Action::RecordWhoCan, own_log, purpose, true);
        let watch = AuditAction::WhoCan;
        let (mut act, seen) = self.reading(caller, Action::RecordHistory, watch, (record, 0), found.as_ref(), purpose);
        act.action = Action::RecordWhoCan;
        // Nobody reads anything of it.
        act.origin = None;
        let watches = caller.person().roles.contains(&Role::SecurityOfficer) && found.is_some();
        let decision = if role.is_allow() && !watches && !seen.is_allow() { seen } else { role };
        let _logged = self.log(caller, &act, Stage::Single, &decision).await?;
        if let Some(fault) = decision.fault() {
            return Err(fault);
        }
        let Some(card) = found else { return Err(Fault::not_found()) };
        Ok(Reach { lines: self.reached(&state, &card, purpose), ledger_index })
    }

    fn reached(&self, state: &State, card: &Card, purpose: &str) -> Vec<ReachLine> {
        let (facts, now) = (card.facts.as_ref(), self.clock.now());
        let own_record = facts.label.originator == self.agency;
        let diverged = self.cluster.has_diverged() && facts.label.grade > Grade::Internal;
        let mut lines = Vec::new();
        for (agency, _) in state.agencies().filter(|(a, _)| own_record || **a == self.agency) {
            let (may, rule) = if diverged {
                // What is wrong here says nothing of others (P7).
                (false, "ledger-diverged")
            } else {
                reaches(state, facts, (agency, &self.agency), now)
            };
            lines.push(ReachLine { agency: agency.clone(), who: None, may, rule: rule.to_owned() });
            if *agency == self.agency {
                lines.extend(self.own_people(card, purpose));
            }
        }
        lines
    }

    /// Each person of the own agency, by name, as `open` would decide at this moment.
    fn own_people(&self, card: &Card, purpose: &str) -> Vec<ReachLine> {
        let line = |name: String| {
            let decision = self.may(&self.person_as_caller(&name)?, Action::RecordOpen, card, purpose);
            let (may, rule) = (decision.is_allow(), decision.rule().to_owned());
            Some(ReachLine { agency: self.agency.clone(), who: Some(name), may, rule })
        };
        self.directory.list().into_iter().filter_map(|person| line(person.name)).collect()
    }
}

/// Whether an agency's people may open it at all, as the ledger has it. The own node serves its own people what it holds, while
/// the agency is suspended too; to another that is suspended nothing is served.
fn reaches(state: &State, facts: &Facts, (agency, own): (&AgencyId, &AgencyId), now: Millis) -> (bool, &'static str) {
    let label = &facts.label;
    if *agency == label.originator {
        return (true, "originator");
    }
    if !label.release.contains(agency) {
        return (false, "lattice:release");
    }
    if agency != own && !state.stands(agency) {
        return (false, "agency-suspended");
    }
    if !state.agency(agency).is_some_and(|a| a.may_hold(label.grade, &label.compartments)) {
        return (false, "ceiling");
    }
    if !facts.covered(state, agency, now) {
        return (false, "lattice:agreement");
    }
    (true, "released")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
pub(super) mod tests {
    use super::*;
    use crate::domain::agreement::Terms;
    use crate::domain::label::{Label, Period};
    use crate::domain::record::Kind;
    use crate::ledger::fixture::{Agency, Federation, federation, suspended};
    use crate::ledger::{Act, Command, CommandReply, SignedAct, SignedBatch};

    const NOW: Millis = Millis(2_000_000);
    const END: Millis = Millis(9_000_000_000_000);

    /// Police's, for five years.
    pub(crate) fn label(grade: Grade, release: &[&str]) -> Label {
        Label {
            originator: "police".parse().unwrap(),
            grade,
            compartments: Default::default(),
            release: release.iter().map(|a| a.parse().unwrap()).collect(),
            caveats: Default::default(),
            period: Some(Period::Years(5)),
        }
    }

    /// The fixture's federation with `border-2026` of police and customs in force, up to secret.
    pub(crate) fn agreed() -> State {
        let f = federation();
        let mut state = State::genesis(&f.genesis).unwrap();
        let (kinds, start) = ([Kind::Report].into(), Millis(1_000_000));
        let terms =
            Terms { kinds, start, end: END, ..crate::ledger::fixture::terms("border-2026", &["police", "customs"]) };
        let act = Act::Agreement(terms);
        sign(&mut state, (&f, &f.police), 1, &act, 0);
        sign(&mut state, (&f, &f.customs), 2, &act, 0);
        state
    }

    /// An officer's act, brought by the agency's node as its batch of this number.
    fn sign(state: &mut State, (f, by): (&Federation, &Agency), n: u64, act: &Act, expected: u32) {
        let (handle, key) = &by.officers[0];
        let batch = SignedBatch {
            federation: f.id.clone(),
            node: by.node,
            incarnation: 1,
            sequence: n,
            not_after: 1_000,
            time: NOW,
            commands: vec![Command::Act(SignedAct::sign(&f.id, act, expected, END, *handle, key))],
        };
        let reply = state.apply_batch(n, &batch.seal(&by.node_key));
        assert!(matches!(reply.replies[..], [CommandReply::Done | CommandReply::Pending]), "{reply:?}");
    }

    fn of(state: &State, facts: &Facts, agency: &str, own: &str, now: Millis) -> (bool, &'static str) {
        reaches(state, facts, (&agency.parse().unwrap(), &own.parse().unwrap()), now)
    }

    #[test]
    fn every_term_keeps_an_agency_out_by_itself() {
        let state = agreed();
        let agreement = Some(("border-2026".parse().unwrap(), 1));
        let facts = |label: Label| Facts { label, agreement: agreement.clone(), lower: Vec::new() };
        let shared = facts(label(Grade::Secret, &["customs"]));
        let ask = |facts: &Facts, agency: &str| of(&state, facts, agency, "police", NOW);
        assert_eq!(ask(&shared, "police"), (true, "originator"));
        assert_eq!(ask(&shared, "customs"), (true, "released"));
        assert_eq!(ask(&shared, "cyberspace"), (false, "lattice:release"));
        assert_eq!(ask(&facts(label(Grade::TopSecret, &["customs"])), "customs"), (false, "ceiling"));
        let compartment = Label { compartments: ["border-ops".parse().unwrap()].into(), ..shared.label.clone() };
        assert_eq!(ask(&facts(compartment), "customs"), (false, "ceiling"));
        assert_eq!(ask(&facts(label(Grade::Secret, &["cyberspace"])), "cyberspace"), (false, "lattice:agreement"));
        assert_eq!(of(&state, &shared, "customs", "police", END), (false, "lattice:agreement"), "it is over");
        let none = Facts { agreement: None, ..facts(shared.label.clone()) };
        assert_eq!(ask(&none, "customs"), (false, "lattice:agreement"));
        // To one that is suspended nothing is served; its own node goes on with what it holds.
        let cut_off = suspended(&state, &"customs".parse().unwrap());
        assert_eq!(of(&cut_off, &shared, "customs", "police", NOW), (false, "agency-suspended"));
        assert_eq!(of(&cut_off, &shared, "customs", "customs", NOW), (true, "released"));
    }

    #[test]
    fn an_agreement_that_a_party_ended_keeps_everybody_out() {
        let mut state = agreed();
        let f = federation();
        let end = Act::EndAgreement { id: "border-2026".parse().unwrap(), reason: "演练结束".into() };
        sign(&mut state, (&f, &f.customs), 3, &end, 1);
        let agreement = Some(("border-2026".parse().unwrap(), 1));
        let shared = Facts { label: label(Grade::Secret, &["customs"]), agreement, lower: Vec::new() };
        assert_eq!(of(&state, &shared, "customs", "police", NOW), (false, "lattice:agreement"));
        assert_eq!(of(&state, &shared, "police", "police", NOW), (true, "originator"));
    }
}
