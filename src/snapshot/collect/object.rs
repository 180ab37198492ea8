//! What saving has to know of an object; everything else of it stays as the server wrote it.

use crate::cluster::Kind;
use crate::error::{Error, Result};
use crate::snapshot::pack::Entry;
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slim<'a> {
    #[serde(borrow, default)]
    api_version: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    metadata: Meta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    owner_references: Option<Vec<Owner>>,
}

#[derive(Deserialize)]
struct Owner {
    uid: String,
    #[serde(default)]
    controller: bool,
}

/// Reads an item of a list: its entry, and its line with `apiVersion` and `kind`, which the items of built-in lists lack.
pub(super) fn read(kind: &Kind, item: &[u8]) -> Result<(Entry, Vec<u8>)> {
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
    if slim.api_version.is_some() && slim.kind.is_some() {
        return Ok((entry, item.to_vec()));
    }
    let rest = item.strip_prefix(b"{").ok_or_else(|| Error::failed(doing()))?;
    let text = |text: String| serde_json::Value::from(text).to_string();
    let head = format!("{{\"apiVersion\":{},\"kind\":{},", text(kind.api_version()), text(kind.kind.clone()));
    let mut line = Vec::with_capacity(head.len() + rest.len());
    line.extend_from_slice(head.as_bytes());
    line.extend_from_slice(rest);
    Ok((entry, line))
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
        let (entry, line) = read(&pods(), item).unwrap();
        assert_eq!(entry.controller.as_deref(), Some("o2"));
        assert_eq!((entry.name.as_str(), entry.namespace.as_deref(), entry.uid.as_str()), ("web", Some("shop"), "u1"));
        let head = br#"{"apiVersion":"v1","kind":"Pod","#;
        assert_eq!(line, [&head[..], &item[1..]].concat());
    }

    #[test]
    fn an_item_that_names_its_kind_stays_as_it_is() {
        let item = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"}}"#;
        assert_eq!(read(&pods(), item).unwrap().1, item);
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
