//! What this machine must have before a drill breaks anything: the programs that its scenario names, and a place for its
//! report. Both are looked at for a plan, too, and nothing is left behind.

use crate::config::Environment;
use crate::error::{Context, Error, Kind, Result};
use crate::postgres::tools::is_program;
use crate::scenario::Scenario;
use std::path::Path;

/// Looks for every program that the scenario will run.
pub(super) fn programs(scenario: &Scenario, environment: &Environment) -> Result<()> {
    for (purpose, words) in scenario.programs() {
        let Some(program) = words.first() else { continue };
        if !can_be_run(program, environment) {
            return Err(Error::input(format!("planning {purpose}: there is no program {program} on this machine")).hint(
                "the first word of a command is a program that can be executed, by its path or found by PATH; it is no shell",
            ));
        }
    }
    Ok(())
}

fn can_be_run(program: &str, environment: &Environment) -> bool {
    if program.contains('/') {
        return is_program(Path::new(program));
    }
    let path = environment.search_path().unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

/// Looks whether a report can be written into a directory that may not be there yet.
pub(super) fn report_folder(directory: &Path) -> Result<()> {
    let doing = || format!("looking for a place for the report, {}", directory.display());
    let hint = "--report names a directory that can be written to; davit report drill RUN makes a report again later";
    let there = directory.ancestors().find(|folder| folder.exists() && !folder.as_os_str().is_empty());
    let there = there.unwrap_or_else(|| Path::new("."));
    if !there.is_dir() {
        return Err(Error::input(format!("{}: {} is a file", doing(), there.display())).hint(hint));
    }
    let tried = tempfile::NamedTempFile::new_in(there).context(Kind::Input, doing);
    tried.map(drop).map_err(|error| error.hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_that_cannot_be_written_to_is_known_before_and_nothing_is_left_in_one_that_can() {
        let folder = tempfile::tempdir().unwrap();
        report_folder(&folder.path().join("not/there/yet")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below"), "/proc/nowhere/x".into()] {
            let error = report_folder(&path).unwrap_err();
            assert_eq!(error.kind(), Kind::Input, "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn a_program_is_a_file_that_can_be_executed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("restart");
        fs::write(&file, "").unwrap();
        let environment = Environment::of([("PATH", folder.path().to_str().unwrap())]);
        let both = || [file.to_str().unwrap().to_owned(), "restart".to_owned()];
        assert!(both().iter().all(|name| !can_be_run(name, &environment)), "it is not executable");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(both().iter().all(|name| can_be_run(name, &environment)));
        assert!(!can_be_run(folder.path().to_str().unwrap(), &environment), "it is a directory");
    }
}
