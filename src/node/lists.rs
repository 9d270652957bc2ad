//! Agencies' revocation lists: from the files of the configuration into the trust roots.
//!
//! A list comes as a file that an operator puts there, from whatever channel; its authority's signature is what counts. The
//! newest one that this node took is also kept in its data folder: no older one is taken after a restart either, and a file
//! that is lost or spoilt later leaves in force what was known. That ends when the list is over: then nobody of the agency is
//! taken until there is a newer one.
//!
//! An agency's authority may be exchanged while its newest list is of the one before. So the authorities that an agency had are
//! kept beside the copy: by any of them a copy is read, and what it says is what a list of the new one must follow. A list that
//! comes as a file is taken from an authority of now alone.
//!
//! Whose list it must be says the genesis, and of agencies that were admitted later the ledger, or a charter until then. Of
//! an agency that nobody knows yet no certificate is taken either: its list is read as soon as it is known.

use crate::audit::{Action as AuditAction, Decision as Verdict, Object};
use crate::config::{NodeConfig, Secrecy, read_charter, read_genesis, read_text, write_file};
use crate::domain::canon::{CanonError, Reader, Writer};
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::domain::time::Millis;
use crate::identity::{IdentityError, RevocationList, TrustRoots, authorities, certificate_facts};
use crate::ledger::Genesis;
use crate::service::Core;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest file of a list: some 50,000 certificates.
const FILE_BYTES: u64 = 4 << 20;
/// The authorities beside the copy of a list.
const ROOTS: &str = "hufu.crl-roots";
/// Most of them, and the longest.
const KEPT_ROOTS: usize = 1_024;
const ROOT_BYTES: usize = 8_192;

/// Something that the node's log and the audit log are told.
pub(super) struct Told {
    pub(super) action: AuditAction,
    pub(super) agency: AgencyId,
    pub(super) verdict: Verdict,
    pub(super) rule: &'static str,
    pub(super) what: String,
}

impl Told {
    fn of_list(agency: &AgencyId, verdict: Verdict, rule: &'static str, what: String) -> Told {
        Told { action: AuditAction::Key, agency: agency.clone(), verdict, rule, what }
    }

    /// Tells it.
    pub(super) async fn tell(self, core: &Core) {
        let Told { action, agency, verdict, rule, what } = self;
        match verdict {
            Verdict::Allow => tracing::info!(%agency, rule, "{what}"),
            Verdict::Deny => tracing::error!(%agency, rule, "{what}"),
        }
        let object = Object::Text(what.chars().take(200).collect());
        if let Err(error) = core.log_node(action, &agency, object, verdict, rule).await {
            tracing::error!(%error, rule, "a change of trust or configuration could not be audited");
        }
    }
}

/// Where lists come from and go to.
pub(super) struct Lists {
    authorities: BTreeMap<AgencyId, BTreeSet<Vec<u8>>>,
    /// Authorities that were an agency's before, by which only a copy is read.
    former: BTreeMap<AgencyId, BTreeSet<Vec<u8>>>,
    roots: TrustRoots,
    copies: PathBuf,
}

impl Lists {
    pub(super) fn new(genesis: &Genesis, data: &Path, roots: TrustRoots) -> Lists {
        let authorities = genesis.founders.iter().map(|d| (d.agency.clone(), [d.root.clone()].into())).collect();
        Lists { authorities, former: BTreeMap::new(), roots, copies: data.join("crl") }
    }

    /// An authority that was an agency's at some time.
    pub(super) fn remember(&mut self, agency: &AgencyId, root: &[u8]) {
        self.former.entry(agency.clone()).or_default().insert(root.to_vec());
    }

    /// Takes the authorities of agencies up; answers whose authorities were not known before, or are others now.
    pub(super) fn learn<'a>(
        &mut self,
        agencies: impl Iterator<Item = (&'a AgencyId, &'a BTreeSet<Vec<u8>>)>,
    ) -> BTreeSet<AgencyId> {
        let mut new = BTreeSet::new();
        for (agency, roots) in agencies {
            if self.authorities.get(agency) != Some(roots) {
                let before = self.authorities.insert(agency.clone(), roots.clone()).unwrap_or_default();
                self.former.entry(agency.clone()).or_default().extend(before);
                new.insert(agency.clone());
            }
        }
        new
    }

    /// Whether an agency's authority is known.
    pub(super) fn knows(&self, agency: &AgencyId) -> bool {
        self.authorities.contains_key(agency)
    }

    /// Agencies whose certificates count without a list by this configuration.
    pub(super) fn without(&self, config: &NodeConfig) -> Vec<AgencyId> {
        self.authorities.keys().filter(|a| !config.crl.contains_key(*a)).cloned().collect()
    }

    /// At the start: from here on the agency needs a list. The one of before is in force first, then the file is read.
    pub(super) fn begin(&self, agency: &AgencyId, file: &Path, now: Millis) -> Vec<Told> {
        self.roots.require_list(agency);
        let mut told = Vec::new();
        match self.copy(agency) {
            Ok(Some(list)) => told.extend(self.force(agency, list, now)),
            Ok(None) => {}
            // Without it nobody knows which list would be older. Nobody of the agency is taken.
            Err(why) => return vec![refused(agency, &why)],
        }
        told.extend(self.read(agency, file, now));
        if self.roots.list_of(agency).is_none() {
            let what = format!("{agency} has no revocation list in force: none of its certificates is taken");
            told.push(Told::of_list(agency, Verdict::Deny, "no-crl", what));
        }
        told
    }

    /// Reads a file again and puts a newer list in force. What cannot be taken leaves the one of before.
    pub(super) fn read(&self, agency: &AgencyId, file: &Path, now: Millis) -> Option<Told> {
        match self.candidate(agency, file) {
            Ok(Some(list)) => self.force(agency, list, now),
            Ok(None) => None,
            Err(why) => Some(refused(agency, &why)),
        }
    }

    /// The list of a file, if it would change what is in force.
    pub(super) fn candidate(&self, agency: &AgencyId, file: &Path) -> Result<Option<RevocationList>, String> {
        let authorities = self.authorities(agency)?;
        let in_force = self.roots.list_of(agency);
        let last = match &in_force {
            Some(list) => Some(Arc::clone(list)),
            None => self.copy(agency)?.map(Arc::new),
        };
        let text = short_text(file)?;
        let list = by_any(authorities, |root| RevocationList::from_pem(&text, root))
            .and_then(|list| Ok((last.map_or(Ok(true), |l| list.follows(&l))?, list)));
        let (newer, list) = list.map_err(|e| format!("{e} (`{}`)", file.display()))?;
        Ok((newer || in_force.is_none()).then_some(list))
    }

    /// Puts a list in force that was a candidate.
    pub(super) fn force(&self, agency: &AgencyId, list: RevocationList, now: Millis) -> Option<Told> {
        let (number, revoked, until) = (list.number(), list.revoked().len(), list.next_update());
        let der = list.der().to_vec();
        match self.roots.set_list(agency, list) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(refused(agency, &error.to_string())),
        }
        // In force before it is kept: a disk that is full delays no revocation. The authorities come first: a copy that none of
        // them signed could not be read.
        let kept = self.keep_roots(agency).and_then(|()| write_file(&self.copy_of(agency), &der, Secrecy::Private));
        if let Err(error) = kept {
            tracing::error!(%agency, %error, "a revocation list is in force and could not be kept for the next start");
        }
        let what = format!("revocation list {number} of {agency}: {revoked} revoked, until {}", until.to_rfc3339());
        if until <= now {
            let what = format!("{what}; it is over: none of the agency's certificates is taken");
            return Some(Told::of_list(agency, Verdict::Deny, "crl-expired", what));
        }
        Some(Told::of_list(agency, Verdict::Allow, "crl-accepted", what))
    }

    /// The agency's certificates count without a list again.
    pub(super) fn give_up(&self, agency: &AgencyId) -> Told {
        let what = match self.roots.drop_list(agency) {
            Ok(()) => format!("{agency} needs no revocation list any more"),
            Err(error) => return refused(agency, &error.to_string()),
        };
        Told::of_list(agency, Verdict::Allow, "crl-dropped", what)
    }

    /// What to tell of a list that has come to its end.
    pub(super) fn over(&self, agency: &AgencyId, now: Millis) -> Option<Told> {
        let list = self.roots.list_of(agency).filter(|l| l.next_update() <= now)?;
        let since = list.next_update().to_rfc3339();
        let what = format!("the revocation list of {agency} is over since {since}: none of its certificates is taken");
        Some(Told::of_list(agency, Verdict::Deny, "crl-expired", what))
    }

    /// The newest list that was taken before.
    fn copy(&self, agency: &AgencyId) -> Result<Option<RevocationList>, String> {
        let file = self.copy_of(agency);
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(format!("`{}`: {e}", file.display())),
        };
        self.authorities(agency)?;
        let list = by_any(&self.ever(agency), |root| RevocationList::from_der(&bytes, root));
        list.map(Some)
            .map_err(|e| format!("`{}` is damaged: {e}; if it is moved away, any list is taken", file.display()))
    }

    fn copy_of(&self, agency: &AgencyId) -> PathBuf {
        self.copies.join(format!("{agency}.der"))
    }

    fn roots_of(&self, agency: &AgencyId) -> PathBuf {
        self.copies.join(format!("{agency}.roots"))
    }

    /// Every authority that is known to have been the agency's.
    fn ever(&self, agency: &AgencyId) -> BTreeSet<Vec<u8>> {
        let known = [&self.authorities, &self.former].into_iter().filter_map(|of| of.get(agency)).flatten().cloned();
        known.chain(self.kept_roots(agency)).collect()
    }

    /// Those beside the copy. Of a file that is damaged there are none: then the copy may be one that nobody signed.
    fn kept_roots(&self, agency: &AgencyId) -> BTreeSet<Vec<u8>> {
        let read = |bytes: &[u8]| -> Result<BTreeSet<Vec<u8>>, CanonError> {
            let mut r = Reader::new(bytes, ROOTS, 1)?;
            let roots = r.list(KEPT_ROOTS, |r| Ok(r.bytes(ROOT_BYTES)?.to_vec()))?;
            r.finish()?;
            Ok(roots.into_iter().collect())
        };
        std::fs::read(self.roots_of(agency)).ok().and_then(|bytes| read(&bytes).ok()).unwrap_or_default()
    }

    fn keep_roots(&self, agency: &AgencyId) -> Result<(), Fault> {
        let ever = self.ever(agency);
        if ever == self.kept_roots(agency) {
            return Ok(());
        }
        let mut w = Writer::new(ROOTS, 1);
        w.list(ever.iter(), |w, root| {
            w.bytes(root);
        });
        write_file(&self.roots_of(agency), &w.finish(), Secrecy::Private)
    }

    fn authorities(&self, agency: &AgencyId) -> Result<&BTreeSet<Vec<u8>>, String> {
        self.authorities.get(agency).ok_or_else(|| format!("`{agency}` is not an agency of this federation"))
    }
}

/// A list that one of an agency's authorities signed.
fn by_any(
    roots: &BTreeSet<Vec<u8>>,
    read: impl Fn(&[u8]) -> Result<RevocationList, IdentityError>,
) -> Result<RevocationList, IdentityError> {
    let mut last = Err(IdentityError::List("its agency has no authority"));
    for root in roots {
        last = read(root);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// The state of an agency's list, as a start would find it in the file.
pub struct ListState {
    /// The agency.
    pub agency: AgencyId,
    /// Whether the genesis or the charter names it; if not, only a running node knows its authority.
    pub known: bool,
    /// Until when the list counts; none without a list in the configuration.
    pub until: Result<Option<Millis>, Fault>,
    /// Whether the node's own certificate stands in it.
    pub revokes_own: bool,
}

/// The lists of a configuration, one state for each agency that it, the genesis or the charter names.
pub fn check_lists(config: &NodeConfig) -> Result<Vec<ListState>, Fault> {
    let genesis = read_genesis(&config.genesis)?.verified()?;
    let charter = config.charter.as_ref().map(|file| read_charter(file)).transpose()?;
    let own = certificate_facts(&read_text(&config.cert)?)?.serial;
    let mut roots: BTreeMap<&AgencyId, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for (agency, root) in charter.iter().flat_map(|c| &c.agencies) {
        roots.entry(agency).or_default().insert(root.clone());
    }
    for d in &genesis.founders {
        roots.entry(&d.agency).or_default().insert(d.root.clone());
    }
    // The own one may have been exchanged since.
    if let Some(own) = roots.get_mut(&config.agency) {
        own.extend(authorities(&read_text(&config.ca)?)?);
    }
    let named: BTreeSet<&AgencyId> = roots.keys().copied().chain(config.crl.keys()).collect();
    let state = |agency: &AgencyId| {
        let roots = roots.get(agency);
        let mut state =
            ListState { agency: agency.clone(), known: roots.is_some(), until: Ok(None), revokes_own: false };
        let (Some(roots), Some(file)) = (roots, config.crl.get(agency)) else { return state };
        let read = short_text(file)
            .map_err(|why| Fault::usage("BAD_CRL", why))
            .and_then(|text| Ok(by_any(roots, |root| RevocationList::from_pem(&text, root))?));
        state.revokes_own = *agency == config.agency && read.as_ref().is_ok_and(|l| l.revokes(&own));
        state.until = read.map(|l| Some(l.next_update()));
        state
    };
    Ok(named.into_iter().map(state).collect())
}

fn refused(agency: &AgencyId, why: &str) -> Told {
    Told::of_list(agency, Verdict::Deny, "crl-refused", format!("{agency}: {why}"))
}

fn short_text(file: &Path) -> Result<String, String> {
    let length = std::fs::metadata(file).map_err(|e| format!("`{}`: {e}", file.display()))?.len();
    if length > FILE_BYTES {
        return Err(format!("`{}` is longer than {FILE_BYTES} bytes", file.display()));
    }
    read_text(file).map_err(|f| f.message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::identity::{Authority, Distrust};

    const NOW: Millis = Millis(1_772_323_200_000);
    const DAY_MS: u64 = 86_400_000;

    struct Place {
        dir: tempfile::TempDir,
        ca: Authority,
        agency: AgencyId,
    }

    impl Place {
        fn new() -> Place {
            let agency: AgencyId = "customs".parse().unwrap();
            let ca = Authority::create(&agency, &"hufu".parse().unwrap(), "customs", NOW, false).unwrap();
            Place { dir: tempfile::tempdir().unwrap(), ca, agency }
        }

        fn file(&self) -> PathBuf {
            self.dir.path().join("crl.pem")
        }

        /// As after a start.
        fn lists(&self) -> Lists {
            let roots = TrustRoots::new();
            roots.set(self.agency.clone(), self.ca.certificate_der()).unwrap();
            let authorities = [(self.agency.clone(), [self.ca.certificate_der().to_vec()].into())].into();
            Lists { authorities, former: BTreeMap::new(), roots, copies: self.dir.path().join("data/crl") }
        }

        /// Puts a list in place of the file.
        fn write(&self, last: Option<&RevocationList>, serials: &[String]) -> RevocationList {
            let pem = self.ca.revoke(last, serials, NOW, 7).unwrap();
            std::fs::write(self.file(), &pem).unwrap();
            RevocationList::from_pem(&pem, self.ca.certificate_der()).unwrap()
        }

        fn begin(&self) -> (Lists, Vec<&'static str>) {
            let lists = self.lists();
            let rules = lists.begin(&self.agency, &self.file(), NOW).iter().map(|t| t.rule).collect();
            (lists, rules)
        }

        fn check(&self, lists: &Lists, serial: &str) -> Result<(), Distrust> {
            lists.roots.check(&self.agency, serial, NOW)
        }
    }

    #[test]
    fn what_was_revoked_stays_so_whatever_becomes_of_the_file() {
        let p = Place::new();
        let first = p.write(None, &[]);
        let old = std::fs::read(p.file()).unwrap();
        let second = p.write(Some(&first), &["4a01".into()]);
        let (lists, rules) = p.begin();
        assert_eq!((rules, p.check(&lists, "4a01")), (vec!["crl-accepted"], Err(Distrust::Revoked)));
        assert!(lists.read(&p.agency, &p.file(), NOW).is_none(), "nothing new");

        let spoilt: [Option<&[u8]>; 3] = [Some(&old), Some(b"no list"), None];
        for text in spoilt {
            match text {
                Some(text) => std::fs::write(p.file(), text).unwrap(),
                None => std::fs::remove_file(p.file()).unwrap(),
            }
            let told = lists.read(&p.agency, &p.file(), NOW).unwrap();
            assert_eq!((told.rule, told.verdict), ("crl-refused", Verdict::Deny));
            // And at the next start.
            let (again, rules) = p.begin();
            assert_eq!(rules, ["crl-accepted", "crl-refused"]);
            for lists in [&lists, &again] {
                assert_eq!(p.check(lists, "4a01"), Err(Distrust::Revoked));
                assert_eq!(p.check(lists, "4a02"), Ok(()));
            }
        }
        p.write(Some(&second), &["4a02".into()]);
        assert_eq!(lists.read(&p.agency, &p.file(), NOW).unwrap().rule, "crl-accepted");
        assert_eq!(p.check(&lists, "4a02"), Err(Distrust::Revoked));
    }

    #[test]
    fn without_any_list_nobody_is_taken() {
        let p = Place::new();
        let (lists, rules) = p.begin();
        assert_eq!((rules, p.check(&lists, "4a01")), (vec!["crl-refused", "no-crl"], Err(Distrust::NoList)));
        std::fs::write(p.file(), "no list").unwrap();
        assert_eq!(p.begin().1, ["crl-refused", "no-crl"]);
        p.write(None, &[]);
        assert_eq!(lists.read(&p.agency, &p.file(), NOW).unwrap().rule, "crl-accepted");
        assert_eq!(p.check(&lists, "4a01"), Ok(()));

        // A copy that is damaged may hide which list would be older.
        std::fs::write(lists.copy_of(&p.agency), "damaged").unwrap();
        let (lists, rules) = p.begin();
        assert_eq!((rules, p.check(&lists, "4a01")), (vec!["crl-refused"], Err(Distrust::NoList)));
    }

    /// The newest list may be of the authority before the one of now. After a start that one is not known any more.
    #[test]
    fn an_exchanged_authority_goes_on_with_the_list_of_the_one_before() {
        let mut p = Place::new();
        let first = p.write(None, &[]);
        let oldest = std::fs::read(p.file()).unwrap();
        let second = p.write(Some(&first), &["4a01".into()]);
        assert_eq!(p.begin().1, ["crl-accepted"]);
        p.ca = Authority::create(&p.agency, &"hufu".parse().unwrap(), "customs", NOW, false).unwrap();

        // The file is still that of before: what was in force stays, and nothing is taken by it.
        let (lists, rules) = p.begin();
        assert_eq!((rules, p.check(&lists, "4a01")), (vec!["crl-accepted", "crl-refused"], Err(Distrust::Revoked)));
        // An empty list of the new authority would bring back what was revoked, and so would an older one of the old.
        let lacking = p.ca.revoke(None, &[], NOW, 7).unwrap();
        for text in [lacking.as_bytes(), oldest.as_slice()] {
            std::fs::write(p.file(), text).unwrap();
            let (lists, rules) = p.begin();
            assert_eq!((rules, p.check(&lists, "4a01")), (vec!["crl-accepted", "crl-refused"], Err(Distrust::Revoked)));
            assert!(lists.candidate(&p.agency, &p.file()).is_err());
        }
        p.write(Some(&second), &["4a02".into()]);
        let (lists, rules) = p.begin();
        assert_eq!(rules, ["crl-accepted", "crl-accepted"]);
        for serial in ["4a01", "4a02"] {
            assert_eq!(p.check(&lists, serial), Err(Distrust::Revoked));
        }
        assert_eq!(p.begin().1, ["crl-accepted"], "the copy is of the new one now");

        // From before authorities were kept beside the copy: whoever knows them tells them.
        std::fs::remove_file(lists.roots_of(&p.agency)).unwrap();
        let signed = p.ca.certificate_der().to_vec();
        p.ca = Authority::create(&p.agency, &"hufu".parse().unwrap(), "customs", NOW, false).unwrap();
        assert_eq!(p.begin().1, ["crl-refused"], "as if it were damaged");
        let mut lists = p.lists();
        lists.remember(&p.agency, &signed);
        assert!(lists.copy(&p.agency).unwrap().is_some());
    }

    #[test]
    fn of_whoever_comes_later_nobody_is_taken_before_the_list_is_read() {
        let p = Place::new();
        p.write(None, &["4a01".into()]);
        let mut lists = Lists { authorities: BTreeMap::new(), ..p.lists() };
        let rules: Vec<_> = lists.begin(&p.agency, &p.file(), NOW).iter().map(|t| t.rule).collect();
        assert_eq!((rules, p.check(&lists, "4a02")), (vec!["crl-refused", "no-crl"], Err(Distrust::NoList)));
        assert!(!lists.knows(&p.agency));
        let roots = BTreeSet::from([p.ca.certificate_der().to_vec()]);
        let admitted = [(&p.agency, &roots)];
        assert_eq!(lists.learn(admitted.into_iter()), BTreeSet::from([p.agency.clone()]));
        assert!(lists.knows(&p.agency) && lists.learn(admitted.into_iter()).is_empty(), "once");
        assert_eq!(lists.read(&p.agency, &p.file(), NOW).unwrap().rule, "crl-accepted");
        assert_eq!(p.check(&lists, "4a01"), Err(Distrust::Revoked));
        assert_eq!(p.check(&lists, "4a02"), Ok(()));
    }

    #[test]
    fn the_end_of_a_list_is_told_and_giving_lists_up_forgets_no_number() {
        let p = Place::new();
        let first = p.write(None, &[]);
        let old = std::fs::read(p.file()).unwrap();
        p.write(Some(&first), &["4a01".into()]);
        let (lists, _) = p.begin();
        assert!(lists.over(&p.agency, NOW).is_none());
        assert_eq!(lists.over(&p.agency, NOW.plus_ms(7 * DAY_MS)).unwrap().rule, "crl-expired");

        assert_eq!(lists.give_up(&p.agency).rule, "crl-dropped");
        assert_eq!(p.check(&lists, "4a01"), Ok(()));
        assert!(lists.candidate(&p.agency, &p.file()).unwrap().is_some(), "the same again, when it is needed again");
        std::fs::write(p.file(), old).unwrap();
        assert!(lists.candidate(&p.agency, &p.file()).is_err());
    }
}
