//! The search room as a whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::*;
use crate::domain::ids::RecordId;
use crate::domain::label::Grade;
use crate::domain::record::Kind;
use crate::domain::time::{Entropy, Millis};
use std::collections::BTreeSet;
use std::path::Path;

struct Counting(u64);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        for b in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *b = (self.0 >> 33) as u8;
        }
    }
}

fn open(dir: &Path, key: u8) -> (Indexes, Vec<Grade>) {
    let keys = vec![(Grade::Internal, [key; 32]), (Grade::Secret, [key + 1; 32])];
    Indexes::open(dir, keys, Box::new(Counting(u64::from(key)))).unwrap()
}

fn record(n: u8) -> RecordId {
    RecordId::from_bytes([n; 16])
}

fn document(n: u8, version: u32, title: &str, body: &str) -> Document {
    Document {
        record: record(n),
        version,
        grade: Grade::Secret,
        class: b"class".to_vec(),
        origin: "police".parse().unwrap(),
        kind: Kind::Report,
        issued: Millis(1_700_000_000_000),
        references: vec!["phone:+86 13800000000".parse().unwrap()],
        title: title.into(),
        body: body.into(),
    }
}

fn allowed() -> Allowed {
    Allowed { classes: [b"class".to_vec()].into(), grade: None }
}

fn found(indexes: &Indexes, query: &str) -> Vec<u8> {
    let q = Query::parse(query).unwrap();
    let mut hits: Vec<u8> =
        indexes.query(&q, &allowed(), 100).unwrap().0.iter().map(|m| m.record.as_bytes()[0]).collect();
    hits.sort_unstable();
    hits
}

fn library() -> (tempfile::TempDir, Indexes) {
    let dir = tempfile::tempdir().unwrap();
    let (indexes, anew) = open(dir.path(), 1);
    assert!(anew.is_empty());
    indexes
        .add(&[
            document(1, 1, "保密规定", "国家秘密的知悉范围，限于专班。Ｃａｓｅ ＡＢＣ１２３"),
            document(2, 1, "口岸通报", "知悉，范围另定。国家安全与秘密通道。车牌粤B12345"),
            document(3, 1, "知悉范围", "只有标题"),
            Document {
                kind: Kind::Lead,
                origin: "customs".parse().unwrap(),
                references: vec![],
                ..document(4, 1, "线索", "case abc")
            },
        ])
        .unwrap();
    (dir, indexes)
}

#[test]
fn phrases_match_exactly_the_texts_that_contain_them() {
    let (_dir, i) = library();
    assert_eq!(found(&i, "\"知悉范围\""), [1, 3]);
    assert_eq!(found(&i, "知悉范围"), [1, 3], "a word is a phrase of its characters");
    assert_eq!(found(&i, "国家秘密"), [1]);
    assert_eq!(found(&i, "国家"), [1, 2]);
    assert_eq!(found(&i, "另"), [2], "inside a run");
    assert_eq!(found(&i, "班"), [1], "at the end of a run");
    assert_eq!(found(&i, "粤B12345"), [2]);
    assert_eq!(found(&i, "粤b12346"), [0u8; 0]);
}

#[test]
fn width_and_case_are_folded() {
    let (_dir, i) = library();
    assert_eq!(found(&i, "abc123"), [1]);
    assert_eq!(found(&i, "ＡＢＣ１２３"), [1]);
    assert_eq!(found(&i, "CASE"), [1, 4]);
}

#[test]
fn traditional_and_simplified_find_each_other() {
    let (_dir, i) = library();
    i.add(&[document(5, 1, "保密規定", "國家秘密的知悉範圍，以後另行發佈。")]).unwrap();
    for query in ["\"知悉范围\"", "\"知悉範圍\"", "知悉範围"] {
        assert_eq!(found(&i, query), [1, 3, 5], "{query}");
    }
    assert_eq!(found(&i, "国家秘密"), [1, 5]);
    assert_eq!(found(&i, "以后另行发布"), [5]);
    assert_eq!(found(&i, "範"), found(&i, "范"), "a single character, too");
    assert!(found(&i, "範").contains(&5));
    let snippet = Query::parse("知悉范围").unwrap().snippet("國家秘密的知悉範圍");
    assert!(snippet.contains("知悉範圍"), "the text is shown as it is: {snippet}");
}

/// 北京 stands in both, but in one of them across the border of 东北 and 京剧.
#[test]
fn words_rank_and_do_not_match() {
    let dir = tempfile::tempdir().unwrap();
    let (i, _) = open(dir.path(), 1);
    i.add(&[document(8, 1, "通报", "北京人员离开口岸通报"), document(9, 1, "通报", "东北京剧团到口岸演出")]).unwrap();
    let order = |query: &str| {
        let (hits, _) = i.query(&Query::parse(query).unwrap(), &allowed(), 10).unwrap();
        hits.iter().map(|m| m.record.as_bytes()[0]).collect::<Vec<_>>()
    };
    assert_eq!(order("北京"), [8, 9]);
    assert_eq!(order("京剧"), [9]);
    assert_eq!(order("北京 NOT 人员"), [9], "what a dictionary says excludes nothing");
    assert_eq!(order("NOT 北京 口岸"), [0u8; 0]);
    assert_eq!(order("岸通"), [8], "no word at all");
}

#[test]
fn what_stands_in_the_title_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let (i, _) = open(dir.path(), 1);
    let padding = "其他文字".repeat(20);
    i.add(&[
        document(1, 1, "通报", &format!("口岸情况，口岸人员。{padding}")),
        document(2, 1, "口岸", &format!("一次也没有提到它。{padding}")),
        document(3, 1, "通报", &format!("口岸。{padding}")),
    ])
    .unwrap();
    let (hits, total) = i.query(&Query::parse("口岸").unwrap(), &allowed(), 10).unwrap();
    assert_eq!((hits.iter().map(|m| m.record.as_bytes()[0]).collect::<Vec<_>>(), total), (vec![2, 1, 3], 3));
}

/// A hit has one place, however many are asked for: pages neither repeat nor leave out.
#[test]
fn pages_follow_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (i, _) = open(dir.path(), 1);
    for part in (0..200u8).collect::<Vec<_>>().chunks(70) {
        // By characters each fifth comes first, since its text is shorter; a word raises the others. Many are equal.
        let text = |n: &u8| {
            if n.is_multiple_of(5) { "东北京剧团演出" } else { "北京人员离开口岸附近的码头" }
        };
        i.add(&part.iter().map(|n| document(*n, 1, "通报", text(n))).collect::<Vec<_>>()).unwrap();
    }
    for query in ["北京", "北京 通报", "kind:report", "通"] {
        let query = Query::parse(query).unwrap();
        let of = |most| i.query(&query, &allowed(), most).unwrap().0;
        let all = of(1000);
        assert_eq!(all.len(), 200);
        for most in [1, 20, 36, 63, 64, 65, 130] {
            assert_eq!(of(most), all[..most], "{most}");
        }
    }
}

#[test]
fn operators_and_fields_narrow() {
    let (_dir, i) = library();
    assert_eq!(found(&i, "国家 知悉"), [1, 2]);
    assert_eq!(found(&i, "国家 AND NOT 安全"), [1]);
    assert_eq!(found(&i, "国家 -安全"), [1]);
    assert_eq!(found(&i, "安全 OR 标题"), [2, 3]);
    assert_eq!(found(&i, "(安全 OR 标题) NOT 口岸"), [3]);
    assert_eq!(found(&i, "安全 OR 标题 AND 口岸"), [2], "AND binds before OR");
    assert_eq!(found(&i, "kind:lead"), [4]);
    assert_eq!(found(&i, "origin:police 只有"), [3]);
    assert_eq!(found(&i, "ref:phone:138-0000-0000 国家秘密"), [1]);
    assert_eq!(found(&i, "ref:phone:\"+86 138 0000 0000\" 国家秘密"), [1]);
    assert_eq!(found(&i, "since:2023-11-01 线索"), [4]);
    assert_eq!(found(&i, "since:2024-01-01 线索"), [0u8; 0]);
}

#[test]
fn what_is_not_allowed_is_not_matched() {
    let (_dir, i) = library();
    let q = Query::parse("国家").unwrap();
    let none = |a: Allowed| {
        let (found, total) = i.query(&q, &a, 100).unwrap();
        assert!(found.is_empty() && total == 0);
    };
    none(Allowed { classes: [].into(), ..allowed() });
    none(Allowed { classes: [b"other".to_vec()].into(), ..allowed() });
    none(Allowed { grade: Some(Grade::Internal), ..allowed() });
    assert_eq!(i.query(&q, &Allowed { grade: Some(Grade::Secret), ..allowed() }, 100).unwrap().1, 2);
    let (best, total) = i.query(&q, &allowed(), 1).unwrap();
    assert_eq!((best.len(), total), (1, 2), "what is not shown is counted");
    assert_eq!(i.classes().unwrap(), [b"class".to_vec()].into());
}

#[test]
fn a_record_is_there_once_whatever_was_repeated() {
    let (dir, i) = library();
    let again = document(1, 1, "保密规定", "国家秘密的知悉范围，限于专班。");
    i.add(&[again]).unwrap();
    assert_eq!(found(&i, "国家秘密"), [1]);
    i.add(&[document(1, 2, "改版", "全新的文字")]).unwrap();
    assert_eq!(found(&i, "国家秘密"), [0u8; 0], "an earlier version is gone");
    assert_eq!(found(&i, "全新"), [1]);
    // Another grade: it leaves the old index.
    i.add(&[Document { grade: Grade::Internal, ..document(1, 3, "改版", "全新的文字") }]).unwrap();
    assert_eq!(found(&i, "全新"), [1]);
    i.remove(&[record(2), record(9)]).unwrap();
    assert_eq!(i.documents(), 3, "at once");
    drop(i);
    let (i, anew) = open(dir.path(), 1);
    assert!(anew.is_empty());
    let versions: Vec<_> = i.indexed().unwrap().into_iter().map(|(r, v)| (r.as_bytes()[0], v)).collect();
    assert_eq!(versions, [(1, 3), (3, 1), (4, 1)]);
}

#[test]
fn what_is_of_a_class_goes_at_once_and_for_good() {
    let (dir, i) = library();
    let other = |n, grade| Document { grade, class: b"other".to_vec(), ..document(n, 1, "题", "另一类文字") };
    i.add(&[other(8, Grade::Secret), other(9, Grade::Internal)]).unwrap();
    let gone: BTreeSet<Vec<u8>> = [b"other".to_vec(), b"unknown".to_vec()].into();
    i.remove_classes(&gone).unwrap();
    i.remove_classes(&gone).unwrap();
    drop(i);
    let i = open(dir.path(), 1).0;
    let left: Vec<u8> = i.indexed().unwrap().into_keys().map(|r| r.as_bytes()[0]).collect();
    assert_eq!(left, [1, 2, 3, 4]);
    i.add(&[other(8, Grade::Secret)]).unwrap();
    assert_eq!(i.indexed().unwrap().len(), 5, "it may come back");
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] }).collect()
}

/// Title and body are one field, and no text is found across the border.
#[test]
fn a_phrase_ends_where_the_title_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (indexes, _) = open(dir.path(), 1);
    indexes
        .add(&[document(1, 1, "关于口岸", "演练通报 of the border"), document(2, 1, "北 fast", "train 京")])
        .unwrap();
    for (query, expected) in
        [("关于口岸", vec![1]), ("演练", vec![1]), ("口岸演练", vec![]), ("岸演", vec![]), ("fast", vec![2])]
    {
        assert_eq!(found(&indexes, query), expected, "{query}");
    }
    assert_eq!(found(&indexes, "\"fast train\""), Vec::<u8>::new());
}

#[test]
fn files_are_sealed_and_bound() {
    let (dir, i) = library();
    drop(i);
    for file in files(dir.path()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(bytes.starts_with(b"HUFUIDX4"), "{}", file.display());
        for needle in ["国家", "abc123", "border-2026", "police"] {
            assert!(!bytes.windows(needle.len()).any(|w| w == needle.as_bytes()), "{}", file.display());
        }
    }
    // Another key opens nothing; the indexes are begun anew and named.
    let other = tempfile::tempdir().unwrap();
    copy(dir.path(), other.path());
    let (i, anew) = open(other.path(), 9);
    assert_eq!(anew, [Grade::Internal, Grade::Secret]);
    assert!(i.indexed().unwrap().is_empty());
    // Files of an earlier analysis do not open either.
    let earlier = tempfile::tempdir().unwrap();
    copy(dir.path(), earlier.path());
    for file in files(earlier.path()) {
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[..8].copy_from_slice(b"HUFUIDX1");
        std::fs::write(&file, bytes).unwrap();
    }
    let (i, anew) = open(earlier.path(), 1);
    assert_eq!(anew, [Grade::Internal, Grade::Secret]);
    assert!(i.indexed().unwrap().is_empty());
    // A flipped byte in any file of an index: what is found is right, or the index is begun anew, or it is an error.
    for file in files(&dir.path().join("secret")) {
        let bad = tempfile::tempdir().unwrap();
        copy(dir.path(), bad.path());
        let target = bad.path().join(file.strip_prefix(dir.path()).unwrap());
        let mut bytes = std::fs::read(&target).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&target, bytes).unwrap();
        let (i, anew) = open(bad.path(), 1);
        let hits = i.query(&Query::parse("国家秘密").unwrap(), &allowed(), 10);
        match hits {
            Ok((hits, _)) if anew.is_empty() => assert_eq!(hits.len(), 1, "{}", file.display()),
            Ok((hits, _)) => assert!(hits.is_empty()),
            Err(_) => {}
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, target).unwrap();
    }
}

#[test]
fn bad_queries_are_refused_with_the_limit() {
    let reason = |q: &str| Query::parse(q).unwrap_err();
    for q in [
        "",
        "  ",
        "()",
        "(国家",
        "国家)",
        "\"国家",
        "AND",
        "国家 AND",
        "国家 OR",
        "NOT",
        "NOT 国家",
        "，。",
        "kind:nonsense",
        "since:yesterday",
        "ref:x",
    ] {
        assert_eq!(reason(q).reason, "BAD_QUERY", "{q}");
    }
    assert!(reason(&"(".repeat(10_000)).message.contains("1000"));
    assert!(reason(&"(".repeat(900)).message.contains("32"));
    assert!(reason(&"NOT ".repeat(240)).message.contains("32"));
    assert!(reason(&"国 ".repeat(65)).message.contains("64"));
}

#[test]
fn snippets_show_the_match() {
    let body = format!("{}国家秘密的知悉范围{}", "前".repeat(100), "后".repeat(100));
    let snippet = Query::parse("\"知悉范围\" NOT 前").unwrap().snippet(&body);
    assert!(snippet.contains("知悉范围") && snippet.starts_with('…') && snippet.ends_with('…'), "{snippet}");
    assert_eq!(Query::parse("ABC").unwrap().snippet("见 ａｂｃ\n一案"), "见 ａｂｃ 一案");
    assert_eq!(Query::parse("无").unwrap().snippet("短文"), "短文");
}
