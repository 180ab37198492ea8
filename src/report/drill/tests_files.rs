//! The files that a report names beside its journal.

use super::tests::{Made, stored_is_the_same};
use crate::id::Sha256;
use crate::report::journal::{Event, FileKept, Line};
use crate::report::render::{self, Form};

#[test]
fn the_files_beside_the_journal_are_named_after_it() {
    let mut journal = Made::default().journal();
    let kept = |name: &str, bytes| FileKept { name: name.to_owned(), lines: 3, bytes, sha256: Sha256([7; 32]) };
    let end = journal.pop().unwrap();
    let files = vec![kept("ledger", 120), kept("observed.jsonl", 4096)];
    journal.push(Line { at: end.at, event: Event::Files(files) });
    journal.push(end);
    stored_is_the_same(&journal);
    let report = super::of(&journal).unwrap();
    let names: Vec<&str> = report.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["journal.jsonl", "ledger", "observed.jsonl"]);
    for form in [Form::Text, Form::Markdown, Form::Html, Form::Json] {
        assert!(render::drill(&report, form).unwrap().contains("observed.jsonl"), "{form:?}");
    }
}
