//! An object's JSON at rest. Opened, it takes ten times the memory of its text, so whoever works on thousands of objects
//! opens one at a time.

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;

/// An object as text; a clone of it is the same text.
#[derive(Debug, Clone)]
pub struct Body(Arc<RawValue>);

impl Body {
    /// What it says.
    pub fn open(&self) -> Value {
        serde_json::from_str(self.0.get()).unwrap_or_default()
    }

    /// Opens it, changes it, and closes it again.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Value) -> T) -> T {
        let mut value = self.open();
        let told = change(&mut value);
        *self = Self::from(&value);
        told
    }
}

impl From<&Value> for Body {
    fn from(value: &Value) -> Self {
        // A value is always JSON: its keys are texts.
        to_raw_value(value).map_or_else(|_| Self::default(), |text| Self(text.into()))
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self::from(&value)
    }
}

impl Default for Body {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned().into())
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl PartialEq for Body {
    /// Each was written from a value, whose fields are in the order of their names.
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
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
}
