//! Searching: what a person may see is decided before, inside and after the index; what is shown is audited.

use super::core::Core;
use super::door::{Act, Caller};
use super::federation::unknown_agency;
use super::records::check_purpose;
use crate::audit::{Action as AuditAction, DISCLOSED, Decision as Verdict, Object, Stage};
use crate::domain::canon::{CanonError, Reader, Writer};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, AgreementId, RecordId};
use crate::domain::label::{Grade, Label};
use crate::domain::limits;
use crate::domain::record::Kind;
use crate::domain::reserve::Work;
use crate::domain::time::Millis;
use crate::ledger::{AgencyState, Folds, State};
use crate::policy::{Action, Resource};
use crate::seal::hmac;
use crate::search::{Allowed, Document, Match, Query, quietly};
use crate::vault::{Card, Facts, Held, is_covered};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most lines of one answer.
pub const SEARCH_MOST: usize = 200;
/// Most hits that may be passed over: whoever wants more narrows the query.
const OFFSET_MOST: usize = 10_000;
/// So many matches more than are shown are looked at: the index may be behind, and a newer version may not match.
const SPARE: usize = 16;
/// While there are too few that the person may see, the matches are looked at so often, each time so many times more of them.
const LOOKS: u32 = 3;
const WIDER: usize = 4;
/// Most documents of one commit of the index: each commit costs files, syncs and later merges, and has one event that names them all.
const INDEX_BATCH: usize = DISCLOSED;
/// Most bytes of one commit of the index, beside those of its last document, as they are held and as they are opened: all of them
/// are in memory at a time.
const INDEX_BATCH_BYTES: usize = 32 << 20;
/// What is looked for.
pub struct SearchAsk {
    /// The query.
    pub query: String,
    /// Only this grade.
    pub grade: Option<Grade>,
    /// Only this kind.
    pub kind: Option<Kind>,
    /// Only of this originator.
    pub origin: Option<AgencyId>,
    /// Only what was issued since.
    pub since: Option<Millis>,
    /// So many of the best are passed over.
    pub offset: usize,
    /// Most lines.
    pub limit: usize,
    /// 查阅事由.
    pub purpose: String,
}

/// One hit as the person may see it.
pub struct Hit {
    /// Record.
    pub record: RecordId,
    /// Version.
    pub version: u32,
    /// Label.
    pub label: Label,
    /// Title.
    pub title: String,
    /// Some text around the match.
    pub snippet: String,
}

/// What was found.
pub struct Found {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Everything that matches and that the person may see.
    pub total: u64,
}

/// Where the indexer stands.
#[derive(Default)]
pub struct Indexing {
    cursor: usize,
    pending: BTreeSet<RecordId>,
    /// A version of them is not committed yet: looked at again in the next round.
    waiting: BTreeSet<RecordId>,
    /// They are withheld: looked at again when that may have changed.
    withheld: BTreeSet<RecordId>,
    /// What was withheld by: the version of the own agency's ceiling, and whether this node's state is in doubt.
    withheld_by: Option<(Option<u32>, bool)>,
    indexed: Option<BTreeMap<RecordId, u32>>,
    /// How far folding was in the last round.
    folds: Folds,
}

impl Core {
    /// Searches for a person. One intent names every record that is shown; originators are told of each snippet.
    pub async fn search(&self, caller: &Caller, ask: SearchAsk) -> Result<Found, Fault> {
        check_purpose(&ask.purpose)?;
        if ask.offset > OFFSET_MOST {
            return Err(Fault::usage("BAD_QUERY", "at most 10000 hits are passed over").hint("narrow the query"));
        }
        let query = query(&ask)?;
        let overall = self.decide(caller, Action::RecordSearch, Resource::None, &ask.purpose, true);
        let state = self.state();
        if let Some(unknown) = ask.origin.as_ref().filter(|a| state.agency(a).is_none()) {
            return Err(unknown_agency(unknown));
        }
        let (visible, total) =
            if overall.is_allow() { self.visible(caller, &state, &query, &ask).await? } else { Default::default() };
        let mut shown = Vec::new();
        // What is passed over is not opened. A record that does not open is missing on its page: the doctor's matter, not a reason
        // to find nothing.
        for card in visible.into_iter().skip(ask.offset) {
            shown.extend(self.load(&card).ok());
        }
        let hash = hmac(&self.pseudonym_key, "hufu.search-query", &[query.canonical().as_bytes()]);
        let intent = Act {
            action: Action::RecordSearch,
            audit: AuditAction::Search,
            object: Object::Query { hash, disclosed: shown.iter().map(|h| (h.record(), h.version())).collect() },
            label: None,
            purpose: &ask.purpose,
            origin: None,
            request: self.random(),
        };
        let receipt = self.log(caller, &intent, Stage::Intent, &overall).await?;
        if let Some(fault) = overall.fault() {
            return Err(fault);
        }
        let mut hits = Vec::with_capacity(shown.len());
        let mut by_origin: BTreeMap<AgencyId, Vec<(RecordId, u32)>> = BTreeMap::new();
        for held in shown {
            // The match may be in any of its texts, as far as they are indexed.
            let Some(disclosed) = self.shown(&held, &receipt, limits::INDEXED_BYTES) else { continue };
            let texts: Vec<_> = disclosed.portions.iter().map(|p| String::from_utf8_lossy(&p.text)).collect();
            let snippet = query.snippet(&texts.join("\n"));
            let (record, version) = (held.record(), held.version());
            by_origin.entry(held.label.originator.clone()).or_default().push((record, version));
            hits.push(Hit { record, version, label: held.label, title: disclosed.meta.title, snippet });
        }
        self.tell_shown(caller, &intent, by_origin, &overall).await?;
        Ok(Found { hits, total })
    }

    /// Cards of the best matches that the person may see, as many as are asked for, and how many match.
    async fn visible(
        &self,
        caller: &Caller,
        state: &State,
        query: &Query,
        ask: &SearchAsk,
    ) -> Result<(Vec<Card>, u64), Fault> {
        let allowed = Allowed { classes: self.allowed_classes(caller, state, &ask.purpose)?, grade: ask.grade };
        let (allowed, wanted) = (Arc::new(allowed), ask.offset.saturating_add(ask.limit.clamp(1, SEARCH_MOST)));
        let (mut most, mut looks) = (wanted.saturating_add(SPARE), 1);
        loop {
            let (indexes, query, allowed) = (Arc::clone(&self.indexes), query.clone(), Arc::clone(&allowed));
            let (matches, total) = tokio::task::spawn_blocking(move || indexes.query(&query, &allowed, most))
                .await
                .map_err(|e| Fault::internal("INTERNAL", e.to_string()))??;
            let (visible, hidden) = self.shown_of(caller, state, &matches, &ask.purpose, wanted);
            if visible.len() >= wanted || matches.len() < most || looks >= LOOKS {
                // Those that were not looked at are of allowed classes too.
                return Ok((visible, total.saturating_sub(hidden) as u64));
            }
            (most, looks) = (most.saturating_mul(WIDER), looks + 1);
        }
    }

    /// Cards of the first `wanted` of those matches that are shown to the person, and how many of these matches are not.
    fn shown_of(
        &self,
        caller: &Caller,
        state: &State,
        matches: &[Match],
        purpose: &str,
        wanted: usize,
    ) -> (Vec<Card>, usize) {
        // One decision for each label and agreement; the facts are shared, so their address names them.
        let mut decided: BTreeMap<*const Facts, bool> = BTreeMap::new();
        first_shown(matches, wanted, |m| {
            let card = self.find(state, &m.record, 0).filter(|c| c.version == m.version)?;
            let may = *decided
                .entry(Arc::as_ptr(&card.facts))
                .or_insert_with(|| self.may(caller, Action::RecordSearch, &card, purpose).is_allow());
            may.then_some(card)
        })
    }

    /// Classes of which the person may see what the index has. A class is all that [`Core::may`] decides by, so the index
    /// counts nothing that would be denied one by one.
    fn allowed_classes(&self, caller: &Caller, state: &State, purpose: &str) -> Result<BTreeSet<Vec<u8>>, Fault> {
        let (mut allowed, now) = (BTreeSet::new(), self.clock.now());
        for class in self.indexes.classes()? {
            let Ok((label, agreement)) = read_class(&class) else { continue };
            let covered = is_covered(&label, agreement.as_ref(), state, (&self.agency, now));
            let resource = Resource::Record { own: label.originator == self.agency, label };
            if self.decide(caller, Action::RecordSearch, resource, purpose, covered).is_allow() {
                allowed.insert(class);
            }
        }
        Ok(allowed)
    }

    /// Indexes what was taken in and committed since the last call, a batch at most. True if there may be more.
    /// Crash story: before the commit of the index nothing is in it and the next start finds what is missing;
    /// after it, adding the same again leaves one.
    pub async fn index_some(&self, indexing: &mut Indexing) -> Result<bool, Fault> {
        let state = self.state();
        let known = match indexing.indexed.take() {
            Some(known) => known,
            None => self.indexes.indexed()?,
        };
        let known = self.follow_ceiling(indexing, known, &state).await?;
        let known = indexing.indexed.insert(known);
        // What cannot be found yet can be opened: the index follows when there is room.
        if self.disk.check(Work::Content).is_err() {
            return Ok(false);
        }
        let (arrived, cursor) = self.vault.arrived_since(indexing.cursor);
        indexing.cursor = cursor;
        indexing.pending.extend(arrived);
        let state = self.state();
        // A record of which something folded is looked at again: the index may have what nobody is shown any more.
        let before = std::mem::replace(&mut indexing.folds, state.folds());
        match before.gone(&state) {
            Some(gone) => indexing.pending.extend(gone.map(|(record, _)| *record)),
            None => indexing.pending.extend(known.keys().copied()),
        }
        let looked: Vec<RecordId> = std::iter::from_fn(|| indexing.pending.pop_first()).take(INDEX_BATCH).collect();
        let mut more = !indexing.pending.is_empty();
        if !more {
            indexing.pending.append(&mut indexing.waiting);
        }
        let (mut batch, mut folded, mut bytes) = (Vec::<Held>::new(), Vec::new(), 0usize);
        // Objects are read and opened here; the other tasks of this thread go elsewhere meanwhile.
        tokio::task::block_in_place(|| {
            quietly(|| {
                for record in looked {
                    // What has no room in this batch comes with the next one.
                    if bytes >= INDEX_BATCH_BYTES {
                        indexing.pending.insert(record);
                        more = true;
                        continue;
                    }
                    // Looked at again in the next round, whatever earlier version stands meanwhile.
                    if self.vault.awaits_commitment(&state, &record) {
                        indexing.waiting.insert(record);
                    }
                    match self.vault.card(&state, &record, 0) {
                        // Not asked again before the next start: its bytes do not get better by themselves.
                        Err(error) => {
                            tracing::error!(%record, %error, "a held object does not verify; it is not indexed")
                        }
                        Ok(Some(card)) if known.get(&record).is_none_or(|v| *v < card.version) => {
                            // No text is opened here that the agency's systems may not hold now.
                            if self.withholds(&Resource::Record { label: card.facts.label.clone(), own: false }) {
                                indexing.withheld.insert(record);
                            } else if let Ok(held) = self.load(&card) {
                                let text = held.sealed_bytes().min(limits::INDEXED_BYTES);
                                bytes = bytes.saturating_add(held.bytes_in_memory()).saturating_add(text);
                                batch.push(held);
                            }
                        }
                        Ok(None) if known.get(&record).is_some_and(|v| state.is_folded(&record, *v)) => {
                            folded.push(record);
                        }
                        // Known already, or no copy is here that the ledger commits to; a good one arrives anew.
                        Ok(_) => {}
                    }
                }
            })
        });
        if !folded.is_empty() {
            folded.iter().for_each(|record| _ = known.remove(record));
            let indexes = Arc::clone(&self.indexes);
            tokio::task::spawn_blocking(move || indexes.remove(&folded))
                .await
                .map_err(|e| Fault::internal("INTERNAL", e.to_string()))??;
        }
        if batch.is_empty() {
            return Ok(more);
        }
        let named: Vec<(RecordId, u32)> = batch.iter().map(|h| (h.record(), h.version())).collect();
        let object = Object::Query { hash: [0; 32], disclosed: named.clone() };
        let receipt = self.log_node(AuditAction::Index, &self.agency, object, Verdict::Allow, "index").await?;
        let mut documents = Vec::with_capacity(batch.len());
        for held in &batch {
            match self.vault.text_for_index(held, &receipt) {
                Ok(text) => documents.push(self.document(held, text)),
                // One originator's bad text must not keep the others' out; it is not asked again before the next start.
                Err(error) => {
                    tracing::error!(record = %held.record(), %error, "a held text does not open");
                    self.vault.refuse_held(&state, held, &error);
                }
            }
        }
        let indexes = Arc::clone(&self.indexes);
        tokio::task::spawn_blocking(move || indexes.add(&documents))
            .await
            .map_err(|e| Fault::internal("INTERNAL", e.to_string()))??;
        known.extend(named);
        Ok(more)
    }

    /// Takes out of the indexes what is above the own agency's ceiling, where that may have changed since the last look, and looks
    /// at what was withheld again. The first look of a start finds what a stop left. Answers what is indexed after it.
    async fn follow_ceiling(
        &self,
        indexing: &mut Indexing,
        known: BTreeMap<RecordId, u32>,
        state: &State,
    ) -> Result<BTreeMap<RecordId, u32>, Fault> {
        let own = state.agency(&self.agency);
        let by = (own.map(AgencyState::bounds_version), self.cluster.has_diverged());
        if indexing.withheld_by == Some(by) {
            return Ok(known);
        }
        let mut left = known;
        let above = above(self.indexes.classes()?, own);
        if !above.is_empty() {
            let indexes = Arc::clone(&self.indexes);
            tokio::task::spawn_blocking(move || indexes.remove_classes(&above))
                .await
                .map_err(|e| Fault::internal("INTERNAL", e.to_string()))??;
            let before = std::mem::replace(&mut left, self.indexes.indexed()?);
            indexing.withheld.extend(before.into_keys().filter(|record| !left.contains_key(record)));
        }
        indexing.pending.append(&mut indexing.withheld);
        indexing.withheld_by = Some(by);
        Ok(left)
    }

    fn document(&self, held: &crate::vault::Held, text: crate::vault::Disclosed) -> Document {
        let label = &held.label;
        // What is the own agency's needs no agreement here.
        let agreement = held.agreement().filter(|_| label.originator != self.agency);
        let mut class = Writer::bare();
        class.value(label).option(agreement, |w, id| {
            w.value(id);
        });
        let body: Vec<String> = text.portions.iter().map(|p| String::from_utf8_lossy(&p.text).into_owned()).collect();
        Document {
            record: held.record(),
            version: held.version(),
            grade: label.grade,
            class: class.finish(),
            origin: label.originator.clone(),
            kind: text.meta.kind,
            issued: text.meta.issued,
            references: text.meta.references,
            title: text.meta.title,
            body: body.join("\n"),
        }
    }
}

/// The first `wanted` of these matches that are shown, and how many of them are not: those behind the last one that is wanted, too. A
/// total that had them would tell that there is something, such as an earlier version of what is marked higher now. Of what ranks
/// lower than these matches the index's count stands.
fn first_shown<M, T>(matches: &[M], wanted: usize, mut shows: impl FnMut(&M) -> Option<T>) -> (Vec<T>, usize) {
    let (mut shown, mut hidden) = (Vec::new(), 0);
    for m in matches {
        match shows(m) {
            Some(one) if shown.len() < wanted => shown.push(one),
            Some(_) => {}
            None => hidden += 1,
        }
    }
    (shown, hidden)
}

fn query(ask: &SearchAsk) -> Result<Query, Fault> {
    let mut query = Query::parse(&ask.query)?;
    if let Some(kind) = ask.kind {
        query = query.kind(kind);
    }
    if let Some(origin) = &ask.origin {
        query = query.origin(origin.clone());
    }
    if let Some(since) = ask.since {
        query = query.since(since);
    }
    Ok(query)
}

/// Classes of which the own agency's systems may hold nothing now.
fn above(mut classes: BTreeSet<Vec<u8>>, own: Option<&AgencyState>) -> BTreeSet<Vec<u8>> {
    let holds = |label: &Label| own.is_some_and(|a| a.may_hold(label.grade, &label.compartments));
    classes.retain(|class| read_class(class).is_ok_and(|(label, _)| !holds(&label)));
    classes
}

fn read_class(class: &[u8]) -> Result<(Label, Option<AgreementId>), CanonError> {
    let mut r = Reader::bare(class);
    let read = (r.value()?, r.option(Reader::value)?);
    r.finish()?;
    Ok(read)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::label::Compartment;
    use crate::ledger::fixture::{federation, with_ceiling};

    fn class(grade: Grade, compartments: &[&str]) -> Vec<u8> {
        let label = Label {
            originator: "police".parse().unwrap(),
            grade,
            compartments: compartments.iter().map(|c| c.parse::<Compartment>().unwrap()).collect(),
            release: BTreeSet::new(),
            caveats: BTreeSet::new(),
            period: None,
        };
        let mut w = Writer::bare();
        w.value(&label).option(None::<&AgreementId>, |w, id| {
            w.value(id);
        });
        w.finish()
    }

    #[test]
    fn what_is_looked_at_and_not_shown_counts_on_no_page() {
        let even = |n: &u8| n.is_multiple_of(2).then_some(*n);
        for (wanted, shown) in [(1, vec![2]), (2, vec![2, 4]), (9, vec![2, 4, 6])] {
            assert_eq!(first_shown(&[1, 2, 3, 4, 5, 6, 7], wanted, even), (shown, 4));
        }
    }

    #[test]
    fn what_is_above_the_ceiling_of_now_is_taken_out() {
        let f = federation();
        let high = State::genesis(&f.genesis).unwrap();
        let low = with_ceiling(&high, &f.third.id, Grade::Confidential);
        let plain = Grade::ALL.map(|grade| class(grade, &[]));
        let inside = class(Grade::Internal, &["border-ops"]);
        let [_, _, secret, top] = plain.clone();
        let all: BTreeSet<Vec<u8>> = plain.into_iter().chain([inside.clone()]).collect();
        assert_eq!(above(all.clone(), high.agency(&f.third.id)), [top.clone(), inside.clone()].into());
        assert_eq!(above(all.clone(), low.agency(&f.third.id)), [secret, top, inside].into());
        assert_eq!(above(all.clone(), None), all, "nobody knows it");
    }
}
