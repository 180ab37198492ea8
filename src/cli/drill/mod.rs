//! `davit drill SCENARIO`: reads, plans, prints the plan, drills, and reports.

mod ready;

use crate::backup::restore;
use crate::chaos;
use crate::cli::args::DrillArgs;
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::report::write_files;
use crate::cli::restore::means as restore_means;
use crate::cli::shell::Shell;
use crate::drill::{self, Access, Choices, Done, Means};
use crate::error::{Error, Kind, Result};
use crate::journal::Progress;
use crate::report::render::{self, Form};
use crate::report::{DrillReport, Repeated};
use crate::scenario::{self, Override, RecoveryBy, Scenario};
use crate::secret::{Secret, SecretRef};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Runs a drill, or several.
pub(super) async fn run(args: &DrillArgs, shell: &Shell) -> Result<Ended> {
    let scenario = scenario::load(&args.scenario, &args.set)?;
    // What cannot be meant is said before anything is opened.
    drill::check(&scenario)?;
    let access = access(&scenario, &args.scenario, shell)?;
    ready::programs(&scenario, &shell.settings.environment)?;
    if let Some(directory) = &args.report {
        ready::report_folder(directory)?;
    }
    let means = means(args, &scenario, shell).await?;
    // With what was put in place of its values: the same file with others is another drill.
    let words = std::iter::once(args.scenario.display().to_string()).chain(args.set.iter().map(Override::argument));
    let file = words.collect::<Vec<_>>().join(" ");
    let mut document = Drilled::default();
    for number in 1..=args.repeat {
        let choices = Choices {
            // Each repetition meets another phase, and the whole series follows from one seed.
            seed: args.seed.map(|seed| seed.wrapping_add(u64::from(number) - 1)),
            repetition: (args.repeat > 1).then_some((number, args.repeat)),
            lifted: args.lift.iter().map(|name| name.parse()).collect::<Result<_>>()?,
            confirmed: args.confirm.clone(),
        };
        let plan = Box::pin(drill::plan(&means, scenario.clone(), &file, access.clone(), choices)).await?;
        if args.dry_run {
            return Ended::with(&Planned { dry_run: true, plan: plan.lines() });
        }
        for line in plan.lines() {
            shell.story.note(line);
        }
        let run = &plan.script.run;
        shell.story.note(format!("run {run}; davit chaos stop {run} ends it early"));
        let Done { report, folder, .. } = Box::pin(drill::run(&means, plan)).await?;
        shell.story.note(format!("run {}: its journal, ledger and probes are in {}", report.run, folder.display()));
        if let Some(directory) = &args.report {
            let forms = Form::ALL.into_iter().map(|form| Ok((form, render::drill(&report, form)?)));
            let forms = forms.collect::<Result<Vec<_>>>()?;
            let what = format!("drill {}", report.run);
            document.files.extend(write_files(
                &means.chaos.repository,
                directory,
                &format!("drill-{}", report.run),
                &what,
                &forms,
            )?);
        }
        let stuck = !report.cleanup.proven;
        document.drills.push(report);
        if stuck || shell.stop.gently.is_cancelled() {
            break;
        }
    }
    if args.repeat > 1 {
        document.repeated = Some(Repeated::of(&document.drills));
    }
    Ended::with(&document)
}

/// Everything that a drill works with.
async fn means(args: &DrillArgs, scenario: &Scenario, shell: &Shell) -> Result<Means> {
    let facts = chaos::find(drill::fault_of(scenario))?.facts();
    let must = facts.targets.iter().all(|kind| kind.in_cluster())
        || scenario.observers.iter().any(|observer| observer.pod.is_some());
    let mut faults = crate::cli::chaos::means::with_cluster(shell, &args.helper, must).await?;
    drill::prepare_network(&mut faults, scenario).await?;
    let restore =
        restore::Means { cancel: shell.stop.gently.clone(), ..restore_means(faults.repository.clone(), shell) };
    let settings = &shell.settings;
    Ok(Means {
        operator: Some(settings.environment.holder()),
        chaos: faults,
        restore,
        progress: shell.progress(),
        folder: drill::drills(&state(shell)),
    })
}

/// Where this machine keeps what is no affair of the repository's.
pub(super) fn state(shell: &Shell) -> PathBuf {
    let settings = &shell.settings;
    settings.state.value.clone().unwrap_or_else(|| settings.scratch.value.join("davit"))
}

/// The secrets of a target; relative paths begin where the scenario lies.
fn access(scenario: &Scenario, file: &Path, shell: &Shell) -> Result<Access> {
    let base = file.parent().map(Path::to_path_buf).unwrap_or_default();
    let fetch = |what: &str, secret: &SecretRef| -> Result<Secret> {
        secret.fetch(&format!("{what} of the scenario"), &shell.settings.environment, &base)
    };
    let place = &scenario.target.place;
    let into = match &scenario.recovery.by {
        RecoveryBy::Restore { into: Some(into), .. } => Some(fetch("`into`", into)?),
        _ => None,
    };
    let read = |whose: &str, file: &Path| {
        let file = base.join(file);
        std::fs::read_to_string(&file).map_err(|why| {
            let doing = format!("reading {whose} of the scenario, {}", file.display());
            Error::input(doing).because(why).hint("`ca` is a PEM file with the roots that clients over https:// trust")
        })
    };
    let (mut observers, mut observers_ca) = (BTreeMap::new(), BTreeMap::new());
    for wish in &scenario.observers {
        if let Some(ca) = &wish.ca {
            observers_ca.insert(wish.name.clone(), read(&format!("`ca` of the observer {}", wish.name), ca)?);
        }
        if let Some(clients) = &wish.clients {
            observers.insert(wish.name.clone(), fetch(&format!("`clients` of the observer {}", wish.name), clients)?);
        }
    }
    Ok(Access {
        clients: fetch("`clients`", place.clients())?,
        ca: place.ca().map(|ca| read("`ca`", ca)).transpose()?,
        primary: place.primary().map(|server| fetch("`primary`", &server.url)).transpose()?,
        standby: place.standby().map(|server| fetch("`standby`", &server.url)).transpose()?,
        into,
        observers,
        observers_ca,
    })
}

#[derive(Debug, Serialize)]
struct Planned {
    dry_run: bool,
    plan: Vec<String>,
}

impl Document for Planned {
    fn text(&self) -> String {
        let mut page = Page::default();
        for line in &self.plan {
            page.line(line);
        }
        page.line("nothing was changed (dry run)");
        page.text()
    }
}

/// Drills that were run.
#[derive(Debug, Default, Serialize)]
struct Drilled {
    drills: Vec<DrillReport>,
    /// What they say together, where the drill was to be repeated.
    repeated: Option<Repeated>,
    files: Vec<PathBuf>,
}

impl Document for Drilled {
    fn text(&self) -> String {
        let mut page = Page::default();
        for report in &self.drills {
            page.block(render::drill(report, Form::Text).unwrap_or_default());
        }
        if let [_, _, ..] = self.drills.as_slice() {
            page.line("");
            let words: Vec<&str> = self.drills.iter().map(|report| report.verdict.word.as_str()).collect();
            page.line(format!("{} runs: {}", self.drills.len(), words.join(", ")));
        }
        for line in self.repeated.iter().flat_map(Repeated::lines) {
            page.line(line);
        }
        for file in &self.files {
            page.line(format!("written: {}", file.display()));
        }
        page.text()
    }

    fn exit(&self) -> Exit {
        self.drills.iter().fold(Exit::Done, |worst, report| worst.worst(exit(report.verdict.exit_code)))
    }
}

/// The exit code of a report as the end of a command.
fn exit(code: u8) -> Exit {
    match code {
        0 => Exit::Done,
        1 => Exit::Not(Kind::CheckFailed),
        5 => Exit::Not(Kind::Stuck),
        6 => Exit::Not(Kind::Undecided),
        _ => Exit::Not(Kind::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::drill::Bounds;
    use crate::report::{Point, Spread};

    #[test]
    fn repetitions_end_with_what_they_say_together() {
        let bounds = |low: f64| Bounds { low, high: low + 0.25 };
        let points = [8.5, 12.5].map(|low| Point { run: "20261120T020000Z-k3f9ab".to_owned(), actual: bounds(low) });
        let (minimum, maximum) = (bounds(8.5), bounds(12.5));
        let rto = Spread { minimum, median: Bounds { low: 8.5, high: 12.75 }, maximum, points: points.to_vec() };
        let confidence = Some("0 lost in 2 valid runs".to_owned());
        let document = Drilled {
            repeated: Some(Repeated { runs: 2, valid: 2, open: 0, rto: Some(rto), confidence }),
            ..Drilled::default()
        };
        let said = "recovery time (RTO) in 2 valid runs: minimum 8.50 to 8.75 s, median 8.50 to 12.75 s, maximum 12.50 to 12.75 s
one by one: 8.50 to 8.75 s; 12.50 to 12.75 s
0 lost in 2 valid runs
";
        assert_eq!(document.text(), said);
        let json = serde_json::to_value(&document).unwrap();
        assert_eq!(json["repeated"]["rto"]["median"], serde_json::json!({"low": 8.5, "high": 12.75}));
        assert_eq!(json["repeated"]["rto"]["points"][1]["actual"]["high"], 12.75);
        assert_eq!(serde_json::to_value(Drilled::default()).unwrap()["repeated"], serde_json::Value::Null);
    }
}
