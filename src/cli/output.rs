//! Printing: tables and sentences for people, JSON lines for scripts.

use crate::domain::fault::{Fault, FaultKind};
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
        if self.json { outln!("{json}") } else { outln!("{}", shown(text().trim_end())) }
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
            outln!("{}", shown(line.join("  ").trim_end()));
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
        eprintln!("{}: {}", self.say("错误", "error"), shown(&fault.message));
        if let Some(hint) = &fault.hint {
            eprintln!("{}: {}", self.say("提示", "hint"), shown(hint));
        }
    }
}

fn cell(v: Option<&Value>) -> String {
    match v {
        None | Some(Value::Null) => "-".into(),
        // A cell is one line.
        Some(Value::String(s)) => s.replace(['\n', '\t'], " "),
        Some(Value::Array(a)) => a.iter().map(|x| cell(Some(x))).collect::<Vec<_>>().join(","),
        Some(v) => v.to_string(),
    }
}

/// Columns on a terminal: CJK and full-width characters take two.
fn width(text: &str) -> usize {
    text.chars().map(|c| if matches!(c as u32, 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x20000..=0x3fffd) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        assert_eq!(shown("三号口岸\n\tok"), "三号口岸\n\tok");
        assert_eq!(shown("a\u{1b}[2Jb\rc\u{7}\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\u{fffd}d");
    }
}
