//! STIX bundles: a record for each object, the bad ones named, the same again unchanged, and no grade that nobody gave.

use super::demo::{Demo, Ran, until};
use super::finds::counts;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

const EXERCISE: &str = include_str!("../stix/exercise.json");
const BAD: &str = include_str!("../stix/bad.json");

fn import(demo: &Demo, who: &str, path: &Path, more: &[&str]) -> Ran {
    let how = ["record", "import", path.to_str().unwrap(), "--format", "stix", "--agreement", "border-2026"];
    demo.run(who, &[&how[..], more].concat())
}

fn file(demo: &Demo, name: &str, text: &str) -> PathBuf {
    let path = demo.dir().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn line<'a>(ran: &'a Ran, source: &str) -> &'a Value {
    ran.lines.iter().find(|l| l["source"] == source).unwrap_or_else(|| panic!("{source}: {:?}", ran.lines))
}

fn id(kind: &str, n: usize) -> String {
    format!("{kind}--00000000-0000-4000-8000-{n:012}")
}

#[test]
fn bundles_go_in_by_object_and_once() {
    let demo = Demo::start();
    demo.equal_digests("police-clerk", 4);
    let exercise = file(&demo, "exercise.json", EXERCISE);

    // Four say 秘密★5年 of themselves; one has a TLP, one no marking at all: neither is a grade.
    let first = import(&demo, "police-analyst", &exercise, &[]);
    assert_eq!((first.code, counts(&first)), (8, [4, 0, 0, 2]), "{:?} {}", first.lines, first.stderr);
    let reason = |kind: &str, n: usize| line(&first, &id(kind, n))["reason"].as_str().unwrap().to_owned();
    assert!(reason("tool", 7).contains("TLP:RED") && reason("ipv4-addr", 8).contains("--grade"));
    let lower = import(&demo, "police-analyst", &exercise, &["--grade", "internal"]);
    assert_eq!((lower.code, counts(&lower)), (8, [2, 0, 0, 4]), "a grade fills in for none, and lowers none");

    let record = |n: usize, kind: &str| line(&first, &id(kind, n))["record"].as_str().unwrap().to_owned();
    let (malware, set) = (record(2, "malware"), record(3, "intrusion-set"));
    let opened = until("customs opens what was taken back", Duration::from_secs(10), || {
        let ran = demo.open("customs-analyst", &set);
        (ran.code == 0).then(|| ran.ok().clone())
    });
    assert_eq!(opened["label"], "秘密★5年");
    assert!(opened["title"].as_str().unwrap().contains("recalled at origin"), "{opened}");
    // What links to the malware is found by its id.
    let query = format!("ref:stix:{}", id("malware", 2));
    until("its relations find it", Duration::from_secs(20), || {
        let ran = demo.run("customs-analyst", &["record", "search", &query, "--purpose", "CASE-7"]);
        (ran.code == 0 && ran.ok()["total"] == 3).then_some(())
    });

    // The same again, by somebody else and from elsewhere; then an edited object.
    let moved = file(&demo, "moved.json", EXERCISE);
    assert_eq!(counts(&import(&demo, "police-chief", &moved, &[])), [0, 0, 4, 2]);
    let edited = file(&demo, "edited.json", &EXERCISE.replace("演练木马", "演练木马二号"));
    let second = import(&demo, "police-analyst", &edited, &[]);
    assert_eq!((second.code, counts(&second)), (8, [0, 1, 3, 2]), "it, and not those that name it");
    let again = line(&second, &id("malware", 2));
    assert_eq!((&again["result"], &again["record"]), (&"updated".into(), &Value::from(malware)));

    bad_objects_are_named(&demo);
    whole_bundles(&demo);
}

fn bad_objects_are_named(demo: &Demo) {
    let internal = ["--grade", "internal"];
    let bad = file(demo, "bad.json", BAD);
    let ran = import(demo, "police-analyst", &bad, &internal);
    assert_eq!((ran.code, counts(&ran)), (8, [2, 0, 0, 10]), "{:?}", ran.lines);
    assert!(ran.lines.iter().filter(|l| l["result"] == "refused").all(|l| l["reason"].is_string()));
    assert_eq!(line(&ran, &id("tool", 101))["result"], "imported");
    let again = import(demo, "police-analyst", &bad, &internal);
    assert_eq!((again.code, counts(&again)), (8, [0, 0, 2, 10]));
    // Nothing of it goes in: wrong input.
    let bare = file(demo, "bare.json", &format!(r#"{{"type":"tool","id":"{}","name":"x"}}"#, id("tool", 1)));
    for path in [bare, file(demo, "deep.json", &"[".repeat(100_000)), file(demo, "empty.json", "")] {
        let ran = import(demo, "police-analyst", &path, &internal);
        assert_eq!((ran.code, counts(&ran)), (2, [0, 0, 0, 1]), "{:?}", ran.lines);
    }
}

/// A real knowledge base, where it is present.
fn whole_bundles(demo: &Demo) {
    let Some(data) = std::env::var_os("HUFU_TEST_DATA") else { return };
    let ics = Path::new(&data).join("stix/ics-attack.json");
    let unmarked = import(demo, "police-analyst", &ics, &[]);
    assert_eq!((unmarked.code, counts(&unmarked)), (2, [0, 0, 0, 451]), "no grade is guessed");
    let internal = ["--grade", "internal"];
    let all = import(demo, "police-analyst", &ics, &internal);
    assert_eq!((all.code, counts(&all)), (0, [451, 0, 0, 0]), "{}", all.stderr);
    let again = import(demo, "police-chief", &ics, &internal);
    assert_eq!((again.code, counts(&again)), (0, [0, 0, 451, 0]));
}
