//! A federation shares one record: sealed, synced, guarded, accounted for; and survives.

use super::demo::{Demo, until};
use super::leaks::none_readable;
use hufu::wire::pb::v1;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const SECRET: &[&str] = &["--grade", "secret"];
const BODY: &str = "目标车辆已过关，知悉范围限于专班。";
const TITLE: &str = "口岸演练通报";

#[test]
fn one_record_from_police_to_customs() {
    let mut demo = Demo::start();
    demo.equal_digests("customs-clerk", 4);

    let published = demo.publish("police-analyst", TITLE, BODY, &[SECRET, &["--wait", "all"]].concat());
    let answer = published.ok();
    let record = answer["record"].as_str().unwrap().to_owned();
    assert_eq!(answer["held_by"], serde_json::json!(["customs", "police", "state-security"]));
    assert_eq!(answer["state"], "committed");

    let opened = until("customs opens it", Duration::from_secs(5), || {
        let r = demo.open("customs-analyst", &record);
        (r.code == 0).then(|| r.ok().clone())
    });
    assert_eq!(opened["title"], TITLE);
    assert_eq!(opened["portions"][0]["text"], BODY);
    assert_eq!(opened["label"], "机密★10年");

    originator_learns_of_it(&demo, &record);
    denied_looks_like_absent(&demo, &record);
    compartments_stay_in(&demo);
    refusals_have_their_codes(&demo);
    officers_account_and_do_not_read(&demo, &record);
    nothing_lies_where_it_may_not(&demo);
    no_piece_of_it_lies_at_an_outsider(&demo, &record);
    a_person_changes_and_is_suspended_at_the_next_call(&demo, &record);

    // All stop and start again: nothing acknowledged is lost.
    demo.restart();
    demo.equal_digests("police-clerk", 4);
    assert_eq!(demo.open("customs-analyst", &record).ok()["portions"][0]["text"], BODY);

    // The agreement ends: the partner's next open finds nothing, the originator's own works.
    let end = |reason: &str| demo.run("customs-officer", &["agreement", "end", "border-2026", "--reason", reason]);
    assert_eq!(end("").code, 2);
    end("演练结束").ok();
    assert_eq!(end("再次").code, 7, "it is over already");
    until("customs has applied the end", Duration::from_secs(5), || {
        (demo.open("customs-analyst", &record).code == 4).then_some(())
    });
    demo.open("police-analyst", &record).ok();
    assert_eq!(demo.publish("police-analyst", TITLE, BODY, SECRET).code, 3);
    demo.stop();
}

/// The access at customs stands in police's answer within 5 s: a pseudonym and a role, no name.
fn originator_learns_of_it(demo: &Demo, record: &str) {
    let line = until("police learns of the access", Duration::from_secs(5), || {
        let reads = demo.run("police-officer", &["audit", "who-read", record]);
        reads.lines.iter().find(|r| r["agency"] == "customs" && r["action"] == "open").cloned()
    });
    assert_eq!((&line["version"], &line["role"]), (&serde_json::json!(1), &serde_json::json!("analyst")));
    let who = line["who"].as_str().unwrap();
    assert!(who.len() == 32 && who.bytes().all(|b| b.is_ascii_hexdigit()), "a pseudonym: {who}");
}

fn denied_looks_like_absent(demo: &Demo, record: &str) {
    let never = format!("{}aaaaaa", record.get(..record.len() - 6).unwrap());
    let denied = demo.open("customs-clerk", record);
    let absent = demo.open("customs-clerk", &never);
    assert_eq!((denied.code, absent.code), (4, 4));
    assert_eq!(denied.stderr, absent.stderr);
    assert_eq!(demo.open("cyberspace-chief", record).code, 4);
    let events = demo.run("customs-officer", &["audit", "search", "--person", "clerk", "--decision", "deny"]);
    let denied = |e: &Value| e["record"] == record && e["rule"] == "lattice:grade" && e["label"] == "机密";
    assert!(events.lines.iter().any(denied), "{:?}", events.lines);
}

/// state-security is party to the agreement and does not hold the compartment: its systems get nothing.
fn compartments_stay_in(demo: &Demo) {
    let r = demo.publish(
        "police-analyst",
        TITLE,
        BODY,
        &[SECRET, &["--compartment", "border-ops", "--wait", "all"]].concat(),
    );
    assert_eq!(r.ok()["owed"], serde_json::json!(["customs", "police"]));
    let named = [SECRET, &["--compartment", "border-ops", "--release", "state-security"]].concat();
    assert_eq!(demo.publish("police-analyst", TITLE, BODY, &named).code, 3);
}

fn refusals_have_their_codes(demo: &Demo) {
    let publish = |who: &str, extra: &[&str]| demo.publish(who, TITLE, BODY, extra).code;
    assert_eq!(publish("police-analyst", &["--grade", "top-secret"]), 3, "above the agreement");
    assert_eq!(publish("police-analyst", &["--grade", "secret", "--period", "21"]), 2, "over the legal maximum");
    assert_eq!(publish("police-analyst", &["--grade", "ultra"]), 2, "unknown grade");
    assert_eq!(publish("police-clerk", SECRET), 3, "above the clearance");
    assert_eq!(publish("police-analyst", &["--grade", "secret", "--release", "nowhere"]), 2, "unknown agency");
    let huge = "x".repeat((16 << 20) + 1);
    let file = demo.dir().join("huge.txt");
    std::fs::write(&file, huge).unwrap();
    let base = ["record", "publish", "--title", "t", "--grade", "secret", "--agreement", "border-2026", "--body-file"];
    let r = demo.run("police-analyst", &[&base[..], &[file.to_str().unwrap()]].concat());
    assert_eq!(r.code, 2);
    assert!(r.stderr.contains("16777216"), "the limit is named: {}", r.stderr);
    std::fs::write(&file, [0xff, 0xfe, 0x41]).unwrap();
    let broken = demo.run("police-analyst", &[&base[..], &[file.to_str().unwrap()]].concat());
    assert!(
        broken.code == 2 && broken.stderr.contains("huge.txt") && broken.stderr.contains("offset 0"),
        "{}",
        broken.stderr
    );
    assert_eq!(demo.open("police-analyst", "r-nonsense").code, 2);
}

fn officers_account_and_do_not_read(demo: &Demo, record: &str) {
    assert_eq!(demo.open("customs-officer", record).code, 4);
    assert_ne!(demo.run("customs-analyst", &["audit", "search"]).code, 0);
    let reads = demo.run("customs-officer", &["audit", "who-read", record]);
    let own = |r: &Value| r["who"] == "analyst" && r["action"] == "open" && r["role"] == "analyst";
    assert!(reads.lines.iter().any(own), "{:?}", reads.lines);

    let out = demo.dir().join("log-export");
    demo.run("customs-officer", &["audit", "export", "--out", out.to_str().unwrap()]).ok();
    let genesis = demo.dir().join("genesis.json");
    let verify = ["audit", "verify", out.to_str().unwrap(), "--genesis", genesis.to_str().unwrap()];
    let verified = demo.run("customs-officer", &verify);
    assert_eq!(verified.ok()["consistent"], true);
    let bundle = out.join("tile/entries");
    let mut file = first_file(&bundle);
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&mut file, bytes).unwrap();
    assert_eq!(demo.run("customs-officer", &verify).code, 6, "a changed entry is found");
}

fn first_file(dir: &Path) -> std::path::PathBuf {
    let mut found: Vec<_> = files(dir);
    found.sort();
    found.into_iter().next().expect("a file")
}

/// Every file under a folder.
pub fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] }).collect()
}

/// What a file of a running node holds: nothing if it was renamed or removed since the folder was listed.
pub fn content(file: &Path) -> Vec<u8> {
    match std::fs::read(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        read => read.unwrap(),
    }
}

/// No file of any node holds the title or the body; cyberspace holds no body segment bytes.
fn nothing_lies_where_it_may_not(demo: &Demo) {
    none_readable(demo, &[TITLE, BODY]);
    let bodies = demo.dir().join("nodes/cyberspace/data/vault/bodies");
    let held: u64 = files(&bodies).iter().map(|f| std::fs::metadata(f).unwrap().len()).sum();
    assert_eq!(held, 0, "cyberspace holds nothing");
}

/// No 16 bytes of header, ciphertext, grant or wrapped keys lie at cyberspace; the record id, which the ledger
/// carries in clear, is the one exception.
fn no_piece_of_it_lies_at_an_outsider(demo: &Demo, record: &str) {
    let out = demo.dir().join("sealed");
    let export = ["record", "export", record, "--sealed", "--out", out.to_str().unwrap(), "--purpose", "CASE-1"];
    demo.run("customs-analyst", &export).ok();
    // Beside these lie the genesis and what the ledger carries, which are everybody's.
    let of_it = |f: &&std::path::PathBuf| {
        let kind = f.extension().and_then(|e| e.to_str());
        kind.is_some_and(|k| ["envelope", "grant", "audience"].contains(&k))
    };
    let sealed: Vec<u8> = files(&out).iter().filter(of_it).flat_map(|f| std::fs::read(f).unwrap()).collect();
    let pieces: std::collections::HashSet<&[u8]> = sealed.windows(16).filter(|w| distinct(w) > 12).collect();
    assert!(pieces.len() > 1000, "there is something to look for");
    let mut found = std::collections::BTreeSet::new();
    for file in files(&demo.dir().join("nodes/cyberspace/data")) {
        let bytes = content(&file);
        found.extend(bytes.windows(16).filter(|w| pieces.contains(w)).map(<[u8]>::to_vec));
    }
    // What is public on the ledger: the record's id and version.
    let hidden: Vec<_> = found.iter().filter(|w| !near_the_id(w, record)).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}

fn distinct(bytes: &[u8]) -> usize {
    bytes.iter().collect::<std::collections::BTreeSet<_>>().len()
}

fn near_the_id(piece: &[u8], record: &str) -> bool {
    let text = record.strip_prefix("r-").unwrap().to_uppercase();
    let id = data_encoding::BASE32_NOPAD.decode(text.as_bytes()).unwrap();
    // The ledger writes the version beside the id, as a header does.
    id.windows(9).any(|part| piece.windows(9).any(|p| p == part))
}

/// Clearance taken is taken at the next call; so is everything, on suspension.
fn a_person_changes_and_is_suspended_at_the_next_call(demo: &Demo, record: &str) {
    let officer = "state-security-officer";
    demo.open("state-security-duty", record).ok();
    demo.run(officer, &["person", "change", "duty", "--clearance", "internal"]).ok();
    assert_eq!(demo.open("state-security-duty", record).code, 4);
    let why =
        ["policy", "explain", "--person", "duty", "--action", "record-open", "--record", record, "--purpose", "X"];
    assert_eq!(demo.run(officer, &why).ok()["rule"], "lattice:grade");
    assert_eq!(demo.run("state-security-analyst", &why).code, 3);
    assert_eq!(demo.run(officer, &["person", "change", "officer", "--clearance", "secret"]).code, 3, "not oneself");
    demo.run(officer, &["person", "suspend", "duty"]).ok();
    assert_eq!(demo.open("state-security-duty", record).code, 3);
}

#[test]
fn a_flipped_byte_on_disk_is_an_integrity_failure_and_mended_from_another_holder() {
    let demo = Demo::start();
    let answer = demo.publish("police-analyst", TITLE, BODY, &[SECRET, &["--wait", "all"]].concat());
    let record = answer.ok()["record"].as_str().unwrap().to_owned();
    let absent = format!("{}aaaaaa", record.get(..record.len() - 6).unwrap());
    // The origin lets its damaged copy come back from a holder, as a holder does from it.
    for agency in ["customs", "police"] {
        // The index has read it: nobody but the person finds the damage.
        until("it is indexed", Duration::from_secs(10), || {
            let analyst = format!("{agency}-analyst");
            let found = demo.run(&analyst, &["record", "search", "知悉范围", "--purpose", "CASE-1"]);
            (found.ok()["total"] == 1).then_some(())
        });
        flip_the_only_body(&demo, agency);
        assert_eq!(demo.open(&format!("{agency}-analyst"), &record).code, 6);
        assert_eq!(demo.open("customs-clerk", &record).stderr, demo.open("customs-clerk", &absent).stderr);
        demo.open("state-security-analyst", &record).ok();
        opens_again(&demo, agency, &record);
        let events = demo.run(&format!("{agency}-officer"), &["audit", "search", "--record", &record]);
        let told = |e: &serde_json::Value| e["action"] == "quarantine" && e["rule"] == "damaged";
        assert_eq!(events.lines.iter().filter(|e| told(e)).count(), 1);
    }

    // Found out at the start, before anybody asks.
    demo.kill("customs");
    flip_the_only_body(&demo, "customs");
    let _customs = demo.start_node("customs");
    opens_again(&demo, "customs", &record);
}

fn opens_again(demo: &Demo, agency: &str, record: &str) {
    until("the object is fetched again", Duration::from_secs(10), || {
        let opened = demo.open(&format!("{agency}-analyst"), record);
        (opened.code == 0).then(|| assert_eq!(opened.ok()["portions"][0]["text"], BODY))
    });
}

/// Flips a byte in the middle of the copy that is in use, the last one of the segment.
fn flip_the_only_body(demo: &Demo, agency: &str) {
    let segment = first_file(&demo.dir().join("nodes").join(agency).join("data/vault/bodies"));
    let mut bytes = std::fs::read(&segment).unwrap();
    let end = bytes.len() - 200;
    bytes[end] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
}

#[test]
fn a_folder_of_another_node_is_refused() {
    let demo = Demo::start();
    demo.kill("police");
    demo.kill("customs");
    let config = demo.dir().join("nodes/customs/hufu.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let foreign = demo.dir().join("nodes/police/data");
    let data = text.lines().find(|l| l.starts_with("data =")).unwrap().to_owned();
    std::fs::write(&config, text.replace(&data, &format!("data = {:?}", foreign.to_str().unwrap()))).unwrap();
    let second = super::demo::ran(super::demo::hufu().args(["node", "run", "--config"]).arg(&config).output().unwrap());
    assert_eq!(second.code, 7, "{}", second.stderr);
    assert!(second.stderr.contains("another node"), "{}", second.stderr);
    // The doctor knows it beforehand.
    let mut doctor = super::demo::hufu();
    let doctor = super::demo::ran(doctor.args(["--json", "doctor", "--config"]).arg(&config).output().unwrap());
    let told =
        |l: &Value| l["check"] == "data" && l["state"] == "bad" && l["detail"].to_string().contains("another node");
    assert!(doctor.code == 7 && doctor.lines.iter().any(told), "{} {:?}", doctor.code, doctor.lines);
}

#[test]
fn the_federation_outlives_its_nodes() {
    let demo = Demo::start();
    demo.equal_digests("police-clerk", 4);

    // Customs is away while police publishes; then police is gone, too. Customs gets it from state-security.
    demo.kill("customs");
    let r = demo.publish("police-analyst", TITLE, BODY, &[SECRET, &["--wait", "one"]].concat());
    let record = r.ok()["record"].as_str().unwrap().to_owned();
    assert_eq!(r.ok()["held_by"], serde_json::json!(["police", "state-security"]));
    demo.kill("police");
    let customs = demo.start_node("customs");
    let opened = until("customs gets it from state-security", Duration::from_secs(30), || {
        let r = demo.open("customs-analyst", &record);
        (r.code == 0).then(|| r.ok().clone())
    });
    assert_eq!(opened["portions"][0]["text"], BODY);

    // One voter of three left: no leader, and a publish says so with exit 5.
    demo.kill("state-security");
    until("no leader", Duration::from_secs(20), || {
        let s = demo.run("customs-clerk", &["cluster", "status"]);
        (s.code == 0 && s.ok()["leader"].is_null()).then_some(())
    });
    let r = demo.publish("customs-analyst", TITLE, BODY, &[SECRET, &["--timeout", "1"]].concat());
    assert_eq!(
        (r.code, &r.lines[0]["state"], &r.lines[0]["index"]),
        (5, &"accepted".into(), &Value::Null),
        "{}",
        r.stderr
    );
    let open = r.lines[0]["record"].as_str().unwrap().to_owned();
    assert_eq!(demo.open("customs-analyst", &open).code, 4, "nobody sees what is not committed");
    // The same request again is the same record, and still accepted.
    let request = v1::PublishRequest {
        title: TITLE.into(),
        body: BODY.into(),
        grade: "secret".into(),
        agreement: "border-2026".into(),
        kind: "report".into(),
        reliability: "F".into(),
        credibility: 6,
        wait: "none".into(),
        timeout_ms: 1_000,
        request_id: vec![7; 16],
        ..v1::PublishRequest::default()
    };
    let [first, second] = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut client = demo.records("customs-analyst").await;
        let first = client.publish(request.clone()).await.unwrap().into_inner();
        [first, client.publish(request).await.unwrap().into_inner()]
    });
    assert_eq!((second.state.as_str(), &second.record), ("accepted", &first.record));

    // All come back: what was left open is committed by itself, digests agree, nothing was lost.
    let police = demo.start_node("police");
    let state_security = demo.start_node("state-security");
    demo.equal_digests("police-clerk", 4);
    until("what was accepted is committed and arrives", Duration::from_secs(30), || {
        (demo.open("police-analyst", &open).code == 0).then_some(())
    });
    demo.open("police-analyst", &record).ok();
    drop((customs, police, state_security));
}

#[test]
fn one_process_for_one_folder() {
    let demo = Demo::start();
    let config = demo.dir().join("nodes/police/hufu.toml");
    let second = super::demo::ran(super::demo::hufu().args(["node", "run", "--config"]).arg(&config).output().unwrap());
    assert_eq!(second.code, 7, "{}", second.stderr);
    assert!(second.stderr.contains("another process"), "{}", second.stderr);
}

/// Killed amid its first settling, the demo is made anew in its folder, on its ports.
#[test]
fn a_demo_that_was_never_ready_is_made_anew() {
    let mut demo = Demo::start_unfinished();
    demo.restart();
    demo.equal_digests("police-clerk", 4);
}

#[test]
fn children_end_with_the_demo_however_it_ended() {
    let mut demo = Demo::start();
    let pids = ["police", "state-security", "customs", "cyberspace"].map(|a| demo.pid(a));
    demo.kill_itself();
    for pid in pids {
        let proc = Path::new("/proc").join(pid).join("exe");
        until("a node ended", Duration::from_secs(5), || std::fs::read_link(&proc).is_err().then_some(()));
    }
}
