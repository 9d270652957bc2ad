//! Two agencies' vaults over one ledger: what the receiver refuses (column R of `docs/rules.md`), and what a failing
//! disk leaves.

mod bounds;
mod folding;
mod large;
mod proposals;
mod pulling;
mod pushing;
mod shared;
mod versions;

use super::*;
use crate::audit::{Action, Actor, AuditLog, Object, Stage};
use crate::domain::agency::Tier;
use crate::domain::agreement::Terms;
use crate::domain::ids::{AgencyId, Handle, NodeId, RecordId};
use crate::domain::label::{Grade, Label, Period};
use crate::domain::person::Role;
use crate::domain::record::{Kind, Meta};
use crate::domain::time::{At, Millis};
use crate::journal::{FaultDisk, Journal, JournalOptions, Leaves, System};
use crate::ledger::fixture::{signed_genesis, terms};
use crate::ledger::{
    Act, Authority, Command, CommandReply, Descriptor, NodeEntry, SignedAct, SignedBatch, State, node_id, origin_mark,
};
use crate::seal::{Counter, KeyRing, SigningKey, digest, month_of};
use std::collections::BTreeSet;
use std::sync::Arc;

const NOW: Millis = Millis(1_800_000_000_000);

struct Party {
    id: AgencyId,
    vault: Vault,
    node_key: SigningKey,
    officer: (Handle, SigningKey),
    descriptor: Descriptor,
    sequence: u64,
}

impl Party {
    fn new(id: &str, seed: u64, tier: Tier, ceiling: Grade, disk: FaultDisk) -> Party {
        let id: AgencyId = id.parse().unwrap();
        let ring = KeyRing::create(ceiling, &mut Counter::at(seed)).unwrap();
        let node_key = ring.signing_key().unwrap();
        let officers = [1u8, 2].map(|n| {
            let seed = digest("test.officer", &[id.as_str().as_bytes(), &[n]]);
            (Handle::from_bytes([seed[0]; 16]), SigningKey::from_seed(&seed).unwrap())
        });
        let [officer, second] = officers;
        let authority = |(handle, key): &(Handle, SigningKey)| Authority {
            handle: *handle,
            roles: [Role::SecurityOfficer].into(),
            key: key.public(),
        };
        let grades = Grade::ALL.into_iter().filter(|g| *g <= ceiling);
        let descriptor = Descriptor {
            agency: id.clone(),
            federation: "test".parse().unwrap(),
            name: id.to_string(),
            tier,
            ceiling,
            compartments: Default::default(),
            root: id.as_str().into(),
            nodes: vec![NodeEntry { local: "1".into(), key: node_key.public(), place: None }],
            grade_keys: grades.map(|g| ring.grade_public(g).unwrap()).collect(),
            authorities: vec![authority(&officer), authority(&second)],
        };
        let keys = Keys::new(id.clone(), "test".parse().unwrap(), node_id(&id, "1"), ring).unwrap();
        let journal = Journal::over(Arc::new(FaultDisk::default()), JournalOptions::default()).unwrap();
        let intake = Intake::over(journal, Arc::new(disk), Box::new(Counter::at(seed + 1))).unwrap();
        Party { id, vault: Vault::new(keys, intake), node_key, officer, descriptor, sequence: 0 }
    }

    fn apply(&mut self, state: &mut State, index: u64, command: Command) {
        self.sequence += 1;
        let batch = SignedBatch {
            federation: "test".parse().unwrap(),
            node: node_id(&self.id, "1"),
            incarnation: 1,
            sequence: self.sequence,
            not_after: 1000,
            time: NOW,
            commands: vec![command],
        };
        let reply = state.apply_batch(index, &batch.seal(&self.node_key));
        assert!(matches!(reply.replies[..], [CommandReply::Done | CommandReply::Pending]), "{reply:?}");
    }
}

/// Police (provincial, top-secret) and customs (secret) with an agreement up to secret, in force from index 10 on.
struct Two {
    police: Party,
    customs: Party,
    state: State,
}

fn two() -> Two {
    two_with(Tier::Provincial, FaultDisk::default())
}

fn border_terms() -> Terms {
    // Without fund: a kind that it does not cover.
    let kinds = Kind::ALL.into_iter().filter(|k| *k != Kind::Fund).collect();
    Terms { kinds, ..terms("border-2026", &["police", "customs"]) }
}

fn two_with(tier: Tier, customs_disk: FaultDisk) -> Two {
    let mut police = Party::new("police", 1 << 20, tier, Grade::TopSecret, FaultDisk::default());
    let mut customs = Party::new("customs", 1 << 40, Tier::Provincial, Grade::Secret, customs_disk);
    let founders = [&customs, &police].map(|p| (&p.descriptor, p.officer.0, &p.officer.1));
    let mut state = State::genesis(&signed_genesis(&founders)).unwrap();
    let month = month_of(NOW);
    let sealed = police.vault.keys().introduce(&state, &customs.id, month, &mut Counter::at(7)).unwrap();
    let to = customs.id.clone();
    police.apply(&mut state, 1, Command::Introduce { to, month, sealed });
    let terms = border_terms();
    for (n, party) in [&mut police, &mut customs].into_iter().enumerate() {
        let (handle, key) = &party.officer;
        let act = Act::Agreement(terms.clone());
        let act = SignedAct::sign(&"test".parse().unwrap(), &act, 0, Millis(u64::MAX), *handle, key);
        party.apply(&mut state, 9 + n as u64, Command::Act(act));
    }
    Two { police, customs, state }
}

fn draft(record: RecordId, grade: Grade, release: &[&str]) -> Draft {
    let label = Label {
        originator: "police".parse().unwrap(),
        grade,
        compartments: Default::default(),
        release: release.iter().map(|a| a.parse().unwrap()).collect(),
        caveats: Default::default(),
        period: grade.max_years().map(|_| Period::Years(10)),
    };
    let meta = Meta {
        title: "题".into(),
        kind: Kind::Report,
        issued: NOW,
        references: Vec::new(),
        reliability: None,
        credibility: None,
        legal_basis: String::new(),
        retain_until: None,
        author: "analyst".into(),
    };
    let agreement = Some(("border-2026".parse().unwrap(), 1)).filter(|_| !release.is_empty());
    let (texts, lower) = (vec!["正文".into()], Vec::new());
    Draft { record, version: 1, label, agreement, meta, texts, lower, request: None, content: None, proposal: None }
}

fn record(seed: u64) -> RecordId {
    let mark = origin_mark(&"test".parse().unwrap(), &"police".parse().unwrap());
    RecordId::new(NOW, mark, &mut Counter::at(seed))
}

impl Two {
    fn refusal(&self, prepared: Prepared) -> String {
        let id = prepared.object.envelope.header().id;
        let taken = block(self.customs.vault.accept(&self.state, prepared.object, NOW));
        assert!(self.customs.vault.records().is_empty(), "nothing of `{id}` may be held");
        taken.unwrap_err().to_string()
    }

    /// Customs has no such record, counts it as unopenable, and has a complaint to make.
    fn is_unopenable(&self, id: RecordId, why: &str) {
        assert!(self.customs.vault.records().is_empty());
        let owed = &self.customs.vault.owed()[&self.police.id];
        assert_eq!((owed.owed, owed.held, owed.missing.len()), (1, 0, 0));
        assert!(owed.unopenable[0].record == id && owed.unopenable[0].reason.contains(why), "{owed:?}");
        let refusals = self.customs.vault.refusals();
        assert!(refusals.len() == 1 && refusals[0].0 == (id, 1) && refusals[0].1.origin == self.police.id);
    }

    fn seal(&self, draft: Draft) -> Prepared {
        block(self.police.vault.prepare(&self.state, draft, NOW, &mut Counter::at(1 << 30))).unwrap()
    }

    fn committed(mut self, prepared: Prepared) -> (Two, SealedObject) {
        self.police.apply(&mut self.state, 20, prepared.command);
        (self, prepared.object)
    }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn a_good_object_is_held_once_committed_and_not_exposed_before() {
    let t = two();
    let id = record(1);
    let prepared = t.seal(draft(id, Grade::Secret, &["customs"]));
    block(t.customs.vault.accept(&t.state, prepared.object.clone(), NOW)).unwrap();
    assert!(t.customs.vault.card(&t.state, &id, 0).unwrap().is_none(), "not committed, not exposed");
    let (t, _) = t.committed(prepared);
    let held = t.customs.vault.held(&t.state, &id, 0, NOW).unwrap().unwrap();
    assert!(held.covered && held.label.grade == Grade::Secret);
    t.customs.vault.scan(&t.state, NOW, NOW);
    assert!(t.customs.vault.owed()[&t.police.id].missing.is_empty());
}

/// A proposal that a classifier approved months later, or that waited for a leader: its tags are of the month when it was sealed.
#[test]
fn what_waited_for_months_is_recognised() {
    let t = two();
    let id = record(14);
    let prepared = t.seal(draft(id, Grade::Secret, &["customs"]));
    let (t, _) = t.committed(prepared);
    let mut late = super::sync::committed(&t.state, &id, 1).unwrap().clone();
    let token = t.customs.vault.recognise(&t.state, &t.police.id, &id, &late);
    late.time = NOW.plus_ms(100 * 24 * 3_600_000);
    assert!(token.is_some() && t.customs.vault.recognise(&t.state, &t.police.id, &id, &late) == token);
}

/// The next version is pushed before its commitment is applied: it is not there yet, and not forgotten.
#[test]
fn a_version_that_comes_before_its_commitment_is_awaited() {
    let t = two();
    let id = record(13);
    let vault = &t.customs.vault;
    let first = t.seal(draft(id, Grade::Secret, &["customs"]));
    block(vault.accept(&t.state, first.object.clone(), NOW)).unwrap();
    assert!(vault.awaits_commitment(&t.state, &id));
    let (mut t, _) = t.committed(first);
    assert!(!t.customs.vault.awaits_commitment(&t.state, &id));
    let second = t.seal(Draft { version: 2, ..draft(id, Grade::Secret, &["customs"]) });
    block(t.customs.vault.accept(&t.state, second.object, NOW)).unwrap();
    assert_eq!(t.customs.vault.card(&t.state, &id, 0).unwrap().unwrap().version, 1, "not committed, not exposed");
    assert!(t.customs.vault.awaits_commitment(&t.state, &id));
    t.police.apply(&mut t.state, 21, second.command);
    assert_eq!(t.customs.vault.card(&t.state, &id, 0).unwrap().unwrap().version, 2);
    assert!(!t.customs.vault.awaits_commitment(&t.state, &id));
}

/// A dishonest police whose ledger says that customs may hold top-secret seals for a key that customs has not.
#[test]
fn r_a_forged_envelope_above_the_ceiling_is_refused() {
    let t = two();
    let mut lying = Party::new("customs", 1 << 41, Tier::Provincial, Grade::TopSecret, FaultDisk::default());
    lying.descriptor.grade_keys[..3].clone_from_slice(&t.customs.descriptor.grade_keys);
    let founders = [&lying, &t.police].map(|p| (&p.descriptor, p.officer.0, &p.officer.1));
    let mut state = State::genesis(&signed_genesis(&founders)).unwrap();
    let month = month_of(NOW);
    let sealed = t.police.vault.keys().introduce(&state, &t.customs.id, month, &mut Counter::at(8)).unwrap();
    let mut police = Party::new("police", 1 << 20, Tier::Provincial, Grade::TopSecret, FaultDisk::default());
    police.apply(&mut state, 1, Command::Introduce { to: t.customs.id.clone(), month, sealed });
    let forged = draft(record(2), Grade::TopSecret, &["customs"]);
    let forged = block(police.vault.prepare(&state, forged, NOW, &mut Counter::at(9))).unwrap();
    assert_eq!(t.refusal(forged), "refused: the grade is above this node's ceiling");
}

#[test]
fn r_a_label_above_the_originators_marking_authority_is_refused() {
    // A county agency marks nothing secret; its own node was made not to care.
    let t = two_with(Tier::County, FaultDisk::default());
    let prepared = t.seal(draft(record(3), Grade::Secret, &["customs"]));
    assert_eq!(t.refusal(prepared), "refused: the label is above the originator's marking authority");
}

#[test]
fn r_periods_are_checked() {
    let t = two();
    let mut long = draft(record(4), Grade::Secret, &["customs"]);
    long.label.period = Some(Period::Years(21));
    let mut none = draft(record(5), Grade::Secret, &["customs"]);
    none.label.period = None;
    for bad in [long, none] {
        assert!(t.refusal(t.seal(bad)).contains("period"), "over the maximum or missing");
    }
}

#[test]
fn r_an_agreement_in_force_at_the_commitment_must_cover_it() {
    let none = |d: &mut Draft| d.agreement = None;
    let other = |d: &mut Draft| d.agreement = Some(("other-2026".parse().unwrap(), 1));
    let version = |d: &mut Draft| d.agreement = Some(("border-2026".parse().unwrap(), 2));
    for spoil in [none as fn(&mut Draft), other, version] {
        let t = two();
        let id = record(6);
        let mut bad = draft(id, Grade::Secret, &["customs"]);
        spoil(&mut bad);
        let prepared = t.seal(bad);
        // Before its commitment: its agreement may be on its way, so nobody is blamed, and nothing is held.
        assert!(
            t.refusal(Prepared { object: prepared.object.clone(), command: prepared.command.clone() })
                .contains("not yet")
        );
        assert!(t.customs.vault.refusals().is_empty());
        let (t, object) = t.committed(prepared);
        t.customs.vault.scan(&t.state, NOW, NOW);
        assert!(block(t.customs.vault.accept(&t.state, object, NOW)).is_err());
        t.is_unopenable(id, "agreement");
    }
}

/// The ledger shows of two records to the same agencies nothing that they share (P13).
#[test]
fn tags_link_no_two_records() {
    let t = two();
    let tags = |seed: u64| {
        let mut entropy = Counter::at((3 << 32) + (seed << 20));
        let d = draft(record(40 + seed), Grade::Secret, &["customs"]);
        let Command::Commit { tags, commitment, grant, .. } =
            block(t.police.vault.prepare(&t.state, d, NOW, &mut entropy)).unwrap().command
        else {
            unreachable!()
        };
        (tags, commitment, grant)
    };
    let (one, other) = (tags(1), tags(2));
    assert!(one.0.len() == 4 && one.0.iter().all(|t| !other.0.contains(t)), "one true tag each, and padding");
    assert!(one.1 != other.1 && one.2 != other.2);
}

#[test]
fn r_an_agreement_counts_in_its_direction() {
    let terms = |publishers: &[&str]| Terms {
        id: "one-way".parse().unwrap(),
        publishers: publishers.iter().map(|a| a.parse().unwrap()).collect(),
        ..border_terms()
    };
    for (publishers, taken) in [(&["police"][..], true), (&["customs"], false)] {
        let mut t = two();
        for (n, party) in [&mut t.police, &mut t.customs].into_iter().enumerate() {
            let act = Act::Agreement(terms(publishers));
            let (handle, key) = &party.officer;
            let act = SignedAct::sign(&"test".parse().unwrap(), &act, 0, Millis(u64::MAX), *handle, key);
            party.apply(&mut t.state, 12 + n as u64, Command::Act(act));
        }
        let mut d = draft(record(18), Grade::Secret, &["customs"]);
        d.agreement = Some(("one-way".parse().unwrap(), 1));
        let (t, object) = {
            let prepared = t.seal(d);
            t.committed(prepared)
        };
        assert_eq!(block(t.customs.vault.accept(&t.state, object, NOW)).is_ok(), taken);
    }
}

/// The agreement ends between the push and the commitment: what was held aside is never exposed.
#[test]
fn r_an_agreement_that_ended_before_the_commitment_covers_nothing() {
    let mut t = two();
    let id = record(14);
    let prepared = t.seal(draft(id, Grade::Secret, &["customs"]));
    block(t.customs.vault.accept(&t.state, prepared.object.clone(), NOW)).unwrap();
    let (handle, key) = &t.police.officer;
    let end = Act::EndAgreement { id: "border-2026".parse().unwrap(), reason: "演练结束".into() };
    let end = SignedAct::sign(&"test".parse().unwrap(), &end, 1, Millis(u64::MAX), *handle, key);
    t.police.apply(&mut t.state, 15, Command::Act(end));
    assert!(t.police.vault.recommit(&t.state, &id, 1, NOW, &mut Counter::at(3)).is_err(), "nor is it proposed again");
    let (t, _) = t.committed(prepared);
    t.customs.vault.scan(&t.state, NOW, NOW);
    assert!(t.customs.vault.card(&t.state, &id, 0).is_err());
    assert!(t.customs.vault.held(&t.state, &id, 0, NOW).unwrap().is_none(), "set aside");
    t.is_unopenable(id, "agreement");
    // At its originator's it was acknowledged, and is not lost.
    assert!(t.police.vault.card(&t.state, &id, 0).unwrap().is_some());
    assert!(t.police.vault.held(&t.state, &id, 0, NOW).unwrap().is_some());
}

/// What no commitment comes for stays on the disk: it has a bound for each version.
#[test]
fn r_copies_that_wait_for_a_commitment_are_bounded() {
    let t = two();
    let id = record(15);
    let copy = |seed: u64| {
        let mut entropy = Counter::at((1 << 32) + (seed << 20));
        block(t.police.vault.prepare(&t.state, draft(id, Grade::Secret, &["customs"]), NOW, &mut entropy)).unwrap()
    };
    for n in 0..8 {
        block(t.customs.vault.accept(&t.state, copy(n).object, NOW)).unwrap();
    }
    let ninth = copy(8);
    let refused = block(t.customs.vault.accept(&t.state, ninth.object.clone(), NOW)).unwrap_err();
    assert!(matches!(refused, VaultError::NotYet(_)), "{refused}");
    // The one that the ledger commits to is taken all the same.
    let (t, object) = t.committed(ninth);
    block(t.customs.vault.accept(&t.state, object, NOW)).unwrap();
    assert!(t.customs.vault.card(&t.state, &id, 0).unwrap().is_some());
}

/// However few they are, they are bounded in bytes, for each originator by itself; one that was not taken in the end is not
/// counted again and again.
#[test]
fn r_what_waits_for_a_commitment_is_bounded_in_bytes() {
    let t = two();
    let vault = &t.customs.vault;
    let aside = |origin: &Party, n: u64| vault.put_aside(&origin.id, (record(n), 1), 400 << 20).is_ok();
    for _ in 0..5 {
        assert!(aside(&t.police, 1));
    }
    assert!(aside(&t.police, 2) && !aside(&t.police, 3));
    assert!(aside(&t.customs, 3), "another's is counted by itself");
}

/// The kind is sealed: it shows only when the index opens the text, and then the record is as if it never came.
#[test]
fn r_a_kind_outside_the_agreement_is_refused_when_it_is_opened() {
    let t = two();
    let id = record(11);
    let mut bad = draft(id, Grade::Secret, &["customs"]);
    bad.meta.kind = Kind::Fund;
    let prepared = t.seal(bad);
    let (t, object) = t.committed(prepared);
    let vault = &t.customs.vault;
    vault.scan(&t.state, NOW, NOW);
    block(vault.accept(&t.state, object.clone(), NOW)).unwrap();
    vault.scan(&t.state, NOW, NOW);
    assert_eq!(vault.owed()[&t.police.id].held, 1);
    let held = vault.held(&t.state, &id, 0, NOW).unwrap().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let error = block(async {
        let audit = AuditLog::open(&System, dir.path()).unwrap();
        let mut event = crate::audit::fixture::draft(1);
        (event.action, event.stage) = (Action::Index, Stage::Single);
        event.actor = Actor::Node { agency: t.customs.id.clone(), node: node_id(&t.customs.id, "1") };
        (event.origin, event.object) = (None, Object::Query { hash: [0; 32], disclosed: vec![(id, 1)] });
        let receipts = audit.record(vec![event]).await.unwrap();
        vault.text_for_index(&held, &receipts[0]).err().unwrap()
    });
    assert_eq!(error.to_string(), "refused: its kind is outside its agreement");
    vault.refuse_held(&t.state, &held, &error);
    t.is_unopenable(id, "kind");
    // The same envelope is not taken again, from whoever it comes.
    assert!(block(vault.accept(&t.state, object, NOW)).is_err());
    t.is_unopenable(id, "kind");
}

/// A spoilt copy is complained of once, and forgotten when a good one arrives.
#[test]
fn r_a_complaint_stands_until_a_good_copy_is_here() {
    let t = two();
    let id = record(12);
    let prepared = t.seal(draft(id, Grade::Secret, &["customs"]));
    let (t, object) = t.committed(prepared);
    let vault = &t.customs.vault;
    vault.scan(&t.state, NOW, NOW);
    let mut grant = object.grant.to_bytes();
    let last = grant.len() - 1;
    grant[last] ^= 1;
    let (envelope, audience) = (object.envelope.to_bytes(), object.audience.to_bytes());
    let spoilt = SealedObject::from_parts(&envelope, &grant, &audience).unwrap();
    assert!(block(vault.accept(&t.state, spoilt, NOW)).is_err());
    vault.scan(&t.state, NOW, NOW);
    t.is_unopenable(id, "");
    let mut told = Complained::default();
    let left = told.left(vault.refusals());
    assert_eq!(left.len(), 1);
    told.told(left[0].0, &left[0].1);
    assert!(told.left(vault.refusals()).is_empty(), "once");
    block(vault.accept(&t.state, object, NOW)).unwrap();
    vault.scan(&t.state, NOW, NOW);
    assert!(vault.refusals().is_empty());
    let owed = &vault.owed()[&t.police.id];
    assert_eq!((owed.held, owed.unopenable.len()), (1, 0));
}

#[test]
fn r_what_the_ledger_did_not_commit_is_refused() {
    let t = two();
    let first = t.seal(draft(record(7), Grade::Secret, &["customs"]));
    let again = block(t.police.vault.prepare(
        &t.state,
        draft(record(7), Grade::Secret, &["customs"]),
        NOW,
        &mut Counter::at(1 << 31),
    ));
    let (t, _) = t.committed(first);
    assert_eq!(t.refusal(again.unwrap()), "refused: the ledger committed something else");
}

#[test]
fn r_a_record_of_another_origin_is_refused() {
    let t = two();
    let foreign = RecordId::new(NOW, origin_mark(&"test".parse().unwrap(), &t.customs.id), &mut Counter::at(8));
    let prepared = t.seal(draft(foreign, Grade::Secret, &["customs"]));
    assert_eq!(t.refusal(prepared), "refused: the record id carries another origin");
    let mut named = draft(record(9), Grade::Secret, &["customs"]);
    named.lower = vec![(foreign, 1)];
    assert_eq!(t.refusal(t.seal(named)), "refused: it names a lower envelope of another origin");
}

#[test]
fn r_no_flipped_byte_on_the_wire_is_ever_exposed() {
    let t = two();
    let id = record(10);
    let prepared = t.seal(draft(id, Grade::Secret, &["customs"]));
    let object = prepared.object.clone();
    let parts = [object.envelope.to_bytes(), object.grant.to_bytes(), object.audience.to_bytes()];
    // Every byte of the grant, and every seventh of the larger parts.
    for (part, step) in [(0, 7), (1, 1), (2, 7)] {
        for at in (0..parts[part].len()).step_by(step) {
            let mut bytes = parts.clone();
            bytes[part][at] ^= 0x20;
            let [envelope, grant, audience] = &bytes;
            let Ok(object) = SealedObject::from_parts(envelope, grant, audience) else { continue };
            let commitments = (object.envelope.commitment(), object.grant.commitment());
            let taken = block(t.customs.vault.accept(&t.state, object, NOW));
            // The blinds are under no signature. With another one it is not what the ledger commits to: set aside.
            let other = commitments != (prepared.object.envelope.commitment(), prepared.object.grant.commitment());
            assert!(taken.is_err() || other, "part {part}, byte {at}");
        }
    }
    // None of them stands in the way of the true one, before or after the commitment.
    let (t, _) = t.committed(prepared);
    assert!(t.customs.vault.card(&t.state, &id, 0).unwrap().is_none());
    block(t.customs.vault.accept(&t.state, object.clone(), NOW)).unwrap();
    let held = t.customs.vault.held(&t.state, &id, 0, NOW).unwrap().unwrap();
    assert_eq!(held.parts(), (object.envelope.to_bytes(), object.grant.to_bytes(), object.audience.to_bytes()));
}

/// Every changing operation on the body files fails in turn, in both ways: what was acknowledged is there after a
/// power cut, what failed was answered as failed, and nothing is taken in any more.
#[test]
fn what_was_taken_survives_every_failure_of_the_body_files() {
    let t = two();
    let objects: Vec<_> =
        (0..3).map(|n| t.seal(draft(record(100 + n), Grade::Internal, &["customs"])).object).collect();
    let take = |object: &SealedObject| Take {
        object: object.clone(),
        pull_checks: Vec::new(),
        request: None,
        content: None,
        proposal: None,
        apart: None,
        at: NOW,
    };
    let mut ran = 0;
    for (fail, leaves) in (0..).flat_map(|n| [(n, Leaves::Nothing), (n, Leaves::Everything)]) {
        let (bodies, frames) = (FaultDisk::default(), FaultDisk::default());
        bodies.fail_at(fail, leaves);
        let open = |frames: FaultDisk, bodies: FaultDisk| {
            let journal = Journal::over(Arc::new(frames), JournalOptions::default()).unwrap();
            Intake::over(journal, Arc::new(bodies), Box::new(Counter::at(fail)))
        };
        let mut acknowledged = Vec::new();
        let mut failed = true;
        if let Ok(intake) = open(frames.clone(), bodies.clone()) {
            let answers: Vec<_> = objects.iter().map(|o| block(intake.take(take(o))).is_ok()).collect();
            assert!(answers.is_sorted_by(|a, b| a >= b), "after a failure nothing is taken: {answers:?}");
            failed = answers.contains(&false);
            acknowledged = objects.iter().zip(answers).filter(|(_, ok)| *ok).map(|(o, _)| o).collect();
        }
        let intake = open(frames.after_power_cut(), bodies.after_power_cut()).unwrap();
        for object in acknowledged {
            let header = object.envelope.header();
            let entry = intake.first(&header.id, header.version).expect("acknowledged");
            assert_eq!(intake.load(&entry).unwrap().envelope, object.envelope);
        }
        // What is known is readable, acknowledged or not, and it goes on.
        for (id, version) in intake.all() {
            for entry in intake.entries(&id, version) {
                intake.load(&entry).unwrap();
            }
        }
        block(intake.take(take(&objects[2]))).unwrap();
        ran += 1;
        if !failed {
            break;
        }
    }
    // Two for the shred file's and segment's creation, one of the directory, two for the keys of all objects, two for each
    // object; each in two ways.
    assert!(ran > 2 * (3 + 2 + 2 * 3), "{ran}");
}

/// What the ledger has is looked at no more, and the next version of it all the same.
#[test]
fn what_the_ledger_lacks_is_found_however_often_it_was_looked_for() {
    let t = two();
    let (id, other) = (record(90), record(91));
    let looked = |t: &Two| BTreeSet::from_iter(t.police.vault.uncommitted(&t.state));
    let first = t.seal(draft(id, Grade::Secret, &["customs"]));
    let _other = t.seal(draft(other, Grade::Secret, &["customs"]));
    assert_eq!(looked(&t), BTreeSet::from([(id, 1), (other, 1)]));
    assert_eq!(looked(&t), BTreeSet::from([(id, 1), (other, 1)]), "they wait for as long as they are not there");
    let (t, _) = t.committed(first);
    assert_eq!(looked(&t), BTreeSet::from([(other, 1)]));
    let _second = t.seal(Draft { version: 2, ..draft(id, Grade::Secret, &["customs"]) });
    assert_eq!(looked(&t), BTreeSet::from([(id, 2), (other, 1)]));
}
