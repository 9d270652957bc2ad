//! The tour of README.md, command by command in its own order, as somebody would paste it.

use super::demo::{Demo, program};
use std::collections::BTreeMap;
use std::process::Command;

/// One command of the tour, and the first line that README shows of its answer.
struct Shown {
    command: String,
    answer: String,
}

/// What stands behind `$` in the fenced blocks of the tour.
fn tour() -> Vec<Shown> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let tour = readme.split("\n## ").find(|s| s.starts_with("The tour")).unwrap();
    let mut all: Vec<Shown> = Vec::new();
    for block in tour.split("```").skip(1).step_by(2) {
        let mut goes_on = false;
        for line in block.lines().skip(1) {
            let (text, more) = match line.strip_suffix('\\') {
                Some(text) => (text, true),
                None => (line, false),
            };
            if let Some(command) = text.strip_prefix("$ ") {
                all.push(Shown { command: command.to_owned(), answer: String::new() });
            } else if goes_on {
                all.last_mut().unwrap().command.push_str(text);
            } else if let Some(last) = all.last_mut().filter(|l| l.answer.is_empty()) {
                last.answer = text.to_owned();
            }
            goes_on = more;
        }
    }
    all
}

/// Words that name a record or a notice.
fn ids(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|w| w.len() == 28 && (w.starts_with("r-") || w.starts_with("n-"))).collect()
}

#[test]
fn the_tour_is_true_as_it_is_written() {
    let demo = Demo::start();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(demo.dir(), folder.path().join("hufu-demo")).unwrap();
    let texts = folder.path().join("TEXTS");
    std::fs::create_dir(&texts).unwrap();
    for n in 1..=3 {
        std::fs::write(texts.join(format!("{n}.md")), format!("# 第{n}号\n国家秘密的知悉范围。\n")).unwrap();
    }
    let shell = |command: &str| {
        let hufu = program();
        let hufu = hufu.display();
        let mut sh = Command::new("sh");
        sh.arg("-c").arg(format!("h() {{ {hufu} --lang en \"$@\"; }}\nP=./hufu-demo/profiles\n{command}"));
        sh.current_dir(folder.path());
        sh
    };
    let commands = tour();
    assert!(commands.len() > 15, "the tour is found");
    // README's id -> the one of this run: the newest of its kind when it is first used.
    let (mut known, mut newest) = (BTreeMap::<String, String>::new(), BTreeMap::<String, String>::new());
    for Shown { command, answer } in commands {
        let mut now = command.clone();
        for id in ids(&command) {
            let kind = &id[..2];
            let of = known.entry(id.to_owned()).or_insert_with(|| newest[kind].clone());
            now = now.replace(id, of);
        }
        // It stands in another terminal and does not end; the tests of notices watch.
        if command.contains("notice watch") {
            continue;
        }
        let ran = shell(&now).output().unwrap();
        let (out, err) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
        match answer.strip_prefix("error: ") {
            None => assert!(ran.status.success(), "{now}\n{out}{err}"),
            Some(refusal) => {
                let refusal = refusal.split("  #").next().unwrap().trim();
                assert!(!ran.status.success() && err.contains(refusal), "{now}\n{out}{err}");
            }
        }
        for id in ids(&out) {
            newest.insert(id[..2].to_owned(), id.to_owned());
        }
    }
}
