//! Files that people exchange: descriptors and `genesis.json`; how texts are read and private files written.

use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::ledger::{Act, Charter, Descriptor, Genesis, SignedGenesis};
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

#[derive(Serialize, Deserialize)]
struct Container {
    format: String,
    /// Canonical bytes in base64: the truth. `summary` is for people to read, and says the same.
    content: String,
    #[serde(default)]
    summary: serde_json::Value,
}

const DESCRIPTOR: &str = "hufu-descriptor-1";
const GENESIS: &str = "hufu-genesis-1";
const NODE: &str = "hufu-node-1";
const CHARTER: &str = "hufu-charter-1";

/// Writes a descriptor.
pub fn write_descriptor(path: &Path, d: &Descriptor) -> Result<(), Fault> {
    write_container(path, DESCRIPTOR, &d.to_canon(), descriptor_summary(d))
}

fn descriptor_summary(d: &Descriptor) -> serde_json::Value {
    json!({
        "agency": d.agency, "name": d.name, "tier": d.tier, "ceiling": d.ceiling,
        "nodes": d.nodes.iter().map(|n| &n.local).collect::<Vec<_>>(),
        "officers": d.authorities.iter().map(|a| a.handle).collect::<Vec<_>>(),
    })
}

/// Reads and checks a descriptor.
pub fn read_descriptor(path: &Path) -> Result<Descriptor, Fault> {
    let (content, summary) = read_container(path, DESCRIPTOR)?;
    let d = Descriptor::from_canon(&content)
        .map_err(|e| Fault::usage("BAD_DESCRIPTOR", format!("`{}` is not a descriptor: {e}", path.display())))?;
    d.check()?;
    says_the_same(path, &summary, &descriptor_summary(&d))?;
    Ok(d)
}

/// Writes what two officers sign to add a node.
pub fn write_node(path: &Path, act: &Act) -> Result<(), Fault> {
    write_container(path, NODE, &act.to_canon(), node_summary(act))
}

/// Reads it.
pub fn read_node(path: &Path) -> Result<Act, Fault> {
    let (content, summary) = read_container(path, NODE)?;
    let act = Act::from_canon(&content).ok().filter(|act| matches!(act, Act::AddNode { .. }));
    let bad = || Fault::usage("BAD_FILE", format!("`{}` does not describe a node", path.display()));
    let act = act.ok_or_else(bad)?;
    says_the_same(path, &summary, &node_summary(&act))?;
    Ok(act)
}

fn node_summary(act: &Act) -> serde_json::Value {
    let Act::AddNode { agency, node, place } = act else { return serde_json::Value::Null };
    let at = place.map(|p| json!({"nodes": p.nodes, "notices": p.notices}));
    json!({"agency": agency, "node": node.local, "key": HEXLOWER.encode(node.key.as_bytes()), "at": at})
}

/// Writes who takes part.
pub fn write_charter(path: &Path, c: &Charter) -> Result<(), Fault> {
    write_container(path, CHARTER, &c.to_canon(), charter_summary(c))
}

/// Reads it.
pub fn read_charter(path: &Path) -> Result<Charter, Fault> {
    let (content, summary) = read_container(path, CHARTER)?;
    let charter = Charter::from_canon(&content)
        .map_err(|e| Fault::usage("BAD_FILE", format!("`{}` is not a charter: {e}", path.display())))?;
    says_the_same(path, &summary, &charter_summary(&charter))?;
    Ok(charter)
}

fn charter_summary(c: &Charter) -> serde_json::Value {
    // One that exchanges its authority stands there twice.
    let agencies: BTreeSet<_> = c.agencies.iter().map(|(a, _)| a).collect();
    json!({
        "federation": c.federation, "index": c.index, "agencies": agencies,
        "fingerprint": HEXLOWER.encode(&c.fingerprint()),
    })
}

/// Writes a genesis with its signatures.
pub fn write_genesis(path: &Path, g: &SignedGenesis) -> Result<(), Fault> {
    write_container(path, GENESIS, &g.to_canon(), genesis_summary(g)?)
}

fn genesis_summary(g: &SignedGenesis) -> Result<serde_json::Value, Fault> {
    let genesis = Genesis::from_bytes(&g.body)?;
    Ok(json!({
        "federation": genesis.federation, "threshold": genesis.threshold, "created": genesis.created.to_rfc3339(),
        "founders": genesis.founders.iter().map(|d| &d.agency).collect::<Vec<_>>(),
        "voters": genesis.voters, "signed": g.signatures.keys().collect::<Vec<_>>(),
        "fingerprint": HEXLOWER.encode(&genesis.fingerprint()),
    }))
}

/// Reads a genesis; its signatures are not checked yet.
pub fn read_genesis(path: &Path) -> Result<SignedGenesis, Fault> {
    let (content, summary) = read_container(path, GENESIS)?;
    let genesis = SignedGenesis::from_canon(&content)
        .map_err(|e| Fault::usage("BAD_GENESIS", format!("`{}` is not a genesis: {e}", path.display())))?;
    says_the_same(path, &summary, &genesis_summary(&genesis)?)?;
    Ok(genesis)
}

/// People compare the summary by voice, so one that says something else is refused. A file without one is fine.
fn says_the_same(path: &Path, found: &serde_json::Value, true_one: &serde_json::Value) -> Result<(), Fault> {
    if found.is_null() || found == true_one {
        return Ok(());
    }
    let why = format!("`{}`: its summary says something else than it holds", path.display());
    Err(Fault::integrity("INTEGRITY", why).hint("somebody changed it by hand; ask for it again"))
}

fn write_container(path: &Path, format: &str, content: &[u8], summary: serde_json::Value) -> Result<(), Fault> {
    let c = Container { format: format.into(), content: BASE64.encode(content), summary };
    let mut text = serde_json::to_string_pretty(&c).map_err(|e| Fault::internal("ENCODE", e.to_string()))?;
    text.push('\n');
    write_file(path, text.as_bytes(), Secrecy::Public)
}

fn read_container(path: &Path, format: &str) -> Result<(Vec<u8>, serde_json::Value), Fault> {
    let bad = |why: String| Fault::usage("BAD_FILE", format!("`{}` is not a `{format}` file: {why}", path.display()));
    let c: Container = serde_json::from_str(&read_text(path)?).map_err(|e| bad(e.to_string()))?;
    if c.format != format {
        return Err(bad(format!("it says `{}`", c.format)));
    }
    let content = BASE64.decode(c.content.as_bytes()).map_err(|e| bad(e.to_string()))?;
    Ok((content, c.summary))
}

/// Reads a text file; the error names it, and the place where it is no text.
pub fn read_text(path: &Path) -> Result<String, Fault> {
    let unreadable = |why: String| Fault::usage("UNREADABLE_FILE", format!("cannot read `{}`: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| unreadable(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| {
        unreadable(format!("not UTF-8 text: the first wrong byte is at offset {}", e.utf8_error().valid_up_to()))
    })
}

/// Whether others on the machine may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// Mode 0644.
    Public,
    /// Mode 0600.
    Private,
}

/// Writes a file whole: aside, synced, renamed.
pub fn write_file(path: &Path, content: &[u8], secrecy: Secrecy) -> Result<(), Fault> {
    let write = || -> std::io::Result<()> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let aside = path.with_extension("new");
        let mode = if secrecy == Secrecy::Private { 0o600 } else { 0o644 };
        let mut f = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&aside)?;
        f.write_all(content)?;
        f.sync_all()?;
        std::fs::rename(&aside, path)
    };
    write().map_err(|e| Fault::usage("UNWRITABLE_FILE", format!("cannot write `{}`: {e}", path.display())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    #[test]
    fn what_is_no_text_is_named_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("notice.txt");
        std::fs::write(&file, b"ab\xff").unwrap();
        let fault = super::read_text(&file).unwrap_err();
        assert!(fault.message.contains("notice.txt") && fault.message.ends_with("at offset 2"), "{fault:?}");
    }
}
