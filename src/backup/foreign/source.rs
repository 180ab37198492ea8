//! Where a foreign dump lies: a bucket or a directory that is not a repository, and one object in it.

use super::codec::{self, Opened};
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::store::{Holding, Meta, ObjectKey, OpenOptions, SharedStore, StoreError, open};
use futures_util::TryStreamExt;
use futures_util::stream::StreamExt;

/// Names looked at to find the one that was meant.
const NEIGHBOURS: usize = 1000;

/// A name more different than this was not meant.
const SIMILAR: f64 = 0.8;

/// One foreign dump.
#[derive(Debug, Clone)]
pub struct Source {
    store: SharedStore,
    key: ObjectKey,
    /// Where it lies, as it was asked for.
    pub url: String,
    /// What the store says about it.
    pub meta: Meta,
}

impl Source {
    /// Looks up `s3://bucket/folder/name.sql.gz` or a path; the store is only read.
    pub async fn find(url: &str, options: &OpenOptions, clock: SharedClock) -> Result<Self> {
        let (folder, name) = split(url)?;
        let options = OpenOptions { holding: Holding::Dumps, ..options.clone() };
        let store = open(&folder, &options, clock).await?;
        let key = ObjectKey::new(&name).map_err(|error| lookup(url, error))?;
        match store.head(&key, None).await {
            Ok(meta) => Ok(Self { store, key, url: url.to_owned(), meta }),
            Err(StoreError::NotFound(_)) => Err(missing(&store, url, &name).await),
            Err(error) => Err(lookup(url, error)),
        }
    }

    /// The name without its folders.
    pub fn name(&self) -> &str {
        self.key.as_str()
    }

    /// Opens it and looks what it holds; each call reads it anew.
    pub async fn open(&self) -> Result<Opened> {
        let reading = self.store.read(&self.key, None).await.map_err(|error| lookup(&self.url, error))?;
        codec::open(reading.body, self.name()).await
    }
}

/// Folder and file name.
fn split(url: &str) -> Result<(String, String)> {
    let not_a_file = || {
        Error::input(format!("{url} does not name an object"))
            .hint("write s3://bucket/folder/name.sql.gz or a path; davit points --foreign FOLDER lists them")
    };
    let (scheme, path) = url.split_once("://").map_or(("", url), |(scheme, path)| (scheme, path));
    let (folder, name) = match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((folder, name)) => (folder, name),
        None if scheme.is_empty() => (".", path),
        None => return Err(not_a_file()),
    };
    if name.is_empty() {
        return Err(not_a_file());
    }
    let folder = if scheme.is_empty() { folder.to_owned() } else { format!("{scheme}://{folder}") };
    Ok((folder, name.to_owned()))
}

/// What is denied or set wrongly is told as for a repository: with the permission to grant, or the setting to change.
fn lookup(url: &str, error: StoreError) -> Error {
    error.explain(format!("looking up {url}"))
}

/// There is no such object: says what there is instead.
async fn missing(store: &SharedStore, url: &str, name: &str) -> Error {
    let error = Error::input(format!("there is no {url}"));
    let listed = store.list("").take(NEIGHBOURS).try_collect::<Vec<_>>().await.unwrap_or_default();
    let names: Vec<&str> = listed.iter().map(|entry| entry.key.as_str()).collect();
    if names.iter().any(|other| other.strip_prefix(name).is_some_and(|rest| rest == "/toc.dat")) {
        return Error::input(format!("{url} is a directory of pg_dump -Fd"))
            .hint("it must be restored with pg_restore, which can also turn it into SQL: pg_restore -f - DIRECTORY");
    }
    let near = names
        .iter()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(similar, _)| *similar >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, other)) => error.hint(format!("did you mean {other}?")),
        None => error.hint("davit points --foreign FOLDER lists what is there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::error::Kind;

    #[test]
    fn folder_and_name_are_told_apart() {
        for (url, folder, name) in [
            ("s3://b/daily/x.sql.gz", "s3://b/daily", "x.sql.gz"),
            ("s3://b/x.sql", "s3://b", "x.sql"),
            ("x.sql", ".", "x.sql"),
            ("/x.sql", "/", "x.sql"),
            ("/a/b c/x.sql", "/a/b c", "x.sql"),
            ("file:///a/x.sql", "file:///a", "x.sql"),
        ] {
            assert_eq!(split(url).unwrap(), (folder.to_owned(), name.to_owned()), "{url}");
        }
        assert_eq!(split("s3://b/daily/").unwrap_err().kind(), Kind::Input);
        assert_eq!(split("s3://b").unwrap_err().kind(), Kind::Input);
    }

    #[tokio::test]
    async fn what_is_not_there_is_answered_with_what_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("shop_20260124.sql.gz"), "x").unwrap();
        std::fs::create_dir(folder.path().join("parallel")).unwrap();
        std::fs::write(folder.path().join("parallel/toc.dat"), "PGDMP").unwrap();
        let find = async |name: &str| {
            let url = folder.path().join(name).to_string_lossy().into_owned();
            Source::find(&url, &OpenOptions::default(), SystemClock::shared()).await
        };
        let error = find("shop_20260125.sql.gz").await.unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean shop_20260124.sql.gz?"));
        let error = find("parallel").await.unwrap_err();
        assert!(error.to_string().ends_with("is a directory of pg_dump -Fd"), "{error}");
        assert_eq!(find("shop_20260124.sql.gz").await.unwrap().meta.size, 1);
    }
}
