//! Policies tested as data: JSON files of questions with the expected answer, for `hufu policy check DIR`.
//!
//! A file holds one case or a list of cases:
//! ```json
//! {"name": "clerk opens above clearance",
//!  "question": {"subject": {"agency": "customs", "name": "clerk", "roles": ["analyst"], "grade": "internal"},
//!               "action": "record-open",
//!               "resource": {"kind": "record", "originator": "police", "grade": "secret", "release": ["customs"]},
//!               "purpose": "case 7", "agreement_covers": true, "in_scope": true},
//!  "expect": "deny", "reason": "lattice:grade"}
//! ```
//! `reason` is the denial's rule, or the id of one of the permits that allowed. What is left out of a
//! question is the emptiest: no compartments, no purpose, not covered, not in scope.

use super::action::Action;
use super::decision::Decision;
use super::engine::Engine;
use super::error::PolicyError;
use super::question::{Question, Resource, Subject};
use crate::domain::ids::AgencyId;
use crate::domain::label::{Caveat, Clearance, Compartment, Grade, Label};
use crate::domain::person::Role;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const SCHEMA_FILE: &str = "schema.cedarschema";
const CASES_DIR: &str = "tests";

/// One case: a question and what must come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What is tried, in words.
    pub name: String,
    /// The question.
    pub question: Question,
    /// Whether it must be allowed.
    pub allow: bool,
    /// The rule or permit that must be named.
    pub reason: String,
}

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseOutcome {
    /// File name the case is from.
    pub file: String,
    /// The case's name.
    pub name: String,
    /// Whether the answer was the expected one.
    pub passed: bool,
    /// What was expected, e.g. `deny lattice:grade`.
    pub expected: String,
    /// What was answered, in the same form; an allow lists all its permits.
    pub actual: String,
}

/// What came of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Hash of the set that was checked, hex.
    pub policy_set: String,
    /// Every case, by file and place in it.
    pub cases: Vec<CaseOutcome>,
}

impl CheckReport {
    /// Whether every case passed.
    pub fn passed(&self) -> bool {
        self.failed().next().is_none()
    }

    /// The cases that did not.
    pub fn failed(&self) -> impl Iterator<Item = &CaseOutcome> {
        self.cases.iter().filter(|c| !c.passed)
    }
}

/// Checks a folder: its `schema.cedarschema` and `*.cedar` files are the set that is tried; the cases are the
/// `*.json` files in its folder `tests`, or in the folder itself.
///
/// Errors: no schema, unreadable files, a set that does not validate, malformed cases, or no case at all. A case
/// with another answer than expected is not an error but a line of the report.
pub fn check_dir(dir: &Path) -> Result<CheckReport, PolicyError> {
    load_dir(dir)?.check_cases(&cases_of(dir))
}

/// Tries a folder's cases against the set that is part of the program, whatever set lies beside them. Errors as
/// [`check_dir`].
pub fn check_built_in(dir: &Path) -> Result<CheckReport, PolicyError> {
    Engine::built_in()?.check_cases(&cases_of(dir))
}

fn cases_of(dir: &Path) -> PathBuf {
    let below = dir.join(CASES_DIR);
    if below.is_dir() { below } else { dir.to_owned() }
}

/// The set in a folder.
fn load_dir(dir: &Path) -> Result<Engine, PolicyError> {
    let policies = listed(dir, "cedar")?;
    let schema = dir.join(SCHEMA_FILE);
    // Another set in its place would pass for this one.
    if !schema.exists() {
        return Err(PolicyError::NoSchema(dir.display().to_string()));
    }
    let schema = read(&schema)?;
    let mut texts = Vec::new();
    for path in policies {
        texts.push((file_name(&path), read(&path)?));
    }
    let files: Vec<(&str, &str)> = texts.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    Engine::load(&files, &schema)
}

impl Engine {
    /// Tries the cases of all `*.json` files of a folder against this set. Errors as [`check_dir`].
    pub fn check_cases(&self, dir: &Path) -> Result<CheckReport, PolicyError> {
        let mut cases = Vec::new();
        for path in listed(dir, "json")? {
            let file = file_name(&path);
            for case in Case::parse_file(&file, &read(&path)?)? {
                cases.push(self.check_case(&file, &case));
            }
        }
        if cases.is_empty() {
            return Err(PolicyError::NoCases(dir.display().to_string()));
        }
        let policy_set = data_encoding::HEXLOWER.encode(&self.set().hash());
        Ok(CheckReport { policy_set, cases })
    }

    /// Tries one case.
    pub fn check_case(&self, file: &str, case: &Case) -> CaseOutcome {
        let (passed, actual) = match self.decide(&case.question) {
            Decision::Allow { policies } => {
                (case.allow && policies.contains(&case.reason), format!("allow {}", policies.join(" ")))
            }
            Decision::Deny { rule, .. } => (!case.allow && rule == case.reason, format!("deny {rule}")),
        };
        let expected = format!("{} {}", if case.allow { "allow" } else { "deny" }, case.reason);
        CaseOutcome { file: file.to_owned(), name: case.name.clone(), passed, expected, actual }
    }
}

impl Case {
    /// The cases of one file, named in errors.
    pub fn parse_file(file: &str, text: &str) -> Result<Vec<Case>, PolicyError> {
        let wrong = |e: serde_json::Error| PolicyError::Case { file: file.to_owned(), reason: e.to_string() };
        let value: serde_json::Value = serde_json::from_str(text).map_err(wrong)?;
        let cases: Vec<CaseText> = if value.is_array() {
            serde_json::from_value(value).map_err(wrong)?
        } else {
            vec![serde_json::from_value(value).map_err(wrong)?]
        };
        Ok(cases.into_iter().map(Case::from).collect())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText {
    name: String,
    question: QuestionText,
    expect: Expect,
    reason: String,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Expect {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuestionText {
    subject: SubjectText,
    action: Action,
    resource: ResourceText,
    #[serde(default)]
    purpose: String,
    #[serde(default)]
    agreement_covers: bool,
    #[serde(default)]
    in_scope: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectText {
    agency: AgencyId,
    name: String,
    #[serde(default)]
    roles: BTreeSet<Role>,
    grade: Grade,
    #[serde(default)]
    compartments: BTreeSet<Compartment>,
    #[serde(default)]
    suspended: bool,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum ResourceText {
    Record {
        originator: AgencyId,
        grade: Grade,
        #[serde(default)]
        compartments: BTreeSet<Compartment>,
        #[serde(default)]
        release: BTreeSet<AgencyId>,
        #[serde(default)]
        caveats: BTreeSet<Caveat>,
    },
    Audit {
        agency: AgencyId,
    },
    Agency {
        agency: AgencyId,
    },
    None {},
}

impl From<CaseText> for Case {
    fn from(text: CaseText) -> Case {
        let CaseText { name, question, expect, reason } = text;
        Case { name, question: question.into(), allow: expect == Expect::Allow, reason }
    }
}

impl From<QuestionText> for Question {
    fn from(text: QuestionText) -> Question {
        let QuestionText { subject, action, resource, purpose, agreement_covers, in_scope } = text;
        let SubjectText { agency, name, roles, grade, compartments, suspended } = subject;
        let resource = match resource {
            ResourceText::Record { originator, grade, compartments, release, caveats } => {
                let own = originator == agency;
                Resource::Record {
                    label: Label { originator, grade, compartments, release, caveats, period: None },
                    own,
                }
            }
            ResourceText::Audit { agency } => Resource::Audit { agency },
            ResourceText::Agency { agency } => Resource::Agency(agency),
            ResourceText::None {} => Resource::None,
        };
        let clearance = Clearance { agency: agency.clone(), grade, compartments };
        let subject = Subject { agency, name, roles, clearance, suspended };
        Question { subject, action, resource, purpose, agreement_covers, in_scope }
    }
}

/// Files of a folder with one extension, by name.
fn listed(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, PolicyError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| unreadable(dir, e))? {
        let path = entry.map_err(|e| unreadable(dir, e))?.path();
        if path.is_file() && path.extension().is_some_and(|e| e == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, PolicyError> {
    fs::read_to_string(path).map_err(|e| unreadable(path, e))
}

fn unreadable(path: &Path, source: std::io::Error) -> PolicyError {
    PolicyError::Io { path: path.display().to_string(), source }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
