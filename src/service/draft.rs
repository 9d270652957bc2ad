//! What is to be published, checked: label, agreement, meta; one draft for each audience class (P10).

use super::core::Core;
use super::door::Caller;
use super::federation::unknown_agency;
use super::publish::{PortionAsk, PublishAsk, Target};
use crate::domain::agreement::Terms;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, Handle};
use crate::domain::label::{Caveat, Grade, Label, Period};
use crate::domain::limits;
use crate::domain::person::Role;
use crate::domain::record::Meta;
use crate::domain::time::Millis;
use crate::ledger::{GuideState, State};
use crate::seal::digest;
use crate::vault::{Draft, Proposal, Stand, VaultError};
use std::collections::{BTreeMap, BTreeSet};

/// Longest title that a lower class gets from its text, in characters.
const PORTION_TITLE_CHARS: usize = 80;

/// The parts of what is to be published.
pub(super) struct Drafts {
    /// One for each audience class: lower classes highest first, then the record's own.
    pub(super) drafts: Vec<Draft>,
    /// No marking guide covers all of them: a classifier is to decide.
    pub(super) proposed: bool,
}

/// The idempotency key of a request's lower part.
pub(super) fn part_request(request: &[u8; 32], grade: Grade) -> [u8; 32] {
    digest("hufu.publish-part", &[request, grade.as_str().as_bytes()])
}

impl Core {
    /// One draft for each audience class (P10): those of the lower classes, highest first, then the record's own,
    /// which names them.
    pub(super) fn drafts(
        &self,
        state: &State,
        caller: &Caller,
        ask: PublishAsk,
        target: &Target,
        now: Millis,
    ) -> Result<Drafts, Fault> {
        check_text(&ask)?;
        // Before any guide is looked for: none would help who is not cleared.
        let clearance = caller.person().clearance;
        if ask.grade > clearance {
            return Err(Fault::refused("ABOVE_CLEARANCE", format!("the grade is above your clearance, {clearance}"))
                .hint("somebody cleared for it publishes it"));
        }
        if ask.retain_until.is_some_and(|until| until <= now) {
            return Err(Fault::usage("BAD_DATE", "the end of retention is over already"));
        }
        self.check_named(state, &ask)?;
        let (own, mut lower) = classes(ask, now)?;
        if let Some(amends) = &target.amends {
            amends.keep_scopes(&mut lower);
        }
        let mut proposed = false;
        for class in lower.iter().chain([&own]).filter(|c| c.grade > Grade::Internal) {
            // An agreement that is not there, or does not cover it, is told as that: no guide would help.
            self.terms(state, class, now)?;
            proposed |= !self.is_guided(state, caller, class, now);
        }
        let mut drafts = Vec::with_capacity(lower.len() + 1);
        for ask in lower {
            let request = part_request(&target.request, ask.grade);
            // A part that an earlier attempt of the same request journaled; what was proposed then is a part of what is not.
            let known =
                self.vault.by_request(&request).filter(|(r, v)| !proposed && self.vault.proposal(r, *v).is_none());
            let next = target.amends.as_ref().and_then(|a| a.next_of(ask.grade));
            let (record, version) = known.or(next).unwrap_or_else(|| (self.new_record(), 1));
            let part = Target { record, version, request, content: None, amends: target.amends.clone() };
            drafts.push(self.draft(state, caller, ask, &part, now)?);
        }
        let mut own = self.draft(state, caller, own, target, now)?;
        own.lower = drafts.iter().map(|d| (d.record, d.version)).collect();
        drafts.push(own);
        if let Some(amends) = &target.amends {
            amends.check(&drafts)?;
        }
        if proposed {
            let author = caller.person().handle;
            self.check_proposable(target, author)?;
            for draft in &mut drafts {
                let whole = (draft.record, draft.version) == (target.record, target.version);
                let stand = if whole { Stand::Waiting } else { Stand::PartOf(target.record, target.version) };
                draft.proposal = Some(Proposal { author, stand });
            }
        }
        Ok(Drafts { drafts, proposed })
    }

    /// An import waits for nobody: its source would be taken for known before anybody decided. Nor does an amendment: what is
    /// turned down would keep the number of its version, and no other one could come in its place.
    fn check_proposable(&self, target: &Target, author: Handle) -> Result<(), Fault> {
        let hint = match (&target.amends, target.content) {
            (Some(_), _) => {
                Some("a classifier runs `hufu guide sign`; an amendment cannot be proposed in this version")
            }
            (None, Some(_)) => {
                Some("a classifier runs `hufu guide sign`; a single record can be proposed with `hufu record publish`")
            }
            (None, None) => None,
        };
        if let Some(hint) = hint {
            let why = "no classifier's marking guide covers this: two persons mark a state secret";
            return Err(Fault::refused("NO_GUIDE", why).hint(hint));
        }
        // The intake asks again, one proposal after the other; this one keeps lower parts from being written for nothing.
        if !self.vault.may_propose(author) {
            return Err(VaultError::Crowded.into());
        }
        Ok(())
    }

    /// Whoever is named by hand may hold at least the lowest portion.
    fn check_named(&self, state: &State, ask: &PublishAsk) -> Result<(), Fault> {
        let lowest = ask.portions.iter().map(|p| p.grade).fold(ask.grade, Grade::min);
        let may_hold = |a: &AgencyId| state.agency(a).is_none_or(|s| s.may_hold(lowest, &ask.compartments));
        match ask.release.iter().find(|a| !may_hold(a)) {
            None => Ok(()),
            Some(a) => Err(Fault::refused(
                "ABOVE_CEILING",
                format!("the systems of `{a}` may not hold this grade with these compartments"),
            )),
        }
    }

    /// Label, agreement and meta, each checked; errors say which rule and what would do. Texts are checked by
    /// [`Core::drafts`].
    pub(super) fn draft(
        &self,
        state: &State,
        caller: &Caller,
        ask: PublishAsk,
        target: &Target,
        now: Millis,
    ) -> Result<Draft, Fault> {
        let agency = state
            .agency(&self.agency)
            .ok_or_else(|| Fault::internal("INTERNAL", "the own agency is not on the ledger"))?;
        if !agency.may_hold(ask.grade, &ask.compartments) {
            let up_to = agency.ceiling();
            return Err(Fault::refused(
                "ABOVE_CEILING",
                format!("your agency's systems hold up to {up_to} and only their own compartments"),
            ));
        }
        let authority = agency.tier().marking_authority();
        if ask.grade > authority {
            return Err(Fault::refused(
                "MARKING_AUTHORITY",
                format!("a {} agency marks up to {authority}", agency.tier()),
            ));
        }
        let terms = self.terms(state, &ask, now)?;
        let release = self.release(state, terms, &ask)?;
        let period = self.period(terms, &ask, now)?;
        if ask.caveats.contains(&Caveat::TwoHalves) || ask.grade == Grade::TopSecret && !release.is_empty() {
            return Err(Fault::refused(
                "NOT_SUPPORTED",
                "合符 two-halves release is not available yet, and 绝密 (top-secret) is not shared without it",
            )
            .hint("without --agreement and that caveat it stays with your own agency"));
        }
        if ask.kind.needs_retention() && ask.retain_until.is_none() {
            return Err(Fault::usage(
                "RETENTION_NEEDED",
                format!("a record of kind `{}` gives its own retention date", ask.kind),
            )
            .hint("add --retain-until DATE"));
        }
        let label = Label {
            originator: self.agency.clone(),
            grade: ask.grade,
            compartments: ask.compartments,
            release,
            caveats: ask.caveats,
            period,
        };
        let meta = Meta {
            title: ask.title,
            kind: ask.kind,
            // The period runs from the first version's issue: an amendment neither shortens nor prolongs it.
            issued: target.amends.as_ref().map_or(now, |a| a.issued),
            references: ask.references,
            reliability: ask.reliability,
            credibility: ask.credibility,
            legal_basis: if ask.legal_basis.is_empty() {
                terms.map(|t| t.legal_basis.clone()).unwrap_or_default()
            } else {
                ask.legal_basis
            },
            retain_until: ask.retain_until.or_else(|| terms.map(|t| now.plus_years(t.retention_years))),
            author: caller.person().name.clone(),
        };
        let agreement = terms.map(|t| (t.id.clone(), t.version));
        let Target { record, version, request, content, .. } = *target;
        let texts = match ask.coming {
            0 => std::iter::once(ask.body).chain(ask.portions.into_iter().map(|p| p.text)).collect(),
            _ => Vec::new(),
        };
        Ok(Draft {
            record,
            version,
            label,
            agreement,
            meta,
            texts,
            lower: Vec::new(),
            request: Some(request),
            content,
            proposal: None,
        })
    }

    fn terms<'a>(&self, state: &'a State, ask: &PublishAsk, now: Millis) -> Result<Option<&'a Terms>, Fault> {
        let Some(id) = &ask.agreement else { return Ok(None) };
        let found = state.agreement_now(id, now).filter(|a| a.terms.parties.contains(&self.agency));
        let terms = found.map(|a| &a.terms).ok_or_else(|| {
            Fault::refused("UNKNOWN_AGREEMENT", format!("no agreement `{id}` in force names your agency"))
                .hint("see `hufu agreement list`")
        })?;
        terms.cover(ask.kind, ask.grade, &ask.compartments, now)?;
        if !terms.may_publish(&self.agency) {
            return Err(Fault::refused("OUTSIDE_AGREEMENT", format!("your agency does not publish under `{id}`"))
                .hint("`hufu agreement show` says who does"));
        }
        Ok(Some(terms))
    }

    fn release(&self, state: &State, terms: Option<&Terms>, ask: &PublishAsk) -> Result<BTreeSet<AgencyId>, Fault> {
        let parties: BTreeSet<AgencyId> = terms.map(|t| t.parties.clone()).unwrap_or_default();
        for a in &ask.release {
            if state.agency(a).is_none() {
                return Err(unknown_agency(a));
            }
            if !state.stands(a) {
                return Err(suspended(a));
            }
            // Without an agreement it stays here, and may say so.
            if !parties.contains(a) && (terms.is_some() || *a != self.agency) {
                return Err(Fault::refused("NOT_A_PARTY", format!("`{a}` is not a party of the agreement"))
                    .hint("--release only narrows the agreement's parties"));
            }
        }
        let chosen = if ask.release.is_empty() { &parties } else { &ask.release };
        let release: BTreeSet<AgencyId> = chosen.iter().filter(|a| **a != self.agency).cloned().collect();
        // An agency whose systems cannot hold this label, or which is suspended, is left out, though the agreement names it.
        let may_hold =
            |a: &AgencyId| state.stands(a) && state.agency(a).is_some_and(|s| s.may_hold(ask.grade, &ask.compartments));
        Ok(release.into_iter().filter(may_hold).collect())
    }

    fn period(&self, terms: Option<&Terms>, ask: &PublishAsk, now: Millis) -> Result<Option<Period>, Fault> {
        let default = match (ask.grade.max_years(), terms) {
            (None, _) => None,
            (Some(max), Some(t)) => Some(Period::Years(t.default_period_years.min(max))),
            (Some(_), None) => None,
        };
        let period = ask.period.clone().or(default);
        match &period {
            Some(p) => p.check(ask.grade, now)?,
            None if ask.grade > Grade::Internal => {
                return Err(Fault::usage(
                    "PERIOD_EMPTY",
                    format!("{} ({}) needs a classification period", ask.grade.zh(), ask.grade),
                )
                .hint("add --period YEARS, --until DATE or --condition TEXT, or an agreement with a default"));
            }
            None => {}
        }
        Ok(period)
    }

    /// Whether two persons mark it (SSL §16): the author, and a classifier by a standing guide. What stays in the own agency
    /// goes less far than any agreement, so a guide for sharing covers it too.
    fn is_guided(&self, state: &State, caller: &Caller, ask: &PublishAsk, now: Millis) -> bool {
        let covers = |g: &GuideState| {
            ask.agreement.as_ref().is_none_or(|a| *a == g.guide.agreement) && g.guide.kinds.contains(&ask.kind)
        };
        let mut covering = self.guides(state, ask.grade, now).filter(|g| covers(g));
        // The same person is not two: under an own guide alone another classifier decides.
        covering.any(|g| g.by != caller.person().handle)
    }

    /// Marking guides of the own agency for a grade that stand now: those of classifiers who still are.
    pub(super) fn guides<'a>(
        &'a self,
        state: &'a State,
        grade: Grade,
        now: Millis,
    ) -> impl Iterator<Item = &'a GuideState> {
        let classifier =
            |g: &GuideState| state.authority(&self.agency, g.by).is_some_and(|a| a.roles.contains(&Role::Classifier));
        state.guides().map(|(_, g)| g).filter(move |g| {
            g.ended.is_none()
                && g.guide.agency == self.agency
                && g.guide.grade >= grade
                && now < g.guide.until
                && classifier(g)
        })
    }
}

/// Nothing new goes to an agency that is suspended (P2).
pub(super) fn suspended(agency: &AgencyId) -> Fault {
    Fault::refused("AGENCY_SUSPENDED", format!("`{agency}` is suspended from the federation"))
        .hint("`hufu federation show` says who stands")
}

/// The asks of a record's classes: its own with the texts of its own grade, and one for each lower grade, highest
/// first. A lower one carries nothing of the higher but the sharing: its title is its own first line.
fn classes(mut ask: PublishAsk, now: Millis) -> Result<(PublishAsk, Vec<PublishAsk>), Fault> {
    let mut by_grade: BTreeMap<Grade, Vec<PortionAsk>> = BTreeMap::new();
    for portion in std::mem::take(&mut ask.portions) {
        if portion.grade > ask.grade {
            return Err(Fault::usage(
                "PORTION_ABOVE_RECORD",
                format!("a portion is {} and the record {}", portion.grade, ask.grade),
            )
            .hint("--grade is the grade of the whole record: that of its highest portion"));
        }
        by_grade.entry(portion.grade).or_default().push(portion);
    }
    ask.portions = by_grade.remove(&ask.grade).unwrap_or_default();
    let mut lower = Vec::with_capacity(by_grade.len());
    for (grade, texts) in by_grade.into_iter().rev() {
        let mut texts = texts.into_iter();
        let Some(first) = texts.next() else { continue };
        let part = PublishAsk {
            title: title_of(&first.text),
            body: first.text,
            coming: 0,
            portions: texts.collect(),
            grade,
            period: ask.period.as_ref().and_then(|p| p.within(grade, now)),
            references: Vec::new(),
            reliability: None,
            credibility: None,
            ..ask.clone()
        };
        check_text(&part)?;
        lower.push(part);
    }
    Ok((ask, lower))
}

/// The first line with text, without the mark of a heading.
fn title_of(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().map(|l| l.trim().trim_start_matches('#').trim()).find(|l| !l.is_empty());
    line.unwrap_or_default().chars().take(PORTION_TITLE_CHARS).collect()
}

fn check_text(ask: &PublishAsk) -> Result<(), Fault> {
    let title = ask.title.chars().count();
    if ask.title.trim().is_empty() || title > limits::TITLE_CHARS {
        return Err(Fault::usage("BAD_TITLE", format!("a title has 1 to {} characters", limits::TITLE_CHARS)));
    }
    match ask.coming {
        0 => check_body(&ask.body)?,
        _ if !ask.body.is_empty() || !ask.portions.is_empty() => {
            let why = "a body in pieces comes without further texts";
            return Err(Fault::usage("TOO_MANY_PORTIONS", why).hint("publish the portions as records of their own"));
        }
        bytes if bytes > limits::TEXT_BYTES => {
            let why = format!("the body has {bytes} bytes; the limit is {} (16 MiB)", limits::TEXT_BYTES);
            return Err(Fault::usage("BODY_TOO_LARGE", why));
        }
        _ => {}
    }
    if let Some(large) = ask.portions.iter().find(|p| p.text.len() > limits::BODY_BYTES) {
        let (bytes, most) = (large.text.len(), limits::BODY_BYTES);
        return Err(Fault::usage(
            "BODY_TOO_LARGE",
            format!("a portion has {bytes} bytes; the limit is {most} (1 MiB)"),
        )
        .hint("publish it as a record of its own: its body may have up to 16 MiB"));
    }
    ask.portions.iter().try_for_each(|p| check_body(&p.text))?;
    let size = ask.portions.iter().fold(ask.body.len(), |n, p| n.saturating_add(p.text.len()));
    if size > limits::BODY_BYTES {
        return Err(Fault::usage(
            "BODY_TOO_LARGE",
            format!("the texts have {size} bytes together; the limit is {} (1 MiB)", limits::BODY_BYTES),
        ));
    }
    // Beside the meta portion and the body.
    if ask.portions.len() > limits::PORTIONS - 2 {
        return Err(Fault::usage("TOO_MANY_PORTIONS", format!("at most {} portions", limits::PORTIONS - 2)));
    }
    if ask.references.len() > limits::REFERENCES {
        return Err(Fault::usage("BAD_REFERENCE", format!("at most {} references", limits::REFERENCES)));
    }
    if ask.compartments.len() > limits::COMPARTMENTS {
        return Err(Fault::usage("BAD_COMPARTMENT", format!("at most {} compartments", limits::COMPARTMENTS)));
    }
    Ok(())
}

fn check_body(text: &[u8]) -> Result<(), Fault> {
    match std::str::from_utf8(text) {
        Ok(t) if !t.trim().is_empty() => Ok(()),
        Ok(_) => Err(Fault::usage("BAD_BODY", "a text is empty")),
        Err(_) => Err(Fault::usage("BAD_BODY", "a text is not UTF-8")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::publish::{Patience, Wait};
    use super::*;
    use crate::domain::record::Kind;
    use std::time::Duration;

    fn ask(portions: Vec<(Grade, &str)>) -> PublishAsk {
        PublishAsk {
            title: "七号柜".into(),
            body: "线人称".into(),
            coming: 0,
            portions: portions.into_iter().map(|(grade, t)| PortionAsk { grade, text: t.into() }).collect(),
            grade: Grade::Secret,
            compartments: BTreeSet::new(),
            agreement: None,
            release: BTreeSet::new(),
            kind: Kind::Report,
            period: Some(Period::Years(20)),
            references: vec!["phone:13800000000".parse().unwrap()],
            reliability: Some('B'),
            credibility: Some(2),
            legal_basis: String::new(),
            retain_until: None,
            caveats: [Caveat::Orcon].into(),
            patience: Patience { wait: Wait::None, wait_for: Duration::ZERO, timeout: Duration::ZERO },
            request_id: [0; 16],
        }
    }

    #[test]
    fn texts_of_one_grade_share_a_class_and_lower_ones_carry_nothing_of_the_higher() {
        let texts = vec![
            (Grade::Internal, "\n## 提示 \n正文"),
            (Grade::Secret, "二"),
            (Grade::Confidential, "三"),
            (Grade::Internal, "四"),
        ];
        let (own, lower) = classes(ask(texts), Millis(0)).unwrap();
        assert_eq!((own.title.as_str(), own.portions.len(), own.references.len()), ("七号柜", 1, 1));
        let seen: Vec<_> = lower.iter().map(|a| (a.grade, a.title.as_str(), a.portions.len())).collect();
        assert_eq!(seen, [(Grade::Confidential, "三", 0), (Grade::Internal, "提示", 1)]);
        assert_eq!(lower[0].period, Some(Period::Years(10)), "as long as its grade may last");
        assert_eq!(lower[1].period, None);
        for a in &lower {
            assert!(a.references.is_empty() && a.reliability.is_none() && a.credibility.is_none());
            assert_eq!(a.caveats, own.caveats);
            assert_eq!(a.compartments, own.compartments);
        }
    }

    #[test]
    fn a_portion_above_the_record_is_refused() {
        let refused = classes(ask(vec![(Grade::TopSecret, "一")]), Millis(0));
        assert_eq!(refused.err().unwrap().reason, "PORTION_ABOVE_RECORD");
    }

    #[test]
    fn what_is_too_large_is_named() {
        let refused = |ask: &PublishAsk| check_text(ask).unwrap_err();
        let text = "x".repeat(limits::BODY_BYTES);
        let more = format!("{text}x");
        let portion = refused(&ask(vec![(Grade::Internal, more.as_str())]));
        assert!(portion.reason == "BODY_TOO_LARGE" && portion.message.starts_with("a portion has 1048577 bytes"));
        let together = refused(&ask(vec![(Grade::Internal, text.as_str())]));
        assert!(together.message.contains("together"), "{together:?}");
        let coming = |bytes: usize, portions: Vec<(Grade, &str)>| PublishAsk {
            body: Vec::new(),
            coming: bytes,
            ..ask(portions)
        };
        assert_eq!(check_text(&coming(limits::TEXT_BYTES, Vec::new())), Ok(()));
        assert_eq!(refused(&coming(limits::TEXT_BYTES + 1, Vec::new())).reason, "BODY_TOO_LARGE");
        assert_eq!(refused(&coming(1, vec![(Grade::Internal, "x")])).reason, "TOO_MANY_PORTIONS");
    }

    #[test]
    fn a_title_is_the_first_line_with_text_cut_short() {
        assert_eq!(title_of("\n \n### 题\n文".as_bytes()), "题");
        assert_eq!(title_of("长".repeat(500).as_bytes()).chars().count(), PORTION_TITLE_CHARS);
    }
}
