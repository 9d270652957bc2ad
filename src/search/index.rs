//! The indexes: adding, replacing, finding.

use super::directory::SealedDirectory;
use super::error::SearchError;
use super::query::{Asked, Node, Query, asked};
use super::quiet::quietly;
use super::rank;
use super::tokens::{TERMS, WORDS, register};
use super::words::words;
use crate::domain::ids::{AgencyId, RecordId};
use crate::domain::label::Grade;
use crate::domain::record::{Kind, Reference};
use crate::domain::time::{Entropy, Millis};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tantivy::merge_policy::LogMergePolicy;
use tantivy::query::{
    AllQuery, BooleanQuery, ConstScoreQuery, EmptyQuery, Occur, PhraseQuery, Query as Compiled, RangeQuery, RegexQuery,
    TermQuery, TermSetQuery,
};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions, Value as _,
};
use tantivy::{DocAddress, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, Searcher, TantivyDocument, Term};

/// Memory of one writer, in bytes: what the documents of one commit take, so that it makes one segment.
const WRITER_BYTES: usize = 48_000_000;
/// Segments below this many documents are merged as one size. The engine's default is so large that what a few commits
/// brought would be merged again with each of the next ones.
const SMALL_DOCUMENTS: u32 = 4_000;
/// So many times the title stands in the text that is matched: a match in it weighs so much more, as in BM25F (Robertson, Zaragoza,
/// Taylor: "Simple BM25 extension to multiple weighted fields", CIKM 2004).
const TITLE_TIMES: usize = 3;

type Dyn = Box<dyn Compiled>;

/// What is indexed of one version.
pub struct Document {
    /// Record.
    pub record: RecordId,
    /// Version.
    pub version: u32,
    /// Grade: which index.
    pub grade: Grade,
    /// All that decides who may see it, opaque here.
    pub class: Vec<u8>,
    /// Originator.
    pub origin: AgencyId,
    /// Kind.
    pub kind: Kind,
    /// Issued.
    pub issued: Millis,
    /// References.
    pub references: Vec<Reference>,
    /// Title.
    pub title: String,
    /// Body.
    pub body: String,
}

/// What a person may see at all. Empty means nothing.
pub struct Allowed {
    /// Classes.
    pub classes: BTreeSet<Vec<u8>>,
    /// Only this grade, if given.
    pub grade: Option<Grade>,
}

/// A hit, still to be authorized.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// Record.
    pub record: RecordId,
    /// Version.
    pub version: u32,
    /// Higher is better.
    pub score: f32,
}

/// The indexes of one node, one for each grade up to its ceiling.
pub struct Indexes {
    by_grade: BTreeMap<Grade, Index>,
}

struct Index {
    fields: Fields,
    reader: IndexReader,
    writer: Mutex<IndexWriter>,
}

#[derive(Clone, Copy)]
struct Fields {
    record: Field,
    version: Field,
    class: Field,
    origin: Field,
    kind: Field,
    refs: Field,
    issued: Field,
    /// Title and body, one behind the other.
    text: Field,
    words: Field,
}

impl Indexes {
    /// Opens an index for each grade under its key, or begins one. Answers the grades whose index did not open
    /// and was begun anew.
    ///
    /// # Errors
    /// When even an empty index cannot be made.
    pub fn open(
        dir: &Path,
        keys: Vec<(Grade, [u8; 32])>,
        entropy: Box<dyn Entropy>,
    ) -> Result<(Indexes, Vec<Grade>), SearchError> {
        let entropy = Arc::new(Mutex::new(entropy));
        let (mut by_grade, mut anew) = (BTreeMap::new(), Vec::new());
        for (grade, key) in keys {
            let dir = dir.join(grade.to_string());
            let io = |step| move |source| SearchError::Io { step, source };
            std::fs::create_dir_all(&dir).map_err(io("make the folder of an index"))?;
            // The merging threads are born here and stay quiet.
            let open = || quietly(|| Index::open(SealedDirectory::new(&dir, key, Arc::clone(&entropy))));
            let index = match open() {
                Ok(index) => index,
                Err(error) => {
                    tracing::warn!(%grade, %error, "an index is begun anew");
                    std::fs::remove_dir_all(&dir).map_err(io("remove a broken index"))?;
                    std::fs::create_dir_all(&dir).map_err(io("make the folder of an index"))?;
                    anew.push(grade);
                    open()?
                }
            };
            by_grade.insert(grade, index);
        }
        Ok((Indexes { by_grade }, anew))
    }

    /// How many documents there are, over all grades.
    pub fn documents(&self) -> u64 {
        self.by_grade.values().map(|index| index.reader.searcher().num_docs()).sum()
    }

    /// What is indexed: record and version. Reads every document once.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn indexed(&self) -> Result<BTreeMap<RecordId, u32>, SearchError> {
        let mut all = BTreeMap::new();
        for index in self.by_grade.values() {
            let searcher = index.reader.searcher();
            for (segment, n) in searcher.segment_readers().iter().zip(0u32..) {
                for doc in segment.doc_ids_alive() {
                    let (record, version) = index.read(&searcher, DocAddress::new(n, doc))?;
                    all.insert(record, version);
                }
            }
        }
        Ok(all)
    }

    /// Adds documents in the place of earlier versions of their records; durable when it answers.
    ///
    /// # Errors
    /// When an index cannot be written. Adding the same again is safe.
    pub fn add(&self, documents: &[Document]) -> Result<(), SearchError> {
        quietly(|| self.add_here(documents))
    }

    fn add_here(&self, documents: &[Document]) -> Result<(), SearchError> {
        for (grade, index) in &self.by_grade {
            let mut writer = index.writer();
            let mut changed = false;
            for d in documents {
                let here = d.grade == *grade;
                if here || index.has(&d.record)? {
                    writer.delete_term(Term::from_field_bytes(index.fields.record, d.record.as_bytes()));
                    changed = true;
                }
                if here {
                    writer.add_document(index.fields.document(d))?;
                }
            }
            if changed {
                writer.commit()?;
                index.reader.reload()?;
            }
        }
        Ok(())
    }

    /// Takes records out; durable when it answers.
    ///
    /// # Errors
    /// When an index cannot be written. Removing the same again is safe.
    pub fn remove(&self, records: &[RecordId]) -> Result<(), SearchError> {
        quietly(|| self.remove_here(records))
    }

    fn remove_here(&self, records: &[RecordId]) -> Result<(), SearchError> {
        for index in self.by_grade.values() {
            let mut writer = index.writer();
            let mut changed = false;
            for record in records {
                if index.has(record)? {
                    writer.delete_term(Term::from_field_bytes(index.fields.record, record.as_bytes()));
                    changed = true;
                }
            }
            if changed {
                writer.commit()?;
                index.reader.reload()?;
            }
        }
        Ok(())
    }

    /// Takes everything of these classes out; durable when it answers.
    ///
    /// # Errors
    /// When an index cannot be written. Once more is safe.
    pub fn remove_classes(&self, classes: &BTreeSet<Vec<u8>>) -> Result<(), SearchError> {
        quietly(|| self.remove_classes_here(classes))
    }

    fn remove_classes_here(&self, classes: &BTreeSet<Vec<u8>>) -> Result<(), SearchError> {
        for index in self.by_grade.values() {
            let here = index.classes(&index.reader.searcher())?;
            if here.is_disjoint(classes) {
                continue;
            }
            let mut writer = index.writer();
            for class in here.intersection(classes) {
                writer.delete_term(Term::from_field_bytes(index.fields.class, class));
            }
            writer.commit()?;
            index.reader.reload()?;
        }
        Ok(())
    }

    /// Classes in the indexes.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn classes(&self) -> Result<BTreeSet<Vec<u8>>, SearchError> {
        let mut all = BTreeSet::new();
        for index in self.by_grade.values() {
            all.append(&mut index.classes(&index.reader.searcher())?);
        }
        Ok(all)
    }

    /// The best `limit` matches over all grades, best first, and how many there are. The filter is part of the query: what is
    /// not allowed is neither matched nor counted.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn query(&self, query: &Query, allowed: &Allowed, limit: usize) -> Result<(Vec<Match>, usize), SearchError> {
        let (mut all, mut total) = (Vec::<Match>::new(), 0);
        if limit == 0 || allowed.classes.is_empty() {
            return Ok((all, total));
        }
        for (_, index) in self.by_grade.iter().filter(|(g, _)| allowed.grade.is_none_or(|a| a == **g)) {
            let f = &index.fields;
            let searcher = index.reader.searcher();
            let found = f.compile(&query.root)?;
            // What is searched has the classes that are looked at here, whatever is added meanwhile.
            let filtered: Dyn = if index.classes(&searcher)?.is_subset(&allowed.classes) {
                found
            } else {
                let classes = allowed.classes.iter().map(|c| Term::from_field_bytes(f.class, c));
                let may = unscored(Box::new(TermSetQuery::new(classes)));
                Box::new(BooleanQuery::new(vec![(Occur::Must, found), (Occur::Must, may)]))
            };
            let (best, count) = rank::best(&searcher, &filtered, &f.raising(&query.root), limit)?;
            total += count;
            for (score, at) in best {
                let (record, version) = index.read(&searcher, at)?;
                all.push(Match { record, version, score });
            }
        }
        // What is equal stays in the order of the indexes, which is the same for every page.
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        all.truncate(limit);
        Ok((all, total))
    }
}

impl Index {
    fn open(directory: SealedDirectory) -> Result<Index, SearchError> {
        let (schema, fields) = Fields::schema();
        let index = if tantivy::Index::exists(&directory).map_err(tantivy::TantivyError::from)? {
            tantivy::Index::open(directory)?
        } else {
            tantivy::Index::create(directory, schema.clone(), IndexSettings::default())?
        };
        if index.schema() != schema {
            return Err(SearchError::Damaged("another schema"));
        }
        register(&index);
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let writer = index.writer_with_num_threads(1, WRITER_BYTES)?;
        let mut merges = LogMergePolicy::default();
        merges.set_min_layer_size(SMALL_DOCUMENTS);
        writer.set_merge_policy(Box::new(merges));
        Ok(Index { fields, reader, writer: Mutex::new(writer) })
    }

    fn classes(&self, searcher: &Searcher) -> Result<BTreeSet<Vec<u8>>, SearchError> {
        let io = |source| SearchError::Io { step: "read an index", source };
        let mut all = BTreeSet::new();
        for segment in searcher.segment_readers() {
            let inverted = segment.inverted_index(self.fields.class)?;
            let mut terms = inverted.terms().stream().map_err(io)?;
            while terms.advance() {
                all.insert(terms.key().to_vec());
            }
        }
        Ok(all)
    }

    fn writer(&self) -> MutexGuard<'_, IndexWriter> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, record: &RecordId) -> Result<bool, SearchError> {
        let term = Term::from_field_bytes(self.fields.record, record.as_bytes());
        Ok(self.reader.searcher().doc_freq(&term)? > 0)
    }

    fn read(&self, searcher: &Searcher, at: DocAddress) -> Result<(RecordId, u32), SearchError> {
        let doc: TantivyDocument = searcher.doc(at)?;
        let record = doc.get_first(self.fields.record).and_then(|v| v.as_bytes().map(<[u8]>::to_vec));
        let record: Option<[u8; 16]> = record.and_then(|b| b.try_into().ok());
        let version = doc.get_first(self.fields.version).and_then(|v| v.as_u64()).and_then(|v| u32::try_from(v).ok());
        match (record, version) {
            (Some(record), Some(version)) => Ok((RecordId::from_bytes(record), version)),
            _ => Err(SearchError::Damaged("a document without its record")),
        }
    }
}

impl Fields {
    fn schema() -> (Schema, Fields) {
        let mut b = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(TERMS)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let text = TextOptions::default().set_indexing_options(indexing);
        let frequencies =
            TextFieldIndexing::default().set_tokenizer(WORDS).set_index_option(IndexRecordOption::WithFreqs);
        let fields = Fields {
            record: b.add_bytes_field("record", INDEXED | STORED),
            version: b.add_u64_field("version", STORED),
            class: b.add_bytes_field("class", INDEXED),
            origin: b.add_bytes_field("origin", INDEXED),
            kind: b.add_bytes_field("kind", INDEXED),
            refs: b.add_bytes_field("refs", INDEXED),
            issued: b.add_u64_field("issued", INDEXED | FAST),
            text: b.add_text_field("text", text),
            words: b.add_text_field("words", TextOptions::default().set_indexing_options(frequencies)),
        };
        (b.build(), fields)
    }

    fn document(&self, d: &Document) -> TantivyDocument {
        let mut doc = TantivyDocument::default();
        doc.add_bytes(self.record, d.record.as_bytes());
        doc.add_u64(self.version, u64::from(d.version));
        doc.add_bytes(self.class, &d.class);
        doc.add_bytes(self.origin, d.origin.as_str().as_bytes());
        doc.add_bytes(self.kind, d.kind.as_str().as_bytes());
        for r in &d.references {
            doc.add_bytes(self.refs, r.as_str().as_bytes());
        }
        doc.add_u64(self.issued, d.issued.0);
        // A title is text like any other, that weighs more. No phrase is found across the end of one.
        for _ in 0..TITLE_TIMES {
            doc.add_text(self.text, &d.title);
            doc.add_text(self.words, &d.title);
        }
        doc.add_text(self.text, &d.body);
        doc.add_text(self.words, &d.body);
        doc
    }

    fn compile(&self, node: &Node) -> Result<Dyn, SearchError> {
        let exact = |field: Field, value: &str| -> Dyn {
            unscored(Box::new(TermQuery::new(
                Term::from_field_bytes(field, value.as_bytes()),
                IndexRecordOption::Basic,
            )))
        };
        Ok(match node {
            Node::Text(text) => self.found(text)?,
            Node::Kind(k) => exact(self.kind, k.as_str()),
            Node::Origin(a) => exact(self.origin, a.as_str()),
            Node::Ref(r) => exact(self.refs, r.as_str()),
            Node::Since(t) => {
                let from = Bound::Included(Term::from_field_u64(self.issued, t.0));
                unscored(Box::new(RangeQuery::new(from, Bound::Unbounded)))
            }
            Node::Or(some) => {
                Box::new(BooleanQuery::union(some.iter().map(|n| self.compile(n)).collect::<Result<_, _>>()?))
            }
            Node::And(every) => {
                let mut clauses = Vec::with_capacity(every.len() + 1);
                for n in every {
                    clauses.push(match n {
                        Node::Not(n) => (Occur::MustNot, self.compile(n)?),
                        n => (Occur::Must, self.compile(n)?),
                    });
                }
                Box::new(BooleanQuery::new(with_all(clauses)))
            }
            Node::Not(n) => Box::new(BooleanQuery::new(with_all(vec![(Occur::MustNot, self.compile(n)?)]))),
        })
    }

    /// Finds a text by its characters at their places.
    fn found(&self, text: &str) -> Result<Dyn, SearchError> {
        Ok(match asked(text) {
            // Every bigram that begins with the character, or the character at the end of a run.
            Asked::Single(c) => Box::new(RegexQuery::from_pattern(&format!("{c}.*"), self.text)?),
            Asked::Terms(terms) => match terms.as_slice() {
                [] => Box::new(EmptyQuery),
                [(_, only)] => {
                    let option = IndexRecordOption::WithFreqs;
                    Box::new(TermQuery::new(Term::from_field_text(self.text, only), option))
                }
                many => {
                    let terms = many.iter().map(|(at, t)| (*at, Term::from_field_text(self.text, t))).collect();
                    Box::new(PhraseQuery::new_with_offset(terms))
                }
            },
        })
    }

    /// What raises a match: the words of what is looked for, where they are words and not characters across the borders of others.
    fn raising(&self, node: &Node) -> BTreeSet<Term> {
        match node {
            Node::Text(text) => words(text).iter().map(|w| Term::from_field_text(self.words, w)).collect(),
            Node::And(all) | Node::Or(all) => all.iter().flat_map(|n| self.raising(n)).collect(),
            Node::Kind(_) | Node::Origin(_) | Node::Since(_) | Node::Ref(_) | Node::Not(_) => BTreeSet::new(),
        }
    }
}

/// Excluding needs something to exclude from.
fn with_all(mut clauses: Vec<(Occur, Dyn)>) -> Vec<(Occur, Dyn)> {
    if clauses.iter().all(|(o, _)| *o == Occur::MustNot) {
        clauses.push((Occur::Must, unscored(Box::new(AllQuery))));
    }
    clauses
}

fn unscored(query: Dyn) -> Dyn {
    Box::new(ConstScoreQuery::new(query, 0.0))
}
