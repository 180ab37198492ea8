//! Fetching a secret from where it is kept. Nothing is fetched before it is needed.

use crate::config::dotenv;
use crate::config::environment::Environment;
use crate::error::{Context, Error, Kind, Result};
use crate::secret::{Secret, SecretRef};
use std::path::Path;

/// A file with one secret in it is never longer than this.
const FILE_BYTES_MAX: u64 = 64 * 1024;

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
