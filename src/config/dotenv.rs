//! Shell files with assignments, as a Vault agent writes them: `export DATABASE_URL="postgresql://…"`.
//!
//! Only assignments are understood. Whatever only a shell could answer (`$(…)`, `${…}`, back quotes) is refused
//! rather than taken literally, because a half-understood password is worse than none.

use crate::error::{Error, Result};
use crate::secret::Secret;
use std::iter::Peekable;
use std::str::Chars;

/// The value that `text` assigns to `key`; the last assignment wins, as in a shell.
///
/// # Errors
/// Names the line of an assignment to `key` that cannot be understood, and never its value.
pub fn find(text: &str, key: &str) -> Result<Option<Secret>> {
    let mut found = None;
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let (assignment, after) = next(rest);
        if let Some((name, value)) = assignment
            && name == key
        {
            found = Some(Secret::new(unquote(value).map_err(|why| Error::input(format!("line {line}: {why}")))?));
        }
        line += rest[..rest.len() - after.len()].matches('\n').count();
        rest = after;
    }
    Ok(found)
}

/// Every name that is assigned, in order, for a hint.
pub fn names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (assignment, after) = next(rest);
        names.extend(assignment.map(|(name, _)| name));
        rest = after;
    }
    names
}

/// The assignment at the start of `text`, if its first line is one, and what follows it.
fn next(text: &str) -> (Option<(&str, &str)>, &str) {
    let end = end_of_line_outside_quotes(text);
    let (line, after) = (text[..end].trim(), text[end..].strip_prefix('\n').unwrap_or(""));
    let bare = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let assignment = bare.split_once('=').filter(|(name, _)| is_name(name));
    match assignment {
        Some(_) => (assignment, after),
        // A comment may hold a lone quote: without an assignment only this one line is passed over.
        None => (None, text.split_once('\n').map_or("", |(_, after)| after)),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn end_of_line_outside_quotes(text: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', None | Some('"')) => escaped = true,
            ('\n', None) => return at,
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    text.len()
}

/// What a shell would make of the word `value`.
fn unquote(value: &str) -> Result<String, &'static str> {
    let mut plain = String::new();
    let mut rest = value.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' => single_quoted(&mut rest, &mut plain)?,
            '"' => double_quoted(&mut rest, &mut plain)?,
            '\\' => plain.extend(rest.next()),
            c if c.is_whitespace() => return end_of_word(rest, plain),
            '&' | ';' | '|' | '<' | '>' | '(' | ')' => {
                return Err("the value has a character that a shell would act on; put it into quotes");
            }
            c => literal(c, &mut rest, &mut plain)?,
        }
    }
    Ok(plain)
}

fn end_of_word(rest: Peekable<Chars<'_>>, plain: String) -> Result<String, &'static str> {
    let after: String = rest.collect();
    match after.trim_start() {
        after if after.is_empty() || after.starts_with('#') => Ok(plain),
        _ => Err("the value has a blank in it; put it into quotes"),
    }
}

fn single_quoted(rest: &mut Peekable<Chars<'_>>, plain: &mut String) -> Result<(), &'static str> {
    loop {
        match rest.next() {
            Some('\'') => return Ok(()),
            Some(c) => plain.push(c),
            None => return Err("a quote is not closed"),
        }
    }
}

fn double_quoted(rest: &mut Peekable<Chars<'_>>, plain: &mut String) -> Result<(), &'static str> {
    loop {
        match rest.next() {
            Some('"') => return Ok(()),
            Some('\\') => match rest.next() {
                Some('\n') => {}
                Some(c @ ('$' | '`' | '"' | '\\')) => plain.push(c),
                Some(c) => plain.extend(['\\', c]),
                None => return Err("a quote is not closed"),
            },
            Some(c) => literal(c, rest, plain)?,
            None => return Err("a quote is not closed"),
        }
    }
}

fn literal(c: char, rest: &mut Peekable<Chars<'_>>, plain: &mut String) -> Result<(), &'static str> {
    let for_a_shell = c == '`' || (c == '$' && matches!(rest.peek(), Some('{' | '(')));
    if for_a_shell {
        return Err("the value has a substitution that only a shell could make");
    }
    plain.push(c);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VAULT: &str = "# written by the agent's template\n\
        export DATABASE_URL=\"postgresql://cloudcart:s3'cr$t@postgres:5432/cloudcart\"\n\
        export REDIS_URL='redis://redis:6379'\n";

    fn value(text: &str, key: &str) -> String {
        find(text, key).unwrap().unwrap().reveal().to_owned()
    }

    #[test]
    fn a_file_as_a_vault_agent_writes_it_is_read() {
        assert_eq!(value(VAULT, "DATABASE_URL"), "postgresql://cloudcart:s3'cr$t@postgres:5432/cloudcart");
        assert_eq!(names(VAULT), ["DATABASE_URL", "REDIS_URL"]);
        assert!(find(VAULT, "DATABASE").unwrap().is_none());
    }

    #[test]
    fn quotes_escapes_and_comments_are_those_of_a_shell() {
        for (text, expected) in [
            ("A=plain # comment", "plain"),
            ("A=a#b", "a#b"),
            ("A=", ""),
            (r#"A="say \"hi\" \n""#, r#"say "hi" \n"#),
            (r"A='a\b'", r"a\b"),
            ("A='it'\\''s'", "it's"),
            ("A=one\nA=two\r\n", "two"),
            ("A=\"two\nlines\"\nB=3", "two\nlines"),
            ("  export   A=x", "x"),
        ] {
            assert_eq!(value(text, "A"), expected, "{text:?}");
        }
    }

    #[test]
    fn what_only_a_shell_could_answer_is_refused_with_its_line_and_without_its_value() {
        for text in ["A=\"$(cat secret)\"", "A=`secret`", "A=${secret}", "A=secret words", "A=\"secret", "A=secret;rm"]
        {
            let error = find(&format!("B=1\n{text}"), "A").unwrap_err().to_string();
            assert!(error.starts_with("line 2: ") && !error.contains("secret"), "{text:?}: {error}");
        }
    }

    #[test]
    fn an_odd_line_elsewhere_does_not_hide_the_key() {
        assert_eq!(value("# don't\nset -a\nB=$(x)\nA=1", "A"), "1");
    }
}
