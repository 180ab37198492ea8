//! Every help page as a person sees it. A change here is a change of the command line: scripts depend on it.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use davit::cli::args::Cli;

fn page(path: &[&str]) -> String {
    let mut command = Cli::tree().term_width(100);
    command.build();
    let mut found = &mut command;
    for name in path {
        found = found.find_subcommand_mut(name).unwrap();
    }
    found.render_help().to_string()
}

#[test]
fn every_help_page_is_the_one_we_reviewed() {
    let pages: [&[&str]; 22] = [
        &[],
        &["init"],
        &["backup"],
        &["points"],
        &["restore"],
        &["verify"],
        &["retain"],
        &["sweep"],
        &["hold"],
        &["release"],
        &["key"],
        &["key", "show"],
        &["key", "new"],
        &["key", "rotate"],
        &["key", "check"],
        &["config"],
        &["config", "show"],
        &["config", "check"],
        &["doctor"],
        &["export"],
        &["demo"],
        &["completions"],
    ];
    for path in pages {
        let name = if path.is_empty() { "davit".to_owned() } else { format!("davit {}", path.join(" ")) };
        insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "golden/help" }, {
            insta::assert_snapshot!(name.replace(' ', "-"), page(path));
        });
    }
}

#[test]
fn the_command_tree_is_well_formed() {
    Cli::tree().debug_assert();
}

#[test]
fn no_help_page_is_wider_than_a_terminal() {
    let mut command = Cli::tree().term_width(100);
    command.build();
    for sub in command.get_subcommands_mut() {
        let text = sub.render_help().to_string();
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 100, "{}: {widest}", sub.get_name());
    }
}
