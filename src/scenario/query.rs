//! What SQL probes ask, where a scenario says it. Pure.

use crate::postgres::script::words::words;
use serde::Deserialize;
use std::str::FromStr;

/// Words with which a statement begins that gives an answer.
const ASKING: [&str; 5] = ["SELECT", "WITH", "VALUES", "TABLE", "SHOW"];

/// One statement that asks for something. It is sent many times a second, so what is none is refused where it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Query(String);

impl Query {
    /// The statement, without its semicolon.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl FromStr for Query {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "write one that reads, such as SELECT count(*) FROM public.orders WHERE id = 1";
        let all = words(text);
        let until = all.iter().rposition(|word| !word.is_sign(";")).map_or(0, |last| last + 1);
        let statement = all.get(..until).unwrap_or_default();
        let (Some(first), Some(last)) = (statement.first(), statement.last()) else {
            return Err(format!("the query is empty; {EXAMPLE}"));
        };
        if statement.iter().any(|word| word.is_sign(";")) {
            return Err(format!("the query has more than one statement; {EXAMPLE}"));
        }
        if !ASKING.iter().any(|word| first.is(word)) && !first.is_sign("(") {
            return Err(format!("the query begins with {:?} and asks for nothing; {EXAMPLE}", first.text));
        }
        Ok(Self(text.get(first.start..last.end()).unwrap_or_default().to_owned()))
    }
}

impl TryFrom<String> for Query {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statement_that_asks_is_taken_without_what_stands_around_it() {
        for (text, kept) in [
            ("SELECT 1", "SELECT 1"),
            (" select ';' -- one; two\n ; ; ", "select ';'"),
            ("/* first; */ WITH a AS (SELECT 1) TABLE a", "WITH a AS (SELECT 1) TABLE a"),
            ("(SELECT 1)", "(SELECT 1)"),
        ] {
            assert_eq!(text.parse::<Query>().unwrap().text(), kept);
        }
    }

    #[test]
    fn nothing_several_statements_and_what_asks_for_nothing_are_refused() {
        for (text, why) in [
            ("", "empty"),
            (" ; -- SELECT 1", "empty"),
            ("SELECT 1; SELECT 2", "more than one"),
            ("SELECT 1; COMMIT;", "more than one"),
            ("DELETE FROM orders", "\"DELETE\""),
            ("COMMIT", "\"COMMIT\""),
        ] {
            assert!(text.parse::<Query>().unwrap_err().contains(why), "{text}");
        }
    }
}
