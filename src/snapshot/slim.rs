//! An object without the server's account of who set what. That account is half of an object, in memory as in bytes, and
//! only those who give fields back to their managers look at it.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Reads an object, and passes `metadata.managedFields` over.
pub(super) fn read(text: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice::<Object>(text).map(|Object(body)| body)
}

struct Object(Value);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields { metadata: false }).map(Self)
    }
}

struct Metadata(Value);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields { metadata: true }).map(Self)
    }
}

/// The fields of an object, or of its metadata.
struct Fields {
    metadata: bool,
}

impl<'de> Visitor<'de> for Fields {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of the API")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut body = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value = match (self.metadata, name.as_str()) {
                (false, "metadata") => fields.next_value::<Metadata>()?.0,
                (true, "managedFields") => {
                    fields.next_value::<IgnoredAny>()?;
                    continue;
                }
                _ => fields.next_value()?,
            };
            body.insert(name, value);
        }
        Ok(Value::Object(body))
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use serde_json::json;

    #[test]
    fn everything_comes_but_who_set_what() {
        let mut body = json!({"kind": "ConfigMap", "metadata": {"name": "a", "managedFields": [{"manager": "x"}], "labels": {"managedFields": "y"}},
            "data": {"metadata": "z", "managedFields": "w"}, "list": [1, null, {"metadata": {"managedFields": 1}}]});
        let text = serde_json::to_vec(&body).unwrap();
        body["metadata"].as_object_mut().unwrap().remove("managedFields");
        assert_eq!(read(&text).unwrap(), body);
        assert!(read(b"[]").is_err() && read(b"{\"metadata\":1}").is_err() && read(b"{\"a\":").is_err());
    }
}
