//! The place where a secret is to be found, as a file says it. Fetching it from there is the shell's business.

use super::{Secret, redact};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::path::PathBuf;

/// A secret, or the place that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// Written where it is used.
    Plain(Secret),
    /// `{env: NAME}`
    Env(String),
    /// `{file: PATH}`: the file's text, without the line end after it.
    File(PathBuf),
    /// `{dotenv: PATH, key: NAME}`: one assignment of a shell file.
    Dotenv {
        /// The file.
        path: PathBuf,
        /// The variable.
        key: String,
    },
}

impl fmt::Display for SecretRef {
    /// Where it comes from, never what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Of a URL everything but what lets somebody in helps; of anything else nothing is shown.
            Self::Plain(text) => match scheme_of(text.reveal()) {
                Some("postgres" | "postgresql") => f.write_str(&redact(text.reveal())),
                Some(scheme) => f.write_str(&shown(scheme, &text.reveal()[scheme.len() + "://".len()..])),
                None => f.write_str("[redacted]"),
            },
            Self::Env(name) => write!(f, "{{env: {name}}}"),
            Self::File(path) => write!(f, "{{file: {}}}", path.display()),
            Self::Dotenv { path, key } => write!(f, "{{dotenv: {}, key: {key}}}", path.display()),
        }
    }
}

/// The scheme, if a text is a URL and nothing else: one word after a scheme.
fn scheme_of(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    (is_scheme && !rest.contains(char::is_whitespace)).then_some(scheme)
}

/// What may be seen of a URL's `rest`: where it leads, and a user's name; neither a word that stands alone before the host,
/// which is a token, nor a query, which may hold one.
fn shown(scheme: &str, rest: &str) -> String {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if tail.contains('@') {
        // It may be a password with a sign that nobody encoded, up to there.
        return format!("{scheme}://…");
    }
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let user = match user.map(|user| user.split_once(':')) {
        Some(Some((name, password))) if !password.is_empty() => format!("{name}:…@"),
        Some(_) => "…@".to_owned(),
        None => String::new(),
    };
    let (path, cut) = match tail.find(['?', '#']) {
        Some(query) => (&tail[..=query], "…"),
        None => (tail, ""),
    };
    format!("{scheme}://{user}{host}{path}{cut}")
}

/// The keys a secret may be written with, for the nearest one to be suggested.
const KEYS: [&str; 4] = ["env", "file", "dotenv", "key"];

impl<'de> Deserialize<'de> for SecretRef {
    // By hand, because an untagged enum would forget which key was wrong and in which line.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, {env: NAME}, {file: PATH} or {dotenv: PATH, key: NAME}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretRef, E> {
        Ok(SecretRef::Plain(Secret::new(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretRef, A::Error> {
        let mut given: [Option<String>; 4] = [None, None, None, None];
        while let Some(name) = map.next_key::<String>()? {
            match KEYS.iter().position(|known| *known == name) {
                Some(at) => given[at] = Some(map.next_value()?),
                None => return Err(de::Error::unknown_field(&name, &KEYS)),
            }
        }
        match given {
            [Some(name), None, None, None] => Ok(SecretRef::Env(name)),
            [None, Some(path), None, None] => Ok(SecretRef::File(path.into())),
            [None, None, Some(path), Some(key)] => Ok(SecretRef::Dotenv { path: path.into(), key }),
            _ => Err(de::Error::custom("a secret is {env: NAME}, {file: PATH} or {dotenv: PATH, key: NAME}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_all_but_its_password_is_shown_and_of_anything_else_nothing() {
        for (text, shown) in [
            ("http://shop.example:8080/healthz", "http://shop.example:8080/healthz"),
            ("https://eva:hunter2@shop.example/healthz", "https://eva:…@shop.example/healthz"),
            ("postgres://eva:hunter2@db/shop", "postgres://eva:…@db/shop"),
            ("hunter2", "[redacted]"),
            ("hunter 2://", "[redacted]"),
            ("http://hunter2 and more", "[redacted]"),
            ("https://shop.example/healthz?token=hunter2", "https://shop.example/healthz?…"),
            ("https://shop.example?hunter2#more", "https://shop.example?…"),
            ("https://shop.example/#hunter2", "https://shop.example/#…"),
            ("https://hunter2@shop.example/healthz", "https://…@shop.example/healthz"),
            ("https://hunter2:@shop.example/healthz", "https://…@shop.example/healthz"),
            ("https://eva:hun?ter2@shop.example/healthz", "https://…"),
            ("https://eva:hun@ter2@shop.example", "https://eva:…@shop.example"),
            ("https://shop.example:8080/healthz?mail=eva@hunter2", "https://…"),
            ("postgres://eva@db/shop?application_name=drill", "postgres://eva@db/shop?application_name=drill"),
        ] {
            assert_eq!(SecretRef::Plain(Secret::new(text)).to_string(), shown);
        }
    }
}
