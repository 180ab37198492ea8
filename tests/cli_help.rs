//! Every help page as a person sees it. A change here is a change of the command line: scripts depend on it.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod cli_support;

use cli_support::Desk;
use davit::cli::args::Cli;
use std::path::Path;

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
    let pages: [&[&str]; 44] = [
        &[],
        &["init"],
        &["backup"],
        &["snapshot"],
        &["snapshot", "create"],
        &["snapshot", "show"],
        &["snapshot", "diff"],
        &["snapshot", "restore"],
        &["snapshot", "import"],
        &["snapshot", "import", "velero"],
        &["snapshot", "verify"],
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
        &["config", "schema"],
        &["drill"],
        &["report"],
        &["report", "drill"],
        &["report", "month"],
        &["report", "check"],
        &["doctor"],
        &["chaos"],
        &["chaos", "list"],
        &["chaos", "inject"],
        &["chaos", "status"],
        &["chaos", "stop"],
        &["chaos", "ack"],
        &["chaos", "janitor"],
        &["chaos", "rbac"],
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
fn a_shell_completes_commands_and_flags_also_beside_broken_settings() {
    let desk = Desk::new();
    desk.write("davit.yaml", "jobz: 1\n");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = desk.davit(&["completions", shell]);
        assert!(said.code == 0 && said.stdout.contains("verify"), "{shell}: {said:?}");
    }
    let script = desk.davit(&["completions", "bash"]).stdout;
    desk.write("davit.bash", &script);
    for (words, expected) in
        [("davit ba", "backup"), ("davit verify --de", "--depth"), ("davit verify --depth st", "stored")]
    {
        let cword = words.split(' ').count() - 1;
        let ask = format!(
            "source ./davit.bash; COMP_WORDS=({words}); COMP_CWORD={cword}; \
             _davit davit \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let shell = std::process::Command::new("bash").args(["-c", &ask]).current_dir(desk.path()).output().unwrap();
        assert_eq!(String::from_utf8(shell.stdout).unwrap().trim(), expected, "{words}");
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

/// The text of every source file, for asking whether a message is really said.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_error_that_the_operations_page_explains_is_one_that_davit_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/operations.md")).unwrap();
    let table = page.split("## Errors that everybody meets once").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut said = String::new();
    sources(&root.join("src"), &mut said);
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut quoted = 0;
    for message in rows {
        for part in message.split('…').map(str::trim).filter(|part| part.len() > 3) {
            assert!(said.contains(part), "nothing in src/ says {part:?}");
            quoted += 1;
        }
    }
    assert!(quoted > 8, "{quoted}");
}

#[test]
fn the_readme_and_the_help_give_the_exit_codes_that_the_operations_page_explains() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    for code in 0..=6 {
        for name in ["README.md", "docs/operations.md"] {
            assert!(read(name).contains(&format!("\n| {code} | ")), "{name} does not explain exit {code}");
        }
        assert!(page(&[]).contains(&format!("\n  {code}  ")), "davit --help does not name exit {code}");
    }
}
