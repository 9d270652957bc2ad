//! How a STIX object reads as a record. First what an analyst reads, then the object and its relationships as JSON, keys
//! in order, so that nothing of them is lost and the same object in another layout is the same text.

use super::stix_marks::called;
use super::stix_object::Object;
use serde_json::Value;
use std::collections::BTreeMap;

/// Stands in the title and the text of what its producer revoked. Records keep one text for readers of both languages.
pub(super) const REVOKED: &str = "已由原发方撤回 recalled at origin";

/// One relation of an object: to whom, and by which relationship or member of its own.
pub(super) struct Relation<'a> {
    /// `relationship_type`, or the member's name.
    pub(super) by: &'a str,
    /// Id of the other object.
    pub(super) to: String,
    /// The relationship object, if it is one.
    pub(super) relationship: Option<&'a Object>,
}

/// Words with one space between them, whatever stood there.
pub(super) fn one_line(text: &str) -> String {
    let apart = |c: char| c.is_whitespace() || c.is_control();
    text.split(apart).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `name`, else type and UUID; with a mark if it was taken back.
pub(super) fn title(object: &Object) -> String {
    let name = object.text("name").map(one_line).filter(|n| !n.is_empty());
    let name = name.unwrap_or_else(|| object.id.replacen("--", " ", 1));
    if object.is_revoked() { format!("{name}（{REVOKED}）") } else { name }
}

/// The text of a record.
pub(super) fn body(
    object: &Object,
    relations: &[Relation<'_>],
    known: &BTreeMap<String, Object>,
) -> Result<String, serde_json::Error> {
    let mut blocks = Vec::new();
    if object.is_revoked() {
        let when = object.text("modified").map(|at| format!(", STIX `revoked`, {at}")).unwrap_or_default();
        blocks.push(format!("{REVOKED}{when}"));
    }
    blocks.extend(object.text("description").map(str::trim).filter(|d| !d.is_empty()).map(str::to_owned));
    blocks.push(facts(object, known));
    let sources = object.list("external_references").iter().map(source);
    blocks.extend(listed("外部引用 External references", sources.collect()));
    let relations_text = relations.iter().map(|r| relation(r, known));
    blocks.extend(listed("关系 Relations", relations_text.collect()));
    blocks.push(format!("STIX:\n{}", serde_json::to_string_pretty(&object.members)?));
    let relationships: Vec<_> = relations.iter().filter_map(|r| r.relationship).map(|r| &r.members).collect();
    if !relationships.is_empty() {
        blocks.push(format!("STIX relationships:\n{}", serde_json::to_string_pretty(&relationships)?));
    }
    Ok(blocks.join("\n\n"))
}

fn facts(object: &Object, known: &BTreeMap<String, Object>) -> String {
    let joined = |name: &str| object.texts(name).into_iter().map(one_line).collect::<Vec<_>>().join(", ");
    let line = |name: &str| object.text(name).map(one_line).unwrap_or_default();
    let phases = object.list("kill_chain_phases").iter();
    let phases: Vec<_> = phases.map(|p| format!("{}: {}", text(p, "kill_chain_name"), text(p, "phase_name"))).collect();
    let markings: Vec<_> = object.markings().iter().map(|id| called(id, known)).collect();
    let lines = [
        ("类型 Type", object.kind.clone()),
        ("标识 Id", object.id.clone()),
        ("值 Value", line("value")),
        ("别名 Aliases", joined("aliases")),
        ("别名 Aliases (MITRE)", joined("x_mitre_aliases")),
        ("标签 Labels", joined("labels")),
        ("杀伤链 Kill chain", phases.join(", ")),
        ("首次发现 First seen", line("first_seen")),
        ("最近发现 Last seen", line("last_seen")),
        ("创建 Created", line("created")),
        ("修改 Modified", line("modified")),
        ("来源标记 Markings at origin", markings.join("; ")),
    ];
    let filled = lines.into_iter().filter(|(_, value)| !value.is_empty());
    filled.map(|(heading, value)| format!("{heading}: {value}")).collect::<Vec<_>>().join("\n")
}

fn listed(heading: &str, lines: Vec<String>) -> Option<String> {
    (!lines.is_empty()).then(|| format!("{heading}:\n- {}", lines.join("\n- ")))
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).map(one_line).unwrap_or_default()
}

fn source(value: &Value) -> String {
    let parts = ["source_name", "external_id", "url", "description"].map(|name| text(value, name));
    parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(", ")
}

fn relation(relation: &Relation<'_>, known: &BTreeMap<String, Object>) -> String {
    let Relation { by, to, relationship } = relation;
    let name = known.get(to).map_or_else(|| "未在所导入文件中 not in these files".to_owned(), title);
    let revoked = if relationship.is_some_and(Object::is_revoked) { format!("（{REVOKED}）") } else { String::new() };
    let why = relationship.and_then(|r| r.text("description")).map(one_line).filter(|d| !d.is_empty());
    let why = why.map(|d| format!(": {d}")).unwrap_or_default();
    format!("{by} → {name} ({to}){revoked}{why}")
}
