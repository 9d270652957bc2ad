//! The command line's forms that no story needs: every noun's list, the people's own lives, what is the same in both languages.

use super::demo::{Demo, hufu, ran, until};
use serde_json::{Value, json};
use std::time::Duration;

const SECRET: &[&str] = &["--grade", "secret", "--compartment", "border-ops"];

#[test]
fn lists_histories_exports_and_explanations() {
    let demo = Demo::start();
    let published = demo.publish("police-analyst", "演练：清单", "正文", SECRET);
    let record = published.ok()["record"].as_str().unwrap().to_owned();
    let purpose = ["--purpose", "CASE-9"];
    let list = until("customs lists it", Duration::from_secs(10), || {
        let l = demo.run("customs-analyst", &[&["--fresh", "record", "list"], &purpose[..]].concat());
        (l.code == 0 && !l.lines.is_empty()).then_some(l)
    });
    assert_eq!((&list.lines[0]["record"], &list.lines[0]["title"]), (&json!(record), &json!("演练：清单")));
    assert!(list.lines[0]["ledger_index"].as_u64().unwrap() >= published.ok()["index"].as_u64().unwrap());
    // A title that was listed is an access: the originator is told.
    until("police learns of the list", Duration::from_secs(5), || {
        let reads = demo.run("police-officer", &["audit", "who-read", &record]);
        reads.lines.iter().any(|r| r["agency"] == "customs" && r["action"] == "snippet").then_some(())
    });
    let history = demo.run("customs-analyst", &[&["record", "history", &record], &purpose[..]].concat());
    assert_eq!((history.code, &history.lines[0]["version"]), (0, &json!(1)));
    // The sealed copy needs no purpose of its own, and has no text in it.
    let out = demo.dir().join("sealed");
    demo.run("police-analyst", &["record", "export", &record, "--sealed", "--out", out.to_str().unwrap()]).ok();
    for file in std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().path()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(6).any(|w| w == "正文".as_bytes()), "{}", file.display());
    }
    // Somebody who may not see a record is not told who read it, and not that it is there.
    let absent = "r-aaaaaaaaaaaaaaaaaaaaaaaaaa";
    let top = ["--grade", "secret", "--release", "police"];
    let own = demo.publish("police-analyst", "演练：本机构", "正文", &top);
    let own = own.ok()["record"].as_str().unwrap().to_owned();
    assert_eq!(demo.run("police-chief", &["audit", "who-read", &own]).code, 0);
    let denied = demo.run("customs-chief", &["audit", "who-read", &own]);
    let unknown = demo.run("customs-chief", &["audit", "who-read", absent]);
    assert_eq!((denied.code, &denied.stderr), (4, &unknown.stderr));

    let bench = ["bench", "publish", "--clients", "2", "--seconds", "1", "--bytes", "64", "--agreement", "border-2026"];
    for way in [&[][..], &["--stream"]] {
        let bench = demo.run("police-analyst", &[&bench[..], way].concat());
        assert!(bench.ok()["ops"].as_u64().unwrap() > 0 && bench.ok()["errors"] == 0, "{:?}", bench.lines);
    }
    let load = ["bench", "load", "--clients", "2", "--records", "12", "--agreement", "border-2026"];
    let load = demo.run("police-analyst", &load);
    assert!(load.ok()["ops"] == 12 && load.ok()["errors"] == 0, "{:?}", load.lines);
    for op in ["open", "search"] {
        let bench = demo.run("police-analyst", &["bench", op, "--clients", "2", "--seconds", "1", "--records", "12"]);
        assert!(bench.ok()["op"] == op && bench.ok()["ops"].as_u64().unwrap() > 0, "{:?}", bench.lines);
        assert_eq!(bench.ok()["errors"], 0, "{}", bench.stderr);
    }
    let guides = demo.run("police-chief", &["guide", "list"]);
    let guide = guides.lines.iter().find(|g| g["agency"] == "police").unwrap()["id"].as_str().unwrap().to_owned();
    // What its agreement refuses is told as that, and not as a missing guide.
    for (grade, agreement, reason) in
        [("secret", "nope-2026", "UNKNOWN_AGREEMENT"), ("top-secret", "border-2026", "OUTSIDE_AGREEMENT")]
    {
        let how = ["--title", "x", "--body", "x", "--grade", grade, "--agreement", agreement];
        let refused = demo.run("police-chief", &[&["record", "publish"], &how[..]].concat());
        assert!(refused.code == 3 && refused.stderr.contains(reason), "{}", refused.stderr);
    }
    paged(&demo);
    // The same person is not two: the chief signed the only guide.
    let alone = demo.publish("police-chief", "x", "x", SECRET);
    assert_eq!(alone.ok()["state"], "proposed");
    demo.run("police-chief", &["guide", "end", &guide]).ok();
    let denials = demo.run("police-officer", &["audit", "search", "--decision", "deny"]);
    assert!(denials.lines.iter().any(|e| e["rule"] == "publish:OUTSIDE_AGREEMENT"));
    // The newest come, in their order; the page before them follows.
    let two = demo.run("police-officer", &["audit", "search", "--limit", "2"]);
    let seq = |r: &Value| r["seq"].as_u64().unwrap();
    assert!(two.lines.len() == 2 && seq(&two.lines[0]) + 1 == seq(&two.lines[1]));
    let before = seq(&two.lines[0]).to_string();
    let page = demo.run("police-officer", &["audit", "search", "--limit", "2", "--before", &before]);
    assert_eq!(seq(&page.lines[1]) + 1, seq(&two.lines[0]));
    checked_terms(&demo);
    // The export brings its genesis, and another one is noticed.
    let log = demo.dir().join("log");
    demo.run("police-officer", &["audit", "export", "--out", log.to_str().unwrap()]).ok();
    assert!(log.join("genesis.json").exists());
    // Tiles of one export beside the checkpoint of another would look like tampering.
    assert_eq!(demo.run("police-officer", &["audit", "export", "--out", log.to_str().unwrap()]).code, 7);
    let genesis = demo.dir().join("genesis.json");
    let verify = |more: &[&str]| ran(hufu().args(["--json", "audit", "verify"]).arg(&log).args(more).output().unwrap());
    assert_eq!(verify(&["--genesis", genesis.to_str().unwrap()]).ok()["pinned"], json!(true));
    assert_eq!(verify(&[]).ok()["pinned"], json!(false));
    assert_eq!(verify(&["--genesis", log.join("checkpoint").to_str().unwrap()]).code, 6, "what does not parse");
    let text = std::fs::read_to_string(log.join("genesis.json")).unwrap();
    // What people read in it says what it holds.
    std::fs::write(log.join("genesis.json"), text.replace("\"customs\"", "\"custons\"")).unwrap();
    assert_eq!(verify(&[]).code, 6);
    std::fs::write(log.join("genesis.json"), text.replacen(['b', 'd'], "c", 1)).unwrap();
    let spoilt = verify(&[]);
    assert!(spoilt.code == 6 && spoilt.stderr.contains("genesis.json"), "{}", spoilt.stderr);
    std::fs::remove_file(log.join("genesis.json")).unwrap();
    assert_eq!(verify(&[]).ok()["signature"], json!(false), "nobody's key to check it with");
    demo.run("police-officer", &["audit", "verify", "--live"]).ok();

    let explained = demo.run(
        "customs-officer",
        &["policy", "explain", "--person", "clerk", "--action", "record-open", "--record", &record, "--purpose", "x"],
    );
    assert!(explained.lines[0].to_string().contains("lattice:grade"), "{:?}", explained.lines);
    for args in [&["policy", "check"][..], &["federation", "show"], &["agreement", "list"], &["person", "list"]] {
        let who = if args[0] == "person" { "police-officer" } else { "police-chief" };
        assert_eq!(demo.run(who, args).code, 0, "{args:?}");
    }
    let officer = demo.run("customs-officer", &["person", "show", "officer"]);
    assert_eq!(officer.ok()["compartments"], json!(["border-ops"]));
    let config = demo.dir().join("nodes/police/hufu.toml");
    let doctor = demo.run("police-operator", &["doctor", "--config", config.to_str().unwrap()]);
    assert_eq!(doctor.code, 0, "{}", doctor.stderr);
}

#[test]
fn people_come_act_and_go() {
    let demo = Demo::start();
    let key = demo.dir().join("people/police");
    let profile = |name: &str| demo.dir().join(format!("profiles/police-{name}.toml"));
    let enter = |name: &str, roles: &str| {
        let csr = key.join(format!("{name}.csr"));
        let args = ["--json", "person", "request", name, "--agency", "police", "--federation", "hufu-demo", "--dir"];
        let made = hufu().args(args).arg(&key).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let cert = key.join(format!("{name}.pem"));
        let (csr, cert) = (csr.to_str().unwrap().to_owned(), cert.to_str().unwrap().to_owned());
        let add = ["person", "add", name, "--csr", &csr, "--clearance", "secret", "--role", roles];
        let added = demo.run("police-officer", &[&add[..], &["--out", &cert]].concat());
        let text = std::fs::read_to_string(profile("analyst")).unwrap().replace("analyst", name);
        std::fs::write(profile(name), text).unwrap();
        added
    };
    enter("zhang", "analyst").ok();
    let list = ["record", "list", "--purpose", "CASE-1"];
    assert_eq!(demo.run("police-zhang", &list).code, 0);
    // One officer alone makes no second one: a role that signs counts when two officers registered it.
    enter("puppet", "security-officer");
    assert_eq!(demo.run("police-puppet", &["audit", "search"]).code, 3, "nobody registered that role");
    // Such a role stands in the directory alone, and is taken like any other; then nothing is left to register.
    let take = ["person", "change", "puppet", "--remove-role", "security-officer", "--add-role", "analyst"];
    assert_eq!(demo.run("police-officer", &take).ok()["roles"], json!(["analyst"]));
    let approve = demo.run("police-officer-2", &["person", "approve", "puppet"]);
    assert!(approve.code == 7 && approve.stderr.contains("nothing more"), "{}", approve.stderr);
    // What was refused to an officer stands in the log as refused.
    let own = demo.run("police-officer", &["person", "change", "officer", "--clearance", "internal"]);
    assert_eq!(own.code, 3, "{}", own.stderr);
    let log = demo.run("police-officer-2", &["audit", "search", "--person", "officer", "--decision", "deny"]);
    let refused = log.lines.iter().find(|e| e["rule"] == "act:NOT_ALLOWED").expect("the outcome");
    assert!(refused["detail"].as_str().unwrap().contains("change officer"), "{refused}");
    // Who signs acts gets another such role as a new entry. The hints say how, and following them works.
    enter("wu", "classifier").ok();
    demo.run("police-officer-2", &["person", "approve", "wu"]).ok();
    let change = demo.run("police-officer", &["person", "change", "wu", "--add-role", "inspector"]);
    assert!(change.code == 3 && change.stderr.contains("`wu-2`"), "{}", change.stderr);
    let take = demo.run("police-officer", &["person", "change", "wu", "--remove-role", "classifier"]);
    assert!(take.code == 3 && take.stderr.contains("stands on the ledger"), "{}", take.stderr);
    demo.run("police-officer", &["person", "suspend", "wu"]).ok();
    let csr = key.join("wu.csr");
    let again = ["person", "add", "wu", "--csr", csr.to_str().unwrap(), "--clearance", "secret", "--role", "inspector"];
    let out = key.join("wu-again.pem");
    let again = demo.run("police-officer", &[&again[..], &["--out", out.to_str().unwrap()]].concat());
    assert!(again.code == 7 && again.stderr.contains("`wu-2`"), "{}", again.stderr);
    enter("wu-2", "inspector").ok();
    demo.run("police-officer-2", &["person", "approve", "wu-2"]).ok();
    assert_eq!(demo.run("police-wu-2", &["audit", "search"]).code, 0);
    demo.run("police-officer", &["person", "suspend", "zhang"]).ok();
    assert_eq!(demo.run("police-zhang", &list).code, 3, "at the next call");
    until("the refusal is told", Duration::from_secs(5), || {
        let log = demo.run("police-officer", &["audit", "search", "--decision", "deny"]);
        log.lines.iter().any(|e| e["rule"] == "unknown-person").then_some(())
    });
}

#[test]
fn both_languages_and_shells() {
    let demo = Demo::start();
    let profile = demo.dir().join("profiles/police-clerk.toml");
    let run = |lang: &str, args: &[&str]| {
        let out = hufu().args(["--lang", lang, "--profile"]).arg(&profile).args(args).output().unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let (code, zh, _) = run("zh", &["agreement", "list"]);
    assert!(code == Some(0) && zh.contains("缔约机构"), "{zh}");
    let (_, en, _) = run("en", &["agreement", "list"]);
    assert!(en.contains("PARTIES"), "{en}");
    let open = ["record", "open", "r-aaaaaaaaaaaaaaaaaaaaaaaaaa", "--purpose", "x"];
    let (code, _, zh) = run("zh", &open);
    assert!(code == Some(4) && zh.contains("未找到"), "{zh}");
    // A wrong authority in the profile is told as that, and not as a node that is away.
    let text = std::fs::read_to_string(&profile).unwrap();
    let wrong = demo.dir().join("profiles/wrong.toml");
    std::fs::write(&wrong, text.replace("nodes/police/ca.pem", "nodes/customs/ca.pem")).unwrap();
    for (lang, words) in [("en", "authority in the profile"), ("zh", "证书机构")] {
        let out = hufu().args(["--lang", lang, "--profile"]).arg(&wrong).args(["cluster", "status"]).output().unwrap();
        let told = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(3) && told.contains(words) && told.contains("`ca`"), "{told}");
    }
    // The ledger's time stands still while nobody writes: whoever is shown it can read so.
    for args in [["federation", "show"], ["record", "history"], ["agreement", "list"]] {
        let (code, text, _) = run("en", &[&args[..], &["--help"]].concat());
        assert!(code == Some(0) && text.contains("as of its"), "{args:?}: {text}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let (code, text, _) = run("en", &["completions", shell]);
        assert!(code == Some(0) && text.contains("hufu"), "{shell}");
    }
}

/// Every list goes on where a page ends, and a page says that it is one.
fn paged(demo: &Demo) {
    for (persona, noun, key) in
        [("police-chief", "agreement", "id"), ("police-chief", "guide", "id"), ("police-officer", "person", "name")]
    {
        let whole = demo.run(persona, &[noun, "list"]);
        assert!(whole.code == 0 && whole.lines.len() > 1 && whole.stderr.is_empty(), "{noun}: {}", whole.stderr);
        let mut pages: Vec<Value> = Vec::new();
        loop {
            let last = pages.last().map(|l| l[key].as_str().unwrap().to_owned());
            let after: Vec<&str> = last.iter().flat_map(|l| ["--after", l.as_str()]).collect();
            let page = demo.run(persona, &[&[noun, "list", "--limit", "1"], &after[..]].concat());
            assert_eq!((page.code, page.lines.len()), (0, 1), "{noun}: {}", page.stderr);
            pages.extend(page.lines);
            assert_eq!(page.stderr.contains("--after"), pages.len() < whole.lines.len(), "{noun}: {}", page.stderr);
            if page.stderr.is_empty() {
                break;
            }
        }
        assert_eq!(pages, whole.lines, "{noun}");
        assert_eq!(demo.run(persona, &[noun, "list", "--limit", "0"]).code, 2, "{noun}");
    }
    for body in ["分页甲", "分页乙", "分页丙"] {
        demo.publish("police-analyst", "演练：分页", body, &["--grade", "internal"]).ok();
    }
    let search = |more: &[&str]| {
        let base = ["record", "search", "分页", "--purpose", "CASE-9"];
        demo.run("police-analyst", &[&base[..], more].concat())
    };
    let whole = until("all are indexed", Duration::from_secs(10), || {
        let found = search(&[]);
        (found.ok()["total"] == 3).then_some(found)
    });
    for (n, hit) in whole.lines.iter().take(3).enumerate() {
        let page = search(&["--limit", "1", "--offset", &n.to_string()]);
        assert_eq!((page.lines.len(), &page.lines[0]), (2, hit), "the hit and the total");
        assert_eq!(page.ok()["total"], json!(3));
    }
    let beyond = search(&["--offset", "3"]);
    assert_eq!((beyond.lines.len(), &beyond.ok()["total"]), (1, &json!(3)));
    // Only what was shown was disclosed.
    let shown = demo.run("police-officer", &["audit", "search", "--person", "analyst", "--limit", "50"]);
    let last = shown.lines.iter().rfind(|e| e["action"] == "search").expect("the search is an event");
    assert!(last["record"].is_null(), "{last}");
}

/// Dates that are over, periods that no law allows and grades that one is not cleared for are refused as what they are.
fn checked_terms(demo: &Demo) {
    let refused = |persona: &str, args: &[&str], code: i32, reason: &str| {
        let ran = demo.run(persona, args);
        assert!(ran.code == code && ran.stderr.contains(reason), "{args:?}: {} {}", ran.code, ran.stderr);
    };
    let sign = |more: &[&'static str]| [&["guide", "sign", "--agreement"][..], more].concat();
    refused("police-chief", &sign(&["border-2026", "--grade", "secret", "--until", "2020-01-01"]), 2, "BAD_DATE");
    refused("cyberspace-chief", &sign(&["border-2026", "--grade", "confidential"]), 3, "NOT_A_PARTY");
    let draft = ["agreement", "draft", "long-2026", "--parties", "police,customs", "--purpose", "演练"];
    let long = ["--grade", "secret", "--default-period", "25"];
    refused("police-officer", &[&draft[..], &long].concat(), 2, "PERIOD_TOO_LONG");
    let lead = ["record", "publish", "--title", "x", "--body", "x", "--grade", "internal", "--kind", "lead"];
    refused("police-analyst", &[&lead[..], &["--retain-until", "2020-01-01"]].concat(), 2, "BAD_DATE");
    let high =
        ["record", "publish", "--title", "x", "--body", "x", "--agreement", "border-2026", "--grade", "top-secret"];
    refused("police-analyst", &high, 3, "ABOVE_CLEARANCE");
    let search = ["record", "search", "x", "--purpose", "CASE-1"];
    refused("police-analyst", &[&search[..], &["--origin", "mars"]].concat(), 2, "UNKNOWN_AGENCY");
    refused("police-analyst", &[&search[..], &["--limit", "0"]].concat(), 2, "USAGE");
    // A wait that a node would cut short is refused, and not cut short.
    refused("police-analyst", &["cluster", "status", "--timeout", "121"], 2, "at most 120 seconds");
    assert_eq!(demo.run("police-analyst", &["cluster", "status", "--fresh", "--timeout", "120"]).code, 0);
    refused("police-analyst", &[&lead[..], &["--wait-seconds", "61"]].concat(), 2, "USAGE");
    let track = ["notice", "track", "n-aaaaaaaaaaaaaaaaaaaaaaaaaa", "--timeout", "3600"];
    refused("police-duty", &track, 4, "NOT_FOUND");
    refused("police-officer", &["audit", "search", "--agency", "mars"], 2, "UNKNOWN_AGENCY");
    let signed = demo.run("police-chief", &sign(&["border-2026", "--grade", "confidential"]));
    let id = signed.ok()["id"].as_str().unwrap().to_owned();
    demo.run("police-chief", &["guide", "end", &id]).ok();
    let dir = demo.dir().to_str().unwrap().to_owned();
    let request = ["person", "request", "zhao", "--agency", "police", "--federation", "hufu-demo", "--dir", &dir];
    demo.run("police-officer", &request).ok();
    refused("police-officer", &request, 7, "EXISTS");
}
