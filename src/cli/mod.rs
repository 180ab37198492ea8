//! The commands: flags → settings → one use-case → rendering. The only code that prints.

pub mod args;
pub mod exit;
pub mod output;
pub mod shell;
pub mod table;

mod backup;
mod carrier;
mod chaos;
mod completions;
mod demo;
mod doctor;
mod drill;
mod export;
mod foreign;
mod hold;
mod init;
mod key;
mod mover;
mod object_lock;
mod observe;
mod points;
mod report;
mod restore;
mod retain;
mod rewrap;
mod run_log;
mod runs;
mod settings;
mod signal;
mod snapshot;
mod sweep;
mod verify;

use crate::clock::SystemClock;
use crate::config::{Environment, Settings};
use crate::error::{Error, Result};
use crate::journal::Progress;
use crate::secret::redact;
use crate::telemetry::{self, Form, Story};
use args::{Cli, Command, OutputForm, SnapshotCommand, Work};
use clap::Parser;
use exit::Exit;
use output::Ended;
use shell::Shell;
use std::ffi::OsString;
use std::io::Write;
use std::pin::Pin;
use std::process::ExitCode;

/// Runs the command that `arguments` (the program's name first) ask for.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, environment: Environment) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments).into(),
    };
    let form = cli.global.output;
    let place = Place::of(&cli.command);
    let clock = SystemClock::shared();
    let log_form = match environment.get("DAVIT_LOG_FORMAT") {
        Ok(Some("json")) => Form::Json,
        _ => Form::Text,
    };
    let terminal = environment.get("TERM").ok().flatten();
    let story = Story::on_stderr(log_form, cli.global.verbose > 0, terminal, clock.clone());
    let ended = begin(cli, environment, &story, clock).await.and_then(|ended| {
        story.end();
        ended.print(form)
    });
    let exit = ended.unwrap_or_else(|error| {
        story.end();
        failed(&error, form, place, &story)
    });
    exit.into()
}

/// Where a command's document goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Stdout,
    /// stdout is something else that a document would spoil.
    Stderr,
    /// What it prints is for people or for a shell.
    Nowhere(&'static str),
}

impl Place {
    const fn of(command: &Command) -> Self {
        match command {
            Command::Work(Work::Export(_)) => Self::Stderr,
            Command::Work(Work::Mover(_)) => Self::Nowhere("mover"),
            Command::Work(Work::Carrier(_)) => Self::Nowhere("carrier"),
            Command::Work(Work::Demo(_)) => Self::Nowhere("demo"),
            Command::Work(Work::Observe(_)) => Self::Nowhere("observe"),
            Command::Completions(_) => Self::Nowhere("completions"),
            Command::Work(_) | Command::Config(_) => Self::Stdout,
        }
    }
}

/// The process could not even begin.
pub fn could_not_start(error: &std::io::Error) -> ExitCode {
    let error = Error::failed("starting the worker threads").because(std::io::Error::from(error.kind()));
    drop(writeln!(anstream::stderr(), "error: {error}"));
    ExitCode::from(error.kind().exit_code())
}

/// What a command that is stopped says of what it began, if it does not undo that.
const fn stays(work: &Work) -> Option<&'static str> {
    match work {
        Work::Snapshot(SnapshotCommand::Restore(_)) => {
            Some("stopping; what was made stays, and the same command goes on")
        }
        _ => None,
    }
}

async fn begin(
    cli: Cli,
    environment: Environment,
    story: &std::sync::Arc<Story>,
    clock: crate::clock::SharedClock,
) -> Result<Ended> {
    check_log_format(&environment)?;
    telemetry::install(story, environment.get("DAVIT_LOG")?, cli.global.verbose)?;
    let overrides = cli.overrides();
    let form = cli.global.output;
    if let (OutputForm::Json, Place::Nowhere(command)) = (form, Place::of(&cli.command)) {
        return Err(Error::input(format!("running davit {command} --output json: it has no document"))
            .hint("leave --output out; docs/json.md lists what every other command prints"));
    }
    let work = match cli.command {
        // These must work beside a broken settings file.
        Command::Completions(args) => return completions::run(&args),
        Command::Config(command) => return settings::run(&command, &overrides, &environment),
        Command::Work(work) => work,
    };
    let stop = signal::listen(story.clone(), stays(&work))?;
    let at_once = stop.at_once.clone();
    let settings = Settings::load(&overrides, &environment)?;
    let shell = Shell { settings, form, clock, story: story.clone(), stop };
    tokio::select! {
        ended = dispatch(&work, &shell) => ended,
        // Dropping the command's future drops its guards: servers are stopped, connections closed.
        () = at_once.cancelled() => Err(let_go(&work)),
    }
}

/// What ending at once leaves.
fn let_go(work: &Work) -> Error {
    let doing = "ending at once: what was begun may not be undone";
    match work {
        Work::Chaos(_) | Work::Drill(_) => {
            Error::new(crate::error::Kind::Stuck, format!("{doing}: THE TARGET MAY STILL BE BROKEN"))
                .hint("davit chaos janitor undoes what is left; davit chaos status shows it")
        }
        _ => Error::failed(doing).hint("nothing unfinished counts; the next run needs no cleanup"),
    }
}

/// A command under way. Boxed, because the futures of the store's SDK are deep.
type Running<'a> = Pin<Box<dyn Future<Output = Result<Ended>> + 'a>>;

fn dispatch<'a>(work: &'a Work, shell: &'a Shell) -> Running<'a> {
    match work {
        Work::Init(args) => Box::pin(init::run(args, shell)),
        Work::Backup(args) => Box::pin(backup::run(args, shell)),
        Work::Restore(args) => Box::pin(restore::run(args, shell)),
        Work::Snapshot(command) => Box::pin(snapshot::run(command, shell)),
        Work::Doctor(args) => Box::pin(doctor::run(args, shell)),
        Work::Points(args) => Box::pin(points::run(args, shell)),
        Work::Export(args) => Box::pin(export::run(args, shell)),
        Work::Demo(args) => Box::pin(demo::run(args, shell)),
        Work::Retain(args) => Box::pin(retain::run(args, shell)),
        Work::Sweep(args) => Box::pin(sweep::run(args, shell)),
        Work::Hold(args) => Box::pin(hold::hold(args, shell)),
        Work::Release(args) => Box::pin(hold::release(args, shell)),
        Work::Drill(args) => Box::pin(drill::run(args, shell)),
        Work::Report(command) => Box::pin(report::run(command, shell)),
        Work::Chaos(command) => Box::pin(chaos::run(command, shell)),
        Work::Key(command) => Box::pin(key::run(command, shell)),
        Work::Mover(command) => Box::pin(mover::run(command, shell)),
        Work::Carrier(command) => Box::pin(carrier::run(command, shell)),
        Work::Verify(args) => Box::pin(verify::run(args, shell)),
        Work::Observe(args) => Box::pin(observe::run(args, shell)),
    }
}

fn check_log_format(environment: &Environment) -> Result<()> {
    match environment.get("DAVIT_LOG_FORMAT")? {
        None | Some("text" | "json") => Ok(()),
        Some(other) => Err(Error::input(format!("reading the environment variable DAVIT_LOG_FORMAT: {other:?}"))
            .hint("write text or json")),
    }
}

fn failed(error: &Error, form: OutputForm, place: Place, story: &Story) -> Exit {
    story.failure(error);
    if form == OutputForm::Json {
        let told = output::failure(error).and_then(|document| match place {
            Place::Stderr => {
                story.note(document.trim_end().to_owned());
                Ok(())
            }
            Place::Stdout | Place::Nowhere(_) => output::print(&document),
        });
        if let Err(second) = told {
            story.failure(&second);
        }
    }
    Exit::Not(error.kind())
}

/// Help and version are results; anything else is bad input.
fn usage(error: &clap::Error, arguments: &[OsString]) -> Exit {
    if !error.use_stderr() {
        // The reader of a help page that goes away early has read enough.
        drop(error.print());
        return Exit::Done;
    }
    let rendered = error.render();
    // A URL among the wrong arguments may carry a password.
    drop(write!(anstream::stderr().lock(), "{}", redact(&rendered.ansi().to_string())));
    let text = rendered.to_string();
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let wants_json = arguments.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json")
        || arguments.iter().any(|argument| argument == "--output=json");
    if wants_json && let Ok(document) = output::failure(&Error::input(first).hint("davit --help")) {
        drop(output::print(&document));
    }
    Exit::Not(crate::error::Kind::Input)
}
