//! Text into terms: the same for documents and queries.
//!
//! Text is NFKC-normalised and lower-cased, so full-width forms are folded, and traditional characters become simplified
//! ones. A run of n CJK characters gives n-1
//! bigrams and its last character, at consecutive positions: overlapping bigrams make a phrase match exactly the
//! texts that contain it. A run of other letters and digits gives one word. Anything else ends a run.

use super::simplified::simplified;
use unicode_normalization::UnicodeNormalization;

/// Longest term, in bytes; a longer word is cut there.
const TERM_BYTES: usize = 96;

/// One term at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) text: String,
    pub(super) position: usize,
    /// The single last character of a run that has bigrams, too.
    pub(super) tail: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Cjk,
    Word,
    Other,
}

/// NFKC, lower case and simplified characters.
pub(super) fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut left = text;
    while !left.is_empty() {
        let (head, tail) = left.split_at(left.find(|c| plain(c).is_none()).unwrap_or(left.len()));
        let (other, rest) = tail.split_at(tail.find(|c| plain(c).is_some()).unwrap_or(tail.len()));
        // A mark is composed with what stands just before it, and with nothing before that.
        let last = head.chars().next_back().filter(|_| !other.is_empty());
        let alone = head.len() - last.map_or(0, char::len_utf8);
        out.extend(head.get(..alone).unwrap_or_default().chars().filter_map(plain));
        out.extend(last.into_iter().chain(other.chars()).nfkc().flat_map(char::to_lowercase).map(simplified));
        left = rest;
    }
    out
}

/// The normal form of a character that is its own under NFKC, whatever stands around it: of ASCII and of the unified
/// ideographs, which most text is made of.
pub(super) fn plain(c: char) -> Option<char> {
    match c {
        '\0'..='\x7f' => Some(c.to_ascii_lowercase()),
        '\u{4e00}'..='\u{9fff}' => Some(simplified(c)),
        _ => None,
    }
}

/// The terms of a text.
pub(super) fn terms(text: &str) -> Vec<Term> {
    let mut out = Vec::new();
    let mut run: Vec<char> = Vec::new();
    let mut sort = Sort::Other;
    for c in normalise(text).chars().chain([' ']) {
        let next = sort_of(c);
        if next != sort {
            end_run(&mut out, &run, sort);
            run.clear();
            sort = next;
        }
        run.push(c);
    }
    out
}

fn end_run(out: &mut Vec<Term>, run: &[char], sort: Sort) {
    let mut add = |text: String, tail: bool| {
        let position = out.len();
        out.push(Term { text, position, tail });
    };
    match sort {
        Sort::Other => {}
        Sort::Word => {
            let mut word = String::new();
            for c in run {
                if word.len() + c.len_utf8() > TERM_BYTES {
                    break;
                }
                word.push(*c);
            }
            add(word, false);
        }
        Sort::Cjk => {
            for pair in run.windows(2) {
                add(pair.iter().collect(), false);
            }
            if let Some(last) = run.last() {
                add(last.to_string(), run.len() > 1);
            }
        }
    }
}

fn sort_of(c: char) -> Sort {
    match c as u32 {
        0x3005
        | 0x3007
        | 0x3040..=0x30ff
        | 0x3400..=0x4dbf
        | 0x4e00..=0x9fff
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0x20000..=0x3fffd => Sort::Cjk,
        _ if c.is_alphanumeric() => Sort::Word,
        _ => Sort::Other,
    }
}

/// Whether a character is Chinese, Japanese or Korean.
pub(super) fn is_cjk(c: char) -> bool {
    sort_of(c) == Sort::Cjk
}

/// Whether a term is one CJK character.
pub(super) fn is_single(term: &str) -> bool {
    let mut chars = term.chars();
    chars.next().is_some_and(is_cjk) && chars.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is taken as it is and what is composed make together what the whole text makes.
        #[test]
        fn a_text_has_the_normal_form_of_the_whole(text in "[aZ國国一龿가各ᄀ\u{1161}\u{11a8}\u{301}\u{323}\u{3099}かＡ，。ﬁ①Å\u{fa0e} ]{0,12}|\\PC{0,24}") {
            let whole: String = text.nfkc().flat_map(char::to_lowercase).map(simplified).collect();
            prop_assert_eq!(normalise(&text), whole);
        }
    }
}
