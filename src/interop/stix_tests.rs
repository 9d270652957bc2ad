//! Bundles as they should be and as they should not: what becomes a record, and what is refused with which words.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use super::{StixDraft, StixFiles, StixImport};
use crate::domain::fault::Fault;
use crate::domain::label::Grade;
use crate::domain::limits;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const EXERCISE: &[u8] = include_bytes!("../../tests/stix/exercise.json");
const BAD: &[u8] = include_bytes!("../../tests/stix/bad.json");

fn read(files: &[&[u8]]) -> StixImport {
    let mut all = StixFiles::default();
    for bytes in files {
        all.add("f.json", bytes);
    }
    all.finish()
}

fn drafts(import: &StixImport) -> Vec<(String, Result<StixDraft, Fault>)> {
    import.names().enumerate().map(|(n, name)| (name.to_owned(), import.draft(n))).collect()
}

fn good(import: &StixImport) -> BTreeMap<String, StixDraft> {
    drafts(import).into_iter().filter_map(|(name, draft)| Some((name, draft.ok()?))).collect()
}

fn refused(import: &StixImport) -> Vec<(String, String)> {
    drafts(import).into_iter().filter_map(|(name, draft)| Some((name, draft.err()?.message))).collect()
}

fn id(kind: &str, n: usize) -> String {
    format!("{kind}--00000000-0000-4000-8000-{n:012}")
}

fn bundle(objects: &Value) -> Vec<u8> {
    json!({"type": "bundle", "id": id("bundle", 0), "objects": objects}).to_string().into_bytes()
}

fn keys(draft: &StixDraft) -> Vec<String> {
    draft.references.iter().map(ToString::to_string).collect()
}

/// As a reference has it.
fn key(kind: &str, n: usize) -> String {
    format!("stix:{}", id(kind, n).replace('-', "").to_uppercase())
}

#[test]
fn one_record_an_object_with_its_relations_and_its_json() {
    let import = read(&[EXERCISE]);
    assert!(refused(&import).is_empty());
    let records = good(&import);
    let names =
        [("intrusion-set", 3), ("ipv4-addr", 8), ("malware", 2), ("sighting", 5), ("tool", 7), ("x-mitre-asset", 4)];
    assert_eq!(records.keys().cloned().collect::<Vec<_>>(), names.map(|(kind, n)| id(kind, n)));

    let malware = &records[&id("malware", 2)];
    assert_eq!(malware.title, "演练木马");
    assert!(malware.body.starts_with("演练：窃取口岸终端数据。\n第二段。\n\n类型 Type: malware\n"), "{}", malware.body);
    for line in
        ["别名 Aliases: 甲, 乙", "mitre-attack: collection", "- exercise, E-1, https://example.com/e-1", "秘密★5年"]
    {
        assert!(malware.body.contains(line), "{line}");
    }
    assert_eq!(keys(malware), [key("malware", 2)]);

    let set = &records[&id("intrusion-set", 3)];
    assert!(set.title.starts_with("演练组织") && set.title.contains("recalled at origin"), "{}", set.title);
    assert!(set.body.starts_with("已由原发方撤回"), "whoever reads it sees that first");
    let uses = format!("- uses → 演练木马 ({}): 演练中使用", id("malware", 2));
    assert!(set.body.contains(&uses) && set.body.contains(&id("relationship", 6)), "{}", set.body);
    assert_eq!(keys(set), [key("intrusion-set", 3), "origin-state:RECALLED".into(), key("malware", 2)]);

    let sighting = &records[&id("sighting", 5)];
    assert_eq!(sighting.title, "sighting 00000000-0000-4000-8000-000000000005");
    assert_eq!(keys(sighting), [key("sighting", 5), key("malware", 2)]);
    let asset = &records[&id("x-mitre-asset", 4)];
    assert!(asset.body.contains("\"weight\": 1.5"), "custom members are kept: {}", asset.body);
    assert!(records[&id("ipv4-addr", 8)].body.contains("值 Value: 198.51.100.3"));
}

#[test]
fn the_json_in_the_text_is_the_object() {
    let all: Value = serde_json::from_slice(EXERCISE).unwrap();
    let records = good(&read(&[EXERCISE]));
    for object in all["objects"].as_array().unwrap() {
        let Some(record) = records.get(object["id"].as_str().unwrap()) else { continue };
        let json = record.body.split_once("STIX:\n").unwrap().1;
        let json = json.split("\n\nSTIX relationships:\n").next().unwrap();
        assert_eq!(&serde_json::from_str::<Value>(json).unwrap(), object);
    }
}

#[test]
fn markings_state_a_grade_or_none() {
    let records = good(&read(&[EXERCISE]));
    for (kind, n) in [("intrusion-set", 3), ("malware", 2), ("sighting", 5), ("x-mitre-asset", 4)] {
        let stated = &records[&id(kind, n)].stated;
        assert_eq!((stated.grade, stated.years), (Some(Grade::Confidential), Some(5)));
        assert!(stated.unknown.is_empty() && !stated.unmarked);
    }
    assert_eq!(records[&id("tool", 7)].stated.unknown, BTreeSet::from(["TLP:RED".to_owned()]));
    assert!(records[&id("ipv4-addr", 8)].stated.unmarked);
    // What a relationship's marking says counts for the record that takes it in.
    let marked = |kind: &str, n: usize, text: &str| {
        json!({"type": "marking-definition", "id": id(kind, n), "definition_type": "statement",
            "definition": {"statement": text}})
    };
    let [low, high] = [id("marking-definition", 1), id("marking-definition", 2)];
    let import = read(&[&bundle(&json!([
        marked("marking-definition", 1, "内部"),
        marked("marking-definition", 2, "机密★20年"),
        {"type": "tool", "id": id("tool", 3), "object_marking_refs": [low]},
        {"type": "relationship", "id": id("relationship", 4), "relationship_type": "uses", "source_ref": id("tool", 3),
            "target_ref": id("tool", 5), "object_marking_refs": [high]},
    ]))]);
    assert_eq!(good(&import)[&id("tool", 3)].stated.grade, Some(Grade::Secret));
}

#[test]
fn what_is_bad_is_named_and_the_rest_goes_in() {
    let import = read(&[BAD]);
    let records = good(&import);
    let titles: Vec<_> = records.values().map(|r| r.title.as_str()).collect();
    assert_eq!(titles, ["好", "newer"]);
    let refused = refused(&import);
    let told = |name: &str, why: &str| {
        assert!(refused.iter().any(|(n, w)| n == name && w.contains(why)), "{name} {why}: {refused:?}");
    };
    told("f.json objects[1]", "the key `name` stands twice");
    told(&id("tool", 103), "`name` is not a text");
    told("f.json objects[3]", "nested deeper");
    told(&id("relationship", 104), "is not among what is imported");
    told(&id("tool", 105), "more than once");
    told(&id("tool", 106), "a newer version");
    told(&id("tool", 107), "`object_marking_refs`");
    told("f.json objects[10]", "no JSON object");
    told(&id("tool", 108), "`revoked`");
    assert_eq!(refused.len(), 10, "both of those that differ, and each other once: {refused:?}");
    assert!(drafts(&import).iter().filter_map(|(_, d)| d.as_ref().err()).all(|f| f.hint.is_some()));
}

#[test]
fn what_is_no_bundle_is_refused_whole() {
    let tool = json!({"type": "tool", "id": id("tool", 1), "name": "x"});
    let why = |bytes: &[u8]| {
        let import = read(&[bytes]);
        let refused = refused(&import);
        assert!(refused.len() == 1 && good(&import).is_empty(), "{refused:?}");
        assert_eq!(refused[0].0, "f.json");
        refused[0].1.clone()
    };
    assert!(why(tool.to_string().as_bytes()).contains("a STIX object without a bundle"));
    assert!(why(b"").contains("no STIX bundle"));
    assert!(why(b"[]").contains("no STIX bundle"));
    assert!(why(b"{}").contains("`type`"));
    assert!(why(&[0xff, 0xfe]).contains("UTF-8"));
    assert!(why(&bundle(&json!([]))).contains("no `objects`"));
    assert!(why(&bundle(&json!("x"))).contains("no STIX bundle"));
    assert!(why(br#"{"type":"bundle","type":"bundle","objects":[{}]}"#).contains("stands twice"));
    assert!(why(br#"{"type":"bundle","spec_version":"1.2","objects":[{}]}"#).contains("spec_version"));
    assert!(why("[".repeat(100_000).as_bytes()).contains("no STIX bundle"));
    let nested = read(&[&bundle(&json!([{"type": "bundle", "id": id("bundle", 1), "objects": [tool]}]))]);
    assert!(good(&nested).is_empty() && refused(&nested)[0].1.contains("within a bundle"));
}

#[test]
fn files_of_one_import_are_read_together_in_any_order() {
    let tool =
        |name: &str, modified: &str| json!({"type": "tool", "id": id("tool", 1), "name": name, "modified": modified});
    let relationship = json!({"type": "relationship", "id": id("relationship", 2), "relationship_type": "uses",
        "source_ref": id("tool", 1), "target_ref": id("malware", 3)});
    let old = bundle(&json!([tool("old", "2026-01-01T00:00:00Z")]));
    let new = bundle(&json!([tool("new", "2026-02-01T00:00:00Z")]));
    let link = bundle(&json!([relationship]));
    let there = good(&read(&[&old, &new, &link, &new]));
    assert_eq!(there, good(&read(&[&link, &new, &old])), "the same, and a copy is no other");
    let record = &there[&id("tool", 1)];
    assert_eq!(record.title, "new");
    assert_eq!(keys(record), [key("tool", 1), key("malware", 3)], "a target may be elsewhere");
    assert!(record.body.contains("not in these files"));
    assert_eq!(refused(&read(&[&link])).len(), 1, "alone it has no source");
}

#[test]
fn layout_and_order_of_keys_make_no_other_text() {
    let a = r#"{"type":"bundle","objects":[{"type":"tool","id":"ID","name":"x","x_n":{"b":1,"a":0.25}}]}"#;
    let b = r#"{"objects" : [ {"x_n":{"a":0.25,"b":1},"name":"\u0078",  "id":"ID","type":"tool"}],"type":"bundle"}"#;
    let [a, b] = [a, b].map(|text| good(&read(&[text.replace("ID", &id("tool", 1)).as_bytes()])));
    assert!(a.len() == 1 && a == b);
}

#[test]
fn an_object_is_edited_by_itself_and_by_its_relationships() {
    let text = std::str::from_utf8(EXERCISE).unwrap();
    let (before, set) = (good(&read(&[EXERCISE])), id("intrusion-set", 3));
    let changed = |from: &str, to: &str| -> Vec<String> {
        let after = good(&read(&[text.replacen(from, to, 1).as_bytes()]));
        let differs = after.into_iter().filter(|(id, draft)| before[id].content != draft.content);
        differs.map(|(id, _)| id).collect()
    };
    assert_eq!(changed("演练木马", "二号"), [id("malware", 2)], "those that name it were not edited");
    assert_eq!(changed("演练中使用", "不再使用"), [set]);
    assert!(changed("秘密★5年", "秘密★6年").is_empty(), "a label is not content");
}

#[test]
fn relations_beyond_the_references_stand_in_the_text() {
    let mut objects = vec![json!({"type": "tool", "id": id("tool", 0), "name": "x"})];
    objects.extend((1..=100).map(|n| {
        json!({"type": "relationship", "id": id("relationship", n), "relationship_type": "uses",
            "source_ref": id("tool", 0), "target_ref": id("malware", n), "revoked": n == 100})
    }));
    let records = good(&read(&[&bundle(&json!(objects))]));
    let record = &records[&id("tool", 0)];
    assert_eq!((record.references.len(), record.left_out), (limits::REFERENCES, 100 - limits::REFERENCES));
    assert!((1..=100).all(|n| record.body.contains(&format!("({})", id("malware", n)))));
    assert!(!keys(record).contains(&key("malware", 100)), "what was taken back links nothing");
}

#[test]
fn what_does_not_fit_a_record_is_refused() {
    let import = read(&[&bundle(&json!([
        {"type": "tool", "id": id("tool", 1), "name": "x", "x_text": "a".repeat(limits::TEXT_BYTES)},
        {"type": "tool", "id": id("tool", 2), "name": "x", "description": "a\u{0}b"},
        {"type": "tool", "id": id("tool", 3), "name": "长".repeat(limits::TITLE_CHARS), "revoked": true},
        {"type": "tool", "id": id("tool", 4), "name": " \u{7}\n "},
    ]))]);
    let reasons: Vec<_> = drafts(&import).into_iter().filter_map(|(_, d)| Some(d.err()?.reason)).collect();
    assert_eq!(reasons, ["BODY_TOO_LARGE", "BAD_BODY", "BAD_TITLE"]);
    assert!(good(&import)[&id("tool", 4)].title.starts_with("tool 0000"), "a name of nothing is none");
    let mut files = StixFiles::default();
    files.add("huge.json", &vec![b' '; limits::STIX_BYTES + 1]);
    let import = files.finish();
    assert_eq!(drafts(&import)[0].1.as_ref().unwrap_err().reason, "BODY_TOO_LARGE");
}

#[test]
fn a_whole_knowledge_base_goes_in() {
    let Some(data) = std::env::var_os("HUFU_TEST_DATA") else {
        println!("HUFU_TEST_DATA is not set: the bundles were not read");
        return;
    };
    let file = |name: &str| std::fs::read(std::path::Path::new(&data).join("stix").join(name)).unwrap();
    let import = read(&[&file("ics-attack.json")]);
    let records = good(&import);
    assert_eq!((records.len(), refused(&import)), (451, Vec::new()));
    assert!(records.values().all(|r| r.left_out == 0 && r.stated.grade.is_none() && r.stated.unknown.len() == 1));
    assert_eq!(records.values().filter(|r| r.title.contains("recalled at origin")).count(), 2);
    assert!(records.keys().filter(|id| id.starts_with("x-mitre-")).count() == 249);
    let relations = records.values().map(|r| r.body.matches("\"type\": \"relationship\"").count()).sum::<usize>();
    assert_eq!(relations, 1373);
    for (name, count) in [("apt1.json", 46), ("infrastructure.json", 6)] {
        let import = read(&[&file(name)]);
        assert_eq!((good(&import).len(), refused(&import)), (count, Vec::new()), "{name}");
    }
    let bare = read(&[&file("interop-objectmarking-test.json")]);
    assert!(good(&bare).is_empty() && refused(&bare)[0].1.contains("without a bundle"));
}

/// Values like those of a bundle, and unlike.
fn value() -> impl Strategy<Value = Value> {
    let words = ["tool", "relationship", "marking-definition", "bundle", "2.1", "uses", "内部", ""];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        proptest::sample::select(words.to_vec()).prop_map(Value::from),
        (0..4usize).prop_map(|n| Value::from(id("tool", n))),
        (0..4usize).prop_map(|n| Value::from(id("relationship", n))),
        (0..4usize).prop_map(|n| Value::from(id("marking-definition", n))),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let names = vec![
            "type",
            "id",
            "name",
            "revoked",
            "modified",
            "object_marking_refs",
            "source_ref",
            "target_ref",
            "relationship_type",
            "definition",
            "definition_type",
            "statement",
            "object_refs",
            "x",
        ];
        let key = proptest::sample::select(names).prop_map(str::to_owned);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..8).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drafts(&read(&[&bytes]));
    }

    #[test]
    fn no_change_of_a_bundle_makes_it_panic(at in 0..EXERCISE.len(), to in any::<u8>(), end in 0..EXERCISE.len()) {
        let mut bytes = EXERCISE.to_vec();
        bytes[at] = to;
        drafts(&read(&[&bytes]));
        drafts(&read(&[&bytes[..end]]));
    }

    /// Each object is a record, taken into one, or refused: nothing falls away unsaid.
    #[test]
    fn no_object_falls_away(objects in proptest::collection::vec(value(), 1..6)) {
        let import = read(&[&bundle(&Value::from(objects.clone()))]);
        let drafts = drafts(&import);
        prop_assert!(drafts.len() <= objects.len());
        for object in &objects {
            let id = object.get("id").and_then(Value::as_str).unwrap_or_default().to_lowercase();
            let named = drafts.iter().any(|(name, _)| *name == id || name.starts_with("f.json objects["));
            let taken = drafts.iter().filter_map(|(_, d)| d.as_ref().ok()).any(|d| d.body.contains(&id));
            let marking = object.get("type").and_then(Value::as_str) == Some("marking-definition");
            prop_assert!(named || taken || marking, "{object}");
        }
    }
}
