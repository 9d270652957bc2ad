//! Trust that is taken away ends what is open, and changed files count while a node runs.

use super::demo::{Demo, Ran, hufu, ran, until};
use super::notices::{Watch, id, send};
use super::standing::reachable;
use hufu::config::Profile;
use hufu::domain::time::{Clock, Millis};
use hufu::node::SystemClock;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const SOON: Duration = Duration::from_secs(30);
/// Who is trusted no more is cut off within this.
const CUT_MS: u64 = 1_000;

/// The newest event with this rule that an officer finds of an agency.
fn event(demo: &Demo, officer: &str, agency: &str, rule: &str) -> Option<Value> {
    let log = demo.run(officer, &["audit", "search", "--agency", agency, "--limit", "500"]);
    log.lines.into_iter().filter(|l| l["rule"] == rule).max_by_key(|l| l["seq"].as_u64())
}

pub fn told(demo: &Demo, officer: &str, agency: &str, rule: &str) -> Value {
    until(rule, SOON, || event(demo, officer, agency, rule))
}

pub fn at(event: &Value) -> Millis {
    Millis::parse(event["at"].as_str().unwrap()).unwrap()
}

pub fn agency(args: &[&str]) -> Ran {
    ran(hufu().args(["--json", "agency"]).args(args).output().unwrap())
}

pub fn in_time(since: Millis, done: Millis) {
    let took = done.0.saturating_sub(since.0);
    assert!(took <= CUT_MS, "it took {took} ms");
}

#[test]
fn whoever_is_suspended_is_cut_off_within_a_second() {
    let demo = Demo::start();
    let mut watch = Watch::start(&demo, "customs-analyst");
    let notice = id(&send(&demo, "police-duty", "customs/analyst", "priority", "internal", "演练：停用之前"));
    assert_eq!(watch.next()["notice"], json!(notice));
    // Another connection of the same person, on which nothing happens.
    let runtime = Runtime::new().unwrap();
    let _idle = runtime.block_on(demo.records("customs-analyst"));
    let _bystander = runtime.block_on(demo.records("customs-chief"));

    let ended = std::thread::scope(|s| {
        let suspending = s.spawn(|| demo.run("customs-officer", &["person", "suspend", "analyst"]));
        let code = watch.ends(SOON);
        let ended = SystemClock.now();
        assert_eq!(code, 3, "refused, and not told that the node is away");
        suspending.join().unwrap().ok();
        ended
    });
    let log = demo.run("customs-officer", &["audit", "search", "--person", "officer", "--limit", "50"]);
    let suspended = |l: &&Value| l["stage"] == "outcome" && l["detail"] == "suspend analyst";
    let suspended = at(log.lines.iter().find(suspended).expect("it is an event"));
    in_time(suspended, ended);
    let cut = told(&demo, "customs-officer", "customs", "cut-person");
    in_time(suspended, at(&cut));
    assert!(cut["detail"].as_str().unwrap().contains("person/analyst"), "{cut}");
    assert_eq!(demo.run("customs-analyst", &["notice", "inbox"]).code, 3, "at the next call");
    assert_eq!(demo.run("customs-chief", &["notice", "inbox"]).code, 0);
}

#[test]
fn a_revoked_node_is_cut_off_within_a_second_and_back_with_a_new_certificate() {
    let demo = Demo::start();
    let file = |agency: &str, name: &str| -> PathBuf { demo.dir().join("nodes").join(agency).join(name) };
    let (theirs, node) = (file("cyberspace", ""), file("cyberspace", "node.pem"));
    let (theirs, node) = (theirs.to_str().unwrap(), node.to_str().unwrap());
    let list = file("police", "cyberspace.pem");
    let place = || std::fs::copy(file("cyberspace", "crl.pem"), &list).unwrap();
    let meets = |persona: &str, agency: &str, met: bool| {
        until("they meet, or do not", SOON, || (reachable(&demo, persona, agency) == Some(met)).then_some(()));
    };

    // An empty list, which police is told of while it runs.
    let first = agency(&["crl", "--dir", theirs]);
    assert_eq!((first.ok()["number"].as_str(), first.ok()["revoked"].as_u64()), (Some("1"), Some(0)));
    place();
    let old = std::fs::read(&list).unwrap();
    demo.configure("police", |config| {
        let files = [("cyberspace".to_owned(), toml::Value::from("cyberspace.pem"))];
        config.insert("crl".to_owned(), toml::Value::Table(files.into_iter().collect()));
    });
    let accepted = told(&demo, "police-officer", "police", "configuration-accepted");
    assert_eq!((accepted["action"].as_str(), accepted["detail"].as_str()), (Some("configure"), Some("changed: crl")));
    told(&demo, "police-officer", "cyberspace", "crl-accepted");
    meets("police-analyst", "cyberspace", true);

    assert_eq!(agency(&["revoke", node, "--dir", file("police", "").to_str().unwrap()]).code, 2, "another agency's");
    let revoked = agency(&["revoke", node, "--dir", theirs]);
    assert_eq!((revoked.ok()["number"].as_str(), revoked.ok()["revoked"].as_u64()), (Some("2"), Some(1)));
    let placed = SystemClock.now();
    place();
    let cut = told(&demo, "police-officer", "cyberspace", "cut-revoked");
    in_time(placed, at(&cut));
    meets("police-analyst", "cyberspace", false);
    meets("cyberspace-analyst", "police", false);
    meets("customs-analyst", "cyberspace", true);

    // The list of before brings nobody back.
    std::fs::write(&list, old).unwrap();
    let refused = told(&demo, "police-officer", "cyberspace", "crl-refused");
    assert!(refused["detail"].as_str().unwrap().contains("not newer"), "{refused}");
    meets("police-analyst", "cyberspace", false);

    // A new certificate does, and the node that it is for shows it by itself.
    let renewed = agency(&["renew", "--dir", theirs]);
    assert_ne!(renewed.ok()["serial"], renewed.ok()["replaces"]);
    told(&demo, "cyberspace-officer", "cyberspace", "certificate-accepted");
    meets("police-analyst", "cyberspace", true);
    meets("cyberspace-analyst", "police", true);
    demo.equal_digests("police-analyst", 4);

    // Whoever stands in the list is not let in again by a renewal, nor is whoever another authority let in.
    let profile = Profile::read(&demo.dir().join("profiles/cyberspace-clerk.toml")).unwrap();
    let clerk = profile.cert.to_str().unwrap();
    let other = file("police", "");
    assert_eq!(agency(&["renew-person", clerk, "--dir", other.to_str().unwrap()]).code, 2, "another agency's");
    agency(&["renew-person", clerk, "--dir", theirs]).ok();
    agency(&["revoke", clerk, "--dir", theirs]).ok();
    let (kept, again) = (std::fs::read(clerk).unwrap(), agency(&["renew-person", clerk, "--dir", theirs]));
    assert!(again.code == 2 && again.stderr.contains("revoked"), "{}", again.stderr);
    assert_eq!(std::fs::read(clerk).unwrap(), kept);

    // Their own node refuses them, and they are told that, and not that the node is away.
    demo.configure("cyberspace", |config| {
        let files = [("cyberspace".to_owned(), toml::Value::from("crl.pem"))];
        config.insert("crl".to_owned(), toml::Value::Table(files.into_iter().collect()));
    });
    told(&demo, "cyberspace-officer", "cyberspace", "crl-accepted");
    for args in [&["cluster", "status"][..], &["record", "list", "--purpose", "x"]] {
        let refused = demo.run("cyberspace-clerk", args);
        let told = refused.stderr.contains("CERTIFICATE_REFUSED") && refused.stderr.contains("revoked");
        assert!(refused.code == 3 && told, "{args:?}: {} {}", refused.code, refused.stderr);
    }
    assert_eq!(Watch::start(&demo, "cyberspace-clerk").ends(SOON), 3, "it does not wait for the node");
    let (text, asked) = (concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md"), Instant::now());
    let import = demo.run("cyberspace-clerk", &["record", "import", text, "--format", "text", "--grade", "internal"]);
    assert!(import.code == 3 && import.stderr.contains("CERTIFICATE_REFUSED"), "{} {}", import.code, import.stderr);
    assert!(asked.elapsed() < SOON, "nor does an import");
    let doctor = demo.run("cyberspace-clerk", &["doctor"]);
    assert!(doctor.code == 3 && doctor.lines.iter().any(|l| l.to_string().contains("revoked")), "{:?}", doctor.lines);
    assert_eq!(demo.run("cyberspace-analyst", &["cluster", "status"]).code, 0);
}

#[test]
fn what_needs_a_restart_or_does_not_parse_changes_nothing() {
    let demo = Demo::start();
    let (pid, log) = (demo.pid("police"), demo.dir().join("nodes/police/log"));
    demo.configure("police", |config| {
        let raft = config["raft"].as_table_mut().unwrap();
        raft.insert("heartbeat_ms".into(), toml::Value::Integer(300));
        let groups = [("border".to_owned(), toml::Value::from(vec!["customs"]))];
        let notices = config["notices"].as_table_mut().unwrap();
        notices.insert("groups".into(), toml::Value::Table(groups.into_iter().collect()));
    });
    let refused = told(&demo, "police-officer", "police", "configuration-refused");
    let why = refused["detail"].as_str().unwrap();
    assert!(why.contains("`raft.heartbeat_ms` needs a restart") && !why.contains("groups"), "{why}");
    let to_group = || send(&demo, "police-duty", "@border", "routine", "internal", "演练：分组");
    assert_eq!(to_group().code, 2, "nothing of the file was taken");

    demo.configure("police", |config| {
        config["raft"].as_table_mut().unwrap().insert("heartbeat_ms".into(), toml::Value::Integer(250));
    });
    told(&demo, "police-officer", "police", "configuration-accepted");
    assert_eq!(to_group().code, 0);

    let config = demo.dir().join("nodes/police/hufu.toml");
    std::fs::write(&config, "agency = ").unwrap();
    let newer = |e: Value| (e["seq"].as_u64() > refused["seq"].as_u64()).then_some(());
    until("it is refused", SOON, || event(&demo, "police-officer", "police", "configuration-refused").and_then(newer));
    assert_eq!(to_group().code, 0, "the one of before is in force");
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    until("the files are read again", SOON, || {
        std::fs::read_to_string(&log).unwrap().contains("all files were read again").then_some(())
    });
    assert_eq!((demo.pid("police"), to_group().code), (pid, 0));
}
