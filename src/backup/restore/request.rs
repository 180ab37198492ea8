//! What a user asks of a restore.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How strongly a restore is proven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// Every chunk's row sum was recomputed before it was sent, and the server counted as many rows as the manifest.
    #[default]
    Sent,
    /// Moreover, every table was read back and its row sum recomputed from what the server returned.
    ReadBack,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sent => "sent",
            Self::ReadBack => "read-back",
        })
    }
}

impl FromStr for Proof {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "sent" => Ok(Self::Sent),
            "read-back" => Ok(Self::ReadBack),
            _ => Err(Error::input(format!("reading {text:?} as a proof")).hint("it is 'sent' or 'read-back'")),
        }
    }
}

/// Which part of a database is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Definitions and rows.
    #[default]
    Whole,
    /// Definitions only: `--schema-only`.
    Definitions,
    /// Rows only, into tables that are there and empty: `--data-only`.
    Rows,
}

/// What to leave out of the definitions, and whom to give them to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adjust {
    /// Roles of the source and who stands for them at the target.
    pub role_map: BTreeMap<String, String>,
    /// Everything belongs to whoever restores.
    pub no_owner: bool,
    /// No `GRANT` and no `REVOKE`.
    pub no_privileges: bool,
    /// Everything lies in the target's default tablespace.
    pub no_tablespaces: bool,
}

impl Adjust {
    /// Adds `a=b`: what belonged to `a` will belong to `b`.
    pub fn map_role(&mut self, pair: &str) -> Result<()> {
        match pair.split_once('=') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => {
                self.role_map.insert(from.to_owned(), to.to_owned());
                Ok(())
            }
            _ => Err(Error::input(format!("reading {pair:?} as a pair of roles")).hint("it is --role-map OLD=NEW")),
        }
    }
}

/// What to do with a database that has the target's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Existing {
    /// It must be there and empty; it is filled.
    #[default]
    Fill,
    /// It must not be there; it is made: `--create`.
    Create,
    /// It is replaced once the restore is proven, and kept under another name: `--replace NAME`, the name typed twice.
    Replace(String),
}

/// The pieces of a restore that a user may choose; where from and where to are given beside it.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which database of a point that has several.
    pub database: Option<String>,
    /// These tables only (`schema.table`); all if empty.
    pub tables: Vec<String>,
    /// Definitions, rows or both.
    pub part: Part,
    /// What to change in the definitions.
    pub adjust: Adjust,
    /// What to do with what is there.
    pub existing: Existing,
    /// How strongly to prove it.
    pub proof: Proof,
    /// Bring back roles and tablespaces of the server first.
    pub with_globals: bool,
    /// Go on without what is damaged, and list what is lost.
    pub allow_damage: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_of_roles_has_two_names() {
        let mut adjust = Adjust::default();
        adjust.map_role("old=new").unwrap();
        assert_eq!(adjust.role_map["old"], "new");
        for text in ["old", "=new", "old="] {
            assert!(adjust.map_role(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_proof_is_written_as_it_is_read() {
        for proof in [Proof::Sent, Proof::ReadBack] {
            assert_eq!(proof.to_string().parse::<Proof>().unwrap(), proof);
            assert_eq!(serde_json::to_string(&proof).unwrap(), format!("\"{proof}\""));
        }
        assert!("restored".parse::<Proof>().is_err());
    }
}
