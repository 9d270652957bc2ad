//! Texts are imported once each, found in Chinese by whoever may see them, and by nobody else.

use super::demo::{Demo, Ran, until};
use super::shares::files;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LABEL: &[&str] = &["--format", "text", "--grade", "secret", "--agreement", "border-2026"];

/// Texts written for this test; the folder of real laws is used beside them where it is present.
fn fixtures(dir: &Path) -> PathBuf {
    let folder = dir.join("texts");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.join(name), text).unwrap();
    write(
        "一号令.md",
        "# 演练保密规定\n\n通过\n\n<!-- INFO END -->\n\n第一条 国家秘密的知悉范围，限于专班。".as_bytes(),
    );
    write("sub/一号令.md", "# 演练口岸规定\n\n第一条 知悉，范围另定。国家安全与秘密通道。".as_bytes());
    write("note.txt", "无标题的一段话，含有全角ＡＢＣ１２３。".as_bytes());
    folder
}

fn import(demo: &Demo, who: &str, folder: &Path) -> Ran {
    demo.run(who, &[&["record", "import", folder.to_str().unwrap()], LABEL].concat())
}

/// Imported, updated, unchanged, refused.
pub fn counts(ran: &Ran) -> [u64; 4] {
    let total = ran.lines.last().expect("a total");
    ["imported", "updated", "unchanged", "refused"].map(|k| total[k].as_u64().unwrap())
}

/// Sources under a folder, of which each text contains the phrase.
fn containing(root: &Path, phrase: &str) -> BTreeSet<String> {
    let contain = files(root).into_iter().filter(|f| std::fs::read_to_string(f).unwrap().contains(phrase));
    contain.map(|f| f.strip_prefix(root).unwrap().to_str().unwrap().to_owned()).collect()
}

/// A phrase finds the very texts that contain it, held against the files themselves: none more, and none less.
fn exactly_what_contains_it(demo: &Demo, phrase: &str, imported: &[Ran], roots: &[&Path]) {
    let expected: BTreeSet<String> = roots.iter().flat_map(|root| containing(root, phrase)).collect();
    assert!(expected.len() > 1, "there is something to find");
    let query = format!("\"{phrase}\"");
    let hits = until("as many are found as contain it", Duration::from_secs(30), || {
        let args = ["record", "search", &query, "--purpose", "CASE-7", "--limit", "200"];
        let ran = demo.run("customs-analyst", &args);
        (ran.ok()["total"].as_u64().unwrap() >= expected.len() as u64).then_some(ran)
    });
    let source = |record: &Value| {
        let mut lines = imported.iter().flat_map(|ran| &ran.lines);
        lines.find(|l| l["record"] == *record).expect("it was imported")["source"].as_str().unwrap().to_owned()
    };
    let found: Vec<String> =
        hits.lines.iter().filter(|l| l["record"].is_string()).map(|l| source(&l["record"])).collect();
    assert_eq!(hits.ok()["total"], found.len(), "each is shown, and once");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "{phrase}");
}

#[test]
fn texts_are_imported_once_each() {
    let demo = Demo::start();
    demo.equal_digests("police-clerk", 4);
    let folder = fixtures(demo.dir());

    let first = import(&demo, "police-analyst", &folder);
    assert_eq!((first.code, counts(&first)), (0, [3, 0, 0, 0]), "{}", first.stderr);
    let record = |ran: &Ran, source: &str| {
        ran.lines.iter().find(|l| l["source"] == source).map(|l| l["record"].as_str().unwrap().to_owned()).unwrap()
    };
    assert_eq!(counts(&import(&demo, "police-chief", &folder)), [0, 0, 3, 0], "another profile, the same sources");

    // An edited file is the next version of the same record; an empty one beside it is refused alone.
    std::fs::write(folder.join("note.txt"), "改过的一段话。").unwrap();
    std::fs::write(folder.join("empty.txt"), "").unwrap();
    std::fs::write(folder.join("broken.txt"), [0xff, 0xfe]).unwrap();
    let second = import(&demo, "police-analyst", &folder);
    assert_eq!((second.code, counts(&second)), (8, [0, 1, 2, 2]));
    assert_eq!(record(&first, "note.txt"), record(&second, "note.txt"));
    let opened = until("customs has version 2", Duration::from_secs(10), || {
        let r = demo.open("customs-analyst", &record(&first, "note.txt"));
        (r.code == 0 && r.ok()["version"] == 2).then(|| r.ok().clone())
    });
    assert_eq!(opened["portions"][0]["text"], "改过的一段话。");
    let bad = demo.dir().join("bad");
    std::fs::create_dir(&bad).unwrap();
    std::fs::write(bad.join("empty.md"), "").unwrap();
    assert_eq!(import(&demo, "police-analyst", &bad).code, 2, "all refused");
    let internal = ["--format", "text", "--grade", "internal", "--agreement", "border-2026"];
    let relabelled =
        demo.run("police-analyst", &[&["record", "import", folder.to_str().unwrap()], &internal[..]].concat());
    assert_eq!(relabelled.code, 2, "an import never changes a label");

    if let Some(data) = std::env::var_os("HUFU_TEST_DATA") {
        let laws = Path::new(&data).join("laws");
        assert_eq!(counts(&import(&demo, "police-analyst", &laws)), [118, 0, 0, 0]);
        assert_eq!(counts(&import(&demo, "police-chief", &laws)), [0, 0, 118, 0]);
    }
    let found = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(found, 5, "the sources are left as they are");
}

#[test]
fn texts_are_found_by_whoever_may_see_them() {
    let demo = Demo::start();
    demo.equal_digests("police-clerk", 4);
    let folder = fixtures(demo.dir());
    import(&demo, "police-analyst", &folder);
    let search = |who: &str, query: &str| demo.run(who, &["record", "search", query, "--purpose", "CASE-7"]);
    let titles = |ran: &Ran| -> Vec<String> {
        let hits = ran.lines.iter().filter(|l| l["title"].is_string());
        hits.map(|l| l["title"].as_str().unwrap().to_owned()).collect()
    };
    let hits = until("customs has indexed them", Duration::from_secs(10), || {
        let r = search("customs-analyst", "\"知悉范围\"");
        (r.code == 0 && r.ok()["total"] == 1).then_some(r)
    });
    assert_eq!(titles(&hits), ["演练保密规定"], "exactly the text that contains it");
    assert!(hits.lines[0]["snippet"].as_str().unwrap().contains("知悉范围"));
    until("customs has indexed the other one too; full-width is folded", Duration::from_secs(10), || {
        (titles(&search("customs-analyst", "abc123")) == ["note"]).then_some(())
    });
    assert_eq!(titles(&search("customs-analyst", "origin:customs 规定")), [""; 0]);
    let far = ["record", "search", "规定", "--purpose", "CASE-7", "--offset", "4000000000"];
    assert_eq!(demo.run("customs-analyst", &far).code, 2, "nothing is made ready for so many");

    // The originator learns of the snippet.
    let record = hits.lines[0]["record"].as_str().unwrap().to_owned();
    until("police learns of the snippet", Duration::from_secs(5), || {
        let reads = demo.run("police-officer", &["audit", "who-read", &record]);
        reads.lines.iter().any(|r| r["agency"] == "customs" && r["action"] == "snippet").then_some(())
    });

    // A clerk finds and counts nothing; the search is an event with nothing disclosed.
    let nothing = search("customs-clerk", "\"知悉范围\"");
    assert_eq!((nothing.code, nothing.lines.len(), &nothing.ok()["total"]), (0, 1, &serde_json::json!(0)));
    let events = demo.run("customs-officer", &["audit", "search", "--person", "clerk"]);
    assert!(events.lines.iter().any(|e| e["action"] == "search" && e["record"].is_null()), "{:?}", events.lines);
    assert_eq!(search("cyberspace-chief", "知悉").ok()["total"], 0);
    assert_eq!(search("customs-officer", "知悉").code, 3, "officers do not search content");
    assert_eq!(search("customs-analyst", &"(".repeat(10_000)).code, 2);
    assert_eq!(demo.run("customs-analyst", &["record", "search", "知悉", "--purpose", ""]).code, 2);

    // A new version replaces the old one; after a crash every record is found exactly once.
    std::fs::write(folder.join("note.txt"), "改过的一段话，口令ＸＹＺ。").unwrap();
    import(&demo, "police-analyst", &folder);
    demo.kill("customs");
    let _customs = demo.start_node("customs");
    until("customs has indexed the new version", Duration::from_secs(20), || {
        let (new, old) = (search("customs-analyst", "xyz"), search("customs-analyst", "abc123"));
        (new.code == 0 && new.ok()["total"] == 1 && old.ok()["total"] == 0).then_some(())
    });
    assert_eq!(search("customs-analyst", "\"知悉范围\"").ok()["total"], 1);

    if let Some(data) = std::env::var_os("HUFU_TEST_DATA") {
        let laws = Path::new(&data).join("laws");
        let imported = [import(&demo, "police-analyst", &folder), import(&demo, "police-analyst", &laws)];
        for phrase in ["知悉范围", "国家秘密"] {
            exactly_what_contains_it(&demo, phrase, &imported, &[&folder, &laws]);
        }
        let first = titles(&search("customs-analyst", "国家秘密"));
        assert!(first.iter().take(2).any(|t| t.contains("保守国家秘密法")), "{first:?}");
    }
    demo.run("customs-officer", &["agreement", "end", "border-2026", "--reason", "演练结束"]).ok();
    until("after the end customs finds nothing", Duration::from_secs(5), || {
        (search("customs-analyst", "知悉").ok()["total"] == 0).then_some(())
    });
    assert_ne!(search("police-analyst", "知悉").ok()["total"], 0, "the originator's own people do");
}
