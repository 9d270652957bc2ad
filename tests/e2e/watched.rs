//! What a node shows those who watch it: figures, health, its log; and nothing of what people wrote.

use super::demo::{Demo, Ran, hufu, ran, until};
use super::peers::config;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const TITLE: &str = "演练：监控指标";
const PURPOSE: &str = "WATCHED-CASE-7";

pub fn get(demo: &Demo, agency: &str, path: &str) -> String {
    let mut tcp = TcpStream::connect(config(demo, agency).listen.metrics.unwrap()).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    tcp.write_all(format!("GET {path} HTTP/1.1\r\nHost: metrics\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

/// The value of one sample.
pub fn value(page: &str, sample: &str) -> Option<f64> {
    page.lines().find_map(|l| l.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

pub fn health(demo: &Demo, agency: &str) -> Ran {
    let file = demo.dir().join("nodes").join(agency).join("hufu.toml");
    ran(hufu().args(["--json", "node", "health", "--config"]).arg(file).output().unwrap())
}

#[test]
fn figures_and_health_say_how_a_node_is_and_nothing_of_what_it_holds() {
    let demo = Demo::start();
    demo.equal_digests("cyberspace-clerk", 4);
    let all = ["--grade", "secret", "--wait", "all", "--wait-seconds", "10"];
    let record = demo.publish("police-analyst", TITLE, "指标里什么也不能有。", &all);
    let record = record.ok()["record"].as_str().unwrap().to_owned();
    demo.run("customs-analyst", &["record", "open", &record, "--purpose", PURPOSE]).ok();
    let not_found = "hufu_calls_refused_total{kind=\"not-found\"}";
    let before = value(&get(&demo, "customs", "/metrics"), not_found).unwrap();
    assert_eq!(demo.run("customs-clerk", &["record", "open", &record, "--purpose", PURPOSE]).code, 4);

    // A page is a second old at most.
    let page = until("the figures follow", Duration::from_secs(20), || {
        let page = get(&demo, "customs", "/metrics");
        let held = value(&page, "hufu_vault_held{origin=\"police\"}") == Some(1.0);
        let refused = value(&page, not_found) > Some(before);
        let indexed = value(&page, "hufu_index_documents") == Some(1.0);
        (held && refused && indexed).then_some(page)
    });
    for (sample, expected) in [
        ("hufu_voters", 3.0),
        ("hufu_voters_reachable", 3.0),
        ("hufu_ledger_has_leader", 1.0),
        ("hufu_ledger_closed", 0.0),
        ("hufu_ledger_diverged", 0.0),
        ("hufu_audit_stopped", 0.0),
        ("hufu_vault_missing{origin=\"police\"}", 0.0),
        ("hufu_peer_reachable{agency=\"cyberspace\",node=\"1\"}", 1.0),
        ("hufu_journal_failed{journal=\"ledger\"}", 0.0),
        ("hufu_notices_waiting{precedence=\"flash\",exercise=\"false\"}", 0.0),
    ] {
        assert_eq!(value(&page, sample), Some(expected), "{sample}\n{page}");
    }
    for sample in ["hufu_audit_events", "hufu_disk_free_bytes", "hufu_journal_commit_seconds_count{journal=\"audit\"}"]
    {
        assert!(value(&page, sample).unwrap() > 0.0, "{sample}\n{page}");
    }
    for told in [TITLE, PURPOSE, "analyst", "clerk", &record] {
        assert!(!page.contains(told), "{told}\n{page}");
    }
    let leaders = ["police", "state-security", "customs", "cyberspace"];
    let leads = |agency: &&&str| value(&get(&demo, agency, "/metrics"), "hufu_ledger_is_leader") == Some(1.0);
    assert_eq!(leaders.iter().filter(leads).count(), 1);

    until("it is ready", Duration::from_secs(20), || (health(&demo, "customs").code == 0).then_some(()));
    assert!(get(&demo, "customs", "/livez").starts_with("HTTP/1.1 200 "));
    assert!(get(&demo, "customs", "/record").starts_with("HTTP/1.1 404 "));
    demo.kill("police");
    demo.kill("state-security");
    let ran = until("it says that there is no leader", Duration::from_secs(30), || {
        let ran = health(&demo, "customs");
        ran.stderr.contains("no-leader").then_some(ran)
    });
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(get(&demo, "customs", "/readyz").starts_with("HTTP/1.1 503 "));
    assert!(get(&demo, "customs", "/livez").starts_with("HTTP/1.1 200 "));
    assert_eq!(health(&demo, "police").code, 5, "nobody answers");
}

#[test]
fn a_log_for_machines_is_one_object_a_line() {
    let demo = Demo::start();
    demo.kill("customs");
    demo.configure("customs", |t| drop(t.insert("log".into(), "json".into())));
    let log = demo.dir().join("nodes/customs/log");
    let before = std::fs::read_to_string(&log).unwrap().len();
    let _node = demo.start_node("customs");
    demo.serves("customs-duty");
    let text = std::fs::read_to_string(&log).unwrap();
    let serving = |line: &Value| line["message"].as_str().is_some_and(|m| m.starts_with("serving"));
    let lines: Vec<Value> = text[before..].lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let line = lines.iter().find(|l| serving(l)).unwrap();
    assert!(line["level"] == "INFO" && line["agency"] == "customs", "{line}");
    assert!(line["timestamp"].is_string() && line["target"].is_string());
}
