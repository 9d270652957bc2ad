//! A record with portions of several classes (P10): each part lies and shows only where its own class allows.

use super::demo::{Demo, until};
use serde_json::{Value, json};
use std::time::Duration;

const TOP: &str = "线人称货物藏于第七号柜，核实中。";
const TEAR_LINE: &str = "# 演练：加强查验\n请各单位加强对冷藏柜的查验。";
const MIDDLE: &str = "嫌疑车辆仍在港区内。";

#[test]
fn a_tear_line_goes_further_than_the_record() {
    let demo = Demo::start();
    agree(&demo);
    let (low, mid) = (demo.dir().join("low.txt"), demo.dir().join("mid.txt"));
    std::fs::write(&low, TEAR_LINE).unwrap();
    std::fs::write(&mid, MIDDLE).unwrap();
    let portions = [format!("{}:internal", low.display()), format!("{}:secret", mid.display())];
    let args = |grade: &'static str| {
        let mut args = vec!["record", "publish", "--title", "七号柜", "--body", TOP, "--grade", grade];
        args.extend(["--agreement", "tear-line", "--period", "20", "--wait", "all", "--wait-seconds", "10"]);
        args.extend(portions.iter().flat_map(|p| ["--portion", p.as_str()]));
        args
    };

    let refused = demo.run("police-analyst", &args("internal"));
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("PORTION_ABOVE_RECORD"), "{}", refused.stderr);

    let published = demo.run("police-analyst", &args("secret"));
    let answer = published.ok();
    assert_eq!(answer["owed"], json!(["customs", "cyberspace", "police", "state-security"]));
    assert_eq!(answer["held_by"], answer["owed"], "cyberspace holds all it is owed");
    let record = answer["record"].as_str().unwrap();
    let named = answer["portions"].as_array().unwrap();
    assert_eq!((named.len(), &named[0]["version"], &named[0]["grade"]), (1, &json!(1), &json!("internal")));

    // An analyst of customs sees every portion, each with its own label.
    let texts = |v: &Value| -> Vec<(String, String)> {
        let text = |p: &Value, k: &str| p[k].as_str().unwrap().to_owned();
        v["portions"].as_array().unwrap().iter().map(|p| (text(p, "label"), text(p, "text"))).collect()
    };
    let of = |label: &str, text: &str| (label.to_owned(), text.to_owned());
    let all = demo.open("customs-analyst", record);
    assert_eq!(all.ok()["title"], "七号柜");
    let low_only = vec![of("内部", TEAR_LINE)];
    assert_eq!(texts(all.ok()), [vec![of("机密★20年", TOP), of("机密★20年", MIDDLE)], low_only.clone()].concat());

    // A clerk of customs sees the tear-line alone: absent, not blacked out, and with its own title and id.
    let clerk = demo.open("customs-clerk", record);
    assert_eq!((texts(clerk.ok()), &clerk.ok()["title"]), (low_only.clone(), &json!("演练：加强查验")));
    let tear_line = clerk.ok()["record"].as_str().unwrap().to_owned();
    assert_ne!(tear_line, record);
    assert_eq!(named[0]["record"], json!(tear_line), "its author was told");

    // cyberspace holds the tear-line and nothing that names the record.
    let found = until("cyberspace finds the tear-line", Duration::from_secs(10), || {
        let found = demo.run("cyberspace-clerk", &["record", "search", "冷藏柜", "--purpose", "CASE-1"]);
        (found.ok()["total"] == 1).then_some(found)
    });
    assert_eq!(found.lines[0]["record"], json!(tear_line));
    assert_eq!(texts(demo.open("cyberspace-clerk", &tear_line).ok()), low_only);
    assert_eq!(demo.open("cyberspace-analyst", record).code, 4);
    assert_eq!(demo.run("cyberspace-analyst", &["record", "search", "七号柜", "--purpose", "CASE-1"]).ok()["total"], 0);

    // A record of which no part may be seen is denied like an absent one: one event, whatever parts it has.
    let hidden = format!("{}:confidential", mid.display());
    let base = ["record", "publish", "--title", "七号柜", "--body", TOP, "--grade", "secret"];
    let more = ["--agreement", "tear-line", "--portion", &hidden, "--wait", "all", "--wait-seconds", "10"];
    let hidden = demo.run("police-analyst", &[&base[..], &more].concat()).ok()["record"].as_str().unwrap().to_owned();
    let absent = format!("{}aaaaaa", record.get(..record.len() - 6).unwrap());
    let events = || demo.run("customs-officer", &["audit", "search", "--person", "clerk"]).lines.len();
    let [before, denied, not_there] = [None, Some(&hidden), Some(&absent)].map(|id| {
        if let Some(id) = id {
            assert_eq!(demo.open("customs-clerk", id).code, 4);
        }
        events()
    });
    assert_eq!((denied - before, not_there - denied), (1, 1));

    // Opening the whole is an access to each part; the originator sees both.
    until("police sees every access", Duration::from_secs(5), || {
        let reads = |record: &str, agency: &str| {
            let reads = demo.run("police-officer", &["audit", "who-read", record]);
            reads.lines.iter().filter(|r| r["agency"] == agency && r["action"] == "open").count()
        };
        let seen = [reads(record, "customs"), reads(&tear_line, "customs"), reads(&tear_line, "cyberspace")];
        (seen == [1, 2, 1]).then_some(())
    });
    demo.equal_digests("police-clerk", 4);
}

/// An agreement of all four up to secret, and a guide at police.
pub fn agree(demo: &Demo) {
    let parties = "police,state-security,customs,cyberspace";
    let drafted = ["agreement", "draft", "tear-line", "--parties", parties, "--grade", "secret", "--purpose", "演练"];
    demo.run("police-officer", &[&drafted[..], &["--legal-basis", "演练方案"]].concat()).ok();
    for agency in ["state-security", "customs", "cyberspace"] {
        demo.run(&format!("{agency}-officer"), &["agreement", "sign", "tear-line"]).ok();
    }
    demo.run("police-chief", &["guide", "sign", "--agreement", "tear-line", "--grade", "secret"]).ok();
}
