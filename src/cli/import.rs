//! `hufu record import`.

use super::args::Globals;
use super::bench_publish::fresh;
use super::client::Client;
use super::import_stix;
use super::large;
use super::marking::Marking;
use super::output::{Out, shown};
use super::record::{CHECK_PATH, SPLIT};
use super::stream::PublishStream;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::label::Grade;
use crate::domain::limits;
use crate::interop::{self, StixFiles, StixImport};
use crate::wire::pb::v1;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::future::ready;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

/// Requests under way at once: as many as a node takes on one stream.
const AT_ONCE: usize = 64;
/// Large texts in memory at once.
const LARGE_AT_ONCE: usize = 2;
/// A node or leader that is away is asked again for this long; then the import ends, and says how far it came.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Plain or Markdown text, UTF-8.
    Text,
    /// Bundles of STIX 2.0 or 2.1: a record for each object.
    Stix,
    /// MISP; not in this version.
    Misp,
}

#[derive(clap::Args)]
pub(super) struct Import {
    /// Files, or folders that are searched for .md and .txt files, or .json files with STIX bundles.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// What the files are.
    #[arg(long, value_enum)]
    format: Format,
    /// Grade of all: internal, confidential, secret or top-secret. A STIX object goes without it only if its markings state
    /// one.
    #[arg(long)]
    grade: Option<Grade>,
    #[command(flatten)]
    marking: Marking,
    /// Classification period in years; the agreement's by default.
    #[arg(long, value_name = "YEARS")]
    period: Option<u8>,
}

/// So many of the files that are left out are named.
const NAMED: usize = 5;

/// Which files an import takes out of a folder.
struct Wanted {
    endings: &'static [&'static str],
    en: &'static str,
    zh: &'static str,
    /// The relative path is the identity, so that it may not be there twice.
    by_path: bool,
}

const TEXTS: Wanted = Wanted { endings: &["md", "txt"], en: ".md or .txt", zh: ".md 或 .txt", by_path: true };
const BUNDLES: Wanted = Wanted { endings: &["json"], en: ".json", zh: ".json", by_path: false };

/// What a folder holds and an import leaves out.
struct Skipped {
    name: String,
    link: bool,
}

/// One file, by its path relative to what was named.
struct Source {
    file: PathBuf,
    name: String,
}

/// All that is to be imported, each under the name that its line has.
enum Work {
    Texts(Grade, Vec<Source>),
    Stix(StixImport),
}

impl Work {
    fn names(&self) -> Vec<String> {
        match self {
            Work::Texts(_, sources) => sources.iter().map(|s| s.name.clone()).collect(),
            Work::Stix(import) => import.names().map(str::to_owned).collect(),
        }
    }

    /// Whether it is a file that does not go in one message. What a bundle holds is in memory with its bundle.
    fn is_large(&self, number: usize) -> bool {
        let size = |source: &Source| std::fs::metadata(&source.file).map_or(0, |of| of.len());
        match self {
            Work::Texts(_, sources) => sources.get(number).is_some_and(|s| size(s) > limits::BODY_BYTES as u64),
            Work::Stix(_) => false,
        }
    }

    /// The request for one of the names, and what its author should know.
    fn request(
        &self,
        (number, name): (usize, &str),
        ask: &Import,
        timeout_ms: u32,
    ) -> Result<(v1::PublishRequest, Option<String>), Fault> {
        let base = base(ask, timeout_ms);
        match self {
            Work::Texts(grade, sources) => {
                let absent = || Fault::internal("INTERNAL", "no text has this number");
                Ok((text(sources.get(number).ok_or_else(absent)?, *grade, base)?, None))
            }
            Work::Stix(import) => import_stix::request(name, import.draft(number)?, ask.grade, base),
        }
    }
}

#[derive(Default)]
struct Counts {
    imported: u64,
    updated: u64,
    unchanged: u64,
    refused: u64,
}

pub(super) async fn run(ask: Import, client: Client, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    let mut skipped = Vec::new();
    let found = work(&ask, &mut skipped);
    // Before anything else: it may be why nothing was found.
    let wanted = if matches!(ask.format, Format::Stix) { &BUNDLES } else { &TEXTS };
    if let Some(words) = skipped_words(wanted, &skipped, out) {
        out.progress(&shown(&words));
    }
    let work = found?;
    let names = work.names();
    let bar = progress(names.len() as u64, out);
    let mut counts = Counts::default();
    let sending = Sending { client: &client, g, stream: Mutex::default() };
    let to = &sending;
    let mut away = None;
    let is_away = Cell::new(false);
    let (of, asked, timeout_ms, large) = (&work, &ask, client.timeout_ms(), Semaphore::new(LARGE_AT_ONCE));
    let turns = &large;
    // A file is read when there is room for it. When the node is away nothing more is begun, and what is under way is told.
    let numbered = names.iter().map(String::as_str).enumerate();
    let begun = stream::iter(numbered).take_while(|_| ready(!is_away.get()));
    let running = begun.map(|(number, name)| async move {
        let _turn = if of.is_large(number) { turns.acquire().await.ok() } else { None };
        (name, one(to, of.request((number, name), asked, timeout_ms)).await)
    });
    let mut running = pin!(running.buffered(AT_ONCE));
    while let Some((name, outcome)) = running.next().await {
        away = away.or(outcome.as_ref().err().filter(|f| ends(f)).cloned());
        is_away.set(away.is_some());
        let refusal = outcome.as_ref().err().map(|f| refusal_of(f, out));
        let line = counts.take(name, outcome);
        bar.suspend(|| out.answer(&line, || sentence(&line, refusal.as_deref(), out)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let Counts { imported, updated, unchanged, refused } = counts;
    let total = json!({"imported": imported, "updated": updated, "unchanged": unchanged, "refused": refused});
    out.answer(&total, || {
        format!(
            "{} {imported}  {} {updated}  {} {unchanged}  {} {refused}",
            out.say("新导入", "imported"),
            out.say("更新", "updated"),
            out.say("未变", "unchanged"),
            out.say("拒绝", "refused")
        )
    });
    // Not the files' fault: what is left is imported by the same command.
    if let Some(fault) = away {
        let later = "run the same import again: what is imported already stays as it is";
        return Err(if again(&fault) { fault.hint(later) } else { fault });
    }
    Ok(match (refused, imported + updated + unchanged) {
        (0, _) => ExitCode::SUCCESS,
        (_, 0) => ExitCode::from(FaultKind::Usage.exit_code()),
        _ => ExitCode::from(FaultKind::Partial.exit_code()),
    })
}

impl Counts {
    fn take(&mut self, source: &str, outcome: Result<v1::PublishReply, Fault>) -> Value {
        match outcome {
            Ok(r) => {
                match r.result.as_str() {
                    "updated" => self.updated += 1,
                    "unchanged" => self.unchanged += 1,
                    _ => self.imported += 1,
                }
                let reason = (!r.warning.is_empty()).then_some(r.warning);
                json!({"source": source, "record": r.record, "version": r.version, "result": r.result, "reason": reason})
            }
            Err(fault) => {
                self.refused += 1;
                let reason = match &fault.hint {
                    Some(hint) => format!("{}; {hint}", fault.message),
                    None => fault.message,
                };
                json!({"source": source, "record": null, "result": "refused", "reason": reason})
            }
        }
    }
}

/// Why it was refused, and what to do, in the person's language.
fn refusal_of(fault: &Fault, out: &Out) -> String {
    let (told, gap) = (out.told(fault), out.say("；", "; "));
    fault.hint.as_deref().map_or_else(|| told.clone(), |hint| format!("{told}{gap}{}", out.sentence(hint)))
}

fn sentence(line: &Value, refusal: Option<&str>, out: &Out) -> String {
    let field = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or("-");
    let warning = line.get("reason").and_then(Value::as_str).map(|r| out.sentence(r));
    let reason = refusal.map(str::to_owned).or(warning).map(|r| format!("  ({r})")).unwrap_or_default();
    let result = match field("result") {
        "refused" => out.say("拒绝", "refused").to_owned(),
        other => out.word(other),
    };
    format!("{result:<9}  {}  {}{reason}", field("record"), field("source"))
}

/// Where all requests of an import go.
struct Sending<'a> {
    client: &'a Client,
    g: &'a Globals,
    stream: Mutex<Option<PublishStream>>,
}

impl Sending<'_> {
    /// Sends one on the stream, or on a new one in the place of one that has ended; what is large by a call of its own.
    async fn publish(&self, request: v1::PublishRequest) -> Result<v1::PublishReply, Fault> {
        if request.body.len() > limits::BODY_BYTES {
            return large::import(self.client, request).await;
        }
        let stream = {
            let mut known = self.stream.lock().await;
            match known.as_ref().filter(|s| !s.is_over()) {
                Some(open) => open.clone(),
                None => known.insert(PublishStream::open(self.client.records()).await?).clone(),
            }
        };
        stream.publish(request).await
    }
}

/// Imports one, and tells with the answer what its author should know.
async fn one(
    to: &Sending<'_>,
    request: Result<(v1::PublishRequest, Option<String>), Fault>,
) -> Result<v1::PublishReply, Fault> {
    let (request, note) = request?;
    let mut reply = import(to, request).await?;
    let told = [reply.warning, note.unwrap_or_default()];
    reply.warning = told.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join("; ");
    Ok(reply)
}

/// Sends one until the node has an answer. The same again is safe: the source is its identity.
async fn import(to: &Sending<'_>, mut request: v1::PublishRequest) -> Result<v1::PublishReply, Fault> {
    let give_up = Instant::now() + PATIENCE;
    let mut lost = false;
    loop {
        fresh(&mut request);
        match to.publish(request.clone()).await.map_err(|fault| to.g.cause(fault)) {
            Ok(mut reply) => {
                // An answer that was lost did its work: it was this run that imported it.
                if lost && reply.result == "unchanged" {
                    reply.result = if reply.version > 1 { "updated" } else { "imported" }.to_owned();
                }
                return Ok(reply);
            }
            Err(fault) if again(&fault) && Instant::now() < give_up => {
                lost = true;
                tokio::time::sleep(PAUSE).await;
            }
            Err(fault) => return Err(fault),
        }
    }
}

fn again(fault: &Fault) -> bool {
    fault.kind == FaultKind::Unavailable && fault.reason != "AUDIT_FAILED" || fault.reason == "IN_PROGRESS"
}

/// What no other file would fare better with: a node that is away, or that does not take the person's certificate.
fn ends(fault: &Fault) -> bool {
    again(fault) || fault.reason == "CERTIFICATE_REFUSED"
}

/// What is found under the named paths and what it is read as.
fn work(ask: &Import, skipped: &mut Vec<Skipped>) -> Result<Work, Fault> {
    match ask.format {
        Format::Text => {
            let grade = ask.grade.ok_or_else(|| {
                Fault::usage("UNKNOWN_GRADE", "a text carries no grade of its own")
                    .hint("add --grade internal|confidential|secret|top-secret")
            })?;
            Ok(Work::Texts(grade, sources(&ask.paths, &TEXTS, skipped)?))
        }
        Format::Stix => Ok(Work::Stix(stix(&sources(&ask.paths, &BUNDLES, skipped)?))),
        Format::Misp => Err(Fault::usage("NOT_SUPPORTED", "`--format misp` is not available in this version")
            .hint("convert it to a STIX bundle or to text")),
    }
}

/// What is the same for all of an import.
fn base(ask: &Import, timeout_ms: u32) -> v1::PublishRequest {
    v1::PublishRequest {
        period_years: u32::from(ask.period.unwrap_or(0)),
        wait: "one".into(),
        wait_ms: 2000,
        timeout_ms,
        // Tells the answers apart; the source is the identity.
        request_id: Vec::new(),
        ..ask.marking.request()
    }
}

fn cannot_read(e: std::io::Error) -> Fault {
    Fault::usage("UNREADABLE_FILE", format!("cannot read it: {e}")).hint(CHECK_PATH)
}

fn text(source: &Source, grade: Grade, base: v1::PublishRequest) -> Result<v1::PublishRequest, Fault> {
    let size = std::fs::metadata(&source.file).map_err(cannot_read)?.len();
    if size > limits::TEXT_BYTES as u64 {
        let most = limits::TEXT_BYTES;
        return Err(Fault::usage("BODY_TOO_LARGE", format!("the file has {size} bytes; the limit is {most} (16 MiB)"))
            .hint(SPLIT));
    }
    let stem = source.file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let document = interop::text(&stem, &std::fs::read(&source.file).map_err(cannot_read)?)?;
    Ok(v1::PublishRequest {
        title: document.title,
        body: document.body.into_bytes(),
        grade: grade.to_string(),
        source: format!("text:{}", source.name),
        ..base
    })
}

/// Reads all files: one may say what another names.
fn stix(sources: &[Source]) -> StixImport {
    let mut files = StixFiles::default();
    for source in sources {
        // One byte more than fits tells that it does not; a file without end is not read to its end.
        match read_up_to(&source.file, files.bytes_left() as u64 + 1) {
            Ok(bytes) => files.add(&source.name, &bytes),
            Err(e) => files.refuse(&source.name, cannot_read(e)),
        }
    }
    files.finish()
}

fn read_up_to(file: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Says what was left out: how much, and the first few by name.
fn skipped_words(wanted: &Wanted, skipped: &[Skipped], out: &Out) -> Option<String> {
    let named = |s: &Skipped| match s.link {
        true => format!("`{}`{}", s.name, out.say("（链接）", " (a link)")),
        false => format!("`{}`", s.name),
    };
    let mut names: Vec<&Skipped> = skipped.iter().collect();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let first: Vec<String> = names.into_iter().take(NAMED).map(named).collect();
    let more = if skipped.len() > NAMED { out.say("……", ", …") } else { "" };
    let names = format!("{}{more}", first.join(out.say("、", ", ")));
    (!skipped.is_empty()).then(|| match out.is_zh() {
        true => format!("略过 {} 个：不是 {} 文件，或是链接：{names}", skipped.len(), wanted.zh),
        false => format!("skipped {}, which are no {} files, or links: {names}", skipped.len(), wanted.en),
    })
}

/// Every file under the paths, sorted; what is named directly is taken whatever its ending. What a folder holds beside
/// goes to `skipped`.
fn sources(paths: &[PathBuf], wanted: &Wanted, skipped: &mut Vec<Skipped>) -> Result<Vec<Source>, Fault> {
    let mut found = Vec::new();
    for path in paths {
        let unreadable = |e: std::io::Error| unreadable(path, &e);
        if std::fs::metadata(path).map_err(unreadable)?.is_dir() {
            walk(path, path, wanted, (&mut found, &mut *skipped))?;
        } else {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            found.push(Source { file: path.clone(), name });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let mut names = BTreeSet::new();
    if let Some(twice) = found.iter().find(|s| wanted.by_path && !names.insert(s.name.clone())) {
        return Err(Fault::usage("BAD_SOURCE", format!("`{}` is there twice under the named paths", twice.name))
            .hint("the relative path is the identity of a source: import the paths one after the other"));
    }
    if found.is_empty() {
        return Err(Fault::usage("BAD_SOURCE", format!("no {} file under the named paths", wanted.en))
            .hint("name a file, or a folder that has some"));
    }
    Ok(found)
}

fn walk(
    root: &Path,
    dir: &Path,
    wanted: &Wanted,
    (found, skipped): (&mut Vec<Source>, &mut Vec<Skipped>),
) -> Result<(), Fault> {
    for entry in std::fs::read_dir(dir).map_err(|e| unreadable(dir, &e))? {
        let entry = entry.map_err(|e| unreadable(dir, &e))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(|e| unreadable(dir, &e))?);
        let fits = path.extension().is_some_and(|e| wanted.endings.iter().any(|w| e == *w));
        // Links are not followed: a loop would never end, and a link may lead out of what was named.
        if kind.is_dir() {
            walk(root, &path, wanted, (&mut *found, &mut *skipped))?;
            continue;
        }
        let relative = path.strip_prefix(root).unwrap_or(&path);
        let parts: Vec<_> = relative.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
        let name = parts.join("/");
        if kind.is_file() && fits {
            found.push(Source { file: path.clone(), name });
        } else {
            skipped.push(Skipped { name, link: kind.is_symlink() });
        }
    }
    Ok(())
}

fn unreadable(path: &Path, e: &std::io::Error) -> Fault {
    Fault::usage("UNREADABLE_FILE", format!("cannot read `{}`: {e}", path.display())).hint(CHECK_PATH)
}

/// A bar on a terminal, nothing elsewhere.
pub(super) fn progress(steps: u64, out: &Out) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if out.is_json() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        for name in ["a.md", "sub/b.txt", "sub/c.pdf", "d.docx", "README"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(dir.path().join("a.md"), dir.path().join("e.md")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        let mut skipped = Vec::new();
        let found = sources(&[dir.path().to_owned()], &TEXTS, &mut skipped).unwrap();
        assert_eq!(found.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["a.md", "sub/b.txt"]);
        let en = Out::of_words(&["--lang=en".to_owned()]);
        let told = skipped_words(&TEXTS, &skipped, &en).unwrap();
        let names = "`README`, `d.docx`, `e.md` (a link), `loop` (a link), `sub/c.pdf`";
        assert_eq!(told, format!("skipped 5, which are no .md or .txt files, or links: {names}"));
        skipped.push(Skipped { name: "z".into(), link: false });
        assert!(skipped_words(&TEXTS, &skipped, &en).unwrap().ends_with(&format!("{names}, …")));
        assert!(skipped_words(&TEXTS, &[], &en).is_none());
        // Named, though nothing is left to import.
        let mut skipped = Vec::new();
        std::fs::remove_file(dir.path().join("sub/b.txt")).unwrap();
        assert!(sources(&[dir.path().join("sub")], &TEXTS, &mut skipped).is_err());
        assert_eq!(skipped.len(), 1);
        // What is named directly is taken whatever its ending.
        assert_eq!(sources(&[dir.path().join("d.docx")], &TEXTS, &mut skipped).unwrap().len(), 1);
    }

    #[test]
    fn bundles_are_read_from_folders_and_a_file_without_end_is_not_read_to_it() {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["a", "b"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
            std::fs::write(dir.path().join(sub).join("same.json"), "{}").unwrap();
        }
        std::fs::write(dir.path().join("note.md"), "x").unwrap();
        let mut skipped = Vec::new();
        let found = sources(&[dir.path().join("a"), dir.path().join("b")], &BUNDLES, &mut skipped).unwrap();
        assert_eq!(found.len(), 2, "what they hold is identified, not their path");
        assert_eq!(stix(&found).names().collect::<Vec<_>>(), ["same.json", "same.json"]);
        assert_eq!(sources(&[dir.path().to_owned()], &BUNDLES, &mut skipped).unwrap().len(), 2);
        let en = Out::of_words(&["--lang=en".to_owned()]);
        let told = skipped_words(&BUNDLES, &skipped, &en).unwrap();
        assert_eq!(told, "skipped 1, which are no .json files, or links: `note.md`");
        let endless = Source { file: "/dev/zero".into(), name: "zero".into() };
        let import = stix(&[endless]);
        assert_eq!(import.draft(0).unwrap_err().reason, "BODY_TOO_LARGE");
    }
}
