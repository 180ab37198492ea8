//! The process environment, read once. Nothing outside this folder looks at environment variables.

use crate::error::{Error, Result};
use crate::postgres::PgEnvironment;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A copy of the environment, taken at the start.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    vars: BTreeMap<String, String>,
    not_text: Vec<String>,
}

impl Environment {
    /// The environment of this process.
    pub fn of_this_process() -> Self {
        let mut environment = Self::default();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(environment.vars.insert(name, value)),
                Err(_) => environment.not_text.push(name),
            }
        }
        environment
    }

    /// An environment of exactly these variables.
    pub fn of<const N: usize>(vars: [(&str, &str); N]) -> Self {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { vars, not_text: Vec::new() }
    }

    /// The value of a variable; an empty one counts as not set, as a manifest with an unfilled value leaves it.
    pub fn get(&self, name: &str) -> Result<Option<&str>> {
        if self.not_text.iter().any(|known| known == name) {
            return Err(Error::input(format!("reading the environment variable {name}: it is not UTF-8 text")));
        }
        Ok(self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty()))
    }

    /// The user's home directory.
    pub fn home(&self) -> Option<PathBuf> {
        self.path("HOME")
    }

    /// A variable that names a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).ok().flatten().map(PathBuf::from)
    }

    /// The text of `PATH`.
    pub fn search_path(&self) -> Option<String> {
        self.vars.get("PATH").cloned()
    }

    /// Who runs this, for the message to a second runner: host and process.
    pub fn holder(&self) -> String {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let host = kernel.or_else(|| self.vars.get("HOSTNAME").cloned()).unwrap_or_else(|| "unknown host".to_owned());
        format!("{}, process {}", host.trim(), std::process::id())
    }

    /// What the PostgreSQL edge may see of it.
    pub fn postgres(&self) -> PgEnvironment {
        let seen = self
            .vars
            .iter()
            .filter(|(name, _)| name.starts_with("PG") || ["USER", "SSL_CERT_FILE"].contains(&name.as_str()));
        PgEnvironment { vars: seen.map(|(name, value)| (name.clone(), value.clone())).collect(), home: self.home() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let environment = Environment::of([("DAVIT_KEYS", ""), ("HOME", "/home/eva")]);
        assert_eq!(environment.get("DAVIT_KEYS").unwrap(), None);
        assert_eq!(environment.home(), Some(PathBuf::from("/home/eva")));
    }

    #[test]
    fn the_postgres_edge_sees_only_its_own_variables() {
        let environment = Environment::of([("PGHOST", "db"), ("PATH", "/bin:/sbin"), ("PGUSER", "eva")]);
        let names: Vec<String> = environment.postgres().vars.into_keys().collect();
        assert_eq!(names, ["PGHOST", "PGUSER"]);
        assert_eq!(environment.search_path().as_deref(), Some("/bin:/sbin"));
    }
}
