//! Which dumps lie in a bucket or a directory, and which of them cannot be what they should be.

use super::codec::{self, Codec, Content};
use super::name::{self, Form};
use super::player::Script;
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::postgres::script::{Limits, Token};
use crate::store::{Entry, Holding, ObjectKey, OpenOptions, SharedStore, StoreError, open};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// Dumps up to this size are read and checked to their end marker while they are listed.
const READ_BYTES_MAX: u64 = 64 << 10;

/// So many are read side by side.
const READS_AT_ONCE: usize = 16;

/// A dump is compared with the usual size of so many before it.
const NEIGHBOURS: usize = 7;

/// Dumps in a folder.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    /// The folder that was asked for.
    pub url: String,
    /// Newest first.
    pub dumps: Vec<ForeignDump>,
    /// Objects whose names are not those of dumps.
    pub others: u64,
}

/// One dump, as far as its name, its size and (if it is small) its content say.
#[derive(Debug, Clone, Serialize)]
pub struct ForeignDump {
    /// Where it lies; `restore` takes this.
    pub url: String,
    /// Size in the store.
    pub bytes: u64,
    /// When it was made: by its name, read as UTC, else when it was written to the store.
    pub time: Timestamp,
    /// Whether the time is from the name.
    pub time_from_name: bool,
    /// The database its name speaks of.
    pub database: Option<String>,
    /// How its name says it is compressed.
    pub codec: Option<Codec>,
    /// What its name says is inside.
    pub content: Option<Form>,
    /// What is wrong with it, as far as can be told from here.
    pub suspicious: Option<String>,
}

/// Lists the dumps below `url`: `s3://bucket/daily/` or a directory.
pub async fn list(url: &str, options: &OpenOptions, clock: SharedClock) -> Result<Listing> {
    let options = OpenOptions { holding: Holding::Dumps, ..options.clone() };
    let store = open(url.trim_end_matches('/'), &options, clock).await?;
    let fail = |error: StoreError| error.explain(format!("listing the dumps in {url}"));
    let mark = ObjectKey::new("davit.json").map_err(fail)?;
    if store.head(&mark, None).await.is_ok() {
        return Err(Error::input(format!("{url} is a repository of Davit, not a folder of dumps"))
            .hint(format!("davit points --repository {url}")));
    }
    let entries: Vec<Entry> = store.list("").try_collect().await.map_err(fail)?;
    let all = entries.len();
    let mut dumps: Vec<(ForeignDump, ObjectKey)> = entries.into_iter().filter_map(|entry| dump(url, entry)).collect();
    let others = (all - dumps.len()) as u64;
    dumps.sort_by(|(a, _), (b, _)| (b.time, &b.url).cmp(&(a.time, &a.url)));
    let mut dumps: Vec<ForeignDump> =
        stream::iter(dumps).map(|(dump, key)| looked_into(&store, dump, key)).buffered(READS_AT_ONCE).collect().await;
    mark_shrunken(&mut dumps);
    Ok(Listing { url: url.to_owned(), dumps, others })
}

fn dump(url: &str, entry: Entry) -> Option<(ForeignDump, ObjectKey)> {
    let guess = name::read(entry.key.as_str())?;
    let dump = ForeignDump {
        url: format!("{}/{}", url.trim_end_matches('/'), entry.key),
        bytes: entry.size,
        time: guess.time.unwrap_or(entry.modified),
        time_from_name: guess.time.is_some(),
        database: guess.database,
        codec: guess.codec,
        content: guess.content,
        suspicious: None,
    };
    Some((dump, entry.key))
}

/// Reads a small dump to its end; a big one is taken by its size alone.
async fn looked_into(store: &SharedStore, mut dump: ForeignDump, key: ObjectKey) -> ForeignDump {
    if dump.bytes > READ_BYTES_MAX {
        return dump;
    }
    dump.suspicious = match check(store, &key).await {
        Ok(()) => None,
        // A person reads this beside the name: only what is wrong is of interest.
        Err(error) => Some(error.to_string().replacen(&format!("{key} "), "", 1).replacen(&format!("{key}: "), "", 1)),
    };
    dump
}

async fn check(store: &SharedStore, key: &ObjectKey) -> Result<()> {
    let reading = store.read(key, None).await;
    let reading = reading.map_err(|error| Error::failed("it cannot be read").because(error))?;
    let opened = codec::open(reading.body, key.as_str()).await?;
    if matches!(opened.content, Content::Archive { .. }) {
        return Ok(());
    }
    let limits = Limits { held_bytes_max: 16 << 20 };
    let mut script = Script::read(opened.reader, limits, key.as_str());
    let (mut begun, mut complete) = (false, false);
    while let Some(token) = script.next().await? {
        match token {
            Token::Begin(_) => begun = true,
            Token::EndMarker(_) => complete = true,
            Token::Statement(_) | Token::CopyBegin(_) => complete = false,
            _ => {}
        }
    }
    match (begun, complete) {
        (_, true) => Ok(()),
        (true, false) => Err(Error::input("is truncated: its end marker is missing")),
        (false, false) => Err(Error::input("has no end marker of pg_dump")),
    }
}

/// A dump that is less than half of what was usual before it probably misses something. `dumps` is newest first.
fn mark_shrunken(dumps: &mut [ForeignDump]) {
    let mut before: BTreeMap<(Option<String>, Option<Codec>), Vec<u64>> = BTreeMap::new();
    for dump in dumps.iter_mut().rev().filter(|dump| dump.suspicious.is_none()) {
        let sizes = before.entry((dump.database.clone(), dump.codec)).or_default();
        let mut recent: Vec<u64> = sizes.iter().rev().take(NEIGHBOURS).copied().collect();
        recent.sort_unstable();
        if let Some(usual) = recent.get(recent.len() / 2)
            && dump.bytes < usual / 2
        {
            dump.suspicious = Some(format!("only {} bytes where {usual} were usual before it", dump.bytes));
        }
        sizes.push(dump.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    const WHOLE: &str = "-- PostgreSQL database dump\nSELECT 1;\n-- PostgreSQL database dump complete\n";

    async fn listed(files: &[(&str, Vec<u8>)]) -> Listing {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        list(&folder.path().to_string_lossy(), &OpenOptions::default(), SystemClock::shared()).await.unwrap()
    }

    #[tokio::test]
    async fn dumps_are_listed_newest_first_and_bad_ones_are_called_what_they_are() {
        let nothing = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0".to_vec();
        let found = listed(&[
            ("shop_20260122_010000.sql", WHOLE.into()),
            ("shop_20260123_010000.sql", WHOLE[..50].into()),
            ("shop_20260124_010000.sql.gz", nothing),
            ("shop 2026-01-25T01:00:00.sql", Vec::new()),
            ("readme.txt", b"x".into()),
        ])
        .await;
        assert_eq!(found.others, 1);
        let seen: Vec<_> = found.dumps.iter().map(|d| (d.time.to_string(), d.suspicious.as_deref())).collect();
        assert_eq!(
            seen,
            [
                ("2026-01-25T01:00:00Z".into(), Some("is empty: 0 bytes")),
                ("2026-01-24T01:00:00Z".into(), Some("holds nothing: gzip of 0 bytes")),
                ("2026-01-23T01:00:00Z".into(), Some("is truncated: its end marker is missing")),
                ("2026-01-22T01:00:00Z".into(), None),
            ]
        );
        assert!(found.dumps.iter().all(|dump| dump.database.as_deref() == Some("shop") && dump.time_from_name));
    }

    #[tokio::test]
    async fn a_dump_that_shrank_is_noticed() {
        let sized = |bytes: usize| format!("-- {}\n{WHOLE}", "x".repeat(bytes)).into_bytes();
        let found = listed(&[
            ("shop_20260101.sql", sized(1000)),
            ("shop_20260102.sql", sized(1100)),
            ("shop_20260103.sql", sized(100)),
            ("other_20260103.sql", sized(100)),
        ])
        .await;
        let suspicious: Vec<_> = found.dumps.iter().filter(|dump| dump.suspicious.is_some()).collect();
        assert_eq!(suspicious.len(), 1);
        assert!(suspicious[0].url.ends_with("/shop_20260103.sql"));
    }
}
