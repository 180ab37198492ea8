//! `davit`: parses the command line, runs one command, and ends with its exit code.

use davit::config::Environment;
use std::process::ExitCode;
use std::time::Duration;

/// What still runs when a command has ended (a cancelled query, a closing connection) gets this long.
const GRACE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    // One TLS provider for PostgreSQL and S3, chosen here so that no library chooses another. It can only be
    // chosen already, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let environment = Environment::of_this_process();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return davit::cli::could_not_start(&error),
    };
    let code = runtime.block_on(davit::cli::run(std::env::args_os(), environment));
    runtime.shutdown_timeout(GRACE);
    code
}
