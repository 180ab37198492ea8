//! The head of a script, up to where a database is needed: what kind of dump it is, how its database was made, and for
//! a cluster dump the way to the part that is wanted.

use super::about::{self, About};
use super::adjust::{Adjusted, adjusted};
use super::script::Script;
use crate::backup::restore::Adjust;
use crate::backup::target::Shape;
use crate::error::{Error, Result};
use crate::postgres::script::{Directive, DumpKind, Statement, Token};

/// Names of databases shown when the one wanted is not there.
const SHOWN_DATABASES: usize = 20;

/// What the head of a script says.
#[derive(Debug, Default)]
pub struct Prelude {
    /// What wrote the script; `None` if it does not say.
    pub kind: Option<DumpKind>,
    /// The database it was made of, if it says.
    pub database: Option<String>,
    /// How that database was made, if it says (`pg_dump -C`, `pg_dumpall`).
    pub shape: Option<Shape>,
    /// Statements for the moment of the swap; `%DATABASE%` stands for the name.
    pub finishing: Vec<String>,
    /// Roles and tablespaces, from a cluster dump.
    pub globals: Vec<Statement>,
    /// Settings of the session that come before anything else.
    pub(super) settings: Vec<Statement>,
}

impl Prelude {
    /// Reads the head; the next token of `script` is then the first that needs a database.
    ///
    /// # Errors
    ///
    /// A cluster dump without `wanted`, or without a part of that name; a dump of one database with `wanted`.
    pub async fn read(script: &mut Script, wanted: Option<&str>) -> Result<Self> {
        let mut prelude = Self::default();
        while let Some(token) = script.next().await? {
            match token {
                Token::Begin(DumpKind::Cluster) => return Self::of_cluster(script, wanted).await,
                Token::Begin(kind) => prelude.kind = prelude.kind.or(Some(kind)),
                Token::Statement(statement) if is_setting(&statement) => prelude.settings.push(statement),
                Token::Statement(statement) => {
                    if prelude.hear(&statement, None) == Heard::NotAboutADatabase {
                        script.put_back(Token::Statement(statement));
                        break;
                    }
                }
                Token::Directive(Directive::Connect(name)) => {
                    prelude.database = Some(name);
                    // It is another session; the dump sets everything again.
                    prelude.settings.clear();
                    break;
                }
                Token::Directive(_) | Token::Section(_) => {}
                other => {
                    script.put_back(other);
                    break;
                }
            }
        }
        match wanted {
            Some(wanted) if prelude.database.as_deref() != Some(wanted) => {
                Err(Error::input(format!("{} is a dump of one database, not of a server", script.name()))
                    .hint(format!("leave out --database {wanted}")))
            }
            _ => Ok(prelude),
        }
    }

    /// Finds the part of one database in a dump of a whole server.
    async fn of_cluster(script: &mut Script, wanted: Option<&str>) -> Result<Self> {
        let Some(wanted) = wanted else { return Err(script.is_of_cluster()) };
        let mut prelude = Self { kind: Some(DumpKind::Cluster), ..Self::default() };
        let mut connected = Vec::new();
        while let Some(token) = script.next().await? {
            match token {
                Token::Directive(Directive::Connect(name)) if name == wanted => {
                    prelude.database = Some(name);
                    return Ok(prelude);
                }
                Token::Directive(Directive::Connect(name)) => connected.push(name),
                Token::Statement(statement) => {
                    let about = prelude.hear(&statement, Some(wanted));
                    // Definitions belong to the database they come after; before the first they are the server's.
                    if about == Heard::NotAboutADatabase && connected.is_empty() && !is_setting(&statement) {
                        prelude.globals.push(statement);
                    }
                }
                Token::EndMarker(DumpKind::Cluster) => return Err(no_such_part(script, wanted, &connected)),
                _ => {}
            }
        }
        Err(Error::input(format!("{} is truncated: it ends before the database {wanted}", script.name()))
            .hint("take an older one, or copy it again from where it was made"))
    }

    /// The statements for the moment of the swap, as `adjust` wants them.
    pub(super) fn finishing(self, adjust: Option<&Adjust>) -> Vec<String> {
        let Some(adjust) = adjust else { return self.finishing };
        let wanted = |statement: String| match adjusted(adjust, &statement) {
            Adjusted::Same => Some(statement),
            Adjusted::Changed(changed) => Some(changed),
            Adjusted::LeftOut => None,
        };
        self.finishing.into_iter().filter_map(wanted).collect()
    }

    /// Keeps what a statement says about the database `own` (about any, if that is not known).
    pub(super) fn hear(&mut self, statement: &Statement, own: Option<&str>) -> Heard {
        let text = String::from_utf8_lossy(&statement.text);
        let Some((name, about)) = about::database(&text) else { return Heard::NotAboutADatabase };
        if own.is_some_and(|own| own != name) {
            return Heard::OfAnother(name);
        }
        match about {
            About::Create(shape) => {
                self.shape = Some(*shape);
                self.database = self.database.take().or(Some(name));
                return Heard::MadeOrDropped;
            }
            About::Drop => return Heard::MadeOrDropped,
            About::Owner(owner) => self.shape.get_or_insert_default().owner = Some(owner),
            About::Finish(statement) => self.finishing.push(statement),
        }
        Heard::Kept
    }
}

/// What a statement turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    NotAboutADatabase,
    /// It is about the right database, and what it says is kept.
    Kept,
    /// It makes or drops the right database, which only the head of a dump does.
    MadeOrDropped,
    OfAnother(String),
}

fn is_setting(statement: &Statement) -> bool {
    let begins = |head: &[u8]| statement.text.get(..head.len()).is_some_and(|start| start.eq_ignore_ascii_case(head));
    begins(b"SET ") && !begins(b"SET SESSION AUTHORIZATION") || begins(b"SELECT pg_catalog.set_config(")
}

fn no_such_part(script: &Script, wanted: &str, connected: &[String]) -> Error {
    let shown = connected.iter().take(SHOWN_DATABASES).map(String::as_str).collect::<Vec<_>>().join(", ");
    Error::input(format!("{} has no database {wanted}", script.name())).hint(format!("it has {shown}"))
}
