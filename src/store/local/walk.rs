//! Listing a directory in the order of the keys, one page at a time, with one folder's names in memory.

use super::super::{Entry, ObjectKey, StoreError};
use super::files::{Files, failure, is_absent};
use jiff::Timestamp;
use std::fs;
use std::vec::IntoIter;

/// How many entries a page has; as an S3 listing.
const PAGE: usize = 1000;

/// A listing under way.
pub(super) struct Walk {
    prefix: String,
    after: Option<String>,
    /// The folders we are in, each with the names still to come.
    stack: Vec<(String, IntoIter<String>)>,
    begun: bool,
}

impl Walk {
    /// A listing of the names that begin with `prefix`, behind `after`.
    pub(super) fn begin(prefix: &str, after: Option<&ObjectKey>) -> Result<Self, StoreError> {
        let folder = prefix.rsplit_once('/').map(|(folder, _)| folder);
        if let Some(folder) = folder {
            ObjectKey::new(folder)?;
        }
        let after = after.map(|key| key.as_str().to_owned());
        Ok(Self { prefix: prefix.to_owned(), after, stack: Vec::new(), begun: false })
    }

    /// The next entries; none at the end.
    pub(super) fn page(&mut self, files: &Files) -> Result<Vec<Entry>, StoreError> {
        let mut page = Vec::new();
        while page.len() < PAGE
            && let Some(entry) = self.next(files)?
        {
            page.push(entry);
        }
        Ok(page)
    }

    fn next(&mut self, files: &Files) -> Result<Option<Entry>, StoreError> {
        if !self.begun {
            self.begun = true;
            let folder = self.prefix.rfind('/').map_or("", |end| &self.prefix[..=end]).to_owned();
            let names = names(files, &folder)?;
            self.stack.push((folder, names));
        }
        while let Some((folder, rest)) = self.stack.last_mut() {
            let Some(name) = rest.next() else {
                self.stack.pop();
                continue;
            };
            let name = format!("{folder}{name}");
            if name.ends_with('/') {
                if self.leads_on(&name) {
                    let inside = names(files, &name)?;
                    self.stack.push((name, inside));
                }
            } else if self.is_wanted(&name)
                && let Some(entry) = entry(files, name)?
            {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Whether a folder can hold names that are asked for.
    fn leads_on(&self, folder: &str) -> bool {
        let behind = self.after.as_deref().is_none_or(|after| folder > after || after.starts_with(folder));
        behind && (folder.starts_with(&self.prefix) || self.prefix.starts_with(folder))
    }

    fn is_wanted(&self, name: &str) -> bool {
        name.starts_with(&self.prefix) && self.after.as_deref().is_none_or(|after| name > after)
    }
}

/// The folders right below `prefix` in which there is at least one object.
pub(super) fn folders(files: &Files, prefix: &str) -> Result<Vec<String>, StoreError> {
    Walk::begin(prefix, None)?;
    let mut found = Vec::new();
    let (folder, start) = prefix.rfind('/').map_or(("", prefix), |end| prefix.split_at(end + 1));
    for name in names(files, folder)? {
        let Some(bare) = name.strip_suffix('/').filter(|bare| bare.starts_with(start)) else { continue };
        // A crash between the last file and its folder leaves an empty folder; a bucket would have none.
        if Walk::begin(&format!("{folder}{name}"), None)?.next(files)?.is_some() {
            found.push(bare.to_owned());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The names in a folder in the order of keys; folders end in `/`, which is what sorts them right.
fn names(files: &Files, folder: &str) -> Result<IntoIter<String>, StoreError> {
    let path = files.path(folder)?;
    let mut names = Vec::new();
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(names.into_iter()),
        Err(error) => return Err(failure("list", &path, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| failure("list", &path, &error))?;
        let kind = entry.file_type().map_err(|error| failure("list", &path, &error))?;
        // What is no key (`~tmp`, `~lock`, a stranger's file) or no plain file is no object.
        let Ok(mut name) = entry.file_name().into_string() else { continue };
        if ObjectKey::new(name.as_str()).is_err() || !(kind.is_dir() || kind.is_file()) {
            continue;
        }
        if kind.is_dir() {
            name.push('/');
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(names.into_iter())
}

/// One line of the listing; `None` if the object has been deleted meanwhile.
fn entry(files: &Files, name: String) -> Result<Option<Entry>, StoreError> {
    let path = files.root().join(&name);
    let facts = match fs::symlink_metadata(&path) {
        Ok(facts) if facts.is_file() => facts,
        Ok(_) => return Ok(None),
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(failure("list", &path, &error)),
    };
    let modified = facts.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    let modified = modified.unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Some(Entry { key: ObjectKey::new(name)?, size: facts.len(), modified }))
}
