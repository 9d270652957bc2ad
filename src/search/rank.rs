//! Which of the matches are the best, in two looks.
//!
//! The first is by the characters alone, BM25 over one field: flat enough for the engine to pass over blocks of documents that cannot
//! come among the best, and counted apart, without scores. The second adds to the [`WINDOW`] best of them what the words of the
//! dictionary say. It only raises, so that what lies behind the window stays behind it; and as the window does not depend on how
//! many are asked for, a hit has one place, whichever page it is shown on.

use super::error::SearchError;
use std::collections::BTreeSet;
use tantivy::collector::{Count, TopDocs};
use tantivy::query::{EnableScoring, Query, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, DocSet as _, Searcher, Term};

/// So many of the best by characters are looked at once more.
const WINDOW: usize = 64;

/// The best `limit` of what matches, best first, each raised by the words that stand in it, with their scores; and how many match.
pub(super) fn best(
    searcher: &Searcher,
    matching: &dyn Query,
    words: &BTreeSet<Term>,
    limit: usize,
) -> Result<(Vec<(f32, DocAddress)>, usize), SearchError> {
    // The engine makes room for as many as are asked for, however few there are.
    let there = usize::try_from(searcher.num_docs()).unwrap_or(usize::MAX);
    let best = || TopDocs::with_limit(there.clamp(1, limit.max(WINDOW))).order_by_score();
    let (mut best, count) = if reads_places(matching) {
        searcher.search(matching, &(best(), Count))?
    } else {
        (searcher.search(matching, &best())?, searcher.search(matching, &Count)?)
    };
    let window = WINDOW.min(best.len());
    raise(searcher, best.get_mut(..window).unwrap_or_default(), words)?;
    best.sort_unstable_by(|(a, at), (b, bt)| b.total_cmp(a).then(at.cmp(bt)));
    best.truncate(limit);
    Ok((best, count))
}

/// Whether it looks at the places of terms, which costs more than scores do: it is asked once then.
fn reads_places(query: &dyn Query) -> bool {
    let mut found = false;
    query.query_terms(&mut |_, places| found |= places);
    found
}

/// Adds what each of the words scores in these.
fn raise(searcher: &Searcher, found: &mut [(f32, DocAddress)], words: &BTreeSet<Term>) -> Result<(), SearchError> {
    if words.is_empty() {
        return Ok(());
    }
    found.sort_unstable_by_key(|(_, at)| *at);
    for word in words {
        let query = TermQuery::new(word.clone(), IndexRecordOption::WithFreqs);
        let weight = query.weight(EnableScoring::enabled_from_searcher(searcher))?;
        for of_segment in found.chunk_by_mut(|(_, a), (_, b)| a.segment_ord == b.segment_ord) {
            let Some(segment) = of_segment.first().map(|(_, at)| searcher.segment_reader(at.segment_ord)) else {
                continue;
            };
            let mut scorer = weight.scorer(segment, 1.0)?;
            for (score, at) in of_segment {
                if scorer.doc() < at.doc_id {
                    scorer.seek(at.doc_id);
                }
                if scorer.doc() == at.doc_id {
                    *score += scorer.score();
                }
            }
        }
    }
    Ok(())
}
