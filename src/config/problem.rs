//! What is wrong with `davit.yaml`.

use crate::config::raw::Raw;
use crate::yaml;

pub use crate::yaml::{Problem, nearest, suggestion};

/// Reads the settings file; what could be understood, and everything that is wrong with the rest.
pub fn parse(text: &str) -> (Option<Raw>, Vec<Problem>) {
    let (raw, problems) = yaml::parse(text, "setting");
    // An empty file is a file without settings.
    (raw.or_else(|| problems.is_empty().then(Raw::default)), problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let with_hint = |problem: Problem| match &problem.hint {
            Some(hint) => format!("{problem}; {hint}"),
            None => problem.to_string(),
        };
        parse(text).1.into_iter().map(with_hint).collect()
    }

    #[test]
    fn every_misspelt_key_is_named_with_its_line_and_the_nearest_one() {
        let text = "repositry: /backups\nsources:\n  shop:\n    urll: postgres://eva:hunter2@db/shop\n    url: x\n    \
                    engine: paralel\njobz: 3\n";
        insta::assert_snapshot!(problems(text).join("\n"), @r#"
        line 1: there is no setting "repositry" ("repositry: …"); did you mean "repository"?
        line 4: there is no setting "urll" ("urll: …"); did you mean "url"?
        line 6: "paralel" is not among what can stand here; did you mean "parallel"?
        line 7: there is no setting "jobz" ("jobz: …"); did you mean "jobs"?
        "#);
    }

    #[test]
    fn wrong_types_and_values_are_named_without_being_shown() {
        let text =
            "jobs: many\nlimit_rate: 50\nsources:\n  shop:\n    url: {envv: X}\n  bill:\n    urll: x\n    jobs: 1\n";
        insta::assert_snapshot!(problems(text).join("\n"), @r#"
        line 1: a whole number belongs here
        line 2: "50" is not a size; write it as 64MiB or 50MB
        line 5: there is no setting "envv" ("url: {envv: …"); did you mean "env"?
        line 7: there is no setting "urll" ("urll: …"); did you mean "url"?
        "#);
    }

    #[test]
    fn what_is_no_yaml_at_all_is_one_problem() {
        insta::assert_snapshot!(problems("sources: [\n").join("\n"), @"line 1: a block of `name: value` lines belongs here");
        insta::assert_snapshot!(problems("jobs: 1\njobs: 2\n").join("\n"), @"line 2: duplicate mapping key `jobs` is not allowed here");
    }

    #[test]
    fn an_empty_file_is_a_file_without_settings() {
        for text in ["", "\n", "# nothing yet\n"] {
            let (raw, problems) = parse(text);
            assert!(raw.is_some() && problems.is_empty(), "{text:?}: {problems:?}");
        }
    }

    #[test]
    fn a_far_name_is_not_suggested() {
        assert_eq!(nearest("colour", ["jobs", "keys"]), None);
        assert_eq!(nearest("key", ["jobs", "keys"]), Some("keys"));
    }
}
