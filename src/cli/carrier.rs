//! `davit carrier …`: what runs in the pods that carry faults, besides their script.

use crate::chaos::proxy::{Conditions, Proxy};
use crate::chaos::{self, Intent, Means, ReadBack};
use crate::cli::args::{CarrierCommand, ClusterArgs};
use crate::cli::exit::Exit;
use crate::cli::output::Ended;
use crate::cli::shell::Shell;
use crate::cli::snapshot;
use crate::error::{Context, Error, Kind, Result};
use crate::repository::{InitOptions, Repository};
use crate::store::MemoryStore;
use std::io::Write;
use std::time::Duration;

/// Carries something until its time is over, or until it is told to stop.
pub(super) async fn run(command: &CarrierCommand, shell: &Shell) -> Result<Ended> {
    match command {
        CarrierCommand::Proxy { listen, to, latency, lasts } => {
            let proxy = Proxy::start(*listen, to, shell.clock.clone())?;
            proxy.set(Conditions { latency: latency.0, ..Conditions::default() });
            // Whoever started it waits for this line.
            let mut stdout = std::io::stdout();
            let told = writeln!(stdout, "listens at {}", proxy.address()).and_then(|()| stdout.flush());
            told.context(Kind::Failed, || "saying where the proxy listens".to_owned())?;
            wait(shell, lasts.0).await;
        }
        CarrierCommand::Fuse { at, intent } => {
            let intent: Intent = serde_json::from_str(intent)
                .map_err(|why| Error::input("reading the intent that a fuse is to undo").because(why))?;
            let left = at.saturating_sub(shell.clock.now().as_second());
            if !wait(shell, Duration::from_secs(u64::try_from(left).unwrap_or(0))).await {
                return Ok(Ended::silently(Exit::Done));
            }
            undo(&intent, shell).await?;
        }
    }
    Ok(Ended::silently(Exit::Done))
}

/// Waits; `false` if it was told to stop.
async fn wait(shell: &Shell, time: Duration) -> bool {
    tokio::select! {
        () = shell.clock.sleep(time) => true,
        () = shell.stop.gently.cancelled() => false,
    }
}

async fn undo(intent: &Intent, shell: &Shell) -> Result<()> {
    // A fuse cannot reach the repository; all it must know came with it.
    let store = MemoryStore::new(shell.clock.clone());
    let nowhere = Repository::init(store, &InitOptions::default(), shell.clock.clone()).await?.repository;
    let mut means = Means::new(nowhere, shell.clock.clone(), shell.settings.environment.holder());
    means.cluster = Some(snapshot::connect::cluster_for_healing(&ClusterArgs::default(), shell)?);
    match chaos::burn(&means, intent).await? {
        ReadBack::Not { why } => Err(Error::new(Kind::Stuck, format!("undoing {}: {why}", intent.victim.shown))),
        good => {
            shell.progress().note(format!("{}: {}", intent.victim.shown, good.text()));
            Ok(())
        }
    }
}
