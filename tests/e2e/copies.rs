//! Copies that leave the system, and who may open what stays.

use super::demo::{Demo, hufu, ran, until};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const BODY: &str = "线人称货物藏于第七号柜";
const TEAR_LINE: &str = "演练：请加强查验";
const PURPOSE: &[&str] = &["--purpose", "CASE-3"];

fn published(demo: &Demo) -> String {
    let tear_line = demo.dir().join("tear-line.txt");
    std::fs::write(&tear_line, TEAR_LINE).unwrap();
    let portion = format!("{}:internal", tear_line.display());
    let how = ["--grade", "secret", "--compartment", "border-ops", "--portion", &portion, "--wait", "all"];
    demo.publish("police-analyst", "演练：七号柜", BODY, &how).ok()["record"].as_str().unwrap().to_owned()
}

#[test]
fn copies_say_what_they_are() {
    let demo = Demo::start();
    let record = published(&demo);
    let absent = format!("{}aaaaaa", record.get(..record.len() - 6).unwrap());
    let folder = |name: &str| demo.dir().join(name).to_str().unwrap().to_owned();
    let export = |who: &str, id: &str, dir: &str, more: &[&str]| {
        demo.run(who, &[&["record", "export", id, "--out", dir], more].concat())
    };

    // Sealed: checked without node or key, and every changed byte is found.
    let sealed = folder("sealed");
    let answer = export("customs-analyst", &record, &sealed, &["--sealed"]);
    assert_eq!((&answer.ok()["version"], &answer.ok()["files"]), (&json!(1), &json!(8)));
    let genesis = folder("genesis.json");
    let verify = |more: &[&str]| ran(hufu().args(["--json", "record", "verify", &sealed]).args(more).output().unwrap());
    let verified = verify(&["--genesis", &genesis]);
    assert_eq!((&verified.ok()["pinned"], &verified.ok()["originator"]), (&json!(true), &json!("police")));
    assert_eq!(verify(&[]).ok()["pinned"], json!(false));
    let history = demo.run("police-analyst", &[&["record", "history", &record], PURPOSE].concat());
    assert_eq!(verified.ok()["commitment"], history.lines[0]["commitment"], "as another agency's ledger has it");
    for entry in std::fs::read_dir(&sealed).unwrap().map(|e| e.unwrap().path()) {
        let good = std::fs::read(&entry).unwrap();
        for secret in [BODY, TEAR_LINE, "七号柜"] {
            assert!(!good.windows(secret.len()).any(|w| w == secret.as_bytes()), "{}", entry.display());
        }
        // What the manifest says in words for people is held against nothing.
        if entry.ends_with("MANIFEST.json") {
            continue;
        }
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(&entry, bad).unwrap();
        assert_eq!(verify(&[]).code, 6, "{}", entry.display());
        std::fs::write(&entry, good).unwrap();
    }
    verify(&[]).ok();
    // A manifest that was made to fit does not make up for a commitment.
    let manifest = Path::new(&sealed).join("MANIFEST.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let commitment = verified.ok()["commitment"].as_str().unwrap();
    std::fs::write(&manifest, text.replace(commitment, &"0".repeat(64))).unwrap();
    let other = verify(&[]);
    assert!(other.code == 6 && other.stderr.contains("commitment"), "{}", other.stderr);
    std::fs::write(&manifest, &text).unwrap();
    let stray = Path::new(&sealed).join("stray.txt");
    std::fs::write(&stray, "x").unwrap();
    assert!(verify(&[]).stderr.contains("stray.txt"));
    std::fs::remove_file(stray).unwrap();
    assert_eq!(export("customs-analyst", &record, &sealed, &["--sealed"]).code, 7, "what lies there stays");
    verify(&[]).ok();

    // In clear: the originator's own, each portion under its label, for a purpose.
    let clear = folder("clear");
    assert_eq!(export("police-analyst", &record, &clear, &["--clear"]).code, 2, "no purpose");
    assert_eq!(export("police-analyst", &record, &clear, PURPOSE).code, 2, "neither sealed nor clear");
    let taken = export("police-analyst", &record, &clear, &[&["--clear"], PURPOSE].concat());
    assert_eq!((&taken.ok()["record"], &taken.ok()["files"]), (&json!(record), &json!(4)));
    let read = |name: &str| std::fs::read_to_string(Path::new(&clear).join(name)).unwrap();
    assert_eq!(read(&format!("{record}-1.01.txt")), format!("机密★10年\n\n{BODY}\n"));
    assert_eq!(read(&format!("{record}-1.02.txt")), format!("内部\n\n{TEAR_LINE}\n"));
    let manifest: Value = serde_json::from_str(&read("MANIFEST.json")).unwrap();
    assert_eq!((&manifest["label"], &manifest["purpose"]), (&json!("机密★10年"), &json!("CASE-3")));
    // Neither it nor a log is a sealed copy that was spoilt.
    let log = folder("log");
    demo.run("police-officer", &["audit", "export", "--out", &log]).ok();
    for (dir, told) in [(&clear, "a copy in clear"), (&log, "hufu audit verify")] {
        let other = ran(hufu().args(["--json", "record", "verify", dir]).output().unwrap());
        assert!(other.code == 2 && other.stderr.contains(told), "{} {}", other.code, other.stderr);
    }
    let reads = demo.run("police-officer", &["audit", "who-read", &record]);
    let exported = |who: &str| reads.lines.iter().any(|r| r["who"] == who && r["action"] == "export");
    assert!(exported("analyst"), "{:?}", reads.lines);
    let events = demo.run("police-officer", &["audit", "search", "--record", &record]);
    let intent = |e: &&Value| e["action"] == "export" && e["stage"] == "intent" && e["purpose"] == "CASE-3";
    assert!(events.lines.iter().any(|e| intent(&e)), "before it was opened");

    // Who may open it is told that it stays in; to everybody else it is absent. Nothing is written.
    let nowhere = folder("nowhere");
    let ask = |who: &str, id: &str| export(who, id, &nowhere, &[&["--clear"], PURPOSE].concat());
    for (who, rule) in [("customs-analyst", "export-clear-own-only"), ("police-duty", "export-clear-needs-originator")]
    {
        let refused = ask(who, &record);
        assert!(refused.code == 3 && refused.stderr.contains(rule), "{who}: {}", refused.stderr);
    }
    for who in ["police-officer", "state-security-analyst", "cyberspace-analyst"] {
        let (there, not_there) = (ask(who, &record), ask(who, &absent));
        assert_eq!((there.code, &there.stderr), (4, &not_there.stderr), "{who}");
    }
    assert!(!Path::new(&nowhere).exists());
    // Each version is copied by its number.
    demo.run("police-analyst", &["record", "amend", &record, "--body", "改稿", "--reason", "更正"]).ok();
    let first = folder("first");
    let old = export("police-analyst", &record, &first, &["--sealed", "--version", "1"]);
    assert_eq!(old.ok()["version"], 1);
    ran(hufu().args(["--json", "record", "verify", &first, "--genesis", &genesis]).output().unwrap()).ok();
}

#[test]
fn who_may_open_is_told_to_those_who_answer_for_it() {
    let demo = Demo::start();
    let record = published(&demo);
    let absent = format!("{}aaaaaa", record.get(..record.len() - 6).unwrap());
    let who_can = |who: &str, id: &str| demo.run(who, &[&["record", "who-can", id], PURPOSE].concat());
    let says = |lines: &[Value], agency: &str, who: Option<&str>, may: bool, rule: &str| {
        let expected = json!({"agency": agency, "who": who, "may": may, "rule": rule});
        assert!(lines.contains(&expected), "{expected} is not in {lines:#?}");
    };
    until("customs holds it", Duration::from_secs(10), || {
        (demo.open("customs-analyst", &record).code == 0).then_some(())
    });
    for who in ["police-analyst", "police-chief", "police-officer"] {
        let told = who_can(who, &record);
        let (total, lines) = told.lines.split_last().expect("a total");
        assert_eq!((told.code, &total["total"]), (0, &json!(lines.len())), "{who}: {}", told.stderr);
        assert!(total["ledger_index"].as_u64().unwrap() > 0);
        says(lines, "police", None, true, "originator");
        says(lines, "police", Some("analyst"), true, "permit-reading");
        says(lines, "police", Some("clerk"), false, "lattice:grade");
        says(lines, "police", Some("officer"), false, "content-no-security-officer");
        says(lines, "customs", None, true, "released");
        says(lines, "state-security", None, false, "lattice:release");
        says(lines, "cyberspace", None, false, "lattice:release");
        let foreign = lines.iter().filter(|l| l["agency"] != "police" && !l["who"].is_null()).count();
        assert_eq!(foreign, 0, "whom others cleared is their own matter");
    }
    // Another agency sees its own part.
    for who in ["customs-analyst", "customs-officer"] {
        let told = who_can(who, &record);
        let (_, lines) = told.lines.split_last().expect("a total");
        assert_eq!(told.code, 0, "{who}: {}", told.stderr);
        assert!(lines.iter().all(|l| l["agency"] == "customs"), "{who}: {lines:?}");
        says(lines, "customs", None, true, "released");
        says(lines, "customs", Some("analyst"), true, "permit-reading");
        says(lines, "customs", Some("clerk"), false, "lattice:grade");
    }
    // Without the role nobody is told anything, of whatever record; with it, nothing of what one may not know of.
    for who in ["police-clerk", "police-duty", "police-operator", "police-inspector"] {
        let (there, not_there) = (who_can(who, &record), who_can(who, &absent));
        assert_eq!((there.code, &there.stderr), (3, &not_there.stderr), "{who}");
        assert!(there.lines.is_empty());
    }
    for who in ["state-security-analyst", "state-security-officer", "cyberspace-officer"] {
        let (there, not_there) = (who_can(who, &record), who_can(who, &absent));
        assert_eq!((there.code, &there.stderr), (4, &not_there.stderr), "{who}");
    }
    assert_eq!(demo.run("police-analyst", &["record", "who-can", &record, "--purpose", ""]).code, 2);
    let log = demo.run("police-officer", &["audit", "search", "--record", &record, "--limit", "500"]);
    let asked = |who: &str, decision: &str| {
        let of = |e: &Value| e["action"] == "who-can" && e["actor"] == who && e["decision"] == decision;
        log.lines.iter().any(|e| of(e) && e["purpose"] == "CASE-3")
    };
    assert!(asked("police/analyst", "allow") && asked("police/clerk", "deny"), "{:?}", log.lines);

    // What changes is told at the next call: a clearance, a person's access, the agreement.
    demo.run("police-officer", &["person", "change", "clerk", "--clearance", "secret"]).ok();
    demo.run("police-officer", &["person", "suspend", "duty"]).ok();
    demo.run("customs-officer", &["agreement", "end", "border-2026", "--reason", "演练结束"]).ok();
    let told = until("the end is applied at police", Duration::from_secs(10), || {
        let told = who_can("police-analyst", &record);
        let over = json!({"agency": "customs", "who": null, "may": false, "rule": "lattice:agreement"});
        told.lines.contains(&over).then_some(told)
    });
    says(&told.lines, "police", Some("clerk"), false, "lattice:compartment");
    says(&told.lines, "police", Some("duty"), false, "person-suspended");
    says(&told.lines, "police", None, true, "originator");
    let own = who_can("customs-officer", &record);
    says(&own.lines, "customs", Some("analyst"), false, "lattice:agreement");
}
