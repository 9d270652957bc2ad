//! Acts of the whole (P2), entries of directories on the ledger (P1), records given up (P17).

use super::demo::{Demo, Ran, until};
use super::shares::files;
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// The same command at these agencies; all but the last are told that it waits.
fn together(demo: &Demo, agencies: &[&str], verb: &str, subject: &str) {
    for (n, agency) in agencies.iter().enumerate() {
        let ran = demo.run(&format!("{agency}-officer"), &["federation", verb, subject]);
        let state = if n + 1 == agencies.len() { "done" } else { "pending" };
        assert_eq!(ran.ok()["state"], state, "{agency}");
    }
}

pub fn reachable(demo: &Demo, persona: &str, agency: &str) -> Option<bool> {
    let status = demo.run(persona, &["cluster", "status"]);
    let nodes = status.lines.first()?["nodes"].as_array()?.clone();
    nodes.iter().find(|n| n["agency"] == agency)?["reachable"].as_bool()
}

fn strings(v: &Value) -> Vec<&str> {
    v.as_array().unwrap().iter().map(|x| x.as_str().unwrap()).collect()
}

#[test]
fn officers_of_enough_agencies_suspend_one_and_let_it_in_again() {
    let demo = Demo::start();
    let own = demo.run("cyberspace-officer", &["federation", "suspend", "cyberspace"]);
    assert_eq!(own.code, 3, "{}", own.stderr);
    assert_eq!(demo.run("police-analyst", &["federation", "suspend", "cyberspace"]).code, 3);
    assert_eq!(demo.run("police-officer", &["federation", "suspend", "nobody"]).code, 2);

    let three = ["police", "customs", "state-security"];
    assert_eq!(demo.run("police-officer", &["federation", "suspend", "cyberspace"]).ok()["state"], "pending");
    waits_for_more(&demo);
    together(&demo, &three[1..], "suspend", "cyberspace");
    until("cyberspace is cut off", SOON, || {
        (reachable(&demo, "police-analyst", "cyberspace") == Some(false)).then_some(())
    });
    // It keeps order among its own people.
    assert_eq!(demo.run("cyberspace-officer", &["person", "list"]).code, 0);
    assert_eq!(demo.run("cyberspace-officer", &["audit", "search"]).code, 0);
    until("it reaches nobody", SOON, || {
        (reachable(&demo, "cyberspace-analyst", "police") == Some(false)).then_some(())
    });
    // Its node may be cut off before it has the entry: then it reaches nobody, and is told whom to ask.
    let told = |l: &Value| (l["check"] == "standing" || l["check"] == "peers") && l.to_string().contains("suspended");
    until("the doctor says so", SOON, || {
        demo.run("cyberspace-operator", &["doctor"]).lines.iter().any(told).then_some(())
    });

    let record = publish(&demo, "police-analyst", "演练：停权之后", &["--wait", "one"]);
    assert_eq!(strings(&record.ok()["owed"]), ["customs", "police", "state-security"]);
    let named = publish(&demo, "police-analyst", "演练：指名", &["--release", "cyberspace"]);
    assert_eq!((named.code, named.stderr.contains("AGENCY_SUSPENDED")), (3, true), "{}", named.stderr);
    let words = ["--subject", "演练", "--body", "文本", "--grade", "internal", "--exercise"];
    let to = ["notice", "send", "--to", "cyberspace", "--precedence", "routine"];
    let notice = demo.run("police-duty", &[&to[..], &words].concat());
    assert_eq!((notice.code, notice.stderr.contains("AGENCY_SUSPENDED")), (3, true), "{}", notice.stderr);
    let log = demo.run("police-officer", &["audit", "search", "--agency", "cyberspace"]);
    assert!(log.lines.iter().any(|l| l["action"] == "membership" && l["rule"] == "suspended"), "{:?}", log.lines);

    together(&demo, &three, "reinstate", "cyberspace");
    until("cyberspace is back", SOON, || {
        (reachable(&demo, "police-analyst", "cyberspace") == Some(true)).then_some(())
    });
    demo.equal_digests("police-analyst", 4);
    let record = publish(&demo, "police-analyst", "演练：复权之后", &["--wait", "all", "--wait-seconds", "20"]);
    assert!(strings(&record.ok()["held_by"]).contains(&"cyberspace"), "{:?}", record.lines);

    // One that votes, and leads: the others elect another leader and go on.
    let status = demo.run("police-analyst", &["cluster", "status"]);
    let leader = status.ok()["leader"].as_str().unwrap().to_owned();
    let others: Vec<&str> =
        ["police", "customs", "state-security", "cyberspace"].into_iter().filter(|a| *a != leader).collect();
    together(&demo, &others, "suspend", &leader);
    let voter = others[0];
    let wait = ["--wait", "one", "--wait-seconds", "10", "--timeout", "20"];
    let record = publish(&demo, &format!("{voter}-analyst"), "演练：主节点停权之后", &wait);
    assert!(!strings(&record.ok()["owed"]).contains(&leader.as_str()), "{:?}", record.lines);
    let second = others.iter().find(|a| **a != voter && **a != "cyberspace").unwrap();
    let one_left = demo.run(&format!("{voter}-officer"), &["federation", "suspend", second]);
    assert_eq!(one_left.code, 3, "no majority of those who vote would be left: {}", one_left.stderr);
}

/// An internal record under the agreement of all four.
fn publish(demo: &Demo, persona: &str, title: &str, extra: &[&str]) -> Ran {
    let base = ["record", "publish", "--title", title, "--body", "内部文本。", "--grade", "internal"];
    demo.run(persona, &[&base[..], &["--agreement", "common-2026"], extra].concat())
}

/// Everybody sees what waits, and for whom.
fn waits_for_more(demo: &Demo) {
    let shown = demo.run("cyberspace-analyst", &["federation", "show"]);
    let waiting = &shown.ok()["waiting"][0];
    assert_eq!((waiting["act"].as_str(), waiting["agency"].as_str()), (Some("suspend"), Some("cyberspace")));
    assert_eq!((strings(&waiting["signed_by"]), waiting["needed"].as_u64()), (vec!["police"], Some(3)));
}

#[test]
fn what_its_originator_gave_up_is_lost_and_entries_stand_on_the_ledger() {
    let demo = Demo::start();
    demo.kill("customs");
    let only = ["--release", "customs", "--wait", "none"];
    let record = publish(&demo, "police-analyst", "演练：将宣告灭失", &only);
    let id = record.lines[0]["record"].as_str().unwrap().to_owned();
    let give_up = ["record", "abandon", &id, "--version", "1"];
    assert_eq!(demo.run("police-analyst", &give_up).code, 3);
    assert_eq!(demo.run("state-security-officer", &give_up).code, 3);
    assert_eq!(demo.run("police-officer", &give_up).code, 3, "it is held here and served");
    // The only copy is lost with the disk.
    demo.kill("police");
    for file in files(&demo.dir().join("nodes/police/data/vault/bodies")) {
        let len = std::fs::metadata(&file).unwrap().len();
        std::fs::write(&file, vec![0; usize::try_from(len).unwrap()]).unwrap();
    }
    let _police = demo.start_node("police");
    demo.serves("police-duty");
    let lost = until("it is given up", SOON, || Some(demo.run("police-officer", &give_up)).filter(|ran| ran.code == 0));
    assert_eq!(lost.ok()["state"], "lost");

    let _customs = demo.start_node("customs");
    let sync = until("customs lists it as lost", SOON, || {
        let status = demo.run("customs-operator", &["cluster", "status"]);
        let sync = status.lines.first()?["sync"].as_array()?.iter().find(|s| s["origin"] == "police")?.clone();
        (!sync["lost"].as_array()?.is_empty()).then_some(sync)
    });
    assert_eq!((&sync["lost"][0]["record"], &sync["missing"]), (&Value::from(id), &Value::Array(Vec::new())));

    // Who neither runs the node nor watches over it sees that this is not shown, and not that nothing is missing.
    let clerk = demo.run("customs-clerk", &["cluster", "status"]);
    let sync = clerk.ok()["sync"].as_array().unwrap().iter().find(|s| s["origin"] == "police").unwrap();
    assert!(["missing", "unopenable", "lost"].iter().all(|list| sync[*list].is_null()), "{sync}");
    assert!(sync["owed"].as_u64() > sync["held"].as_u64(), "{sync}");
    assert!(clerk.ok()["complaints"].is_null());

    let entry = |name: &str| demo.run("police-officer", &["person", "show", name]).ok().clone();
    assert_eq!((entry("clerk")["version"].as_u64(), entry("clerk")["ledger"].as_bool()), (Some(1), Some(true)));
    let change = ["person", "change", "clerk", "--unit", "演练处"];
    let changed = demo.run("police-officer", &change).ok().clone();
    assert_eq!((changed["version"].as_u64(), changed["ledger"].as_bool()), (Some(2), Some(true)));

    // Whoever is suspended before the second officer signed is nobody on the ledger, and suspending again is no error.
    let dir = demo.dir().to_str().unwrap().to_owned();
    let request = ["person", "request", "eve", "--agency", "police", "--federation", "hufu-demo", "--dir", &dir];
    demo.run("police-officer", &request).ok();
    let (csr, cert) = (format!("{dir}/eve.csr"), format!("{dir}/eve.crt"));
    let roles = ["--role", "security-officer", "--clearance", "secret"];
    let add = ["person", "add", "eve", "--csr", &csr, "--out", &cert];
    demo.run("police-officer", &[&add[..], &roles].concat()).ok();
    for _ in 0..2 {
        assert_eq!(demo.run("police-officer", &["person", "suspend", "eve"]).ok()["suspended"], true);
    }
    let approved = demo.run("police-officer-2", &["person", "approve", "eve"]);
    assert_eq!(approved.code, 7, "{}", approved.stderr);
    let eve = entry("eve");
    assert_eq!((eve["suspended"].as_bool(), eve["ledger"].as_bool()), (Some(true), Some(true)));
    for _ in 0..2 {
        assert_eq!(demo.run("police-officer", &["person", "suspend", "chief"]).ok()["suspended"], true);
    }
}
