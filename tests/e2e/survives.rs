//! Nodes are killed without warning while an import runs, and lose their store; nothing acknowledged is lost.

use super::demo::{Demo, Node, hufu, until};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

const ALL: [&str; 4] = ["police", "state-security", "customs", "cyberspace"];
const FILES: usize = 400;
/// Acknowledged files after which the killing begins.
const BEFORE: usize = 40;

fn texts(dir: &Path) -> PathBuf {
    let folder = dir.join("load");
    std::fs::create_dir(&folder).unwrap();
    for n in 0..FILES {
        std::fs::write(folder.join(format!("{n:04}.txt")), format!("第{n}号演练文本。").repeat(20)).unwrap();
    }
    folder
}

/// Imports as this agency's analyst; kills the victims amid it and starts them again. Every file must be in, and
/// whatever was acknowledged must open.
fn import_under_fire(demo: &Demo, agency: &str, victims: &[&str]) -> Vec<Node> {
    let folder = texts(demo.dir());
    let persona = format!("{agency}-analyst");
    let mut import = hufu()
        .arg("--json")
        .arg("--profile")
        .arg(demo.dir().join("profiles").join(format!("{persona}.toml")))
        .args(["record", "import", folder.to_str().unwrap(), "--format", "text", "--grade", "secret"])
        .args(["--agreement", "border-2026"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(import.stdout.take().unwrap()).lines();
    let mut answers: Vec<Value> = Vec::new();
    while answers.len() < BEFORE {
        answers.push(serde_json::from_str(&lines.next().expect("more lines").unwrap()).unwrap());
    }
    victims.iter().for_each(|v| demo.kill(v));
    let nodes = victims.iter().map(|v| demo.start_node(v)).collect();
    answers.extend(lines.map(|l| serde_json::from_str::<Value>(&l.unwrap()).unwrap()));
    let ended = import.wait().unwrap();
    let refused: Vec<_> = answers.iter().filter(|a| a["result"] == "refused").take(3).collect();
    assert!(ended.success(), "{refused:?}");
    let total = answers.pop().unwrap();
    assert_eq!(total["refused"], 0, "{total}");
    assert_eq!(total["imported"], FILES, "{total}");
    demo.equal_digests("cyberspace-clerk", 4);
    for answer in answers.iter().step_by(10) {
        demo.open(&persona, answer["record"].as_str().unwrap()).ok();
    }
    let again = demo.run(
        &persona,
        &[
            "record",
            "import",
            folder.to_str().unwrap(),
            "--format",
            "text",
            "--grade",
            "secret",
            "--agreement",
            "border-2026",
        ],
    );
    assert_eq!(again.ok()["unchanged"], FILES, "one record for each file");
    nodes
}

fn leader(demo: &Demo) -> String {
    let status = demo.equal_digests("cyberspace-clerk", 4);
    status["leader"].as_str().expect("a leader").to_owned()
}

#[test]
fn an_import_outlives_a_leader_elsewhere() {
    let demo = Demo::start();
    let leader = leader(&demo);
    let other = ["police", "customs", "state-security"].into_iter().find(|a| *a != leader).unwrap();
    import_under_fire(&demo, other, &[&leader]);
}

#[test]
fn an_import_outlives_its_own_node_as_leader() {
    let demo = Demo::start();
    let leader = leader(&demo);
    import_under_fire(&demo, &leader, &[&leader]);
}

#[test]
fn a_load_outlives_all_nodes() {
    let demo = Demo::start();
    demo.equal_digests("police-clerk", 4);
    import_under_fire(&demo, "police", &ALL);
}

/// Work alone elects nobody: heartbeats come through whatever the leader has to do.
#[test]
fn a_load_changes_neither_leader_nor_term() {
    let demo = Demo::start();
    let position = || {
        let status = demo.equal_digests("cyberspace-clerk", 4);
        (status["leader"].as_str().expect("a leader").to_owned(), status["term"].as_u64().expect("a term"))
    };
    let before = position();
    let load = ["bench", "publish", "--clients", "32", "--seconds", "5", "--agreement", "border-2026"];
    let bench = demo.run("police-analyst", &load);
    assert!(bench.ok()["ops"].as_u64().unwrap() > 32 && bench.ok()["errors"] == 0, "{:?}", bench.lines);
    assert_eq!(position(), before, "{:?}", bench.lines);
}

#[test]
fn a_store_of_zeros_is_rebuilt() {
    let demo = Demo::start();
    let record = demo.publish("police-analyst", "演练", "零", &["--grade", "secret", "--wait", "all"]).ok()["record"]
        .as_str()
        .unwrap()
        .to_owned();
    demo.equal_digests("police-clerk", 4);
    demo.kill("customs");
    let state = demo.dir().join("nodes/customs/data/ledger/state");
    let mut zeroed = 0;
    for file in std::fs::read_dir(&state).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
        let size = std::fs::metadata(&file).unwrap().len();
        std::fs::write(&file, vec![0; usize::try_from(size).unwrap()]).unwrap();
        zeroed += 1;
    }
    assert!(zeroed > 0, "the store has files");
    let _customs = demo.start_node("customs");
    demo.equal_digests("customs-clerk", 4);
    demo.open("customs-analyst", &record).ok();
    let told = until("the rebuild is audited", Duration::from_secs(5), || {
        let events = demo.run("customs-officer", &["audit", "search", "--agency", "customs"]);
        events.lines.iter().find(|e| e["action"] == "rebuild").cloned()
    });
    assert_eq!(told["decision"], "allow");
}
