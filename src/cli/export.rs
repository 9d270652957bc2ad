//! `hufu record export`: a folder with a copy, a manifest and a text that says what each file is.

use super::client::{Client, fault};
use super::output::Out;
use super::reading;
use super::sealed;
use crate::config::{Secrecy, write_file};
use crate::domain::fault::Fault;
use crate::domain::ids::RecordId;
use crate::domain::time::Clock;
use crate::node::SystemClock;
use crate::seal::sha256;
use crate::wire::pb::v1;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the log says of a sealed copy for which nobody gave a reason.
const SEALED_PURPOSE: &str = "密封副本 sealed copy";
/// The manifest of a copy: every other file with its digest.
pub(super) const MANIFEST: &str = "MANIFEST.json";
const README: &str = "README.txt";
const CLEAR_FORMAT: &str = "hufu-clear-copy-1";

const CLEAR_README: &str = "\
本目录为虎符导出的明文副本，由原发机构承办人导出，已记入审计日志。
每个 .txt 文件是一段内容，第一行是该段的标密；整个目录（含 MANIFEST.json 中的标题）按其中最高标密管理。
MANIFEST.json 列出情报编号、版本、标密、审计序号和各文件的 SHA-256。
出目录后系统不再能控制或记录谁读过；收回情报时，请自行销毁本目录。

This folder is a copy in clear, taken out by an originator of the record's own agency; the audit log has it.
Each .txt file is one portion, its label on the first line. The folder, with the title in MANIFEST.json, is handled by the highest
label in it. MANIFEST.json names record, version, label, place in the audit log, and the SHA-256 of every file.
From here on the system neither controls nor records who reads it. When the record is recalled, destroy this folder yourself.
";

#[derive(clap::Args)]
pub(super) struct Export {
    /// Record to copy.
    id: RecordId,
    /// Version to copy; 0 is the newest.
    #[arg(long, default_value_t = 0)]
    version: u32,
    /// The envelope as held: no key is needed and none is given.
    #[arg(long, required_unless_present = "clear", conflicts_with = "clear")]
    sealed: bool,
    /// The texts themselves, of an own record below top-secret (originator).
    #[arg(long)]
    clear: bool,
    /// Folder for the files of the copy; new or empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Why: a case number or an order. A sealed copy may do without: the log says what it was, and nothing of it is read.
    #[arg(long, required_unless_present = "sealed")]
    purpose: Option<String>,
}

/// A file of a copy.
pub(super) struct CopyFile {
    pub(super) name: String,
    /// What it is, for the manifest.
    pub(super) what: &'static str,
    pub(super) bytes: Vec<u8>,
}

pub(super) async fn run(ask: Export, client: &Client, out: &Out) -> Result<ExitCode, Fault> {
    new_or_empty(&ask.out)?;
    let purpose = ask.purpose.unwrap_or_else(|| SEALED_PURPOSE.to_owned());
    let request = v1::ExportRequest { record: ask.id.to_string(), purpose: purpose.clone(), version: ask.version };
    let (version, head, files) = if ask.sealed {
        let pieces = client.records().export_large(request).await.map_err(fault)?.into_inner();
        let (r, content) = reading::copy(pieces).await?;
        (r.version, sealed::head(&ask.id, &r)?, sealed::files(&ask.id, &r, content)?)
    } else {
        let pieces = client.records().export_clear_large(request).await.map_err(fault)?.into_inner();
        let r = reading::whole(pieces).await?;
        (r.version, clear_head(&r, &purpose), clear_files(&r)?)
    };
    let record = head.get("record").cloned().unwrap_or_default();
    write_copy(&ask.out, head, &files)?;
    let answer = json!({"record": record, "version": version, "dir": ask.out, "files": files.len() + 1});
    out.answer(&answer, || format!("{}: {} {}", ask.out.display(), files.len() + 1, out.say("个文件", "files")));
    Ok(ExitCode::SUCCESS)
}

/// What lies in a folder already would be taken for a part of the copy.
pub(super) fn new_or_empty(dir: &Path) -> Result<(), Fault> {
    if dir.exists() && !dir.is_dir() {
        return Err(
            Fault::usage("UNWRITABLE_FILE", format!("`{}` is no folder", dir.display())).hint("give a new folder")
        );
    }
    if dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Fault::conflict("DIR_NOT_EMPTY", format!("`{}` is not empty", dir.display()))
            .hint("each export gets a folder of its own; an earlier one is kept as it is"));
    }
    Ok(())
}

/// The manifest comes last: a folder without one is no whole copy.
fn write_copy(dir: &Path, mut head: Value, files: &[CopyFile]) -> Result<(), Fault> {
    let mut listed = Vec::with_capacity(files.len());
    for CopyFile { name, what, bytes } in files {
        write_file(&dir.join(name), bytes, Secrecy::Private)?;
        let digest = HEXLOWER.encode(&sha256(&[bytes]));
        listed.push(json!({"name": name, "what": what, "bytes": bytes.len(), "sha256": digest}));
    }
    if let Some(fields) = head.as_object_mut() {
        fields.insert("files".into(), Value::Array(listed));
    }
    let mut text = serde_json::to_string_pretty(&head).map_err(|e| Fault::internal("ENCODE", e.to_string()))?;
    text.push('\n');
    write_file(&dir.join(MANIFEST), text.as_bytes(), Secrecy::Private)
}

pub(super) fn readme(text: &str) -> CopyFile {
    CopyFile { name: README.into(), what: "what each file is", bytes: text.into() }
}

fn clear_head(r: &v1::OpenReply, purpose: &str) -> Value {
    json!({"format": CLEAR_FORMAT, "label": r.label, "record": r.record, "version": r.version, "title": r.title,
        "origin": r.origin, "purpose": purpose, "exported": SystemClock.now().to_rfc3339(), "audit_seq": r.audit_seq,
        "ledger_index": r.ledger_index})
}

/// One file for each portion, so that a lower one can be handed on by itself.
fn clear_files(r: &v1::OpenReply) -> Result<Vec<CopyFile>, Fault> {
    // The name of a file comes from no node's text.
    let record: RecordId = r.record.parse()?;
    let mut files = vec![readme(CLEAR_README)];
    for (n, portion) in r.portions.iter().enumerate() {
        let name = format!("{record}-{}.{:02}.txt", r.version, n + 1);
        let mut bytes = format!("{}\n\n", portion.label).into_bytes();
        bytes.extend_from_slice(&portion.text);
        if bytes.last() != Some(&b'\n') {
            bytes.push(b'\n');
        }
        files.push(CopyFile { name, what: "a portion: its label on the first line, then its text", bytes });
    }
    Ok(files)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;

    const ID: &str = "r-agrazmz6kfy2becrc3ljb2zmbi";

    fn reply() -> v1::OpenReply {
        let portion = |label: &str, text: &str| v1::Portion { label: label.into(), text: text.into() };
        v1::OpenReply {
            record: ID.into(),
            version: 2,
            label: "机密★20年".into(),
            title: "七号柜".into(),
            origin: "police".into(),
            portions: vec![portion("机密★20年", "线人称"), portion("内部", "加强查验\n")],
            audit_seq: 7,
            ledger_index: 9,
        }
    }

    #[test]
    fn a_clear_copy_bears_its_labels() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("copy");
        write_copy(&out, clear_head(&reply(), "CASE-1"), &clear_files(&reply()).unwrap()).unwrap();
        let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(read(&format!("{ID}-2.01.txt")), "机密★20年\n\n线人称\n");
        assert_eq!(read(&format!("{ID}-2.02.txt")), "内部\n\n加强查验\n");
        let manifest: Value = serde_json::from_str(&read(MANIFEST)).unwrap();
        assert_eq!((&manifest["label"], &manifest["purpose"]), (&json!("机密★20年"), &json!("CASE-1")));
        let files = manifest["files"].as_array().unwrap();
        assert_eq!(files.len(), 3);
        for file in files {
            let bytes = read(file["name"].as_str().unwrap()).into_bytes();
            assert_eq!(file["sha256"], json!(HEXLOWER.encode(&sha256(&[&bytes]))));
        }
    }

    #[test]
    fn a_name_from_a_node_leads_nowhere_else() {
        let bad = v1::OpenReply { record: "../../etc/passwd".into(), ..reply() };
        assert_eq!(clear_files(&bad).err().unwrap().reason, "BAD_RECORD_ID");
    }

    #[test]
    fn what_lies_in_the_folder_stays() {
        let dir = tempfile::tempdir().unwrap();
        assert!(new_or_empty(dir.path()).is_ok() && new_or_empty(&dir.path().join("new")).is_ok());
        let file = dir.path().join("old");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(new_or_empty(dir.path()).unwrap_err().reason, "DIR_NOT_EMPTY");
        assert_eq!(new_or_empty(&file).unwrap_err().reason, "UNWRITABLE_FILE");
    }
}
