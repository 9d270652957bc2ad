//! Two persons mark (SSL §16): what no guide covers waits for a classifier, and nobody else sees it.

use super::demo::{Demo, Ran, until};
use serde_json::{Value, json};
use std::time::Duration;

const SECRET: &[&str] = &["--grade", "secret", "--compartment", "border-ops", "--wait", "all"];
const PURPOSE: &[&str] = &["--purpose", "CASE-16"];

fn proposals(demo: &Demo, persona: &str) -> Ran {
    demo.run(persona, &[&["record", "proposals"], PURPOSE].concat())
}

#[test]
fn a_classifier_approves_what_no_guide_covers() {
    let demo = Demo::start();
    let guides = demo.run("police-chief", &["guide", "list"]);
    for guide in guides.lines.iter().filter(|g| g["agency"] == "police") {
        demo.run("police-chief", &["guide", "end", guide["id"].as_str().unwrap()]).ok();
    }
    let tear_line = demo.dir().join("tear-line.txt");
    std::fs::write(&tear_line, "演练：请加强查验").unwrap();
    let portion = format!("{}:internal", tear_line.display());
    let asked = demo.publish("police-analyst", "演练：待审", "第九号柜", &[SECRET, &["--portion", &portion]].concat());
    let answer = asked.ok();
    assert_eq!(
        (&answer["state"], &answer["index"], &answer["held_by"]),
        (&json!("proposed"), &json!(null), &json!(["police"]))
    );
    let record = answer["record"].as_str().unwrap().to_owned();
    let turned_down =
        demo.publish("police-analyst", "演练：退回", "x", SECRET).ok()["record"].as_str().unwrap().to_owned();
    let taken_back =
        demo.publish("police-analyst", "演练：撤回", "x", SECRET).ok()["record"].as_str().unwrap().to_owned();
    // An import waits for nobody.
    let source = demo.dir().join("source.txt");
    std::fs::write(&source, "正文").unwrap();
    let import = ["record", "import", source.to_str().unwrap(), "--format", "text", "--grade", "secret"];
    let import = demo.run("police-analyst", &[&import[..], &["--agreement", "border-2026"]].concat());
    assert!(import.code == 2 && import.lines[0]["reason"].to_string().contains("marking guide"), "{:?}", import.lines);

    // Its author and the classifier see it; to everybody else it is absent, in content and in count.
    let absent = "r-aaaaaaaaaaaaaaaaaaaaaaaaaa";
    for who in ["police-analyst", "police-chief"] {
        let lines = proposals(&demo, who).lines;
        assert_eq!(lines.len(), 3, "{who}: {lines:?}");
        assert_eq!((&lines[0]["record"], &lines[0]["title"]), (&json!(record), &json!("演练：待审")), "{who}");
        assert_eq!(demo.open(who, &record).ok()["portions"].as_array().unwrap().len(), 2, "{who}");
    }
    for who in ["police-clerk", "police-duty", "customs-analyst", "customs-chief"] {
        let (there, nowhere) = (demo.open(who, &record), demo.open(who, absent));
        assert_eq!((there.code, &there.stderr), (4, &nowhere.stderr), "{who}");
        // Who may list nothing at all is told that; it says nothing of this record.
        let list = proposals(&demo, who);
        assert_eq!(
            (list.code, list.lines.len()),
            (if who == "police-duty" { 3 } else { 0 }, 0),
            "{who}: {:?}",
            list.lines
        );
        for command in ["approve", "reject"] {
            let of = |id: &str| {
                let reason: &[&str] = if command == "reject" { &["--reason", "x"] } else { &[] };
                demo.run(who, &[&["record", command, id], reason].concat())
            };
            let (there, nowhere) = (of(&record), of(absent));
            assert_eq!((there.code, &there.stderr), (nowhere.code, &nowhere.stderr), "{who} {command}");
            assert!(there.code == 4 || who == "police-duty", "{who} {command}");
        }
    }
    // A lower part is seen with its record, and decided with it alone.
    let parts = answer["portions"].as_array().unwrap();
    let part = parts[0]["record"].as_str().unwrap();
    assert_eq!(demo.open("police-chief", part).ok()["portions"].as_array().unwrap().len(), 1);
    assert_eq!(demo.run("police-chief", &["record", "approve", part]).code, 4);
    assert_eq!(demo.run("police-chief", &["record", "reject", part, "--reason", "x"]).code, 4);
    // What is published after it is found, and it is in no index.
    let open = demo.publish("police-analyst", "演练：公开", "第九号柜之外", &["--grade", "internal"]);
    let open = open.ok()["record"].as_str().unwrap().to_owned();
    until("the index has what came later", Duration::from_secs(10), || {
        let found = demo.run("police-chief", &[&["record", "search", "柜之外"], PURPOSE].concat());
        (found.ok()["total"] == 1).then_some(())
    });
    let found = demo.run("police-chief", &[&["record", "search", "第九号柜"], PURPOSE].concat());
    assert_eq!(found.lines.iter().filter(|l| l["record"] == json!(record)).count(), 0, "it is in no index");
    assert_eq!(found.lines[0]["record"], json!(open));
    let alone = demo.run("police-analyst", &["record", "approve", &record]);
    assert!(alone.code == 3 && alone.stderr.contains("approve-needs-classifier"), "{}", alone.stderr);

    // It outlives the node, and goes nowhere by itself.
    demo.kill("police");
    let _police = demo.start_node("police");
    demo.serves("police-chief");
    assert_eq!(proposals(&demo, "police-chief").lines.len(), 3);
    assert_eq!(
        demo.run("police-chief", &["record", "reject", &turned_down, "--reason", "定密过宽"]).ok()["state"],
        "rejected"
    );
    demo.run("police-analyst", &["record", "reject", &taken_back, "--reason", "重新起草"]).ok();
    for gone in [&turned_down, &taken_back] {
        let late = demo.run("police-chief", &["record", "approve", gone]);
        assert!(late.code == 7 && late.stderr.contains("decided"), "{}", late.stderr);
        assert_eq!(demo.run("police-analyst", &["record", "reject", gone, "--reason", "x"]).ok()["state"], "rejected");
        assert_eq!(demo.open("police-analyst", gone).code, 4);
    }

    let approved = until("police is led again and the chief approves", Duration::from_secs(20), || {
        let ran = demo.run("police-chief", &["record", "approve", &record, "--wait", "all", "--wait-seconds", "10"]);
        assert!(matches!(ran.code, 0 | 5), "{}", ran.stderr);
        (ran.code == 0).then_some(ran)
    });
    assert_eq!((&approved.ok()["state"], &approved.ok()["record"]), (&json!("committed"), &json!(record)));
    assert_eq!(approved.ok()["held_by"], json!(["customs", "police"]), "whose systems may hold the compartment");
    let opened = demo.open("customs-analyst", &record);
    assert_eq!((&opened.ok()["title"], opened.ok()["portions"].as_array().unwrap().len()), (&json!("演练：待审"), 2));
    assert!(proposals(&demo, "police-chief").lines.is_empty());
    // The answer may have been lost: the same again, and nobody takes it back.
    let again = demo.run("police-chief", &["record", "approve", &record, "--wait", "all", "--wait-seconds", "10"]);
    assert_eq!((&again.ok()["state"], &again.ok()["index"]), (&json!("committed"), &approved.ok()["index"]));
    let late = demo.run("police-analyst", &["record", "reject", &record, "--reason", "x"]);
    assert_eq!(late.code, 7, "{}", late.stderr);
    until("it is found", Duration::from_secs(10), || {
        let found = demo.run("customs-analyst", &[&["record", "search", "第九号柜"], PURPOSE].concat());
        (found.ok()["total"] == 2 && found.lines.iter().any(|l| l["record"] == record)).then_some(())
    });
    // Who approved, who turned down and why, is in the log.
    let log = demo.run("police-officer", &["audit", "search", "--limit", "500"]).lines;
    let of = |who: &str, action: &str, id: &str| {
        let allowed = |e: &&Value| e["stage"] == "outcome" && e["decision"] == "allow";
        log.iter().filter(allowed).any(|e| e["actor"] == who && e["action"] == action && e["record"] == id)
    };
    assert!(of("police/chief", "approve", &record) && of("police/chief", "approve", part));
    assert!(of("police/chief", "reject", &turned_down));
    assert!(log.iter().any(|e| e["record"] == json!(record) && e["action"] == "publish" && e["rule"] == "proposed"));
    // Its title was shown to the chief before: that is an access.
    let reads = demo.run("police-officer", &["audit", "who-read", &turned_down]);
    assert!(reads.lines.iter().any(|r| r["who"] == "chief" && r["action"] == "snippet"), "{:?}", reads.lines);
    assert!(of("police/analyst", "reject", &taken_back));
    demo.equal_digests("police-clerk", 4);

    // Who wrote it is not the second person, whatever the roles.
    let own = demo.publish("police-chief", "演练：自批", "x", SECRET).ok()["record"].as_str().unwrap().to_owned();
    let alone = demo.run("police-chief", &["record", "approve", &own]);
    assert!(alone.code == 3 && alone.stderr.contains("SAME_PERSON"), "{}", alone.stderr);
    // What its author may not publish any more is not approved either.
    let left = demo.publish("police-analyst", "演练：离岗", "x", SECRET).ok()["record"].as_str().unwrap().to_owned();
    // Clearance alone shows it to nobody.
    assert_eq!(demo.open("police-analyst", &own).code, 4);
    assert_eq!(proposals(&demo, "police-analyst").lines.len(), 1, "the own one");
    demo.run("police-officer", &["person", "suspend", "analyst"]).ok();
    let gone = demo.run("police-chief", &["record", "approve", &left]);
    assert!(gone.code == 3 && gone.stderr.contains("its author"), "{}", gone.stderr);
    assert_eq!(demo.run("police-chief", &["record", "reject", &left, "--reason", "离岗"]).ok()["state"], "rejected");
}
