//! Real dumps and odd places.

use super::*;

pub(super) const ODD: &[u8] = include_bytes!("../../../tests/fixtures/dumps/odd_15.sql");
pub(super) const CLUSTER: &[u8] = include_bytes!("../../../tests/fixtures/dumps/cluster_15.sql");

/// All tokens of a script that comes in these pieces; the rows of a block as one token.
pub(super) fn tokens<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Token>, ScriptError> {
    let mut lexer = Lexer::new(Limits::default());
    let mut tokens = Vec::new();
    for piece in pieces {
        lexer.push(piece);
        gather(&mut lexer, &mut tokens)?;
    }
    lexer.finish();
    gather(&mut lexer, &mut tokens)?;
    Ok(tokens)
}

fn gather(lexer: &mut Lexer, tokens: &mut Vec<Token>) -> Result<(), ScriptError> {
    while let Some(token) = lexer.next_token()? {
        match (token, tokens.last_mut()) {
            (Token::CopyRows(more), Some(Token::CopyRows(rows))) => *rows = [rows.as_ref(), &more].concat().into(),
            (token, _) => tokens.push(token),
        }
    }
    Ok(())
}

fn statements(script: &str) -> Vec<String> {
    let text = |token| match token {
        Token::Statement(statement) => Some(String::from_utf8(statement.text.to_vec()).unwrap()),
        _ => None,
    };
    tokens([script.as_bytes()]).unwrap().into_iter().filter_map(text).collect()
}

fn fault(script: &[u8]) -> (u64, String) {
    let error = tokens([script]).unwrap_err();
    (error.line, error.what.to_string())
}

/// One line per token, short enough to read in a golden file.
fn outline(tokens: &[Token]) -> String {
    let short = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace(['\n', '\t'], " ");
        let end = text.char_indices().nth(70).map_or(text.len(), |(place, _)| place);
        format!("{}{}", &text[..end], if end < text.len() { "…" } else { "" })
    };
    let about = |toc: &Option<Arc<Toc>>| {
        toc.as_ref().map_or_else(String::new, |toc| {
            let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".to_owned());
            format!("  <{} | {} | {} | {}>", toc.kind, toc.name, part(&toc.schema), part(&toc.owner))
        })
    };
    let line = |token: &Token| match token {
        Token::Statement(s) => format!("{:>4} {}{}", s.line, short(&s.text), about(&s.toc)),
        Token::CopyBegin(c) => format!("{:>4} rows of {} {:?}{}", c.line, c.table, c.columns, about(&c.toc)),
        Token::CopyRows(rows) => format!("     {:?}", short(rows)),
        Token::Directive(Directive::Restrict(_)) => "     restrict".to_owned(),
        Token::Directive(Directive::Unrestrict(_)) => "     unrestrict".to_owned(),
        other => format!("     {other:?}"),
    };
    tokens.iter().map(|token| line(token) + "\n").collect()
}

#[test]
fn a_real_dump_comes_out_as_pg_dump_meant_it() {
    insta::assert_snapshot!(outline(&tokens([ODD]).unwrap()));
}

#[test]
fn a_real_cluster_dump_comes_out_with_its_sections() {
    insta::assert_snapshot!(outline(&tokens([CLUSTER]).unwrap()));
}

#[test]
fn a_semicolon_ends_a_statement_only_where_the_server_would_agree() {
    for one in [
        "SELECT ';', ';''; --', E'\\';', B';', U&';\\0041', \";\"\";\";",
        "SELECT 'a'\n  '\\';",
        "SELECT E'a' -- x\n  '\\';b';",
        "SELECT E'a''\\';b';",
        "SELECT $$;$$, $a$;$b$;$$;$a$, $Ünï_1$;$Ünï_1$, a$b$c, $1;",
        "SELECT $x$ $x $$ $x$;",
        "SELECT 1 /* ; /* ; */ ' ; */ -- ;\n+ 2;",
        "SELECT 8 - -1 / 2 * 3 <-> 4;",
        "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);",
        "create or replace procedure p() begin atomic select case when a then case b when 1 then 2 end end; end;",
        "CREATE FUNCTION f(\"begin\" int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT t.begin FROM t; END;",
        "CREATE FUNCTION begin(atomic int) RETURNS int LANGUAGE sql RETURN 1;",
        "CREATE TABLE atomic (begin int);",
    ] {
        assert_eq!(statements(&format!("{one}\nSELECT 'next';")), [one, "SELECT 'next';"]);
    }
    assert_eq!(statements("BEGIN; SELECT 1; END; ;"), ["BEGIN;", "SELECT 1;", "END;", ";"]);
}

#[test]
fn backslashes_in_plain_quotes_count_where_the_dump_says_so() {
    let off = "SET standard_conforming_strings = off;";
    let on = "SET standard_conforming_strings = on;";
    assert_eq!(statements(&format!("{off} SELECT 'a\\';'; {on} SELECT 'a\\';")).len(), 4);
    assert_eq!(statements(&format!("{off}\n\\connect other\nSELECT 'a\\';")).len(), 2);
}

#[test]
fn rows_are_whole_and_end_where_the_dump_says() {
    let script = "COPY t (a) FROM stdin;\n\\.x\n\\\\.\n\\.\nSELECT 1;";
    let mut seen = tokens([script.as_bytes()]).unwrap().into_iter().skip(1);
    assert_eq!(seen.next(), Some(Token::CopyRows(Bytes::from_static(b"\\.x\n\\\\.\n"))));
    assert_eq!(seen.next(), Some(Token::CopyEnd));
    assert!(matches!(seen.next(), Some(Token::Statement(s)) if s.line == 5));
}

#[test]
fn a_dump_that_went_through_windows_gives_the_same_rows() {
    let script = b"\xef\xbb\xbfSELECT 1;\r\nCOPY t (a) FROM stdin;\r\n1\r\n\\r\r\n\\.\r\n\\connect x\r\n";
    let seen = tokens([&script[..]]).unwrap();
    assert!(matches!(&seen[0], Token::Statement(s) if s.line == 1));
    assert_eq!(seen[2], Token::CopyRows(Bytes::from_static(b"1\n\\r\n")));
    assert_eq!(seen[4], Token::Directive(Directive::Connect("x".to_owned())));
}

#[test]
fn a_command_with_power_ends_the_reading_with_its_line() {
    let command = |text: &str| format!("backslash command {text:?} is not allowed in a dump");
    assert_eq!(fault(b"SELECT 1;\n\n\\! rm -rf /\n"), (3, command("\\! rm -rf /")));
    assert_eq!(fault(b"SELECT 1\n \\gexec"), (2, command("\\gexec")));
    assert_eq!(fault(b"\\restrict a\n\\connect x\n").0, 2);
    assert_eq!(fault(b"\\restrict a\n\\unrestrict b\n").0, 2);
    assert_eq!(fault(b"\\unrestrict b\n").0, 1);
}

#[test]
fn a_script_that_ends_too_early_says_where_it_was() {
    let inside = |what: &str| format!("the script ends inside {what}");
    assert_eq!(fault(b"\nSELECT 'a\n"), (2, inside("a quoted string")));
    assert_eq!(fault(b"SELECT 1"), (1, inside("a statement")));
    assert_eq!(fault(b"SELECT $a$ $"), (1, inside("a dollar-quoted string")));
    assert_eq!(fault(b"/* x"), (1, inside("a comment")));
    assert_eq!(fault(b"COPY t (a) FROM stdin;\n1\n2"), (3, inside("the rows of a table")));
    assert_eq!(fault(b"COPY t (a) FROM stdin;"), (1, inside("the rows of a table")));
}

#[test]
fn what_is_longer_than_the_limit_is_not_gathered() {
    let read = |script: &[u8]| {
        let mut lexer = Lexer::new(Limits { held_bytes_max: 64 });
        lexer.push(script);
        while lexer.next_token()?.is_some() {}
        Ok::<_, ScriptError>(())
    };
    let long = "x".repeat(70);
    for script in [format!("SELECT '{long}"), format!("SELECT '{long}';"), format!("COPY t FROM stdin;\n{long}")] {
        assert!(matches!(read(script.as_bytes()).unwrap_err().what, Fault::TooLong { limit: 64, .. }), "{script}");
    }
    assert_eq!(read(format!("COPY t FROM stdin;\n{}\\.\n", "row\n".repeat(100)).as_bytes()), Ok(()));
}

#[test]
fn an_encoding_that_hides_quotes_is_refused() {
    assert_eq!(fault(b"SET client_encoding = 'SJIS';").0, 1);
    assert_eq!(statements("SET client_encoding = 'LATIN1';").len(), 1);
}

#[test]
fn entries_carry_their_header_and_the_settings_meant_for_them() {
    let script = "SET a = 1;\n-- Name: t; Type: TABLE; Schema: s; Owner: o\nCREATE TABLE s.t();\nALTER TABLE s.t OWNER TO o;\n\
         SET default_tablespace = fast;\n-- Name: u; Type: TABLE; Schema: s; Owner: -\nCREATE TABLE s.u();\n";
    let found = entries(script.as_bytes(), Limits::default()).unwrap();
    let named: Vec<_> = found.iter().map(|e| (e.toc.as_ref().map(|t| t.name.as_str()), e.statements.len())).collect();
    assert_eq!(named, [(None, 1), (Some("t"), 2), (Some("u"), 2)]);
    assert_eq!(found[2].statements[0], "SET default_tablespace = fast;");
    let rows = entries(b"COPY s.t (a) FROM stdin;\n1\n\\.\n", Limits::default()).unwrap_err();
    assert_eq!(rows.what, Fault::Rows("s.t".to_owned()));
}
