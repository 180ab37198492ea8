//! `pg_amcheck`: heaps and B-trees of the restored database, page by page, by PostgreSQL's own checker.

use crate::backup::restore::Means;
use crate::backup::restore::definitions::Definitions;
use crate::error::Result;
use crate::postgres::tools::{Tool, Tools};
use crate::postgres::{ConnInfo, connect};
use crate::repository::Check;

const NAME: &str = "amcheck";

/// Makes the extension, unless the definitions bring it; gives the server's major version, or why it cannot be had.
pub(super) async fn prepare(admin: &ConnInfo, definitions: &Definitions) -> Result<std::result::Result<u32, String>> {
    let session = Box::pin(connect(admin, "verify")).await?;
    let major = session.major();
    let comes = definitions.extensions().contains("amcheck");
    let made =
        if comes { Ok(()) } else { session.execute("making extension amcheck", "CREATE EXTENSION amcheck").await };
    session.close().await;
    Ok(made.map(|()| major).map_err(|error| format!("{error} (hint: install the server's contrib package)")))
}

/// Runs it; what cannot be run is undecided, never passed.
pub(super) async fn run(means: &Means, admin: &ConnInfo, prepared: std::result::Result<u32, String>) -> Result<Check> {
    const SAID_MAX: usize = 1 << 20;
    let undecided = |detail: String| Check { name: NAME.to_owned(), ok: None, detail };
    let major = match prepared {
        Ok(major) => major,
        Err(why) => return Ok(undecided(why)),
    };
    let session = Box::pin(connect(admin, "verify")).await?;
    let conn = session.conn().clone();
    session.close().await;
    let tools = Tools::find_server(major, &means.tool_dirs, means.path.as_deref()).ok();
    let Some(program) = tools.and_then(|tools| tools.optional("pg_amcheck")) else {
        return Ok(undecided(format!("there is no pg_amcheck of version {major} on this machine")));
    };
    let tool = Tool::new(&program, "checking heaps and indexes")
        .database(&conn)
        .args(["--no-password", "--on-error-stop", "--database"])
        .arg(conn.database())
        .arg(format!("--jobs={}", means.workers()));
    let looked = tool.findings(SAID_MAX, &means.cancel).await;
    let (said, ended) = looked.unwrap_or_else(|error| (Vec::new(), Err(error)));
    let wrong = |detail: String| Ok(Check { name: NAME.to_owned(), ok: Some(false), detail });
    match ended {
        Err(error) if means.cancel.is_cancelled() => Err(error),
        Err(error) if said.is_empty() => wrong(error.to_string()),
        // It prints what it finds, ends with 2 for that, and says nothing else.
        Err(error) => wrong(format!("{error}: {}", shown(&said))),
        Ok(_) if said.is_empty() => {
            Ok(Check { name: NAME.to_owned(), ok: Some(true), detail: "pg_amcheck found nothing wrong".to_owned() })
        }
        Ok(_) => wrong(shown(&said)),
    }
}

fn shown(said: &[u8]) -> String {
    const SHOWN: usize = 2_000;
    String::from_utf8_lossy(said).chars().take(SHOWN).map(|c| if c == '\n' { ' ' } else { c }).collect()
}
