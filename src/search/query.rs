//! The query language: words, "phrases", AND, OR, NOT, parentheses, kind:, origin:, since:, ref:.

use super::analysis::{is_single, normalise, plain, terms};
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::domain::limits;
use crate::domain::record::{Kind, Reference};
use crate::domain::time::Millis;
use std::fmt::Write as _;

/// Deepest nesting.
const DEPTH: usize = 32;
/// Most words, phrases and fields.
const LEAVES: usize = 64;
/// Characters of a snippet, and those of them before the match.
const SNIPPET: usize = 80;
const BEFORE: usize = 20;

/// A parsed query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub(super) root: Node,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A word or phrase, as it was typed.
    Text(String),
    Kind(Kind),
    Origin(AgencyId),
    Since(Millis),
    Ref(Reference),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
}

impl Query {
    /// Parses a query.
    ///
    /// # Errors
    /// `BAD_QUERY` with what is wrong and which limit it breaks.
    pub fn parse(text: &str) -> Result<Query, Fault> {
        if text.chars().count() > limits::QUERY_CHARS {
            return Err(wrong(format!("the query has more than {} characters", limits::QUERY_CHARS)));
        }
        let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable(), leaves: 0 };
        let root = parser.any(0)?;
        if parser.tokens.peek().is_some() {
            return Err(wrong("a closing parenthesis has no opening one"));
        }
        if !positive(&root) {
            return Err(wrong("a query that only excludes finds nothing in particular"));
        }
        Ok(Query { root })
    }

    /// Narrows to a kind.
    #[must_use]
    pub fn kind(self, kind: Kind) -> Query {
        self.and(Node::Kind(kind))
    }

    /// Narrows to an originator.
    #[must_use]
    pub fn origin(self, origin: AgencyId) -> Query {
        self.and(Node::Origin(origin))
    }

    /// Narrows to what was issued since.
    #[must_use]
    pub fn since(self, since: Millis) -> Query {
        self.and(Node::Since(since))
    }

    fn and(self, node: Node) -> Query {
        Query { root: Node::And(vec![self.root, node]) }
    }

    /// The same text for the same meaning, for a keyed hash in the audit log.
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        canonical(&self.root, &mut out);
        out
    }

    /// About 80 characters around the first match, on one line, `…` where it was cut; the beginning if nothing
    /// matches literally.
    pub fn snippet(&self, body: &str) -> String {
        let chars: Vec<char> = body.chars().collect();
        // Normal form with, for each of its characters, the place in the body.
        let mut folded: Vec<(char, usize)> = Vec::with_capacity(chars.len());
        for (at, c) in chars.iter().enumerate() {
            match plain(*c) {
                Some(n) => folded.push((n, at)),
                None => folded.extend(normalise(c.encode_utf8(&mut [0; 4])).chars().map(|n| (n, at))),
            }
        }
        let mut needles = Vec::new();
        wanted(&self.root, &mut needles);
        let place = needles.iter().filter_map(|n| find(&folded, n)).min().unwrap_or(0);
        let from = place.saturating_sub(BEFORE);
        let to = from.saturating_add(SNIPPET).min(chars.len());
        let part: String = chars.get(from..to).unwrap_or_default().iter().collect();
        let line = part.split_whitespace().collect::<Vec<_>>().join(" ");
        let (before, after) = (if from > 0 { "…" } else { "" }, if to < chars.len() { "…" } else { "" });
        format!("{before}{line}{after}")
    }
}

fn find(folded: &[(char, usize)], needle: &[char]) -> Option<usize> {
    let fits = |w: &[(char, usize)]| w.iter().map(|(c, _)| c).eq(needle);
    folded.windows(needle.len().max(1)).find(|w| fits(w)).and_then(|w| w.first()).map(|(_, at)| *at)
}

fn wanted(node: &Node, out: &mut Vec<Vec<char>>) {
    match node {
        Node::Text(t) => out.push(normalise(t).trim().chars().collect()),
        Node::And(all) | Node::Or(all) => all.iter().for_each(|n| wanted(n, out)),
        Node::Kind(_) | Node::Origin(_) | Node::Since(_) | Node::Ref(_) | Node::Not(_) => {}
    }
}

fn canonical(node: &Node, out: &mut String) {
    let list = |word: &str, all: &[Node], out: &mut String| {
        let _ = write!(out, "({word}");
        for n in all {
            out.push(' ');
            canonical(n, out);
        }
        out.push(')');
    };
    let _ = match node {
        Node::Text(t) => write!(out, "\"{}\"", normalise(t).replace('"', "")),
        Node::Kind(k) => write!(out, "kind:{k}"),
        Node::Origin(a) => write!(out, "origin:{a}"),
        Node::Since(t) => write!(out, "since:{}", t.0),
        Node::Ref(r) => write!(out, "ref:{r}"),
        Node::And(all) => return list("and", all, out),
        Node::Or(all) => return list("or", all, out),
        Node::Not(n) => return list("not", std::slice::from_ref(n), out),
    };
}

/// Whether a node names something to find.
fn positive(node: &Node) -> bool {
    match node {
        Node::Not(_) => false,
        Node::And(all) => all.iter().any(positive),
        Node::Or(all) => all.iter().all(positive),
        _ => true,
    }
}

fn wrong(message: impl Into<String>) -> Fault {
    Fault::usage("BAD_QUERY", message).hint(
        "words, \"phrases\", AND, OR, NOT, ( ), kind:report, origin:police, since:2026-03-01, ref:phone:13800000000",
    )
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Word(String),
    Phrase(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            _ if c.is_whitespace() => {}
            '(' | '（' => out.push(Token::Open),
            ')' | '）' => out.push(Token::Close),
            '"' | '“' | '”' => {
                let mut phrase = String::new();
                loop {
                    match chars.next() {
                        Some('"' | '“' | '”') => break,
                        Some(c) => phrase.push(c),
                        None => return Err(wrong("a quotation mark is not closed")),
                    }
                }
                out.push(Token::Phrase(phrase));
            }
            '-' if chars.peek().is_some_and(|n| !n.is_whitespace()) => out.push(Token::Not),
            _ => {
                let mut word = String::from(c);
                while let Some(n) = chars.next_if(|n| !n.is_whitespace() && !"()（）\"“”".contains(*n)) {
                    word.push(n);
                }
                out.push(match word.as_str() {
                    "AND" => Token::And,
                    "OR" => Token::Or,
                    "NOT" => Token::Not,
                    _ => Token::Word(word),
                });
            }
        }
    }
    Ok(out)
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    leaves: usize,
}

impl Parser {
    /// all OR all OR …
    fn any(&mut self, depth: usize) -> Result<Node, Fault> {
        let mut some = vec![self.all(depth)?];
        while self.tokens.next_if_eq(&Token::Or).is_some() {
            some.push(self.all(depth)?);
        }
        Ok(single(some, Node::Or))
    }

    /// one AND one one …
    fn all(&mut self, depth: usize) -> Result<Node, Fault> {
        let mut every = vec![self.one(depth)?];
        loop {
            let and = self.tokens.next_if_eq(&Token::And).is_some();
            match self.tokens.peek() {
                None | Some(Token::Or | Token::Close) if !and => return Ok(single(every, Node::And)),
                _ => every.push(self.one(depth)?),
            }
        }
    }

    fn one(&mut self, depth: usize) -> Result<Node, Fault> {
        // Every recursion passes here.
        if depth > DEPTH {
            return Err(wrong(format!("the query is nested deeper than {DEPTH}")));
        }
        let leaf = match self.tokens.next() {
            None => return Err(wrong("something to find is missing")),
            Some(Token::And | Token::Or) => return Err(wrong("AND and OR stand between two things to find")),
            Some(Token::Close) => return Err(wrong("something to find is missing before a parenthesis")),
            Some(Token::Not) => return Ok(Node::Not(Box::new(self.one(depth + 1)?))),
            Some(Token::Open) => {
                let inner = self.any(depth + 1)?;
                return match self.tokens.next() {
                    Some(Token::Close) => Ok(inner),
                    _ => Err(wrong("a parenthesis is not closed")),
                };
            }
            Some(Token::Phrase(text)) => text_leaf(text)?,
            Some(Token::Word(word)) => self.word(word)?,
        };
        self.leaves += 1;
        if self.leaves > LEAVES {
            return Err(wrong(format!("the query names more than {LEAVES} things")));
        }
        Ok(leaf)
    }

    /// A word, or a field with its value, which may be a phrase.
    fn word(&mut self, word: String) -> Result<Node, Fault> {
        let Some((field, value)) = word.split_once(':') else { return text_leaf(word) };
        if !matches!(field, "kind" | "origin" | "since" | "ref") {
            return text_leaf(word);
        }
        let value = match self.tokens.peek() {
            Some(Token::Phrase(p)) if value.is_empty() || value.ends_with(':') => {
                let value = format!("{value}{p}");
                self.tokens.next();
                value
            }
            _ => value.to_owned(),
        };
        match field {
            "kind" => value.parse().map(Node::Kind),
            "origin" => value.parse().map(Node::Origin),
            "since" => Millis::parse(&value).map(Node::Since),
            _ => value.parse().map(Node::Ref),
        }
        .map_err(|fault: Fault| wrong(fault.message))
    }
}

fn single(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        last => {
            nodes.extend(last);
            many(nodes)
        }
    }
}

fn text_leaf(text: String) -> Result<Node, Fault> {
    if terms(&text).is_empty() {
        return Err(wrong("a word or phrase has neither letters nor digits"));
    }
    Ok(Node::Text(text))
}

/// What a word or phrase asks of a text: one character anywhere, or terms at their places.
pub(super) enum Asked {
    Single(String),
    Terms(Vec<(usize, String)>),
}

pub(super) fn asked(text: &str) -> Asked {
    let all = terms(text);
    match all.as_slice() {
        [only] if is_single(&only.text) => Asked::Single(only.text.clone()),
        _ => Asked::Terms(all.into_iter().filter(|t| !t.tail).map(|t| (t.position, t.text)).collect()),
    }
}
