//! The database a restore goes into: made beside under a name of its own, and given the target's name at the end, in
//! one transaction. Until then the target is not touched; if anything fails, what was made is dropped.
//!
//! [`Target::plan`] looks and decides and changes nothing, [`Target::begin`] creates the database, and
//! [`Beside::swap_in`] or [`Beside::abandon`] ends it. Restores of points and of foreign dumps share this.

mod look;
mod shape;
mod swap;

pub use shape::{Shape, finishing};
pub use swap::Swapped;

use crate::error::{Error, Kind, Result};
use crate::postgres::pooler::refuse_pooler;
use crate::postgres::{ConnInfo, Session, connect, quote};
use rand::RngExt;

/// The comment on a database that is being filled; a leftover is known by it.
const MARK: &str = "davit: restore in progress";

/// Names of databases, like all names, have at most this many bytes (`NAMEDATALEN` - 1).
const NAME_BYTES_MAX: usize = 63;

/// What may stand under the target's name before the restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// A database that is empty.
    Empty,
    /// Nothing.
    Create,
    /// A database that will be dropped; it must be named a second time, here.
    Replace {
        /// The name, as the user repeated it.
        named: String,
    },
}

/// What stands under the target's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// How it was made; what replaces it can be made alike.
    pub shape: Shape,
    /// Sessions that would be ended at the swap.
    pub sessions: i64,
    /// Its size on disk.
    pub bytes: i64,
    /// Extensions in it beside `plpgsql`: they count as nothing, but go with it.
    pub extensions: Vec<String>,
    /// Its privileges, settings, comment and connection limit, for a new database that should be alike: statements for
    /// [`Beside::swap_in`].
    pub finishing: Vec<String>,
}

/// A target that may be used as asked.
pub struct Target {
    conn: ConnInfo,
    mode: Mode,
    standing: Option<Standing>,
    admin: Session,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("name", &self.name()).field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Target {
    /// Looks whether the database `conn` names can be the target; changes nothing.
    ///
    /// # Errors
    ///
    /// Refused if what stands there is not what `mode` allows, or if this role may not create databases.
    pub async fn plan(conn: &ConnInfo, mode: Mode) -> Result<Self> {
        let name = conn.database().to_owned();
        look::name_is_allowed(&name, &mode)?;
        let admin = administration(conn, &name).await?;
        look::may_create_databases(&admin).await?;
        let mut standing = look::standing(&admin, &name).await?;
        let conn = admin.conn().with_database(&name);
        match (&mode, &mut standing) {
            (Mode::Create, Some(_)) => {
                return Err(Error::refused(format!("database {name} exists already"))
                    .hint(format!("leave out --create if it is empty, or replace it with --replace {name}")));
            }
            (Mode::Empty, None) => {
                return Err(Error::input(format!("there is no database {name}")).hint("--create makes it"));
            }
            (Mode::Empty, Some(found)) => {
                look::must_be_empty(&conn).await?;
                look::inside(&conn, found).await?;
            }
            (Mode::Replace { .. }, Some(found)) => look::inside(&conn, found).await?,
            (Mode::Create | Mode::Replace { .. }, None) => {}
        }
        Ok(Self { conn, mode, standing, admin })
    }

    /// The target's name.
    pub fn name(&self) -> &str {
        self.conn.database()
    }

    /// What stands under that name now.
    pub fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()
    }

    /// The server's `server_version_num`.
    pub fn version_num(&self) -> u32 {
        self.admin.version_num()
    }

    /// A session on the same server, in a database that is not the target: for roles and other globals.
    pub fn server(&self) -> &Session {
        &self.admin
    }

    /// Creates the database beside. What an earlier run left half filled under the same target is dropped first.
    pub async fn begin(self, shape: &Shape) -> Result<Beside> {
        let Self { conn, mode, standing, admin } = self;
        let name = conn.database().to_owned();
        let removed = swap::remove_leftovers(&admin, &name).await?;
        let letters: String = (0..6).map(|_| char::from(rand::rng().random_range(b'a'..=b'z'))).collect();
        let beside = name_beside(&name, &format!("_davit_{letters}"));
        // Held as long as we live: nobody else takes this database for a leftover.
        swap::lock(&admin, &beside).await?;
        let doing = format!("creating database {beside} beside {name}");
        let made = admin.execute(&doing, &shape.create(&beside, admin.major())).await;
        made.map_err(|error| match (shape.locales()[..].join(" and "), error.hint_text()) {
            // What PostgreSQL says of a locale that it cannot have; its words may be translated, its codes are not.
            (locales, None) if !locales.is_empty() && ["(42809)", "(22023)"].iter().any(|code| error.to_string().contains(code)) => error.hint(format!(
                "if the server's system lacks the locale {locales}: install it there and restart PostgreSQL; or load the \
                 point into a database of another locale, which may sort in another order: davit export POINT | psql"
            )),
            _ => error,
        })
        .map_err(|error| error.as_kind(Kind::Refused))?;
        let beside =
            Beside { conn: conn.with_database(&beside), name, mode, existed: standing.is_some(), admin, removed };
        let mark = mark(beside.name(), None);
        match beside.admin.execute(&doing, &mark).await {
            Ok(()) => Ok(beside),
            Err(error) => Err(beside.abandon_after(error).await),
        }
    }
}

/// A database that is being filled, and will have another name.
pub struct Beside {
    /// To the new database.
    conn: ConnInfo,
    /// The name it will have.
    name: String,
    mode: Mode,
    existed: bool,
    admin: Session,
    removed: Vec<Leftover>,
}

/// What a killed run had left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The half-filled database, which is dropped by now.
    pub name: String,
    /// What that run had noted with [`Beside::note`].
    pub note: Option<String>,
}

impl Beside {
    /// How to connect to the new database.
    pub fn conn(&self) -> &ConnInfo {
        &self.conn
    }

    /// The name it has now.
    pub fn name(&self) -> &str {
        self.conn.database()
    }

    /// The name it will have.
    pub fn target(&self) -> &str {
        &self.name
    }

    /// A session on the same server in another database: for roles and other globals.
    pub fn server(&self) -> &Session {
        &self.admin
    }

    /// Half-filled databases of earlier runs that were dropped.
    pub fn removed_leftovers(&self) -> &[Leftover] {
        &self.removed
    }

    /// Keeps a note with the database as long as it is unfinished: what else this run makes at the server.
    pub async fn note(&self, note: &str) -> Result<()> {
        let sql = mark(self.name(), Some(note));
        self.admin.execute("noting what is made at the server", &sql).await
    }

    /// Gives the database, while it is empty, the owner and the tablespace of a shape.
    pub async fn take_shape(&self, shape: &Shape) -> Result<()> {
        for sql in shape.alter(self.name()) {
            self.admin.execute(&format!("setting up database {}", self.name()), &sql).await?;
        }
        Ok(())
    }

    /// Drops the new database.
    ///
    /// # Errors
    ///
    /// Stuck if it cannot be dropped; the text names it and the statement that does it.
    pub async fn abandon(self) -> Result<()> {
        let admin = swap::alive(self.admin, &self.conn, &self.name).await?;
        let name = self.conn.database();
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote::ident(name));
        let dropped = admin.execute(&format!("dropping the unfinished database {name}"), &sql).await;
        admin.close().await;
        dropped.map_err(|error| error.as_kind(Kind::Stuck).hint(format!("when the server is back: {sql}")))
    }

    /// Drops the new database because of `error`, and gives that error back; a failed drop is the worse one.
    pub async fn abandon_after(self, error: Error) -> Error {
        match self.abandon().await {
            Ok(()) => error,
            Err(stuck) => {
                let hint = stuck.hint_text().unwrap_or_default().to_owned();
                Error::new(Kind::Stuck, error.to_string()).because(stuck).hint(hint)
            }
        }
    }

    /// Gives the new database the target's name, in one transaction with `finishing`: statements for the new
    /// database in which `%DATABASE%` stands for its quoted name (privileges, settings, comment, connection limit).
    ///
    /// Sessions of the database that gives way are ended; it is dropped, unless `keep_replaced`. On an error the new
    /// database is dropped and the target is what it was.
    pub async fn swap_in(mut self, finishing: &[String], keep_replaced: bool) -> Result<Swapped> {
        match self.try_swap(finishing, keep_replaced).await {
            Ok(swapped) => {
                self.admin.close().await;
                Ok(swapped)
            }
            Err(error) => Err(self.abandon_after(error).await),
        }
    }
}

/// A session on the target's server outside of the target: for roles and other globals.
pub async fn server_session(conn: &ConnInfo) -> Result<Session> {
    administration(conn, conn.database()).await
}

/// A session in a database of the same server that is not the target, because that one will be renamed.
async fn administration(conn: &ConnInfo, target: &str) -> Result<Session> {
    let mut failure = None;
    for database in ["postgres", "template1"].into_iter().filter(|database| *database != target) {
        match Box::pin(connect(&conn.with_database(database), "restore")).await {
            Ok(session) => {
                // Before anything is set: a pooler would set it for strangers, and lose our locks.
                Box::pin(refuse_pooler(session.conn())).await?;
                swap::no_timeouts(&session).await?;
                return Ok(session);
            }
            // Another database helps only if this one is the trouble.
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let error = failure.unwrap_or_else(|| Error::failed("connecting to the server"));
    Err(error.during("connecting to the server's own database to create one"))
}

/// The statement that marks a database as unfinished.
fn mark(database: &str, note: Option<&str>) -> String {
    let text = note.map_or_else(|| MARK.to_owned(), |note| format!("{MARK} {note}"));
    format!("COMMENT ON DATABASE {} IS {}", quote::ident(database), quote::literal(&text))
}

/// A name made of another and an ending, short enough for PostgreSQL.
fn name_beside(name: &str, ending: &str) -> String {
    let mut end = name.len().min(NAME_BYTES_MAX - ending.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beside_fits_whatever_the_target_is_called() {
        assert_eq!(name_beside("shop", "_davit_abcdef"), "shop_davit_abcdef");
        let long = name_beside(&"ü".repeat(31), "_davit_abcdef");
        assert!(long.len() <= NAME_BYTES_MAX && long.ends_with("ü_davit_abcdef"), "{long}");
    }
}
