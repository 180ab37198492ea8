//! However the bytes come in, the tokens are the same.

use super::tests::{CLUSTER, ODD, tokens};
use super::{ScriptError, Token};
use proptest::prelude::*;

/// Pieces of SQL and of nonsense; joined at random they open and close everything the scanner knows.
const PIECES: [&str; 40] = [
    "'",
    "''",
    "\"",
    "E'",
    "\\'",
    "\\",
    "\\\\",
    "$$",
    "$a$",
    "$",
    "$1",
    "--",
    "-",
    "/*",
    "*/",
    "/",
    ";",
    "\n",
    "\r\n",
    " ",
    "(",
    ")",
    "CREATE FUNCTION ",
    "BEGIN ATOMIC ",
    "CASE ",
    "END",
    "a",
    "é",
    "1e5",
    "\\.\n",
    "\n\\.\n",
    "\\.\r\n",
    "COPY t (a) FROM stdin;\n",
    "row\t1\n",
    "\\connect x\n",
    "-- Name: a; Type: TABLE; Schema: s; Owner: o\n",
    "\\restrict k\n",
    "\\unrestrict k\n",
    "SET standard_conforming_strings = off;",
    "-- PostgreSQL database dump complete\n",
];

fn script() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40).prop_map(|pieces| pieces.concat())
}

/// The script cut at these places.
fn cut(script: &[u8], mut places: Vec<prop::sample::Index>) -> Vec<&[u8]> {
    let mut at: Vec<usize> = places.drain(..).map(|place| place.index(script.len() + 1)).collect();
    at.sort_unstable();
    let ends = at.iter().copied().chain([script.len()]);
    let starts = [0].into_iter().chain(at.iter().copied());
    starts.zip(ends).map(|(start, end)| &script[start..end]).collect()
}

/// What is compared: all tokens, or the error.
fn one_by_one(script: &[u8]) -> Result<Vec<Token>, ScriptError> {
    tokens(script.chunks(1))
}

proptest! {
    #[test]
    fn any_cut_of_any_script_gives_the_same_tokens(
        script in script(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = tokens([script.as_bytes()]);
        prop_assert_eq!(&tokens(cut(script.as_bytes(), places)), &whole);
        prop_assert_eq!(&one_by_one(script.as_bytes()), &whole);
    }

    #[test]
    fn any_bytes_at_all_are_read_or_refused_alike(script in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(one_by_one(&script), tokens([&script[..]]));
    }

    #[test]
    fn a_real_dump_may_be_cut_anywhere(places in prop::collection::vec(any::<prop::sample::Index>(), 1..20)) {
        for dump in [ODD, CLUSTER] {
            prop_assert_eq!(tokens(cut(dump, places.clone())), tokens([dump]));
        }
    }
}

#[test]
fn a_real_dump_that_comes_byte_by_byte_is_read_alike() {
    assert_eq!(one_by_one(ODD), tokens([ODD]));
}
