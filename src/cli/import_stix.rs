//! `hufu record import --format stix`: of which grade an object is. What it becomes is `interop`'s matter.

use crate::domain::fault::Fault;
use crate::domain::label::Grade;
use crate::domain::limits;
use crate::interop::{Stated, StixDraft};
use crate::wire::pb::v1;

/// So many of the markings that state no grade are named.
const NAMED: usize = 3;
/// Each up to so many characters.
const NAMED_CHARS: usize = 80;

/// The request for an object, and what its author should know. `base` says what is the same for all.
pub(super) fn request(
    id: &str,
    draft: StixDraft,
    asked: Option<Grade>,
    base: v1::PublishRequest,
) -> Result<(v1::PublishRequest, Option<String>), Fault> {
    let StixDraft { title, body, references, left_out, stated, content } = draft;
    let grade = grade(&stated, asked)?;
    // A period belongs to the grade that it was stated with.
    let stated_years = stated.years.filter(|_| asked.is_none()).map_or(0, u32::from);
    let period_years = if base.period_years > 0 { base.period_years } else { stated_years };
    let note = (left_out > 0).then(|| {
        let most = limits::REFERENCES;
        format!("{left_out} of its relations stand in the text alone: a record has at most {most} references")
    });
    let request = v1::PublishRequest {
        title,
        body: body.into_bytes(),
        grade: grade.to_string(),
        period_years,
        references: references.iter().map(ToString::to_string).collect(),
        source: format!("stix:{id}"),
        content: content.to_vec(),
        ..base
    };
    Ok((request, note))
}

/// The grade that was asked for, if it is not below what a marking states; else the one that the markings state, if every
/// one of them does. Nothing else makes a grade: what is not marked, or in words unknown here, could be of any.
fn grade(stated: &Stated, asked: Option<Grade>) -> Result<Grade, Fault> {
    if let (Some(asked), Some(least)) = (asked, stated.grade)
        && asked < least
    {
        return Err(Fault::usage("UNKNOWN_GRADE", format!("its marking says {least}, and --grade says {asked}"))
            .hint("an import does not lower a grade: give that one or a higher"));
    }
    let why = match (asked, stated.grade) {
        (Some(asked), _) => return Ok(asked),
        (None, _) if !stated.unknown.is_empty() => {
            let short = |name: &String| format!("`{}`", name.chars().take(NAMED_CHARS).collect::<String>());
            let named: Vec<String> = stated.unknown.iter().take(NAMED).map(short).collect();
            format!("no grade follows from its marking {}", named.join(", "))
        }
        (None, Some(grade)) if !stated.unmarked => return Ok(grade),
        (None, _) => "it, or a relationship of it, has no marking that states a grade".to_owned(),
    };
    Err(Fault::usage("UNKNOWN_GRADE", why).hint("add --grade internal|confidential|secret|top-secret"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    fn stated(grade: Option<Grade>, unknown: &[&str], unmarked: bool) -> Stated {
        Stated { grade, years: Some(5), unknown: unknown.iter().map(|u| (*u).to_owned()).collect(), unmarked }
    }

    #[test]
    fn no_grade_is_guessed_and_none_is_lowered() {
        let secret = Some(Grade::Secret);
        assert_eq!(grade(&stated(secret, &[], false), None).unwrap(), Grade::Secret);
        assert_eq!(grade(&stated(secret, &[], false), Some(Grade::TopSecret)).unwrap(), Grade::TopSecret);
        assert_eq!(grade(&stated(None, &["TLP:RED"], true), Some(Grade::Internal)).unwrap(), Grade::Internal);
        for (stated, asked) in [
            (stated(secret, &[], false), Some(Grade::Confidential)),
            (stated(secret, &["TLP:RED"], false), Some(Grade::Internal)),
            (stated(secret, &["TLP:RED"], false), None),
            (stated(secret, &[], true), None),
            (stated(None, &["TLP:CLEAR"], false), None),
            (stated(None, &[], true), None),
        ] {
            let refused = grade(&stated, asked).unwrap_err();
            assert!(refused.reason == "UNKNOWN_GRADE" && refused.hint.is_some(), "{refused:?}");
        }
    }

    #[test]
    fn a_stated_period_goes_with_its_grade() {
        let years = |asked: Option<Grade>, period_years: u32| {
            let draft = StixDraft {
                title: "x".into(),
                body: "x".into(),
                references: Vec::new(),
                left_out: 1,
                stated: stated(Some(Grade::Confidential), &[], false),
                content: [7; 32],
            };
            let base = v1::PublishRequest { period_years, ..v1::PublishRequest::default() };
            let (request, note) = request("tool--x", draft, asked, base).unwrap();
            assert_eq!((request.source.as_str(), request.content.len()), ("stix:tool--x", 32));
            assert!(note.unwrap().starts_with("1 of its relations"));
            request.period_years
        };
        assert_eq!(years(None, 0), 5);
        assert_eq!(years(None, 3), 3, "what was asked for goes before");
        assert_eq!(years(Some(Grade::Secret), 0), 0);
    }
}
