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
    text.nfkc().flat_map(char::to_lowercase).map(simplified).collect()
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
