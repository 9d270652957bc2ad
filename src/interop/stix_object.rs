//! One STIX object, checked as far as it is used (STIX 2.1 §2, §3; 2.0 part 1 §2, §3): identity, version, markings, what
//! it names. What is not used is kept as it is.

use crate::domain::limits;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Longest name of a type (STIX 2.1 §2.8, identifiers: type names have 3 to 250 characters).
const TYPE_BYTES: usize = 250;
/// A UUID as text.
const UUID_BYTES: usize = 36;
/// Longest timestamp; the fraction of a second has any number of digits.
const TIME_BYTES: usize = 64;

/// An object whose used members are what the specification says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    /// Its type, e.g. `malware`.
    pub(super) kind: String,
    /// Its identity, in lower case.
    pub(super) id: String,
    /// Its version: `modified`, such that later is greater. Observables and markings have none.
    pub(super) modified: Option<String>,
    /// All of it, keys in order.
    pub(super) members: Map<String, Value>,
}

impl Object {
    /// Checks what was read.
    pub(super) fn of(value: Value) -> Result<Object, String> {
        let Value::Object(members) = value else { return Err("it is no JSON object".into()) };
        let (id, kind) = identity(&members)?;
        match members.get("spec_version").map(Value::as_str) {
            None | Some(Some("2.0" | "2.1")) => {}
            Some(_) => return Err("`spec_version` is neither `2.0` nor `2.1`".into()),
        }
        let mut object = Object { kind, id, modified: None, members };
        object.check()?;
        object.modified = object.time("modified")?;
        Ok(object)
    }

    fn check(&self) -> Result<(), String> {
        for name in ["name", "description", "definition_type"] {
            self.checked(name, "a text", Value::is_string)?;
        }
        if self.text("name").is_some_and(|n| n.chars().count() > limits::TITLE_CHARS) {
            return Err(format!("`name` has more than {} characters", limits::TITLE_CHARS));
        }
        self.checked("revoked", "true or false", Value::is_boolean)?;
        for name in ["aliases", "labels", "x_mitre_aliases"] {
            self.checked(name, "a list of texts", |v| list_of(v, Value::is_string))?;
        }
        self.checked("object_marking_refs", "a list of markings' ids", |v| list_of(v, is_marking))?;
        self.checked("granular_markings", "a list of markings of parts", |v| list_of(v, is_granular))?;
        self.checked("external_references", "a list of references with `source_name`", |v| list_of(v, is_source))?;
        self.checked("kill_chain_phases", "a list of kill chains and phases", |v| list_of(v, is_phase))?;
        self.time("created")?;
        let needed: &[&str] = match self.kind.as_str() {
            "relationship" => &["source_ref", "target_ref"],
            "sighting" => &["sighting_of_ref"],
            _ => &[],
        };
        for name in needed {
            self.id_in(name).ok_or_else(|| format!("`{name}` is no STIX id"))?;
        }
        if self.kind == "relationship" && self.text("relationship_type").is_none_or(|t| !is_word(t)) {
            return Err("`relationship_type` is not lower-case letters, digits and hyphens".into());
        }
        Ok(())
    }

    fn checked(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Result<(), String> {
        match self.members.get(name) {
            Some(value) if !is(value) => Err(format!("`{name}` is not {what}")),
            _ => Ok(()),
        }
    }

    fn time(&self, name: &str) -> Result<Option<String>, String> {
        let Some(value) = self.members.get(name) else { return Ok(None) };
        let at = value.as_str().and_then(instant).ok_or_else(|| format!("`{name}` is no time in UTC"))?;
        Ok(Some(at))
    }

    /// A member that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }

    /// The texts of a member that is a list of them.
    pub(super) fn texts(&self, name: &str) -> Vec<&str> {
        self.list(name).iter().filter_map(Value::as_str).collect()
    }

    /// A member that is a list; none is an empty one.
    pub(super) fn list(&self, name: &str) -> &[Value] {
        self.members.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// A member that is an id, in lower case.
    pub(super) fn id_in(&self, name: &str) -> Option<String> {
        self.text(name).and_then(id)
    }

    /// Whether its producer took it back.
    pub(super) fn is_revoked(&self) -> bool {
        self.members.get("revoked") == Some(&Value::Bool(true))
    }

    /// Its markings, those of parts included: the whole is treated as its highest part.
    pub(super) fn markings(&self) -> BTreeSet<String> {
        let parts = self.list("granular_markings").iter().filter_map(|m| m.get("marking_ref"));
        self.list("object_marking_refs").iter().chain(parts).filter_map(Value::as_str).filter_map(id).collect()
    }

    /// What it names by itself, with the member that does: all `…_ref` and `…_refs` but markings and those who made it.
    /// Custom members may be called so and hold something else; that stays in the JSON.
    pub(super) fn embedded(&self) -> Vec<(&str, String)> {
        let own = |name: &str| name.ends_with("_by_ref") || name.starts_with("object_marking_ref");
        let mut found = Vec::new();
        for (name, value) in self.members.iter().filter(|(name, _)| !own(name)) {
            if name.ends_with("_ref") {
                found.extend(value.as_str().and_then(id).map(|id| (name.as_str(), id)));
            } else if name.ends_with("_refs") {
                let ids = value.as_array().into_iter().flatten().filter_map(Value::as_str).filter_map(id);
                found.extend(ids.map(|id| (name.as_str(), id)));
            }
        }
        found
    }
}

/// The id and the type of what may not be right otherwise.
pub(super) fn identity(members: &Map<String, Value>) -> Result<(String, String), String> {
    let kind = members.get("type").and_then(Value::as_str).filter(|t| is_type(t)).ok_or("`type` is no STIX type")?;
    let id = members.get("id").and_then(Value::as_str).and_then(id).ok_or("`id` is no STIX id")?;
    if id.split_once("--").is_none_or(|(of, _)| of != kind) {
        return Err(format!("`id` is not that of a `{kind}`"));
    }
    Ok((id, kind.to_owned()))
}

/// `type--UUID` in lower case: a UUID is the same in both (RFC 4122 §3).
pub(super) fn id(text: &str) -> Option<String> {
    let (kind, uuid) = text.split_once("--").filter(|(_, uuid)| uuid.len() == UUID_BYTES)?;
    let parts: Vec<&str> = uuid.split('-').collect();
    let hex = parts.iter().all(|p| p.bytes().all(|b| b.is_ascii_hexdigit()));
    let lengths: Vec<usize> = parts.iter().map(|p| p.len()).collect();
    (is_type(kind) && hex && lengths == [8, 4, 4, 4, 12]).then(|| format!("{kind}--{}", uuid.to_ascii_lowercase()))
}

/// No two hyphens in a row, so that an id has one reading.
fn is_type(text: &str) -> bool {
    (3..=TYPE_BYTES).contains(&text.len()) && is_word(text) && !text.contains("--")
}

fn is_word(text: &str) -> bool {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= TYPE_BYTES && text.bytes().all(lower)
}

/// RFC 3339 in UTC as STIX has it, `Z` and the fraction's last zeros taken off: the order of the texts is that of time.
fn instant(text: &str) -> Option<String> {
    const PATTERN: &str = "dddd-dd-ddTdd:dd:dd";
    if text.len() > TIME_BYTES || !text.is_ascii() {
        return None;
    }
    let (whole, fraction) = text.strip_suffix('Z')?.split_at_checked(PATTERN.len())?;
    let fits = |(b, p): (u8, u8)| if p == b'd' { b.is_ascii_digit() } else { b == p };
    if !whole.bytes().zip(PATTERN.bytes()).all(fits) {
        return None;
    }
    let digits = if fraction.is_empty() { "0" } else { fraction.strip_prefix('.')? };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(format!("{whole}.{}", digits.trim_end_matches('0')))
}

fn list_of(value: &Value, is: impl Fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(is))
}

fn is_marking(value: &Value) -> bool {
    value.as_str().and_then(id).is_some_and(|id| id.starts_with("marking-definition--"))
}

/// A part is marked with a marking or with its language.
fn is_granular(value: &Value) -> bool {
    match (value.get("marking_ref"), value.get("lang")) {
        (Some(marking), None) => is_marking(marking),
        (None, Some(lang)) => lang.is_string(),
        _ => false,
    }
}

fn is_source(value: &Value) -> bool {
    let text = |name: &str| value.get(name).is_none_or(Value::is_string);
    value.get("source_name").is_some_and(Value::is_string)
        && ["description", "url", "external_id"].iter().all(|n| text(n))
}

fn is_phase(value: &Value) -> bool {
    ["kill_chain_name", "phase_name"].iter().all(|name| value.get(name).is_some_and(Value::is_string))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use serde_json::json;

    const UUID: &str = "00000000-0000-4000-8000-00000000000A";

    fn object(change: Value) -> Result<Object, String> {
        let mut value = json!({"type": "malware", "id": format!("malware--{UUID}"), "name": "x"});
        for (name, member) in change.as_object().unwrap() {
            value.as_object_mut().unwrap().insert(name.clone(), member.clone());
        }
        Object::of(value)
    }

    #[test]
    fn an_id_is_a_type_and_a_uuid() {
        assert_eq!(id(&format!("x-a--{UUID}")).unwrap(), "x-a--00000000-0000-4000-8000-00000000000a");
        for wrong in ["", "--", "malware", "malware--1", "Malware--00000000-0000-4000-8000-000000000000"] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
        assert_eq!(id(&format!("a--b--{UUID}")), None);
        assert_eq!(id(&format!("{}--{UUID}", "a".repeat(251))), None);
        assert_eq!(id(&format!("malware--{UUID}0")), None);
    }

    #[test]
    fn later_is_greater() {
        let at = |t: &str| instant(t).unwrap();
        assert_eq!(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00.000Z"));
        assert!(at("2026-01-01T00:00:00.1Z") < at("2026-01-01T00:00:00.11Z"));
        assert!(at("2026-01-01T00:00:00.999Z") < at("2026-01-01T00:00:01Z"));
        for wrong in
            ["", "Z", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+01:00"]
        {
            assert_eq!(instant(wrong), None, "{wrong}");
        }
        assert_eq!(instant(&format!("2026-01-01T00:00:00.{}Z", "1".repeat(100))), None);
    }

    #[test]
    fn what_is_used_has_its_type() {
        assert!(object(json!({"x_own": {"any": [1]}})).is_ok());
        for wrong in [
            json!({"type": "tool"}),
            json!({"type": 7}),
            json!({"id": null}),
            json!({"name": 7}),
            json!({"name": "长".repeat(301)}),
            json!({"description": []}),
            json!({"revoked": "true"}),
            json!({"spec_version": "1.2"}),
            json!({"spec_version": 2.1}),
            json!({"modified": "yesterday"}),
            json!({"created": 0}),
            json!({"aliases": "one"}),
            json!({"object_marking_refs": format!("marking-definition--{UUID}")}),
            json!({"object_marking_refs": [format!("malware--{UUID}")]}),
            json!({"granular_markings": [{"selectors": ["name"]}]}),
            json!({"external_references": [{"url": "x"}]}),
            json!({"kill_chain_phases": [{"phase_name": "x"}]}),
        ] {
            assert!(object(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(Object::of(json!([])).is_err());
        let relationship = |of: Value| {
            let id = format!("relationship--{UUID}");
            let mut value = json!({"type": "relationship", "id": id, "relationship_type": "uses", "source_ref": of});
            value.as_object_mut().unwrap().insert("target_ref".into(), json!(format!("tool--{UUID}")));
            Object::of(value)
        };
        assert!(relationship(json!(format!("malware--{UUID}"))).is_ok());
        assert!(relationship(json!("malware")).is_err() && relationship(json!(null)).is_err());
    }

    #[test]
    fn parts_mark_the_whole_and_who_made_it_is_no_relation() {
        let found = object(json!({
            "object_marking_refs": [format!("marking-definition--{UUID}")],
            "granular_markings": [{"lang": "en", "selectors": ["name"]},
                {"marking_ref": format!("marking-definition--1{}", UUID.get(1..).unwrap()), "selectors": ["name"]}],
            "created_by_ref": format!("identity--{UUID}"), "x_mitre_modified_by_ref": format!("identity--{UUID}"),
            "object_refs": [format!("tool--{UUID}"), 7], "x_free_ref": "not an id",
        }));
        let found = found.unwrap();
        assert_eq!(found.markings().len(), 2);
        let tool = format!("tool--{}", UUID.to_ascii_lowercase());
        assert_eq!(found.embedded(), [("object_refs", tool)]);
    }
}
