//! Ed25519 signatures (RFC 8032) under a domain, and keys as PKCS#8 PEM (RFC 5958, RFC 8410).
//!
//! What is signed is `Writer::bare().str(domain).bytes(message)`: a signature made for one purpose never
//! verifies for another.

use super::error::SealError;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::time::Entropy;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::{BASE64, HEXLOWER};
use std::fmt;
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// A signing key of a node or a person.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// The key of a seed (RFC 8032 §5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, SealError> {
        Self::from_pair(Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| unusable())?)
    }

    /// A new key.
    pub fn generate(e: &mut dyn Entropy) -> Result<Self, SealError> {
        let mut seed = Zeroizing::new([0u8; 32]);
        e.fill(seed.as_mut_slice());
        Self::from_seed(&seed)
    }

    /// Reads an unencrypted PKCS#8 private key, version 1 (openssl) or 2 (rcgen), labelled `PRIVATE KEY`.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, SealError> {
        let (_, rest) = pem.split_once(BEGIN).ok_or_else(unusable)?;
        let (body, _) = rest.split_once(END).ok_or_else(unusable)?;
        let mut packed = Zeroizing::new(Vec::<u8>::with_capacity(body.len()));
        packed.extend(body.bytes().filter(|b| !b.is_ascii_whitespace()));
        let der = Zeroizing::new(BASE64.decode(&packed).map_err(|_| unusable())?);
        Self::from_pair(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| unusable())?)
    }

    /// Writes PKCS#8 version 1, which every tool reads.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, SealError> {
        let der = self.pair.to_pkcs8v1().map_err(|_| unusable())?;
        let text = Zeroizing::new(BASE64.encode(der.as_ref()));
        // Room for everything, so that no copy of the key stays behind in a buffer that was outgrown.
        let mut pem = Zeroizing::new(String::with_capacity(BEGIN.len() + END.len() + 2 * text.len() + 8));
        pem.push_str(BEGIN);
        for (i, c) in text.chars().enumerate() {
            if i % 64 == 0 {
                pem.push('\n');
            }
            pem.push(c);
        }
        pem.push('\n');
        pem.push_str(END);
        pem.push('\n');
        Ok(pem)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs `bytes` for one purpose.
    pub fn sign(&self, domain: &str, bytes: &[u8]) -> Signature {
        let signed = self.pair.sign(&message(domain, bytes));
        // Ed25519 signatures are 64 bytes by definition; the zero signature verifies nothing.
        Signature(signed.as_ref().try_into().unwrap_or([0; 64]))
    }

    /// Signs the bytes as they are, for formats of other people's standards (C2SP signed notes). Such bytes are
    /// text; what [`SigningKey::sign`] signs starts with a zero byte, so the two never meet.
    pub fn sign_raw(&self, bytes: &[u8]) -> Signature {
        Signature(self.pair.sign(bytes).as_ref().try_into().unwrap_or([0; 64]))
    }

    fn from_pair(pair: Ed25519KeyPair) -> Result<Self, SealError> {
        let public = PublicKey(pair.public_key().as_ref().try_into().map_err(|_| unusable())?);
        Ok(SigningKey { pair, public })
    }
}

/// A public signing key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// From its 32 bytes. Bytes that are no point of the curve verify nothing.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        PublicKey(bytes)
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks a signature made by [`SigningKey::sign`] for the same domain.
    pub fn verify(&self, domain: &str, bytes: &[u8], sig: &Signature) -> Result<(), SealError> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(&message(domain, bytes), &sig.0)
            .map_err(|_| SealError::Signature { what: "message" })
    }
}

impl PublicKey {
    /// Checks a signature made by [`SigningKey::sign_raw`].
    pub fn verify_raw(&self, bytes: &[u8], sig: &Signature) -> Result<(), SealError> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(bytes, &sig.0)
            .map_err(|_| SealError::Signature { what: "note" })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl Canon for PublicKey {
    fn write(&self, w: &mut Writer) {
        w.array(&self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        r.array().map(PublicKey)
    }
}

/// A detached signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// From its 64 bytes.
    pub fn from_bytes(bytes: [u8; 64]) -> Self {
        Signature(bytes)
    }

    /// Its 64 bytes.
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", HEXLOWER.encode(&self.0))
    }
}

impl Canon for Signature {
    fn write(&self, w: &mut Writer) {
        w.array(&self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        r.array().map(Signature)
    }
}

fn message(domain: &str, bytes: &[u8]) -> Vec<u8> {
    Writer::bare().str(domain).bytes(bytes).finish()
}

fn unusable() -> SealError {
    SealError::Key { what: "signing key" }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::frozen::Counter;
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_domain_and_message_only() {
        let mut e = Counter::new();
        let key = SigningKey::generate(&mut e).unwrap();
        let other = SigningKey::generate(&mut e).unwrap();
        let sig = key.sign("hufu.a", b"message");
        assert!(key.public().verify("hufu.a", b"message", &sig).is_ok());
        assert!(key.public().verify("hufu.b", b"message", &sig).is_err());
        assert!(key.public().verify("hufu.a", b"messagf", &sig).is_err());
        assert!(other.public().verify("hufu.a", b"message", &sig).is_err());
        for bit in 0..512 {
            let mut bytes = *sig.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(key.public().verify("hufu.a", b"message", &Signature::from_bytes(bytes)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_public_key_is_that_of_rfc_8032() {
        // RFC 8032 §7.1, test 1.
        let seed = HEXLOWER.decode(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = SigningKey::from_seed(&seed.try_into().unwrap()).unwrap();
        assert_eq!(key.public().to_string(), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    }

    #[test]
    fn pem_round_trips_and_openssl_and_version_2_keys_parse() {
        let key = SigningKey::generate(&mut Counter::new()).unwrap();
        let pem = key.to_pkcs8_pem().unwrap();
        assert_eq!(SigningKey::from_pkcs8_pem(&pem).unwrap().public(), key.public());
        let v2 = BASE64.encode(key.pair.to_pkcs8().unwrap().as_ref());
        let v2 = format!("{BEGIN}\r\n{v2}\r\n{END}\r\n");
        assert_eq!(SigningKey::from_pkcs8_pem(&v2).unwrap().public(), key.public());
        // RFC 8410 §10.3, the form that `openssl genpkey -algorithm ED25519` writes.
        let rfc = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let rfc = SigningKey::from_pkcs8_pem(rfc).unwrap();
        assert_eq!(rfc.public().to_string(), "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
        for bad in ["", BEGIN, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", &pem[40..]] {
            assert!(SigningKey::from_pkcs8_pem(bad).is_err());
        }
    }
}
