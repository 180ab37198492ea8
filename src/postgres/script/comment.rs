//! The comments in a dump that say something.

use super::{DumpKind, Toc};

/// What a line that begins with `--` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Comment {
    /// The number of the entry that the next header is of.
    Id(u32),
    /// Numbers of the entries it rests on.
    Needs(Vec<u32>),
    /// What the next statements are about; without what [`Id`](Self::Id) and [`Needs`](Self::Needs) told before it.
    Toc(Toc),
    /// A dump begins.
    Begin(DumpKind),
    /// A dump is complete.
    End(DumpKind),
    /// In a cluster dump, a database's part begins.
    Section(String),
    /// Anything else.
    Other,
}

/// Reads one comment line.
pub(super) fn read(line: &[u8]) -> Comment {
    let line = String::from_utf8_lossy(line);
    let Some(text) = line.strip_prefix("-- ") else { return Comment::Other };
    match text.trim_end() {
        "PostgreSQL database dump" => Comment::Begin(DumpKind::Database),
        "PostgreSQL database cluster dump" => Comment::Begin(DumpKind::Cluster),
        "PostgreSQL database dump complete" => Comment::End(DumpKind::Database),
        "PostgreSQL database cluster dump complete" => Comment::End(DumpKind::Cluster),
        _ => section(text).or_else(|| toc(text)).or_else(|| numbers(text)).unwrap_or(Comment::Other),
    }
}

/// `TOC entry 12 (class 1259 OID 16385)` and `Dependencies: 10 11`.
fn numbers(text: &str) -> Option<Comment> {
    if let Some(rest) = text.strip_prefix("TOC entry ") {
        return rest.split_once(" (class ")?.0.parse().ok().map(Comment::Id);
    }
    let numbers = text.strip_prefix("Dependencies: ")?;
    numbers.split(' ').map(str::parse).collect::<Result<_, _>>().ok().map(Comment::Needs)
}

fn section(text: &str) -> Option<Comment> {
    let name = text.strip_prefix("Database \"")?.strip_suffix("\" dump")?;
    Some(Comment::Section(name.to_owned()))
}

/// `Name: x; Type: INDEX; Schema: public; Owner: o`, and for rows `Data for Name: …`.
///
/// Names may hold anything but line ends, so the last place with a plausible rest is where the name ends: it takes a
/// role or schema of a malicious name, not a table, to mislead this.
fn toc(text: &str) -> Option<Comment> {
    let text = text.strip_prefix("Data for ").unwrap_or(text).strip_prefix("Name: ")?;
    text.rmatch_indices("; Type: ").find_map(|(place, separator)| {
        let (kind, rest) = text[place + separator.len()..].split_once("; Schema: ")?;
        let is_kind = !kind.is_empty() && kind.bytes().all(|c| c.is_ascii_uppercase() || c == b' ');
        if !is_kind {
            return None;
        }
        let (schema, rest) = rest.split_once("; Owner: ")?;
        let owner = rest.rsplit_once("; Tablespace: ").map_or(rest, |(owner, _)| owner);
        let given = |name: &str| (name != "-" && !name.is_empty()).then(|| name.to_owned());
        let name = text[..place].to_owned();
        let (schema, owner) = (given(schema), given(owner));
        Some(Comment::Toc(Toc { name, kind: kind.to_owned(), schema, owner, id: None, needs: Vec::new() }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toc_of(line: &str) -> Option<(String, String, Option<String>, Option<String>)> {
        match read(line.as_bytes()) {
            Comment::Toc(toc) => Some((toc.name, toc.kind, toc.schema, toc.owner)),
            _ => None,
        }
    }

    #[test]
    fn a_header_is_read_in_every_form_pg_dump_writes() {
        let some = |text: &str| Some(text.to_owned());
        let expect = |name: &str, kind: &str, schema, owner| Some((name.to_owned(), kind.to_owned(), schema, owner));
        assert_eq!(
            toc_of("-- Name: orders; Type: TABLE; Schema: public; Owner: shop; Tablespace: fast"),
            expect("orders", "TABLE", some("public"), some("shop"))
        );
        assert_eq!(
            toc_of("-- Data for Name: orders; Type: TABLE DATA; Schema: public; Owner: shop"),
            expect("orders", "TABLE DATA", some("public"), some("shop"))
        );
        assert_eq!(toc_of("-- Name: shop; Type: SCHEMA; Schema: -; Owner: -"), expect("shop", "SCHEMA", None, None));
        assert_eq!(
            toc_of("-- Name: ta;ble; Type: Index; Schema: x; Type: TABLE; Schema: we\"ird; Owner: o; p"),
            expect("ta;ble; Type: Index; Schema: x", "TABLE", some("we\"ird"), some("o; p"))
        );
    }

    #[test]
    fn numbers_that_only_a_verbose_rendering_has_are_read() {
        assert_eq!(read(b"-- TOC entry 3518 (class 2606 OID 17448)"), Comment::Id(3518));
        assert_eq!(read(b"-- Dependencies: 219 3518 219"), Comment::Needs(vec![219, 3518, 219]));
    }

    #[test]
    fn other_comments_say_nothing() {
        for line in [
            "--",
            "-- ",
            "-- TOC entry",
            "-- Dependencies: a b",
            "-- Name: without the rest",
            "-- Database \"x",
            "--PostgreSQL database dump",
        ] {
            assert_eq!(read(line.as_bytes()), Comment::Other, "{line}");
        }
        assert_eq!(read(b"-- Database \"we \"ird\" dump"), Comment::Section("we \"ird".to_owned()));
    }
}
