//! The database itself: what `CREATE DATABASE` needs to make it again, who has which rights on it, and what a backup of
//! it cannot hold.

use super::statements::{self, Grant, PLACEHOLDER};
use super::tables::{Table, TableKind};
use crate::error::Result;
use crate::postgres::quote::literal;
use crate::postgres::session::Session;
use tokio_postgres::Row;

/// An installed extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its schema.
    pub schema: String,
}

/// A database as `CREATE DATABASE` needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Its oid.
    pub oid: u32,
    /// Its owner.
    pub owner: String,
    /// `UTF8`, `SQL_ASCII`, …
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// `libc`, `icu` or `builtin`.
    pub locale_provider: String,
    /// The provider's own locale (ICU or builtin).
    pub provider_locale: Option<String>,
    /// Further ICU rules.
    pub icu_rules: Option<String>,
    /// The version of the collation when the database was made or last refreshed.
    pub collation_version: Option<String>,
    /// Its tablespace.
    pub tablespace: String,
    /// `-1` for none.
    pub connection_limit: i32,
    /// Its comment.
    pub comment: Option<String>,
    /// Its privileges as statements, `%DATABASE%` standing for the quoted name; none where they are the default.
    pub privileges: Vec<String>,
    /// Its settings, those of roles in it, and its security labels, as statements like the privileges.
    pub settings: Vec<String>,
    /// Roles that own or are granted something in it, or have settings for it.
    pub roles: Vec<String>,
    /// Its size on disk; `None` where we may not ask.
    pub bytes: Option<u64>,
}

/// Reads all about the session's database.
pub async fn database_facts(session: &Session) -> Result<Database> {
    let doing = "reading the properties of the database";
    let row = session.row(doing, &facts_sql(session.major()), &[]).await?;
    let provider: String = row.get("provider");
    let owner: String = row.get("owner");
    let grants = session
        .rows(
            doing,
            "SELECT CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable \
             FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a \
             WHERE d.datname = pg_catalog.current_database()",
            &[],
        )
        .await?;
    let acl_set: bool = row.get("acl_set");
    let grants: Vec<Grant> =
        grants.iter().map(|row| Grant { grantee: row.get(0), privilege: row.get(1), grantable: row.get(2) }).collect();
    Ok(Database {
        name: row.get("name"),
        oid: row.get("oid"),
        encoding: row.get("encoding"),
        collate: row.get("collate"),
        ctype: row.get("ctype"),
        locale_provider: match provider.as_str() {
            "i" => "icu",
            "b" => "builtin",
            _ => "libc",
        }
        .to_owned(),
        provider_locale: row.get("locale"),
        icu_rules: row.get("rules"),
        collation_version: row.get("version"),
        tablespace: row.get("tablespace"),
        connection_limit: row.get("connection_limit"),
        comment: row.get("comment"),
        privileges: if acl_set { statements::grants(&owner, &grants) } else { Vec::new() },
        settings: settings(session, doing).await?,
        roles: roles(session, doing).await?,
        bytes: row.get::<_, Option<i64>>("bytes").and_then(|bytes| u64::try_from(bytes).ok()),
        owner,
    })
}

/// The catalogue of locales changed in 15 (provider, ICU locale), 16 (rules) and 17 (one column for all providers).
fn facts_sql(major: u32) -> String {
    let (provider, locale) = match major {
        ..=14 => ("'c'::text", "NULL::text"),
        15 | 16 => ("d.datlocprovider::text", "d.daticulocale::text"),
        _ => ("d.datlocprovider::text", "d.datlocale::text"),
    };
    let rules = if major >= 16 { "d.daticurules::text" } else { "NULL::text" };
    let version = if major >= 15 { "d.datcollversion::text" } else { "NULL::text" };
    format!(
        "SELECT d.datname AS name, d.oid, pg_catalog.pg_get_userbyid(d.datdba) AS owner, \
         pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate::text AS collate, d.datctype::text AS ctype, \
         {provider} AS provider, {locale} AS locale, {rules} AS rules, {version} AS version, \
         t.spcname AS tablespace, d.datconnlimit AS connection_limit, d.datacl IS NOT NULL AS acl_set, \
         pg_catalog.shobj_description(d.oid, 'pg_database') AS comment, \
         CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') THEN pg_catalog.pg_database_size(d.oid) END AS bytes \
         FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace \
         WHERE d.datname = pg_catalog.current_database()"
    )
}

async fn settings(session: &Session, doing: &str) -> Result<Vec<String>> {
    let rows = session
        .rows(
            doing,
            "SELECT CASE WHEN s.setrole <> 0 THEN pg_catalog.pg_get_userbyid(s.setrole) END, entry \
             FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, \
                  pg_catalog.unnest(s.setconfig) AS entry \
             WHERE d.datname = pg_catalog.current_database() ORDER BY 1 NULLS FIRST, 2",
            &[],
        )
        .await?;
    let mut statements: Vec<String> = rows
        .iter()
        .filter_map(|row| statements::setting(row.get::<_, Option<&str>>(0), row.get::<_, &str>(1)))
        .collect();
    let labels = session
        .rows(
            doing,
            "SELECT l.provider, l.label FROM pg_catalog.pg_shseclabel l JOIN pg_catalog.pg_database d ON d.oid = l.objoid \
             WHERE l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.datname = pg_catalog.current_database()",
            &[],
        )
        .await?;
    statements.extend(labels.iter().map(|row: &Row| {
        let (provider, label): (&str, &str) = (row.get(0), row.get(1));
        format!("SECURITY LABEL FOR {} ON DATABASE {PLACEHOLDER} IS {}", literal(provider), literal(label))
    }));
    Ok(statements)
}

/// Dependencies on the bootstrap superuser are not recorded (it cannot go away), so its objects are looked for.
async fn roles(session: &Session, doing: &str) -> Result<Vec<String>> {
    let rows = session
        .rows(
            doing,
            "WITH here AS (SELECT oid, datdba FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
             SELECT r.rolname FROM pg_catalog.pg_roles r, here WHERE r.oid = here.datdba OR r.oid IN ( \
                SELECT s.refobjid FROM pg_catalog.pg_shdepend s \
                WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND (s.dbid = here.oid \
                    OR s.dbid = 0 AND s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND s.objid = here.oid) \
                UNION SELECT setrole FROM pg_catalog.pg_db_role_setting WHERE setdatabase = here.oid) \
             OR r.oid = 10 AND (EXISTS (SELECT FROM pg_catalog.pg_class WHERE relowner = 10 AND oid >= 16384) \
                OR EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspowner = 10 AND oid >= 16384) \
                OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proowner = 10 AND oid >= 16384) \
                OR EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extowner = 10 AND oid >= 16384) \
                OR EXISTS (SELECT FROM pg_catalog.pg_type WHERE typowner = 10 AND oid >= 16384)) \
             ORDER BY 1",
            &[],
        )
        .await?;
    // Predefined roles are on every server.
    Ok(rows.iter().map(|row| row.get(0)).filter(|name: &String| !name.starts_with("pg_")).collect())
}

/// What no logical backup of this database holds, in words.
pub async fn not_included(session: &Session, tables: &[Table]) -> Result<Vec<String>> {
    let mut notes: Vec<String> = tables
        .iter()
        .filter(|table| table.kind == TableKind::Foreign)
        .map(|table| format!("rows of the foreign table {} (they live on another server)", table.qualified()))
        .collect();
    let doing = "looking for what a backup cannot hold";
    let slots = session
        .rows(
            doing,
            "SELECT slot_name, plugin FROM pg_catalog.pg_replication_slots \
             WHERE slot_type = 'logical' AND database = pg_catalog.current_database() ORDER BY 1",
            &[],
        )
        .await?;
    notes.extend(
        slots
            .iter()
            .map(|row| format!("the logical replication slot {} ({})", row.get::<_, &str>(0), row.get::<_, &str>(1))),
    );
    let subscriptions = session
        .rows(
            doing,
            "SELECT subname FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid \
             WHERE d.datname = pg_catalog.current_database() ORDER BY 1",
            &[],
        )
        .await;
    // Only superusers may look at subscriptions.
    for row in subscriptions.iter().flatten() {
        notes.push(format!("the state of the subscription {} (it is restored disabled)", row.get::<_, &str>(0)));
    }
    Ok(notes)
}
