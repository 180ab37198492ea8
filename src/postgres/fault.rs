//! What a PostgreSQL error means to whoever has to act on it, told apart by SQLSTATE and never by translated text.

use crate::error::{Error, Kind};
use crate::retry::{Retry, Retryable};
use std::error::Error as StdError;
use std::io;
use tokio_postgres::error::{DbError, SqlState};

/// The failures a caller treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nobody listens there, or the network does not lead there.
    Refused,
    /// No answer in time.
    Timeout,
    /// The password was wrong.
    Password,
    /// A password was asked for and there is none.
    NoPassword,
    /// The server does not let this user in from here.
    NotAllowed,
    /// There is no such role.
    NoRole,
    /// There is no such database.
    NoDatabase,
    /// All connections are taken.
    TooMany,
    /// The server is starting, stopping or recovering.
    Starting,
    /// TLS could not be agreed on.
    Tls,
    /// The statement was cancelled.
    Cancelled,
    /// A lock was not to be had in time.
    Locked,
    /// A standby had to give way to replay.
    StandbyConflict,
    /// A deadlock or a serialization failure: the same again may work.
    Transient,
    /// A privilege is missing.
    Denied,
    /// The object is not there.
    Missing,
    /// The server's disk is full.
    DiskFull,
    /// The server met damaged data.
    Corrupted,
    /// The connection is gone, or the server ended it.
    Gone,
    /// A startup parameter that a pooler does not pass on.
    PoolerParameter,
    /// Anything else.
    Other,
}

impl Retryable for Fault {
    fn retry(&self) -> Retry {
        match self {
            Self::Refused
            | Self::Timeout
            | Self::TooMany
            | Self::Starting
            | Self::Gone
            | Self::Transient
            | Self::StandbyConflict
            | Self::Locked => Retry::Later,
            _ => Retry::Never,
        }
    }
}

/// Tells an error apart.
pub fn classify(error: &tokio_postgres::Error) -> Fault {
    if let Some(db) = error.as_db_error() {
        return of_server(db);
    }
    if error.is_closed() {
        return Fault::Gone;
    }
    // The kind of the driver's error is private; its own text is fixed English.
    let what = error.to_string();
    if what.contains("TLS") {
        return Fault::Tls;
    }
    let causes = causes(error);
    if causes.contains("password missing") {
        return Fault::NoPassword;
    }
    if let Some(io) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        return match io.kind() {
            io::ErrorKind::TimedOut => Fault::Timeout,
            _ if what.contains("connecting") => Fault::Refused,
            _ => Fault::Gone,
        };
    }
    if what.contains("timeout") { Fault::Timeout } else { Fault::Other }
}

fn of_server(db: &DbError) -> Fault {
    let code = db.code();
    if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        // Both have the same code; the routine's name is not translated.
        return if db.routine() == Some("InitializeSessionUserId") { Fault::NoRole } else { Fault::NotAllowed };
    }
    if *code == SqlState::PROTOCOL_VIOLATION && db.message().contains("startup parameter") {
        return Fault::PoolerParameter;
    }
    // Nothing else raises these two codes from there.
    if matches!(db.routine(), Some("ProcessRecoveryConflictInterrupt" | "ProcessInterrupts"))
        && matches!(code.code(), "40001" | "40P01")
    {
        return Fault::StandbyConflict;
    }
    match code.code() {
        "28P01" => Fault::Password,
        "3D000" => Fault::NoDatabase,
        "53300" => Fault::TooMany,
        "57P03" => Fault::Starting,
        "57014" => Fault::Cancelled,
        "55P03" => Fault::Locked,
        "40001" | "40P01" => Fault::Transient,
        "42501" => Fault::Denied,
        "42P01" | "3F000" | "42704" | "42883" | "42703" => Fault::Missing,
        "53100" => Fault::DiskFull,
        "XX001" | "XX002" => Fault::Corrupted,
        "57P01" | "57P02" | "57P04" | "57P05" | "25P03" | "25P04" => Fault::Gone,
        _ => Fault::Other,
    }
}

/// Turns a driver's error into one for people: what was being done, what the server said, what to try.
pub fn explain(error: &tokio_postgres::Error, doing: impl Into<String>) -> Error {
    let fault = classify(error);
    let explained = Error::new(kind(fault), doing).because(said(error));
    match hint(fault) {
        Some(hint) => explained.hint(hint),
        None => explained,
    }
}

/// The same for a socket that could not be opened.
pub(super) fn explain_socket(error: io::Error, doing: &str) -> (Fault, Error) {
    let fault = if error.kind() == io::ErrorKind::TimedOut { Fault::Timeout } else { Fault::Refused };
    let explained = Error::failed(doing).because(error);
    (fault, explained.hint(hint(fault).unwrap_or_default()))
}

/// What to try where all that is known is what a program of PostgreSQL said. What it says by itself is English, as it was told;
/// what it passes on from a server that speaks another language has no hint.
pub(super) fn hint_for(said: &str) -> Option<&'static str> {
    const WORDS: [(&str, Fault); 8] = [
        ("Connection refused", Fault::Refused),
        ("server closed the connection unexpectedly", Fault::Gone),
        ("conflict with recovery", Fault::StandbyConflict),
        ("terminating connection", Fault::Gone),
        ("no connection to the server", Fault::Gone),
        ("lock timeout", Fault::Locked),
        ("permission denied for", Fault::Denied),
        ("too many clients", Fault::TooMany),
    ];
    WORDS.iter().find(|(words, _)| said.contains(words)).and_then(|(_, fault)| hint(*fault))
}

/// What went wrong in one line: the server's message with detail and SQLSTATE, or the driver's with its causes.
pub fn said(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        let causes = causes(error);
        return if causes.is_empty() { error.to_string() } else { causes };
    };
    let mut text = format!("{} ({})", db.message(), db.code().code());
    for more in [db.detail(), db.where_()].into_iter().flatten() {
        text.push_str(": ");
        // COPY's context holds the row itself, which may be long.
        text.extend(more.chars().take(300));
    }
    text
}

fn causes(error: &tokio_postgres::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        cause = next.source();
    }
    texts.join(": ")
}

fn kind(fault: Fault) -> Kind {
    match fault {
        Fault::Password
        | Fault::NoPassword
        | Fault::NotAllowed
        | Fault::NoRole
        | Fault::NoDatabase
        | Fault::Tls
        | Fault::PoolerParameter => Kind::Input,
        _ => Kind::Failed,
    }
}

fn hint(fault: Fault) -> Option<&'static str> {
    Some(match fault {
        Fault::Refused => "is the server running, is the port right, and does a firewall let this machine through",
        Fault::Timeout => "a firewall that drops packets looks like this; connect_timeout sets how long to wait",
        Fault::Password => "check user and password; special characters in a URL must be percent-encoded",
        Fault::NoPassword => {
            "give it in the URL, in PGPASSWORD, or in a password file with mode 0600 (PGPASSFILE, ~/.pgpass)"
        }
        Fault::NotAllowed => "pg_hba.conf on the server decides who may come from where, and whether with TLS",
        Fault::NoRole => "check the user; without one, that of the operating system is taken",
        Fault::TooMany => "lower --jobs, or raise max_connections on the server",
        Fault::Starting => "the server is starting, stopping or replaying WAL: try again in a moment",
        Fault::Locked => "somebody holds a lock that conflicts; pg_stat_activity and pg_locks show who",
        Fault::StandbyConflict => {
            "raise max_standby_streaming_delay or set hot_standby_feedback on this standby, or back up from the primary"
        }
        Fault::Denied => "grant the privilege, or run as the owner or as a member of pg_read_all_data",
        Fault::DiskFull => "make room on the server's disk",
        Fault::Corrupted => "the server's data files are damaged: look at its log before anything else",
        Fault::PoolerParameter => "this looks like a connection pooler: connect to PostgreSQL itself",
        Fault::Gone => "the server's log says why it ended the connection",
        _ => return None,
    })
}
