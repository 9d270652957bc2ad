#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::*;
use super::{built_in, decision};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::AgencyId;
use crate::domain::label::{Clearance, Grade, Label};
use crate::domain::limits;
use crate::domain::person::Role;
use std::collections::BTreeSet;
use std::path::Path;

fn agency(name: &str) -> AgencyId {
    name.parse().unwrap()
}

fn subject(roles: &[Role]) -> Subject {
    Subject {
        agency: agency("customs"),
        name: "analyst".to_owned(),
        roles: roles.iter().copied().collect(),
        clearance: Clearance { agency: agency("customs"), grade: Grade::Secret, compartments: BTreeSet::new() },
        suspended: false,
    }
}

/// A customs analyst opens a police record that is shared with customs.
fn open() -> Question {
    let label = Label {
        originator: agency("police"),
        grade: Grade::Secret,
        compartments: BTreeSet::new(),
        release: BTreeSet::from([agency("customs")]),
        caveats: BTreeSet::new(),
        period: None,
    };
    Question {
        subject: subject(&[Role::Analyst]),
        action: Action::RecordOpen,
        resource: Resource::Record { label, own: false },
        purpose: "case 7".to_owned(),
        agreement_covers: true,
        in_scope: true,
    }
}

fn rule(q: &Question) -> String {
    Engine::built_in().unwrap().decide(q).rule().to_owned()
}

fn load(text: &str) -> Result<Engine, PolicyError> {
    Engine::load(&[("one.cedar", text)], built_in::SCHEMA)
}

#[test]
fn every_term_of_the_lattice_denies_by_itself() {
    assert_eq!(rule(&open()), "permit-reading");
    assert_eq!(rule(&Question { agreement_covers: false, ..open() }), "lattice:agreement");
    assert_eq!(rule(&Question { in_scope: false, ..open() }), "lattice:scope");
    let mut q = open();
    q.subject.clearance.grade = Grade::Confidential;
    assert_eq!(rule(&q), "lattice:grade");
    let mut q = open();
    q.subject.clearance.agency = agency("police");
    assert_eq!(rule(&q), "lattice:subject", "a clearance of another agency is no clearance");
}

/// What Cedar is told of two questions that differ is two things; what it is not told makes no difference.
#[test]
fn an_answer_is_remembered_for_the_very_same_question() {
    let engine = Engine::built_in().unwrap();
    let label = |change: fn(&mut Label)| {
        let mut q = open();
        let Resource::Record { label, .. } = &mut q.resource else { panic!("a record") };
        change(label);
        q
    };
    let person = |change: fn(&mut Subject)| {
        let mut q = open();
        change(&mut q.subject);
        q
    };
    let all = [
        open(),
        Question { action: Action::RecordHistory, ..open() },
        Question { purpose: String::new(), ..open() },
        Question { purpose: "long ".repeat(limits::PURPOSE_CHARS), ..open() },
        label(|l| l.originator = agency("cyberspace")),
        label(|l| l.grade = Grade::Internal),
        label(|l| l.caveats.extend([crate::domain::label::Caveat::Orcon])),
        label(|l| l.caveats.extend([crate::domain::label::Caveat::TwoHalves])),
        person(|s| s.name = "another".to_owned()),
        person(|s| s.roles.extend([Role::SecurityOfficer])),
        person(|s| s.clearance.grade = Grade::TopSecret),
        person(|s| s.suspended = true),
        Question { resource: Resource::None, ..open() },
        Question { resource: Resource::Agency(agency("customs")), ..open() },
        Question { resource: Resource::Audit { agency: agency("customs") }, ..open() },
    ];
    let names: BTreeSet<[u8; 32]> = all.iter().map(super::cedar::name).collect();
    assert_eq!(names.len(), all.len());
    for q in all.iter().chain(&all) {
        assert_eq!(engine.decide(q), Engine::built_in().unwrap().decide(q), "{q:?}");
    }
    assert_eq!(super::cedar::name(&Question { purpose: "case 8".to_owned(), ..open() }), super::cedar::name(&open()));
}

#[test]
fn a_false_claim_of_ownership_is_not_believed() {
    let mut q = Question { agreement_covers: false, ..open() };
    let Resource::Record { own, .. } = &mut q.resource else { panic!("a record") };
    *own = true;
    assert_eq!(rule(&q), "lattice:agreement");
}

#[test]
fn a_denied_read_looks_like_absence_and_a_denied_act_does_not() {
    let engine = Engine::built_in().unwrap();
    let read = engine.decide(&Question { in_scope: false, ..open() });
    let role = engine.decide(&Question { subject: subject(&[Role::Operator]), ..open() });
    for decision in [&read, &role] {
        let fault = decision.fault().unwrap();
        assert_eq!(fault.kind, FaultKind::NotFound);
        assert_eq!(fault, crate::domain::fault::Fault::not_found());
    }
    let act = engine.decide(&Question { action: Action::AgreementSign, resource: Resource::None, ..open() });
    assert_eq!(act.rule(), "agreement-needs-security-officer");
    assert_eq!(act.fault().unwrap().kind, FaultKind::Refused);
    assert_eq!(engine.decide(&open()).fault(), None);
}

#[test]
fn the_purpose_has_one_to_two_hundred_characters() {
    let of = |purpose: String| rule(&Question { purpose, ..open() });
    assert_eq!(of(String::new()), "purpose-missing");
    assert_eq!(of(" \t\u{3000}".to_owned()), "purpose-missing");
    assert_eq!(of("案".repeat(limits::PURPOSE_CHARS)), "permit-reading");
    assert_eq!(of("案".repeat(limits::PURPOSE_CHARS + 1)), "purpose-too-long");
}

#[test]
fn the_first_policy_in_reading_order_names_the_denial() {
    let mut q = Question { subject: subject(&[Role::Operator]), purpose: String::new(), ..open() };
    assert_eq!(rule(&q), "content-no-operator");
    q.subject.suspended = true;
    assert_eq!(rule(&q), "person-suspended");
}

#[test]
fn a_policy_that_errors_denies_though_cedar_would_skip_it() {
    // Valid types, but the product overflows for any purpose of two characters or more.
    let engine = load(
        "@id(\"yes\") permit (principal, action, resource);\n\
         @id(\"broken\") forbid (principal, action, resource)\n\
         when { context.purposeChars * 9223372036854775807 < 0 };",
    )
    .unwrap();
    let whole = Question { action: Action::ClusterStatus, resource: Resource::None, ..open() };
    let denied = engine.decide(&whole);
    assert_eq!(denied, Decision::Deny { rule: decision::ERROR.to_owned(), kind: DenyKind::Broken });
    assert_eq!(engine.explain(&whole).errors.len(), 1);
    // Reading must not show by its error that the record exists.
    assert_eq!(engine.decide(&open()), Decision::Deny { rule: decision::ERROR.to_owned(), kind: DenyKind::Hidden });
    // Not broken where it does not overflow: the denial above came from the error.
    assert!(engine.decide(&Question { purpose: "x".to_owned(), ..whole }).is_allow());
}

#[test]
fn a_question_outside_the_schema_is_denied() {
    let engine = load("@id(\"yes\") permit (principal, action, resource);").unwrap();
    let odd = Question { action: Action::AuditExport, resource: Resource::None, ..open() };
    assert_eq!(engine.decide(&odd).rule(), decision::ERROR);
    let odd = Question { resource: Resource::None, ..open() };
    assert_eq!(engine.decide(&odd).rule(), decision::ERROR, "opening nothing in particular is no question");
}

#[test]
fn what_no_policy_permits_is_denied() {
    let engine = load("@id(\"only\") permit (principal, action == Action::\"bench\", resource);").unwrap();
    assert_eq!(engine.decide(&open()).rule(), decision::NO_PERMIT);
}

#[test]
fn unfit_sets_are_refused() {
    let refused = |text: &str| load(text).unwrap_err();
    assert!(matches!(refused("permit (principal, action, resource);"), PolicyError::NoId { .. }));
    assert!(matches!(refused("@id(\"Bad Id\") permit (principal, action, resource);"), PolicyError::NoId { .. }));
    assert!(matches!(refused("@id(\"aa\") permit (principal, action"), PolicyError::Parse { .. }));
    assert!(matches!(
        refused("@id(\"aa\") permit (principal == ?principal, action, resource);"),
        PolicyError::Template { .. }
    ));
    assert!(matches!(refused("// nothing"), PolicyError::Empty));
    let twice = "@id(\"aa\") permit (principal, action, resource);\n@id(\"aa\") forbid (principal, action, resource);";
    assert!(matches!(refused(twice), PolicyError::DuplicateId { .. }));
    for (wrong, why) in [
        ("@id(\"aa\") permit (principal, action, resource) when { principal.rank > 1 };", "unknown attribute"),
        ("@id(\"aa\") permit (principal, action, resource) when { principal in Role::\"chef\" };", "unknown role"),
        ("@id(\"aa\") permit (principal, action == Action::\"record-burn\", resource);", "unknown action"),
        ("@id(\"aa\") permit (principal, action, resource) when { context.purposeChars == \"x\" };", "types"),
        ("@id(\"aa\") forbid (principal, action, resource) when { false };", "can never apply"),
    ] {
        assert!(matches!(refused(wrong), PolicyError::Invalid(_)), "{why}");
    }
    let one = ("one.cedar", "@id(\"aa\") permit (principal, action, resource);");
    assert!(matches!(Engine::load(&[one, one], built_in::SCHEMA), Err(PolicyError::DuplicateFile(_))));
    assert!(matches!(Engine::load(&[one], "entity Person"), Err(PolicyError::Schema(_))));
}

#[test]
fn an_invalid_set_denies_everything() {
    let (engine, error) = Engine::load_or_deny_all(&[("a.cedar", "nonsense")], built_in::SCHEMA);
    assert!(matches!(error, Some(PolicyError::Parse { .. })));
    assert!(engine.set().denies_all().is_some());
    for action in Action::ALL {
        let decision = engine.decide(&Question { action: *action, resource: Resource::None, ..open() });
        assert_eq!(decision, Decision::Deny { rule: decision::DENY_ALL.to_owned(), kind: DenyKind::Broken });
    }
    assert_eq!(engine.decide(&open()).fault(), Some(crate::domain::fault::Fault::not_found()));
    let (engine, error) = Engine::built_in_or_deny_all();
    assert!(error.is_none() && engine.decide(&open()).is_allow());
}

#[test]
fn the_hash_names_the_set_whatever_the_order_of_files() {
    let a = ("a.cedar", "@id(\"aa\") permit (principal, action, resource);");
    let b = ("b.cedar", "@id(\"bb\") forbid (principal, action, resource);");
    let hash = |files: &[(&str, &str)], schema: &str| PolicySet::load(files, schema).unwrap().hash();
    let both = hash(&[a, b], built_in::SCHEMA);
    assert_eq!(both, hash(&[b, a], built_in::SCHEMA));
    assert_ne!(both, hash(&[a], built_in::SCHEMA));
    assert_ne!(both, hash(&[a, ("c.cedar", b.1)], built_in::SCHEMA));
    assert_ne!(both, hash(&[a, b], &format!("{}\n", built_in::SCHEMA)));
    assert_ne!(both, PolicySet::deny_all("x").hash());
}

#[test]
fn an_explanation_agrees_with_the_decision_and_shows_its_grounds() {
    let engine = Engine::built_in().unwrap();
    let q = Question { subject: subject(&[Role::Analyst, Role::SecurityOfficer]), purpose: String::new(), ..open() };
    let why = engine.explain(&q);
    assert_eq!(why.decision, engine.decide(&q));
    assert_eq!(why.decision.rule(), "content-no-security-officer");
    let applying: Vec<&str> =
        why.cedar.iter().filter(|c| c.verdict == CedarVerdict::Applies).map(|c| c.id.as_str()).collect();
    assert_eq!(applying, ["content-no-security-officer", "purpose-missing", "permit-reading"]);
    assert!(why.lattice.iter().all(|s| s.outcome == StepOutcome::Passed));

    let mut q = open();
    q.subject.clearance.grade = Grade::Internal;
    let why = engine.explain(&q);
    assert_eq!(why.decision.rule(), "lattice:grade");
    let outcomes: Vec<StepOutcome> = why.lattice.iter().map(|s| s.outcome).collect();
    assert_eq!(outcomes[0], StepOutcome::Passed);
    assert_eq!(outcomes[1], StepOutcome::Failed);
    assert!(outcomes[2..].iter().all(|o| *o == StepOutcome::NotReached));
}

#[test]
fn names_of_actions_round_trip_and_stand_in_the_schema() {
    let engine = load("@id(\"yes\") permit (principal, action, resource);").unwrap();
    for action in Action::ALL {
        assert_eq!(action.as_str().parse::<Action>().unwrap(), *action);
        assert_eq!(serde_json::to_string(action).unwrap(), format!("\"{action}\""));
        let Resource::Record { label, .. } = open().resource else { panic!("a record") };
        let resources = [
            Resource::None,
            Resource::Record { label, own: false },
            Resource::Audit { agency: agency("customs") },
            Resource::Agency(agency("customs")),
        ];
        let fits = resources.into_iter().filter(|r| {
            let q = Question { action: *action, resource: r.clone(), ..open() };
            super::cedar::translate(&q, &schema(&engine)).is_ok()
        });
        assert!(fits.count() > 0, "the schema does not know {action}");
    }
    assert!("record-burn".parse::<Action>().is_err());
}

fn schema(engine: &Engine) -> cedar_policy::Schema {
    match &engine.set().state {
        super::set::State::Valid(valid) => valid.schema.clone(),
        super::set::State::DenyAll(reason) => panic!("{reason}"),
    }
}

#[test]
fn every_policy_file_is_built_in() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut there: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.ends_with(".cedar"))
        .collect();
    there.sort();
    let built: Vec<&str> = built_in::FILES.iter().map(|(n, _)| *n).collect();
    assert_eq!(there, built);
}

#[test]
fn the_cases_of_the_folder_pass_and_are_the_built_in_set() {
    let report = check_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).unwrap();
    let failed: Vec<_> = report.failed().collect();
    assert!(report.passed(), "{failed:#?}");
    assert!(report.cases.len() >= 30, "{} cases", report.cases.len());
    let hash = data_encoding::HEXLOWER.encode(&PolicySet::built_in().unwrap().hash());
    assert_eq!(report.policy_set, hash);
}

#[test]
fn a_wrong_case_is_reported_and_a_malformed_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(check_built_in(dir.path()), Err(PolicyError::NoCases(_))));
    let case = r#"{"name": "n", "question": {"subject": {"agency": "customs", "name": "x", "grade": "internal"},
        "action": "cluster-status", "resource": {"kind": "none"}}, "expect": "deny", "reason": "policy:no-permit"}"#;
    std::fs::write(dir.path().join("a.json"), case).unwrap();
    // The built-in set is no silent stand-in for one that is not there.
    assert!(matches!(check_dir(dir.path()), Err(PolicyError::NoSchema(_))));
    let fault = Fault::from(check_dir(dir.path()).unwrap_err());
    assert!(fault.kind == FaultKind::Usage && fault.message.contains("schema.cedarschema"), "{fault:?}");
    let report = check_built_in(dir.path()).unwrap();
    assert!(!report.passed());
    assert_eq!(report.cases[0].actual, "allow permit-everyone");
    std::fs::write(dir.path().join("a.json"), case.replace("\"grade\"", "\"rank\"")).unwrap();
    assert!(matches!(check_built_in(dir.path()), Err(PolicyError::Case { .. })));
    assert!(matches!(check_dir(&dir.path().join("absent")), Err(PolicyError::Io { .. })));
}
