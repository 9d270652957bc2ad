//! Printing: tables and sentences for people, JSON lines for scripts.

use crate::domain::fault::Fault;
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
    if writeln!(out, "{text}").is_err() {
        // A reader that is gone needs no message; whoever counts on a full file sees the exit code.
        std::process::exit(1);
    }
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

    /// Whether scripts read the output.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// The text in the person's language.
    pub(super) fn say<'a>(&self, zh: &'a str, en: &'a str) -> &'a str {
        match self.lang {
            Lang::Zh => zh,
            Lang::En => en,
        }
    }

    /// One answer: the object with `--json`, else the text.
    pub(super) fn answer(&self, json: &Value, text: impl FnOnce() -> String) {
        if self.json { outln!("{json}") } else { outln!("{}", text().trim_end()) }
    }

    /// A list: one object a line with `--json`, else a table with these columns.
    pub(super) fn table(&self, columns: &[&str], rows: &[Value]) {
        if self.json {
            for row in rows {
                outln!("{row}");
            }
            return;
        }
        let cells: Vec<Vec<String>> = rows.iter().map(|r| columns.iter().map(|c| cell(r.get(*c))).collect()).collect();
        let head: Vec<String> = columns.iter().map(|c| c.to_uppercase()).collect();
        let widths: Vec<usize> = (0..columns.len())
            .map(|i| std::iter::once(&head).chain(&cells).filter_map(|r| r.get(i)).map(|t| width(t)).max().unwrap_or(0))
            .collect();
        for row in std::iter::once(&head).chain(&cells) {
            let line: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(t, w)| format!("{t}{}", " ".repeat(w.saturating_sub(width(t)))))
                .collect();
            outln!("{}", line.join("  ").trim_end());
        }
    }

    /// Progress, on stderr.
    pub(super) fn progress(&self, text: &str) {
        eprintln!("{text}");
    }

    /// An error, on stderr.
    pub(super) fn fault(&self, fault: &Fault) {
        if self.json {
            eprintln!(
                "{}",
                serde_json::json!({"error": {"code": fault.reason, "message": fault.message, "hint": fault.hint}})
            );
            return;
        }
        eprintln!("{}: {}", self.say("错误", "error"), fault.message);
        if let Some(hint) = &fault.hint {
            eprintln!("{}: {hint}", self.say("提示", "hint"));
        }
    }
}

fn cell(v: Option<&Value>) -> String {
    match v {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(s)) => s.clone(),
        Some(Value::Array(a)) => a.iter().map(|x| cell(Some(x))).collect::<Vec<_>>().join(","),
        Some(v) => v.to_string(),
    }
}

/// Columns on a terminal: CJK and full-width characters take two.
fn width(text: &str) -> usize {
    text.chars().map(|c| if matches!(c as u32, 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x20000..=0x3fffd) { 2 } else { 1 }).sum()
}
