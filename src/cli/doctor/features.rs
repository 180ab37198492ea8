//! What the store can do now, against what it was seen to do when the repository was made.

use super::findings::Findings;
use crate::store::Features;

const CHECK: &str = "store since init";

/// Says what changed and what follows from it. Nothing is written down: only the root key changes what is recorded.
pub(super) fn compare(findings: &mut Findings, then: &Features, now: &Features, locks: bool) {
    if then == now {
        return findings.ok(CHECK, "it does what it did when the repository was made");
    }
    conditions(findings, then, now);
    versions(findings, then, now);
    object_lock(findings, then, now, locks);
    if then.checksums && !now.checksums {
        findings.warn(
            CHECK,
            "it no longer refuses bytes that do not match their checksum: damage on the way shows only when it is read",
            "davit verify --all --depth stored after each backup",
        );
    }
    if then.default_retention != now.default_retention {
        let text = |retention: &Option<String>| retention.clone().unwrap_or_else(|| "none".to_owned());
        let (then, now) = (text(&then.default_retention), text(&now.default_retention));
        findings.ok(CHECK, format!("the bucket's default retention was {then} and is {now}"));
    }
}

fn conditions(findings: &mut Findings, then: &Features, now: &Features) {
    let lost = [
        ("If-None-Match", then.put_if_absent && !now.put_if_absent),
        ("If-Match", then.put_if_match && !now.put_if_match),
    ];
    for (header, _) in lost.iter().filter(|(_, lost)| *lost) {
        findings.fail(
            CHECK,
            format!("it no longer honours {header}: two runs could overwrite each other, and neither would notice"),
            "let no two runs meet there, and go back to the server that honoured it, or to another store",
        );
    }
    let had = then.put_if_absent && then.put_if_match;
    if !had && now.put_if_absent && now.put_if_match {
        findings.ok(CHECK, "it honours conditions now: several runs may meet there");
    }
}

fn versions(findings: &mut Findings, then: &Features, now: &Features) {
    match (then.versioning, now.versioning) {
        (false, true) => {
            findings.ok(CHECK, "it keeps versions now: what is hidden or overwritten from here on is found again");
        }
        (true, false) => findings.warn(
            CHECK,
            "it keeps no versions any more: what is deleted or overwritten is lost",
            "switch versioning on again in the bucket's settings",
        ),
        _ => {}
    }
}

fn object_lock(findings: &mut Findings, then: &Features, now: &Features, locks: bool) {
    match (then.object_lock, now.object_lock) {
        (false, true) if !locks => {
            findings.ok(CHECK, "it can lock objects now: davit init --object-lock governance has the repository lock");
        }
        (_, false) if locks => findings.fail(
            CHECK,
            "it locks no objects, but the repository locks what it makes: no backup can be stored",
            "switch versioning and object lock on again in the bucket's settings",
        ),
        (true, false) => findings.warn(
            CHECK,
            "it can no longer lock objects",
            "nothing is locked here so far; switch it on again before davit init --object-lock",
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;
    use crate::cli::output::Document;
    use crate::error::Kind;

    fn all() -> Features {
        Features {
            put_if_absent: true,
            put_if_match: true,
            versioning: true,
            object_lock: true,
            default_retention: None,
            checksums: true,
        }
    }

    fn told(then: &Features, now: &Features, locks: bool) -> (String, Exit) {
        let mut findings = Findings::default();
        compare(&mut findings, then, now, locks);
        (findings.text(), findings.exit())
    }

    #[test]
    fn what_is_as_it_was_is_one_line() {
        let (text, exit) = told(&all(), &all(), true);
        assert_eq!(exit, Exit::Done);
        assert!(text.starts_with("ok    store since init  it does what it did"), "{text}");
    }

    #[test]
    fn a_store_that_lost_what_safety_rests_on_fails_and_other_losses_are_warnings() {
        type Case = (fn(&mut Features), bool, Exit, &'static str);
        let cases: [Case; 6] = [
            (|now| now.put_if_absent = false, false, Exit::Not(Kind::CheckFailed), "no longer honours If-None-Match"),
            (|now| now.put_if_match = false, false, Exit::Not(Kind::CheckFailed), "no longer honours If-Match"),
            (|now| now.object_lock = false, true, Exit::Not(Kind::CheckFailed), "no backup can be stored"),
            (|now| now.object_lock = false, false, Exit::Done, "can no longer lock objects"),
            (|now| now.versioning = false, false, Exit::Done, "keeps no versions any more"),
            (|now| now.checksums = false, false, Exit::Done, "damage on the way"),
        ];
        for (change, locks, expected, says) in cases {
            let mut now = all();
            change(&mut now);
            let (text, exit) = told(&all(), &now, locks);
            assert_eq!(exit, expected, "{text}");
            assert!(text.contains(says), "{says}: {text}");
        }
    }

    #[test]
    fn what_was_gained_is_told_with_its_use() {
        let then = Features { versioning: false, object_lock: false, put_if_match: false, ..all() };
        let (text, exit) = told(&then, &all(), false);
        assert_eq!(exit, Exit::Done);
        for says in ["keeps versions now", "can lock objects now: davit init", "honours conditions now"] {
            assert!(text.contains(says), "{says}: {text}");
        }
    }
}
