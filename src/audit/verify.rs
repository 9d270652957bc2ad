//! The offline verifier of an exported log. It trusts nothing in the directory but, if given, one key.

use super::error::AuditError;
use super::event::{Event, MAX_EVENT_BYTES};
use super::merkle::{Hash, Tree, leaf_hash};
use super::note::{Checkpoint, MAX_NOTE_BYTES, Note, NoteKey};
use super::tiles::{CHECKPOINT, Resource, WIDTH, parse_bundle, parse_tile, resources};
use crate::seal::PublicKey;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// The one further file that an export may have. What it says is for the caller to check.
const GENESIS: &str = "genesis.json";

/// What an export was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Name of the log, from its checkpoint.
    pub origin: String,
    /// Number of events.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// Whether the checkpoint's signature was checked with a key that the caller gave. When not, the export
    /// agrees with itself and anybody may have made it.
    pub pinned: bool,
    /// The checkpoint with all its signatures; those of witnesses are not checked here.
    pub note: Note,
}

/// Checks an exported directory: the checkpoint and its signature, every entry bundle, every tile, the root,
/// and that there is no file which the checkpoint does not cover (`genesis.json` excepted).
///
/// A key from the export's own `genesis.json` pins nothing; a caller that passes one must say so to its user.
/// Memory: about 100 bytes for each event.
///
/// # Errors
/// [`AuditError::File`] naming the file that is wrong, [`AuditError::Note`] for the checkpoint's content and
/// signature, [`AuditError::Io`] when the system fails.
pub fn verify_dir(dir: &Path, pinned: Option<PublicKey>) -> Result<Verified, AuditError> {
    let text = String::from_utf8(read(dir, CHECKPOINT, MAX_NOTE_BYTES as u64)?)
        .map_err(|_| AuditError::file(CHECKPOINT, "is not UTF-8"))?;
    let note = Note::parse(&text)?;
    let head = Checkpoint::parse(note.text())?;
    if let Some(key) = pinned {
        note.verify(&[NoteKey::new(&head.origin, key)?])?;
    }

    // The files are read in the order of the layout: a size that the directory does not have ends at the first
    // missing file, before it costs memory.
    let mut seen = BTreeSet::from([CHECKPOINT.to_owned(), GENESIS.to_owned()]);
    let mut entries: Vec<Hash> = Vec::new();
    let mut leaves = Tree::new();
    let mut upper: Vec<(Resource, Vec<Hash>)> = Vec::new();
    for resource in resources(head.size) {
        let path = resource.path();
        match resource {
            Resource::Entries { .. } => entries.extend(read_bundle(dir, &path, resource)?),
            Resource::Tile { level: 0, .. } => {
                for hash in read_tile(dir, &path, resource)? {
                    leaves.append(hash);
                }
            }
            Resource::Tile { .. } => upper.push((resource, read_tile(dir, &path, resource)?)),
        }
        seen.insert(path);
    }
    compare(&head, &entries, &leaves)?;
    for (resource, hashes) in &upper {
        if resource.hashes(&leaves) != Some(hashes.as_slice()) {
            return Err(AuditError::file(&resource.path(), "does not match the tiles below it"));
        }
    }
    no_strangers(dir, "", &seen)?;
    Ok(Verified { origin: head.origin, size: head.size, root: head.root, pinned: pinned.is_some(), note })
}

/// Entries, level 0 and the root must agree. Where they do not, the signed root says which of them is wrong.
fn compare(head: &Checkpoint, entries: &[Hash], leaves: &Tree) -> Result<(), AuditError> {
    let by_tiles = leaves.root(head.size) == Some(head.root);
    let by_entries = || {
        let mut tree = Tree::new();
        entries.iter().for_each(|e| tree.append(*e));
        tree.root(head.size) == Some(head.root)
    };
    let tiles = leaves.subtrees(0, 0, head.size).unwrap_or_default();
    let Some(first) = entries.iter().zip(tiles).position(|(a, b)| a != b) else {
        return if by_tiles { Ok(()) } else { Err(AuditError::file(CHECKPOINT, "has a root that no entry leads to")) };
    };
    let index = first as u64 / WIDTH;
    let width = (head.size - index * WIDTH).min(WIDTH);
    let bundle = Resource::Entries { index, width }.path();
    let tile = Resource::Tile { level: 0, index, width }.path();
    if by_tiles {
        Err(AuditError::file(&bundle, format!("does not have the signed entry {first}")))
    } else if by_entries() {
        Err(AuditError::file(&tile, format!("does not have the signed hash of entry {first}")))
    } else {
        Err(AuditError::file(&bundle, format!("and `{tile}` differ at entry {first}, and neither leads to the root")))
    }
}

fn read_bundle(dir: &Path, path: &str, resource: Resource) -> Result<Vec<Hash>, AuditError> {
    let (first, width) = resource.span();
    let bytes = read(dir, path, width * (MAX_EVENT_BYTES as u64 + 2))?;
    let entries =
        parse_bundle(&bytes, width).ok_or_else(|| AuditError::file(path, format!("is not {width} entries")))?;
    let mut hashes = Vec::with_capacity(entries.len());
    for (seq, entry) in (first..).zip(entries) {
        let event = Event::from_bytes(entry)
            .map_err(|e| AuditError::file(path, format!("has an entry {seq} that does not parse: {e}")))?;
        if event.seq != seq {
            return Err(AuditError::file(path, format!("has event {} in the place of {seq}", event.seq)));
        }
        hashes.push(leaf_hash(entry));
    }
    Ok(hashes)
}

fn read_tile(dir: &Path, path: &str, resource: Resource) -> Result<Vec<Hash>, AuditError> {
    let (_, width) = resource.span();
    let bytes = read(dir, path, width * 32)?;
    parse_tile(&bytes, width).ok_or_else(|| AuditError::file(path, format!("is not {width} hashes")))
}

/// Reads a regular file of at most `max` bytes.
fn read(dir: &Path, path: &str, max: u64) -> Result<Vec<u8>, AuditError> {
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => AuditError::file(path, "is missing"),
        _ => AuditError::Io { step: "read", path: path.to_owned(), source },
    };
    let place = dir.join(path);
    if !fs::symlink_metadata(&place).map_err(io)?.is_file() {
        return Err(AuditError::file(path, "is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(&place).and_then(|f| f.take(max.saturating_add(1)).read_to_end(&mut bytes)).map_err(io)?;
    if bytes.len() as u64 > max {
        return Err(AuditError::file(path, "is longer than the checkpoint allows"));
    }
    Ok(bytes)
}

/// Refuses every file that was not read, and every directory that none of them needs.
fn no_strangers(dir: &Path, below: &str, seen: &BTreeSet<String>) -> Result<(), AuditError> {
    let io = |source| AuditError::Io { step: "list", path: below.to_owned(), source };
    for entry in fs::read_dir(dir.join(below)).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let path = match name.to_str() {
            Some(name) if below.is_empty() => name.to_owned(),
            Some(name) => format!("{below}/{name}"),
            None => return Err(AuditError::file(&name.to_string_lossy(), "is not covered by the checkpoint")),
        };
        let kind = entry.file_type().map_err(io)?;
        let inside = format!("{path}/");
        let needed = seen.range(inside.clone()..).next().is_some_and(|s| s.starts_with(&inside));
        match (kind.is_dir(), kind.is_file()) {
            (true, _) if needed => no_strangers(dir, &path, seen)?,
            (_, true) if seen.contains(&path) => {}
            _ => return Err(AuditError::file(&path, "is not covered by the checkpoint")),
        }
    }
    Ok(())
}
