//! Warnings as CAP 1.2 (OASIS, Common Alerting Protocol 1.2, 2010): out only.
//!
//! The order of elements is that of the schema. `scope` is always Restricted: a warning goes to units, not to the
//! public. What CAP has no element for (level, tier, grade) stands in `parameter`.

use crate::domain::label::Grade;
use crate::domain::notice::{Warning, WarningKind, WarningLevel};
use crate::domain::time::Millis;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use std::io;

const NAMESPACE: &str = "urn:oasis:names:tc:emergency:cap:1.2";

/// What one alert is made of.
pub struct CapAlert<'a> {
    /// Identifier: the notice's id.
    pub identifier: &'a str,
    /// Sender: agency and federation, without spaces or commas.
    pub sender: &'a str,
    /// When it was issued.
    pub sent: Millis,
    /// 演练.
    pub exercise: bool,
    /// Grade of the notice.
    pub grade: Grade,
    /// Headline.
    pub headline: &'a str,
    /// Text.
    pub description: &'a str,
    /// The warning.
    pub warning: &'a Warning,
    /// Identifier and time of the one that it updates or cancels; the sender is the same.
    pub earlier: Option<(&'a str, Millis)>,
}

/// The document, UTF-8.
///
/// # Errors
/// None in practice: it writes to memory.
pub fn cap(alert: &CapAlert<'_>) -> io::Result<String> {
    let mut w = Writer::new_with_indent(Vec::new(), b' ', 2);
    w.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    w.create_element("alert").with_attribute(("xmlns", NAMESPACE)).write_inner_content(|w| body(w, alert))?;
    let mut out = String::from_utf8(w.into_inner()).map_err(io::Error::other)?;
    out.push('\n');
    Ok(out)
}

fn body(w: &mut Writer<Vec<u8>>, a: &CapAlert<'_>) -> io::Result<()> {
    text(w, "identifier", a.identifier)?;
    text(w, "sender", a.sender)?;
    text(w, "sent", &time(a.sent))?;
    text(w, "status", if a.exercise { "Exercise" } else { "Actual" })?;
    let kind = match a.warning.kind {
        WarningKind::Alert => "Alert",
        WarningKind::Update => "Update",
        WarningKind::Cancel => "Cancel",
    };
    text(w, "msgType", kind)?;
    text(w, "scope", "Restricted")?;
    text(w, "restriction", &a.grade.to_string())?;
    if let Some((identifier, sent)) = a.earlier {
        text(w, "references", &format!("{},{identifier},{}", a.sender, time(sent)))?;
    }
    w.create_element("info").write_inner_content(|w| info(w, a))?;
    Ok(())
}

fn info(w: &mut Writer<Vec<u8>>, a: &CapAlert<'_>) -> io::Result<()> {
    let Warning { level, kind, area, measures, start, end, issuer, tier } = a.warning;
    text(w, "language", "zh-CN")?;
    text(w, "category", "Security")?;
    text(w, "event", &format!("{}预警", level.zh()))?;
    if *kind == WarningKind::Cancel {
        text(w, "responseType", "AllClear")?;
    }
    let (urgency, severity) = match (kind, level) {
        (WarningKind::Cancel, _) => ("Past", "Minor"),
        (_, WarningLevel::Red) => ("Immediate", "Extreme"),
        (_, WarningLevel::Orange) => ("Expected", "Severe"),
        (_, WarningLevel::Yellow) => ("Expected", "Moderate"),
        (_, WarningLevel::Blue) => ("Future", "Minor"),
    };
    text(w, "urgency", urgency)?;
    text(w, "severity", severity)?;
    text(w, "certainty", "Likely")?;
    text(w, "effective", &time(a.sent))?;
    text(w, "onset", &time(*start))?;
    text(w, "expires", &time(*end))?;
    text(w, "senderName", issuer)?;
    text(w, "headline", a.headline)?;
    text(w, "description", a.description)?;
    if !measures.is_empty() {
        text(w, "instruction", measures)?;
    }
    for (name, value) in [("level", level.as_str()), ("tier", tier), ("grade", &a.grade.to_string())] {
        w.create_element("parameter").write_inner_content(|w| {
            text(w, "valueName", name)?;
            text(w, "value", value)
        })?;
    }
    w.create_element("area").write_inner_content(|w| text(w, "areaDesc", area))?;
    Ok(())
}

/// XML 1.0 has no place for most control characters, escaped or not: they are left out.
fn text(w: &mut Writer<Vec<u8>>, name: &str, value: &str) -> io::Result<()> {
    let allowed = |c: &char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
    let value: String = value.chars().filter(|c| allowed(c) && !matches!(c, '\u{fffe}' | '\u{ffff}')).collect();
    w.create_element(name).write_text_content(BytesText::new(&value))?;
    Ok(())
}

/// CAP 1.2 §3.3.2: seconds, and an offset that is never `Z`.
fn time(at: Millis) -> String {
    let text = at.to_rfc3339();
    let seconds: String = text.chars().take("2026-01-01T00:00:00".len()).collect();
    format!("{seconds}-00:00")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    /// The golden file is held against the schema by `.ci/run`.
    #[test]
    fn a_warning_is_the_golden_document() {
        let warning = Warning {
            level: WarningLevel::Orange,
            kind: WarningKind::Update,
            area: "三号口岸及周边 5 公里".into(),
            measures: "加强查验 <A&B>\u{7}".into(),
            start: Millis(1_800_000_000_000),
            end: Millis(1_800_086_400_000),
            issuer: "市公安局".into(),
            tier: "provincial".into(),
        };
        let alert = CapAlert {
            identifier: "n-aaaaaaaaaaaaaaaaaaaaaaaaaa",
            sender: "police.hufu-demo",
            sent: Millis(1_800_000_000_500),
            exercise: true,
            grade: Grade::Internal,
            headline: "演练：口岸预警",
            description: "可疑车辆",
            warning: &warning,
            earlier: Some(("n-bbbbbbbbbbbbbbbbbbbbbbbbbb", Millis(1_799_999_000_000))),
        };
        assert_eq!(cap(&alert).unwrap(), include_str!("../../tests/golden/warning.cap"));
    }
}
