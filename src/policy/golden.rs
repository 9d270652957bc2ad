//! The golden decision table: persona × action × label class, one line each, read as a diff.
//!
//! `tests/golden/decisions.txt` is compared line by line. Run with `HUFU_BLESS=1` to rewrite it, and review
//! the difference: each changed line is a person who may do something else than before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::built_in;
use super::{Action, Decision, Engine, Flow, Question, Resource, Subject};
use crate::domain::ids::AgencyId;
use crate::domain::label::{Caveat, Clearance, Compartment, Grade, Label};
use crate::domain::limits;
use crate::domain::person::Role;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const HEAD: &str = "\
# Who may do what: the answer of the built-in policy set for each persona of `hufu demo`.
# Label classes (originator; who else may know; what else holds):
#   internal        police internal, released to all under common-2026
#   secret          police secret, released to customs and state-security under border-2026
#   secret-border   the same in compartment border-ops
#   secret-ended    as secret, the agreement ended
#   secret-scoped   as secret, the reader outside the need-to-know scope
#   secret-orcon    as secret, originator control
#   secret-halves   as secret, two halves
#   top-secret      police top-secret, released to state-security, taken as covered
#   customs-only    customs secret, released to nobody
#   mine-*          for publish, amend and import: the persona's own agency is the originator
# Purpose: stated unless the class says no-purpose or long-purpose. own and other: whose audit log, agency or people.
# persona                action                class              answer rule
";

struct Persona {
    name: &'static str,
    subject: Subject,
}

fn agency(name: &str) -> AgencyId {
    name.parse().unwrap()
}

fn persona(name: &'static str, grade: Grade, border: bool, roles: &[Role]) -> Persona {
    let (home, person) = name.split_once('/').unwrap();
    let compartments =
        if border { BTreeSet::from(["border-ops".parse::<Compartment>().unwrap()]) } else { BTreeSet::new() };
    let clearance = Clearance { agency: agency(home), grade, compartments };
    let roles = roles.iter().copied().collect();
    Persona {
        name,
        subject: Subject { agency: agency(home), name: person.to_owned(), roles, clearance, suspended: false },
    }
}

/// The people of `hufu demo`, and three who hold odd combinations.
fn personas() -> Vec<Persona> {
    use Grade::{Confidential, Internal, Secret, TopSecret};
    use Role::{Analyst, Classifier, DutyOfficer, Inspector, Operator, Originator, SecurityOfficer};
    let mut all = vec![
        persona("police/clerk", Internal, false, &[Analyst]),
        persona("police/analyst", Secret, true, &[Analyst, Originator]),
        persona("police/chief", TopSecret, true, &[Analyst, Originator, Classifier]),
        persona("police/duty", Secret, true, &[DutyOfficer]),
        persona("police/officer", TopSecret, true, &[SecurityOfficer]),
        persona("police/inspector", TopSecret, true, &[Inspector]),
        persona("police/operator", Internal, false, &[Operator]),
        persona("state-security/analyst", Secret, false, &[Analyst, Originator]),
        persona("state-security/chief", TopSecret, false, &[Analyst, Originator, Classifier]),
        persona("customs/clerk", Internal, false, &[Analyst]),
        persona("customs/analyst", Secret, true, &[Analyst, Originator]),
        persona("customs/chief", Secret, true, &[Analyst, Originator, Classifier]),
        persona("customs/duty", Secret, true, &[DutyOfficer]),
        persona("customs/officer", Secret, true, &[SecurityOfficer]),
        persona("customs/operator", Internal, false, &[Operator]),
        persona("cyberspace/analyst", Confidential, false, &[Analyst, Originator]),
        persona("cyberspace/officer", Confidential, false, &[SecurityOfficer]),
        persona("police/double", Secret, true, &[Analyst, Originator, SecurityOfficer]),
        persona("police/nobody", Secret, true, &[]),
        persona("police/suspended", Secret, true, &[Analyst, Originator]),
    ];
    all.last_mut().unwrap().subject.suspended = true;
    all
}

fn label(originator: &str, grade: Grade, border: bool, release: &[&str], caveats: &[Caveat]) -> Label {
    Label {
        originator: agency(originator),
        grade,
        compartments: if border { BTreeSet::from(["border-ops".parse().unwrap()]) } else { BTreeSet::new() },
        release: release.iter().map(|a| agency(a)).collect(),
        caveats: caveats.iter().copied().collect(),
        period: None,
    }
}

fn on_record(subject: &Subject, action: Action, label: Label) -> Question {
    let own = label.originator == subject.agency;
    Question { resource: Resource::Record { label, own }, ..plain(subject, action) }
}

fn plain(subject: &Subject, action: Action) -> Question {
    Question {
        subject: subject.clone(),
        action,
        resource: Resource::None,
        purpose: "case 2026-17".to_owned(),
        agreement_covers: true,
        in_scope: true,
    }
}

/// The classes that one action is asked about.
fn classes(subject: &Subject, action: Action) -> Vec<(&'static str, Question)> {
    let here = subject.agency.clone();
    let there = agency(if here.as_str() == "police" { "customs" } else { "police" });
    let with = |resource: Resource| Question { resource, ..plain(subject, action) };
    match action {
        _ if action.flow() == Flow::Read => reading(subject, action),
        _ if action.flow() == Flow::Write => {
            let mine = |grade, border, release: &[&str]| {
                on_record(subject, action, label(here.as_str(), grade, border, release, &[]))
            };
            let uncovered = Question { agreement_covers: false, ..mine(Grade::Internal, false, &["state-security"]) };
            vec![
                ("none", with(Resource::None)),
                ("mine-internal", mine(Grade::Internal, false, &[])),
                ("mine-secret", mine(Grade::Secret, false, &[])),
                ("mine-secret-border", mine(Grade::Secret, true, &[])),
                ("mine-top-secret", mine(Grade::TopSecret, false, &[])),
                ("mine-uncovered", uncovered),
                ("not-mine", on_record(subject, action, label(there.as_str(), Grade::Internal, false, &[], &[]))),
            ]
        }
        Action::AuditSearch
        | Action::RecordWhoCan
        | Action::AuditWhoRead
        | Action::AuditExport
        | Action::AuditVerify
        | Action::PolicyExplain => {
            vec![("own", with(Resource::Audit { agency: here })), ("other", with(Resource::Audit { agency: there }))]
        }
        Action::PersonAdd | Action::PersonList | Action::PersonSuspend | Action::GuideSign | Action::GuideEnd => {
            vec![("own", with(Resource::Agency(here))), ("other", with(Resource::Agency(there)))]
        }
        _ => vec![("none", with(Resource::None))],
    }
}

fn reading(subject: &Subject, action: Action) -> Vec<(&'static str, Question)> {
    let parties = ["customs", "state-security"];
    let everyone = ["customs", "state-security", "cyberspace"];
    let ask = |label: Label| on_record(subject, action, label);
    let secret = || ask(label("police", Grade::Secret, false, &parties, &[]));
    let mut all = vec![
        ("internal", ask(label("police", Grade::Internal, false, &everyone, &[]))),
        ("secret", secret()),
        ("secret-border", ask(label("police", Grade::Secret, true, &parties, &[]))),
        ("secret-ended", Question { agreement_covers: false, ..secret() }),
        ("secret-scoped", Question { in_scope: false, ..secret() }),
        ("secret-orcon", ask(label("police", Grade::Secret, false, &parties, &[Caveat::Orcon]))),
        ("secret-halves", ask(label("police", Grade::Secret, false, &parties, &[Caveat::TwoHalves]))),
        ("top-secret", ask(label("police", Grade::TopSecret, false, &["state-security"], &[]))),
        ("customs-only", ask(label("customs", Grade::Secret, false, &[], &[]))),
    ];
    if matches!(action, Action::RecordSearch | Action::RecordList) {
        all.push(("none", plain(subject, action)));
    }
    let stated = [Action::RecordSearch, Action::RecordOpen, Action::RecordExportSealed, Action::RecordExportClear];
    if stated.contains(&action) {
        let internal = || ask(label("police", Grade::Internal, false, &everyone, &[]));
        all.push(("no-purpose", Question { purpose: "  ".to_owned(), ..internal() }));
        all.push(("long-purpose", Question { purpose: "案".repeat(limits::PURPOSE_CHARS + 1), ..internal() }));
    }
    all
}

/// Asks everything, in order.
fn walk(engine: &Engine, mut seen: impl FnMut(&Persona, Action, &str, &Question, &Decision)) {
    for persona in personas() {
        for action in Action::ALL {
            for (class, question) in classes(&persona.subject, *action) {
                seen(&persona, *action, class, &question, &engine.decide(&question));
            }
        }
    }
}

fn table(engine: &Engine) -> String {
    let mut out = HEAD.to_owned();
    walk(engine, |persona, action, class, _, decision| {
        let (answer, rule) = match decision {
            Decision::Allow { policies } => ("allow", policies.join(" ")),
            Decision::Deny { rule, .. } => ("deny", rule.clone()),
        };
        writeln!(out, "{:<24} {:<21} {class:<18} {answer:<6} {rule}", persona.name, action.as_str()).unwrap();
    });
    out
}

fn golden_path() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decisions.txt")
}

#[test]
fn decisions_are_the_golden_ones() {
    let now = table(&Engine::built_in().unwrap());
    if std::env::var_os("HUFU_BLESS").is_some() {
        std::fs::create_dir_all(golden_path().parent().unwrap()).unwrap();
        std::fs::write(golden_path(), &now).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(golden_path()).expect("run once with HUFU_BLESS=1 and review the file");
    let changed: Vec<String> = now
        .lines()
        .zip(golden.lines())
        .filter(|(a, b)| a != b)
        .take(20)
        .map(|(a, b)| format!("- {b}\n+ {a}"))
        .collect();
    assert!(changed.is_empty(), "decisions changed; review, then HUFU_BLESS=1\n{}", changed.join("\n"));
    assert_eq!(now.lines().count(), golden.lines().count(), "lines came or went; review, then HUFU_BLESS=1");
}

#[test]
fn at_least_forty_denials_come_from_cedar_alone_and_name_their_policy() {
    let engine = Engine::built_in().unwrap();
    let mut from_cedar = 0;
    let mut named = BTreeSet::new();
    walk(&engine, |persona, action, class, question, decision| {
        let Decision::Deny { rule, .. } = decision else { return };
        if super::lattice::check(question).is_err() {
            assert!(rule.starts_with("lattice:"), "{} {action} {class}: {rule}", persona.name);
            return;
        }
        assert!(!rule.starts_with("lattice:"), "{} {action} {class}: {rule}", persona.name);
        assert!(
            !rule.starts_with("policy:"),
            "{} {action} {class}: denied by {rule}, which names no policy of the set",
            persona.name
        );
        from_cedar += 1;
        named.insert(rule.clone());
    });
    assert!(from_cedar >= 40, "only {from_cedar} denials come from Cedar alone");
    assert!(named.len() >= 15, "only these policies deny by themselves: {named:?}");
}

#[test]
fn removing_any_policy_file_shows_in_the_table() {
    let golden = table(&Engine::built_in().unwrap());
    for (gone, _) in built_in::FILES {
        let rest: Vec<(&str, &str)> = built_in::FILES.iter().copied().filter(|(name, _)| name != gone).collect();
        assert_eq!(rest.len() + 1, built_in::FILES.len());
        if let Ok(engine) = Engine::load(&rest, built_in::SCHEMA) {
            assert_ne!(table(&engine), golden, "nobody would notice that {gone} is gone");
        }
    }
}

#[test]
fn cedar_never_allows_what_the_lattice_denies() {
    let everything = [("all.cedar", "@id(\"all\") permit (principal, action, resource);")];
    let open = Engine::load(&everything, built_in::SCHEMA).unwrap();
    let mut denied = 0;
    walk(&open, |persona, action, class, question, decision| match super::lattice::check(question) {
        Ok(()) => assert!(decision.is_allow(), "{} {action} {class}: {decision:?}", persona.name),
        Err(rule) => {
            assert_eq!(decision.rule(), rule, "{} {action} {class}", persona.name);
            assert!(!decision.is_allow());
            denied += 1;
        }
    });
    assert!(denied > 100, "the table hardly touches the lattice: {denied}");
}
