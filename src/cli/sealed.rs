//! Sealed copies: what `hufu record export --sealed` writes, and `hufu record verify`, which needs no node and no key.
//!
//! A copy proves who sealed what: header, path and signature lead to a node's key in the genesis, and the commitments follow
//! from envelope and grant. That the ledger carries them is the exporting node's word until somebody compares them with
//! another agency's `record history`.

use super::client::fault;
use super::copy::{Folder, Growing, MANIFEST};
use super::export::CLEAR_FORMAT;
use super::output::Out;
use crate::config::read_genesis;
use crate::domain::canon::Canon;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AgencyId, NodeId, RecordId};
use crate::domain::limits;
use crate::domain::time::Millis;
use crate::ledger::{Genesis, node_id, origin_mark};
use crate::seal::{ContentCheck, Envelope, PublicKey, Sha256};
use crate::vault::SealedObject;
use crate::wire::pb::v1;
use data_encoding::HEXLOWER;
use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use tonic::Status;

const FORMAT: &str = "hufu-sealed-copy-1";
const GENESIS: &str = "genesis.json";
/// Largest file of a copy, in bytes: the ciphertexts of one envelope are smaller.
const FILE_BYTES: u64 = 32 << 20;
/// What to do with a copy that nothing but its own manifest speaks for.
const CLEAR_HINT: &str = "compare its files with the SHA-256 in its MANIFEST.json; `hufu record verify` checks what `hufu record export --sealed` wrote";
const NOT_WHOLE: &str = "its ciphertexts are not whole";

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
账本承诺是导出节点的陈述；请与其他机构的 `hufu --json record history 编号 --purpose 事由` 中的 commitment 比对。

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
`hufu --json record history ID --purpose CASE`.
";

#[derive(clap::Args)]
pub(super) struct Verify {
    /// Folder that `record export --sealed` wrote.
    dir: PathBuf,
    /// The federation's genesis.json, from a source of one's own: pins the keys.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
}

/// Writes a sealed copy as it comes. Answers the version, what the manifest says of the whole, and how many files there are.
pub(super) async fn write(
    id: &RecordId,
    mut folder: Folder,
    pieces: impl Stream<Item = Result<v1::ExportPiece, Status>>,
) -> Result<(u32, Value, usize), Fault> {
    let mut pieces = pin!(pieces);
    let mut copy: Option<Coming> = None;
    while let Some(piece) = pieces.next().await {
        let v1::ExportPiece { head, data } = piece.map_err(fault)?;
        let copy = match (head, &mut copy) {
            (None, None) => return Err(sent("it does not begin with what stands before its ciphertexts")),
            (_, Some(begun)) => begun,
            (Some(first), none) => none.insert(Coming::begin(id, &mut folder, &first)?),
        };
        copy.take(&data)?;
    }
    let copy = copy.ok_or_else(|| Fault::unavailable("NODE_UNREACHABLE", "the answer is empty"))?;
    if let Some((check, content)) = copy.content {
        if !check.is_whole() {
            return Err(sent(NOT_WHOLE));
        }
        folder.keep(content);
    }
    let files = folder.finish(copy.head.clone())?;
    Ok((copy.version, copy.head, files))
}

/// A sealed copy of which ciphertexts are on their way.
struct Coming {
    version: u32,
    head: Value,
    /// The ciphertexts, if they are not in the envelope: those of its header, all of them and nothing behind.
    content: Option<(ContentCheck, Growing)>,
}

impl Coming {
    /// Writes what stands before them.
    fn begin(id: &RecordId, folder: &mut Folder, r: &v1::ExportReply) -> Result<Coming, Fault> {
        let envelope = Envelope::from_bytes(&r.envelope).map_err(|e| sent(&e.to_string()))?;
        let head = head(id, r, &envelope)?;
        let name = |kind: &str| format!("{id}-{}.{kind}", r.version);
        folder.readme(SEALED_README)?;
        folder.put(&name("envelope"), "the sealed envelope", &r.envelope)?;
        folder.put(&name("header"), "canonical bytes of the envelope's header", &envelope.header().to_bytes())?;
        folder.put(&name("path"), "Merkle path and signature for the header", &envelope.proof().to_canon())?;
        folder.put(&name("grant"), "the sealed grant", &r.grant)?;
        folder.put(&name("audience"), "the audience key, sealed to each agency", &r.audience)?;
        folder.put(GENESIS, "the federation's signed genesis", &r.genesis)?;
        let content = match envelope.is_apart() {
            true => {
                let check = ContentCheck::new(envelope.header()).map_err(|e| sent(&e.to_string()))?;
                Some((check, folder.file(&name("content"), "the ciphertexts of its portions")?))
            }
            false => None,
        };
        Ok(Coming { version: r.version, head, content })
    }

    fn take(&mut self, data: &[u8]) -> Result<(), Fault> {
        match &mut self.content {
            Some((check, file)) => {
                check.update(data).map_err(|e| sent(&e.to_string()))?;
                file.write(data)
            }
            None if data.is_empty() => Ok(()),
            None => Err(sent("ciphertexts came that are in its envelope")),
        }
    }
}

/// What the manifest says of the copy as a whole.
fn head(id: &RecordId, r: &v1::ExportReply, envelope: &Envelope) -> Result<Value, Fault> {
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
    if let Some(other) = another_export(&ask.dir) {
        return Err(other);
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

/// Another export of this program is no sealed copy that was spoilt. One that was made to look so is not taken either.
fn another_export(dir: &Path) -> Option<Fault> {
    let name = dir.display();
    let other = |message: String| Fault::usage("BAD_FILE", message);
    let Ok(manifest) = read(dir, MANIFEST) else {
        let is_log = dir.join("checkpoint").is_file() && dir.join("tile").is_dir();
        let told = || other(format!("`{name}` is an export of an audit log")).hint("check it with `hufu audit verify`");
        return is_log.then(told);
    };
    let manifest: Value = serde_json::from_slice(&manifest).ok()?;
    let is_clear = manifest.get("format").and_then(Value::as_str) == Some(CLEAR_FORMAT);
    is_clear.then(|| other(format!("`{name}` is a copy in clear, which no signature covers")).hint(CLEAR_HINT))
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
        let wrong = |why: &str| bad(format!("`{record}`: {why}"));
        let mut check = ContentCheck::new(header).map_err(|e| wrong(&e.to_string()))?;
        let piece = |piece: &[u8]| check.update(piece).map_err(|e| wrong(&e.to_string()));
        read_on(dir, &format!("{record}-{version}.content"), piece)?;
        if !check.is_whole() {
            return Err(wrong(NOT_WHOLE));
        }
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
        let mut hash = Sha256::default();
        read_on(dir, name, |piece| {
            hash.update(piece);
            Ok(())
        })?;
        if HEXLOWER.encode(&hash.finish()) != field("sha256") {
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

/// A small file of a copy.
fn read(dir: &Path, name: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    read_on(dir, name, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

/// Reads a file of a copy piece by piece.
fn read_on(dir: &Path, name: &str, mut each: impl FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
    let path = dir.join(name);
    let unread = |e: std::io::Error| bad(format!("`{name}`: {e}"));
    // A link leads out of the folder.
    let of = std::fs::symlink_metadata(&path).map_err(unread)?;
    if !of.is_file() || of.len() > FILE_BYTES {
        return Err(bad(format!("`{name}`: it is no file of a copy")));
    }
    // One that grows meanwhile is not read to an end that it does not have.
    let mut file = std::fs::File::open(&path).map_err(unread)?.take(FILE_BYTES);
    let mut piece = vec![0; limits::PIECE_BYTES];
    loop {
        let read = file.read(&mut piece).map_err(unread)?;
        match piece.get(..read).filter(|piece| !piece.is_empty()) {
            Some(piece) => each(piece)?,
            None => return Ok(()),
        }
    }
}
