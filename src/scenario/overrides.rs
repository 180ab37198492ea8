//! Values that the command line puts in place of a scenario's: `--set target.in=cluster`.

use crate::error::{Context, Error, Kind, Result};
use crate::secret::redact;
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;

/// One value to put in place of what the file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    path: Vec<String>,
    value: Value,
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("{text:?} sets nothing; write it as objectives.rto=5m");
        let (path, value) = text.split_once('=').ok_or_else(wrong)?;
        let path: Vec<String> = path.split('.').map(|part| part.trim().to_owned()).collect();
        if path.iter().any(String::is_empty) {
            return Err(wrong());
        }
        // What is no YAML by itself (a URL with odd signs) is a text.
        let value = serde_saphyr::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        Ok(Self { path, value })
    }
}

impl Override {
    /// The argument that sets it again, as a report shows it: `--set load.writes=200/s`. Where a server is, with what may be
    /// a password, is left out, and so is what is sent to it.
    pub fn argument(&self) -> String {
        const PLACES: [&str; 5] = ["url", "clients", "into", "target", "send"];
        let place = self.path.last().is_some_and(|last| PLACES.contains(&last.as_str()));
        let value = match &self.value {
            _ if place => "…".to_owned(),
            Value::String(text) => text.clone(),
            Value::Object(_) | Value::Array(_) => "…".to_owned(),
            other => other.to_string(),
        };
        let quote = if value.contains(|c: char| c.is_whitespace() || "'\"$*?;&|<>()".contains(c)) { "'" } else { "" };
        format!("--set {quote}{self}={}{quote}", redact(&value))
    }
}

impl fmt::Display for Override {
    /// Which entry is set; its value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.join("."))
    }
}

/// The scenario with its values replaced, as JSON, which is YAML too.
pub(super) fn apply(text: &str, overrides: &[Override]) -> Result<String> {
    let doing = || "replacing values of the scenario".to_owned();
    let mut whole: Value = serde_saphyr::from_str(text).context(Kind::Input, doing)?;
    for replaced in overrides {
        set(&mut whole, replaced)?;
    }
    serde_json::to_string_pretty(&whole).context(Kind::Input, doing)
}

fn set(whole: &mut Value, replaced: &Override) -> Result<()> {
    let (last, folders) = replaced.path.split_last().ok_or_else(|| Error::input("reading --set: it names nothing"))?;
    let mut at = whole;
    for folder in folders {
        let Value::Object(entries) = at else { return Err(no_block(replaced, folder)) };
        at = entries.entry(folder.clone()).or_insert_with(|| Value::Object(Map::new()));
    }
    // `recovery: platform` becomes the block `recovery: {by: platform}`, so that what it needs can be added.
    if let Value::String(by) = at {
        let by = Value::String(std::mem::take(by));
        *at = Value::Object(Map::from_iter([("by".to_owned(), by)]));
    }
    let Value::Object(entries) = at else { return Err(no_block(replaced, last)) };
    entries.insert(last.clone(), replaced.value.clone());
    Ok(())
}

fn no_block(replaced: &Override, part: &str) -> Error {
    Error::input(format!("reading --set {replaced}: the scenario has no block that could hold {part:?}"))
        .hint("name entries from the outermost inwards, such as objectives.rto=5m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_shown_as_it_was_and_no_password_with_it() {
        for (given, shown) in [
            ("objectives.rto=5m", "--set objectives.rto=5m"),
            ("fault.with.tables=public.a b", "--set 'fault.with.tables=public.a b'"),
            ("target.processes.clients=postgres://eva:hunter2@db/shop", "--set target.processes.clients=…"),
            ("fault.with.primary=postgres://eva:hunter2@db/shop", "--set fault.with.primary=postgres://eva:…@db/shop"),
            ("target.processes.expect.send=AUTH hunter2", "--set target.processes.expect.send=…"),
            ("recovery.command=[restart, hunter2]", "--set recovery.command=…"),
        ] {
            assert_eq!(given.parse::<Override>().unwrap().argument(), shown);
        }
    }
}
