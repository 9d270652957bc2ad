//! What markings say about a grade.
//!
//! A grade is stated by one kind of marking only: a statement that is word for word a marking of this federation, such as
//! 机密★20年. TLP says how far something may be passed on; it is no grade, and none is made of it. Whatever else is a
//! marking that states no grade, and whoever imports decides.

use super::stix_object::Object;
use crate::domain::label::Grade;
use std::collections::{BTreeMap, BTreeSet};

/// Markings that the specifications fix: TLP 1.0 (STIX 2.1 §7.2.1.4) and TLP 2.0 (OASIS CTI TC, common objects). A file
/// that defines one of these otherwise changes nothing.
const TLP: [(&str, &str); 9] = [
    ("marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9", "TLP:WHITE"),
    ("marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da", "TLP:GREEN"),
    ("marking-definition--f88d31f6-486f-44da-b317-01333bde0b82", "TLP:AMBER"),
    ("marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed", "TLP:RED"),
    ("marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487", "TLP:CLEAR"),
    ("marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb", "TLP:GREEN"),
    ("marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421", "TLP:AMBER"),
    ("marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003", "TLP:AMBER+STRICT"),
    ("marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1", "TLP:RED"),
];

/// Longest words that a marking is called by.
const CALLED_BYTES: usize = 2_000;

/// What the markings of everything in a record say together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stated {
    /// The highest grade that a marking states.
    pub grade: Option<Grade>,
    /// The longest period that a marking of that grade states, in years.
    pub years: Option<u8>,
    /// Markings that state no grade, by what they call themselves, else by id.
    pub unknown: BTreeSet<String>,
    /// Whether a part of it has no marking at all.
    pub unmarked: bool,
}

impl Stated {
    /// The join over the parts of a record: its object and the relationships that it takes in.
    pub(super) fn of<'a>(parts: impl Iterator<Item = &'a Object>, known: &BTreeMap<String, Object>) -> Stated {
        let mut stated = Stated::default();
        for part in parts {
            let markings = part.markings();
            stated.unmarked |= markings.is_empty();
            for id in markings {
                match grade(&id, known) {
                    Some((grade, years)) if stated.grade.is_none_or(|g| grade > g) => {
                        (stated.grade, stated.years) = (Some(grade), years);
                    }
                    Some((grade, years)) if stated.grade == Some(grade) => stated.years = stated.years.max(years),
                    Some(_) => {}
                    None => {
                        stated.unknown.insert(called(&id, known));
                    }
                }
            }
        }
        stated
    }
}

fn tlp(id: &str) -> Option<&'static str> {
    TLP.iter().find(|(of, _)| *of == id).map(|(_, name)| *name)
}

fn statement<'a>(id: &str, known: &'a BTreeMap<String, Object>) -> Option<&'a str> {
    let marking = known.get(id).filter(|m| m.kind == "marking-definition")?;
    let is_statement = marking.text("definition_type") == Some("statement");
    marking.members.get("definition").filter(|_| is_statement)?.get("statement")?.as_str()
}

/// The grade and period of a marking, if it states one: 内部, 秘密, 机密 or 绝密, the secret ones perhaps with ★ and years.
fn grade(id: &str, known: &BTreeMap<String, Object>) -> Option<(Grade, Option<u8>)> {
    if tlp(id).is_some() {
        return None;
    }
    let text = statement(id, known)?.trim();
    let (word, years) = match text.split_once('★') {
        None => (text, None),
        Some((word, period)) => (word, Some(period.strip_suffix('年')?.parse::<u8>().ok()?)),
    };
    let grade = Grade::ALL.into_iter().find(|g| g.zh() == word)?;
    let lasts = match (years, grade.max_years()) {
        (None, _) => true,
        (Some(n), Some(most)) => (1..=most).contains(&n),
        (Some(_), None) => false,
    };
    lasts.then_some((grade, years))
}

/// What a marking is called: its name or statement, else its id. Many records repeat it, so it is not any text.
pub(super) fn called(id: &str, known: &BTreeMap<String, Object>) -> String {
    let name = known.get(id).and_then(|m| m.text("name"));
    let words = tlp(id).or_else(|| statement(id, known)).or(name).map(super::stix_text::one_line);
    words.filter(|w| !w.is_empty() && w.len() <= CALLED_BYTES).unwrap_or_else(|| id.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use serde_json::json;

    fn id(n: usize) -> String {
        format!("marking-definition--00000000-0000-4000-8000-{n:012}")
    }

    fn known(statements: &[&str]) -> BTreeMap<String, Object> {
        let marking = |(n, text): (usize, &&str)| {
            let value = json!({"type": "marking-definition", "id": id(n), "definition_type": "statement",
                "definition": {"statement": text}});
            (id(n), Object::of(value).unwrap())
        };
        statements.iter().enumerate().map(marking).collect()
    }

    fn stated(parts: &[&[String]], known: &BTreeMap<String, Object>) -> Stated {
        let part = |markings: &&[String]| {
            let id = "tool--00000000-0000-4000-8000-000000000000";
            Object::of(json!({"type": "tool", "id": id, "object_marking_refs": markings})).unwrap()
        };
        let parts: Vec<Object> = parts.iter().map(part).collect();
        Stated::of(parts.iter(), known)
    }

    #[test]
    fn the_highest_statement_holds_with_its_longest_period() {
        let known = known(&["内部", "秘密★10年", "机密★5年", " 机密★20年 ", "机密"]);
        let all = stated(&[&[id(0), id(1)], &[id(2), id(3), id(4)]], &known);
        assert_eq!((all.grade, all.years), (Some(Grade::Secret), Some(20)));
        assert!(all.unknown.is_empty() && !all.unmarked);
        let low = stated(&[&[id(1), id(0)]], &known);
        assert_eq!((low.grade, low.years), (Some(Grade::Confidential), Some(10)));
        let unmarked = stated(&[&[id(1)], &[]], &known);
        assert!(unmarked.unmarked && unmarked.grade.is_some());
    }

    #[test]
    fn what_is_not_word_for_word_a_marking_states_no_grade() {
        let words = ["内部★1年", "秘密★11年", "机密★0年", "机密★20", "机密级", "secret", "绝密★", "", "not 机密"];
        let known = known(&words);
        for n in 0..words.len() {
            let stated = stated(&[&[id(n)]], &known);
            assert!(stated.grade.is_none() && stated.unknown.len() == 1, "{stated:?}");
        }
        let absent = stated(&[&[id(99)]], &known);
        assert_eq!(absent.unknown, BTreeSet::from([id(99)]));
    }

    #[test]
    fn tlp_states_no_grade_however_a_file_defines_it() {
        for (marking, name) in TLP {
            let value = json!({"type": "marking-definition", "id": marking, "definition_type": "statement",
                "definition": {"statement": "内部"}});
            let known = BTreeMap::from([(marking.to_owned(), Object::of(value).unwrap())]);
            let stated = stated(&[&[marking.to_owned()]], &known);
            assert_eq!((stated.grade, stated.unknown), (None, BTreeSet::from([name.to_owned()])));
        }
    }
}
