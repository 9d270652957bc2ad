//! `hufu agency revoke|crl|renew|renew-person|new-ca`: the authority's revocation list, new certificates for the node and for people,
//! and the authority that takes the place of this one.

use super::output::Out;
use crate::config::{Secrecy, read_text, write_file};
use crate::domain::fault::Fault;
use crate::domain::time::Clock;
use crate::identity::{Authority, IdentityError, RevocationList, Subject, authorities, certificate_facts, is_dev};
use crate::node::SystemClock;
use crate::seal::KeyRing;
use crate::service::root_fingerprint;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A list lasts this long unless it is told otherwise.
const LIST_DAYS: u32 = 30;
/// So does a node's certificate.
const CERT_DAYS: u32 = 365;

#[derive(clap::Args)]
pub(super) struct Revoke {
    /// Certificate to revoke, PEM; may be given several times.
    #[arg(required_unless_present = "serials", value_name = "CERT")]
    certificates: Vec<PathBuf>,
    /// Serial number in hex of a certificate that is not at hand; may be given several times.
    #[arg(long = "serial", value_name = "HEX")]
    serials: Vec<String>,
    #[command(flatten)]
    list: List,
}

#[derive(clap::Args)]
pub(super) struct List {
    /// Folder with the authority's ca.pem and ca.key; crl.pem is there, or is written there.
    #[arg(long)]
    dir: PathBuf,
    /// The list counts for so many days; before they are over the next one must be everywhere.
    #[arg(long, default_value_t = LIST_DAYS, value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
}

#[derive(clap::Args)]
pub(super) struct Renew {
    /// Folder with ca.pem, ca.key, keyring, passphrase and node.pem, which is replaced.
    #[arg(long)]
    dir: PathBuf,
    /// The certificate lasts so many days.
    #[arg(long, default_value_t = CERT_DAYS, value_parser = clap::value_parser!(u32).range(1..=825))]
    days: u32,
}

#[derive(clap::Args)]
pub(super) struct RenewPerson {
    /// Certificates, PEM; each is replaced.
    #[arg(required = true, value_name = "CERT")]
    certificates: Vec<PathBuf>,
    /// Folder with ca.pem and ca.key.
    #[arg(long)]
    dir: PathBuf,
    /// They last so many days.
    #[arg(long, default_value_t = CERT_DAYS, value_parser = clap::value_parser!(u32).range(1..=825))]
    days: u32,
}

#[derive(clap::Args)]
pub(super) struct NewCa {
    /// Folder with ca.pem and ca.key; next-ca.pem and next-ca.key are written there.
    #[arg(long)]
    dir: PathBuf,
}

/// Makes the authority that takes the place of the one in the folder.
pub(super) fn new_ca(args: &NewCa, out: &Out) -> Result<ExitCode, Fault> {
    let old = authority(&args.dir)?;
    let (file, key) = (args.dir.join("next-ca.pem"), args.dir.join("next-ca.key"));
    // Another one in its place would be none that anybody has let in.
    if let Some(there) = [&file, &key].into_iter().find(|path| path.exists()) {
        return Err(Fault::conflict("EXISTS", format!("`{}` is there already", there.display())));
    }
    let (now, dev) = (SystemClock.now(), is_dev(old.certificate_der()));
    let next = Authority::create(old.agency(), old.federation(), old.agency().as_str(), now, dev)?;
    write_file(&key, next.key_pem().as_bytes(), Secrecy::Private)?;
    write_file(&file, next.certificate_pem().as_bytes(), Secrecy::Public)?;
    let fingerprint = root_fingerprint(next.certificate_der());
    out.answer(&json!({"agency": next.agency(), "ca": file, "fingerprint": fingerprint}), || {
        let say = out.say("指纹（请口头核对）", "fingerprint (compare by voice)");
        format!("{}\n{say} {fingerprint}", file.display())
    });
    Ok(ExitCode::SUCCESS)
}

/// New certificates for people's keys, in the place of the old ones: all of them, or none when one cannot be issued.
pub(super) fn renew_person(args: &RenewPerson, out: &Out) -> Result<ExitCode, Fault> {
    let (ca, now) = (authority(&args.dir)?, SystemClock.now());
    let (known, last) = (authorities(&read_text(&args.dir.join("ca.pem"))?)?, last_list(&args.dir)?);
    let mut renewed = Vec::new();
    for file in &args.certificates {
        let old = certificate_facts(&read_text(file)?)?;
        let pem = ca
            .renew_person(&old, (&known, last.as_ref()), now, args.days)
            .map_err(|e| Fault::from(e).hint(format!("`{}` stays as it is, and so do all others", file.display())))?;
        renewed.push((file, old.serial, certificate_facts(&pem)?, pem));
    }
    for (file, replaces, new, pem) in renewed {
        write_file(file, pem.as_bytes(), Secrecy::Public)?;
        let until = new.not_after;
        out.answer(
            &json!({"cert": file, "serial": new.serial, "replaces": replaces, "not_after": until.to_rfc3339()}),
            || format!("{}  {}  {} {}", file.display(), new.serial, out.say("有效期至", "until"), until.to_date()),
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds to the list.
pub(super) fn revoke(args: &Revoke, out: &Out) -> Result<ExitCode, Fault> {
    let ca = authority(&args.list.dir)?;
    let mut serials = Vec::new();
    for file in &args.certificates {
        let facts = certificate_facts(&read_text(file)?)?;
        // An authority has no such name, and nobody takes its root from a list.
        if facts.spiffe.is_none_or(|name| name.agency() != ca.agency() || name.federation() != ca.federation()) {
            let why = format!("`{}` is no certificate of a node or person of {}", file.display(), ca.agency());
            return Err(Fault::usage("BAD_CERTIFICATE", why).hint("each agency's authority revokes its own"));
        }
        serials.push(facts.serial);
    }
    for serial in &args.serials {
        serials.push(serial.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase());
    }
    write_list(&ca, &args.list, &serials, out)
}

/// The same list for longer.
pub(super) fn renew_list(args: &List, out: &Out) -> Result<ExitCode, Fault> {
    write_list(&authority(&args.dir)?, args, &[], out)
}

fn authority(dir: &Path) -> Result<Authority, Fault> {
    Ok(Authority::from_pem(&read_text(&dir.join("ca.pem"))?, &read_text(&dir.join("ca.key"))?)?)
}

fn write_list(ca: &Authority, args: &List, serials: &[String], out: &Out) -> Result<ExitCode, Fault> {
    let (file, last) = (list_file(&args.dir), last_list(&args.dir)?);
    let pem = ca.revoke(last.as_ref(), serials, SystemClock.now(), args.days)?;
    let list = RevocationList::from_pem(&pem, ca.certificate_der())?;
    write_file(&file, pem.as_bytes(), Secrecy::Public)?;
    let (number, revoked, until) = (list.number(), list.revoked().len(), list.next_update());
    let json = json!({
        "crl": file, "number": number, "revoked": revoked, "added": serials, "next_update": until.to_rfc3339(),
    });
    out.answer(&json, || {
        let (of, until) =
            (out.say("吊销证书数", "revoked"), format!("{} {}", out.say("有效期至", "until"), until.to_date()));
        let next = out.say(
            "请交给每个节点（本机构和其他机构），放到其配置 `[crl]` 所指的位置。",
            "give it to every node, of this agency and of the others: it goes where `[crl]` of the configuration says",
        );
        format!("{}  #{number}  {of} {revoked}  {until}\n{next}", file.display())
    });
    Ok(ExitCode::SUCCESS)
}

fn list_file(dir: &Path) -> PathBuf {
    dir.join("crl.pem")
}

/// The list of before, of whichever authority in ca.pem signed it: the one that took another's place goes on with its list. None
/// where there never was one.
fn last_list(dir: &Path) -> Result<Option<RevocationList>, Fault> {
    let file = list_file(dir);
    // A list that is lost begins again with number 1, which no node takes that has seen a later one: what was revoked does
    // not come back because somebody mislaid a file.
    if !file.exists() {
        return Ok(None);
    }
    let text = read_text(&file)?;
    let known = authorities(&read_text(&dir.join("ca.pem"))?)?;
    let mut read = Err(IdentityError::List("there is no authority"));
    for root in &known {
        read = RevocationList::from_pem(&text, root);
        if read.is_ok() {
            break;
        }
    }
    read.map(Some).map_err(|e| {
        Fault::from(e).hint("put the newest list back, from a backup or from any node that has it, then repeat")
    })
}

/// A new certificate for the node's key, in the place of the old one.
pub(super) fn renew(args: &Renew, out: &Out) -> Result<ExitCode, Fault> {
    let ca = authority(&args.dir)?;
    let file = args.dir.join("node.pem");
    let old = certificate_facts(&read_text(&file)?)?;
    let name = old.spiffe.filter(|name| name.agency() == ca.agency());
    let Some(Subject::Node(id)) = name.as_ref().map(|n| n.subject()) else {
        return Err(Fault::usage("BAD_CERTIFICATE", format!("`{}` is no node's of {}", file.display(), ca.agency())));
    };
    let passphrase = zeroize::Zeroizing::new(read_text(&args.dir.join("passphrase"))?);
    let keyring = args.dir.join("keyring");
    let sealed = std::fs::read(&keyring)
        .map_err(|e| Fault::usage("UNREADABLE_FILE", format!("cannot read `{}`: {e}", keyring.display())))?;
    let key = KeyRing::open_file(&sealed, passphrase.trim_end().as_bytes())?.signing_key()?;
    if *key.public().as_bytes() != old.public_key {
        return Err(Fault::usage("BAD_KEY", format!("`{}` is for another key than the key ring's", file.display())));
    }
    let pem = ca.issue_node(id, &key.to_pkcs8_pem()?, SystemClock.now(), args.days)?;
    let new = certificate_facts(&pem)?;
    write_file(&file, pem.as_bytes(), Secrecy::Public)?;
    let until = new.not_after;
    out.answer(
        &json!({"cert": file, "serial": new.serial, "replaces": old.serial, "not_after": until.to_rfc3339()}),
        || format!("{}  {}  {} {}", file.display(), new.serial, out.say("有效期至", "until"), until.to_date()),
    );
    Ok(ExitCode::SUCCESS)
}
