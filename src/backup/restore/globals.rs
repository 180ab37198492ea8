//! Roles and tablespaces of the server: made where they are not there yet, and taken away again if the restore fails.

use super::definitions::{named_roles, words_of};
use super::site::failed;
use crate::error::{Error, Result};
use crate::journal::{Amount, SharedProgress, Stage};
use crate::postgres::script::{self, Limits};
use crate::postgres::{Session, quote};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const STAGE: Stage = "globals";

/// The statements of a script of globals, and what they make.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::backup) struct Globals {
    statements: Vec<Global>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Global {
    text: String,
    about: About,
}

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    /// It makes this role.
    NewRole(String),
    /// It says something of this role.
    Role(String),
    /// It makes this tablespace.
    NewTablespace(String),
    /// It says something of this tablespace.
    Tablespace(String),
    /// It makes roles members of others.
    Membership(BTreeSet<String>),
}

/// What was made, for undoing it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::backup) struct Made {
    pub(in crate::backup) roles: Vec<String>,
    pub(in crate::backup) tablespaces: Vec<String>,
}

impl Globals {
    /// Reads what `pg_dumpall --globals-only` wrote.
    pub(in crate::backup) fn read(text: &[u8]) -> Result<Self> {
        let mut statements = Vec::new();
        for statement in script::entries(text, Limits::default())?.into_iter().flat_map(|entry| entry.statements) {
            if let Some(about) = about(&statement) {
                statements.push(Global { text: statement, about });
            }
        }
        Ok(Self { statements })
    }

    /// The same without tablespaces: for a server that has no other disks.
    pub(in crate::backup) fn without_tablespaces(&self) -> Self {
        let of_roles = |global: &&Global| !matches!(global.about, About::NewTablespace(_) | About::Tablespace(_));
        Self { statements: self.statements.iter().filter(of_roles).cloned().collect() }
    }

    /// The roles it makes.
    pub(in crate::backup) fn roles(&self) -> BTreeSet<String> {
        let made = |global: &Global| if let About::NewRole(role) = &global.about { Some(role.clone()) } else { None };
        self.statements.iter().filter_map(made).collect()
    }

    /// Those of these roles that may log in and get no password here.
    pub(in crate::backup) fn without_password(&self, roles: &[String]) -> Vec<String> {
        let is_set_up = |global: &&Global, role: &String| global.about == About::Role(role.clone());
        let says = |role: &String, what: &str| {
            let of_role = self.statements.iter().filter(|global| is_set_up(global, role));
            let has = |text: &str| words_of(text).iter().any(|(word, bare)| *bare && word == what);
            of_role.into_iter().any(|global| has(&global.text))
        };
        roles.iter().filter(|role| says(role, "login") && !says(role, "password")).cloned().collect()
    }

    /// The tablespaces it makes.
    pub(in crate::backup) fn tablespaces(&self) -> BTreeSet<String> {
        let made =
            |global: &Global| if let About::NewTablespace(name) = &global.about { Some(name.clone()) } else { None };
        self.statements.iter().filter_map(made).collect()
    }

    /// What of it is not there.
    pub(in crate::backup) async fn lacking(&self, server: &Session) -> Result<Made> {
        let (roles, spaces) = there(server).await?;
        Ok(Made {
            roles: self.roles().difference(&roles).cloned().collect(),
            tablespaces: self.tablespaces().difference(&spaces).cloned().collect(),
        })
    }

    /// Makes what is not there. Roles and tablespaces that are there stay as they are, but for tablespaces that a
    /// killed run may have made without setting them up.
    ///
    /// All roles are made in one transaction: one that is there has all that belongs to it. Tablespaces know none.
    pub(in crate::backup) async fn bring(
        &self,
        server: &Session,
        progress: &SharedProgress,
        half_made: &[String],
    ) -> Result<Made> {
        let total = Amount::items(self.statements.len() as u64);
        progress.began(STAGE, total);
        let Made { roles, tablespaces } = self.lacking(server).await?;
        let mut made = Made::default();
        server.execute("making roles", "BEGIN").await?;
        for global in &self.statements {
            let wanted = match &global.about {
                About::NewRole(name) | About::Role(name) => roles.contains(name),
                About::Membership(members) => members.iter().any(|name| roles.contains(name)),
                About::NewTablespace(_) | About::Tablespace(_) => false,
            };
            if wanted && let Err(error) = global.run(server).await {
                server.execute("taking back roles", "ROLLBACK").await?;
                return Err(error);
            }
        }
        server.execute("making roles", "COMMIT").await?;
        made.roles = roles;
        for global in &self.statements {
            let wanted = match &global.about {
                About::NewTablespace(name) => tablespaces.contains(name),
                About::Tablespace(name) => tablespaces.contains(name) || half_made.contains(name),
                _ => false,
            };
            if !wanted {
                continue;
            }
            if let Err(error) = global.run(server).await {
                return Err(made.undo_after(server, error).await);
            }
            if let About::NewTablespace(name) = &global.about {
                made.tablespaces.push(name.clone());
            }
        }
        progress.ended(STAGE, total);
        Ok(made)
    }
}

impl Global {
    async fn run(&self, server: &Session) -> Result<()> {
        let done = server.client.batch_execute(&self.text).await;
        // The statement may hold a password's hash: only what it is about is told.
        done.map_err(|error| failed(server, &error, &describe(&self.about), ""))
    }
}

impl Made {
    /// Adds what another run made.
    pub(in crate::backup) fn add(&mut self, other: Self) {
        self.roles.extend(other.roles);
        self.tablespaces.extend(other.tablespaces);
    }

    /// Keeps what is there.
    pub(in crate::backup) async fn keep_present(&mut self, server: &Session) -> Result<()> {
        let (roles, spaces) = there(server).await?;
        self.roles.retain(|name| roles.contains(name));
        self.tablespaces.retain(|name| spaces.contains(name));
        Ok(())
    }

    /// In words; `None` if it is nothing.
    pub(in crate::backup) fn describe(&self) -> Option<String> {
        let roles = self.roles.iter().map(|name| format!("role {name}"));
        let all: Vec<String> = roles.chain(self.tablespaces.iter().map(|name| format!("tablespace {name}"))).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// Takes away what was made, because of `error`.
    pub(in crate::backup) async fn undo_after(self, server: &Session, error: Error) -> Error {
        let spaces = self.tablespaces.iter().rev().map(|name| format!("DROP TABLESPACE {}", quote::ident(name)));
        let roles = self.roles.iter().rev().map(|name| format!("DROP ROLE {}", quote::ident(name)));
        for sql in spaces.chain(roles) {
            if let Err(left) = server.execute(&sql, &sql).await {
                return Error::new(crate::error::Kind::Stuck, error.to_string())
                    .because(left)
                    .hint(format!("when that is cleared: {sql}"));
            }
        }
        error
    }
}

fn describe(about: &About) -> String {
    match about {
        About::NewRole(name) => format!("making role {name}"),
        About::Role(name) => format!("setting up role {name}"),
        About::NewTablespace(name) => format!("making tablespace {name}"),
        About::Tablespace(name) => format!("setting up tablespace {name}"),
        About::Membership(names) => {
            format!("making members of roles: {}", names.iter().cloned().collect::<Vec<_>>().join(", "))
        }
    }
}

/// `None` for settings of the session.
fn about(statement: &str) -> Option<About> {
    let words = words_of(statement);
    let is = |place: usize, word: &str| words.get(place).is_some_and(|(text, bare)| *bare && text == word);
    let name = |place: usize| words.get(place).map(|(text, _)| text.clone());
    if is(1, "role") && is(0, "create") {
        Some(About::NewRole(name(2)?))
    } else if is(1, "role") {
        Some(About::Role(name(2)?))
    } else if is(1, "tablespace") && is(0, "create") {
        Some(About::NewTablespace(name(2)?))
    } else if is(1, "tablespace") {
        // ALTER TABLESPACE x …, COMMENT ON TABLESPACE x … begins otherwise.
        Some(About::Tablespace(name(2)?))
    } else if let Some(place) = words.iter().position(|(text, bare)| *bare && text == "on") {
        if is(place + 1, "parameter") {
            // What a role may set belongs to the role, whoever the parameter belongs to.
            let to = words.iter().rposition(|(text, bare)| *bare && (text == "to" || text == "from"))?;
            return Some(About::Role(name(to + 1)?));
        }
        let object = if is(place + 1, "tablespace") || is(place + 1, "role") { name(place + 2)? } else { return None };
        Some(if is(place + 1, "role") { About::Role(object) } else { About::Tablespace(object) })
    } else if is(0, "grant") {
        Some(About::Membership(named_roles(statement)))
    } else {
        None
    }
}

/// Roles and tablespaces that are there.
async fn there(server: &Session) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let roles = names(server, "SELECT rolname::text FROM pg_catalog.pg_roles").await?;
    let spaces = names(server, "SELECT spcname::text FROM pg_catalog.pg_tablespace").await?;
    Ok((roles, spaces))
}

async fn names(server: &Session, sql: &str) -> Result<BTreeSet<String>> {
    let rows = server.rows("looking for roles and tablespaces", sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "--\n-- PostgreSQL database cluster dump\n--\n\nSET client_encoding = 'UTF8';\n\
        CREATE ROLE app;\nALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$x';\n\
        COMMENT ON ROLE app IS 'the app';\nALTER ROLE app SET work_mem TO '1MB';\n\
        CREATE ROLE \"Odd One\";\nGRANT app TO \"Odd One\" WITH ADMIN OPTION GRANTED BY postgres;\n\
        CREATE TABLESPACE fast OWNER app LOCATION '/fast';\nGRANT ALL ON TABLESPACE fast TO app;\n\
        GRANT SET ON PARAMETER log_statement TO app;\n";

    #[test]
    fn each_statement_is_about_what_it_makes_or_changes() {
        let globals = Globals::read(SCRIPT.as_bytes()).unwrap();
        let about: Vec<&About> = globals.statements.iter().map(|global| &global.about).collect();
        let role = |name: &str| About::Role(name.to_owned());
        let members = ["Odd One", "app", "postgres"].map(str::to_owned).into_iter().collect();
        let expected = [
            About::NewRole("app".to_owned()),
            role("app"),
            role("app"),
            role("app"),
            About::NewRole("Odd One".to_owned()),
            About::Membership(members),
            About::NewTablespace("fast".to_owned()),
            About::Tablespace("fast".to_owned()),
            role("app"),
        ];
        assert_eq!(about, expected.iter().collect::<Vec<_>>());
        assert_eq!(globals.roles().len(), 2);
        let roles = ["app", "Odd One"].map(str::to_owned);
        assert_eq!(globals.without_password(&roles), [""; 0], "one has a password, the other cannot log in");
        let hidden = Globals::read(SCRIPT.replace(" PASSWORD 'SCRAM-SHA-256$x'", "").as_bytes()).unwrap();
        assert_eq!(hidden.without_password(&roles), ["app"]);
    }
}
