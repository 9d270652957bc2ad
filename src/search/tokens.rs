//! The terms of a text as the engine takes them: cut while it indexes, so that a document carries its text and no list of
//! terms (the engine keeps such a list as JSON, twice as dear as what it lists).

use super::analysis;
use super::words::words;
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer};

/// Name of the terms that decide what matches.
pub(super) const TERMS: &str = "hufu-terms";
/// Name of the words that raise what matches; their places mean nothing.
pub(super) const WORDS: &str = "hufu-words";

/// How a text is cut.
#[derive(Clone)]
struct Cut(fn(&str) -> Vec<(usize, String)>);

/// Its terms, one after the other.
struct Terms {
    left: std::vec::IntoIter<(usize, String)>,
    now: Token,
}

/// Makes both known to an index.
pub(super) fn register(index: &tantivy::Index) {
    index.tokenizers().register(TERMS, TextAnalyzer::from(Cut(terms)));
    index.tokenizers().register(WORDS, TextAnalyzer::from(Cut(counted)));
}

fn terms(text: &str) -> Vec<(usize, String)> {
    analysis::terms(text).into_iter().map(|t| (t.position, t.text)).collect()
}

fn counted(text: &str) -> Vec<(usize, String)> {
    words(text).into_iter().enumerate().collect()
}

impl Tokenizer for Cut {
    type TokenStream<'a> = Terms;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Terms {
        Terms { left: (self.0)(text).into_iter(), now: Token::default() }
    }
}

impl TokenStream for Terms {
    fn advance(&mut self) -> bool {
        let Some((position, text)) = self.left.next() else { return false };
        (self.now.position, self.now.text) = (position, text);
        true
    }

    fn token(&self) -> &Token {
        &self.now
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.now
    }
}
