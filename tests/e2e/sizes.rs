//! Large texts: their content lies apart, travels in pieces, and is opened whole.

use super::demo::{Demo, hufu, ran, until};
use super::finds::counts;
use super::shares::{content, files};
use hufu::wire::pb::v1;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const BYTES: usize = 1 << 20;

/// Close to the limit of a text, and no two lines alike.
fn text() -> String {
    let mut text = String::new();
    while text.len() < BYTES - 200 {
        text.push_str(&format!("演练第{}行：三号口岸查验记录。\n", text.len()));
    }
    text
}

fn large_files(demo: &Demo, agency: &str) -> Vec<PathBuf> {
    let bodies = demo.dir().join("nodes").join(agency).join("data/vault/bodies");
    files(&bodies).into_iter().filter(|f| f.extension().is_some_and(|e| e == "large")).collect()
}

/// One is pushed, another is pulled by a node that was away, and a third is fetched again after its file was damaged.
#[test]
fn a_large_text_travels_in_pieces() {
    let demo = Demo::start();
    demo.equal_digests("police-clerk", 4);
    let text = text();
    let file = demo.dir().join("large.txt");
    std::fs::write(&file, &text).unwrap();
    let publish = |more: &[&str]| {
        let base = ["record", "publish", "--title", "演练：长文", "--agreement", "border-2026", "--grade", "secret"];
        let body = ["--body-file", file.to_str().unwrap()];
        demo.run("police-analyst", &[&base[..], &body, more].concat())
    };
    let opens = |persona: &str, record: &str| {
        let opened = until("it opens", Duration::from_secs(60), || {
            let ran = demo.open(persona, record);
            (ran.code == 0).then(|| ran.ok()["portions"][0]["text"].clone())
        });
        assert!(opened == json!(text), "{persona} reads the very text");
    };

    let pushed = publish(&["--wait", "all", "--wait-seconds", "60"]);
    assert_eq!(pushed.ok()["held_by"], json!(["customs", "police", "state-security"]));
    let pushed = pushed.ok()["record"].as_str().unwrap().to_owned();
    for agency in ["police", "customs", "state-security"] {
        assert_eq!(large_files(&demo, agency).len(), 1, "{agency}");
    }
    assert!(large_files(&demo, "cyberspace").is_empty(), "not a byte where it may not lie");
    opens("customs-analyst", &pushed);
    let line = "三号口岸查验记录".as_bytes();
    let readable = |file: &PathBuf| content(file).windows(line.len()).any(|w| w == line);
    assert!(!large_files(&demo, "customs").iter().any(readable), "sealed as it lies");

    // A copy has its content in it, and is checked without a node.
    let sealed = demo.dir().join("sealed");
    let sealed = sealed.to_str().unwrap();
    demo.run("customs-analyst", &["record", "export", &pushed, "--sealed", "--out", sealed]).ok();
    ran(hufu().args(["--json", "record", "verify", sealed]).output().unwrap()).ok();

    demo.kill("customs");
    let pulled = publish(&["--wait", "none"]).ok()["record"].as_str().unwrap().to_owned();
    let customs = demo.start_node("customs");
    opens("customs-analyst", &pulled);
    assert_eq!(large_files(&demo, "customs").len(), 2);

    // A byte flips while the node is away.
    drop(customs);
    let damaged = large_files(&demo, "customs");
    for file in &damaged {
        let mut bytes = content(file);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(file, bytes).unwrap();
    }
    let _customs = demo.start_node("customs");
    opens("customs-analyst", &pushed);
    opens("customs-analyst", &pulled);
}

/// Most memory that a node has had, in KiB.
fn peak(demo: &Demo, agency: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", demo.pid(agency))).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Copies of a text that fits in no message: in clear it is the very text, sealed it is checked without a node.
fn copies(demo: &Demo, record: &str, text: &str) {
    let folder = |name: &str| demo.dir().join(name).to_str().unwrap().to_owned();
    let (clear, sealed) = (folder("largest-clear"), folder("largest-sealed"));
    let export = |who: &str, how: &[&str]| demo.run(who, &[&["record", "export", record], how].concat());
    export("police-analyst", &["--clear", "--purpose", "CASE-3", "--out", &clear]).ok();
    let taken = content(&PathBuf::from(&clear).join(format!("{record}-1.01.txt")));
    let (_, taken) = std::str::from_utf8(&taken).unwrap().split_once("\n\n").unwrap();
    assert!(taken.trim_end_matches('\n') == text.trim_end_matches('\n'), "the very text");
    let refused = export("customs-analyst", &["--clear", "--purpose", "CASE-3", "--out", &folder("nowhere")]);
    assert!(refused.code == 3 && refused.stderr.contains("export-clear-own-only"), "{}", refused.stderr);
    export("customs-analyst", &["--sealed", "--out", &sealed]).ok();
    let verify = || ran(hufu().args(["--json", "record", "verify", &sealed]).output().unwrap());
    verify().ok();
    // A manifest that was made to fit does not make up for a changed ciphertext.
    let file = PathBuf::from(&sealed).join(format!("{record}-1.content"));
    let manifest = PathBuf::from(&sealed).join("MANIFEST.json");
    let (good, listed) = (content(&file), String::from_utf8(content(&manifest)).unwrap());
    let mut bad = good.clone();
    bad[9_000_000] ^= 1;
    std::fs::write(&file, &bad).unwrap();
    assert_eq!(verify().code, 6);
    let digest = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&hufu::seal::sha256(&[bytes]));
    std::fs::write(&manifest, listed.replace(&digest(&good), &digest(&bad))).unwrap();
    let found = verify();
    assert!(found.code == 6 && !found.stderr.contains("it was changed"), "{} {}", found.code, found.stderr);
}

/// How far a reading went is in the log: of one to the end, and of one whose reader went away. The access itself is there once
/// each, before the first piece.
fn reading_is_told(demo: &Demo, record: &str) {
    let events = |action: &str, how: &str| {
        let log = demo.run("customs-officer", &["audit", "search", "--record", record, "--limit", "500"]);
        let of = |e: &&Value| e["action"] == action && e["stage"] == "outcome" && e["purpose"] == "CASE-CUT";
        log.lines.iter().filter(of).filter(|e| e["rule"].as_str().is_some_and(|r| r.starts_with(how))).count()
    };
    let ask = v1::OpenRequest { record: record.to_owned(), version: 0, purpose: "CASE-CUT".to_owned() };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = demo.records("customs-analyst").await;
        let mut whole = client.open_large(ask.clone()).await.unwrap().into_inner();
        while whole.message().await.unwrap().is_some() {}
    });
    assert_eq!((events("open", ""), events("stream", "given-whole: 16777216 bytes")), (1, 1));
    runtime.block_on(async {
        let mut client = demo.records("customs-analyst").await;
        let mut cut = client.open_large(ask).await.unwrap().into_inner();
        assert!(cut.message().await.unwrap().unwrap().head.is_some());
        assert!(!cut.message().await.unwrap().unwrap().data.is_empty());
    });
    until("that it was cut off is in the log", Duration::from_secs(60), || {
        (events("stream", "cut-off: ") == 1).then_some(())
    });
    assert_eq!((events("open", ""), events("stream", "given-whole: ")), (2, 1));
}

/// Three texts of 16 MiB at a time are sealed as they come, sent, taken in and opened, and neither node has one whole in
/// memory: sealed whole, each would be there some five times over. Six shorter ones before bring what stays: the index of
/// the first MiB of each, buffers, threads.
#[test]
fn the_largest_texts_are_never_whole_in_memory() {
    const MOST: usize = 16 << 20;
    let demo = Demo::start();
    demo.equal_digests("police-clerk", 4);
    let file = demo.dir().join("largest.txt");
    let line = "演练：三号口岸查验记录，第七号柜。\n";
    let text = |most: usize| {
        let whole = line.repeat(most / line.len());
        let text = format!("{whole}{}", "x".repeat(most - whole.len()));
        std::fs::write(&file, &text).unwrap();
        text
    };
    let three = || -> Vec<String> {
        std::thread::scope(|scope| {
            let publish = || {
                let base =
                    ["record", "publish", "--title", "演练：最长", "--agreement", "border-2026", "--grade", "secret"];
                let how = ["--wait", "one", "--wait-seconds", "60", "--body-file", file.to_str().unwrap()];
                let ran = demo.run("police-analyst", &[&base[..], &how].concat());
                ran.ok()["record"].as_str().unwrap().to_owned()
            };
            let all: Vec<_> = (0..3).map(|_| scope.spawn(publish)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        })
    };
    let read = |records: &[String], text: &str, indexed: u64| {
        for record in records {
            let opened = until("it opens", Duration::from_secs(120), || {
                let ran = demo.open("customs-analyst", record);
                (ran.code == 0).then(|| ran.ok()["portions"][0]["text"].clone())
            });
            assert!(opened == json!(text), "the very text");
        }
        let found = |agency: &str| {
            let ran = demo.run(&format!("{agency}-analyst"), &["record", "search", "第七号柜", "--purpose", "CASE-7"]);
            (ran.code == 0).then(|| ran.ok()["total"].as_u64().unwrap())
        };
        for agency in ["police", "customs"] {
            until("they are indexed", Duration::from_secs(60), || found(agency).filter(|n| *n == indexed));
        }
    };
    let shorter = text(2 << 20);
    read(&three(), &shorter, 3);
    read(&three(), &shorter, 6);
    let before = ["police", "customs"].map(|agency| peak(&demo, agency));
    let text = text(MOST);
    let records = three();
    read(&records, &text, 9);
    for (agency, before) in ["police", "customs"].into_iter().zip(before) {
        let grown = peak(&demo, agency).saturating_sub(before) / 1024;
        assert!(grown < 120, "{agency} has grown by {grown} MiB");
    }

    copies(&demo, &records[0], &text);
    reading_is_told(&demo, &records[1]);
    // An amendment gives the text anew, whole; what it says of it alone is not enough.
    let amended = format!("改稿{}", line.repeat(MOST / line.len() - 1));
    std::fs::write(&file, &amended).unwrap();
    let amend = |how: &[&str]| {
        demo.run("police-analyst", &[&["record", "amend", &records[0], "--reason", "更正"], how].concat())
    };
    let alone = amend(&["--title", "演练：改题"]);
    assert!(alone.code == 2 && alone.stderr.contains("--body-file"), "{} {}", alone.code, alone.stderr);
    let title = ["--title", "演练：改题", "--body-file", file.to_str().unwrap(), "--wait-seconds", "60"];
    assert_eq!(amend(&title).ok()["version"], 2);
    let opened = until("it opens", Duration::from_secs(120), || {
        let ran = demo.open("customs-analyst", &records[0]);
        (ran.code == 0 && ran.ok()["version"] == 2).then(|| ran.ok().clone())
    });
    assert!(opened["title"] == "演练：改题" && opened["portions"][0]["text"] == json!(amended), "the new text");

    // A large file is imported like a small one: known again as it is, and a new version when it was edited.
    let laws = demo.dir().join("laws");
    std::fs::create_dir(&laws).unwrap();
    let law = |end: &str| {
        let text = format!("# 演练条例\n\n{}{end}", line.repeat(60_000));
        std::fs::write(laws.join("law.md"), text).unwrap();
        let base = ["record", "import", laws.to_str().unwrap(), "--format", "text"];
        demo.run("police-analyst", &[&base[..], &["--grade", "secret", "--agreement", "border-2026"]].concat())
    };
    let first = law("第一条");
    assert_eq!(counts(&first), [1, 0, 0, 0], "{:?}", first.lines);
    assert_eq!(counts(&law("第一条")), [0, 0, 1, 0]);
    assert_eq!(counts(&law("第二条")), [0, 1, 0, 0]);
    let opened = demo.open("police-analyst", first.lines[0]["record"].as_str().unwrap());
    assert!(opened.ok()["title"] == "演练条例" && opened.ok()["version"] == 2);
    assert!(opened.ok()["portions"][0]["text"].as_str().unwrap().ends_with("第二条"));

    // What is wrong with a large body is told, and nothing of it stays.
    let files = large_files(&demo, "police").len();
    let mut broken = text.into_bytes();
    broken[9_000_000] = 0xff;
    std::fs::write(&file, &broken).unwrap();
    let base =
        ["record", "publish", "--title", "演练", "--grade", "secret", "--agreement", "border-2026", "--body-file"];
    let refused = demo.run("police-analyst", &[&base[..], &[file.to_str().unwrap()]].concat());
    assert!(refused.code == 2 && refused.stderr.contains("UTF-8"), "{} {}", refused.code, refused.stderr);
    assert_eq!(large_files(&demo, "police").len(), files);
}
