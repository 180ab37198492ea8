//! What still names the old namespace (or class, or image) after everything that the API names was rewritten.

use super::super::object::{Place, Saved};
use super::rewrite;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

/// Something that was left as it is and may point to the old place. Its value is not told: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unresolved {
    /// In which object.
    #[serde(flatten)]
    pub place: Place,
    /// Where in it.
    pub path: String,
    /// What it seems to name.
    pub names: String,
}

/// Finds what seems to name the namespace `from`.
pub(super) fn namespaces(saved: &Saved, body: &Value, from: &str, found: &mut Vec<Unresolved>) {
    let secret = saved.kind.group_resource() == "secrets";
    let known = rewrite::namespace_paths(&saved.kind.group_resource());
    walk(body, &mut Vec::new(), &mut |path, text| {
        let field = path.last().map(String::as_str).unwrap_or_default();
        let own =
            path.first().is_some_and(|first| first == "metadata") && !path.iter().any(|step| step == "annotations");
        let is_field =
            (field == "namespace" || field == "namespaces" || in_list_of(path, "namespaces")) && text == from;
        let decoded =
            secret.then(|| STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok())).flatten();
        let names_host = names_host(decoded.as_deref().unwrap_or(text), from);
        if own || known.iter().any(|known| fits(known, path)) || field == "last-applied-configuration" {
            return;
        }
        if is_field || names_host {
            let names = format!("{} {from}", if names_host { "a host in namespace" } else { "namespace" });
            found.push(Unresolved { place: saved.identity.place(), path: path.join("."), names });
        }
    });
}

/// Finds fields of custom resources whose value is mapped for built-in kinds.
pub(super) fn values(
    saved: &Saved,
    body: &Value,
    fields: &[&str],
    what: &str,
    means: impl Fn(&str) -> bool,
    found: &mut Vec<Unresolved>,
) {
    if rewrite::is_known(&saved.kind.group_resource()) {
        return;
    }
    walk(body, &mut Vec::new(), &mut |path, text| {
        if path.last().is_some_and(|last| fields.contains(&last.as_str())) && means(text) {
            let names = format!("{what} {text}");
            found.push(Unresolved { place: saved.identity.place(), path: path.join("."), names });
        }
    });
}

fn in_list_of(path: &[String], field: &str) -> bool {
    matches!(path, [.., list, element] if list == field && element.parse::<usize>().is_ok())
}

fn fits(known: &[&str], path: &[String]) -> bool {
    known.len() == path.len() && known.iter().zip(path).all(|(known, here)| *known == "*" || known == here)
}

fn walk(value: &Value, path: &mut Vec<String>, seen: &mut dyn FnMut(&[String], &str)) {
    match value {
        Value::String(text) => seen(path, text),
        Value::Object(map) => {
            for (name, value) in map {
                // Status tells of the past and does not come back; managed fields only repeat names.
                if path.is_empty() && name == "status" || name == "managedFields" {
                    continue;
                }
                path.push(name.clone());
                walk(value, path, seen);
                path.pop();
            }
        }
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                path.push(at.to_string());
                walk(value, path, seen);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Whether a text names a host in the namespace: `db.shop.svc`, `db.shop:5432`, `redis://cache.shop/0`.
fn names_host(text: &str, namespace: &str) -> bool {
    text.match_indices(namespace).any(|(at, _)| {
        let before = text[..at].strip_suffix('.').and_then(|before| before.chars().next_back());
        let after = &text[at + namespace.len()..];
        before.is_some_and(|c| c.is_ascii_alphanumeric())
            && (after.is_empty() || after.starts_with([':', '/']) || follows_service(after))
    })
}

fn follows_service(after: &str) -> bool {
    after.strip_prefix(".svc").is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-'))
}

#[cfg(test)]
mod tests {
    use super::names_host;

    #[test]
    fn hosts_of_the_namespace_are_told_from_words_that_look_like_it() {
        for text in
            ["db.shop.svc", "db.shop.svc.cluster.local", "postgres://u@db.shop:5432/x", "http://web.shop/", "web.shop"]
        {
            assert!(names_host(text, "shop"), "{text}");
        }
        for text in [
            "shop",
            "workshop",
            "db.shop2.svc",
            "db.shop.svcs",
            "db.shop.example.com",
            ".shop",
            "a-shop:1",
            "db.shopping",
        ] {
            assert!(!names_host(text, "shop"), "{text}");
        }
    }
}
