//! Ed25519 signatures in minisign's format, so that stock `minisign -V` checks what Davit signed.
//!
//! Signatures are prehashed (`ED`: Ed25519 over BLAKE2b-512). The trusted comment is signed with them and says what
//! the bytes are and where they belong. Reading is strict: a text that is not exactly what signing writes is refused,
//! so no byte of a signature can change unnoticed.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b512, Digest};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";
/// What the unsigned first line of every signature says.
const REMARK: &str = "signature by davit";

/// BLAKE2b-512 of what is signed.
pub type Prehash = [u8; 64];

/// The prehash of bytes that are at hand as a whole.
pub fn prehash(bytes: &[u8]) -> Prehash {
    let mut hasher = Prehasher::default();
    hasher.update(bytes);
    hasher.finish()
}

/// The prehash of bytes that pass by.
#[derive(Clone, Default)]
pub struct Prehasher(Blake2b512);

impl Prehasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        Digest::update(&mut self.0, bytes);
    }

    /// The prehash of all bytes added.
    pub fn finish(self) -> Prehash {
        self.0.finalize().into()
    }
}

/// An Ed25519 public key; its text is minisign's (`RW…`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// minisign's name of a key; ours is derived from the key, so that it needs no place of its own.
    fn id(&self) -> [u8; 8] {
        let hash = blake3::hash(&self.0);
        let mut id = [0; 8];
        id.copy_from_slice(&hash.as_bytes()[..8]);
        id
    }

    fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }

    /// Reads minisign's text form; `None` if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 42] = STANDARD.decode(text).ok()?.try_into().ok()?;
        let mut key = [0; 32];
        key.copy_from_slice(&bytes[10..]);
        let key = Self(key);
        (key.to_string() == text).then_some(key)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(42);
        bytes.extend_from_slice(b"Ed");
        bytes.extend_from_slice(&self.id());
        bytes.extend_from_slice(&self.0);
        f.write_str(&STANDARD.encode(bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a public key such as RW…")))
    }
}

/// An Ed25519 key that signs.
#[derive(Clone)]
pub struct SigningKey {
    seed: [u8; 32],
    pair: Arc<Ed25519KeyPair>,
    public: PublicKey,
}

impl SigningKey {
    /// A fresh key.
    pub fn generate() -> Option<Self> {
        Self::from_seed(rand::rng().random())
    }

    /// The key that grows from `seed`; `None` if the library refuses it, which it has no reason to.
    pub fn from_seed(seed: [u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        let public = PublicKey(pair.public_key().as_ref().try_into().ok()?);
        Some(Self { seed, pair: Arc::new(pair), public })
    }

    /// The seed, for writing the key file.
    pub(super) fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs what has this prehash; `trusted` says what it is (one line).
    pub fn sign(&self, prehash: &Prehash, trusted: &str) -> String {
        let signature = signature_bytes(&self.pair, prehash);
        let global = signature_bytes(&self.pair, &[&signature[..], trusted.as_bytes()].concat());
        Signature { key_id: self.public.id(), bytes: signature, trusted: trusted.to_owned(), global }.to_string()
    }
}

fn signature_bytes(pair: &Ed25519KeyPair, message: &[u8]) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes.copy_from_slice(pair.sign(message).as_ref());
    bytes
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, [redacted])", self.public)
    }
}

/// A signature as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    key_id: [u8; 8],
    bytes: [u8; 64],
    trusted: String,
    global: [u8; 64],
}

impl Signature {
    /// Reads a signature; `None` if it is not exactly what [`SigningKey::sign`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        lines.next()?.strip_prefix(UNTRUSTED)?;
        let body: [u8; 74] = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        let trusted = lines.next()?.strip_prefix(TRUSTED)?.to_owned();
        let global: [u8; 64] = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        let mut parsed = Self { key_id: [0; 8], bytes: [0; 64], trusted, global };
        parsed.key_id.copy_from_slice(&body[2..10]);
        parsed.bytes.copy_from_slice(&body[10..]);
        (parsed.to_string() == text).then_some(parsed)
    }

    /// What the signer said the bytes are; to be believed once [`Self::comment_is_by`] holds.
    pub fn trusted(&self) -> &str {
        &self.trusted
    }

    /// Whether `key` signed the trusted comment.
    pub fn comment_is_by(&self, key: &PublicKey) -> bool {
        let message = [&self.bytes[..], self.trusted.as_bytes()].concat();
        self.key_id == key.id() && key.verifies(&message, &self.global)
    }

    /// Whether `key` signed the trusted comment and what has this prehash.
    pub fn is_by(&self, key: &PublicKey, prehash: &Prehash) -> bool {
        self.comment_is_by(key) && key.verifies(prehash, &self.bytes)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = [&b"ED"[..], &self.key_id, &self.bytes].concat();
        writeln!(f, "{UNTRUSTED}{REMARK}")?;
        writeln!(f, "{}", STANDARD.encode(body))?;
        writeln!(f, "{TRUSTED}{}", self.trusted)?;
        writeln!(f, "{}", STANDARD.encode(self.global))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_verifies_and_nothing_else_does() {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let text = key.sign(&prehash(b"the bytes"), "davit test");
        let signature = Signature::parse(&text).unwrap();
        assert!(signature.is_by(&key.public(), &prehash(b"the bytes")));
        assert!(!signature.is_by(&key.public(), &prehash(b"the byte")));
        assert!(!signature.is_by(&other.public(), &prehash(b"the bytes")));
        assert_eq!(signature.trusted(), "davit test");
    }

    #[test]
    fn no_byte_of_a_signature_can_change_unnoticed() {
        let key = SigningKey::generate().unwrap();
        let text = key.sign(&prehash(b"the bytes"), "davit test");
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let accepted = Signature::parse(&changed)
                .is_some_and(|signature| signature.is_by(&key.public(), &prehash(b"the bytes")));
            assert!(!accepted, "byte {at}");
        }
        assert!(Signature::parse(&text[..text.len() - 1]).is_none());
    }

    #[test]
    fn a_public_key_round_trips_as_minisign_writes_it() {
        let key = SigningKey::generate().unwrap().public();
        assert!(key.to_string().starts_with("RW"));
        assert_eq!(PublicKey::parse(&key.to_string()), Some(key));
    }
}
