//! How a database is made: encoding, locale, owner, tablespace.

use crate::backup::facts::DatabaseFacts;
use crate::error::Result;
use crate::postgres::catalog::Database;
use crate::postgres::{Session, quote};
use std::fmt::Write as _;

/// What `CREATE DATABASE` needs; what is not given is the server's choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Owner.
    pub owner: Option<String>,
    /// Encoding.
    pub encoding: Option<String>,
    /// `LC_COLLATE`.
    pub collate: Option<String>,
    /// `LC_CTYPE`.
    pub ctype: Option<String>,
    /// `libc`, `icu` or `builtin`.
    pub locale_provider: Option<String>,
    /// The provider's own locale.
    pub provider_locale: Option<String>,
    /// Rules of its own on top of that (ICU, since 16).
    pub icu_rules: Option<String>,
    /// Tablespace.
    pub tablespace: Option<String>,
}

impl From<&DatabaseFacts> for Shape {
    fn from(facts: &DatabaseFacts) -> Self {
        Self {
            owner: Some(facts.owner.clone()),
            encoding: Some(facts.encoding.clone()),
            collate: Some(facts.collate.clone()),
            ctype: Some(facts.ctype.clone()),
            locale_provider: Some(facts.locale_provider.clone()),
            provider_locale: facts.provider_locale.clone(),
            icu_rules: facts.icu_rules.clone(),
            tablespace: Some(facts.tablespace.clone()),
        }
    }
}

impl Shape {
    /// The shape of a database that is there, and its name's other facts in `super::look`.
    pub(super) async fn of(admin: &Session, name: &str) -> Result<Option<Self>> {
        // The locale of a provider has its own column since 15, and another name since 17; rules are there since 16.
        let (provider, locale, rules) = match admin.major() {
            ..=14 => ("'c'", "NULL", "NULL"),
            15 => ("datlocprovider::text", "daticulocale", "NULL"),
            16 => ("datlocprovider::text", "daticulocale", "daticurules"),
            _ => ("datlocprovider::text", "datlocale", "daticurules"),
        };
        let sql = format!(
            "SELECT pg_catalog.pg_get_userbyid(datdba)::text, pg_catalog.pg_encoding_to_char(encoding)::text, \
             datcollate::text, datctype::text, {provider}, {locale}::text, spcname::text, {rules}::text \
             FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace \
             WHERE datname = $1::text"
        );
        let rows = admin.rows(&format!("looking at database {name}"), &sql, &[&name]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let provider = match row.get::<_, &str>(4) {
            "i" => "icu",
            "b" => "builtin",
            _ => "libc",
        };
        Ok(Some(Self {
            owner: row.get(0),
            encoding: row.get(1),
            collate: row.get(2),
            ctype: row.get(3),
            locale_provider: Some(provider.to_owned()),
            provider_locale: row.get(5),
            icu_rules: row.get(7),
            tablespace: row.get(6),
        }))
    }

    /// The locales that it asks the system for; every system has those called `C` and `POSIX`.
    pub(super) fn locales(&self) -> Vec<&str> {
        let named = [&self.collate, &self.ctype, &self.provider_locale].into_iter().flatten();
        let mut locales: Vec<&str> = named.map(String::as_str).filter(|name| !["C", "POSIX"].contains(name)).collect();
        locales.dedup();
        locales
    }

    /// The statements that give a database this owner and this tablespace.
    pub(super) fn alter(&self, name: &str) -> Vec<String> {
        let alter = |what: &str, value: &String| {
            format!("ALTER DATABASE {} {what} {}", quote::ident(name), quote::ident(value))
        };
        let owner = self.owner.iter().map(|owner| alter("OWNER TO", owner));
        owner.chain(self.tablespace.iter().map(|space| alter("SET TABLESPACE", space))).collect()
    }

    /// The statement that makes a database of this shape on a server of this major version.
    pub(super) fn create(&self, name: &str, major: u32) -> String {
        // template0: it has nothing that somebody added, and takes any encoding.
        let mut sql = format!("CREATE DATABASE {} TEMPLATE template0", quote::ident(name));
        let mut add = |keyword: &str, value: Option<String>| {
            if let Some(value) = value {
                // Writing to a `String` cannot fail.
                let _written = write!(sql, " {keyword} {value}");
            }
        };
        let text = |value: &Option<String>| value.as_deref().map(quote::literal);
        let name = |value: &Option<String>| value.as_deref().map(quote::ident);
        add("OWNER", name(&self.owner));
        add("ENCODING", text(&self.encoding));
        add("LC_COLLATE", text(&self.collate));
        add("LC_CTYPE", text(&self.ctype));
        if major >= 15 {
            add("LOCALE_PROVIDER", self.locale_provider.clone());
            match self.locale_provider.as_deref() {
                Some("icu") => add("ICU_LOCALE", text(&self.provider_locale)),
                Some("builtin") => add("BUILTIN_LOCALE", text(&self.provider_locale)),
                _ => {}
            }
        }
        if major >= 16 {
            add("ICU_RULES", text(&self.icu_rules));
        }
        add("TABLESPACE", name(&self.tablespace));
        sql
    }
}

/// What makes a new database like the recorded one, for the moment of the swap: `%DATABASE%` stands for its name.
pub fn finishing(facts: &DatabaseFacts, with_privileges: bool) -> Vec<String> {
    let privileges = if with_privileges { &facts.privileges[..] } else { &[] };
    statements(facts.connection_limit, facts.comment.as_deref(), privileges, &facts.settings)
}

/// The same of a database that is there.
pub(super) fn finishing_of_standing(facts: &Database) -> Vec<String> {
    statements(facts.connection_limit, facts.comment.as_deref(), &facts.privileges, &facts.settings)
}

fn statements(limit: i32, comment: Option<&str>, privileges: &[String], settings: &[String]) -> Vec<String> {
    let limit = (limit >= 0).then(|| format!("ALTER DATABASE %DATABASE% CONNECTION LIMIT {limit}"));
    let comment = comment.map(|text| format!("COMMENT ON DATABASE %DATABASE% IS {}", quote::literal(text)));
    limit.into_iter().chain(comment).chain(privileges.iter().cloned()).chain(settings.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            owner: Some("Shop \"Owner\"".into()),
            encoding: Some("UTF8".into()),
            collate: Some("C".into()),
            ctype: Some("C.UTF-8".into()),
            locale_provider: Some("icu".into()),
            provider_locale: Some("de-AT".into()),
            icu_rules: Some("&a < b".into()),
            tablespace: Some("fast".into()),
        }
    }

    #[test]
    fn the_statement_says_what_the_server_knows() {
        assert_eq!(
            shape().create("a b", 15),
            "CREATE DATABASE \"a b\" TEMPLATE template0 OWNER \"Shop \"\"Owner\"\"\" ENCODING 'UTF8' LC_COLLATE 'C' \
             LC_CTYPE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' TABLESPACE \"fast\""
        );
        assert!(!shape().create("a", 14).contains("PROVIDER"));
        assert!(shape().create("a", 16).contains("ICU_LOCALE 'de-AT' ICU_RULES '&a < b' TABLESPACE"));
        assert_eq!(Shape::default().create("a", 18), "CREATE DATABASE \"a\" TEMPLATE template0");
    }
}
