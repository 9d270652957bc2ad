//! Sealed copies: what `hufu record export --sealed` writes, and `hufu record verify`, which needs no node and no key.
//!
//! A copy proves who sealed what: header, path and signature lead to a node's key in the genesis, and the commitments follow
//! from envelope and grant. That the ledger carries them is the exporting node's word until somebody compares them with
//! another agency's `record history`.

use super::export::{CopyFile, MANIFEST, readme};
use super::output::Out;
use crate::config::read_genesis;
use crate::domain::canon::Canon;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AgencyId, NodeId, RecordId};
use crate::domain::time::Millis;
use crate::ledger::{Genesis, node_id, origin_mark};
use crate::seal::{ContentCheck, Envelope, PublicKey, sha256};
use crate::vault::SealedObject;
use crate::wire::pb::v1;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const FORMAT: &str = "hufu-sealed-copy-1";
const GENESIS: &str = "genesis.json";
/// Largest file of a copy, in bytes: the ciphertexts of one envelope are smaller.
const FILE_BYTES: u64 = 32 << 20;

const SEALED_README: &str = "\
本目录为虎符导出的密封副本：内容仍为密文，不含任何可解密的密钥。
.envelope  密封信封：信封头、签名路径和各段密文
.content   各段密文合计超过 2 MiB 时另存于此，信封中不再重复
.header    信封头的规范字节（签名和承诺都针对其散列）
.path      Merkle 路径与签名，由信封头散列到批次根
.grant     授权：加密的标密、知悉机构和包裹密钥
.audience  受众密钥：对每个知悉机构各封装一份，仅该机构可开
genesis.json   联盟创世文件，载明各节点的签名公钥
MANIFEST.json  清单：情报编号、版本、账本承诺，以及各文件的 SHA-256
离线核验：hufu record verify 目录 --genesis 自有的创世文件
账本承诺是导出节点的陈述；请与其他机构的 `hufu --json record history 编号` 中的 commitment 比对。

This folder is a sealed copy: its content is ciphertext still, and no key that opens it is here.
.envelope  the sealed envelope: header, path of the signature, ciphertext of each portion
.content   the ciphertexts, where they have more than 2 MiB together and are not in the envelope
.header    canonical bytes of the header; its hash is what signature and commitment are about
.path      Merkle path and signature from the header's hash to the root of its batch
.grant     the grant: label, agencies and wrapped keys, encrypted
.audience  the audience key, sealed once to each agency that may know; each opens its own copy only
genesis.json   the federation's genesis, which names the signing keys of its nodes
MANIFEST.json  record, version, what the ledger carries of it, and the SHA-256 of every file
Check it offline: hufu record verify DIR --genesis FILE, with a genesis of your own
What the ledger carries is the exporting node's word: compare `commitment` with that of another agency's
`hufu --json record history ID`.
";

#[derive(clap::Args)]
pub(super) struct Verify {
    /// Folder that `record export --sealed` wrote.
    dir: PathBuf,
    /// The federation's genesis.json, from a source of one's own: pins the keys.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
}

/// What the manifest says of the copy as a whole.
pub(super) fn head(id: &RecordId, r: &v1::ExportReply) -> Result<Value, Fault> {
    let envelope = Envelope::from_bytes(&r.envelope).map_err(|e| sent(&e.to_string()))?;
    let header = envelope.header();
    let ledger = r.ledger.as_ref().ok_or_else(|| sent("it says nothing of the ledger"))?;
    let hex = |all: &[Vec<u8>]| all.iter().map(|b| HEXLOWER.encode(b)).collect::<Vec<_>>();
    Ok(json!({"format": FORMAT, "record": id, "version": r.version, "originator": header.originator,
        "node": header.node.to_string(), "created": header.created.to_rfc3339(),
        "header_hash": HEXLOWER.encode(&envelope.hash()),
        "ledger": {"commitment": HEXLOWER.encode(&ledger.commitment), "grants": hex(&ledger.grants),
            "tags": hex(&ledger.tags), "node": ledger.node, "index": ledger.index,
            "at": Millis(ledger.at).to_rfc3339(), "as_of": r.ledger_index}}))
}

/// The files of a sealed copy.
pub(super) fn files(id: &RecordId, r: &v1::ExportReply, content: Vec<u8>) -> Result<Vec<CopyFile>, Fault> {
    let envelope = Envelope::from_bytes(&r.envelope).map_err(|e| sent(&e.to_string()))?;
    if envelope.is_apart() {
        check_content(&envelope, &content).map_err(|why| sent(&why))?;
    }
    let base = format!("{id}-{}", r.version);
    let file =
        |kind: &str, what: &'static str, bytes: Vec<u8>| CopyFile { name: format!("{base}.{kind}"), what, bytes };
    let content = envelope.is_apart().then(|| file("content", "the ciphertexts of its portions", content));
    let files = vec![
        readme(SEALED_README),
        file("envelope", "the sealed envelope", r.envelope.clone()),
        file("header", "canonical bytes of the envelope's header", envelope.header().to_bytes()),
        file("path", "Merkle path and signature for the header", envelope.proof().to_canon()),
        file("grant", "the sealed grant", r.grant.clone()),
        file("audience", "the audience key, sealed to each agency", r.audience.clone()),
        CopyFile { name: GENESIS.into(), what: "the federation's signed genesis", bytes: r.genesis.clone() },
    ];
    Ok(files.into_iter().chain(content).collect())
}

/// Ciphertexts that are not in an envelope are those of its header, all of them and nothing behind.
fn check_content(envelope: &Envelope, content: &[u8]) -> Result<(), String> {
    let mut check = ContentCheck::new(envelope.header()).map_err(|e| e.to_string())?;
    check.update(content).map_err(|e| e.to_string())?;
    if check.is_whole() { Ok(()) } else { Err("its ciphertexts are not whole".to_owned()) }
}

fn sent(why: &str) -> Fault {
    Fault::integrity("INTEGRITY", format!("the node sent a copy that is not as it should be: {why}"))
        .hint("nothing was written there; tell your agency's security officer and operator")
}

fn bad(why: String) -> Fault {
    Fault::integrity("INTEGRITY", why).hint("keep the folder as it is, export again and compare")
}

/// Checks a sealed copy where it lies.
pub(super) fn verify(ask: &Verify, out: &Out) -> Result<ExitCode, Fault> {
    if !ask.dir.is_dir() {
        return Err(Fault::usage("UNREADABLE_FILE", format!("`{}` is no folder", ask.dir.display()))
            .hint("give the folder that `hufu record export --sealed --out` wrote"));
    }
    let given = ask.genesis.as_deref().map(genesis_of).transpose()?;
    let is_pinned = given.is_some();
    let checked = check(&ask.dir, given)?;
    let json = json!({"record": checked.record, "version": checked.version, "originator": checked.originator,
        "commitment": checked.commitment, "index": checked.index, "consistent": true, "pinned": is_pinned});
    out.answer(&json, || {
        let pinned = match is_pinned {
            true => "",
            false => out.say(
                "\n注意：未指定 --genesis，信任根未固定。",
                "\nnote: without --genesis the root of trust is unpinned",
            ),
        };
        let (record, version, origin) = (&checked.record, checked.version, &checked.originator);
        format!("{} {record}  v{version}  {origin}  {}{pinned}", out.say("一致", "consistent"), checked.commitment)
    });
    Ok(ExitCode::SUCCESS)
}

/// What was found.
struct Checked {
    record: RecordId,
    version: u32,
    originator: AgencyId,
    commitment: String,
    index: u64,
}

fn genesis_of(file: &Path) -> Result<Genesis, Fault> {
    let genesis = read_genesis(file).and_then(|g| Ok(g.verified()?));
    genesis.map_err(|e| {
        let parses = e.kind != FaultKind::Usage || e.reason == "UNREADABLE_FILE";
        if parses { e } else { bad(format!("`{}`: {e}", file.display())) }
    })
}

fn check(dir: &Path, given: Option<Genesis>) -> Result<Checked, Fault> {
    let manifest = read(dir, MANIFEST)?;
    let manifest: Value = serde_json::from_slice(&manifest).map_err(|e| bad(format!("`{MANIFEST}`: {e}")))?;
    let unlike = |field: &str| bad(format!("`{MANIFEST}`: its `{field}` is not that of the envelope"));
    if manifest.get("format").and_then(Value::as_str) != Some(FORMAT) {
        return Err(bad(format!("`{MANIFEST}`: it is not of the format `{FORMAT}`")));
    }
    listed_files(dir, &manifest)?;
    let text = |field: &str| manifest.get(field).and_then(Value::as_str);
    let record: RecordId = text("record").unwrap_or_default().parse().map_err(|_| unlike("record"))?;
    let version = manifest.get("version").and_then(Value::as_u64).unwrap_or_default();
    let part = |kind: &str| read(dir, &format!("{record}-{version}.{kind}"));
    let object = SealedObject::from_parts(&part("envelope")?, &part("grant")?, &part("audience")?);
    let object = object.map_err(|e| bad(format!("`{record}`: {e}")))?;
    let (envelope, header) = (&object.envelope, object.envelope.header());
    if envelope.is_apart() {
        check_content(envelope, &part("content")?).map_err(|why| bad(format!("`{record}`: {why}")))?;
    }
    if header.id != record || u64::from(header.version) != version {
        return Err(unlike("record"));
    }
    if part("header")? != header.to_bytes() || part("path")? != envelope.proof().to_canon() {
        return Err(bad(format!("`{record}`: header or path beside the envelope is another one")));
    }
    if text("header_hash") != Some(HEXLOWER.encode(&envelope.hash()).as_str()) {
        return Err(unlike("header_hash"));
    }
    let brought = genesis_of(&dir.join(GENESIS)).map_err(|e| bad(format!("`{GENESIS}`: {e}")))?;
    let genesis = given.as_ref().unwrap_or(&brought);
    if genesis.fingerprint() != brought.fingerprint() {
        return Err(bad(format!("`{GENESIS}`: it is not the genesis that was given")));
    }
    signed_by_origin(genesis, &object)?;
    let ledger = manifest.get("ledger").cloned().unwrap_or_default();
    let commitment = HEXLOWER.encode(&envelope.commitment());
    if ledger.get("commitment").and_then(Value::as_str) != Some(commitment.as_str()) {
        return Err(unlike("commitment"));
    }
    let grant = json!(HEXLOWER.encode(&object.grant.commitment()));
    if !ledger.get("grants").and_then(Value::as_array).is_some_and(|all| all.contains(&grant)) {
        return Err(unlike("grants"));
    }
    let index = ledger.get("index").and_then(Value::as_u64).unwrap_or_default();
    Ok(Checked { record, version: header.version, originator: header.originator.clone(), commitment, index })
}

/// Each file is the one that the manifest lists, and nothing lies beside them.
fn listed_files(dir: &Path, manifest: &Value) -> Result<(), Fault> {
    let mut names = BTreeSet::from([MANIFEST.to_owned()]);
    for file in manifest.get("files").and_then(Value::as_array).into_iter().flatten() {
        let field = |name: &str| file.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = field("name");
        // A name of one piece: a manifest leads nowhere else.
        if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
            return Err(bad(format!("`{MANIFEST}`: `{name}` is no name of a file of it")));
        }
        if HEXLOWER.encode(&sha256(&[&read(dir, name)?])) != field("sha256") {
            return Err(bad(format!("`{name}`: it was changed")));
        }
        names.insert(name.to_owned());
    }
    let unreadable =
        |e: std::io::Error| Fault::usage("UNREADABLE_FILE", format!("cannot read `{}`: {e}", dir.display()));
    for entry in dir.read_dir().map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
        if !names.contains(&name) {
            return Err(bad(format!("`{name}`: the manifest does not list it")));
        }
    }
    Ok(())
}

/// Header, grant and audience key come from nodes of the agency whose mark the record's id carries.
fn signed_by_origin(genesis: &Genesis, object: &SealedObject) -> Result<(), Fault> {
    let header = object.envelope.header();
    let origin = &header.originator;
    if origin_mark(&genesis.federation, origin) != header.id.origin_mark() {
        return Err(bad(format!("`{}`: its id carries another originator than `{origin}`", header.id)));
    }
    let key = |agency: &AgencyId, node: NodeId| -> Result<PublicKey, Fault> {
        let founder = genesis.founders.iter().find(|d| d.agency == *agency && agency == origin);
        let nodes = founder.into_iter().flat_map(|d| &d.nodes);
        let found = nodes.filter(|n| node_id(origin, &n.local) == node).map(|n| n.key).next();
        found.ok_or_else(|| bad(format!("`{GENESIS}`: `{node}` is no node of `{origin}` in it")))
    };
    let wrong = |e: crate::seal::SealError| bad(format!("`{}`: {e}", header.id));
    let scope = object.audience.scope();
    object.envelope.verify(&key(origin, header.node)?).map_err(wrong)?;
    object.grant.verify(&key(object.grant.origin(), object.grant.node())?).map_err(wrong)?;
    object.audience.verify(&key(&scope.origin, scope.node)?).map_err(wrong)?;
    if object.grant.audience() != object.audience.id() {
        return Err(bad(format!("`{}`: its grant is under another audience key", header.id)));
    }
    Ok(())
}

fn read(dir: &Path, name: &str) -> Result<Vec<u8>, Fault> {
    let path = dir.join(name);
    // A link leads out of the folder.
    let of = std::fs::symlink_metadata(&path).map_err(|e| bad(format!("`{name}`: {e}")))?;
    if !of.is_file() || of.len() > FILE_BYTES {
        return Err(bad(format!("`{name}`: it is no file of a copy")));
    }
    std::fs::read(&path).map_err(|e| bad(format!("`{name}`: {e}")))
}
