//! What a drill tells an observer elsewhere: one line on its standard input, so that no URL with a password is in a list of
//! processes.

use crate::error::{Context, Error, Kind, Result};
use crate::probe::StreamPlan;
use crate::secret::Secret;
use serde::{Deserialize, Serialize};

/// The line with which an observer is told to end. The end of its standard input says the same, but not every way to an
/// observer can close one direction alone: what it says last would be lost.
pub const END: &str = "end";

/// What an observer is to do.
pub struct Orders {
    /// Its name in its log.
    pub observer: String,
    /// What it asks.
    pub streams: Vec<StreamPlan>,
    /// The database that SQL streams ask, where there are any.
    pub database: Option<Secret>,
}

/// The line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    observer: String,
    streams: Vec<StreamPlan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    database: Option<String>,
}

impl Orders {
    /// The orders as their line, with the line feed.
    ///
    /// # Errors
    /// Where they cannot be written, which no plan brings about.
    pub fn line(&self) -> Result<Secret> {
        let line = Line {
            observer: self.observer.clone(),
            streams: self.streams.clone(),
            database: self.database.as_ref().map(|url| url.reveal().to_owned()),
        };
        let text =
            serde_json::to_string(&line).context(Kind::Failed, || "writing the orders of an observer".to_owned());
        Ok(Secret::new(text? + "\n"))
    }

    /// Reads the line.
    ///
    /// # Errors
    /// `Kind::Input` where it is none.
    pub fn read(line: &str) -> Result<Self> {
        let doing = || "reading the orders of an observer from standard input".to_owned();
        let Line { observer, streams, database } = serde_json::from_str(line).context(Kind::Input, doing)?;
        if streams.is_empty() {
            return Err(Error::input(format!("{}: they name no stream", doing())));
        }
        Ok(Self { observer, streams, database: database.map(Secret::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Ask, Connection};

    #[test]
    fn orders_come_back_as_they_were_given_and_nothing_else_is_taken_for_some() {
        let ask = Ask::Sql { connection: Connection::Fresh, write: false };
        let streams = vec![StreamPlan::new("office/sql-new", ask)];
        let orders =
            Orders { observer: "office".to_owned(), streams, database: Some(Secret::new("postgres://a:b@c/d")) };
        let line = orders.line().unwrap();
        assert_eq!(line.reveal().matches('\n').count(), 1);
        let read = Orders::read(line.reveal().trim_end()).unwrap();
        assert_eq!((read.observer, read.streams), (orders.observer, orders.streams));
        assert_eq!(read.database.unwrap().reveal(), "postgres://a:b@c/d");
        for wrong in ["", "7", "{\"observer\":\"a\",\"streams\":[]}", "{\"observer\":\"a\",\"streams\":[],\"x\":1}"] {
            assert!(Orders::read(wrong).is_err_and(|error| error.kind() == Kind::Input), "{wrong}");
        }
    }
}
