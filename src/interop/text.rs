//! Plain and Markdown texts, such as laws: a title and a body.

use crate::domain::fault::Fault;
use crate::domain::limits;

/// Ends the header block of a law file; it is no part of the text.
const HEADER_END: &str = "<!-- INFO END -->";

/// A text as a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextDocument {
    /// The first heading, else the file's name without its ending.
    pub title: String,
    /// Everything else, without the mark that ends a header block.
    pub body: String,
}

/// Reads a text file's bytes. `name` is the file's name without its ending.
///
/// # Errors
/// Usage: empty, not UTF-8, with a NUL, over the limit of a body, or a title over its limit.
pub fn text(name: &str, bytes: &[u8]) -> Result<TextDocument, Fault> {
    if bytes.len() > limits::TEXT_BYTES {
        let (size, most) = (bytes.len(), limits::TEXT_BYTES);
        return Err(Fault::usage("BODY_TOO_LARGE", format!("the file has {size} bytes; the limit is {most} (16 MiB)")));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        Fault::usage("BAD_BODY", format!("the file is not UTF-8 text (byte {})", e.valid_up_to()))
            .hint("convert it, e.g. from GB18030, and import it again")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.contains('\0') {
        return Err(Fault::usage("BAD_BODY", "the file holds a NUL byte: it is not text"));
    }
    let first = text.lines().map(str::trim).find(|l| !l.is_empty());
    let heading = first.and_then(|l| l.strip_prefix("# ")).map(str::trim).filter(|t| !t.is_empty());
    let mut lines: Vec<&str> = Vec::new();
    let (mut title_left, mut mark_left) = (heading.is_some(), true);
    for line in text.lines() {
        if title_left && !line.trim().is_empty() {
            title_left = false;
        } else if mark_left && line.trim() == HEADER_END {
            mark_left = false;
        } else {
            lines.push(line.trim_end());
        }
    }
    let body = lines.join("\n").trim().to_owned();
    if body.is_empty() {
        return Err(Fault::usage("BAD_BODY", "the file is empty"));
    }
    let title = heading.unwrap_or(name).to_owned();
    if title.trim().is_empty() || title.chars().count() > limits::TITLE_CHARS {
        return Err(Fault::usage("BAD_TITLE", format!("the title has more than {} characters", limits::TITLE_CHARS)));
    }
    Ok(TextDocument { title, body })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn a_law_has_its_heading_and_its_text() {
        let law = "# 演练条例\n\n2020年1月1日通过\n\n<!-- INFO END -->\n\n## 第一章\n\n第一条 演练。\n";
        let d = text("x", law.as_bytes()).unwrap();
        assert_eq!(d.title, "演练条例");
        assert_eq!(d.body, "2020年1月1日通过\n\n\n## 第一章\n\n第一条 演练。");
    }

    #[test]
    fn a_text_without_heading_is_named_by_its_file() {
        let d = text("note", "\u{feff}one\r\ntwo".as_bytes()).unwrap();
        assert_eq!((d.title.as_str(), d.body.as_str()), ("note", "one\ntwo"));
        assert_eq!(text("n", b"## second level\nx").unwrap().title, "n");
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let reason = |b: &[u8]| text("n", b).unwrap_err().reason;
        assert_eq!(reason(b""), "BAD_BODY");
        assert_eq!(reason(b" \n\n"), "BAD_BODY");
        assert_eq!(reason(b"# only a title\n"), "BAD_BODY");
        assert_eq!(reason(&[0xff, 0xfe, 0x41]), "BAD_BODY");
        assert_eq!(reason(b"a\0b"), "BAD_BODY");
        assert_eq!(reason(&vec![b'a'; limits::TEXT_BYTES + 1]), "BODY_TOO_LARGE");
        assert_eq!(reason(format!("# {}\nx", "长".repeat(301)).as_bytes()), "BAD_TITLE");
    }
}
