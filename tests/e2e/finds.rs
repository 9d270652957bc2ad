//! Texts are imported once each, found in Chinese by whoever may see them, and by nobody else.

use super::demo::{Demo, Ran, until};
use std::path::{Path, PathBuf};
use std::time::Duration;

const LABEL: &[&str] = &["--format", "text", "--grade", "secret", "--agreement", "border-2026"];

/// Texts written for this test; the folder of real laws is used beside them where it is present.
fn fixtures(dir: &Path) -> PathBuf {
    let folder = dir.join("texts");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.join(name), text).unwrap();
    write(
        "一号令.md",
        "# 演练保密规定\n\n通过\n\n<!-- INFO END -->\n\n第一条 国家秘密的知悉范围，限于专班。".as_bytes(),
    );
    write("sub/一号令.md", "# 演练口岸规定\n\n第一条 知悉，范围另定。国家安全与秘密通道。".as_bytes());
    write("note.txt", "无标题的一段话，含有全角ＡＢＣ１２３。".as_bytes());
    folder
}

fn import(demo: &Demo, who: &str, folder: &Path) -> Ran {
    demo.run(who, &[&["record", "import", folder.to_str().unwrap()], LABEL].concat())
}

fn counts(ran: &Ran) -> [u64; 4] {
    let total = ran.lines.last().expect("a total");
    ["imported", "updated", "unchanged", "refused"].map(|k| total[k].as_u64().unwrap())
}

#[test]
fn texts_are_imported_once_each() {
    let demo = Demo::start();
    demo.equal_digests("police-clerk", 4);
    let folder = fixtures(demo.dir());

    let first = import(&demo, "police-analyst", &folder);
    assert_eq!((first.code, counts(&first)), (0, [3, 0, 0, 0]), "{}", first.stderr);
    let record = |ran: &Ran, source: &str| {
        ran.lines.iter().find(|l| l["source"] == source).map(|l| l["record"].as_str().unwrap().to_owned()).unwrap()
    };
    assert_eq!(counts(&import(&demo, "police-chief", &folder)), [0, 0, 3, 0], "another profile, the same sources");

    // An edited file is the next version of the same record; an empty one beside it is refused alone.
    std::fs::write(folder.join("note.txt"), "改过的一段话。").unwrap();
    std::fs::write(folder.join("empty.txt"), "").unwrap();
    std::fs::write(folder.join("broken.txt"), [0xff, 0xfe]).unwrap();
    let second = import(&demo, "police-analyst", &folder);
    assert_eq!((second.code, counts(&second)), (8, [0, 1, 2, 2]));
    assert_eq!(record(&first, "note.txt"), record(&second, "note.txt"));
    let opened = until("customs has version 2", Duration::from_secs(10), || {
        let r = demo.open("customs-analyst", &record(&first, "note.txt"));
        (r.code == 0 && r.ok()["version"] == 2).then(|| r.ok().clone())
    });
    assert_eq!(opened["portions"][0]["text"], "改过的一段话。");
    let bad = demo.dir().join("bad");
    std::fs::create_dir(&bad).unwrap();
    std::fs::write(bad.join("empty.md"), "").unwrap();
    assert_eq!(import(&demo, "police-analyst", &bad).code, 2, "all refused");
    let internal = ["--format", "text", "--grade", "internal", "--agreement", "border-2026"];
    let relabelled =
        demo.run("police-analyst", &[&["record", "import", folder.to_str().unwrap()], &internal[..]].concat());
    assert_eq!(relabelled.code, 2, "an import never changes a label");

    if let Some(data) = std::env::var_os("HUFU_TEST_DATA") {
        let laws = Path::new(&data).join("laws");
        assert_eq!(counts(&import(&demo, "police-analyst", &laws)), [118, 0, 0, 0]);
        assert_eq!(counts(&import(&demo, "police-chief", &laws)), [0, 0, 118, 0]);
    }
    let found = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(found, 5, "the sources are left as they are");
}
