//! Notices between real nodes: with a leader, without one, and with the direct line cut.

use super::demo::{Demo, Ran, until};
use super::leaks::none_readable;
use super::peers::stored_state;
use hufu::audit::{Checkpoint, anchor_digest};
use hufu::domain::canon::Reader;
use hufu::domain::ids::AgencyId;
use hufu::ledger::node_id;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// `hufu notice watch --json` of one persona; it ends with this.
pub struct Watch {
    child: Child,
    lines: Receiver<Value>,
}

impl Watch {
    pub fn start(demo: &Demo, persona: &str) -> Watch {
        let profile = demo.dir().join(format!("profiles/{persona}.toml"));
        let mut command = demo.hufu_of(persona);
        command.args(["--json", "notice", "watch", "--profile"]).arg(profile).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).unwrap());
            }
        });
        Watch { child, lines }
    }

    pub fn next(&self) -> Value {
        self.lines.recv_timeout(Duration::from_secs(10)).expect("a notice within its deadline")
    }

    /// Waits until it ends by itself; its exit code.
    pub fn ends(&mut self, within: Duration) -> i32 {
        until("a watch ends", within, || self.child.try_wait().unwrap()).code().expect("it was not killed")
    }

    pub fn silent(&self) -> bool {
        self.lines.try_recv().is_err()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn send(demo: &Demo, persona: &str, to: &str, precedence: &str, grade: &str, subject: &str) -> Ran {
    let what = ["--precedence", precedence, "--grade", grade, "--subject", subject, "--body", "三号口岸，请拦查。"];
    demo.run(persona, &[&["notice", "send", "--to", to], &what[..]].concat())
}

pub fn id(sent: &Ran) -> String {
    assert_eq!(sent.ok()["state"], "accepted");
    sent.ok()["notice"].as_str().unwrap().to_owned()
}

pub fn track(demo: &Demo, persona: &str, notice: &str, wait: &str, seconds: &str) -> Ran {
    demo.run(persona, &["notice", "track", notice, "--wait", wait, "--timeout", seconds])
}

pub fn states(tracked: &Ran) -> Vec<(String, Option<String>)> {
    let receipts = tracked.lines.last().unwrap()["receipts"].as_array().unwrap();
    receipts.iter().map(|r| (r["state"].as_str().unwrap().into(), r["by"].as_str().map(str::to_owned))).collect()
}

#[test]
fn a_flash_is_shown_acknowledged_and_answered_and_shows_to_nobody_else() {
    let demo = Demo::start();
    let watch = Watch::start(&demo, "customs-duty");
    let clerk = Watch::start(&demo, "customs-clerk");
    let notice = id(&send(&demo, "police-duty", "customs", "flash", "secret", "演练：可疑车辆"));
    let shown = watch.next();
    for (field, value) in
        [("notice", notice.as_str()), ("from", "police"), ("precedence", "flash"), ("grade", "secret")]
    {
        assert_eq!(shown[field], value);
    }
    assert_eq!((&shown["body"], &shown["exercise"]), (&json!("三号口岸，请拦查。"), &json!(false)));
    track(&demo, "police-duty", &notice, "presented", "10").ok();
    let ack = demo.run("customs-duty", &["notice", "ack", &notice, "--answer", "in-hand", "--text", "已派员"]);
    ack.ok();
    let tracked = track(&demo, "police-duty", &notice, "answered", "10");
    let by = Some("customs/duty".to_owned());
    let expected = [("delivered", None), ("presented", None), ("acknowledged", by.clone()), ("answered", by)];
    assert_eq!(states(&tracked), expected.map(|(s, b)| (s.to_owned(), b)));
    assert_eq!(tracked.ok()["receipts"][3]["text"], "已派员");

    // Somebody below the grade gets nothing: not in the stream, not in the inbox, and not by its id.
    assert!(clerk.silent());
    assert!(demo.run("customs-clerk", &["notice", "inbox"]).lines.is_empty());
    let unknown = "n-aaaaaaaaaaaaaaaaaaaaaaaaaa";
    let (denied, absent) = (
        demo.run("customs-clerk", &["notice", "show", &notice]),
        demo.run("customs-clerk", &["notice", "show", unknown]),
    );
    assert_eq!((denied.code, &denied.stderr), (4, &absent.stderr));
    for word in ["ack", "show"] {
        assert_eq!(demo.run("customs-clerk", &["notice", word, &notice]).code, 4, "{word}");
    }
    assert_eq!(track(&demo, "customs-duty", &notice, "delivered", "1").code, 4, "only its sender's agency follows it");
    // Who oversees people sees no notice, is told so, and leaves a trace.
    for word in ["inbox", "watch"] {
        let refused = demo.run("customs-officer", &["notice", word]);
        assert!(
            refused.code == 3 && refused.stderr.contains("content-no-security-officer"),
            "{word}: {}",
            refused.stderr
        );
    }
    let denied = demo.run("customs-officer", &["audit", "search", "--decision", "deny", "--person", "officer"]);
    assert_eq!(denied.lines.iter().filter(|l| l["action"] == "notice-open").count(), 2);
    // A watch goes on where it stopped: what was shown to this person is not shown again.
    drop(watch);
    let second = id(&send(&demo, "police-duty", "customs/duty", "routine", "internal", "演练：第二件"));
    assert_eq!(Watch::start(&demo, "customs-duty").next()["notice"], json!(second));

    // Every step is in the audit log where it happened.
    let actions = |officer: &str| -> Vec<String> {
        let log = demo.run(officer, &["audit", "search"]);
        log.lines
            .iter()
            .filter(|l| l["record"] == json!(notice))
            .map(|l| l["action"].as_str().unwrap().into())
            .collect()
    };
    // Intent, outcome, and the receipt that came back; then that its answers were looked at.
    let at_police = actions("police-officer");
    assert_eq!(at_police[..3], ["notice-send"; 3]);
    assert!(at_police[3..].iter().all(|a| a == "notice-open"), "{at_police:?}");
    let log = demo.run("police-officer", &["audit", "search"]);
    let followed = |l: &&Value| l["record"] == json!(notice) && l["action"] == "notice-open";
    assert!(log.lines.iter().filter(followed).all(|l| l["label"] == "机密"), "under the notice's own grade");
    let at_customs = actions("customs-officer");
    for action in ["notice-receive", "notice-open", "notice-answer"] {
        assert!(at_customs.iter().any(|a| a == action), "{action}: {at_customs:?}");
    }

    // Refused before it is accepted, with a reason.
    let above = send(&demo, "police-duty", "cyberspace", "flash", "secret", "x");
    assert!(above.code == 3 && above.stderr.contains("confidential would do"), "{}", above.stderr);
    assert_eq!(send(&demo, "police-duty", "mars", "flash", "internal", "x").code, 2);
    assert_eq!(
        send(&demo, "police-duty", "customs", "flash", "top-secret", "x").code,
        3,
        "above the sender's clearance"
    );
    assert_eq!(send(&demo, "police-clerk", "customs", "routine", "internal", "x").code, 3, "a clerk sends nothing");
    let long = demo.dir().join("long.txt");
    std::fs::write(&long, "长".repeat(22_000)).unwrap();
    let args = ["notice", "send", "--to", "customs", "--grade", "internal", "--subject", "x", "--body-file"];
    let long = demo.run("police-duty", &[&args[..], &[long.to_str().unwrap()]].concat());
    assert!(long.code == 2 && long.stderr.contains("65536") && long.stderr.contains("attach"), "{}", long.stderr);
    let published =
        demo.publish("police-analyst", "演练", "正文", &["--grade", "secret", "--release", "state-security"]);
    let record = published.ok()["record"].as_str().unwrap().to_owned();
    let attach =
        ["notice", "send", "--to", "customs", "--grade", "secret", "--subject", "x", "--body", "x", "--attach"];
    let attached = demo.run("police-analyst", &[&attach[..], &[&record]].concat());
    assert!(attached.code == 3 && attached.stderr.contains("`customs`"), "{}", attached.stderr);
}

/// Taken back by its sender: whoever saw it is told, and nobody reads it any more, also after a restart.
#[test]
fn a_recalled_notice_is_read_by_nobody_any_more() {
    let demo = Demo::start();
    let watch = Watch::start(&demo, "customs-duty");
    let notice = id(&send(&demo, "police-duty", "customs,state-security", "flash", "secret", "演练：误报车辆"));
    assert_eq!(watch.next()["notice"], json!(notice));
    let told = |agency: &str, state: &str| {
        let tracked = demo.run("police-duty", &["notice", "track", &notice]);
        let receipts = tracked.ok()["receipts"].as_array().unwrap();
        receipts.iter().any(|r| r["agency"] == json!(agency) && r["state"] == json!(state))
    };
    for (agency, state) in [("customs", "presented"), ("state-security", "delivered")] {
        until("it is there", Duration::from_secs(10), || told(agency, state).then_some(()));
    }
    // One who only lists it, and watches later.
    assert_eq!(demo.run("customs-analyst", &["notice", "inbox"]).ok()["notice"], json!(notice));
    let recall = |persona: &str, reason: &str| demo.run(persona, &["notice", "recall", &notice, "--reason", reason]);
    assert_eq!(recall("customs-duty", "x").code, 4, "only its sender's agency recalls it");
    assert_eq!(recall("police-duty", " ").code, 2);
    assert_eq!(recall("police-duty", "演练：车牌有误").ok()["state"], "recalling");

    // On the stream of whoever saw it, and without its words.
    let gone = |line: &Value| {
        assert_eq!((&line["notice"], &line["state"]), (&json!(notice), &json!("recalled")));
        assert_eq!((&line["subject"], &line["body"]), (&json!(""), &json!("")));
        assert_eq!((&line["reason"], &line["sender"]), (&json!("演练：车牌有误"), &json!("police/duty")));
    };
    gone(&watch.next());
    gone(&Watch::start(&demo, "customs-analyst").next());
    let tracked = track(&demo, "police-duty", &notice, "recalled", "10");
    assert_eq!(tracked.ok()["state"], "recalled");
    assert!(told("customs", "recalled") && told("state-security", "withdrawn"));
    recall("police-duty", "演练：再次").ok();
    assert_eq!(demo.run("state-security-duty", &["notice", "show", &notice]).code, 4, "nobody saw it there");
    let shown = |persona: &str| gone(demo.run(persona, &["notice", "show", &notice]).ok());
    shown("customs-duty");
    let ack = demo.run("customs-duty", &["notice", "ack", &notice]);
    assert!(ack.code == 7 && ack.stderr.contains("RECALLED"), "{}", ack.stderr);
    let unseen = demo.run("state-security-duty", &["notice", "ack", &notice]);
    assert!(unseen.code == 7 && unseen.stderr.contains("RECALLED"), "{}", unseen.stderr);
    assert_eq!(demo.run("cyberspace-duty", &["notice", "ack", &notice]).code, 4, "it never had it");
    drop(watch);
    demo.kill("customs");
    let _customs = demo.start_node("customs");
    demo.serves("customs-duty");
    shown("customs-duty");
    gone(demo.run("customs-duty", &["notice", "inbox"]).ok());
    // It was told once.
    let second = id(&send(&demo, "police-duty", "customs", "routine", "internal", "演练：第二件"));
    assert_eq!(Watch::start(&demo, "customs-duty").next()["notice"], json!(second));
    let log = demo.run("customs-officer", &["audit", "search"]);
    let recalled = |l: &&Value| l["record"] == json!(notice) && l["rule"] == "recall";
    assert_eq!(log.lines.iter().filter(recalled).count(), 1);
    // Either side's log says its grade in words.
    let sent = demo.run("police-officer", &["audit", "search"]);
    for log in [&log, &sent] {
        let labels = log.lines.iter().filter(|l| l["record"] == json!(notice)).filter_map(|l| l["label"].as_str());
        let labels: Vec<&str> = labels.collect();
        assert!(labels.contains(&"机密") && labels.iter().all(|l| ["机密", "内部"].contains(l)), "{labels:?}");
    }
    none_readable(&demo, &["误报车辆", "车牌有误"]);
}

#[test]
fn without_a_leader_and_with_the_line_cut() {
    let demo = Demo::start();
    // The direct line from police to customs is cut: police dials a port where nobody listens.
    demo.kill("police");
    let config = demo.dir().join("nodes/police/hufu.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let parsed: toml::Table = text.parse().unwrap();
    let peers = parsed["peer"].as_array().unwrap();
    let customs = peers.iter().find(|p| p["agency"].as_str() == Some("customs")).unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(&config, text.replace(customs["notices"].as_str().unwrap(), &nobody.to_string())).unwrap();
    let police = demo.start_node("police");
    until("police serves", Duration::from_secs(20), || {
        (demo.run("police-duty", &["notice", "inbox"]).code == 0).then_some(())
    });
    let watch = Watch::start(&demo, "customs-duty");
    let began = Instant::now();
    let notice = id(&send(&demo, "police-duty", "customs", "flash", "secret", "演练：经中转"));
    assert_eq!(watch.next()["notice"], json!(notice));
    assert!(began.elapsed() < Duration::from_secs(3), "a relay carries it within 3 s: {:?}", began.elapsed());
    demo.run("customs-duty", &["notice", "ack", &notice]).ok();
    track(&demo, "police-duty", &notice, "acknowledged", "10").ok();
    // What the relays, the sender and the addressee hold on disk tells nothing.
    none_readable(&demo, &["经中转", "请拦查"]);

    // One voter is left: no leader, nothing can be published, and a flash still arrives.
    drop(police);
    demo.kill("state-security");
    until("no leader is left", Duration::from_secs(20), || {
        demo.run("customs-duty", &["cluster", "status"]).ok()["leader"].is_null().then_some(())
    });
    let publish = ["record", "publish", "--title", "x", "--body", "x", "--grade", "internal", "--timeout", "1"];
    assert_eq!(demo.run("customs-analyst", &publish).code, 5);
    // Asking for the newest waits for a leader as a write does, and says the same when none came.
    let asked = Instant::now();
    let fresh = demo.run("customs-analyst", &[&publish[..], &["--fresh"]].concat());
    assert!(fresh.code == 5 && fresh.stderr.contains("NO_LEADER"), "{}", fresh.stderr);
    assert!(asked.elapsed() > Duration::from_millis(800), "it waited: {:?}", asked.elapsed());
    let notice = id(&send(&demo, "customs-duty", "cyberspace", "flash", "internal", "演练：无主节点"));
    track(&demo, "customs-duty", &notice, "delivered", "10").ok();
    demo.run("cyberspace-duty", &["notice", "ack", &notice]).ok();
    let tracked = track(&demo, "customs-duty", &notice, "acknowledged", "10");
    assert_eq!(states(&tracked)[1], ("acknowledged".into(), Some("cyberspace/duty".into())));
    let seqs = |of: &dyn Fn(&Value) -> bool| -> Vec<u64> {
        let log = demo.run("customs-officer", &["audit", "search", "--limit", "10000"]).lines;
        log.iter().filter(|&e| of(e)).map(|e| e["seq"].as_u64().unwrap()).collect()
    };
    let last = seqs(&|e: &Value| e["record"] == json!(notice)).into_iter().max().expect("events of the notice");

    // Accepted for somebody who is away: it waits, the waiting is told, and it arrives when the path is back.
    let waiting = id(&send(&demo, "customs-duty", "state-security", "immediate", "secret", "演练：等待"));
    let early = track(&demo, "customs-duty", &waiting, "delivered", "1");
    assert_eq!((early.code, &early.lines[0]["state"]), (5, &json!("accepted")));
    let _state_security = demo.start_node("state-security");
    track(&demo, "customs-duty", &waiting, "delivered", "20").ok();
    let withdrawn = demo.run("customs-duty", &["notice", "cancel", &waiting, "--reason", "演练结束"]);
    withdrawn.ok();
    until("it is withdrawn", Duration::from_secs(10), || {
        let t = demo.run("customs-duty", &["notice", "track", &waiting]);
        (t.ok()["state"] == "cancelled").then_some(())
    });
    assert_eq!(demo.run("state-security-duty", &["notice", "show", &waiting]).code, 4);
    let again = demo.run("customs-duty", &["notice", "cancel", &waiting, "--reason", "演练结束"]);
    assert!(again.code == 7 && again.stderr.contains("taken back already"), "{}", again.stderr);

    // All are back: a digest of the journal of notices stands in the log after the notice, and the ledger, as another
    // agency holds it, has a checkpoint of the log that covers this digest.
    let _police = demo.start_node("police");
    until("the notice is anchored", Duration::from_secs(60), || {
        let digests = seqs(&|e: &Value| e["action"] == "notice-anchor" && e["rule"] == "notice-digest");
        let digest = digests.into_iter().filter(|seq| *seq > last).min()?;
        let size = anchored_size(&demo, "customs", "cyberspace")?;
        (size > digest).then_some(())
    });
    let verified = demo.run("customs-officer", &["audit", "verify", "--live"]);
    assert_eq!(verified.ok()["consistent"], true);
    assert!(verified.ok()["size"].as_u64().unwrap() > last);
}

/// How many events of an agency's log the ledger has a checkpoint of, as the node of another agency holds the ledger.
fn anchored_size(demo: &Demo, agency: &str, at: &str) -> Option<u64> {
    let state = stored_state(demo, at)?;
    let id: AgencyId = agency.parse().unwrap();
    let node = state.node(node_id(&id, "1"))?;
    let (_, on_ledger) = node.anchor?;
    let kept = std::fs::read(demo.dir().join("nodes").join(agency).join("data/anchors")).ok()?;
    let mut kept = Reader::new(&kept, "hufu.audit.anchors", 1).unwrap();
    let notes = kept.list(16, |r| r.str(4096).map(str::to_owned)).unwrap();
    let note = notes.into_iter().find(|note| anchor_digest(note) == on_ledger)?;
    Some(Checkpoint::open(&note, node.key).unwrap().size)
}

/// Nobody acknowledges: the sender is alarmed and the addressee's duty chain is called, on time, over a restart of both.
#[test]
fn what_nobody_acknowledges_escalates_over_a_restart() {
    let demo = Demo::start();
    let rung = demo.dir().join("rung.jsonl");
    for agency in ["police", "customs"] {
        demo.kill(agency);
        let config = demo.dir().join("nodes").join(agency).join("hufu.toml");
        let mut table: toml::Table = std::fs::read_to_string(&config).unwrap().parse().unwrap();
        let notices = format!(
            "acknowledge_s = [4, 60, 60, 60]\ncommand = ['/bin/sh', '-c', 'cat >> {}.{agency}']\ndeputy = ['li']",
            rung.display()
        );
        table.insert("notices".into(), toml::Value::Table(notices.parse().unwrap()));
        std::fs::write(&config, toml::to_string(&table).unwrap()).unwrap();
    }
    let serves = |persona: &str| {
        until("a node serves", Duration::from_secs(20), || {
            (demo.run(persona, &["notice", "inbox"]).code == 0).then_some(())
        });
    };
    let police = demo.start_node("police");
    let customs = demo.start_node("customs");
    serves("police-duty");
    serves("customs-duty");
    let args = ["notice", "send", "--to", "customs", "--precedence", "flash", "--grade", "secret", "--lead"];
    let sent = demo.run("police-duty", &[&args[..], &["--subject", "演练：线索", "--body", "线索"]].concat());
    let accepted = Instant::now();
    let notice = id(&sent);
    track(&demo, "police-duty", &notice, "delivered", "10").ok();
    drop((police, customs));
    let (_police, _customs) = (demo.start_node("police"), demo.start_node("customs"));
    serves("police-duty");
    let step = |name: &str, persona: &str| {
        until(name, Duration::from_secs(15), || {
            let t = demo.run(persona, &["notice", "track", &notice]);
            states(&t).iter().any(|(s, _)| s == name).then_some(t)
        })
    };
    let tracked = step("unacknowledged", "police-duty");
    assert!(accepted.elapsed() >= Duration::from_secs(4), "not before its time");
    assert_eq!(tracked.ok()["lead"]["stage"], "pushed");
    assert!(tracked.ok()["lead"]["left_s"].as_i64().unwrap() > 1_700, "30 minutes in all");
    serves("customs-duty");
    let inbox = until("the deputy is called", Duration::from_secs(15), || {
        let inbox = demo.run("customs-duty", &["notice", "inbox"]);
        (inbox.ok()["escalated"] == json!(["deputy"])).then_some(inbox)
    });
    assert_eq!(inbox.ok()["lead"]["met"], json!(false));
    let calls = |agency: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(format!("{}.{agency}", rung.display())).unwrap_or_default();
        assert!(!text.contains("线索"), "the command learns nothing of what a notice says");
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    until("the commands have run", Duration::from_secs(10), || {
        let called = calls("customs").iter().any(|c| c["event"] == "deputy" && c["call"] == json!(["li"]));
        let alarmed = calls("police").iter().any(|c| c["event"] == "unacknowledged");
        (called && alarmed && calls("customs").iter().any(|c| c["event"] == "received")).then_some(())
    });
    demo.run("customs-duty", &["notice", "ack", &notice, "--answer", "closed", "--text", "已办结，反馈如下"]).ok();
    let tracked = track(&demo, "police-duty", &notice, "answered", "10");
    assert_eq!((&tracked.ok()["lead"]["stage"], &tracked.ok()["lead"]["met"]), (&json!("feedback"), &json!(true)));
}

#[test]
fn a_warning_is_issued_updated_and_ended_and_is_valid_cap() {
    let demo = Demo::start();
    let cap = |n: u32| demo.dir().join(format!("{n}.cap"));
    let what = ["--area", "三号口岸", "--measures", "加强查验", "--body", "可疑车辆", "--exercise"];
    let issue = |level: &str, subject: &str, more: &[&str]| {
        let args =
            ["warning", "issue", "--level", level, "--to", "customs/值班室,state-security", "--subject", subject];
        demo.run("police-duty", &[&args[..], &what[..], more].concat())
    };
    let first = id(&issue("orange", "演练：口岸预警", &["--cap", cap(1).to_str().unwrap()]));
    let second = id(&issue("red", "演练：升级", &["--update", &first, "--cap", cap(2).to_str().unwrap()]));
    // A warning that is refused leaves the file of an earlier one as it is.
    let written = std::fs::read(cap(2)).unwrap();
    let unknown = ["warning", "issue", "--level", "red", "--to", "nobody", "--subject", "x"];
    let file = cap(2);
    let refused = demo.run("police-duty", &[&unknown[..], &what[..], &["--cap", file.to_str().unwrap()]].concat());
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert_eq!(std::fs::read(cap(2)).unwrap(), written);
    let last = cap(3);
    let end = ["warning", "cancel", &second, "--reason", "演练结束", "--cap", last.to_str().unwrap()];
    let third = id(&demo.run("police-duty", &end));
    let list = |persona: &str| -> Vec<(Value, Value, Value)> {
        let list = demo.run(persona, &["warning", "list"]);
        assert_eq!(list.code, 0, "{}", list.stderr);
        list.lines.iter().map(|l| (l["notice"].clone(), l["level"].clone(), l["state"].clone())).collect()
    };
    let line = |n: &str, level: &str, state: &str| (json!(n), json!(level), json!(state));
    let expected =
        [line(&third, "red", "cancel"), line(&second, "red", "cancelled"), line(&first, "orange", "updated")];
    for persona in ["police-analyst", "customs-duty", "state-security-duty"] {
        let seen = until("three warnings", Duration::from_secs(10), || Some(list(persona)).filter(|l| l.len() == 3));
        assert_eq!(seen, expected, "{persona}");
    }
    for (n, kind, words) in [(1, "Alert", "橙色预警"), (2, "Update", &*first), (3, "Cancel", &*second)] {
        let text = std::fs::read_to_string(cap(n)).unwrap();
        for word in [&format!("<msgType>{kind}</msgType>"), "<status>Exercise</status>", "三号口岸", words] {
            assert!(text.contains(word), "{word} in {text}");
        }
        if let Ok(data) = std::env::var("HUFU_TEST_DATA") {
            let schema = std::path::Path::new(&data).join("cap/cap12.xsd");
            let mut xmllint = std::process::Command::new("xmllint");
            let checked = xmllint.args(["--noout", "--schema"]).arg(schema).arg(cap(n)).output();
            let checked = checked.expect("xmllint, which `.ci/run` installs");
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        }
    }
    // Recalled, it is listed as that, and what it followed does not stand again.
    demo.run("police-duty", &["notice", "recall", &second, "--reason", "演练：级别有误"]).ok();
    let expected =
        [line(&third, "red", "cancel"), line(&second, "red", "recalled"), line(&first, "orange", "cancelled")];
    for persona in ["police-analyst", "customs-duty", "state-security-duty"] {
        let recalled = |l: &Vec<(Value, Value, Value)>| l.iter().any(|(.., state)| state == "recalled");
        let seen = until("the recall", Duration::from_secs(10), || Some(list(persona)).filter(recalled));
        assert_eq!(seen, expected, "{persona}");
    }
    assert_eq!(demo.run("police-duty", &["warning", "cancel", &second, "--reason", "x"]).code, 2);
    let wrong = issue("purple", "x", &[]);
    assert_eq!(wrong.code, 2);
    let backwards = issue("blue", "x", &["--start", "2026-12-02", "--end", "2026-12-01"]);
    assert!(backwards.code == 2 && backwards.stderr.contains("BAD_WARNING"), "{}", backwards.stderr);
}
