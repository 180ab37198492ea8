//! Records: the small signed JSON objects of a repository (heads, intents, marks, holds, evidence, catalogue batches).
//!
//! A record is `{"body": text, "signature": minisign}` or, where it tells of what was backed up, `{"sealed": base64,
//! "signature": …}`. The trusted comment names the repository and the object's own name, so that no record can stand
//! in for another one, and the object is refused unless it is byte for byte what writing it gives.

use super::again::READS;
use super::minisign::{self, Signature};
use super::{Repository, seal};
use crate::error::{Error, Result};
use crate::store::{ETag, Lock, Meta, Object, ObjectKey, Put, StoreError, Stored};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::Read;

/// Whether a record tells of what was backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// It does not: its body is readable in the store.
    Open,
    /// It does: it is sealed like a manifest.
    Sealed,
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The store said so.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not what somebody who may sign wrote there.
    #[error("{key} is damaged: {what}")]
    Damaged {
        /// Its name.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// It cannot be read or written with the keys at hand.
    #[error("{0}")]
    Key(Error),
}

impl From<Error> for RecordError {
    fn from(error: Error) -> Self {
        Self::Key(error)
    }
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Key(error) => error,
            RecordError::Store(why) => Self::failed("working on a record").because(why),
            damaged @ RecordError::Damaged { .. } => Self::failed("reading a record").because(damaged),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    sealed: Option<String>,
    signature: String,
}

impl Repository {
    /// Puts a record whose name is not taken.
    pub async fn put_record<T: Serialize + Sync>(
        &self,
        key: &ObjectKey,
        privacy: Privacy,
        value: &T,
        lock: Option<Lock>,
    ) -> Result<Stored, RecordError> {
        let put = Put::new(self.envelope(key, privacy, value)?).locked(lock);
        Ok(self.store().put_new(key, put).await?)
    }

    /// Replaces a record that is still the one whose tag is `expected`.
    pub async fn replace_record<T: Serialize + Sync>(
        &self,
        key: &ObjectKey,
        privacy: Privacy,
        value: &T,
        expected: &ETag,
    ) -> Result<Stored, RecordError> {
        let put = Put::new(self.envelope(key, privacy, value)?);
        Ok(self.store().put_if_match(key, put, expected).await?)
    }

    /// Reads a record; `None` if there is none. A damaged one is read again before that is believed.
    pub async fn record<T: DeserializeOwned>(&self, key: &ObjectKey) -> Result<Option<(T, Meta)>, RecordError> {
        let mut reads = 0;
        loop {
            reads += 1;
            let object = match self.store().get(key, None).await {
                Ok(object) => object,
                Err(StoreError::NotFound(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            match self.open_record(key, &object) {
                Ok(value) => return Ok(Some((value, object.meta))),
                Err(RecordError::Damaged { .. }) if reads < READS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Checks and opens a record that somebody signed who might sign when it was written.
    pub fn open_record<T: DeserializeOwned>(&self, key: &ObjectKey, object: &Object) -> Result<T, RecordError> {
        let (value, signature, signed) = self.open_envelope(key, &object.body)?;
        let prehash = minisign::prehash(&signed);
        if self.signed_at(object.meta.modified, |signer| signature.is_by(signer, &prehash)) {
            return Ok(value);
        }
        Err(damaged(key, "nobody who may sign for this repository signed it"))
    }

    /// Opens a record without asking whose signature it is; the caller does.
    pub(super) fn open_envelope<T: DeserializeOwned>(
        &self,
        key: &ObjectKey,
        bytes: &Bytes,
    ) -> Result<(T, Signature, Vec<u8>), RecordError> {
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(|_| damaged(key, "it is no record"))?;
        if serde_json::to_vec(&envelope).map_or(true, |again| again != bytes[..]) {
            return Err(damaged(key, "it is not written as records are"));
        }
        let signature =
            Signature::parse(&envelope.signature).ok_or_else(|| damaged(key, "its signature cannot be read"))?;
        if signature.trusted() != self.record_comment(key) || !self.comment_is_known(&signature) {
            return Err(damaged(key, "it is signed by a stranger or for another place"));
        }
        let (signed, plain) = match (envelope.body, envelope.sealed) {
            (Some(body), None) => (body.clone().into_bytes(), body.into_bytes()),
            (None, Some(sealed)) => {
                let sealed = STANDARD.decode(sealed).map_err(|_| damaged(key, "it is not base64"))?;
                let plain = self.open_sealed(key, &sealed)?;
                (sealed, plain)
            }
            _ => return Err(damaged(key, "it has no body, or two")),
        };
        let value = serde_json::from_slice(&plain).map_err(|why| damaged(key, &why.to_string()))?;
        Ok((value, signature, signed))
    }

    fn open_sealed(&self, key: &ObjectKey, sealed: &[u8]) -> Result<Vec<u8>, RecordError> {
        let mut plain = Vec::new();
        let opened =
            seal::open_stream(sealed, self.opening()).and_then(|mut reader| Ok(reader.read_to_end(&mut plain)?));
        match opened {
            Ok(_) => Ok(plain),
            Err(seal::OpenError::NoKey) => Err(Error::input(format!("opening {key}: no key at hand opens it")).into()),
            Err(seal::OpenError::Damaged(what)) => Err(damaged(key, &what)),
        }
    }

    fn envelope<T: Serialize>(&self, key: &ObjectKey, privacy: Privacy, value: &T) -> Result<Bytes> {
        let doing = || format!("writing {key}");
        let text = serde_json::to_string(value).map_err(|why| Error::failed(doing()).because(why))?;
        let (signed, body, sealed) = match privacy {
            Privacy::Open => (text.clone().into_bytes(), Some(text), None),
            Privacy::Sealed => {
                let recipients = self.manifest_recipients()?;
                let sealed = seal::seal(text.as_bytes(), self.settings().level, &recipients)
                    .map_err(|why| Error::failed(doing()).because(why))?;
                let text = STANDARD.encode(&sealed.bytes);
                (sealed.bytes, None, Some(text))
            }
        };
        let signature = self.signer()?.sign(&minisign::prehash(&signed), &self.record_comment(key));
        let bytes = serde_json::to_vec(&Envelope { body, sealed, signature })
            .map_err(|why| Error::failed(doing()).because(why))?;
        Ok(bytes.into())
    }

    fn record_comment(&self, key: &ObjectKey) -> String {
        format!("davit record repository={} object={key}", self.id())
    }
}

fn damaged(key: &ObjectKey, what: &str) -> RecordError {
    RecordError::Damaged { key: key.to_string(), what: what.to_owned() }
}
