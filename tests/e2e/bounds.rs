//! What agencies may hold and mark, and which authorities vouch for them: acts of the whole (P2) with what follows from them.

use super::demo::{Demo, Ran, hufu, ran, until};
use super::notices::{id, send};
use super::revocation::{agency, at, in_time, told};
use super::standing::reachable;
use super::watched::{get, value};
use hufu::config::Profile;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;

const SOON: Duration = Duration::from_secs(30);
const BODY: &str = "演练：系统密级变更。";
const SECRET: &[&str] = &["--grade", "secret"];

/// The same command at these agencies; all but the last are told that it waits.
fn together(demo: &Demo, agencies: &[&str], args: &[&str]) {
    // Each signs what its own node shows, which is what the others' show.
    demo.equal_digests("police-analyst", 4);
    for (n, agency) in agencies.iter().enumerate() {
        let ran = act(demo, &format!("{agency}-officer"), args);
        let state = if n + 1 == agencies.len() { "done" } else { "pending" };
        assert_eq!(ran.ok()["state"], state, "{agency}");
    }
    demo.equal_digests("police-analyst", 4);
}

fn act(demo: &Demo, persona: &str, args: &[&str]) -> Ran {
    demo.run(persona, &[&["federation"][..], args].concat())
}

fn refused(ran: &Ran, code: i32, reason: &str) {
    assert_eq!((ran.code, ran.stderr.contains(reason)), (code, true), "{reason}: {}", ran.stderr);
}

fn of(demo: &Demo, agency: &str) -> Value {
    let shown = act(demo, "police-analyst", &["show"]).ok().clone();
    shown["agencies"].as_array().unwrap().iter().find(|a| a["agency"] == agency).unwrap().clone()
}

fn found(demo: &Demo, persona: &str, record: &str) -> bool {
    let hits = demo.run(persona, &["record", "search", "演练", "--purpose", "CASE-1"]);
    hits.lines.iter().any(|l| l["record"] == record)
}

#[test]
fn a_lowered_ceiling_hides_what_is_above_it_and_a_raised_one_shows_it_again() {
    let demo = Demo::start();
    let others = ["police", "state-security", "cyberspace"];
    let record = demo.publish("police-analyst", "演练：共享", BODY, &[SECRET, &["--wait", "all"]].concat());
    let record = record.ok()["record"].as_str().unwrap().to_owned();
    until("customs opens it", SOON, || (demo.open("customs-analyst", &record).code == 0).then_some(()));
    until("customs finds it", SOON, || found(&demo, "customs-analyst", &record).then_some(()));

    let low = ["ceiling", "customs", "--grade", "confidential", "--compartment", "border-ops"];
    let high = ["ceiling", "customs", "--grade", "secret", "--compartment", "border-ops"];
    refused(&act(&demo, "customs-officer", &low), 3, "NOT_ALLOWED");
    assert_eq!(act(&demo, "police-analyst", &low).code, 3, "officers sign");
    refused(&act(&demo, "police-officer", &["tier", "nobody", "city"]), 2, "UNKNOWN_AGENCY");
    refused(&act(&demo, "police-officer", &["ceiling", "customs", "--grade", "top-secret"]), 3, "NO_GRADE_KEY");
    let mixed = ["ceiling", "customs", "--grade", "confidential", "--compartment", "elsewhere"];
    refused(&act(&demo, "police-officer", &mixed), 3, "MIXED_CHANGE");
    assert_eq!(act(&demo, "police-officer", &low).ok()["state"], "pending");
    let waiting = act(&demo, "police-analyst", &["show"]).ok()["waiting"][0].clone();
    assert_eq!((&waiting["act"], &waiting["agency"]), (&json!("ceiling"), &json!("customs confidential border-ops")));
    assert_eq!((&waiting["signed_by"], &waiting["needed"]), (&json!(["police"]), &json!(3)));
    together(&demo, &others[1..], &low);

    until("customs hides it", SOON, || (demo.open("customs-analyst", &record).code == 4).then_some(()));
    assert_eq!(demo.open("customs-chief", &record).code, 4, "whoever is cleared");
    assert!(!found(&demo, "customs-analyst", &record));
    let indexed = || value(&get(&demo, "customs", "/metrics"), "hufu_index_documents");
    until("nothing of it is in the index", SOON, || (indexed() == Some(0.0)).then_some(()));
    assert_eq!(of(&demo, "customs")["ceiling"], "confidential");
    let named = demo.publish("police-analyst", "演练：指名", BODY, &[SECRET, &["--release", "customs"]].concat());
    refused(&named, 3, "ABOVE_CEILING");
    refused(&demo.publish("customs-analyst", "演练：自己", BODY, SECRET), 3, "ABOVE_CEILING");
    let without = demo.publish("police-analyst", "演练：不含海关", BODY, &[SECRET, &["--wait", "all"]].concat());
    assert_eq!(without.ok()["held_by"], json!(["police", "state-security"]));
    demo.open("state-security-analyst", &record).ok();

    together(&demo, &others, &high);
    until("customs reads it again", SOON, || (demo.open("customs-analyst", &record).code == 0).then_some(()));
    until("customs finds it again", SOON, || found(&demo, "customs-analyst", &record).then_some(()));
    let again = demo.publish("police-analyst", "演练：恢复之后", BODY, &[SECRET, &["--wait", "all"]].concat());
    assert_eq!(again.ok()["held_by"], json!(["customs", "police", "state-security"]));

    // A tier: what was marked stays, and no more is marked.
    let marked = demo.publish("customs-analyst", "演练：原有权限", BODY, &[SECRET, &["--wait", "all"]].concat());
    let marked = marked.ok()["record"].as_str().unwrap().to_owned();
    together(&demo, &others, &["tier", "customs", "county"]);
    assert_eq!(of(&demo, "customs")["tier"], "county");
    refused(&demo.publish("customs-analyst", "演练：超出权限", BODY, SECRET), 3, "MARKING_AUTHORITY");
    demo.open("police-analyst", &marked).ok();

    // Suites: there is one, and it stays the one to seal with.
    refused(&act(&demo, "police-officer", &["suites", "--preferred", "1", "--accepted", "2"]), 2, "UNKNOWN_SUITE");
    // Known without a node, and nothing is signed.
    let unasked = hufu().args(["--json", "federation", "suites", "--preferred", "9"]).output().unwrap();
    refused(&ran(unasked), 2, "UNKNOWN_SUITE");
    assert_eq!(act(&demo, "police-officer", &["suites", "--preferred", "1"]).ok()["state"], "done");
    let shown = act(&demo, "police-analyst", &["show"]).ok()["suites"].clone();
    assert_eq!(shown, json!([{"suite": 1, "name": "evaluation", "state": "preferred"}]));
}

/// What waits for an addressee goes no more once that may not hold it.
#[test]
fn a_notice_that_waits_is_held_back_above_a_lowered_ceiling() {
    let demo = Demo::start();
    demo.equal_digests("police-analyst", 4);
    demo.kill("customs");
    let notice = id(&send(&demo, "police-duty", "customs/analyst", "flash", "secret", "演练：等待之中"));
    let low = ["ceiling", "customs", "--grade", "confidential", "--compartment", "border-ops"];
    for agency in ["police", "state-security", "cyberspace"] {
        until(agency, SOON, || (act(&demo, &format!("{agency}-officer"), &low).code == 0).then_some(()));
    }
    let held_back = told(&demo, "police-officer", "customs", "above-ceiling");
    assert!(held_back.to_string().contains(&notice), "{held_back}");
    let _node = demo.start_node("customs");
    demo.serves("customs-analyst");
    let inbox = demo.run("customs-chief", &["notice", "inbox"]);
    assert!(inbox.code == 0 && inbox.lines.iter().all(|l| l["notice"] != notice.as_str()), "{:?}", inbox.lines);
}

#[test]
fn an_authority_is_exchanged_without_an_outage() {
    let demo = Demo::start();
    let others = ["police", "customs", "state-security"];
    let file = |name: &str| -> PathBuf { demo.dir().join("nodes/cyberspace").join(name) };
    let (theirs, old, next) = (file(""), file("ca.pem"), file("next-ca.pem"));
    let (theirs, old, next) = (theirs.to_str().unwrap(), old.to_str().unwrap(), next.to_str().unwrap());
    let meets = |persona: &str, agency: &str| {
        until("they meet", SOON, || (reachable(&demo, persona, agency) == Some(true)).then_some(()));
    };
    let cert = |persona: &str| -> String {
        let profile = Profile::read(&demo.dir().join(format!("profiles/{persona}.toml"))).unwrap();
        profile.cert.to_str().unwrap().to_owned()
    };
    meets("police-analyst", "cyberspace");

    let made = agency(&["new-ca", "--dir", theirs]).ok()["fingerprint"].clone();
    assert_eq!(agency(&["new-ca", "--dir", theirs]).code, 7, "one that nobody let in yet is not made anew");
    let alone = ["trust-root", "cyberspace", "--ca", next];
    refused(&act(&demo, "police-officer", &alone), 3, "MIXED_CHANGE");
    let foreign = file("../customs/ca.pem");
    let foreign = ["trust-root", "cyberspace", "--ca", old, "--and", foreign.to_str().unwrap()];
    refused(&act(&demo, "police-officer", &foreign), 2, "BAD_ROOT");
    together(&demo, &others, &["trust-root", "cyberspace", "--ca", old, "--and", next]);
    let roots = of(&demo, "cyberspace")["roots"].clone();
    assert!(roots.as_array().unwrap().len() == 2 && roots.as_array().unwrap().contains(&made), "{roots}");

    // The new one signs from here on; whoever dials the node takes either meanwhile.
    let both = [&next, &old].map(|name| std::fs::read_to_string(name).unwrap()).concat();
    std::fs::rename(file("next-ca.key"), file("ca.key")).unwrap();
    std::fs::write(file("ca.pem"), both).unwrap();
    let renewed = agency(&["renew", "--dir", theirs]);
    assert_ne!(renewed.ok()["serial"], renewed.ok()["replaces"]);
    told(&demo, "cyberspace-officer", "cyberspace", "certificate-accepted");
    meets("police-analyst", "cyberspace");
    meets("cyberspace-analyst", "police");
    let (analyst, officer) = (cert("cyberspace-analyst"), cert("cyberspace-officer"));
    agency(&["renew-person", &analyst, &officer, "--dir", theirs]).ok();
    assert_eq!(demo.run("cyberspace-analyst", &["notice", "inbox"]).code, 0);

    // A connection by a certificate of the old one, on which nothing happens.
    let runtime = Runtime::new().unwrap();
    let _idle = runtime.block_on(demo.records("cyberspace-clerk"));
    together(&demo, &others, &alone);
    let cut = told(&demo, "cyberspace-officer", "cyberspace", "cut-root");
    assert!(cut["detail"].as_str().unwrap().contains("person/clerk"), "{cut}");
    let changed = told(&demo, "cyberspace-officer", "cyberspace", "roots-changed");
    in_time(at(&changed), at(&cut));
    assert_ne!(demo.run("cyberspace-clerk", &["notice", "inbox"]).code, 0, "its certificate is of the old one");
    meets("police-analyst", "cyberspace");
    meets("cyberspace-analyst", "police");

    // It starts again with the new one alone.
    demo.kill("cyberspace");
    let _node = demo.start_node("cyberspace");
    demo.serves("cyberspace-analyst");
    meets("customs-analyst", "cyberspace");
    demo.equal_digests("police-analyst", 4);
}
