//! `hufu record export`: a folder with a copy, a manifest and a text that says what each file is.

use super::client::{Client, fault};
use super::copy::{Folder, Growing};
use super::output::Out;
use super::sealed;
use crate::domain::fault::Fault;
use crate::domain::ids::RecordId;
use crate::domain::time::Clock;
use crate::node::SystemClock;
use crate::wire::pb::v1;
use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use tonic::Status;

/// What the log says of a sealed copy for which nobody gave a reason.
const SEALED_PURPOSE: &str = "密封副本 sealed copy";
/// What the manifest of a clear copy says of its form.
pub(super) const CLEAR_FORMAT: &str = "hufu-clear-copy-1";

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

pub(super) async fn run(ask: Export, client: &Client, out: &Out) -> Result<ExitCode, Fault> {
    let folder = Folder::begin(&ask.out)?;
    let purpose = ask.purpose.unwrap_or_else(|| SEALED_PURPOSE.to_owned());
    let request = v1::ExportRequest { record: ask.id.to_string(), purpose: purpose.clone(), version: ask.version };
    let (version, head, files) = if ask.sealed {
        let pieces = client.records().export_large(request).await.map_err(fault)?.into_inner();
        sealed::write(&ask.id, folder, pieces).await?
    } else {
        let pieces = client.records().export_clear_large(request).await.map_err(fault)?.into_inner();
        write_clear(folder, &purpose, pieces).await?
    };
    let record = head.get("record").cloned().unwrap_or_default();
    let answer = json!({"record": record, "version": version, "dir": ask.out, "files": files});
    out.answer(&answer, || format!("{}: {files} {}", ask.out.display(), out.say("个文件", "files")));
    Ok(ExitCode::SUCCESS)
}

fn clear_head(r: &v1::OpenReply, purpose: &str) -> Value {
    json!({"format": CLEAR_FORMAT, "label": r.label, "record": r.record, "version": r.version, "title": r.title,
        "origin": r.origin, "purpose": purpose, "exported": SystemClock.now().to_rfc3339(), "audit_seq": r.audit_seq,
        "ledger_index": r.ledger_index})
}

/// Writes the texts as they come, one file for each portion, so that a lower one can be handed on by itself. Answers the
/// version, what the manifest says of the whole, and how many files there are.
async fn write_clear(
    mut folder: Folder,
    purpose: &str,
    pieces: impl Stream<Item = Result<v1::OpenPiece, Status>>,
) -> Result<(u32, Value, usize), Fault> {
    let mut pieces = pin!(pieces);
    let (mut whole, mut portions, mut from) = (None, Vec::<Growing>::new(), 0usize);
    while let Some(piece) = pieces.next().await {
        let v1::OpenPiece { head, portion, data } = piece.map_err(fault)?;
        if let Some(mut head) = head {
            from = portions.len();
            let labels = std::mem::take(&mut head.portions);
            let whole = whole.get_or_insert(head);
            // The name of a file comes from no node's text.
            let record: RecordId = whole.record.parse()?;
            for v1::Portion { label, .. } in labels {
                let name = format!("{record}-{}.{:02}.txt", whole.version, portions.len() + 1);
                let mut file = folder.file(&name, "a portion: its label on the first line, then its text")?;
                file.write(format!("{label}\n\n").as_bytes())?;
                portions.push(file);
            }
        }
        let at = usize::try_from(portion).map_or(usize::MAX, |n| from.saturating_add(n));
        match portions.get_mut(at) {
            Some(file) => file.write(&data)?,
            None if data.is_empty() => {}
            None => return Err(Fault::integrity("MALFORMED", "a piece belongs to no text")),
        }
    }
    let whole: v1::OpenReply = whole.ok_or_else(|| Fault::unavailable("NODE_UNREACHABLE", "the answer is empty"))?;
    folder.readme(CLEAR_README)?;
    for mut file in portions {
        file.end_line()?;
        folder.keep(file);
    }
    let head = clear_head(&whole, purpose);
    let files = folder.finish(head.clone())?;
    Ok((whole.version, head, files))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::copy::MANIFEST;
    use super::*;
    use crate::seal::sha256;
    use data_encoding::HEXLOWER;
    use futures_util::stream;
    use std::path::Path;

    const ID: &str = "r-agrazmz6kfy2becrc3ljb2zmbi";

    fn head(record: &str, labels: &[&str]) -> v1::OpenPiece {
        let portion = |label: &&str| v1::Portion { label: (*label).into(), text: Vec::new() };
        let head = v1::OpenReply {
            record: record.into(),
            version: 2,
            label: "机密★20年".into(),
            title: "七号柜".into(),
            origin: "police".into(),
            portions: labels.iter().map(portion).collect(),
            audit_seq: 7,
            ledger_index: 9,
        };
        v1::OpenPiece { head: Some(head), portion: 0, data: Vec::new() }
    }

    fn text(portion: u32, data: &str) -> v1::OpenPiece {
        v1::OpenPiece { head: None, portion, data: data.into() }
    }

    async fn written(dir: &Path, pieces: Vec<Result<v1::OpenPiece, Status>>) -> Result<usize, Fault> {
        let folder = Folder::begin(dir).unwrap();
        write_clear(folder, "CASE-1", stream::iter(pieces)).await.map(|(_, _, files)| files)
    }

    #[tokio::test]
    async fn a_clear_copy_bears_its_labels() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("copy");
        let own = [head(ID, &["机密★20年", "机密★20年"]), text(0, "线人"), text(0, "称"), text(1, "附\n")];
        // A lower envelope: its texts come behind those of the whole.
        let lower = [head("another", &["内部"]), text(0, "加强查验\n")];
        let pieces = own.into_iter().chain(lower).map(Ok).collect();
        assert_eq!(written(&out, pieces).await.unwrap(), 5);
        let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(read(&format!("{ID}-2.01.txt")), "机密★20年\n\n线人称\n");
        assert_eq!(read(&format!("{ID}-2.02.txt")), "机密★20年\n\n附\n");
        assert_eq!(read(&format!("{ID}-2.03.txt")), "内部\n\n加强查验\n");
        let manifest: Value = serde_json::from_str(&read(MANIFEST)).unwrap();
        assert_eq!((&manifest["label"], &manifest["purpose"]), (&json!("机密★20年"), &json!("CASE-1")));
        let files = manifest["files"].as_array().unwrap();
        assert_eq!(files.len(), 4);
        for file in files {
            let bytes = read(file["name"].as_str().unwrap()).into_bytes();
            assert_eq!(file["sha256"], json!(HEXLOWER.encode(&sha256(&[&bytes]))));
        }
    }

    #[tokio::test]
    async fn what_is_cut_off_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("copy");
        let cut = vec![Ok(head(ID, &["内部"])), Ok(text(0, "加强")), Err(Status::unavailable("gone"))];
        assert!(written(&out, cut).await.is_err());
        let none = vec![Ok(head(ID, &["内部"])), Ok(text(1, "?"))];
        assert_eq!(written(&out, none).await.unwrap_err().reason, "MALFORMED");
        assert_eq!(written(&out, Vec::new()).await.unwrap_err().reason, "NODE_UNREACHABLE");
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_name_from_a_node_leads_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let bad = vec![Ok(head("../../etc/passwd", &["内部"]))];
        assert_eq!(written(&dir.path().join("copy"), bad).await.unwrap_err().reason, "BAD_RECORD_ID");
    }
}
