//! What saving has to know of an object; everything else of it stays as the server wrote it.

use crate::cluster::Kind;
use crate::error::{Error, Result};
use crate::snapshot::pack::Entry;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::Range;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slim<'a> {
    #[serde(borrow, default)]
    api_version: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    owner_references: Option<Vec<Owner>>,
    #[serde(borrow, default)]
    resource_version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    managed_fields: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Owner {
    uid: String,
    #[serde(default)]
    controller: bool,
}

/// An object as it is saved.
#[derive(Debug)]
pub(super) struct Read {
    /// Who it is.
    pub(super) entry: Entry,
    /// Its line.
    pub(super) line: Vec<u8>,
    /// Where in the line stands what changes although nobody changes the object: its resource version, who set what,
    /// its status; as far as it has them.
    moving: [Option<Range<usize>>; 3],
}

/// Reads an item of a list; its line has `apiVersion` and `kind`, which the items of built-in lists lack.
pub(super) fn read(kind: &Kind, item: &[u8]) -> Result<Read> {
    let doing = || format!("reading an object of {}", kind.group_resource());
    // This also proves that the item is JSON: the list was cut by its brackets only.
    let slim: Slim<'_> = serde_json::from_slice(item).map_err(|why| Error::failed(doing()).because(why))?;
    let owners = slim.metadata.owner_references.unwrap_or_default();
    let entry = Entry {
        namespace: slim.metadata.namespace,
        name: slim.metadata.name,
        uid: slim.metadata.uid,
        controller: owners.into_iter().find(|owner| owner.controller).map(|owner| owner.uid),
        bytes: 0,
    };
    let mut line = Vec::new();
    if slim.api_version.is_none() || slim.kind.is_none() {
        let rest = item.strip_prefix(b"{").ok_or_else(|| Error::failed(doing()))?;
        let text = |text: String| serde_json::Value::from(text).to_string();
        let head = format!("{{\"apiVersion\":{},\"kind\":{},", text(kind.api_version()), text(kind.kind.clone()));
        line.reserve_exact(head.len() + rest.len());
        line.extend_from_slice(head.as_bytes());
        line.extend_from_slice(rest);
    } else {
        line.extend_from_slice(item);
    }
    let longer = line.len() - item.len();
    let moving = [slim.metadata.resource_version, slim.metadata.managed_fields, slim.status];
    let moving = moving.map(|raw| raw.map(|raw| place(item, raw.get(), longer)));
    Ok(Read { entry, line, moving })
}

/// Where a part of `item` stands when so many bytes are put in front.
fn place(item: &[u8], part: &str, longer: usize) -> Range<usize> {
    let start = part.as_ptr().addr() - item.as_ptr().addr() + longer;
    start..start + part.len()
}

impl Read {
    /// What stays, with a null for each part that moves, and a list of those parts: both are JSON.
    pub(super) fn parted(&self) -> (Vec<u8>, Vec<u8>) {
        let mut moving = Vec::with_capacity(self.line.len() / 2);
        moving.push(b'[');
        for (number, part) in self.moving.iter().enumerate() {
            if number > 0 {
                moving.push(b',');
            }
            moving.extend_from_slice(part.as_ref().map_or(b"null", |part| &self.line[part.clone()]));
        }
        moving.push(b']');
        let mut parts: Vec<&Range<usize>> = self.moving.iter().flatten().collect();
        parts.sort_by_key(|part| part.start);
        let mut steady = Vec::with_capacity(self.line.len());
        let mut from = 0;
        for part in parts {
            steady.extend_from_slice(&self.line[from..part.start]);
            steady.extend_from_slice(b"null");
            from = part.end;
        }
        steady.extend_from_slice(&self.line[from..]);
        (steady, moving)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods() -> Kind {
        let mut kind = Kind::namespaces();
        (kind.resource, kind.kind) = ("pods".to_owned(), "Pod".to_owned());
        kind
    }

    #[test]
    fn an_item_of_a_built_in_list_gets_its_kind_and_keeps_every_other_byte() {
        let item = br#"{"metadata":{"name":"web","namespace":"shop","uid":"u1","ownerReferences":[{"uid":"o1"},{"uid":"o2","controller":true}]},"big":12345678901234567890123}"#;
        let Read { entry, line, .. } = read(&pods(), item).unwrap();
        assert_eq!(entry.controller.as_deref(), Some("o2"));
        assert_eq!((entry.name.as_str(), entry.namespace.as_deref(), entry.uid.as_str()), ("web", Some("shop"), "u1"));
        let head = br#"{"apiVersion":"v1","kind":"Pod","#;
        assert_eq!(line, [&head[..], &item[1..]].concat());
    }

    #[test]
    fn an_item_that_names_its_kind_stays_as_it_is() {
        let item = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"}}"#;
        assert_eq!(read(&pods(), item).unwrap().line, item);
    }

    #[test]
    fn what_moves_by_itself_is_parted_from_what_people_write() {
        let item = br#"{"metadata":{"name":"web","resourceVersion":"7","managedFields":[{"time":"t"}],"labels":{"a":"b"}},"status":{"phase":"Running"},"spec":{"x":1}}"#;
        let (steady, moving) = read(&pods(), item).unwrap().parted();
        assert_eq!(
            String::from_utf8(steady).unwrap(),
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","resourceVersion":null,"managedFields":null,"labels":{"a":"b"}},"status":null,"spec":{"x":1}}"#
        );
        assert_eq!(String::from_utf8(moving).unwrap(), r#"["7",[{"time":"t"}],{"phase":"Running"}]"#);
        let (steady, moving) = read(&pods(), br#"{"metadata":{"name":"bare"},"status":null}"#).unwrap().parted();
        assert!(steady.ends_with(br#""status":null}"#) && moving == b"[null,null,null]");
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for item in
            [&b"{}"[..], b"{\"metadata\":{}}", b"{\"metadata\":{\"name\":1}}", b"{\"metadata\":{\"name\":\"x\"}"]
        {
            assert!(read(&pods(), item).is_err());
        }
    }
}
