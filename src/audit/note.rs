//! C2SP signed notes and checkpoints (c2sp.org/signed-note, c2sp.org/tlog-checkpoint).
//!
//! The signature is plain Ed25519 over the text of the note: the standard leaves no room for a domain prefix.
//! No other signature of this product can be taken for one, and the other way round, because its signed bytes
//! begin with a 32-bit length, which has a zero byte, and a note may hold no control character but newline.

use super::error::AuditError;
use super::merkle::Hash;
use crate::seal::{self, PublicKey, Signature, SigningKey};
use data_encoding::BASE64;
use std::fmt;

/// Largest note in bytes.
pub(crate) const MAX_NOTE_BYTES: usize = 1 << 20;
const MAX_SIGNATURES: usize = 100;
/// Ed25519 over the note text.
const ED25519: u8 = 0x01;

/// A key that a verifier trusts, with the name it signs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    key: PublicKey,
}

impl NoteKey {
    /// A key under a name.
    ///
    /// # Errors
    /// [`AuditError::Note`] when the name is empty or has spaces, `+` or control characters.
    pub fn new(name: &str, key: PublicKey) -> Result<NoteKey, AuditError> {
        if is_key_name(name) {
            Ok(NoteKey { name: name.to_owned(), key })
        } else {
            Err(AuditError::Note("the name of its key is not valid"))
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// First four bytes of SHA-256(name ‖ newline ‖ 0x01 ‖ key).
    pub fn id(&self) -> [u8; 4] {
        let hash = seal::sha256(&[self.name.as_bytes(), b"\n", &[ED25519], self.key.as_bytes().as_slice()]);
        hash.first_chunk::<4>().copied().unwrap_or_default()
    }
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    /// Id of the key.
    pub key_id: [u8; 4],
    /// The signature: 64 bytes for Ed25519, anything for keys that are not known here.
    pub bytes: Vec<u8>,
}

/// A text with signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Signs a text, which must end in a newline.
    ///
    /// # Errors
    /// [`AuditError::Note`] when the text or the name cannot stand in a note.
    pub fn sign(text: &str, name: &str, key: &SigningKey) -> Result<Note, AuditError> {
        if !text.ends_with('\n') || !is_text(text) {
            return Err(AuditError::Note("its text cannot stand in a note"));
        }
        let mut note = Note { text: text.to_owned(), signatures: Vec::new() };
        note.cosign(name, key)?;
        Ok(note)
    }

    /// Adds a signature.
    ///
    /// # Errors
    /// [`AuditError::Note`] when the name cannot stand in a note.
    pub fn cosign(&mut self, name: &str, key: &SigningKey) -> Result<(), AuditError> {
        let known = NoteKey::new(name, key.public())?;
        let signature = key.sign_raw(self.text.as_bytes());
        self.signatures.push(NoteSignature {
            name: name.to_owned(),
            key_id: known.id(),
            bytes: signature.as_bytes().to_vec(),
        });
        Ok(())
    }

    /// Parses a note without trusting it.
    ///
    /// # Errors
    /// [`AuditError::Note`] when it is malformed in any line.
    pub fn parse(note: &str) -> Result<Note, AuditError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(AuditError::Note("it is too long"));
        }
        if !is_text(note) {
            return Err(AuditError::Note("it has control characters"));
        }
        let (text, tail) = note.rsplit_once("\n\n").ok_or(AuditError::Note("it has no signatures"))?;
        let lines = tail.strip_suffix('\n').ok_or(AuditError::Note("its last line is cut off"))?;
        let signatures = lines
            .split('\n')
            .take(MAX_SIGNATURES + 1)
            .map(|line| signature_line(line).ok_or(AuditError::Note("a signature line is malformed")))
            .collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(AuditError::Note("it has too many signatures"));
        }
        Ok(Note { text: format!("{text}\n"), signatures })
    }

    /// Checks the signatures of the known keys and returns the keys that signed. Signatures of unknown keys are
    /// ignored, even if they share a name or an id with a known one.
    ///
    /// # Errors
    /// [`AuditError::Note`] when no known key signed, or when any signature of a known key is wrong.
    pub fn verify<'k>(&self, keys: &'k [NoteKey]) -> Result<Vec<&'k NoteKey>, AuditError> {
        let mut signers: Vec<&'k NoteKey> = Vec::new();
        for signature in &self.signatures {
            for key in keys.iter().filter(|k| k.name == signature.name && k.id() == signature.key_id) {
                let bytes: [u8; 64] = signature
                    .bytes
                    .as_slice()
                    .try_into()
                    .map_err(|_| AuditError::Note("a signature of a known key has the wrong length"))?;
                key.key
                    .verify_raw(self.text.as_bytes(), &Signature::from_bytes(bytes))
                    .map_err(|_| AuditError::Note("a signature of a known key is wrong"))?;
                if !signers.contains(&key) {
                    signers.push(key);
                }
            }
        }
        if signers.is_empty() { Err(AuditError::Note("no known key signed it")) } else { Ok(signers) }
    }

    /// The signed text, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, none of them checked.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for NoteSignature { name, key_id, bytes } in &self.signatures {
            writeln!(f, "— {name} {}", BASE64.encode(&[key_id.as_slice(), bytes.as_slice()].concat()))?;
        }
        Ok(())
    }
}

fn signature_line(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
    let bytes = BASE64.decode(encoded.as_bytes()).ok()?;
    let (key_id, signature) = bytes.split_first_chunk::<4>()?;
    (is_key_name(name) && !signature.is_empty()).then(|| NoteSignature {
        name: name.to_owned(),
        key_id: *key_id,
        bytes: signature.to_vec(),
    })
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+' || c < ' ')
}

fn is_text(text: &str) -> bool {
    !text.chars().any(|c| c < ' ' && c != '\n')
}

/// The head of a log: what a checkpoint's text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log, which is also the name of its key.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// Further lines, which this product does not write and gives no meaning.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A head without extension lines.
    pub fn new(origin: &str, size: u64, root: Hash) -> Checkpoint {
        Checkpoint { origin: origin.to_owned(), size, root, extensions: Vec::new() }
    }

    /// The text to sign.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(&self.root));
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Parses the text of a note.
    ///
    /// # Errors
    /// [`AuditError::Note`] when it is not exactly what [`Checkpoint::to_text`] writes.
    pub fn parse(text: &str) -> Result<Checkpoint, AuditError> {
        let body = text.strip_suffix('\n').ok_or(AuditError::Note("its text does not end in a newline"))?;
        let mut lines = body.split('\n');
        let mut next = || lines.next().filter(|l| !l.is_empty()).ok_or(AuditError::Note("a line is missing"));
        let (origin, size, root) = (next()?, next()?, next()?);
        let checkpoint = Checkpoint {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| AuditError::Note("its size is not a number"))?,
            root: BASE64
                .decode(root.as_bytes())
                .ok()
                .and_then(|b| b.try_into().ok())
                .ok_or(AuditError::Note("its root is not a hash"))?,
            extensions: lines.map(str::to_owned).collect(),
        };
        // Leading zeros, a plus sign and empty lines end here.
        if checkpoint.to_text() != text || checkpoint.extensions.iter().any(String::is_empty) {
            return Err(AuditError::Note("its text is not canonical"));
        }
        Ok(checkpoint)
    }

    /// Signs it under its origin.
    ///
    /// # Errors
    /// [`AuditError::Note`] when the origin cannot be the name of a key.
    pub fn sign(&self, key: &SigningKey) -> Result<Note, AuditError> {
        Note::sign(&self.to_text(), &self.origin, key)
    }

    /// Parses a note and checks that the log's own key signed it.
    ///
    /// # Errors
    /// [`AuditError::Note`] when it is malformed or not signed by `key` under its origin.
    pub fn open(note: &str, key: PublicKey) -> Result<Checkpoint, AuditError> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        note.verify(&[NoteKey::new(&checkpoint.origin, key)?])?;
        Ok(checkpoint)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;
    use crate::audit::fixture::key;

    const ORIGIN: &str = "hufu.example/customs/1";

    #[test]
    fn round_trip_and_unknown_keys_are_ignored() {
        let head = Checkpoint::new(ORIGIN, 7, [3; 32]);
        let mut note = head.sign(&key(1)).unwrap();
        note.cosign("hufu.example/border/1", &key(2)).unwrap();
        // The same name with another key, and a signature of a kind not known here.
        note.cosign(ORIGIN, &key(3)).unwrap();
        note.signatures.push(NoteSignature { name: "w.example".into(), key_id: [9; 4], bytes: vec![1; 2_500] });
        let text = note.to_string();
        assert_eq!(Note::parse(&text).unwrap(), note);
        assert_eq!(Checkpoint::open(&text, key(1).public()).unwrap(), head);
        let keys = [
            NoteKey::new(ORIGIN, key(1).public()).unwrap(),
            NoteKey::new("hufu.example/border/1", key(2).public()).unwrap(),
            NoteKey::new("hufu.example/police/1", key(4).public()).unwrap(),
        ];
        assert_eq!(note.verify(&keys).unwrap(), [&keys[0], &keys[1]]);
        assert!(Checkpoint::open(&text, key(4).public()).is_err());
    }

    #[test]
    fn a_bad_signature_of_a_known_key_refuses_the_note() {
        let mut note = Checkpoint::new(ORIGIN, 7, [3; 32]).sign(&key(1)).unwrap();
        note.cosign("w.example", &key(2)).unwrap();
        let keys =
            [NoteKey::new(ORIGIN, key(1).public()).unwrap(), NoteKey::new("w.example", key(2).public()).unwrap()];
        assert!(note.verify(&keys).is_ok());
        if let Some(byte) = note.signatures.get_mut(1).and_then(|s| s.bytes.first_mut()) {
            *byte ^= 1;
        }
        assert!(note.verify(&keys).is_err());
        assert!(note.verify(keys.get(..1).unwrap()).is_ok());
        note.signatures.get_mut(1).unwrap().bytes.truncate(63);
        assert!(note.verify(&keys).is_err());

        let text = Checkpoint::new(ORIGIN, 7, [3; 32]).sign(&key(1)).unwrap().to_string();
        assert!(Checkpoint::open(&text.replacen("\n7\n", "\n8\n", 1), key(1).public()).is_err());
    }

    #[test]
    fn malformed_notes_and_checkpoints_are_refused() {
        let good = Checkpoint::new(ORIGIN, 7, [3; 32]).sign(&key(1)).unwrap().to_string();
        assert!(Note::parse(&good).is_ok());
        for bad in [
            String::new(),
            good.trim_end().to_owned(),
            format!("{good}\n"),
            good.replace('—', "-"),
            good.replace("— ", "—  "),
            good.replace('7', "7\t"),
            good.replace("\n\n", "\n"),
            format!("{good}junk\n"),
            format!("{good}— a+b AAAAAAA=\n"),
            format!("{good}— name AAAAAA==\n"),
            format!("{good}— name AAAAAAB=\n"),
        ] {
            assert!(Note::parse(&bad).is_err(), "{bad:?}");
        }
        let root = BASE64.encode(&[3; 32]);
        assert!(Checkpoint::parse(&format!("o\n0\n{root}\n")).is_ok());
        assert!(Checkpoint::parse(&format!("o\n7\n{root}\nmore\n")).is_ok());
        for bad in [
            format!("o\n07\n{root}\n"),
            format!("o\n+7\n{root}\n"),
            format!("o\n-7\n{root}\n"),
            format!("o\n18446744073709551616\n{root}\n"),
            format!("\n7\n{root}\n"),
            format!("o\n7\n{root}"),
            format!("o\n7\n{root}\n\n"),
            "o\n7\nAAAA\n".to_owned(),
            "o\n7\n".to_owned(),
        ] {
            assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_example_of_the_standard_has_the_key_id_it_should() {
        // c2sp.org/tlog-checkpoint: the line begins with the key id 03 3d e0 ae.
        let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
                    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let parsed = Note::parse(note).unwrap();
        assert_eq!(parsed.signatures().first().unwrap().key_id, [0x03, 0x3d, 0xe0, 0xae]);
        assert_eq!(parsed.to_string(), note);
        assert_eq!(Checkpoint::parse(parsed.text()).unwrap().size, 20_852_163);
    }
}
