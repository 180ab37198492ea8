//! `davit demo`: a backup, a disaster and a proven restore on a throw-away server, in a minute.
//!
//! Every step runs the command a person would type, as a process of its own, and shows its line and its output. What the
//! demo makes stays in a directory it names; the server goes, also on Ctrl-C.

mod disaster;
mod shop;
mod stage;
mod tamper;

use crate::cli::args::DemoArgs;
use crate::cli::exit::Exit;
use crate::cli::output::Ended;
use crate::cli::shell::Shell;
use crate::error::{Context, Error, Kind, Result};
use crate::humane::count;
use crate::postgres::throwaway::{Server, ThrowawayOptions, fresh_password};
use crate::postgres::tools::Tools;
use shop::Shop;
use stage::Stage;
use std::path::{Path, PathBuf};

/// The oldest major that the demo runs on.
const OLDEST_MAJOR: u32 = 14;

/// The settings that a person would write for the shop.
const SETTINGS: &str = "\
repository: repository
keys: keys
state: state
retention: {daily: 30 days, weekly: 90 days, monthly: 1 year}
sources:
  shop:
    url: postgres:///shop   # the server of the demo; it is gone when the demo is over
";

/// Shows it all.
pub(super) async fn run(args: &DemoArgs, shell: &Shell) -> Result<Ended> {
    let directory = make_directory(args.directory.as_deref(), shell)?;
    let path = shell.settings.environment.search_path();
    let tools = Tools::find_server(OLDEST_MAJOR, &shell.settings.client_tools.value, path.as_deref())?;
    let mut options =
        ThrowawayOptions::new(tools, &shell.settings.scratch.value, shell.clock.clone(), shell.stop.gently.clone());
    "demo".clone_into(&mut options.superuser);
    // The customers of the last step find their way to the spare server with what lets them into the first one.
    options.password = Some(fresh_password());
    // Probes in an open loop may hold more connections than a small server has.
    options.settings.push(("max_connections".to_owned(), "150".to_owned()));
    let server = Server::start(options.clone()).await?;
    let shown = Box::pin(show(&directory, &server, options, shell)).await;
    server.stop().await?;
    shown.map(|()| Ended::silently(Exit::Done))
}

/// The demonstration, step by step.
async fn show(directory: &Path, server: &Server, spare: ThrowawayOptions, shell: &Shell) -> Result<()> {
    let settings = directory.join("davit.yaml");
    std::fs::write(&settings, SETTINGS).context(Kind::Failed, || format!("writing {}", settings.display()))?;
    let stage = Stage::new(directory, server.conn(), shell.stop.gently.clone())?;
    let tell = |text: &str| stage.tell(text);

    tell(&format!(
        "A throw-away PostgreSQL {} is running (no TCP port, gone when this ends).\nEverything else stays in {}.\n\
         It holds a small shop, and two customers are buying while you watch. The settings are in davit.yaml there.",
        server.version(),
        directory.display()
    ))?;
    let mut shop = stage.unless_stopped(Box::pin(Shop::open(server.conn(), shell.clock.clone()))).await?;

    stage.title("1. Make a repository: a place for backups, and its two keys")?;
    stage.run(&["init"], &[0]).await?;

    stage.title("2. Back the shop up while it is open")?;
    stage.run(&["backup", "shop"], &[0]).await?;

    stage.title("3. Back it up again: only what changed is uploaded")?;
    stage.unless_stopped(Box::pin(shop.wait_for_orders(50))).await?;
    stage.run(&["backup", "shop"], &[0]).await?;
    stage.run(&["points"], &[0]).await?;

    stage.title("4. The disaster: somebody drops the table of orders")?;
    let lost = stage.unless_stopped(Box::pin(shop.drop_orders())).await?;
    tell(&format!(
        "DROP TABLE orders CASCADE   -- {} orders are gone, and the shop is down:\n{}",
        count(lost.orders),
        lost.error
    ))?;

    stage.title("5. Restore: beside the broken database, then swapped in, every row read back")?;
    stage
        .run(
            &["restore", "shop@latest", "--into", "postgres:///shop", "--replace", "shop", "--proof", "read-back"],
            &[0],
        )
        .await?;
    let back = stage.unless_stopped(Box::pin(shop.count_orders())).await?;
    tell(&format!(
        "The shop has {} orders again. The {} bought after the backup began are lost:\nthat is what a recovery point objective (RPO) is about.",
        count(back),
        count(lost.orders.saturating_sub(back))
    ))?;

    stage.title("6. Prove the backup: restore it into a server of its own and compare every table")?;
    stage.run(&["verify", "shop@latest", "--depth", "restored"], &[0]).await?;

    stage.title("7. Tamper: one bit of one object in the store is flipped")?;
    let tampered = tamper::flip_one_bit(&directory.join("repository"))?;
    tell(&format!("flipped a bit in the middle of {}", tampered.object.display()))?;
    stage.run(&["verify", "shop@latest", "--depth", "stored"], &[1]).await?;
    tampered.repair()?;
    tell("The bit is flipped back; a backup would have stored the damaged rows anew.")?;
    stage.run(&["verify", "shop@latest", "--depth", "stored"], &[0]).await?;

    stage.title("8. Retention: one point a day is enough, and a proven one always stays")?;
    stage.run(&["retain", "--dry-run"], &[0]).await?;

    stage.title("9. Drill: the server is killed under writers, and its database comes back on another one")?;
    disaster::drill(directory, server, spare, &stage).await?;

    stage.title("Now your own database")?;
    stage.print(&format!(
        "  export DAVIT_REPOSITORY=s3://my-bucket/davit   # or a directory\n  export DAVIT_KEYS=~/.davit\n  davit init\n  \
         davit backup postgres://user@host/database\n  davit verify database@latest --depth restored\n  davit doctor\n\n\
         What this demo made is in {}: look at it, then remove it.\n",
        directory.display()
    ))
}

/// The directory to leave things in: the one that was named, or a new one here.
fn make_directory(wanted: Option<&Path>, shell: &Shell) -> Result<PathBuf> {
    let name = shell.clock.now().strftime("davit-demo-%Y%m%d-%H%M%S").to_string();
    let directory = wanted.map_or_else(|| PathBuf::from(name), Path::to_path_buf);
    let doing = || format!("making the demo's directory {}", directory.display());
    if directory.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::input(format!("{}: it is not empty", doing())).hint("name a new directory with --directory"));
    }
    std::fs::create_dir_all(&directory).context(Kind::Input, doing)?;
    directory.canonicalize().context(Kind::Input, doing)
}
