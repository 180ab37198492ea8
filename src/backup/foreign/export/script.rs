//! The text of an exported script.

use super::routes::Routes;
use crate::error::{Error, Kind, Result};
use crate::postgres::script::{Lexer, Limits, ScriptError, Toc, Token};
use crate::postgres::{quote, script::TableName};
use std::sync::Arc;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

/// Under which settings the rows were written, as far as they decide how rows are read. Both ends of the pair go into
/// the script, so that definitions are run under the settings of whoever loads it.
const SETTINGS: [(&str, &str); 3] =
    [("DateStyle", "'ISO, YMD'"), ("IntervalStyle", "'postgres'"), ("lc_monetary", "'C'")];

/// Where the script goes.
pub(super) struct Out<W> {
    writer: BufWriter<W>,
    bytes: u64,
}

impl<W: AsyncWrite + Send + Unpin> Out<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer: BufWriter::with_capacity(256 << 10, writer), bytes: 0 }
    }

    /// How much was written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) async fn bytes_as_they_are(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.writer.write_all(bytes).await.map_err(not_written)
    }

    pub(super) async fn line(&mut self, text: &str) -> Result<()> {
        self.bytes_as_they_are(text.as_bytes()).await
    }

    pub(super) async fn begin(&mut self) -> Result<()> {
        self.line(&format!(
            "--\n-- PostgreSQL database dump\n--\n\n-- Exported from a backup of a database by davit {}\n\n",
            env!("CARGO_PKG_VERSION")
        ))
        .await
    }

    pub(super) async fn end(&mut self) -> Result<()> {
        self.line("--\n-- PostgreSQL database dump complete\n--\n\n").await?;
        self.finish().await
    }

    pub(super) async fn finish(&mut self) -> Result<()> {
        self.writer.flush().await.map_err(not_written)
    }

    pub(super) async fn settings_of_rows(&mut self) -> Result<()> {
        for (name, value) in SETTINGS {
            self.line(&format!("SET {name} = {value};\n")).await?;
        }
        self.line("\n").await
    }

    pub(super) async fn end_settings_of_rows(&mut self) -> Result<()> {
        for (name, _) in SETTINGS {
            self.line(&format!("RESET {name};\n")).await?;
        }
        self.line("\n").await
    }

    /// `into` is the table itself, or the root of its partitions.
    pub(super) async fn begin_rows(&mut self, table: &TableName, into: &TableName, columns: &[String]) -> Result<()> {
        let schema = table.schema.as_deref().unwrap_or_default();
        let name = quote::qualified(into.schema.as_deref().unwrap_or_default(), &into.name);
        let columns = if columns.is_empty() { String::new() } else { format!("({}) ", columns.join(", ")) };
        let header = header(&table.name, "TABLE DATA", Some(schema), None);
        self.line(&format!("{header}COPY {name} {columns}FROM stdin;\n")).await
    }

    pub(super) async fn end_rows(&mut self) -> Result<()> {
        self.line("\\.\n\n\n").await
    }
}

fn not_written(error: std::io::Error) -> Error {
    Error::new(Kind::Failed, "writing the script").because(error)
}

/// The comment before an entry. Names may hold line ends, which would let text out of the comment.
fn header(name: &str, kind: &str, schema: Option<&str>, owner: Option<&str>) -> String {
    let plain = |text: &str| text.replace(['\n', '\r'], " ");
    let part = |part: Option<&str>| part.map_or_else(|| "-".to_owned(), plain);
    let data = if kind == "TABLE DATA" { "Data for " } else { "" };
    format!(
        "--\n-- {data}Name: {}; Type: {}; Schema: {}; Owner: {}\n--\n\n",
        plain(name),
        plain(kind),
        part(schema),
        part(owner)
    )
}

/// Definitions that come in pieces, without the comments that begin and end a dump and without its keys for `psql`.
pub(super) struct Rendered {
    lexer: Lexer,
    toc: Option<Arc<Toc>>,
    routes: Routes,
}

impl Rendered {
    pub(super) fn new() -> Self {
        Self { lexer: Lexer::new(Limits::default()), toc: None, routes: Routes::default() }
    }

    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Vec<u8>> {
        self.lexer.push(piece);
        self.drain()
    }

    /// The rest, and how rows find their way into the tables that were defined.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, Routes)> {
        self.lexer.finish();
        let rest = self.drain()?;
        Ok((rest, self.routes))
    }

    fn drain(&mut self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        while let Some(token) = self.lexer.next_token().map_err(not_ours)? {
            match token {
                Token::Statement(statement) => {
                    let same = match (&self.toc, &statement.toc) {
                        (Some(last), Some(this)) => Arc::ptr_eq(last, this),
                        (None, None) => true,
                        _ => false,
                    };
                    if let Some(toc) = statement.toc.as_deref().filter(|_| !same) {
                        text.extend_from_slice(b"\n");
                        let header = header(&toc.name, &toc.kind, toc.schema.as_deref(), toc.owner.as_deref());
                        text.extend_from_slice(header.as_bytes());
                    }
                    if let Some(toc) = &statement.toc {
                        self.routes.hear(&toc.kind, &String::from_utf8_lossy(&statement.text));
                    }
                    self.toc.clone_from(&statement.toc);
                    text.extend_from_slice(&statement.text);
                    text.extend_from_slice(b"\n\n");
                }
                Token::CopyBegin(head) => {
                    return Err(Error::failed(format!("the definitions hold rows of {}", head.table)));
                }
                _ => {}
            }
        }
        Ok(text)
    }
}

fn not_ours(error: ScriptError) -> Error {
    Error::failed("reading the definitions in the backup").because(error)
}

/// The statement that writes one stretch of a large object, from a line `oid, offset, bytes`.
pub(super) fn large_object(line: &[u8]) -> Result<String> {
    let odd = || Error::failed("a line of the large objects in the backup cannot be read");
    let line = std::str::from_utf8(line).map_err(|_| odd())?.trim_end_matches('\n');
    let mut columns = line.split('\t');
    let (Some(oid), Some(offset), Some(bytes), None) = (columns.next(), columns.next(), columns.next(), columns.next())
    else {
        return Err(odd());
    };
    let hex = bytes.strip_prefix("\\\\x").filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let (oid, offset): (u32, i64) = (oid.parse().map_err(|_| odd())?, offset.parse().map_err(|_| odd())?);
    let hex = hex.ok_or_else(odd)?;
    Ok(format!("SELECT pg_catalog.lo_put({oid}, {offset}, '\\x{hex}');\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_of_a_large_object_becomes_a_statement() {
        assert_eq!(
            large_object(b"70001\t262144\t\\\\x00ff10\n").unwrap(),
            "SELECT pg_catalog.lo_put(70001, 262144, '\\x00ff10');\n"
        );
        for odd in [&b"1\t2\n"[..], b"1\t2\t\\\\xzz\n", b"x\t2\t\\\\x00\n", b"1\t2\t\\\\x00\t\n", b"1\t2\t\\\\x0'\n"] {
            assert!(large_object(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn definitions_keep_their_headers_and_lose_what_ends_a_dump() {
        let script = b"--\n-- PostgreSQL database dump\n--\n\n\\restrict k\n\nSET a = 1;\n-- Name: t; Type: TABLE; Schema: s; Owner: o\n\
            CREATE TABLE s.t (\n    a int\n);\nALTER TABLE s.t OWNER TO o;\n--\n-- PostgreSQL database dump complete\n--\n\\unrestrict k\n";
        let mut rendered = Rendered::new();
        let mut text = Vec::new();
        for piece in script.chunks(7) {
            text.extend(rendered.push(piece).unwrap());
        }
        text.extend(rendered.finish().unwrap().0);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "SET a = 1;\n\n\n--\n-- Name: t; Type: TABLE; Schema: s; Owner: o\n--\n\nCREATE TABLE s.t (\n    a int\n);\n\n\
             ALTER TABLE s.t OWNER TO o;\n\n"
        );
    }

    #[test]
    fn no_name_can_leave_the_comment_it_is_in() {
        assert_eq!(
            header("a\nDROP TABLE t;", "TABLE", None, None),
            "--\n-- Name: a DROP TABLE t;; Type: TABLE; Schema: -; Owner: -\n--\n\n"
        );
    }
}
