//! The connection parameters: which are honoured, which change nothing here, and which are refused because ignoring
//! them would weaken what the user asked for.

use crate::error::{Error, Result};

/// What becomes of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It does what libpq's documentation says.
    Honoured,
    /// It has no meaning for these connections (we set it ourselves, or it concerns what we do not speak).
    Meaningless,
    /// Ignoring it could make a connection that the user did not want.
    Refused,
}

/// Each parameter, the environment variable behind it, and its fate.
const TABLE: &[(&str, &str, Fate)] = {
    use Fate::{Honoured, Meaningless, Refused};
    &[
        ("host", "PGHOST", Honoured),
        ("hostaddr", "PGHOSTADDR", Honoured),
        ("port", "PGPORT", Honoured),
        ("dbname", "PGDATABASE", Honoured),
        ("user", "PGUSER", Honoured),
        ("password", "PGPASSWORD", Honoured),
        ("passfile", "PGPASSFILE", Honoured),
        ("service", "PGSERVICE", Honoured),
        ("servicefile", "PGSERVICEFILE", Honoured),
        ("options", "PGOPTIONS", Honoured),
        ("connect_timeout", "PGCONNECT_TIMEOUT", Honoured),
        ("sslmode", "PGSSLMODE", Honoured),
        ("sslnegotiation", "PGSSLNEGOTIATION", Honoured),
        ("sslrootcert", "PGSSLROOTCERT", Honoured),
        ("sslcert", "PGSSLCERT", Honoured),
        ("sslkey", "PGSSLKEY", Honoured),
        ("sslcrl", "PGSSLCRL", Honoured),
        ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Honoured),
        ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Honoured),
        ("channel_binding", "PGCHANNELBINDING", Honoured),
        ("target_session_attrs", "PGTARGETSESSIONATTRS", Honoured),
        ("load_balance_hosts", "PGLOADBALANCEHOSTS", Honoured),
        ("keepalives", "", Honoured),
        ("keepalives_idle", "", Honoured),
        ("keepalives_interval", "", Honoured),
        ("keepalives_count", "", Honoured),
        ("tcp_user_timeout", "", Honoured),
        ("gssencmode", "PGGSSENCMODE", Honoured),
        ("application_name", "", Meaningless),
        ("fallback_application_name", "", Meaningless),
        ("client_encoding", "", Meaningless),
        ("krbsrvname", "", Meaningless),
        ("gsslib", "", Meaningless),
        ("gssdelegation", "", Meaningless),
        ("sslcompression", "", Meaningless),
        ("sslsni", "", Meaningless),
        ("min_protocol_version", "", Meaningless),
        ("max_protocol_version", "", Meaningless),
        ("sslcertmode", "PGSSLCERTMODE", Refused),
        ("sslpassword", "", Refused),
        ("sslcrldir", "PGSSLCRLDIR", Refused),
        ("requirepeer", "PGREQUIREPEER", Refused),
        ("requiressl", "", Refused),
        ("require_auth", "PGREQUIREAUTH", Refused),
        ("replication", "", Refused),
        ("scram_client_key", "", Refused),
        ("scram_server_key", "", Refused),
        ("oauth_issuer", "", Refused),
        ("oauth_client_id", "", Refused),
        ("oauth_client_secret", "", Refused),
        ("oauth_scope", "", Refused),
        ("sslkeylogfile", "", Refused),
    ]
};

/// Parameters that other programs put into the same URL; they mean nothing to PostgreSQL.
const OF_OTHERS: &[(&str, &str)] = &[
    ("schema", "Prisma"),
    ("pgbouncer", "Prisma"),
    ("connection_limit", "Prisma"),
    ("pool_timeout", "Prisma"),
    ("socket_timeout", "Prisma"),
    ("statement_cache_size", "asyncpg"),
    ("prepared_statements", "Rails"),
    ("pool", "Rails"),
    ("encoding", "Rails"),
    ("currentSchema", "JDBC"),
    ("ssl", "JDBC"),
];

/// The parameters an environment variable stands for.
pub(super) fn of_environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().filter(|(_, variable, _)| !variable.is_empty()).map(|(key, variable, _)| (*key, *variable))
}

/// Whether a parameter can be taken; the error names the nearest one.
pub(super) fn known(key: &str) -> Result<()> {
    match TABLE.iter().find(|(name, ..)| *name == key) {
        Some((.., Fate::Refused)) => Err(Error::input(format!(
            "reading the database connection: the parameter {key} is not supported, and leaving it out could weaken the connection"
        ))
        .hint(format!("remove {key} if the connection may be made without it"))),
        Some(_) => Ok(()),
        None => Err(unknown(key)),
    }
}

fn unknown(key: &str) -> Error {
    // A misplaced password may stand where a name should: only something that looks like a name is repeated.
    let plain = key.len() <= 40 && key.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    let near = nearest(key, TABLE.iter().map(|(name, ..)| *name));
    let shown =
        if plain && near.is_some() || OF_OTHERS.iter().any(|(name, _)| *name == key) { key } else { "(not shown)" };
    let error = Error::input(format!("reading the database connection: there is no parameter {shown}"));
    if let Some((_, program)) = OF_OTHERS.iter().find(|(name, _)| *name == key) {
        return error.hint(format!("{key} is a parameter of {program}, not of PostgreSQL: remove it"));
    }
    match near {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint("the names are those of libpq: host, port, dbname, user, sslmode, sslrootcert, …"),
    }
}

/// The name most like `wanted`, if one is near enough to be what was meant.
pub(in crate::postgres) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let limit = (wanted.chars().count() / 3).clamp(1, 4);
    names
        .map(|name| (strsim::damerau_levenshtein(&wanted, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_other_programs_are_named_as_such() {
        let error = known("pgbouncer").unwrap_err();
        assert_eq!(error.hint_text(), Some("pgbouncer is a parameter of Prisma, not of PostgreSQL: remove it"));
    }

    #[test]
    fn a_parameter_that_protects_the_connection_is_never_ignored() {
        assert!(known("requirepeer").is_err());
        assert!(known("application_name").is_ok());
    }

    #[test]
    fn the_nearest_name_must_be_near() {
        assert_eq!(nearest("conect_timeout", ["connect_timeout"].into_iter()), Some("connect_timeout"));
        assert_eq!(nearest("zebra", ["host", "port"].into_iter()), None);
    }
}
