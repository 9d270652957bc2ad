//! The folder of a copy, written as its files come: no more of them is in memory than a piece.
//!
//! Each file grows beside its name and is synced there; the names are given once all are whole, and the manifest comes last. So
//! a copy that does not come whole leaves nothing, and a folder without a manifest is no whole copy.

use crate::config::{Secrecy, write_file};
use crate::domain::fault::Fault;
use crate::seal::Sha256;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{Error, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The manifest of a copy: every other file with its digest.
pub(super) const MANIFEST: &str = "MANIFEST.json";
const README: &str = "README.txt";

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

/// A folder that is being filled.
pub(super) struct Folder {
    dir: PathBuf,
    /// Whether it was made for this copy, and goes with it.
    made: bool,
    whole: Vec<Growing>,
}

impl Folder {
    /// Begins one that is new or empty.
    pub(super) fn begin(dir: &Path) -> Result<Folder, Fault> {
        new_or_empty(dir)?;
        Ok(Folder { dir: dir.to_owned(), made: !dir.exists(), whole: Vec::new() })
    }

    /// Begins a file; `what` it is stands in the manifest.
    pub(super) fn file(&self, name: &str, what: &'static str) -> Result<Growing, Fault> {
        let (path, aside) = (self.dir.join(name), self.dir.join(format!(".{name}.part")));
        let unwritable = |e: Error| unwritable(&path, &e);
        std::fs::create_dir_all(&self.dir).map_err(unwritable)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).map_err(unwritable)?;
        let (hash, name) = (Sha256::default(), name.to_owned());
        Ok(Growing { name, what, path, aside, file, hash, bytes: 0, last: None, named: false })
    }

    /// Adds a file that is whole.
    pub(super) fn put(&mut self, name: &str, what: &'static str, bytes: &[u8]) -> Result<(), Fault> {
        let mut file = self.file(name, what)?;
        file.write(bytes)?;
        self.keep(file);
        Ok(())
    }

    /// Adds the text that says what the files are.
    pub(super) fn readme(&mut self, text: &str) -> Result<(), Fault> {
        self.put(README, "what each file is", text.as_bytes())
    }

    /// A file is whole; it gets its name with the others.
    pub(super) fn keep(&mut self, file: Growing) {
        self.whole.push(file);
    }

    /// Gives all files their names, and writes the manifest: `head`, and what is there. Answers how many files there are.
    pub(super) fn finish(mut self, mut head: Value) -> Result<usize, Fault> {
        let mut listed = Vec::with_capacity(self.whole.len());
        for file in &self.whole {
            file.file.sync_all().map_err(|e| unwritable(&file.path, &e))?;
        }
        for mut file in std::mem::take(&mut self.whole) {
            std::fs::rename(&file.aside, &file.path).map_err(|e| unwritable(&file.path, &e))?;
            file.named = true;
            let digest = HEXLOWER.encode(&std::mem::take(&mut file.hash).finish());
            listed.push(json!({"name": file.name, "what": file.what, "bytes": file.bytes, "sha256": digest}));
        }
        let files = listed.len().saturating_add(1);
        if let Some(fields) = head.as_object_mut() {
            fields.insert("files".into(), Value::Array(listed));
        }
        let mut text = serde_json::to_string_pretty(&head).map_err(|e| Fault::internal("ENCODE", e.to_string()))?;
        text.push('\n');
        write_file(&self.dir.join(MANIFEST), text.as_bytes(), Secrecy::Private)?;
        Ok(files)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.whole.clear();
        if self.made {
            // One in which something lies stays.
            let _ = std::fs::remove_dir(&self.dir);
        }
    }
}

/// A file that is being written. Dropped before it has its name, it is removed.
pub(super) struct Growing {
    name: String,
    what: &'static str,
    path: PathBuf,
    aside: PathBuf,
    file: File,
    hash: Sha256,
    bytes: u64,
    last: Option<u8>,
    named: bool,
}

impl Growing {
    /// The next piece.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), Fault> {
        self.file.write_all(piece).map_err(|e| unwritable(&self.path, &e))?;
        self.hash.update(piece);
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        self.last = piece.last().copied().or(self.last);
        Ok(())
    }

    /// Ends the last line.
    pub(super) fn end_line(&mut self) -> Result<(), Fault> {
        if self.last == Some(b'\n') { Ok(()) } else { self.write(b"\n") }
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if !self.named {
            let _ = std::fs::remove_file(&self.aside);
        }
    }
}

fn unwritable(path: &Path, e: &Error) -> Fault {
    Fault::usage("UNWRITABLE_FILE", format!("cannot write `{}`: {e}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::seal::sha256;

    #[test]
    fn what_lies_in_the_folder_stays() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Folder::begin(dir.path()).is_ok() && Folder::begin(&dir.path().join("new")).is_ok());
        let file = dir.path().join("old");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(Folder::begin(dir.path()).err().unwrap().reason, "DIR_NOT_EMPTY");
        assert_eq!(Folder::begin(&file).err().unwrap().reason, "UNWRITABLE_FILE");
        assert!(file.exists());
    }

    #[test]
    fn a_copy_has_its_names_when_it_is_whole_and_leaves_nothing_before() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("copy");
        let mut folder = Folder::begin(&out).unwrap();
        folder.put("a", "first", b"one").unwrap();
        let mut second = folder.file("b", "second").unwrap();
        second.write(b"t").unwrap();
        second.write(b"wo").unwrap();
        assert!(!out.join("a").exists() && out.join(".a.part").exists());
        drop(second);
        drop(folder);
        assert!(!out.exists());

        let mut folder = Folder::begin(&out).unwrap();
        folder.put("a", "first", b"one").unwrap();
        let mut second = folder.file("b", "second").unwrap();
        second.write(b"two").unwrap();
        second.end_line().unwrap();
        second.end_line().unwrap();
        folder.keep(second);
        assert_eq!(folder.finish(json!({"format": "x"})).unwrap(), 3);
        assert_eq!(std::fs::read(out.join("b")).unwrap(), b"two\n");
        let manifest: Value = serde_json::from_slice(&std::fs::read(out.join(MANIFEST)).unwrap()).unwrap();
        let sum = HEXLOWER.encode(&sha256(&[b"two\n"]));
        assert_eq!(
            manifest.pointer("/files/1"),
            Some(&json!({"name": "b", "what": "second", "bytes": 4, "sha256": sum}))
        );
        assert_eq!(out.read_dir().unwrap().count(), 3);
    }

    #[test]
    fn an_empty_folder_that_was_there_stays_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::begin(dir.path()).unwrap();
        folder.put("a", "first", b"one").unwrap();
        drop(folder);
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }
}
