//! `hufu audit search|who-read|export|verify`.

use super::args::Globals;
use super::client::{Client, block_on, fault};
use super::copy::new_or_empty;
use super::output::Out;
use crate::audit::verify_dir;
use crate::config::{Secrecy, read_charter, read_genesis, write_file};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::RecordId;
use crate::domain::time::Millis;
use crate::ledger::node_id;
use crate::service::log_name;
use crate::wire::pb::v1;
use data_encoding::HEXLOWER;
use serde_json::json;
use std::path::{Component, PathBuf};
use std::process::ExitCode;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Events of the own node's log.
    Search {
        /// Only events of this person, by name in the own agency.
        #[arg(long)]
        person: Option<String>,
        /// Only events about this record.
        #[arg(long)]
        record: Option<RecordId>,
        /// Only events of this agency's people and nodes.
        #[arg(long)]
        agency: Option<String>,
        /// Only what was allowed, or denied.
        #[arg(long, value_parser = ["allow", "deny"])]
        decision: Option<String>,
        /// Only events from then on, as YYYY-MM-DD or RFC 3339.
        #[arg(long, value_name = "DATE")]
        since: Option<String>,
        /// The newest so many, 1 to 10000.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Only events with a lower seq: the page before.
        #[arg(long, value_name = "SEQ")]
        before: Option<u64>,
    },
    /// Who has come to know a record, at every agency that reported.
    WhoRead {
        /// Record to ask about.
        record: RecordId,
    },
    /// Write the log as C2SP tlog-tiles, into a new or empty folder.
    Export {
        /// Folder for the tiles; new or empty.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Verify an exported log without any node, or the own node's log where it is.
    Verify {
        /// Folder of an export.
        #[arg(required_unless_present = "live", conflicts_with = "live")]
        dir: Option<PathBuf>,
        /// The node reads its whole log back and holds it against its tree.
        #[arg(long)]
        live: bool,
        /// The federation's genesis.json, from a source of one's own: pins the keys.
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
        /// A charter.json, from a source of one's own: for logs of nodes that came after the genesis.
        #[arg(long, value_name = "FILE", requires = "genesis")]
        charter: Option<PathBuf>,
    },
}

pub(super) fn run(command: Command, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    if let Command::Verify { dir: Some(dir), live: false, genesis, charter } = &command {
        return verify(dir, (genesis.as_ref(), charter.as_ref()), out);
    }
    block_on(async {
        let client = Client::connect(g).await?;
        match command {
            Command::Verify { .. } => {
                let r = client.audit().verify(v1::AuditVerifyRequest {}).await.map_err(fault)?.into_inner();
                let root = HEXLOWER.encode(&r.root);
                let json = json!({"size": r.size, "root": root, "witnesses": r.witnesses, "consistent": r.consistent});
                out.answer(&json, || format!("{} {}  {root}", out.say("一致，条目数", "consistent, entries"), r.size));
            }
            Command::Search { person, record, agency, decision, since, limit, before } => {
                let request = v1::AuditSearchRequest {
                    person: person.unwrap_or_default(),
                    record: record.map(|r| r.to_string()).unwrap_or_default(),
                    agency: agency.unwrap_or_default(),
                    decision: decision.unwrap_or_default(),
                    since: since.map_or(Ok(0), |t| Millis::parse(&t).map(|m| m.0))?,
                    limit,
                    before: before.unwrap_or_default(),
                };
                let r = client.audit().search(request).await.map_err(fault)?.into_inner();
                let rows: Vec<_> = r
                    .events
                    .iter()
                    .map(|e| {
                        let record = if out.is_json() { e.record.clone() } else { shorter(&e.record) };
                        let record = (!record.is_empty()).then_some(record);
                        let label = (!e.label.is_empty()).then(|| label(&e.label, out));
                        let detail = (!e.detail.is_empty()).then_some(&e.detail);
                        json!({"seq": e.seq, "at": Millis(e.at).to_rfc3339(), "actor": e.actor, "action": e.action,
                            "stage": e.stage, "record": record, "label": label, "decision": e.decision, "rule": e.rule, "purpose": e.purpose,
                            "detail": detail})
                    })
                    .collect();
                out.table(
                    &[
                        "seq", "at", "actor", "action", "stage", "record", "label", "decision", "rule", "purpose",
                        "detail",
                    ],
                    &rows,
                );
            }
            Command::WhoRead { record } => {
                let r = client
                    .audit()
                    .who_read(v1::WhoReadRequest { record: record.to_string() })
                    .await
                    .map_err(fault)?
                    .into_inner();
                let rows: Vec<_> = r
                    .reads
                    .iter()
                    .map(|w| {
                        json!({"agency": w.agency, "who": w.who, "role": w.role, "at": Millis(w.at).to_rfc3339(),
                            "version": w.version, "action": w.action, "seq": w.seq})
                    })
                    .collect();
                out.table(&["agency", "who", "role", "at", "version", "action", "seq"], &rows);
            }
            Command::Export { out: dir } => {
                // Tiles of an earlier export beside a later checkpoint would look like tampering.
                new_or_empty(&dir)?;
                let mut files = client.audit().export(v1::AuditExportRequest {}).await.map_err(fault)?.into_inner();
                let mut n = 0u64;
                while let Some(file) = files.message().await.map_err(fault)? {
                    let relative = PathBuf::from(&file.path);
                    if !relative.components().all(|c| matches!(c, Component::Normal(_))) {
                        return Err(Fault::integrity(
                            "INTEGRITY",
                            format!("the node sent an unsafe path `{}`", file.path),
                        )
                        .hint("nothing was written there; tell your agency's security officer and operator"));
                    }
                    write_file(&dir.join(relative), &file.content, Secrecy::Private)?;
                    n += 1;
                }
                out.answer(&json!({"dir": dir, "files": n}), || {
                    format!("{}: {n} {}", dir.display(), out.say("个文件", "files"))
                });
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The first of many records and how many more; scripts get them all.
fn shorter(records: &str) -> String {
    match records.split_once(',') {
        Some((first, rest)) => format!("{first} +{}", rest.split(',').count()),
        None => records.to_owned(),
    }
}

/// A label's words; where the node does not know them, people are told that it is a digest.
fn label(label: &str, out: &Out) -> String {
    let is_digest = label.len() == 32 && label.bytes().all(|b| b.is_ascii_hexdigit());
    match is_digest && !out.is_json() {
        true => format!("{} {label}", out.say("标密摘要", "label digest")),
        false => label.to_owned(),
    }
}

fn verify(
    dir: &std::path::Path,
    (genesis, charter): (Option<&PathBuf>, Option<&PathBuf>),
    out: &Out,
) -> Result<ExitCode, Fault> {
    let bad =
        |why: String| Fault::integrity("INTEGRITY", why).hint("keep the folder as it is, export again and compare");
    let read = |file: &PathBuf| {
        let genesis = read_genesis(file).and_then(|g| Ok(g.verified()?));
        genesis.map_err(|e| {
            if e.kind == FaultKind::Usage && e.reason != "UNREADABLE_FILE" {
                bad(format!("`{}`: {e}", file.display()))
            } else {
                e
            }
        })
    };
    if !dir.is_dir() {
        return Err(Fault::usage("UNREADABLE_FILE", format!("`{}` is no folder", dir.display()))
            .hint("give the folder that `hufu audit export --out` wrote"));
    }
    let given = genesis.map(read).transpose()?;
    // The export brings a genesis of its own; that it is the federation's only a given one can show.
    let inside = dir.join("genesis.json");
    let brought = inside
        .exists()
        .then(|| read_genesis(&inside).and_then(|g| Ok(g.verified()?)))
        .transpose()
        .map_err(|e| bad(format!("`genesis.json`: {e}")))?;
    if let (Some(given), Some(brought)) = (&given, &brought)
        && given.fingerprint() != brought.fingerprint()
    {
        return Err(bad("`genesis.json`: it is not the genesis that was given".into()));
    }
    let is_pinned = given.is_some();
    let is_signed = is_pinned || brought.is_some();
    let key = match given.or(brought) {
        None => None,
        Some(genesis) => {
            // The checkpoint names its log; the genesis says whose key that is.
            let checkpoint =
                std::fs::read_to_string(dir.join("checkpoint")).map_err(|e| bad(format!("`checkpoint`: {e}")))?;
            let named = checkpoint.lines().next().unwrap_or_default().to_owned();
            let charter = charter.map(|file| read_charter(file)).transpose()?;
            let later = charter.iter().flat_map(|c| c.nodes.iter().map(|(agency, n)| (agency, n)));
            let founded = genesis.founders.iter().flat_map(|d| d.nodes.iter().map(move |n| (&d.agency, n)));
            let key = founded
                .chain(later)
                .find(|(agency, n)| log_name(agency, &genesis.federation, node_id(agency, &n.local)) == named)
                .map(|(_, n)| n.key);
            Some(key.ok_or_else(|| bad(format!("`checkpoint`: no node of the genesis keeps a log named `{named}`")))?)
        }
    };
    let v = verify_dir(dir, key).map_err(|e| bad(e.to_string()))?;
    let json = json!({"size": v.size, "root": HEXLOWER.encode(&v.root), "witnesses": [], "consistent": true, "signature": is_signed, "pinned": is_pinned});
    out.answer(&json, || {
        let pinned = if !is_signed {
            out.say(
                "\n注意：导出中没有 genesis.json，检查点的签名未经检查。",
                "\nnote: the export brings no genesis.json, so the checkpoint's signature was not checked",
            )
        } else if is_pinned {
            ""
        } else {
            out.say(
                "\n注意：未指定 --genesis，信任根未固定。",
                "\nnote: without --genesis the root of trust is unpinned",
            )
        };
        format!("{} {}  {}{pinned}", out.say("一致，条目数", "consistent, entries"), v.size, HEXLOWER.encode(&v.root))
    });
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_told_from_words() {
        let told = |text: &str, word: &str| label(text, &Out::of_words(&[word.to_owned()]));
        let digest = "0a".repeat(16);
        assert_eq!(told(&digest, "--lang=en"), format!("label digest {digest}"));
        assert_eq!(
            (told(&digest, "--json"), told("机密 +border-ops", "--lang=en")),
            (digest, "机密 +border-ops".into())
        );
    }
}
