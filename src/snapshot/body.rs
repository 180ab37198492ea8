//! An object's JSON at rest. Opened, it takes ten times the memory of its text, and its text three times what is kept
//! here, so whoever works on a hundred thousand objects opens one at a time.

use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;
use zstd::bulk::{Compressor, Decompressor};

/// The level that takes the least time: an object is packed once and opened a few times.
const LEVEL: i32 = 1;

/// A text below this is kept as it is: a frame would save next to nothing.
const WORTH_PACKING: usize = 128;

thread_local! {
    /// A compressor takes a megabyte and longer to make than a small object takes to pack, so each thread keeps one.
    static PACKER: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    static OPENER: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

/// An object as text, packed where that saves something; a clone of it is the same bytes.
#[derive(Debug, Clone)]
pub struct Body {
    /// Text, or a frame of it.
    bytes: Arc<[u8]>,
    /// How long the text is; the bytes are the text if they are as many.
    length: usize,
}

impl Body {
    /// What it says.
    pub fn open(&self) -> Value {
        serde_json::from_slice(&self.text()).unwrap_or_default()
    }

    /// Opens it, changes it, and closes it again.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Value) -> T) -> T {
        let mut value = self.open();
        let told = change(&mut value);
        *self = Self::from(&value);
        told
    }

    fn of(text: Vec<u8>) -> Self {
        let length = text.len();
        let packed = (length >= WORTH_PACKING)
            .then(|| PACKER.with_borrow_mut(|packer| packer.as_mut().and_then(|packer| packer.compress(&text).ok())));
        let packed = packed.flatten().filter(|packed| packed.len() < length);
        Self { bytes: packed.unwrap_or(text).into(), length }
    }

    fn text(&self) -> Cow<'_, [u8]> {
        if self.bytes.len() == self.length {
            return Cow::Borrowed(&self.bytes);
        }
        let opened = OPENER.with_borrow_mut(|opener| opener.as_mut()?.decompress(&self.bytes, self.length).ok());
        // Only this file makes frames, in memory, so there is none that does not open.
        Cow::Owned(opened.unwrap_or_default())
    }
}

impl From<&Value> for Body {
    fn from(value: &Value) -> Self {
        // A value is always JSON: its keys are texts.
        serde_json::to_vec(value).map_or_else(|_| Self::default(), Self::of)
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self::from(&value)
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::of(b"null".to_vec())
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_slice::<&RawValue>(&self.text()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl PartialEq for Body {
    /// Each was written from a value, whose fields are in the order of their names.
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.text() == other.text()
    }
}

impl PartialEq<Value> for Body {
    fn eq(&self, other: &Value) -> bool {
        self.open() == *other
    }
}

#[cfg(test)]
mod tests {
    use super::Body;
    use serde_json::{Value, json};

    #[test]
    fn a_body_says_what_it_was_made_of_and_what_was_changed() {
        let value = json!({"b": [1, 2.5, null, "ü\n"], "a": {"x": true}});
        let mut body = Body::from(&value);
        assert_eq!((body.open(), serde_json::to_value(&body).unwrap()), (value.clone(), value.clone()));
        let same = Body::from(serde_json::from_str::<Value>(r#"{"a":{"x":true},"b":[1,2.5,null,"ü\n"]}"#).unwrap());
        assert!(body == same && body.clone() == body && Body::default() == Value::Null);
        assert_eq!(body.change(|value| value["a"].take()), json!({"x": true}));
        assert!(body != same && body == json!({"a": null, "b": [1, 2.5, null, "ü\n"]}));
    }

    #[test]
    fn a_large_body_takes_less_than_its_text_and_says_the_same() {
        let ports: Vec<Value> =
            (0..40).map(|at| json!({"name": format!("port-{at}"), "containerPort": 8000 + at})).collect();
        let value = json!({"kind": "Pod", "spec": {"containers": [{"name": "web", "ports": ports}]}});
        let text = serde_json::to_vec(&value).unwrap();
        let body = Body::from(&value);
        assert!(body.bytes.len() * 3 < text.len(), "{} bytes of {}", body.bytes.len(), text.len());
        assert_eq!((body.open(), serde_json::to_vec(&body).unwrap()), (value.clone(), text));
        let mut other = body.clone();
        assert_eq!(other.change(|value| value["kind"].take()), "Pod");
        assert!(other != body && other.open()["spec"] == value["spec"]);
    }

    #[test]
    fn a_text_that_does_not_become_smaller_is_kept_as_it_is() {
        let digits: String =
            (0_u64..200).map(|at| char::from(b'!' + u8::try_from(at * at * 7919 % 89).unwrap())).collect();
        for text in ["short", digits.as_str()] {
            let body = Body::from(&json!(text));
            assert!(body.bytes.len() <= serde_json::to_vec(text).unwrap().len());
            assert_eq!(body.open(), json!(text));
        }
    }
}
