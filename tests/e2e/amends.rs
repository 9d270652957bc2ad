//! Amending: the next version under the same label, for the same agencies; who was second hears it.

use super::demo::{Demo, Ran, until};
use super::portions::agree;
use serde_json::{Value, json};
use std::time::Duration;

const REASON: &str = "更正柜号";

fn amend(demo: &Demo, persona: &str, record: &str, more: &[&str]) -> Ran {
    demo.run(persona, &[&["record", "amend", record, "--reason", REASON], more].concat())
}

fn open_version(demo: &Demo, persona: &str, record: &str, version: &str) -> Ran {
    demo.run(persona, &["record", "open", record, "--version", version, "--purpose", "CASE-1"])
}

fn texts(opened: &Value) -> Vec<String> {
    opened["portions"].as_array().unwrap().iter().map(|p| p["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_amendment_is_the_next_version_for_the_same_readers() {
    let demo = Demo::start();
    agree(&demo);
    let file = |name: &str, text: &str| {
        let path = demo.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (low, mid) = (file("low.txt", "演练：加强查验"), file("mid.txt", "车辆仍在港区"));
    let portions = [format!("{low}:internal"), format!("{mid}:secret")];
    let first = ["record", "publish", "--title", "七号柜", "--body", "货物在第七号柜", "--grade", "secret"];
    let how = ["--agreement", "tear-line", "--period", "20", "--portion", &portions[0], "--portion", &portions[1]];
    let all = ["--wait", "all", "--wait-seconds", "10"];
    let published = demo.run("police-analyst", &[&first[..], &how, &all].concat());
    let record = published.ok()["record"].as_str().unwrap().to_owned();
    let tear_line = published.ok()["portions"][0]["record"].as_str().unwrap().to_owned();
    let absent = format!("{}aaaaaa", record.get(..record.len() - 6).unwrap());

    // What is not given stays: the further texts, the tear-line, and who may have each.
    let change = ["--title", "九号柜", "--body", "货物在第九号柜", "--version", "1"];
    let amended = amend(&demo, "police-analyst", &record, &[&change[..], &all].concat());
    let answer = amended.ok();
    assert_eq!((&answer["record"], &answer["version"]), (&json!(record), &json!(2)));
    assert_eq!(answer["state"], "committed");
    assert_eq!(answer["owed"], published.ok()["owed"], "nobody more and nobody less");
    assert_eq!(answer["held_by"], answer["owed"]);
    let part = json!([{"record": tear_line, "version": 2, "grade": "internal"}]);
    assert_eq!(answer["portions"], part, "a tear-line keeps its id");
    let opened = until("customs has version 2", Duration::from_secs(10), || {
        let ran = demo.open("customs-analyst", &record);
        (ran.code == 0 && ran.ok()["version"] == 2).then(|| ran.ok().clone())
    });
    assert_eq!((&opened["title"], &opened["label"]), (&json!("九号柜"), &json!("机密★20年")));
    assert_eq!(texts(&opened), ["货物在第九号柜", "车辆仍在港区", "演练：加强查验"]);
    until("cyberspace has the tear-line's version 2", Duration::from_secs(10), || {
        let ran = demo.open("cyberspace-clerk", &tear_line);
        (ran.code == 0 && ran.ok()["version"] == 2).then_some(())
    });
    assert_eq!(demo.open("cyberspace-clerk", &record).code, 4, "and still nothing of the record");
    // Earlier versions stay, and are listed.
    let before = open_version(&demo, "customs-analyst", &record, "1");
    assert_eq!((&before.ok()["title"], texts(before.ok())[0].as_str()), (&json!("七号柜"), "货物在第七号柜"));
    let history = demo.run("customs-analyst", &["record", "history", &record, "--purpose", "CASE-1"]);
    let versions: Vec<_> = history.lines.iter().map(|l| l["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, [1, 2]);
    assert_ne!(history.lines[0]["commitment"], history.lines[1]["commitment"]);

    // Somebody was first.
    let late = amend(&demo, "police-chief", &record, &["--title", "八号柜", "--version", "1"]);
    assert!(late.code == 7 && late.stderr.contains("VERSION_CONFLICT"), "{}", late.stderr);
    let ahead = amend(&demo, "police-chief", &record, &["--title", "八号柜", "--version", "9"]);
    assert_eq!(ahead.code, 7, "{}", ahead.stderr);

    // Nothing to do, no reason, a portion above the record.
    for (args, reason) in [
        (vec!["record", "amend", &record, "--reason", REASON], "nothing to change"),
        (vec!["record", "amend", &record, "--reason", " ", "--title", "x"], "BAD_REASON"),
        (vec!["record", "amend", &record, "--title", "x"], "--reason"),
        (vec!["record", "amend", &record, "--reason", REASON, "--title", ""], "--title"),
    ] {
        let refused = demo.run("police-analyst", &args);
        assert!(refused.code == 2 && refused.stderr.contains(reason), "{args:?}: {}", refused.stderr);
    }
    let both = [format!("{mid}:top-secret"), format!("{mid}:internal")];
    let above = amend(&demo, "police-chief", &record, &["--portion", &both[0], "--portion", &both[1]]);
    assert!(above.code == 2 && above.stderr.contains("PORTION_ABOVE_RECORD"), "{}", above.stderr);

    // One that leaves the tear-line out would leave it published.
    let without = amend(&demo, "police-chief", &record, &["--portion", &format!("{mid}:secret")]);
    assert!(without.code == 2 && without.stderr.contains("PORTION_LEFT_OUT"), "{}", without.stderr);
    assert_eq!(demo.open("police-chief", &record).ok()["version"], 2, "nothing came of it");

    // Who may see it is told why not; to everybody else it is absent.
    let title = ["--title", "x"];
    for (who, reason) in
        [("customs-analyst", "only the originator's own people"), ("police-duty", "publish-needs-originator")]
    {
        let refused = amend(&demo, who, &record, &title);
        assert!(refused.code == 3 && refused.stderr.contains(reason), "{who}: {}", refused.stderr);
    }
    for who in ["police-clerk", "police-officer", "customs-clerk", "cyberspace-analyst"] {
        let (there, nowhere) = (amend(&demo, who, &record, &title), amend(&demo, who, &absent, &title));
        assert_eq!((there.code, &there.stderr), (4, &nowhere.stderr), "{who}");
    }

    // Portions that are given take the place of all that there were.
    let new_low = file("new-low.txt", "演练：解除查验");
    let portion = format!("{new_low}:internal");
    let third = amend(&demo, "police-analyst", &record, &[&["--portion", &portion][..], &all].concat());
    assert_eq!(third.ok()["version"], 3);
    assert_eq!(texts(demo.open("police-analyst", &record).ok()), ["货物在第九号柜", "演练：解除查验"]);
    let lifted = until("cyberspace has it", Duration::from_secs(10), || {
        let ran = demo.open("cyberspace-clerk", &tear_line);
        (ran.code == 0 && ran.ok()["version"] == 3).then(|| ran.ok().clone())
    });
    assert_eq!(texts(&lifted), ["演练：解除查验"]);
    // A tear-line that is amended by itself is what the record's next version carries.
    let alone = amend(&demo, "police-analyst", &tear_line, &[&["--body", "演练：照常"][..], &all].concat());
    assert_eq!((&alone.ok()["record"], &alone.ok()["version"]), (&json!(tear_line), &json!(4)));
    let fourth = amend(&demo, "police-analyst", &record, &["--title", "九号柜（完）"]);
    assert_eq!(fourth.ok()["portions"][0]["version"], 5);
    assert_eq!(texts(demo.open("police-analyst", &record).ok()), ["货物在第九号柜", "演练：照常"]);

    // Two at once: one is the next version, and the other hears that.
    let codes = std::thread::scope(|scope| {
        let both = ["甲", "乙"].map(|title| {
            let (demo, record) = (&demo, &record);
            scope.spawn(move || {
                amend(demo, "police-analyst", record, &["--title", title, "--version", "4", "--wait", "none"]).code
            })
        });
        both.map(|ran| ran.join().unwrap())
    });
    assert!(codes == [0, 7] || codes == [7, 0], "{codes:?}");

    // The reason stands in the log, with who it was.
    let log = demo.run("police-officer", &["audit", "search", "--record", &record, "--limit", "500"]).lines;
    let of = |action: &str, decision: &str| {
        let by = |e: &&Value| e["action"] == action && e["decision"] == decision && e["stage"] == "outcome";
        log.iter().filter(by).any(|e| e["actor"] == "police/analyst" && e["purpose"] == REASON)
    };
    assert!(of("amend", "allow") && of("publish", "allow"), "{log:?}");
    assert!(log.iter().any(|e| e["rule"] == "act:VERSION_CONFLICT" && e["actor"] == "police/chief"));

    // Two persons mark a state secret: without a guide there is no amendment, not even a proposed one.
    for guide in demo.run("police-chief", &["guide", "list"]).lines.iter().filter(|g| g["agency"] == "police") {
        demo.run("police-chief", &["guide", "end", guide["id"].as_str().unwrap()]).ok();
    }
    let unguided = amend(&demo, "police-analyst", &record, &title);
    assert!(unguided.code == 3 && unguided.stderr.contains("NO_GUIDE"), "{}", unguided.stderr);
    assert_eq!(demo.open("police-analyst", &record).ok()["version"], 5, "nothing came of it");
    demo.equal_digests("police-clerk", 4);
    // It outlives the node.
    demo.kill("police");
    let _police = demo.start_node("police");
    demo.serves("police-analyst");
    assert_eq!(demo.open("police-analyst", &record).ok()["version"], 5);
    assert_eq!(open_version(&demo, "police-analyst", &record, "1").ok()["title"], "七号柜");
}

#[test]
fn what_people_amended_no_import_overwrites() {
    let demo = Demo::start();
    let source = demo.dir().join("note.txt");
    std::fs::write(&source, "第一稿").unwrap();
    let import = || {
        let args = ["record", "import", source.to_str().unwrap(), "--format", "text", "--grade", "secret"];
        demo.run("police-analyst", &[&args[..], &["--agreement", "border-2026"]].concat())
    };
    let record = import().lines[0]["record"].as_str().unwrap().to_owned();
    assert_eq!(amend(&demo, "police-analyst", &record, &["--body", "改稿"]).ok()["version"], 2);
    let same = import();
    assert_eq!((same.code, &same.lines[0]["result"]), (0, &json!("unchanged")));
    std::fs::write(&source, "第二稿").unwrap();
    let edited = import();
    assert!(edited.code == 2 && edited.lines[0]["reason"].to_string().contains("amended"), "{:?}", edited.lines);
    let opened = demo.open("police-analyst", &record);
    assert_eq!((&opened.ok()["version"], texts(opened.ok())), (&json!(2), vec!["改稿".to_owned()]));

    // What waits for a classifier is taken back, and not amended.
    for guide in demo.run("police-chief", &["guide", "list"]).lines.iter().filter(|g| g["agency"] == "police") {
        demo.run("police-chief", &["guide", "end", guide["id"].as_str().unwrap()]).ok();
    }
    let asked = demo.publish("police-analyst", "演练：待审", "x", &["--grade", "secret"]);
    assert_eq!(asked.ok()["state"], "proposed");
    let waiting = asked.ok()["record"].as_str().unwrap();
    let refused = amend(&demo, "police-analyst", waiting, &["--title", "y"]);
    assert!(refused.code == 3 && refused.stderr.contains("waits for a classifier"), "{}", refused.stderr);
    assert_eq!(amend(&demo, "customs-analyst", waiting, &["--title", "y"]).code, 4);
    // What is no state secret needs no guide.
    let internal = demo.publish("police-analyst", "演练：内部", "x", &["--grade", "internal"]);
    let internal = internal.ok()["record"].as_str().unwrap();
    assert_eq!(amend(&demo, "police-analyst", internal, &["--body", "y"]).ok()["version"], 2);
}
