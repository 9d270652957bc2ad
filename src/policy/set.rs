//! A policy set: loaded whole and validated strictly, or in its place one that denies everything.

use super::built_in;
use super::error::PolicyError;
use crate::domain::ids::is_slug;
use crate::seal;
use cedar_policy as cp;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

const HASH_DOMAIN: &str = "hufu.policy-set";
const ID_CHARS: usize = 64;

/// A set of policies with its schema and the hash that audit events and the ledger name it by.
#[derive(Debug)]
pub struct PolicySet {
    pub(super) state: State,
    hash: [u8; 32],
}

#[derive(Debug)]
pub(super) enum State {
    /// Parsed and valid. Boxed: much larger than the other.
    Valid(Box<Valid>),
    /// Nothing is allowed, and why.
    DenyAll(String),
}

/// A valid set.
#[derive(Debug)]
pub(super) struct Valid {
    pub policies: cp::PolicySet,
    pub schema: cp::Schema,
    /// Policy ids in reading order: by file name, then id. The first that forbids names a denial.
    pub order: Vec<Entry>,
}

/// One policy's place.
#[derive(Debug)]
pub(super) struct Entry {
    pub id: String,
    pub file: String,
}

impl PolicySet {
    /// Parses and validates a whole set. `files` are (name, text) in any order; the names order the policies.
    ///
    /// Errors: whatever makes the set unfit. Warnings of the validator (a policy that can never apply,
    /// deceiving characters) are errors here: somebody meant something else than what stands there.
    pub fn load(files: &[(&str, &str)], schema: &str) -> Result<PolicySet, PolicyError> {
        let schema_text = schema;
        let schema = parse_schema(schema_text)?;
        let mut sorted: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, text) in files {
            if sorted.insert(name, text).is_some() {
                return Err(PolicyError::DuplicateFile((*name).to_owned()));
            }
        }
        let mut policies = cp::PolicySet::new();
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for (file, text) in &sorted {
            let mut ids = Vec::new();
            for policy in parse_file(file, text)? {
                let id = policy.id().to_string();
                if !seen.insert(id.clone()) {
                    return Err(PolicyError::DuplicateId { file: (*file).to_owned(), id });
                }
                policies
                    .add(policy)
                    .map_err(|e| PolicyError::Parse { file: (*file).to_owned(), source: Box::new(e) })?;
                ids.push(id);
            }
            ids.sort();
            order.extend(ids.into_iter().map(|id| Entry { id, file: (*file).to_owned() }));
        }
        if order.is_empty() {
            return Err(PolicyError::Empty);
        }
        validate(&policies, &schema)?;
        let hash = hash(&sorted, schema_text);
        Ok(PolicySet { state: State::Valid(Box::new(Valid { policies, schema, order })), hash })
    }

    /// The set that is part of the program.
    pub fn built_in() -> Result<PolicySet, PolicyError> {
        PolicySet::load(built_in::FILES, built_in::SCHEMA)
    }

    /// A set that denies everything, with the reason for the alarm.
    pub fn deny_all(reason: impl Into<String>) -> PolicySet {
        let reason = reason.into();
        let hash = seal::digest(HASH_DOMAIN, &["deny-all".as_bytes()]);
        PolicySet { state: State::DenyAll(reason), hash }
    }

    /// SHA-256 over the sorted files and the schema: the name of this set.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Why everything is denied, if it is.
    pub fn denies_all(&self) -> Option<&str> {
        match &self.state {
            State::DenyAll(reason) => Some(reason),
            State::Valid(_) => None,
        }
    }
}

fn parse_schema(text: &str) -> Result<cp::Schema, PolicyError> {
    let (schema, warnings) = cp::Schema::from_cedarschema_str(text).map_err(|e| PolicyError::Schema(e.to_string()))?;
    let warnings: Vec<String> = warnings.map(|w| w.to_string()).collect();
    if warnings.is_empty() { Ok(schema) } else { Err(PolicyError::Schema(warnings.join("; "))) }
}

/// The policies of one file, each under its own `@id`.
fn parse_file(file: &str, text: &str) -> Result<Vec<cp::Policy>, PolicyError> {
    let parsed =
        cp::PolicySet::from_str(text).map_err(|e| PolicyError::Parse { file: file.to_owned(), source: Box::new(e) })?;
    if parsed.num_of_templates() > 0 {
        return Err(PolicyError::Template { file: file.to_owned() });
    }
    parsed
        .policies()
        .map(|policy| match policy.annotation("id") {
            Some(id) if is_slug(id, ID_CHARS) => Ok(policy.new_id(cp::PolicyId::new(id))),
            _ => Err(PolicyError::NoId { file: file.to_owned() }),
        })
        .collect()
}

fn validate(policies: &cp::PolicySet, schema: &cp::Schema) -> Result<(), PolicyError> {
    let result = cp::Validator::new(schema.clone()).validate(policies, cp::ValidationMode::Strict);
    let mut faults: Vec<String> = result.validation_errors().map(ToString::to_string).collect();
    faults.extend(result.validation_warnings().map(ToString::to_string));
    faults.sort();
    if result.validation_passed() && faults.is_empty() { Ok(()) } else { Err(PolicyError::Invalid(faults)) }
}

fn hash(sorted: &BTreeMap<&str, &str>, schema: &str) -> [u8; 32] {
    let mut parts: Vec<&[u8]> = vec!["schema".as_bytes(), schema.as_bytes()];
    for (name, text) in sorted {
        parts.push(name.as_bytes());
        parts.push(text.as_bytes());
    }
    seal::digest(HASH_DOMAIN, &parts)
}
