//! What a node is by its own files: key ring, certificate, data folder, first people; and what genesis and ledger say of it.

use super::lock::check_owner;
use super::system::SystemEntropy;
use crate::config::{FirstPerson, NodeConfig, read_genesis, read_text};
use crate::domain::fault::Fault;
use crate::domain::ids::NodeId;
use crate::domain::label::Grade;
use crate::domain::time::{Entropy, Millis};
use crate::identity::{Directory, Person, SpiffeName, authority_of, certificate_facts, is_dev};
use crate::ledger::{Genesis, State, node_id};
use crate::seal::KeyRing;
use crate::search::Indexes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The key ring, opened with the passphrase that the configuration names.
pub(super) fn open_ring(config: &NodeConfig) -> Result<KeyRing, Fault> {
    let hint = "`credential:` is what systemd hands to the unit; where it did not start this process, give a file";
    let is_credential = config.passphrase.to_string_lossy().starts_with("credential:");
    let unreadable = |fault: Fault| if is_credential { fault.hint(hint) } else { fault };
    let passphrase = zeroize::Zeroizing::new(read_text(&config.passphrase).map_err(unreadable)?);
    let bytes = std::fs::read(&config.keyring)
        .map_err(|e| Fault::usage("UNREADABLE_FILE", format!("cannot read `{}`: {e}", config.keyring.display())))?;
    Ok(KeyRing::open_file(&bytes, passphrase.trim_end().as_bytes())?)
}

/// One index for each grade up to the ceiling, under a key of its own; and the grades that were begun anew.
pub(super) fn open_indexes(config: &NodeConfig, ring: &KeyRing) -> Result<(Arc<Indexes>, Vec<Grade>), Fault> {
    let grades = Grade::ALL.into_iter().filter(|g| *g <= ring.ceiling());
    let keys = grades.map(|g| (g, *ring.derive(&format!("search-index/{g}")))).collect();
    let (indexes, anew) = Indexes::open(&config.data.join("search"), keys, Box::new(SystemEntropy))?;
    Ok((Arc::new(indexes), anew))
}

/// What a start would check of genesis, key ring and certificate, without starting; until when the certificate is valid.
pub fn check_config(config: &NodeConfig) -> Result<Millis, Fault> {
    let genesis = read_genesis(&config.genesis)?.verified()?;
    check_own(config, &genesis, &open_ring(config)?)?;
    Ok(certificate_facts(&read_text(&config.cert)?)?.not_after)
}

/// Whether a start would refuse the data folder as another node's or federation's.
pub fn check_data(config: &NodeConfig) -> Result<(), Fault> {
    let genesis = read_genesis(&config.genesis)?.verified()?;
    check_owner(&config.data, node_id(&config.agency, &config.node), &genesis.fingerprint())
}

/// The genesis, the certificate and the key ring must name the same node and key.
pub(super) fn check_own(config: &NodeConfig, genesis: &Genesis, ring: &KeyRing) -> Result<(), Fault> {
    let wrong = |m: &str| Err(Fault::usage("BAD_CONFIG", m.to_owned()));
    // Agencies that were admitted and nodes that were added stand on the ledger alone, which is not there at a first start.
    let own = genesis.founders.iter().find(|d| d.agency == config.agency);
    let entry = own.and_then(|d| d.nodes.iter().find(|n| n.local == config.node));
    let (key, facts) = (ring.signing_key()?.public(), certificate_facts(&read_text(&config.cert)?)?);
    if *key.as_bytes() != facts.public_key || entry.is_some_and(|n| n.key != key) {
        return wrong("key ring, certificate and genesis do not hold the same key for this node");
    }
    let name = SpiffeName::node(&config.agency, &genesis.federation, &config.node)?;
    if facts.spiffe != Some(name) {
        return wrong("`cert` is of another node, agency or federation");
    }
    // Whether the federation takes this authority is the ledger's to say: it may be another one than that of the genesis by now.
    let ca = certificate_facts(&read_text(&config.ca)?)?;
    if authority_of(&ca.der)? != (config.agency.clone(), genesis.federation.clone()) {
        return wrong("`ca` is not an authority of this agency in this federation");
    }
    if !config.dev && (is_dev(&ca.der) || genesis.founders.iter().any(|d| is_dev(&d.root))) {
        return wrong("the genesis names a development authority, which only `hufu demo` may use");
    }
    Ok(())
}

/// What the ledger says of this node, as far as it is known here.
pub(super) fn check_known(state: &State, node: NodeId, ring: &KeyRing) -> Result<(), Fault> {
    if state.retired(node).is_some() {
        return Err(removed());
    }
    let key = ring.signing_key()?.public();
    if state.node(node).is_some_and(|n| n.key != key) {
        return Err(Fault::usage("BAD_CONFIG", "the ledger holds another key for this node"));
    }
    Ok(())
}

/// The own authority must be one of those that the ledger, or a charter ahead of it, names for this agency.
pub(super) fn check_authority(named: &BTreeSet<Vec<u8>>, ca: &[u8]) -> Result<(), Fault> {
    if named.contains(ca) {
        return Ok(());
    }
    let why = "`ca` is none of the authorities that the ledger, as far as it is known here, names for this agency";
    Err(Fault::usage("BAD_CONFIG", why)
        .hint("`hufu federation show` tells which; a node that was away needs a `charter`"))
}

/// Enters the first people of the agency into an empty directory.
pub(super) async fn first_people(
    config: &NodeConfig,
    directory: &Directory,
    entropy: &mut dyn Entropy,
) -> Result<(), Fault> {
    let Some(file) = config.first_people.as_ref().filter(|_| directory.list().is_empty()) else { return Ok(()) };
    let first: Vec<FirstPerson> = serde_json::from_str(&read_text(file)?)
        .map_err(|e| Fault::usage("BAD_CONFIG", format!("`{}`: {e}", file.display())))?;
    for p in first {
        let facts = certificate_facts(&p.certificate)?;
        let mut salt = [0; 32];
        entropy.fill(&mut salt);
        let person = Person {
            name: p.name,
            handle: p.handle,
            title: p.title,
            unit: String::new(),
            roles: p.roles,
            clearance: p.clearance,
            compartments: p.compartments,
            public_key: facts.public_key,
            serial: facts.serial,
            suspended: false,
            version: 1,
            salt,
        };
        directory.put(person, 0).await?;
    }
    Ok(())
}

/// What a node is told that takes part no more.
pub(super) fn removed() -> Fault {
    Fault::refused("NODE_REMOVED", "this node was removed from the federation; its number is never used again")
        .hint("its agency makes another one with `hufu agency add-node`")
}
