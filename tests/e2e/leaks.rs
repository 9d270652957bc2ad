//! Nothing of what people write lies readable in any file of any node: its data, its log, the names of its files.

use super::demo::{Demo, Ran, until};
use super::notices::{id, send, track};
use super::shares::{content, files};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

const AGENCIES: [&str; 4] = ["police", "state-security", "customs", "cyberspace"];
/// Where a node writes; each of them must have been looked at.
const KINDS: [&str; 9] = [
    "log",
    "data/audit",
    "data/ledger/log",
    "data/ledger/state",
    "data/notices",
    "data/people",
    "data/search",
    "data/vault/bodies",
    "data/vault/intake",
];

/// Bytes by which a text is recognised first.
const START: usize = 6;

/// Texts to look for as UTF-8 and as UTF-16 of both byte orders, by the first bytes of each.
struct Texts(HashMap<Vec<u8>, Vec<Vec<u8>>>);

fn encodings(text: &str) -> [Vec<u8>; 3] {
    let wide = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    [text.as_bytes().to_vec(), wide(u16::to_le_bytes), wide(u16::to_be_bytes)]
}

impl Texts {
    fn new(texts: &[&str]) -> Texts {
        let mut by_start: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
        for text in texts.iter().flat_map(|text| encodings(text)) {
            assert!(text.len() >= START, "too short to be no accident");
            by_start.entry(text[..START].to_vec()).or_default().push(text);
        }
        Texts(by_start)
    }

    /// Where the first of them stands.
    fn first_in(&self, bytes: &[u8]) -> Option<usize> {
        let stands = |at: usize, start: &[u8]| {
            self.0.get(start).is_some_and(|texts| texts.iter().any(|text| bytes[at..].starts_with(text)))
        };
        bytes.windows(START).enumerate().find(|(at, start)| stands(*at, start)).map(|(at, _)| at)
    }
}

/// No file of any node, its log included, holds one of the texts, and none is named by it.
pub fn none_readable(demo: &Demo, texts: &[&str]) {
    let texts = Texts::new(texts);
    let nodes = demo.dir().join("nodes");
    for file in files(&nodes) {
        let name = file.strip_prefix(&nodes).unwrap().as_os_str().as_encoded_bytes().to_vec();
        for bytes in [content(&file), name] {
            let found = texts.first_in(&bytes);
            assert!(found.is_none(), "{} at {found:?}", file.display());
        }
    }
}

#[test]
fn the_scan_sees_every_encoding_and_place() {
    let texts = Texts::new(&["口岸演练通报", "专班布控"]);
    for encoded in encodings("口岸演练通报").iter().chain(&encodings("专班布控")) {
        for before in 0..3 {
            let bytes = [&vec![0xffu8; before][..], encoded, b"\0"].concat();
            assert_eq!(texts.first_in(&bytes), Some(before));
        }
        assert_eq!(texts.first_in(&encoded[..encoded.len() - 1]), None, "a part is no find");
    }
}

/// A title, and the sentences of a body.
type Text = [&'static str; 3];

const INTERNAL: Text = ["演练：内部值班安排", "甲岗由第三小队值守到凌晨", "换岗口令当面交接"];
const SECRET: Text = ["演练：机密查缉方案", "目标车辆悬挂蓝色号牌", "专班在二号通道布控"];
const TEAR_LINE: &str = "请各口岸加强对冷藏货柜的查验";
const IMPORTED: Text = ["演练：导入的内部规定", "文件柜钥匙由两人分管", "每周五下班前清点"];
const REFUSED: Text = ["演练：被拒绝的机密稿", "科员无权签发这一段", "稿件退回重新起草"];
const NOTICE: [&str; 3] = ["演练：通报的主题", "三号口岸，请拦查", "目标已在查验区控制"];

fn body([_, first, second]: &Text) -> String {
    format!("{first}。\n{second}。")
}

fn publish(demo: &Demo, persona: &str, text: &Text, agreement: &str, more: &[&str]) -> Ran {
    let body = body(text);
    let args = ["record", "publish", "--title", text[0], "--body", &body, "--agreement", agreement];
    demo.run(persona, &[&args[..], more].concat())
}

/// Waits until a persona finds the one text that holds a sentence: it is indexed there, and was shown.
fn finds(demo: &Demo, persona: &str, sentence: &str) {
    let query = format!("\"{sentence}\"");
    until("it is indexed", Duration::from_secs(15), || {
        let ran = demo.run(persona, &["record", "search", &query, "--purpose", "CASE-3"]);
        (ran.ok()["total"] == 1).then_some(())
    });
}

fn opens(demo: &Demo, persona: &str, record: &str) {
    until("it is there", Duration::from_secs(10), || (demo.open(persona, record).code == 0).then_some(()));
}

/// Published, refused, imported, sent, searched, opened: at internal and at secret, while the nodes run and after they
/// stopped.
#[test]
fn nothing_that_people_write_lies_readable() {
    let mut demo = Demo::start();
    demo.equal_digests("cyberspace-clerk", 4);
    let record = |ran: &Ran| ran.ok()["record"].as_str().unwrap().to_owned();
    let all = ["--wait", "all", "--wait-seconds", "10"];
    let grade = |grade: &'static str| [&["--grade", grade][..], &all].concat();

    let internal = record(&publish(&demo, "police-analyst", &INTERNAL, "common-2026", &grade("internal")));
    let part = demo.dir().join("part.txt");
    std::fs::write(&part, TEAR_LINE).unwrap();
    let portion = format!("{}:internal", part.display());
    let with_part = [&grade("secret")[..], &["--portion", &portion]].concat();
    let secret = record(&publish(&demo, "police-analyst", &SECRET, "border-2026", &with_part));
    let refused = publish(&demo, "police-clerk", &REFUSED, "border-2026", &["--grade", "secret"]);
    assert_eq!(refused.code, 3, "above the clearance: {}", refused.stderr);
    import(&demo);
    let notice = id(&send(&demo, "police-duty", "customs", "flash", "secret", NOTICE[0]));
    track(&demo, "police-duty", &notice, "delivered", "10").ok();
    demo.run("customs-duty", &["notice", "show", &notice]).ok();
    demo.run("customs-duty", &["notice", "ack", &notice, "--answer", "closed", "--text", NOTICE[2]]).ok();
    let told = track(&demo, "police-duty", &notice, "answered", "10");
    assert!(told.ok().to_string().contains(NOTICE[2]), "{:?}", told.lines);

    for agency in AGENCIES {
        opens(&demo, &format!("{agency}-analyst"), &internal);
        for sentence in [INTERNAL[1], IMPORTED[2]] {
            finds(&demo, &format!("{agency}-clerk"), sentence);
        }
    }
    for agency in ["police", "state-security", "customs"] {
        opens(&demo, &format!("{agency}-analyst"), &secret);
        finds(&demo, &format!("{agency}-analyst"), SECRET[2]);
        finds(&demo, &format!("{agency}-clerk"), TEAR_LINE);
    }

    let texts = [&INTERNAL[..], &SECRET, &[TEAR_LINE], &IMPORTED, &REFUSED, &NOTICE].concat();
    none_readable(&demo, &texts);
    demo.stop();
    for (agency, kind) in AGENCIES.iter().flat_map(|agency| KINDS.map(|kind| (agency, kind))) {
        let written = bytes_under(&demo.dir().join("nodes").join(agency).join(kind));
        assert!(written > 0, "{agency} wrote nothing to {kind}");
    }
    none_readable(&demo, &texts);
}

fn import(demo: &Demo) {
    let folder = demo.dir().join("rules");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("rule.md"), format!("# {}\n\n{}\n", IMPORTED[0], body(&IMPORTED))).unwrap();
    let how = ["--format", "text", "--grade", "internal", "--agreement", "common-2026"];
    let imported = demo.run("customs-analyst", &[&["record", "import", folder.to_str().unwrap()], &how[..]].concat());
    assert_eq!(imported.ok()["imported"], 1);
}

/// Bytes of a file, or of all files under a folder.
fn bytes_under(path: &Path) -> u64 {
    let size = |file: &Path| std::fs::metadata(file).unwrap().len();
    if path.is_dir() { files(path).iter().map(|f| size(f)).sum() } else { size(path) }
}
