//! A fifth agency comes, votes, and one that voted goes, while somebody publishes all the time (P2, P6).

use super::demo::{Demo, Node, hufu, ran, until};
use super::notices::{Watch, id, send, states, track};
use super::revocation::{agency, told};
use hufu::config::Profile;
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const NEW: &str = "finance";

/// The folder of an agency that the genesis does not know, as its operator makes it: keys, configuration, one profile.
fn make_newcomer(demo: &Demo) {
    let dir = demo.dir().join("nodes").join(NEW);
    let police: toml::Table =
        std::fs::read_to_string(demo.dir().join("nodes/police/hufu.toml")).unwrap().parse().unwrap();
    let port = |listener: &str| -> u16 {
        police["listen"][listener].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
    };
    // The fifth of the demo's own range.
    let base = port("people") + 40;
    let at = |offset: u16| format!("127.0.0.1:{}", base + offset);
    let init = ["agency", "init", "--id", NEW, "--name", "财政 Finance", "--tier", "provincial", "--ceiling", "secret"];
    let mut command = hufu();
    command.arg("--json").args(init).args(["--federation", "hufu-demo", "--dir"]).arg(&dir);
    command.args(["--nodes-at", &at(1), "--notices-at", &at(2)]);
    ran(command.output().unwrap()).ok();

    let text = |value: &str| toml::Value::String(value.to_owned());
    let mut config = police.clone();
    let mut peers = police["peer"].as_array().unwrap().clone();
    peers.push(toml::Value::Table(toml::Table::from_iter([
        ("agency".to_owned(), text("police")),
        ("node".to_owned(), text("1")),
        ("address".to_owned(), police["listen"]["nodes"].clone()),
        ("notices".to_owned(), police["listen"]["notices"].clone()),
    ])));
    config.insert("agency".into(), text(NEW));
    config.insert("peer".into(), toml::Value::Array(peers));
    let listen = config["listen"].as_table_mut().unwrap();
    for (n, name) in [(0, "people"), (1, "nodes"), (2, "notices"), (4, "metrics")] {
        listen.insert(name.into(), text(&at(n)));
    }
    std::fs::write(dir.join("hufu.toml"), toml::to_string(&config).unwrap()).unwrap();
    std::fs::write(dir.join("log"), "").unwrap();
    for officer in ["officer", "officer-2"] {
        let file = |ending: &str| text(&format!("../nodes/{NEW}/people/{officer}.{ending}"));
        let profile = toml::Table::from_iter([
            ("endpoint".to_owned(), text(&format!("https://{}", at(0)))),
            ("ca".to_owned(), text(&format!("../nodes/{NEW}/ca.pem"))),
            ("cert".to_owned(), file("pem")),
            ("key".to_owned(), file("key")),
            ("name".to_owned(), text(officer)),
        ]);
        let at = demo.dir().join(format!("profiles/{NEW}-{officer}.toml"));
        std::fs::write(at, toml::to_string(&profile).unwrap()).unwrap();
    }
}

/// Officers of these agencies run the same command; all but the last are told that it waits.
fn together(demo: &Demo, agencies: &[&str], command: &[&str]) {
    for (n, agency) in agencies.iter().enumerate() {
        let ran = demo.run(&format!("{agency}-officer"), command);
        let state = if n + 1 == agencies.len() { "done" } else { "pending" };
        assert_eq!(ran.ok()["state"], state, "{agency} {command:?}");
    }
}

fn role(demo: &Demo, persona: &str, agency: &str) -> Option<String> {
    let status = demo.run(persona, &["cluster", "status"]);
    let nodes = status.lines.first()?["nodes"].as_array()?.clone();
    Some(nodes.iter().find(|n| n["agency"] == agency)?["role"].as_str()?.to_owned())
}

/// Publishes until told; answers the records that were acknowledged, and what failed.
fn publish_all_the_time(demo: &Demo, enough: &AtomicBool) -> (Vec<String>, Vec<String>) {
    let (mut records, mut failed) = (Vec::new(), Vec::new());
    while !enough.load(Ordering::Relaxed) {
        let title = format!("演练：第{}件", records.len());
        let how = ["--grade", "secret", "--wait", "none", "--timeout", "60"];
        let ran = demo.publish("police-analyst", &title, "演练正文", &how);
        match ran.lines.last().map(|l| l["record"].clone()) {
            Some(Value::String(record)) if ran.code == 0 => records.push(record),
            _ => failed.push(ran.stderr),
        }
    }
    (records, failed)
}

#[test]
fn members_come_and_go_while_somebody_publishes() {
    let demo = Demo::start();
    make_newcomer(&demo);
    let enough = AtomicBool::new(false);
    let (records, failed) = std::thread::scope(|scope| {
        let load = scope.spawn(|| publish_all_the_time(&demo, &enough));
        // The load ends whatever becomes of the rest, or the scope would wait for it for ever.
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| change_members(&demo)));
        enough.store(true, Ordering::Relaxed);
        let done = load.join().unwrap();
        match changed {
            Ok(_newcomer) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), failed.first());
    assert!(records.len() > 10, "{} records", records.len());
    for record in &records {
        demo.open("police-analyst", record).ok();
    }
}

/// Answers the newcomer's node, which is needed for a majority in the end.
fn change_members(demo: &Demo) -> Node {
    let descriptor = demo.dir().join("nodes").join(NEW).join("descriptor.json");
    let descriptor = descriptor.to_str().unwrap();
    let founders = ["police", "state-security", "customs"];
    assert_eq!(demo.run("police-analyst", &["federation", "admit", descriptor]).code, 3, "officers only");
    together(demo, &founders, &["federation", "admit", descriptor]);
    let node = demo.start_node(NEW);
    demo.equal_digests("police-analyst", 5);
    until("it follows", SOON, || (role(demo, "finance-officer", NEW)? == "learner").then_some(()));
    share_with_newcomer(demo);

    // It votes; who voted does so no more, be it the leader; its node is taken out.
    let seat = format!("{NEW}/1");
    let own = demo.run("finance-officer", &["cluster", "promote", &seat]);
    assert_eq!((own.code, own.stderr.contains("NO_AUTHORITY")), (3, true), "{}", own.stderr);
    together(demo, &founders, &["cluster", "promote", &seat]);
    until("it votes", SOON, || (role(demo, "police-analyst", NEW)? == "voter").then_some(()));
    let status = demo.run("police-analyst", &["cluster", "status"]);
    let victim = match status.ok()["leader"].as_str() {
        Some("state-security") => "state-security",
        _ => "customs",
    };
    let others: Vec<&str> = [&founders[..], &[NEW]].concat().into_iter().filter(|a| *a != victim).collect();
    let seat = format!("{victim}/1");
    let early = demo.run("police-officer", &["cluster", "remove-node", &seat]);
    assert_eq!(early.code, 3, "whoever votes is demoted first: {}", early.stderr);
    together(demo, &others, &["cluster", "demote", &seat]);
    until("it votes no more", SOON, || (role(demo, "police-analyst", victim)? == "learner").then_some(()));
    together(demo, &others, &["cluster", "remove-node", &seat]);
    until("its node is gone", SOON, || role(demo, "police-analyst", victim).is_none().then_some(()));
    demo.equal_digests("police-analyst", 4);
    told_why(demo, victim);
    // Police and the newcomer are a majority of those who vote now.
    demo.kill(if victim == "customs" { "state-security" } else { "customs" });
    let internal = ["--grade", "internal", "--timeout", "60", "--wait", "none"];
    demo.publish("police-analyst", "演练：之后", "正文", &internal).ok();
    node
}

/// What is agreed with the newcomer comes to it; what was shared before does not.
fn share_with_newcomer(demo: &Demo) {
    let parties = ["--parties", "police,finance", "--purpose", "演练", "--grade", "internal"];
    demo.run("police-officer", &[&["agreement", "draft", "with-finance"], &parties[..]].concat()).ok();
    until("the newcomer signs", SOON, || {
        (demo.run("finance-officer", &["agreement", "sign", "with-finance"]).code == 0).then_some(())
    });
    let how = ["--body", "文本", "--grade", "internal", "--wait", "all", "--wait-seconds", "20"];
    let publish = ["record", "publish", "--title", "演练：给新成员", "--agreement", "with-finance"];
    let held = until("it holds what it is owed", SOON, || {
        let ran = demo.run("police-analyst", &[&publish[..], &how].concat());
        (ran.code == 0).then(|| ran.ok()["held_by"].clone())
    });
    assert!(held.as_array().unwrap().contains(&Value::from(NEW)), "{held}");
    // Its next look at the ledger counts it.
    let owed = until("it knows what it is owed", SOON, || {
        let status = demo.run("finance-officer", &["cluster", "status"]);
        let sync = status.ok()["sync"].as_array()?.clone();
        let police = sync.iter().filter(|s| s["origin"] == "police");
        Some(police.filter_map(|s| s["owed"].as_u64()).sum::<u64>()).filter(|owed| *owed > 0)
    });
    assert!(owed < 10, "only what names it: {owed}");
}

fn told_why(demo: &Demo, agency: &str) {
    let log = demo.dir().join("nodes").join(agency).join("log");
    let persona = format!("{agency}-analyst");
    until("the removed node says why", SOON, || {
        demo.run(&persona, &["--fresh", "--timeout", "1", "cluster", "status"]);
        read(&log).contains("was removed from the federation").then_some(())
    });
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

fn leader(demo: &Demo) -> Option<String> {
    let status = demo.run("cyberspace-clerk", &["cluster", "status"]);
    Some(status.lines.first()?["leader"].as_str()?.to_owned())
}

fn leadership_is_handed_over(demo: &Demo) {
    let from = until("somebody leads", SOON, || leader(demo));
    let to = if from == "police" { "customs" } else { "police" };
    let seat = format!("{to}/1");
    let elsewhere = demo.run(&format!("{to}-officer"), &["cluster", "hand-over", &seat]);
    assert_eq!(elsewhere.code, 7, "only the leader hands over: {}", elsewhere.stderr);
    assert_eq!(demo.run(&format!("{from}-officer"), &["cluster", "hand-over", "cyberspace/1"]).code, 3);
    demo.run(&format!("{from}-officer"), &["cluster", "hand-over", &seat]).ok();
    until("the other leads", SOON, || (leader(demo)? == to).then_some(()));
}

/// Both nodes know the same people, and hold what the agency keeps to itself.
fn both_nodes_are_one_agency(demo: &Demo, second: &str) {
    for persona in ["officer", "analyst", "duty", "chief"] {
        let profiles = demo.dir().join("profiles");
        let mut profile: toml::Table = read(&profiles.join(format!("customs-{persona}.toml"))).parse().unwrap();
        profile.insert("endpoint".into(), toml::Value::String(format!("https://{second}")));
        let text = toml::to_string(&profile).unwrap();
        std::fs::write(profiles.join(format!("customs-2-{persona}.toml")), text).unwrap();
    }
    // The folder that the second was made from knows the officers alone.
    let analyst = || {
        let shown = demo.run("customs-2-officer", &["person", "show", "analyst"]);
        (shown.code == 0).then(|| shown.lines[0].clone())
    };
    until("who was entered at the first is known at the second", SOON, analyst);
    let change = ["person", "change", "analyst", "--unit", "演练处"];
    assert_eq!(demo.run("customs-officer", &change).ok()["ledger"], true);
    until("who was moved at the first is moved at the second", SOON, || (analyst()?["unit"] == "演练处").then_some(()));
    let publish =
        ["record", "publish", "--title", "演练：内部", "--body", "本机构", "--grade", "internal", "--wait", "none"];
    let kept = demo.run("customs-analyst", &publish).ok()["record"].as_str().unwrap().to_owned();
    until("what is released to nobody is at both", SOON, || {
        (demo.open("customs-2-analyst", &kept).code == 0).then_some(())
    });
    assert_eq!(demo.open("police-analyst", &kept).code, 4, "and nowhere else");
    // A publish whose answer was lost is repeated at the other node, and is one record.
    let once = "0a".repeat(16);
    let repeated = [&publish[..], &["--request-id", &once]].concat();
    let record = demo.run("customs-analyst", &repeated).ok()["record"].clone();
    assert_eq!(demo.run("customs-2-analyst", &repeated).ok()["record"], record);
    demo.run("customs-officer", &["person", "suspend", "analyst"]).ok();
    until("who is suspended at the first is suspended at the second", SOON, || {
        (demo.open("customs-2-analyst", &kept).code == 3).then_some(())
    });
}

/// Whoever watches at either node is shown a notice that lies at one of them, and its sender hears once that it was displayed.
/// What was sent at one node is followed up and taken back at the other.
fn duty_is_done_at_either_node(demo: &Demo) {
    let watches = ["customs-duty", "customs-2-chief"].map(|persona| Watch::start(demo, persona));
    let notice = id(&send(demo, "police-duty", "customs", "flash", "secret", "演练：两处值班"));
    for watch in &watches {
        assert_eq!(watch.next()["notice"], notice.as_str());
    }
    let presented = track(demo, "police-duty", &notice, "presented", "20");
    assert_eq!(states(&presented).iter().filter(|(state, _)| state == "presented").count(), 1);
    let sent = id(&send(demo, "customs-duty", "police", "flash", "secret", "演练：由另一节点跟进"));
    track(demo, "customs-2-duty", &sent, "delivered", "20").ok();
    let recall = ["notice", "recall", &sent, "--reason", "演练：误发"];
    assert_eq!(demo.run("customs-2-duty", &recall).ok()["state"], "recalling");
    track(demo, "customs-2-duty", &sent, "recalled", "20").ok();
    // The node that sent it knows who acted, and through which other node.
    let log = demo.run("customs-officer", &["audit", "search", "--limit", "500"]);
    let by_node_2 = |e: &&Value| e["rule"].as_str().is_some_and(|r| r.starts_with("by node 2: "));
    assert!(log.lines.iter().any(|e| by_node_2(&e) && e["actor"] == "customs/duty"), "{:?}", log.lines.last());
}

/// The first has a list in which somebody stands, the second has none yet: it lets them in, and has nothing of the first for them.
fn who_is_revoked_at_one_node_is_not_served_there_by_the_other(demo: &Demo) {
    let without_the_first = || demo.run("customs-2-chief", &["notice", "inbox"]).stderr.contains("customs/1");
    assert!(!without_the_first());
    let customs = demo.dir().join("nodes/customs");
    let customs = customs.to_str().unwrap();
    let profile = Profile::read(&demo.dir().join("profiles/customs-chief.toml")).unwrap();
    agency(&["crl", "--dir", customs]).ok();
    agency(&["revoke", profile.cert.to_str().unwrap(), "--dir", customs]).ok();
    demo.configure("customs", |config| {
        let files = [("customs".to_owned(), toml::Value::from("crl.pem"))];
        config.insert("crl".to_owned(), toml::Value::Table(files.into_iter().collect()));
    });
    told(demo, "customs-officer", "customs", "crl-accepted");
    until("the first answers nothing more for them", SOON, || without_the_first().then_some(()));
    let refused = told(demo, "customs-officer", "customs", "person-certificate");
    assert_eq!(refused["detail"], "by node 2: person/chief");
}

/// The second node took a notice in while the first was away. Whoever sits at the first lists and acknowledges it there, and it
/// is taken back at the second.
fn a_notice_is_taken_back_where_it_is(demo: &Demo) {
    demo.kill("customs");
    let notice = id(&send(demo, "police-duty", "customs", "flash", "secret", "演练：误报"));
    track(demo, "police-duty", &notice, "delivered", "20").ok();
    let _first = demo.start_node("customs");
    demo.serves("customs-duty");
    until("the first lists what the second took in", SOON, || {
        let inbox = demo.run("customs-duty", &["notice", "inbox"]);
        inbox.lines.iter().any(|l| l["notice"] == notice.as_str()).then_some(())
    });
    demo.run("customs-duty", &["notice", "ack", &notice]).ok();
    let acknowledged = track(demo, "police-duty", &notice, "acknowledged", "20");
    assert_eq!(states(&acknowledged).iter().filter(|(state, _)| state == "acknowledged").count(), 1);
    let recall = ["notice", "recall", &notice, "--reason", "演练：车牌有误"];
    assert_eq!(demo.run("police-duty", &recall).ok()["state"], "recalling");
    track(demo, "police-duty", &notice, "recalled", "20").ok();
}

/// P22: another node of an agency has its grade keys and a key of its own, follows, takes over the seat, and the first goes.
#[test]
fn a_node_is_replaced_by_another_of_its_agency() {
    let demo = Demo::start();
    leadership_is_handed_over(&demo);
    let (first, dir) = (demo.dir().join("nodes/customs"), demo.dir().join("nodes/customs-2"));
    let config: toml::Table = read(&first.join("hufu.toml")).parse().unwrap();
    let base: u16 =
        config["listen"]["people"].as_str().unwrap().rsplit_once(':').unwrap().1.parse::<u16>().unwrap() + 20;
    let at = |offset: u16| format!("127.0.0.1:{}", base + offset);
    let mut command = hufu();
    command.args(["--json", "agency", "add-node", "--id", "2", "--nodes-at", &at(1), "--notices-at", &at(2)]);
    command.arg("--from").arg(&first).arg("--dir").arg(&dir);
    ran(command.output().unwrap()).ok();
    let mut config = config;
    let text = toml::Value::String;
    let mut peers = config["peer"].as_array().unwrap().clone();
    peers.push(toml::Value::Table(toml::Table::from_iter([
        ("agency".to_owned(), text("customs".into())),
        ("node".to_owned(), text("1".into())),
        ("address".to_owned(), config["listen"]["nodes"].clone()),
        ("notices".to_owned(), config["listen"]["notices"].clone()),
    ])));
    config.insert("node".into(), text("2".into()));
    config.insert("peer".into(), toml::Value::Array(peers));
    config.remove("ca_key");
    let listen = config["listen"].as_table_mut().unwrap();
    for (n, name) in [(0, "people"), (1, "nodes"), (2, "notices"), (4, "metrics")] {
        listen.insert(name.into(), text(at(n)));
    }
    std::fs::write(dir.join("hufu.toml"), toml::to_string(&config).unwrap()).unwrap();
    std::fs::write(dir.join("log"), "").unwrap();

    let file = dir.join("node.json");
    let add = ["cluster", "add-node", file.to_str().unwrap()];
    assert_eq!(demo.run("police-officer", &add).code, 3, "an agency's nodes are its own matter");
    assert_eq!(demo.run("customs-officer", &add).ok()["state"], "pending");
    assert_eq!(demo.run("customs-officer-2", &add).ok()["state"], "done");
    let _second = demo.start_node("customs-2");
    demo.equal_digests("police-analyst", 5);
    let others = ["police", "state-security", "cyberspace"];
    together(&demo, &others, &["cluster", "promote", "customs/2"]);
    let roles = || {
        let status = demo.run("police-analyst", &["cluster", "status"]);
        let nodes = status.lines.first()?["nodes"].as_array()?.clone();
        let role = |n: &str| {
            let node = nodes.iter().find(|x| x["agency"] == "customs" && x["node"] == n);
            node.and_then(|x| x["role"].as_str()).map(str::to_owned)
        };
        Some((role("1"), role("2")))
    };
    let swapped = (Some("learner".to_owned()), Some("voter".to_owned()));
    until("the second has the seat", SOON, || (roles()? == swapped).then_some(()));
    both_nodes_are_one_agency(&demo, &at(0));
    duty_is_done_at_either_node(&demo);
    who_is_revoked_at_one_node_is_not_served_there_by_the_other(&demo);
    a_notice_is_taken_back_where_it_is(&demo);
    together(&demo, &others, &["cluster", "remove-node", "customs/1"]);
    until("the first is gone", SOON, || (roles()? == (None, swapped.1.clone())).then_some(()));
    let again = demo.run("customs-officer", &["cluster", "status"]);
    assert_ne!(again.code, 0, "nobody serves there");
    demo.equal_digests("police-analyst", 4);
    // Without another voter: the second of customs is needed for a majority now.
    demo.kill("state-security");
    let internal = ["--grade", "internal", "--timeout", "60", "--wait", "none"];
    demo.publish("police-analyst", "演练：之后", "正文", &internal).ok();
}
