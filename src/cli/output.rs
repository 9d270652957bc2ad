//! Printing: tables and sentences for people, JSON lines for scripts.

use super::words::{FOREIGN, HEADINGS, LONGEST_SENTENCE, REASONS, SENTENCES, WORDS};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::label::Grade;
use crate::domain::notice::{Answer, Precedence, ReceiptState, WarningKind, WarningLevel};
use serde_json::Value;
use std::io::Write;
use std::str::FromStr;

/// `println!` that ends quietly when nobody reads any more (`hufu … | head`).
macro_rules! outln {
    ($($text:tt)*) => {
        $crate::cli::output::print_line(format_args!($($text)*))
    };
}
pub(super) use outln;

/// Prints a line on stdout.
pub(super) fn print_line(text: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}") {
        Ok(()) => {}
        // A reader that is gone has what it wanted.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => {
            eprintln!("error: cannot print: {e}");
            std::process::exit(FaultKind::Usage.exit_code().into());
        }
    }
}

/// What others wrote, fit for a terminal: it may not move the cursor, ring, recolour, or turn the direction of text.
pub(super) fn shown(text: &str) -> String {
    let harmless = |c: char| match c {
        '\n' | '\t' => c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(harmless).collect()
}

/// Language of human output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lang {
    /// 中文.
    Zh,
    /// English.
    En,
}

impl FromStr for Lang {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "zh" => Ok(Lang::Zh),
            "en" => Ok(Lang::En),
            _ => Err("use zh or en".into()),
        }
    }
}

/// Where answers go.
pub(super) struct Out {
    json: bool,
    lang: Lang,
}

impl Out {
    /// The language defaults to the locale's.
    pub(super) fn new(json: bool, lang: Option<Lang>) -> Out {
        let locale =
            ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(|k| std::env::var(k).ok().filter(|v| !v.is_empty()));
        let from_locale = if locale.is_some_and(|l| l.starts_with("zh")) { Lang::Zh } else { Lang::En };
        Out { json, lang: lang.unwrap_or(from_locale) }
    }

    /// For a command line that does not parse: what it says of language and form counts all the same.
    pub(super) fn of_words(words: &[String]) -> Out {
        let joined = words.iter().find_map(|w| w.strip_prefix("--lang="));
        let apart = words.iter().skip_while(|w| *w != "--lang").nth(1).map(String::as_str);
        Out::new(words.iter().any(|w| w == "--json"), joined.or(apart).and_then(|l| l.parse().ok()))
    }

    /// Whether scripts read the output.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person reads it in Chinese.
    pub(super) fn is_zh(&self) -> bool {
        self.lang == Lang::Zh
    }

    /// The text in the person's language.
    pub(super) fn say<'a>(&self, zh: &'a str, en: &'a str) -> &'a str {
        match self.lang {
            Lang::Zh => zh,
            Lang::En => en,
        }
    }

    /// A word of commands and answers in the person's language.
    pub(super) fn word(&self, word: &str) -> String {
        self.say(word_zh(word).unwrap_or(word), word).to_owned()
    }

    /// What this program or a node says in English, in the person's language; what has no Chinese stays as it is.
    pub(super) fn sentence(&self, text: &str) -> String {
        if self.is_zh() { pieces_zh(text) } else { text.to_owned() }
    }

    /// What went wrong, in the person's language.
    pub(super) fn told(&self, fault: &Fault) -> String {
        if !self.is_zh() {
            return fault.message.clone();
        }
        match (sentence_zh(&fault.message), pair(REASONS, fault.reason)) {
            (Some(zh), _) => zh,
            // The details are not lost, in whatever language.
            (None, Some(zh)) => format!("{zh}（{}）", fault.message),
            (None, None) => fault.message.clone(),
        }
    }

    /// One answer: the object with `--json`, else the text.
    pub(super) fn answer(&self, json: &Value, text: impl FnOnce() -> String) {
        if self.json { outln!("{json}") } else { outln!("{}", shown(text().trim_end())) }
    }

    /// One thing with all its fields: the object with `--json`, else a field a line. `own` are Chinese headings that differ
    /// here from those of tables.
    pub(super) fn details(&self, json: &Value, own: &[(&str, &str)]) {
        self.answer(json, || {
            let fields = json.as_object().into_iter().flatten();
            let heading = |c: &str| {
                let here = own.iter().find(|(name, _)| *name == c && self.is_zh()).map(|(_, zh)| (*zh).to_owned());
                here.unwrap_or_else(|| self.heading(c))
            };
            let lines: Vec<_> = fields.map(|(c, v)| (heading(c), self.cell(c, Some(v)))).collect();
            let widest = lines.iter().map(|(h, _)| width(h)).max().unwrap_or(0);
            lines.iter().map(|(h, v)| format!("{}  {v}\n", padded(h, widest))).collect()
        });
    }

    /// A list: one object a line with `--json`, else a table with these columns.
    pub(super) fn table(&self, columns: &[&str], rows: &[Value]) {
        if self.json {
            for row in rows {
                outln!("{row}");
            }
            return;
        }
        if rows.is_empty() {
            outln!("{}", self.say("无", "none"));
            return;
        }
        let cells: Vec<Vec<String>> =
            rows.iter().map(|r| columns.iter().map(|c| self.cell(c, r.get(*c))).collect()).collect();
        let head: Vec<String> = columns.iter().map(|c| self.heading(c)).collect();
        let widths: Vec<usize> = (0..columns.len())
            .map(|i| std::iter::once(&head).chain(&cells).filter_map(|r| r.get(i)).map(|t| width(t)).max().unwrap_or(0))
            .collect();
        for row in std::iter::once(&head).chain(&cells) {
            let line: Vec<String> = row.iter().zip(&widths).map(|(t, w)| padded(t, *w)).collect();
            outln!("{}", shown(line.join("  ").trim_end()));
        }
    }

    /// A list that goes on says so, on stderr: nobody takes a page for the whole.
    pub(super) fn goes_on(&self, more: bool, last: Option<&str>) {
        if let Some(last) = last.filter(|_| more) {
            eprintln!("{} --after {}", self.say("未完，续查请加", "there is more; continue with"), shown(last));
        }
    }

    /// Nodes that did not answer, on stderr: nobody takes a part of the agency's notices for all of them.
    pub(super) fn away(&self, nodes: &[String]) {
        if !nodes.is_empty() {
            let told = self
                .say("以下节点未应答，其处的内容不在此列", "these nodes do not answer; what lies there is not listed");
            eprintln!("{told}: {}", shown(&nodes.join(", ")));
        }
    }

    /// Progress, on stderr.
    pub(super) fn progress(&self, text: &str) {
        eprintln!("{text}");
    }

    /// An error, on stderr. A person is always told what to do next.
    pub(super) fn fault(&self, fault: &Fault) {
        let hint = fault.hint.as_deref().unwrap_or(next_step(fault.kind));
        if self.json {
            let error = serde_json::json!({"code": fault.reason, "message": fault.message, "hint": hint});
            eprintln!("{}", serde_json::json!({"error": error}));
            return;
        }
        let hint = self.sentence(hint);
        eprintln!("{}: {}", self.say("错误", "error"), shown(&self.told(fault)));
        eprintln!("{}: {}", self.say("提示", "hint"), shown(&hint));
    }

    fn heading(&self, column: &str) -> String {
        self.say(pair(HEADINGS, column).unwrap_or(column), &column.to_uppercase()).to_owned()
    }

    fn cell(&self, column: &str, v: Option<&Value>) -> String {
        match v {
            None | Some(Value::Null) => "-".into(),
            Some(Value::Bool(b)) => self.word(if *b { "true" } else { "false" }),
            Some(Value::String(s)) if s.is_empty() => "-".into(),
            // A cell is one line.
            Some(Value::String(s)) => self.value(column, s).replace(['\n', '\t'], " "),
            Some(Value::Array(a)) if a.is_empty() => "-".into(),
            Some(Value::Array(a)) => a.iter().map(|x| self.cell(column, Some(x))).collect::<Vec<_>>().join(","),
            Some(v) => v.to_string(),
        }
    }

    /// Columns whose values are this program's own words; what people wrote stays as they wrote it.
    fn value(&self, column: &str, text: &str) -> String {
        match column {
            "act" | "action" | "answer" | "ceiling" | "clearance" | "decision" | "grade" | "kind" | "kinds"
            | "level" | "precedence" | "role" | "roles" | "stage" | "state" | "tier" => self.word(text),
            "reason" => self.sentence(text),
            _ => text.to_owned(),
        }
    }
}

/// What to do about an error that does not say it itself.
pub(super) fn next_step(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Usage => "correct it and try again; see `--help`",
        // Which roles the asker has is not known here: both are true for officers too.
        FaultKind::Refused => "ask a security officer of your agency; whoever is one asks another",
        FaultKind::NotFound => "check the id, or ask whoever gave it to you",
        FaultKind::Unavailable => "try again later; `hufu doctor` says what is wrong",
        FaultKind::Integrity => "do not use it; keep it as it is and tell your agency's security officer and operator",
        FaultKind::Conflict => "look again and repeat",
        FaultKind::Partial => "repeat only what is left",
        FaultKind::Internal => "this is a bug: report it with what you did",
    }
}

/// The Chinese of a word of commands and answers.
fn word_zh(word: &str) -> Option<&'static str> {
    let urgency = || word.parse::<Precedence>().ok().map(|w| w.zh());
    let warning = || word.parse::<WarningLevel>().ok().map(|w| w.zh());
    let place = || word.parse::<WarningKind>().ok().map(|w| w.zh());
    let receipt = || word.parse::<ReceiptState>().ok().map(|w| w.zh());
    let answer = || word.parse::<Answer>().ok().map(|w| w.zh());
    let grade = word.parse::<Grade>().ok().map(|w| w.zh());
    grade
        .or_else(urgency)
        .or_else(warning)
        .or_else(place)
        .or_else(receipt)
        .or_else(answer)
        .or_else(|| pair(WORDS, word))
}

/// The second of a pair of words.
fn pair(table: &'static str, first: &str) -> Option<&'static str> {
    let mut words = table.split_whitespace();
    while let Some(key) = words.next() {
        let value = words.next()?;
        if key == first {
            return Some(value);
        }
    }
    None
}

/// One or several sentences with semicolons between them, each perhaps with an agency before it.
fn pieces_zh(text: &str) -> String {
    let whole = sentence_zh(text).or_else(|| word_zh(text).map(str::to_owned));
    let piece = |piece: &str| match (sentence_zh(piece), piece.split_once(": ")) {
        (Some(zh), _) => zh,
        (None, Some((who, what))) => sentence_zh(what).map_or_else(|| piece.to_owned(), |zh| format!("{who}：{zh}")),
        (None, None) => piece.to_owned(),
    };
    whole.unwrap_or_else(|| text.trim_end_matches("; ").split("; ").map(piece).collect::<Vec<_>>().join("；"))
}

/// The Chinese of a sentence that is known.
fn sentence_zh(text: &str) -> Option<String> {
    if text.len() > LONGEST_SENTENCE {
        return None;
    }
    let mut known = FOREIGN.lines().chain(SENTENCES.lines()).filter_map(|l| l.trim().split_once(" => "));
    known.find_map(|(en, zh)| Some(filled(zh, &holes(en, text)?)))
}

/// What stands in the text where the pattern has `{}`; nothing if it is not of this pattern.
fn holes<'a>(pattern: &str, text: &'a str) -> Option<Vec<&'a str>> {
    let mut literals = pattern.split("{}").peekable();
    let mut rest = text.strip_prefix(literals.next()?)?;
    let mut found = Vec::new();
    while let Some(literal) = literals.next() {
        let (hole, after) = match literals.peek() {
            Some(_) => rest.split_once(literal)?,
            None => (rest.strip_suffix(literal)?, ""),
        };
        found.push(hole);
        rest = after;
    }
    rest.is_empty().then_some(found)
}

/// Puts these in the places of a pattern in their order; where it has `{+}`, in Chinese.
fn filled(pattern: &str, holes: &[&str]) -> String {
    let (mut text, mut rest, mut holes) = (String::new(), pattern, holes.iter().copied());
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let hole = holes.next().unwrap_or_default();
        let (kept, known) = (after.strip_prefix('}'), after.strip_prefix("+}"));
        text.push_str(&if known.is_some() { pieces_zh(hole) } else { hole.to_owned() });
        rest = kept.or(known).unwrap_or(after);
    }
    text + rest
}

fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Columns on a terminal: CJK and full-width characters take two.
fn width(text: &str) -> usize {
    text.chars().map(|c| if matches!(c as u32, 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x20000..=0x3fffd) { 2 } else { 1 }).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        assert_eq!(shown("三号口岸\n\tok"), "三号口岸\n\tok");
        assert_eq!(shown("a\u{1b}[2Jb\rc\u{7}\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\u{fffd}d");
    }

    #[test]
    fn sentences_and_words_have_chinese() {
        let zh = Out::of_words(&["--lang=zh".to_owned()]);
        let act = |act: &str| zh.cell("act", Some(&Value::from(act)));
        assert_eq!(
            ["suspend", "voters", "suites", "trust-root"].map(act),
            ["停权", "表决节点", "密码套件", "证书机构"]
        );
        assert_eq!(zh.word("evaluation"), "评估");
        let told = |text: &str| zh.sentence(text);
        assert_eq!(told("label secret, clearance internal"), "标密 机密，涉密等级 内部");
        assert_eq!(told("police: does not answer; customs: has none; "), "police：无应答；customs：没有该情报");
        assert_eq!(told("police: 1 of 3 missing; not arrived yet"), "police：缺 1 件，应有 3 件；尚未送达");
        assert_eq!(told("`log` is an export of an audit log"), "`log` 是审计日志的导出");
        assert_eq!(told("`tear.txt` is not FILE:GRADE"), "`tear.txt` 不是“文件:密级”的形式");
        assert_eq!(told("something else"), "something else");
        assert_eq!((zh.word("duty-officer"), zh.word("acknowledged")), ("值班员".to_owned(), "已签收".to_owned()));
        let odd = Fault::usage("BAD_QUERY", "new words");
        assert_eq!(
            (zh.told(&odd), zh.told(&Fault::not_found())),
            ("检索式无效（new words）".into(), "未找到，或您无权查看".into())
        );
    }

    /// What is said in other words now would quietly lose its Chinese.
    #[test]
    fn every_sentence_is_still_said() {
        let mut said = String::new();
        let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("cli/words.rs") {
                    said.push_str(&std::fs::read_to_string(path).unwrap());
                }
            }
        }
        for (en, _) in SENTENCES.lines().filter_map(|l| l.trim().split_once(" => ")) {
            assert!(en.split("{}").all(|part| part.len() < 6 || said.contains(part)), "nobody says `{en}`");
        }
    }

    /// An earlier pattern that fits a sentence too would take it, and say its rest in English.
    #[test]
    fn no_sentence_is_taken_by_an_earlier_one() {
        let all = || FOREIGN.lines().chain(SENTENCES.lines()).filter_map(|l| l.trim().split_once(" => "));
        for (en, _) in all() {
            let said = en.replace("{}", "x");
            let first = all().map(|(pattern, _)| pattern).find(|pattern| holes(pattern, &said).is_some());
            assert_eq!(first, Some(en), "`{said}`");
        }
    }
}
