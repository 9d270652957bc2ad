//! Reads the repository and keeps its rules: room directions, outside crates by room, file length, banned
//! words, and one caller of the opening function.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Rooms by layer; a room uses only lower layers. `pb` stands inside `wire`.
const LAYERS: &[(u8, &[&str])] = &[
    (0, &["domain"]),
    (1, &["seal", "journal"]),
    (2, &["audit", "policy", "interop"]),
    (3, &["ledger"]),
    (4, &["store", "identity", "wire"]),
    (5, &["cluster", "vault", "notice", "search"]),
    (6, &["service"]),
    (7, &["api", "console"]),
    (8, &["config", "node"]),
    (9, &["cli"]),
];

/// Outside crates and the only rooms in which they may appear.
const CRATES: &[(&str, &[&str])] = &[
    ("openraft", &["cluster"]),
    ("sled", &["store"]),
    ("cedar_policy", &["policy"]),
    ("tantivy", &["search"]),
    ("jieba_rs", &["search"]),
    ("hpke", &["seal"]),
    ("rustls", &["identity"]),
    ("rcgen", &["identity"]),
    ("x509_parser", &["identity"]),
    ("clap", &["cli"]),
    ("prost", &["wire"]),
    ("tonic", &["wire", "identity", "api", "cli", "node"]),
];

const LONGEST: usize = 600;

/// Words that stand for unfinished work or for names without meaning.
const BANNED: &[&str] = &["todo!", "unimplemented!", "dbg!", "Manager", "mod utils", "mod helpers"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

fn all() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let src = root().join("src");
    sources(&src, &mut found);
    assert!(found.len() > 50, "the sources are there");
    found
        .into_iter()
        .map(|(path, text)| {
            let relative = path.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
            let room = relative.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
            (relative, room, text)
        })
        .collect()
}

fn layers() -> BTreeMap<&'static str, u8> {
    LAYERS.iter().flat_map(|(n, rooms)| rooms.iter().map(|r| (*r, *n))).collect()
}

#[test]
fn rooms_use_lower_layers_only() {
    let layers = layers();
    let mut wrong = Vec::new();
    for (file, room, text) in all() {
        let Some(own) = layers.get(room.as_str()) else {
            assert!(["lib", "main", "sim"].contains(&room.as_str()), "{file}: a room that no layer names");
            continue;
        };
        for (line_no, line) in text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            for (at, _) in line.match_indices("crate::") {
                let rest = line.get(at + "crate::".len()..).unwrap_or_default();
                let used: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                if used == room || used.is_empty() {
                    continue;
                }
                let Some(other) = layers.get(used.as_str()) else { continue };
                // `config` stands beside `node`, which reads it.
                let neighbours = room == "node" && used == "config";
                if other >= own && !neighbours {
                    wrong.push(format!("{file}:{}: `{room}` uses `{used}`", line_no + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn outside_crates_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for (file, room, text) in all() {
        for (krate, rooms) in CRATES {
            let used = [format!("use {krate}::"), format!(" {krate}::"), format!("({krate}::"), format!("<{krate}::")];
            let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
            let allowed = rooms.contains(&room.as_str()) || room == "sim";
            if code.into_iter().any(|l| used.iter().any(|u| l.contains(u.as_str()))) && !allowed {
                wrong.push(format!("{file}: `{krate}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_finished() {
    let mut wrong = Vec::new();
    for (file, _, text) in all() {
        let lines = text.lines().count();
        if lines > LONGEST {
            wrong.push(format!("{file}: {lines} lines"));
        }
        for word in BANNED.iter().filter(|w| text.contains(**w)) {
            wrong.push(format!("{file}: `{word}`"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_opens_with_its_document() {
    for (file, _, text) in all().into_iter().filter(|(f, _, _)| f.ends_with("mod.rs")) {
        assert!(text.starts_with("//!"), "{file} has no document");
    }
}

/// Plaintext for people comes from one file: whoever else calls the opening function breaks this.
#[test]
fn one_caller_of_the_opening_function() {
    let callers: Vec<String> = all()
        .into_iter()
        .filter(|(_, room, text)| {
            let opening = ["open_portion(", "open_portion_from", "open_portion_pieces", "open_beginning_from"];
            room != "seal" && opening.iter().any(|o| text.contains(o))
        })
        .map(|(file, _, _)| file)
        .collect();
    assert_eq!(callers, ["vault/disclose.rs"]);
}

/// Words for what people write, and for people: no statement that logs has a variable or field of such a name.
const NOT_LOGGED: &[&str] = &[
    "title",
    "titles",
    "subject",
    "body",
    "text",
    "texts",
    "purpose",
    "query",
    "snippet",
    "content",
    "draft",
    "person",
    "caller",
    "name",
    "names",
    "passphrase",
    "secret",
];

/// The arguments of each statement that logs; of what stands in quotes only what is put in there.
fn logged(source: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (at, _) in source.match_indices("tracing::") {
        let rest = source.get(at + "tracing::".len()..).unwrap_or_default();
        let Some((level, arguments)) = rest.split_once("!(") else { continue };
        if !["error", "warn", "info", "debug", "trace"].contains(&level) {
            continue;
        }
        let (mut depth, mut words) = (1, String::new());
        let (mut quoted, mut escaped, mut put_in) = (false, false, false);
        for c in arguments.chars() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '{' | '}' if quoted => put_in = c == '{',
                _ if quoted => {}
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if !quoted || put_in {
                words.push(c);
            }
        }
        all.push(words);
    }
    all
}

#[test]
fn logs_name_neither_people_nor_what_they_write() {
    let mut wrong = Vec::new();
    let mut statements = 0;
    for (file, _, text) in all() {
        for arguments in logged(&text) {
            statements += 1;
            let mut words = arguments.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            if let Some(word) = words.find(|w| NOT_LOGGED.contains(w)) {
                wrong.push(format!("{file}: `{word}` in `{arguments}`"));
            }
        }
    }
    assert!(statements > 50, "the statements are found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(logged("tracing::warn!(%a, b = f(c), \"title \\\" {d}\"); x"), ["%a, b = f(c), {d\""]);
}

/// A reason that `wire` does not list reaches people as a general word, so that scripts cannot tell it from others.
#[test]
fn every_reason_of_a_refusal_crosses_the_wire() {
    let listed = std::fs::read_to_string(root().join("src/wire/fault.rs")).unwrap();
    let rooms = ["domain", "service", "notice", "vault", "cluster"];
    let mut missing = Vec::new();
    let ours = |file: &str, room: &str| rooms.contains(&room) && !file.contains("/tests");
    for (file, _, text) in all().into_iter().filter(|(file, room, _)| ours(file, room)) {
        for literal in text.split('"').skip(1).step_by(2) {
            let words = literal.len() > 4 && literal.contains('_');
            let reason = words && literal.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            if reason && !listed.contains(&format!("\"{literal}\"")) {
                missing.push(format!("{file}: {literal}"));
            }
        }
    }
    assert!(missing.is_empty(), "add them to REASONS in wire/fault.rs: {missing:#?}");
}

/// Commands of a document's fenced blocks, remarks aside, and what stands in backticks elsewhere.
fn named(document: &str) -> (Vec<String>, BTreeSet<String>) {
    let (mut commands, mut words) = (Vec::new(), BTreeSet::new());
    for (n, part) in document.split("```").enumerate() {
        if n % 2 == 0 {
            let quoted = part.split('`').skip(1).step_by(2);
            words.extend(quoted.map(|q| q.split_whitespace().collect::<Vec<&str>>().join(" ")));
            continue;
        }
        let mut goes_on = false;
        for line in part.lines() {
            if goes_on || line.starts_with("$ ") || line.starts_with("cargo ") {
                let command = line.split("  #").next().unwrap_or_default().trim_end();
                goes_on = command.ends_with('\\');
                commands.push(command.to_owned());
            }
        }
    }
    (commands, words)
}

#[test]
fn both_readmes_name_the_same() {
    let read = |name: &str| named(&std::fs::read_to_string(root().join(name)).unwrap());
    let ((commands, words), (zh_commands, zh_words)) = (read("README.md"), read("README.zh-CN.md"));
    assert!(commands.len() > 20 && words.len() > 40, "they are found");
    assert_eq!(commands, zh_commands);
    let apart: Vec<&String> = words.symmetric_difference(&zh_words).collect();
    assert!(apart.is_empty(), "in one of them only: {apart:?}");
}
