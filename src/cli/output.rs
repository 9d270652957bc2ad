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
        let head: Vec<String> = columns.iter().map(|c| self.say(heading_zh(c), &c.to_uppercase()).to_owned()).collect();
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
        match self.say(fault_zh(fault.reason), "") {
            "" => eprintln!("{}: {}", self.say("错误", "error"), shown(&fault.message)),
            zh => eprintln!("错误: {zh}（{}）", shown(&fault.message)),
        }
        if let Some(hint) = &fault.hint {
            eprintln!("{}: {}", self.say("提示", "hint"), shown(hint));
        }
    }
}

/// Chinese headings of tables; a column without one keeps its name.
fn heading_zh(column: &str) -> &str {
    match column {
        "ack_by" => "签收人",
        "action" => "操作",
        "agency" => "机构",
        "agreement" => "协议",
        "answer" => "答复",
        "applied" => "已应用",
        "area" => "区域",
        "at" => "时间",
        "actor" => "操作人",
        "by" => "人员",
        "ceiling" => "系统密级",
        "clearance" => "涉密等级",
        "compartments" => "专项",
        "decision" => "决定",
        "detail" => "详情",
        "digest" => "摘要",
        "end" => "结束",
        "exercise" => "演练",
        "from" => "来自",
        "grade" => "密级",
        "id" => "编号",
        "index" => "账本序号",
        "issuer" => "发布单位",
        "kinds" => "类别",
        "label" => "标密",
        "level" => "级别",
        "name" => "名称",
        "node" => "节点",
        "nodes" => "节点",
        "notice" => "通报",
        "origin" => "原发机构",
        "parties" => "缔约机构",
        "precedence" => "等级",
        "purpose" => "查阅事由",
        "reachable" => "可达",
        "reason" => "原因",
        "record" => "情报",
        "role" => "角色",
        "roles" => "角色",
        "rule" => "规则",
        "seq" => "序号",
        "signed_by" => "已签署",
        "snippet" => "摘录",
        "stage" => "阶段",
        "start" => "开始",
        "state" => "状态",
        "subject" => "主题",
        "suspended" => "已停用",
        "text" => "内容",
        "tier" => "层级",
        "title" => "标题",
        "until" => "有效期至",
        "version" => "版本",
        "who" => "查阅人",
        other => other,
    }
}

/// What a reason says in Chinese; the details stand behind it. Empty for reasons that few people meet.
fn fault_zh(reason: &str) -> &'static str {
    match reason {
        "NOT_FOUND" => "未找到，或您无权查看",
        "ABOVE_CLEARANCE" => "密级高于您的涉密等级",
        "ABOVE_CEILING" => "密级高于系统密级",
        "ATTACHMENT_NOT_RELEASED" => "收件方无权查看所附情报",
        "AUDIT_FAILED" | "AUDIT_STOPPED" => "审计日志无法写入，一切操作停止",
        "BAD_BODY" => "正文无效",
        "BAD_PURPOSE" => "须填写查阅事由（1 至 200 字）",
        "BODY_TOO_LARGE" => "内容过大",
        "COMPARTMENT_NOT_HELD" => "您不在该专项知悉范围内",
        "FLASH_QUOTA" => "特提通报过于频繁",
        "INTEGRITY" => "完整性校验失败",
        "MARKING_AUTHORITY" => "超出本机构定密权限",
        "NO_GUIDE" => "没有适用的定密细目",
        "NO_LEADER" => "当前没有主节点",
        "NO_PROFILE" => "未指定个人配置文件",
        "NOT_A_PARTY" => "不是协议缔约机构",
        "NOT_COVERED" => "没有覆盖各收件方的有效协议",
        "OUTBOX_FULL" => "待发通报已满",
        "OUTSIDE_AGREEMENT" => "超出协议范围",
        "PERIOD_TOO_LONG" => "保密期限超过法定上限",
        "POLICY_REFUSED" => "策略不允许",
        "SAME_PERSON" => "同一人不能充当两人",
        "UNKNOWN_AGENCY" => "没有这个机构",
        "UNKNOWN_AGREEMENT" => "没有这个有效协议",
        "UNKNOWN_GRADE" => "没有这个密级",
        "UNKNOWN_PERSON" => "本节点不认识您，或您的权限已被收回",
        "VERSION_CONFLICT" => "已被他人先行更改",
        _ => "",
    }
}

fn cell(v: Option<&Value>) -> String {
    match v {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(s)) if s.is_empty() => "-".into(),
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
