//! The way back for a node whose ledger is another than the majority's (P7), or is lost: what it has is set aside, with the
//! evidence in it, and it begins anew from what the others certify.
//!
//! Safe for a node that does not vote, and for no other. Whoever votes has acknowledged entries that were committed because
//! it did, and given votes; without them others might elect somebody who lacks such an entry. Its own ledger may be
//! wrong about that, so another agency's charter says it, which people compared by voice: of one set of voters, this node
//! not among them. A node that votes is demoted first, and promoted again when it has caught up.

use super::lock::DataLock;
use crate::config::{NodeConfig, read_charter, read_genesis};
use crate::domain::fault::Fault;
use crate::domain::ids::{FederationId, NodeId};
use crate::ledger::{Charter, node_id};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What was done.
pub struct SetAside {
    /// Where the old ledger is now; none if there was none.
    pub ledger: Option<PathBuf>,
    /// Fingerprint of the charter that was believed.
    pub charter: [u8; 32],
}

/// Sets the ledger of a stopped node aside, so that its next start begins anew.
///
/// # Errors
/// A node that votes by the charter of its configuration, or is not in it; one that runs; a disk that does not do it.
pub fn rebuild(config: &NodeConfig) -> Result<SetAside, Fault> {
    let genesis = read_genesis(&config.genesis)?.verified()?;
    let file = config.charter.as_ref().ok_or_else(|| {
        Fault::usage("BAD_CONFIG", "`charter` is not set, and this node's own ledger is not to be believed")
            .hint("another agency writes one now with `hufu federation charter`; compare its fingerprint by voice")
    })?;
    let (charter, node) = (read_charter(file)?, node_id(&config.agency, &config.node));
    may_begin_anew(&charter, &genesis.federation, node)?;
    let _lock = DataLock::take(&config.data, node, &genesis.fingerprint())?;
    let ledger = set_aside(&config.data).map_err(|e| {
        let why = format!("cannot set the ledger in `{}` aside: {e}", config.data.display());
        Fault::usage("BAD_DATA_DIR", why).hint("nothing is lost; run it again")
    })?;
    Ok(SetAside { ledger, charter: charter.fingerprint() })
}

fn may_begin_anew(charter: &Charter, federation: &FederationId, node: NodeId) -> Result<(), Fault> {
    if charter.federation != *federation {
        return Err(Fault::usage("BAD_CONFIG", "`charter` is of another federation"));
    }
    if charter.node(node).is_none() {
        return Err(Fault::refused("UNKNOWN_NODE", "this node does not take part by the charter"));
    }
    let [voters] = charter.voters.as_slice() else {
        return Err(Fault::conflict("IN_PROGRESS", "the voters are just changing by the charter")
            .hint("take another charter when the change is done"));
    };
    if voters.contains(&node) {
        return Err(Fault::refused("NOT_ALLOWED", "this node votes, and what it acknowledged must not be lost")
            .hint("demote it with `hufu cluster demote`, then take another charter"));
    }
    Ok(())
}

/// The folder first, then the mark that there was one: after a crash in between the node does not start, and this goes on.
fn set_aside(data: &Path) -> io::Result<Option<PathBuf>> {
    let (ledger, mark) = (data.join("ledger"), data.join("ledger.begun"));
    let mut moved = None;
    if ledger.try_exists()? {
        let mut n = 1u32;
        let mut aside = data.join(format!("ledger.aside-{n}"));
        while aside.try_exists()? {
            n = n.saturating_add(1);
            aside = data.join(format!("ledger.aside-{n}"));
        }
        std::fs::rename(&ledger, &aside)?;
        File::open(data)?.sync_all()?;
        moved = Some(aside);
    }
    if mark.try_exists()? {
        std::fs::remove_file(&mark)?;
        File::open(data)?.sync_all()?;
    }
    Ok(moved)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::ledger::State;
    use crate::ledger::fixture::{approve, federation};

    #[test]
    fn only_who_does_not_vote_begins_anew() {
        let f = federation();
        let founded = State::genesis(&f.genesis).unwrap();
        let reason = |state: &State, node| may_begin_anew(&state.charter(7), &f.id, node).err().map(|f| f.reason);
        assert_eq!(reason(&founded, f.third.node), None);
        assert_eq!(reason(&founded, f.police.node), Some("NOT_ALLOWED"));
        assert_eq!(reason(&founded, NodeId(1)), Some("UNKNOWN_NODE"));
        let mut all = approve(&f, &founded, &[&f.police, &f.customs, &f.third]);
        all.take_voters(vec![all.voters()]);
        let mut changing = approve(&f, &all, &[&f.police, &f.third]);
        assert_eq!(reason(&changing, f.customs.node), Some("IN_PROGRESS"), "it votes until the change is done");
        changing.take_voters(vec![changing.voters()]);
        assert_eq!(reason(&changing, f.customs.node), None);
        let elsewhere = "elsewhere".parse().unwrap();
        let fault = may_begin_anew(&founded.charter(7), &elsewhere, f.third.node).unwrap_err();
        assert_eq!(fault.reason, "BAD_CONFIG");
    }

    #[test]
    fn the_old_ledger_is_kept_with_its_evidence() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let names = || {
            let mut names: Vec<String> =
                std::fs::read_dir(data).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        for n in 1..=2 {
            std::fs::create_dir_all(data.join("ledger/evidence")).unwrap();
            std::fs::write(data.join("ledger/evidence/0"), "what was sent").unwrap();
            std::fs::write(data.join("ledger.begun"), "").unwrap();
            let aside = set_aside(data).unwrap().unwrap();
            assert_eq!(aside, data.join(format!("ledger.aside-{n}")));
            assert!(aside.join("evidence/0").exists());
        }
        assert_eq!(names(), ["ledger.aside-1", "ledger.aside-2"]);
        // After a crash between the two, the mark is left alone.
        std::fs::write(data.join("ledger.begun"), "").unwrap();
        assert_eq!(set_aside(data).unwrap(), None);
        assert_eq!(names(), ["ledger.aside-1", "ledger.aside-2"]);
    }
}
