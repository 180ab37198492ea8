//! Where a secret is to be found, and fetching it from there. Nothing is fetched before it is needed.

use crate::config::dotenv;
use crate::config::environment::Environment;
use crate::error::{Context, Error, Kind, Result};
use crate::secret::{Secret, redact};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::path::{Path, PathBuf};

/// A file with one secret in it is never longer than this.
const FILE_BYTES_MAX: u64 = 64 * 1024;

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

impl SecretRef {
    /// Fetches the secret; `what` names it in messages. Relative paths start at `base`.
    pub fn fetch(&self, what: &str, environment: &Environment, base: &Path) -> Result<Secret> {
        match self {
            Self::Plain(secret) => Ok(secret.clone()),
            Self::Env(name) => match environment.get(name)? {
                Some(value) => Ok(Secret::new(value)),
                None => Err(Error::input(format!("reading {what}: the environment variable {name} is not set"))
                    .hint(format!("export {name}=postgres://user@host/database, or keep it in a {{file: …}}"))),
            },
            Self::File(path) => {
                let text = read(&base.join(path), what)?;
                match text.trim_end_matches(['\n', '\r']) {
                    "" => Err(Error::input(format!("reading {what}: {} is empty", path.display()))),
                    text => Ok(Secret::new(text)),
                }
            }
            Self::Dotenv { path, key } => from_dotenv(&base.join(path), key, what),
        }
    }
}

impl fmt::Display for SecretRef {
    /// Where it comes from, never what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Of a URL everything but the password helps; of anything else nothing is shown.
            Self::Plain(text) if text.reveal().starts_with("postgres") && text.reveal().contains("://") => {
                f.write_str(&redact(text.reveal()))
            }
            Self::Plain(_) => f.write_str("[redacted]"),
            Self::Env(name) => write!(f, "{{env: {name}}}"),
            Self::File(path) => write!(f, "{{file: {}}}", path.display()),
            Self::Dotenv { path, key } => write!(f, "{{dotenv: {}, key: {key}}}", path.display()),
        }
    }
}

fn from_dotenv(path: &Path, key: &str, what: &str) -> Result<Secret> {
    let text = read(path, what)?;
    let found = dotenv::find(&text, key)
        .map_err(|error| error.during(format!("reading {what}: {key} in {}", path.display())))?;
    match found {
        Some(value) if value.reveal().is_empty() => {
            Err(Error::input(format!("reading {what}: {key} in {} is empty", path.display())))
        }
        Some(value) => Ok(value),
        None => {
            let error = Error::input(format!("reading {what}: {} does not set {key}", path.display()));
            Err(match dotenv::names(&text) {
                names if names.is_empty() => error.hint("it sets nothing at all; has the agent rendered it yet?"),
                names => error.hint(format!("it sets {}", names.join(", "))),
            })
        }
    }
}

fn read(path: &Path, what: &str) -> Result<String> {
    let doing = || format!("reading {what} from {}", path.display());
    let size = std::fs::metadata(path).context(Kind::Input, doing)?.len();
    if size > FILE_BYTES_MAX {
        return Err(Error::input(format!("{}: it has {size} bytes, which no secret has", doing())));
    }
    std::fs::read_to_string(path).context(Kind::Input, doing)
}

/// The keys a secret may be written with, for the nearest one to be suggested.
const KEYS: [&str; 4] = ["env", "file", "dotenv", "key"];

impl<'de> Deserialize<'de> for SecretRef {
    // By hand, because an untagged enum would forget which key was wrong and in which line.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, {env: NAME}, {file: PATH} or {dotenv: PATH, key: NAME}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<SecretRef, E> {
        Ok(SecretRef::Plain(Secret::new(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<SecretRef, A::Error> {
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

    fn fetched(secret: &SecretRef, base: &Path) -> Result<String> {
        let environment = Environment::of([("DATABASE_URL", "postgres://env")]);
        secret.fetch("the URL of source shop", &environment, base).map(|secret| secret.reveal().to_owned())
    }

    #[test]
    fn each_place_gives_its_secret() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("url"), "postgres://file\n").unwrap();
        std::fs::write(dir.path().join("agent"), "export DATABASE_URL=\"postgres://dotenv\"\n").unwrap();
        for (yaml, expected) in [
            ("postgres://eva:hunter2@plain/shop", "postgres://eva:hunter2@plain/shop"),
            ("{env: DATABASE_URL}", "postgres://env"),
            ("{file: url}", "postgres://file"),
            ("{dotenv: agent, key: DATABASE_URL}", "postgres://dotenv"),
        ] {
            let secret: SecretRef = serde_saphyr::from_str(yaml).unwrap();
            assert_eq!(fetched(&secret, dir.path()).unwrap(), expected);
            assert!(!secret.to_string().contains("hunter2"), "{secret}");
        }
    }

    #[test]
    fn a_missing_secret_says_where_it_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("agent"), "export OTHER=1\n").unwrap();
        let missing = SecretRef::Env("NOPE".to_owned());
        assert_eq!(
            fetched(&missing, dir.path()).unwrap_err().to_string(),
            "reading the URL of source shop: the environment variable NOPE is not set"
        );
        let unset = SecretRef::Dotenv { path: "agent".into(), key: "DATABASE_URL".to_owned() };
        assert_eq!(fetched(&unset, dir.path()).unwrap_err().hint_text(), Some("it sets OTHER"));
    }
}
