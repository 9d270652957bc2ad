//! `hufu record publish|open|search|list|history|abandon`; the other commands on records have files of their own.

use super::act::Signer;
use super::args::Globals;
use super::client::{Client, block_on, fault};
use super::marking::Marking;
use super::output::Out;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, RecordId};
use crate::domain::label::{Caveat, Grade};
use crate::domain::limits;
use crate::domain::record::{Kind, Reference};
use crate::domain::time::{Entropy, Millis};
use crate::ledger::Act;
use crate::node::SystemEntropy;
use crate::wire::pb::v1;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to do about a file that cannot be read.
pub(super) const CHECK_PATH: &str = "check the path and who may read it";
/// What to do about one that is too large.
pub(super) const SPLIT: &str = "share it as several records";
/// What to do with a portion that is too large.
const PORTION_ALONE: &str = "publish it as a record of its own: its body may have up to 16 MiB";

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Seal a record and share it with exactly the agencies entitled to it.
    Publish(Box<Publish>),
    /// Make the next version of an own record, under the label it has (originator).
    ///
    /// What is not given stays as it is: texts, references, grading, label, issue date. Earlier versions stay too: see
    /// `record history`, and `record open --version`.
    Amend(Box<super::amend::Amend>),
    /// Open a record. The originator sees who did.
    Open {
        /// Record to open.
        id: RecordId,
        /// Version to open; 0 is the newest.
        #[arg(long, default_value_t = 0)]
        version: u32,
        /// Why: a case number or an order, 1 to 200 characters.
        #[arg(long)]
        purpose: String,
    },
    /// What waits for a classifier: your own proposals, or all of your agency for its classifiers.
    Proposals {
        /// Why: a case number or an order, 1 to 200 characters.
        #[arg(long)]
        purpose: String,
        /// Most lines, 1 to 500.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Continue after this record.
        #[arg(long)]
        after: Option<RecordId>,
    },
    /// Approve a proposed record with your own key; then it is published (classifier, not its author).
    Approve {
        /// Record to approve.
        id: RecordId,
        /// none: committed; one: replicated; all: complete.
        #[arg(long, default_value = "one", value_parser = ["none", "one", "all"])]
        wait: String,
        /// How long to wait for copies, in seconds, at most 60.
        #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=60))]
        wait_seconds: u32,
        /// Why: a case number or an order, 1 to 200 characters.
        #[arg(long, default_value = "定密审批 marking approval")]
        purpose: String,
    },
    /// Turn a proposed record down, or take your own back: it is never published.
    Reject {
        /// Record to turn down.
        id: RecordId,
        /// Why, 1 to 200 characters.
        #[arg(long)]
        reason: String,
    },
    /// Records that you may see, newest first.
    List {
        /// Why: a case number or an order, 1 to 200 characters.
        #[arg(long)]
        purpose: String,
        /// Most lines, 1 to 500.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Continue after this record.
        #[arg(long)]
        after: Option<RecordId>,
    },
    /// Bring texts or STIX bundles in; the same again is unchanged, an edited one is a new version of its record.
    Import(super::import::Import),
    /// Search titles and texts: words, "phrases", AND, OR, NOT, kind:, origin:, since:, ref:.
    Search(Search),
    /// Give a version up that no node can serve any more: what others are owed counts as lost (security officer).
    Abandon {
        /// Record of the own agency.
        id: RecordId,
        /// Its version.
        #[arg(long)]
        version: u32,
    },
    /// Versions of a record.
    ///
    /// Each with the ledger's time as of its entry, the median of when each voting agency last wrote: where the others
    /// had written nothing for a while, it lies so far before the clock. The audit log has the time by its node's clock.
    History {
        /// Record to look at.
        id: RecordId,
        /// Why: a case number or an order, 1 to 200 characters.
        #[arg(long)]
        purpose: String,
    },
    /// Copy a record out of the system: sealed as it is held, or an own record's texts in clear.
    ///
    /// The folder gets a MANIFEST.json and a README.txt that say what each file is. A sealed copy has no key in it, and is checked
    /// with `record verify`.
    Export(super::export::Export),
    /// Check a sealed copy without any node: its files, signatures and commitments.
    Verify(super::sealed::Verify),
    /// Who may open a record now, and why not: agencies by the ledger, the own agency's people by its policies.
    ///
    /// Of an own record every agency is listed, of another agency's record the own one. An agency may if its people may open it
    /// at all; which of them are cleared is known of the own agency only. Lower portions are records of their own, asked about by
    /// their own ids. What an agency holds that is suspended now, its own node may still show.
    WhoCan(super::who_can::WhoCan),
}

#[derive(clap::Args)]
pub(super) struct Search {
    /// What to find, e.g. 车辆 AND "三号口岸" NOT kind:lead.
    query: String,
    /// Only this grade: internal, confidential, secret or top-secret.
    #[arg(long)]
    grade: Option<Grade>,
    /// Only this kind: report, lead, person, item, fund, place, event or case.
    #[arg(long)]
    kind: Option<Kind>,
    /// Only records of this agency.
    #[arg(long)]
    origin: Option<AgencyId>,
    /// Only records from then on, as YYYY-MM-DD or RFC 3339.
    #[arg(long, value_name = "DATE")]
    since: Option<String>,
    /// Most hits shown, 1 to 200; the total counts all.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Pass over so many of the best hits: the next page. The first 10000 are counted and shown.
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u32,
    /// Why: a case number or an order, 1 to 200 characters.
    #[arg(long)]
    purpose: String,
}

#[derive(clap::Args)]
pub(super) struct Publish {
    /// Title, 1 to 300 characters.
    #[arg(long)]
    title: String,
    #[command(flatten)]
    text: Text,
    /// Grade of the whole: internal, confidential, secret or top-secret.
    #[arg(long)]
    grade: Grade,
    /// Further texts: each FILE at a grade, that of the record or lower. Who may see only a lower one finds it as a
    /// record of its own.
    #[arg(long = "portion", value_name = "FILE:GRADE")]
    portions: Vec<String>,
    #[command(flatten)]
    marking: Marking,
    /// Classification period in years, at most 10, 20 and 30 by grade; the agreement's by default.
    #[arg(long, value_name = "YEARS", conflicts_with_all = ["until", "condition"],
        value_parser = clap::value_parser!(u8).range(1..))]
    period: Option<u8>,
    /// End of the classification, as YYYY-MM-DD or RFC 3339.
    #[arg(long, value_name = "DATE", conflicts_with = "condition")]
    until: Option<String>,
    /// What ends the classification, 1 to 200 characters.
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    condition: Option<String>,
    /// type:value, e.g. phone:13800000000; may be given several times.
    #[arg(long = "ref")]
    references: Vec<Reference>,
    /// Reliability of the source, A to F.
    #[arg(long, default_value = "")]
    reliability: String,
    /// Credibility of what it says, 1 to 6; 0 states none.
    #[arg(long, default_value_t = 0)]
    credibility: u8,
    /// Legal basis, up to 400 characters; the agreement's by default.
    #[arg(long, default_value = "")]
    legal_basis: String,
    /// Kept until then, as YYYY-MM-DD or RFC 3339; needed for persons, leads and cases.
    #[arg(long, value_name = "DATE")]
    retain_until: Option<String>,
    /// Handling condition: orcon or two-halves; may be given several times.
    #[arg(long = "caveat")]
    caveats: Vec<Caveat>,
    /// none: committed; one: replicated; all: complete.
    #[arg(long, default_value = "one", value_parser = ["none", "one", "all"])]
    wait: String,
    /// How long to wait for copies, in seconds, at most 60.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=60))]
    wait_seconds: u32,
    /// Id of a publish without a clear answer, 32 hex digits: the same again is published once, also at another node of the
    /// agency.
    #[arg(long, value_name = "HEX")]
    request_id: Option<String>,
}

/// The text of a record, in the one way or the other.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Text {
    /// File with the text, UTF-8, up to 16 MiB; above 1 MiB without portions.
    #[arg(long)]
    body_file: Option<PathBuf>,
    /// The text itself.
    #[arg(long)]
    body: Option<String>,
}

pub(super) fn run(command: Command, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    if let Command::Verify(ask) = &command {
        return super::sealed::verify(ask, out);
    }
    block_on(async {
        let client = Client::connect(g).await?;
        match command {
            Command::Import(ask) => super::import::run(ask, client, g, out).await,
            Command::Search(s) => search(&client, s, out).await,
            Command::Publish(p) => publish(&client, *p, out).await,
            Command::Proposals { purpose, limit, after } => {
                super::proposal::list(&client, purpose, (limit, after), out).await
            }
            Command::Approve { id, wait, wait_seconds, purpose } => {
                super::proposal::approve(&client, id, (wait, wait_seconds), purpose, out).await
            }
            Command::Reject { id, reason } => super::proposal::reject(&client, id, reason, out).await,
            Command::Open { id, version, purpose } => open(&client, id, version, purpose, out).await,
            Command::List { purpose, limit, after } => {
                let after = after.map(|a| a.to_string()).unwrap_or_default();
                let r =
                    client.records().list(v1::ListRequest { purpose, limit, after }).await.map_err(fault)?.into_inner();
                let rows: Vec<_> = r
                    .hits
                    .iter()
                    .map(|h| json!({"record": h.record, "version": h.version, "title": h.title, "label": h.label, "origin": h.origin,
                        "ledger_index": r.ledger_index}))
                    .collect();
                out.table(&["record", "version", "label", "origin", "title"], &rows);
                Ok(ExitCode::SUCCESS)
            }
            Command::History { id, purpose } => {
                let request = v1::HistoryRequest { record: id.to_string(), purpose };
                let r = client.records().history(request).await.map_err(fault)?.into_inner();
                let rows: Vec<_> = r
                    .versions
                    .iter()
                    .map(|v| {
                        let kept = |value: Value| if v.folded { Value::Null } else { value };
                        json!({"version": v.version, "index": kept(v.index.into()), "at": kept(Millis(v.at).to_rfc3339().into()),
                            "label": v.label, "commitment": kept(HEXLOWER.encode(&v.commitment).into()),
                            "state": if v.folded { "folded" } else { "committed" }, "ledger_index": r.ledger_index})
                    })
                    .collect();
                out.table(&["version", "index", "at", "label", "state"], &rows);
                Ok(ExitCode::SUCCESS)
            }
            Command::Abandon { id, version } => {
                let signer = Signer::of(&client).await?;
                let act = Act::Abandon { agency: signer.agency.clone(), record: id, version };
                let (_, index) = signer.submit(&client, &act, version).await?;
                out.answer(&json!({"record": id, "version": version, "state": "lost", "index": index}), || {
                    format!("{id} v{version}: {}", out.word("lost"))
                });
                Ok(ExitCode::SUCCESS)
            }
            Command::Amend(ask) => super::amend::run(*ask, &client, out).await,
            Command::Export(ask) => super::export::run(ask, &client, out).await,
            Command::Verify(ask) => super::sealed::verify(&ask, out),
            Command::WhoCan(ask) => super::who_can::run(ask, &client, out).await,
        }
    })
}

async fn publish(client: &Client, p: Publish, out: &Out) -> Result<ExitCode, Fault> {
    let no_body = || Fault::usage("BAD_BODY", "no body given").hint("use --body or --body-file");
    let Text { body: words, body_file: file } = &p.text;
    let large = match (words, file) {
        (None, Some(file)) => super::large::size(file)?,
        _ => None,
    };
    let body = match large {
        Some(_) => Vec::new(),
        None => body(words.as_ref(), file.as_deref())?.ok_or_else(no_body)?,
    };
    let date = |d: &Option<String>| d.as_deref().map_or(Ok(0), |t| Millis::parse(t).map(|m| m.0));
    let request = v1::PublishRequest {
        portions: p.portions.iter().map(|text| portion(text)).collect::<Result<_, _>>()?,
        title: p.title,
        body,
        grade: p.grade.to_string(),
        period_years: u32::from(p.period.unwrap_or(0)),
        until: date(&p.until)?,
        condition: p.condition.unwrap_or_default(),
        references: p.references.iter().map(ToString::to_string).collect(),
        reliability: p.reliability,
        credibility: u32::from(p.credibility),
        legal_basis: p.legal_basis,
        retain_until: date(&p.retain_until)?,
        caveats: p
            .caveats
            .iter()
            .map(|c| if *c == Caveat::Orcon { "orcon" } else { "two-halves" }.to_owned())
            .collect(),
        wait: p.wait,
        wait_ms: p.wait_seconds.saturating_mul(1000),
        timeout_ms: client.timeout_ms(),
        request_id: p.request_id.as_deref().map_or_else(|| Ok(request_id()), given_id)?,
        repeats: p.request_id.is_some(),
        ..p.marking.request()
    };
    let id = HEXLOWER.encode(&request.request_id);
    let answered = match (large, file) {
        (Some(bytes), Some(file)) => super::large::publish(client, request, (file.as_path(), bytes)).await,
        _ => client.records().publish(request).await.map(|r| r.into_inner()).map_err(fault),
    };
    Ok(published(&answered.map_err(|f| unclear(f, &id))?, out))
}

/// A node that does not answer may have published: whoever asks again says that it is the same.
pub(super) fn unclear(fault: Fault, id: &str) -> Fault {
    if fault.reason != "NODE_UNREACHABLE" {
        return fault;
    }
    fault.hint(format!("it may be published; ask again, at any node of your agency, with --request-id {id}"))
}

pub(super) fn given_id(hex: &str) -> Result<Vec<u8>, Fault> {
    let id = HEXLOWER.decode(hex.to_ascii_lowercase().as_bytes()).ok().filter(|id| id.len() == 16);
    id.ok_or_else(|| Fault::usage("INVALID", "a request id has 32 hex digits"))
}

/// Shows what became of a publish or an approval.
pub(super) fn published(r: &v1::PublishReply, out: &Out) -> ExitCode {
    let warning = (!r.warning.is_empty()).then_some(&r.warning);
    let index = (r.index > 0).then_some(r.index);
    let portions: Vec<_> =
        r.portions.iter().map(|p| json!({"record": p.record, "version": p.version, "grade": p.grade})).collect();
    let json = json!({"record": r.record, "version": r.version, "state": r.state, "index": index,
        "held_by": r.held_by, "owed": r.owed, "warning": warning, "portions": portions});
    out.answer(&json, || {
        let held = format!("{} {}/{}", out.say("持有", "held by"), r.held_by.len(), r.owed.len());
        let lower: Vec<String> = r
            .portions
            .iter()
            .map(|p| format!("\n{} {}: {}  v{}", out.say("密点", "portion"), out.word(&p.grade), p.record, p.version))
            .collect();
        format!(
            "{}  v{}  {}{}  {held}{}{}",
            r.record,
            r.version,
            out.word(&r.state),
            index.map(|i| format!(" {i}")).unwrap_or_default(),
            warning.map(|w| format!("\n{}", out.sentence(w))).unwrap_or_default(),
            lower.concat()
        )
    });
    if r.incomplete { ExitCode::from(5) } else { ExitCode::SUCCESS }
}

/// One of its own for each run: the same again would get the first answer.
pub(super) fn request_id() -> Vec<u8> {
    let mut id = vec![0u8; 16];
    SystemEntropy.fill(&mut id);
    id
}

/// The text as it was given, itself or in a file; none if neither was.
pub(super) fn body(text: Option<&String>, file: Option<&Path>) -> Result<Option<Vec<u8>>, Fault> {
    let body = match (text, file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(file)) => text_file(file, too_large)?,
        (None, None) => return Ok(None),
    };
    if body.len() > limits::BODY_BYTES { Err(too_large(body.len() as u64)) } else { Ok(Some(body)) }
}

pub(super) fn portion(text: &str) -> Result<v1::NewPortion, Fault> {
    let Some((file, grade)) = text.rsplit_once(':') else {
        return Err(
            Fault::usage("BAD_PORTION", format!("`{text}` is not FILE:GRADE")).hint("e.g. tear-line.txt:internal")
        );
    };
    let grade: Grade = grade.parse()?;
    let too_large = |bytes: u64| {
        let why = format!("the portion `{file}` has {bytes} bytes; the limit is {} (1 MiB)", limits::BODY_BYTES);
        Fault::usage("BODY_TOO_LARGE", why).hint(PORTION_ALONE)
    };
    Ok(v1::NewPortion { grade: grade.to_string(), text: text_file(Path::new(file), too_large)? })
}

fn text_file(file: &Path, too_large: impl Fn(u64) -> Fault) -> Result<Vec<u8>, Fault> {
    let read = |e: std::io::Error| {
        Fault::usage("UNREADABLE_FILE", format!("cannot read `{}`: {e}", file.display())).hint(CHECK_PATH)
    };
    let size = std::fs::metadata(file).map_err(read)?.len();
    if size > limits::BODY_BYTES as u64 {
        return Err(too_large(size));
    }
    checked(file, std::fs::read(file).map_err(read)?)
}

/// What a node would refuse without knowing of which file.
fn checked(file: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, Fault> {
    let bad = |why: String| Fault::usage("BAD_BODY", why);
    let name = file.display();
    match std::str::from_utf8(&bytes).map(|t| t.trim().is_empty()) {
        Ok(false) => Ok(bytes),
        Ok(true) => Err(bad(format!("`{name}` holds no text")).hint("give a file with the text")),
        Err(e) => {
            Err(bad(format!("`{name}` is not UTF-8 text: the first wrong byte is at offset {}", e.valid_up_to()))
                .hint("convert it to UTF-8, e.g. from GB18030"))
        }
    }
}

fn too_large(bytes: u64) -> Fault {
    Fault::usage("BODY_TOO_LARGE", format!("the body has {bytes} bytes; the limit is {} (1 MiB)", limits::BODY_BYTES))
        .hint(SPLIT)
}

async fn search(client: &Client, s: Search, out: &Out) -> Result<ExitCode, Fault> {
    let request = v1::SearchRequest {
        query: s.query,
        grade: s.grade.map(|v| v.to_string()).unwrap_or_default(),
        kind: s.kind.map(|v| v.to_string()).unwrap_or_default(),
        origin: s.origin.map(|v| v.to_string()).unwrap_or_default(),
        since: s.since.as_deref().map_or(Ok(0), |t| Millis::parse(t).map(|m| m.0))?,
        limit: s.limit,
        purpose: s.purpose,
        offset: s.offset,
    };
    let r = client.records().search(request).await.map_err(fault)?.into_inner();
    let rows: Vec<_> = r
        .hits
        .iter()
        .map(|h| {
            json!({"record": h.record, "version": h.version, "title": h.title, "label": h.label, "origin": h.origin,
            "snippet": h.snippet})
        })
        .collect();
    out.table(&["record", "label", "origin", "title", "snippet"], &rows);
    let total = json!({"total": r.total, "ledger_index": r.ledger_index});
    out.answer(&total, || format!("{} {}", out.say("共", "total"), r.total));
    Ok(ExitCode::SUCCESS)
}

async fn open(client: &Client, id: RecordId, version: u32, purpose: String, out: &Out) -> Result<ExitCode, Fault> {
    let request = v1::OpenRequest { record: id.to_string(), version, purpose };
    let r = super::reading::whole(client.records().open_large(request).await.map_err(fault)?.into_inner()).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let portions: Vec<_> = r.portions.iter().map(|p| json!({"label": p.label, "text": text(&p.text)})).collect();
    let json = json!({"record": r.record, "version": r.version, "label": r.label, "title": r.title, "origin": r.origin,
        "portions": portions, "audit_seq": r.audit_seq, "ledger_index": r.ledger_index});
    out.answer(&json, || {
        let bodies: Vec<_> = r.portions.iter().map(|p| format!("[{}]\n{}", p.label, text(&p.text))).collect();
        format!("{}  {}  {}  v{}\n\n{}", r.label, r.origin, r.title, r.version, bodies.join("\n\n"))
    });
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    /// Whoever has no clear answer is told how to ask again; any other failure is told as it is.
    #[test]
    fn an_unclear_answer_names_the_request() {
        let id = "0A".repeat(16);
        assert_eq!(given_id(&id).unwrap(), [10; 16]);
        assert!(["", "0a", "zz", &"0a".repeat(17)].iter().all(|bad| given_id(bad).is_err()));
        let hint = |reason| unclear(Fault::unavailable(reason, "x"), &id).hint;
        assert!(hint("NODE_UNREACHABLE").is_some_and(|h| h.ends_with(&format!("--request-id {id}"))));
        assert_eq!(hint("OVERLOADED"), None);
    }

    #[test]
    fn a_bad_text_is_named_with_the_place_of_its_first_bad_byte() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("演练.txt");
        let refused = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            let fault = text_file(&file, too_large).unwrap_err();
            assert!(fault.reason == "BAD_BODY" && fault.message.contains("演练.txt"), "{fault:?}");
            fault.message
        };
        assert!(refused(b"abc\xff\xfe").contains("at offset 3"));
        // Cut amid a character.
        assert!(refused("文本".as_bytes().get(..4).unwrap()).contains("at offset 3"));
        assert!(refused(b"").contains("holds no text"));
        assert!(refused(b" \n\t").contains("holds no text"));
        let portion = portion(&format!("{}:internal", file.display())).unwrap_err();
        assert!(portion.message.contains("演练.txt"), "{portion:?}");
        std::fs::write(&file, "文本").unwrap();
        assert_eq!(text_file(&file, too_large).unwrap(), "文本".as_bytes());
        // A portion that is too large is named, with what can be done.
        std::fs::write(&file, vec![b'x'; limits::BODY_BYTES + 1]).unwrap();
        let portion = super::portion(&format!("{}:internal", file.display())).unwrap_err();
        assert!(portion.reason == "BODY_TOO_LARGE" && portion.message.contains("演练.txt"), "{portion:?}");
        assert_eq!(portion.hint.as_deref(), Some(PORTION_ALONE));
    }
}
