//! What a fault is told besides its target: names and texts, as a scenario file or `--set` gives them.

use super::fault::Facts;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Parameters by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Sets one.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// One, as it was given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// One that is read as something else than text; `default` where it was not given.
    pub fn read<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        let Some(text) = self.get(name) else { return Ok(default) };
        text.parse().map_err(|_| {
            let what = std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
            Error::input(format!("reading the parameter {name}={text:?} as {}", word(what)))
        })
    }

    /// One that must have been given.
    pub fn needed(&self, fault: &str, name: &str) -> Result<&str> {
        self.get(name).filter(|text| !text.trim().is_empty()).ok_or_else(|| {
            Error::input(format!("reading the parameters of {fault}: {name} is missing"))
                .hint(format!("--set {name}=…"))
        })
    }

    /// A list that is parted by commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        let text = self.get(name).unwrap_or_default();
        text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }

    /// Refuses names that the fault does not know, with the nearest one that it does.
    pub fn check(&self, facts: &Facts) -> Result<()> {
        let known: Vec<&str> = facts.parameters.iter().map(|parameter| parameter.name).collect();
        let Some(unknown) = self.0.keys().find(|name| !known.contains(&name.as_str())) else { return Ok(()) };
        let error = Error::input(format!("reading the parameters of {}: there is no {unknown:?}", facts.name));
        let near = known.iter().min_by_key(|name| strsim::levenshtein(name, unknown));
        Err(match near {
            Some(near) if strsim::levenshtein(near, unknown) <= unknown.len().max(4) / 2 => {
                error.hint(format!("did you mean {near}? it knows {}", known.join(", ")))
            }
            _ if known.is_empty() => error.hint("it takes no parameters"),
            _ => error.hint(format!("it knows {}", known.join(", "))),
        })
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

fn word(kind: &str) -> &str {
    match kind {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "i32" | "i64" => "a number",
        "bool" => "true or false",
        other => other,
    }
}
