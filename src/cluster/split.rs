//! Cuts the body of a list into its items while it comes, so that no page has to be in memory as a whole.
//!
//! It follows strings and brackets only; whether an item is JSON is found by whoever reads it. Line ends between the
//! tokens of an item become blanks, so that an item is always one line.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::VecDeque;

/// The largest item: etcd takes 1.5 MiB, its JSON may be a few times that.
const LARGEST_ITEM: usize = 32 << 20;
/// What a list says besides its items.
const LARGEST_REST: usize = 1 << 20;

/// What a list says besides its items.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ListMeta {
    pub(super) resource_version: Option<String>,
    pub(super) r#continue: Option<String>,
}

#[derive(Deserialize)]
struct Frame {
    #[serde(default)]
    metadata: ListMeta,
    /// There, if this is a list; `null` for an empty one of some servers.
    #[serde(default, deserialize_with = "present")]
    items: bool,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// A body on its way.
#[expect(clippy::struct_excessive_bools, reason = "each is one fact about where in the text it is")]
#[derive(Debug, Default)]
pub(super) struct Splitter {
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// The last string at depth 1, and whether it was a key named `items` whose value has not begun.
    word: Vec<u8>,
    expects_items: bool,
    in_items: bool,
    item: Vec<u8>,
    rest: Vec<u8>,
}

impl Splitter {
    /// Takes the next piece of the body; items that end in it are added to `items`.
    pub(super) fn feed(&mut self, piece: &[u8], items: &mut VecDeque<Bytes>) -> Result<(), String> {
        let mut at = 0;
        while at < piece.len() {
            let start = at;
            if self.in_string {
                at = self.pass_string(piece, at);
                self.keep(&piece[start..at]);
            } else {
                at += 1;
                self.token(piece[start], items);
            }
            if self.item.len() > LARGEST_ITEM || self.rest.len() > LARGEST_REST {
                return Err("an object of the list is larger than any server stores".to_owned());
            }
        }
        Ok(())
    }

    /// Goes on to the end of a string or of the piece.
    fn pass_string(&mut self, piece: &[u8], from: usize) -> usize {
        let mut at = from;
        if std::mem::take(&mut self.escaped) {
            at += 1;
        }
        while let Some(found) = piece.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
            at += found;
            if piece[at] == b'"' {
                self.in_string = false;
                return at + 1;
            }
            if at + 1 == piece.len() {
                self.escaped = true;
                return at + 1;
            }
            at += 2;
        }
        piece.len()
    }

    fn token(&mut self, byte: u8, items: &mut VecDeque<Bytes>) {
        match byte {
            b'"' => {
                self.in_string = true;
                self.word.clear();
                self.keep(b"\"");
            }
            b'{' | b'[' => {
                self.depth += 1;
                let opens_items = self.depth == 2 && byte == b'[' && std::mem::take(&mut self.expects_items);
                self.keep(&[byte]);
                self.in_items |= opens_items;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth < 2 {
                    self.in_items = false;
                }
                self.keep(&[byte]);
                if self.in_items && self.depth == 2 {
                    items.push_back(std::mem::take(&mut self.item).into());
                }
            }
            b':' if self.depth == 1 => {
                self.expects_items = self.word == b"items\"";
                self.keep(b":");
            }
            b'\n' | b'\r' | b' ' | b'\t' => {
                if !self.item.is_empty() {
                    self.item.push(b' ');
                }
            }
            b',' if self.in_items && self.depth == 2 => {}
            other => {
                self.expects_items = false;
                self.keep(&[other]);
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.in_items {
            self.item.extend_from_slice(bytes);
            return;
        }
        if self.depth == 1 && self.word.len() < 16 {
            let fresh = if bytes == b"\"" && self.in_string { &bytes[1..] } else { bytes };
            self.word.extend_from_slice(fresh);
        }
        self.rest.extend_from_slice(bytes);
    }

    /// The instant of the list, if the part that is here says it: it stands before the items.
    pub(super) fn instant(&self) -> Option<String> {
        const FIELD: &[u8] = br#""resourceVersion":""#;
        let from = memchr::memmem::find(&self.rest, FIELD)? + FIELD.len();
        let length = memchr::memchr(b'"', self.rest.get(from..)?)?;
        let version = std::str::from_utf8(&self.rest[from..from + length]).ok()?;
        (!version.is_empty()).then(|| version.to_owned())
    }

    /// Whether every bracket was closed.
    pub(super) fn is_whole(&self) -> bool {
        self.depth == 0 && !self.in_string
    }

    /// The body has ended.
    pub(super) fn finish(self) -> Result<ListMeta, String> {
        if !self.is_whole() {
            return Err("the answer broke off".to_owned());
        }
        let frame: Frame = serde_json::from_slice(&self.rest).map_err(|why| format!("the answer is no list: {why}"))?;
        if frame.items { Ok(frame.metadata) } else { Err("the answer is no list".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(body: &[u8], step: usize) -> Result<(Vec<Bytes>, ListMeta), String> {
        let (mut splitter, mut items) = (Splitter::default(), VecDeque::new());
        for piece in body.chunks(step) {
            splitter.feed(piece, &mut items)?;
        }
        Ok((items.into(), splitter.finish()?))
    }

    const LIST: &str = r#"{"kind":"ItemsList","apiVersion":"v1","odd":{"items":[{"not":"me"}]},
        "metadata":{"resourceVersion":"77","continue":"abc"}, "items" : [ {"a":"}]\"\\","items":[{"b":[1,{}]}]},
        {
          "c": "two  words"
        }, {} ], "after":"[items"}"#;

    #[test]
    fn a_list_is_cut_into_its_items_wherever_the_pieces_end() {
        for step in 1..LIST.len() {
            let (items, meta) = split(LIST.as_bytes(), step).unwrap();
            assert_eq!(items.len(), 3, "in pieces of {step}");
            assert_eq!(items[0], r#"{"a":"}]\"\\","items":[{"b":[1,{}]}]}"#);
            let second: serde_json::Value = serde_json::from_slice(&items[1]).unwrap();
            assert_eq!(second["c"], "two  words");
            assert!(!items[1].contains(&b'\n'));
            assert_eq!(meta.resource_version.as_deref(), Some("77"));
            assert_eq!(meta.r#continue.as_deref(), Some("abc"));
        }
    }

    #[test]
    fn what_is_cut_off_or_no_list_is_an_error() {
        for end in 1..LIST.len() {
            assert!(split(&LIST.as_bytes()[..end], 7).is_err(), "cut at {end}");
        }
        for body in [r#"{"kind":"Status"}"#, r#"{"odd":{"items":[]}}"#, "[]", "", "nonsense"] {
            assert!(split(body.as_bytes(), 3).is_err(), "{body}");
        }
        assert_eq!(split(br#"{"items":null,"metadata":{}}"#, 4).unwrap().0.len(), 0);
    }

    #[test]
    fn the_instant_is_known_before_the_first_item() {
        let body =
            r#"{"kind":"L","metadata": { "resourceVersion" : "77"}, "items":[{"metadata":{"resourceVersion":"5"}},"#;
        let instant = |body: &[u8]| {
            let mut splitter = Splitter::default();
            splitter.feed(body, &mut VecDeque::new()).unwrap();
            splitter.instant()
        };
        assert_eq!(instant(body.as_bytes()).as_deref(), Some("77"));
        assert_eq!(instant(br#"{"items":[{"metadata":{"resourceVersion":"5"}},"#), None);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<String>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null)
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_item_comes_back_as_it_was(
            objects in prop::collection::vec(json(), 0..5), pretty in any::<bool>(), step in 1usize..40
        ) {
            let objects: Vec<_> = objects.into_iter().map(|value| serde_json::json!({ "value": value })).collect();
            let list = serde_json::json!({ "apiVersion": "v1", "items": objects, "metadata": { "resourceVersion": "9" } });
            let body = if pretty { serde_json::to_vec_pretty(&list) } else { serde_json::to_vec(&list) }.unwrap();
            let (items, _) = split(&body, step).unwrap();
            let back: Vec<serde_json::Value> = items.iter().map(|item| serde_json::from_slice(item).unwrap()).collect();
            prop_assert_eq!(back, objects);
        }
    }
}
