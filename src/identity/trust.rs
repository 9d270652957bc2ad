//! The roots of each agency, one or two while it exchanges them, the list of what was revoked under them, and the nodes that were
//! removed.

use super::crl::RevocationList;
use super::error::IdentityError;
use super::facts::{Facts, certificate_facts_der};
use super::name::{SpiffeName, Subject};
use super::peer::VerifiedPeer;
use crate::domain::ids::AgencyId;
use crate::domain::time::Millis;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

/// The roots in force, shared: a change through one handle is seen by all at the next handshake.
#[derive(Debug, Clone, Default)]
pub struct TrustRoots(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    roots: BTreeMap<AgencyId, Vec<Root>>,
    /// Agencies whose certificates count only with a list; none while there is no list of theirs.
    lists: BTreeMap<AgencyId, Option<Arc<RevocationList>>>,
    /// Local ids of nodes that take part no more, whoever vouches for them.
    removed: BTreeMap<AgencyId, BTreeSet<String>>,
}

/// A root of an agency, and the check of a chain under it with the agency's list. It is made once for all handshakes: a list
/// is long, and strangers cause handshakes.
#[derive(Debug, Clone)]
pub(super) struct Root {
    der: Arc<[u8]>,
    /// The key with which it signs.
    pub(super) key: [u8; 32],
    pub(super) store: Arc<RootCertStore>,
    pub(super) chain: Arc<dyn ClientCertVerifier>,
}

/// Why a certificate of an agency is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// The agency has no root here: it is none of the federation, or suspended.
    NoRoot,
    /// The agency has a root here, and another one vouched for the certificate: it was exchanged.
    OtherRoot,
    /// The certificate stands in the agency's list.
    Revoked,
    /// It is of a node that was removed from the federation.
    Removed,
    /// The agency must have a list, and none could be taken.
    NoList,
    /// The agency's list is over, and no newer one is here.
    ListExpired {
        /// Since when.
        since: Millis,
    },
}

impl TrustRoots {
    /// No agency is trusted.
    pub fn new() -> TrustRoots {
        TrustRoots::default()
    }

    /// Sets an agency's only root (DER of its authority). Bytes that are no certificate of an authority are refused.
    pub fn set(&self, agency: AgencyId, root: &[u8]) -> Result<(), IdentityError> {
        self.set_all(agency, std::iter::once(root))
    }

    /// Sets an agency's roots, any of which may vouch for a certificate: all of them, or none when one is refused.
    pub fn set_all<'a>(
        &self,
        agency: AgencyId,
        roots: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), IdentityError> {
        let mut state = self.write();
        let list = state.list(&agency);
        let roots = roots.into_iter().map(|root| Root::new(root.into(), list)).collect::<Result<Vec<_>, _>>()?;
        state.roots.insert(agency, roots);
        Ok(())
    }

    /// Trusts an agency no longer. What is known of its list stays.
    pub fn remove(&self, agency: &AgencyId) {
        self.write().roots.remove(agency);
    }

    /// From now on no certificate of this node counts, and none does again: its id is never used again.
    pub fn remove_node(&self, agency: &AgencyId, node: &str) {
        self.write().removed.entry(agency.clone()).or_default().insert(node.to_owned());
    }

    /// Whether an agency has a root here.
    pub fn trusts(&self, agency: &AgencyId) -> bool {
        self.read(|s| s.roots.contains_key(agency))
    }

    /// The roots of an agency; empty when it has none.
    pub fn roots_of(&self, agency: &AgencyId) -> BTreeSet<Vec<u8>> {
        self.read(|s| s.roots.get(agency).into_iter().flatten().map(|r| r.der.to_vec()).collect())
    }

    /// From now on an agency's certificates count only with a list of its authority: until there is one, none of them does.
    pub fn require_list(&self, agency: &AgencyId) {
        self.write().lists.entry(agency.clone()).or_default();
    }

    /// Puts an agency's list in force; false when it is the one in force already.
    ///
    /// # Errors
    /// When it does not follow the one in force, or cannot be used; that one stays then.
    pub fn set_list(&self, agency: &AgencyId, list: RevocationList) -> Result<bool, IdentityError> {
        let list = Arc::new(list);
        let mut state = self.write();
        if let Some(last) = state.list(agency)
            && !list.follows(last)?
        {
            return Ok(false);
        }
        let roots = state.under(agency, Some(&list))?;
        state.lists.insert(agency.clone(), Some(list));
        if let Some(roots) = roots {
            state.roots.insert(agency.clone(), roots);
        }
        Ok(true)
    }

    /// An agency's certificates count without a list again.
    pub fn drop_list(&self, agency: &AgencyId) -> Result<(), IdentityError> {
        let mut state = self.write();
        let roots = state.under(agency, None)?;
        state.lists.remove(agency);
        if let Some(roots) = roots {
            state.roots.insert(agency.clone(), roots);
        }
        Ok(())
    }

    /// The list of an agency in force.
    pub fn list_of(&self, agency: &AgencyId) -> Option<Arc<RevocationList>> {
        self.read(|s| s.list(agency).cloned())
    }

    /// Whether a certificate that an agency's root vouches for counts at this time; `serial` as in [`Facts`](super::Facts).
    pub fn check(&self, agency: &AgencyId, serial: &str, now: Millis) -> Result<(), Distrust> {
        self.read(|s| s.vouching(agency, serial, now).map(|_| ()))
    }

    /// Whether a peer that passed a handshake would pass another at this time.
    pub fn check_peer(&self, peer: &VerifiedPeer, now: Millis) -> Result<(), Distrust> {
        if self.is_removed(peer.name()) {
            return Err(Distrust::Removed);
        }
        self.read(|s| {
            let roots = s.vouching(peer.agency(), peer.serial(), now)?;
            let vouched = roots.iter().any(|root| peer.is_vouched_for_by(&root.key));
            if vouched { Ok(()) } else { Err(Distrust::OtherRoot) }
        })
    }

    /// Whether this is a node that was removed.
    pub(super) fn is_removed(&self, name: &SpiffeName) -> bool {
        let Subject::Node(id) = name.subject() else { return false };
        self.read(|s| s.removed.get(name.agency()).is_some_and(|ids| ids.contains(id)))
    }

    /// The roots that may vouch for a certificate.
    pub(super) fn vouching(&self, agency: &AgencyId, serial: &str, now: Millis) -> Result<Vec<Root>, Distrust> {
        self.read(|s| s.vouching(agency, serial, now).map(<[Root]>::to_vec))
    }

    // No change stops half-way, so a poisoned lock still guards a whole value.
    fn read<T>(&self, f: impl FnOnce(&State) -> T) -> T {
        f(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn list(&self, agency: &AgencyId) -> Option<&Arc<RevocationList>> {
        self.lists.get(agency).and_then(Option::as_ref)
    }

    /// The roots of an agency as they would be with this list.
    fn under(&self, agency: &AgencyId, list: Option<&Arc<RevocationList>>) -> Result<Option<Vec<Root>>, IdentityError> {
        let Some(roots) = self.roots.get(agency) else { return Ok(None) };
        roots.iter().map(|r| Root::new(Arc::clone(&r.der), list)).collect::<Result<_, _>>().map(Some)
    }

    fn vouching(&self, agency: &AgencyId, serial: &str, now: Millis) -> Result<&[Root], Distrust> {
        let roots = self.roots.get(agency).map(Vec::as_slice).ok_or(Distrust::NoRoot)?;
        match self.lists.get(agency) {
            None => Ok(roots),
            Some(None) => Err(Distrust::NoList),
            Some(Some(list)) if list.revokes(serial) => Err(Distrust::Revoked),
            Some(Some(list)) if now >= list.next_update() => Err(Distrust::ListExpired { since: list.next_update() }),
            Some(Some(_)) => Ok(roots),
        }
    }
}

impl Root {
    /// The list of an agency counts under each of its roots, by the serial numbers in it; rustls holds it against a chain under the
    /// root that signed it.
    fn new(der: Arc<[u8]>, list: Option<&Arc<RevocationList>>) -> Result<Root, IdentityError> {
        let Facts { spiffe, public_key: key, .. } = certificate_facts_der(&der)?;
        if spiffe.is_some() {
            return Err(IdentityError::Certificate("it is not that of an authority"));
        }
        let mut store = RootCertStore::empty();
        store.add(CertificateDer::from(&*der))?;
        let store = Arc::new(store);
        let mut chain = WebPkiClientVerifier::builder_with_provider(Arc::clone(&store), Arc::new(default_provider()));
        if let Some(list) = list.filter(|list| list.is_signed_by(&key)) {
            let list = CertificateRevocationListDer::from(list.der().to_vec());
            chain = chain.with_crls([list]).enforce_revocation_expiration();
        }
        let chain = chain.build().map_err(|_| IdentityError::List("rustls cannot use it"))?;
        Ok(Root { der, key, store, chain })
    }
}
