//! `JUnit` as a parser of XML reads it, and held against the rules of its elements and attributes.

use super::*;
use crate::report::drill::DrillReport;
use crate::report::drill::tests::{Made, four};
use crate::report::month::tests::november;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use std::collections::BTreeMap;

/// An element: where it may be, which attributes it must have, which it may have.
const RULES: [(&str, &str, &[&str], &[&str]); 6] = [
    ("testsuites", "", &[], &["name", "time", "tests", "failures", "errors", "disabled"]),
    (
        "testsuite",
        "testsuites",
        &["name", "tests", "failures", "errors", "skipped"],
        &["time", "timestamp", "hostname", "id", "package", "disabled"],
    ),
    ("testcase", "testsuite", &["name", "classname", "time"], &["status", "assertions"]),
    ("failure", "testcase", &["type", "message"], &[]),
    ("error", "testcase", &["type", "message"], &[]),
    ("skipped", "testcase", &["message"], &[]),
];

/// An element as it was read.
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    inside: Vec<Element>,
}

/// Reads a whole document, or says what is wrong with it.
fn read(xml: &str) -> Result<Element, String> {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_comments = true;
    let (mut open, mut roots): (Vec<Element>, Vec<Element>) = (Vec::new(), Vec::new());
    if !matches!(reader.read_event(), Ok(Event::Decl(_))) {
        return Err("it does not begin with a declaration".to_owned());
    }
    loop {
        let done = match reader.read_event().map_err(|why| why.to_string())? {
            Event::Start(start) => {
                open.push(element(&start)?);
                continue;
            }
            Event::Empty(start) => element(&start)?,
            // The parser has compared its name with that of the beginning.
            Event::End(_) => open.pop().ok_or("an element ends that did not begin")?,
            Event::Text(text) if text.decode().is_ok_and(|text| text.trim().is_empty()) => continue,
            Event::Eof => break,
            other => return Err(format!("{other:?} has no place there")),
        };
        open.last_mut().map_or(&mut roots, |outer| &mut outer.inside).push(done);
    }
    if !open.is_empty() || roots.len() != 1 {
        return Err(format!("{} stay open, {} roots", open.len(), roots.len()));
    }
    roots.pop().ok_or_else(|| "nothing".to_owned())
}

fn element(start: &BytesStart<'_>) -> Result<Element, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|why| why.to_string());
    let mut attributes = BTreeMap::new();
    // Twice the same one, one without quotes: the parser says so.
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|why| why.to_string())?;
        let value = attribute.normalized_value(XmlVersion::Explicit1_0).map_err(|why| why.to_string())?;
        let allowed =
            |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        if attribute.value.contains(&b'<') || !value.chars().all(allowed) {
            return Err(format!("the value {value:?}"));
        }
        attributes.insert(text(attribute.key.0)?, value.into_owned());
    }
    Ok(Element { name: text(start.name().0)?, attributes, inside: Vec::new() })
}

impl Element {
    fn number(&self, name: &str) -> Result<usize, String> {
        let value = self.attributes.get(name).map(String::as_str).unwrap_or_default();
        value.parse().map_err(|why| format!("{}: {name}={value:?}: {why}", self.name))
    }

    fn count(&self, name: &str) -> usize {
        self.inside.iter().map(|inner| usize::from(inner.name == name) + inner.count(name)).sum()
    }

    /// What the rules say about it and what is in it.
    fn check(&self, outer: &str) -> Result<(), String> {
        let rule = RULES.iter().find(|rule| (rule.0, rule.1) == (self.name.as_str(), outer));
        let (name, _, must, may) = rule.ok_or_else(|| format!("{} in {outer:?}", self.name))?;
        if let Some(missing) = must.iter().find(|attribute| !self.attributes.contains_key(**attribute)) {
            return Err(format!("{name} has no {missing}"));
        }
        for (attribute, value) in &self.attributes {
            if !must.contains(&attribute.as_str()) && !may.contains(&attribute.as_str()) {
                return Err(format!("{name} has no attribute {attribute}"));
            }
            let seconds = || value.parse::<f64>().is_ok_and(|seconds| seconds >= 0.0 && seconds.is_finite());
            let stamp = || value.parse::<jiff::civil::DateTime>().is_ok() && value.len() == 19 && !value.contains(' ');
            let good = match attribute.as_str() {
                "time" => seconds(),
                "timestamp" => stamp(),
                "name" | "classname" | "type" => !value.is_empty(),
                _ => true,
            };
            if !good {
                return Err(format!("{name}: {attribute}={value:?}"));
            }
        }
        if self.name == "testsuite" {
            for (attribute, inner) in
                [("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")]
            {
                let (said, are) = (self.number(attribute)?, self.count(inner));
                if said != are {
                    return Err(format!("{attribute} is {said}, and there are {are}"));
                }
            }
        }
        if self.name == "testcase" && self.inside.len() > 1 {
            return Err("a test case ended twice".to_owned());
        }
        self.inside.iter().try_for_each(|inner| inner.check(&self.name))
    }
}

fn strict(xml: &str) -> Element {
    let root = read(xml).unwrap_or_else(|why| panic!("{why}\n{xml}"));
    root.check("").unwrap_or_else(|why| panic!("{why}\n{xml}"));
    root
}

#[test]
fn junit_is_taken_by_a_strict_parser_whatever_texts_come() {
    let stuck = Made { healed: false, ..Made::default() };
    for made in four().into_iter().map(|(_, made)| made).chain([stuck]) {
        let mut report = made.report();
        report.identity.title = "<\"&'> \u{1} ]]> \u{fffe}".to_owned();
        report.objectives[0].sentence = "\u{0}<![CDATA[&#0; --> é".to_owned();
        report.objectives[0].verdict = Some("missed".to_owned());
        let root = strict(&drill(&report, Form::Junit).unwrap());
        let suite = &root.inside[0];
        assert_eq!(suite.attributes["name"], "<\"&'> \u{fffd} ]]> \u{fffd}");
        assert_eq!(suite.inside[0].inside[0].attributes["message"], "\u{fffd}<![CDATA[&#0; --> é");
    }
    let root = strict(&month(&november(), Form::Junit).unwrap());
    assert_eq!(root.inside[0].inside.len(), 6);
    let none: [DrillReport; 0] = [];
    strict(&junit::drills(&none));
}

#[test]
fn a_strict_parser_is_strict() {
    let suite = |inside: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites><testsuite name=\"a\" tests=\"1\" failures=\"0\" \
             errors=\"0\" skipped=\"0\">{inside}</testsuite></testsuites>"
        )
    };
    let judged = |xml: &str| read(xml).and_then(|root| root.check(""));
    assert_eq!(judged(&suite("<testcase name=\"a\" classname=\"b\" time=\"0.1\"/>")), Ok(()));
    for wrong in [
        "",
        "<testcase name=\"a\" classname=\"b\" time=\"0.1\">",
        "<testcase name=\"a\" classname=\"b\" time=\"soon\"/>",
        "<testcase name=\"a\" name=\"a\" classname=\"b\" time=\"0.1\"/>",
        "<testcase name=\"a & b\" classname=\"b\" time=\"0.1\"/>",
        "<testcase name=\"a &nbsp; b\" classname=\"b\" time=\"0.1\"/>",
        "<testcase name=\"a < b\" classname=\"b\" time=\"0.1\"/>",
        "<testcase name=\"a &#1; b\" classname=\"b\" time=\"0.1\"/>",
        "<testcase name=\"a\" classname=\"b\" time=\"0.1\" colour=\"red\"/>",
        "<testcase name=\"a\" classname=\"b\" time=\"0.1\"><skipped message=\"c\"/></testcase>",
        "<testcase name=\"a\" classname=\"b\" time=\"0.1\"/>stray",
    ] {
        assert!(judged(&suite(wrong)).is_err(), "{wrong} was taken");
    }
}

#[test]
fn each_end_is_what_junit_calls_it() {
    let ends = four().map(|(_, made)| strict(&drill(&made.report(), Form::Junit).unwrap()));
    let counts = ends.each_ref().map(|root| (root.count("failure"), root.count("error")));
    assert_eq!((counts[0], counts[3].0), ((0, 0), 0));
    assert!(counts[1].0 >= 2 && counts[2].1 >= 1 && counts[3].1 >= 1, "{counts:?}");
}
