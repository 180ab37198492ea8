//! Many objects in one chunk, so that a second snapshot of much the same objects stores next to nothing.
//!
//! A pack is two texts. The first has its index as one line of JSON, then one object per line, with nulls where the server
//! writes by itself; the second has what stands there. So a status that changed stores no spec again. Where a pack ends
//! depends on the names of its objects only: a changed object changes its own pack and moves no boundary.

use crate::error::{Error, Result};
use crate::rowsum::RowSum;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_64;

/// How large the two texts of a pack are together, on average: half a megabyte each. Every pack costs each later snapshot some
/// seventy bytes of manifest, and a change in it its whole text.
const AVERAGE: u64 = 1 << 20;
/// No pack is larger, unless one object is.
const LARGEST: usize = 4 << 20;
/// The most objects in a pack, on average.
const MOST_OBJECTS: u64 = 4096;
/// A changed average changes the cuts only when it is off by this factor: moved cuts store everything anew.
const PATIENCE: u32 = 4;
/// The format of a pack. In format 1 it was one text, with whole objects.
const FORMAT: u32 = 2;

/// What the index of a pack says about one object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The uid of the controller that made it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub controller: Option<String>,
    /// How long its line in the first text is, without the line feed.
    pub bytes: u64,
}

/// The first line of a text.
#[derive(Serialize, Deserialize)]
struct Index<'a> {
    pack: u32,
    /// Who is in it; the second text has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    objects: Option<Cow<'a, [Entry]>>,
    /// How many lines the second text has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moving: Option<usize>,
}

/// A pack as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Pack {
    pub(super) steady: Bytes,
    pub(super) moving: Bytes,
    pub(super) objects: RowSum,
    pub(super) first: String,
    pub(super) last: String,
}

/// How many objects a pack of this kind should have: a power of two, and the same as before unless that is far off.
pub(super) fn cut_every(before: Option<u32>, objects: u64, bytes: u64) -> u32 {
    let wanted = match bytes.checked_div(objects) {
        None => MOST_OBJECTS,
        Some(size) => (AVERAGE / size.max(1)).clamp(1, MOST_OBJECTS),
    };
    let wanted = u32::try_from(wanted).unwrap_or(1);
    // The power of two that is nearer.
    let wanted = (wanted + wanted / 2).checked_ilog2().map_or(1, |power| 1 << power);
    match before {
        Some(before) if objects == 0 || (before <= wanted * PATIENCE && wanted <= before * PATIENCE) => before.max(1),
        _ => wanted,
    }
}

/// Fills packs.
#[derive(Debug)]
pub(super) struct Packer {
    cut_every: u32,
    entries: Vec<Entry>,
    steady: Vec<u8>,
    moving: Vec<u8>,
    sum: RowSum,
}

impl Packer {
    pub(super) fn new(cut_every: u32) -> Self {
        let (steady, moving, sum) = (Vec::new(), Vec::new(), RowSum::default());
        Self { cut_every: cut_every.max(1), entries: Vec::new(), steady, moving, sum }
    }

    /// Adds an object, which is one line of each text; gives the packs that are full now.
    pub(super) fn add(&mut self, mut entry: Entry, (steady, moving): (&[u8], &[u8])) -> Result<Vec<Pack>> {
        let mut full = Vec::new();
        let long = self.steady.len() + self.moving.len() + steady.len() + moving.len();
        if !self.entries.is_empty() && long > LARGEST {
            full.extend(self.close()?);
        }
        let ends = is_cut(&entry, self.cut_every);
        entry.bytes = steady.len() as u64;
        self.entries.push(entry);
        self.sum.add_row(&row(steady, moving));
        for (text, line) in [(&mut self.steady, steady), (&mut self.moving, moving)] {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        if ends {
            full.extend(self.close()?);
        }
        Ok(full)
    }

    /// The pack that was begun, if any.
    pub(super) fn close(&mut self) -> Result<Option<Pack>> {
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else { return Ok(None) };
        let (first, last) = (first.name.clone(), last.name.clone());
        let steady = Index { pack: FORMAT, objects: Some(Cow::Borrowed(&self.entries)), moving: None };
        let steady = text(&steady, &mut self.steady)?;
        let moving = Index { pack: FORMAT, objects: None, moving: Some(self.entries.len()) };
        let moving = text(&moving, &mut self.moving)?;
        self.entries.clear();
        Ok(Some(Pack { steady, moving, objects: std::mem::take(&mut self.sum), first, last }))
    }
}

/// An index and the lines behind it, which are taken.
fn text(index: &Index<'_>, lines: &mut Vec<u8>) -> Result<Bytes> {
    let mut text =
        serde_json::to_vec(index).map_err(|why| Error::failed("writing the index of a pack").because(why))?;
    text.reserve_exact(lines.len() + 1);
    text.push(b'\n');
    text.append(lines);
    Ok(text.into())
}

/// What is counted and summed of an object.
pub(super) fn row(steady: &[u8], moving: &[u8]) -> Vec<u8> {
    [steady, b"\n", moving].concat()
}

fn is_cut(entry: &Entry, cut_every: u32) -> bool {
    let mut key = entry.namespace.clone().unwrap_or_default().into_bytes();
    key.push(0);
    key.extend_from_slice(entry.name.as_bytes());
    xxh3_64(&key).is_multiple_of(u64::from(cut_every))
}

/// What a text of a pack holds.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// Each object's entry and its line, whole.
    Whole(Vec<(Entry, &'a [u8])>),
    /// The same, without what the second text has.
    Steady(Vec<(Entry, &'a [u8])>),
    /// What the objects of the text before lack, in the same order.
    Moving(Vec<&'a [u8]>),
}

/// Reads a text of a pack.
pub(super) fn unpack(text: &[u8]) -> Result<Part<'_>> {
    let end = memchr::memchr(b'\n', text).ok_or_else(|| damaged("it has no index"))?;
    let index: Index<'_> = serde_json::from_slice(&text[..end]).map_err(damaged)?;
    if index.pack > FORMAT {
        return Err(Error::refused(format!("reading a pack of objects: it is of format {}", index.pack))
            .hint("use a newer davit"));
    }
    let mut rest = &text[end + 1..];
    let Some(entries) = index.objects else {
        let lines: Vec<&[u8]> = rest.strip_suffix(b"\n").unwrap_or(rest).split(|byte| *byte == b'\n').collect();
        return match index.moving {
            Some(moving) if moving == lines.len() && rest.ends_with(b"\n") => Ok(Part::Moving(lines)),
            _ => Err(damaged("it has another number of lines than it says")),
        };
    };
    let mut objects = Vec::with_capacity(entries.len());
    for entry in entries.into_owned() {
        let length = usize::try_from(entry.bytes).unwrap_or(usize::MAX);
        match rest.split_at_checked(length) {
            Some((line, [b'\n', after @ ..])) => {
                objects.push((entry, line));
                rest = after;
            }
            _ => return Err(damaged(format!("it ends within {}", entry.name))),
        }
    }
    match (rest.is_empty(), index.pack) {
        (false, _) => Err(damaged("it goes on after its last object")),
        (true, 1) => Ok(Part::Whole(objects)),
        (true, _) => Ok(Part::Steady(objects)),
    }
}

pub(super) fn damaged(what: impl std::fmt::Display) -> Error {
    Error::check(format!("reading a pack of objects: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn entry(name: &str) -> Entry {
        Entry {
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
            uid: format!("u-{name}"),
            ..Entry::default()
        }
    }

    fn packed(names: &[String], every: u32, body: impl Fn(&str) -> String) -> Vec<Pack> {
        let mut packer = Packer::new(every);
        let mut packs = Vec::new();
        for name in names {
            packs.extend(packer.add(entry(name), (body(name).as_bytes(), b"[1]")).unwrap());
        }
        packs.extend(packer.close().unwrap());
        packs
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("config-{n:05}")).collect()
    }

    proptest! {
        #[test]
        fn what_goes_into_packs_comes_out(count in 0usize..300, every in 1u32..64) {
            let names = names(count);
            let packs = packed(&names, every, |name| format!("{{\"n\":\"{name}\"}}"));
            let mut back = Vec::new();
            for pack in &packs {
                let (Part::Steady(objects), Part::Moving(moving)) =
                    (unpack(&pack.steady).unwrap(), unpack(&pack.moving).unwrap())
                else {
                    panic!("other parts");
                };
                prop_assert_eq!(moving, vec![&b"[1]"[..]; objects.len()]);
                prop_assert_eq!(pack.objects.rows, objects.len() as u64);
                prop_assert_eq!((&pack.first, &pack.last), (&objects[0].0.name, &objects[objects.len() - 1].0.name));
                for (entry, line) in objects {
                    let body = format!("{{\"n\":\"{}\"}}", entry.name);
                    prop_assert_eq!(line, body.as_bytes());
                    back.push(entry.name);
                }
            }
            prop_assert_eq!(back, names);
        }
    }

    #[test]
    fn one_changed_object_changes_one_pack_whatever_its_new_size() {
        let names = names(5_000);
        let before = packed(&names, 64, |name| format!("{{\"n\":\"{name}\",\"rv\":\"1\"}}"));
        let after = packed(&names, 64, |name| {
            let more = if name == "config-02500" { "0".repeat(10_000) } else { String::new() };
            format!("{{\"n\":\"{name}\",\"rv\":\"1{more}\"}}")
        });
        let known: BTreeSet<&Bytes> = before.iter().map(|pack| &pack.steady).collect();
        let new = after.iter().filter(|pack| !known.contains(&pack.steady)).count();
        assert_eq!((before.len() == after.len(), new), (true, 1));
        assert!(before.len() > 40 && before.len() < 140, "{} packs of 64 objects each, on average", before.len());
    }

    #[test]
    fn an_object_more_or_less_changes_one_pack() {
        let all = names(2_000);
        let before = packed(&all, 32, |name| format!("{{\"n\":\"{name}\"}}"));
        let fewer: Vec<String> = all.iter().filter(|name| *name != "config-01000").cloned().collect();
        let after = packed(&fewer, 32, |name| format!("{{\"n\":\"{name}\"}}"));
        let known: BTreeSet<&Bytes> = before.iter().map(|pack| &pack.steady).collect();
        assert!(after.iter().filter(|pack| !known.contains(&pack.steady)).count() <= 1);
    }

    #[test]
    fn a_pack_is_at_most_four_megabytes_or_one_object() {
        let large = "x".repeat(1_500_000);
        let packs = packed(&names(20), u32::MAX, |_| large.clone());
        assert!(packs.len() >= 10 && packs.iter().all(|pack| pack.steady.len() <= LARGEST + 4096));
        let huge = "x".repeat(LARGEST + 1);
        assert!(packed(&names(3), 64, |_| huge.clone()).iter().all(|pack| pack.objects.rows == 1));
    }

    #[test]
    fn the_average_decides_the_cuts_once_and_patiently() {
        assert_eq!(cut_every(None, 100, 100 * 4096), 256);
        assert_eq!(cut_every(Some(64), 100, 100 * 10_000), 64, "a little larger");
        assert_eq!(cut_every(Some(64), 100, 100 * 1_048_576), 1, "far larger");
        assert_eq!(cut_every(Some(64), 0, 0), 64);
        assert_eq!(cut_every(None, 10, 10 * (2 << 20)), 1);
    }

    #[test]
    fn a_damaged_pack_is_told() {
        let pack = packed(&names(3), u32::MAX, str::to_owned).remove(0);
        for text in [&pack.steady, &pack.moving] {
            for cut in [0, 5, text.len() - 1] {
                assert!(unpack(&text[..cut]).is_err(), "cut at {cut}");
            }
            assert!(unpack(&[&text[..], b"more"].concat()).is_err());
        }
    }

    #[test]
    fn a_pack_of_before_has_whole_objects() {
        let text = b"{\"pack\":1,\"objects\":[{\"name\":\"a\",\"uid\":\"u\",\"bytes\":2}]}\n{}\n";
        let Part::Whole(objects) = unpack(text).unwrap() else { panic!("another part") };
        assert_eq!((objects.len(), objects[0].1), (1, &b"{}"[..]));
    }
}
