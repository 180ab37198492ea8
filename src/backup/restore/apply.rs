//! Running definitions: many in one exchange with the server, and one by one where that failed, to name the culprit.

use super::definitions::Definition;
use super::made::Made;
use super::site::failed;
use crate::error::Result;
use crate::journal::{Amount, SharedProgress};
use crate::postgres::Session;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// How many definitions go in one exchange; a failed exchange is undone by the server and repeated one by one.
const TOGETHER: usize = 50;

/// What to do where a collation cannot be made.
const NO_COLLATION: &str = "a collation is made of a locale of the server's system (libc) or of its ICU: install it there, \
                            and restore again; davit restore --table brings tables that do without it";

/// Runs definitions in their order over one session.
pub(super) struct Applier<'a> {
    pub(super) session: &'a Session,
    pub(super) progress: &'a SharedProgress,
    pub(super) stage: &'static str,
    pub(super) cancel: CancellationToken,
    made: &'a Made,
    /// What the session has set.
    so_far: BTreeMap<String, String>,
}

impl<'a> Applier<'a> {
    pub(super) fn new(
        session: &'a Session,
        progress: &'a SharedProgress,
        stage: &'static str,
        (cancel, made): (&CancellationToken, &'a Made),
    ) -> Self {
        Self { session, progress, stage, cancel: cancel.clone(), made, so_far: BTreeMap::new() }
    }

    /// Runs all of them.
    pub(super) async fn run(&mut self, definitions: &[&Definition]) -> Result<()> {
        let mut together: Vec<&Definition> = Vec::new();
        for definition in definitions.iter().copied() {
            // An extension's script may want a transaction, and a session, of its own making.
            let alone = definition.kind == "EXTENSION";
            if alone || together.len() == TOGETHER {
                self.run_together(&together).await?;
                together.clear();
            }
            together.push(definition);
            if alone {
                self.run_together(&together).await?;
                together.clear();
            }
        }
        self.run_together(&together).await
    }

    async fn run_together(&mut self, definitions: &[&Definition]) -> Result<()> {
        if definitions.is_empty() {
            return Ok(());
        }
        super::stopped(&self.cancel)?;
        let before = self.so_far.clone();
        let mut text = String::new();
        for definition in definitions {
            for statement in definition.to_run(&mut self.so_far) {
                text.push_str(&statement);
                text.push('\n');
            }
        }
        // Several statements in one message are one transaction: it happens as a whole or not at all.
        self.made.sent(definitions);
        if let Err(error) = self.session.client.batch_execute(&text).await {
            if error.as_db_error().is_some() {
                self.made.refused(definitions);
            }
            super::stopped(&self.cancel)?;
            self.so_far = before;
            self.run_apart(definitions).await?;
        }
        self.progress.advanced(self.stage, Amount::items(definitions.len() as u64));
        Ok(())
    }

    async fn run_apart(&mut self, definitions: &[&Definition]) -> Result<()> {
        for definition in definitions {
            let statements = definition.to_run(&mut self.so_far);
            // Its first own statement makes it: settings come before, owner and the like in transactions after it.
            let making = statements.len() - definition.statements.len();
            for (place, statement) in statements.iter().enumerate() {
                let makes = place == making;
                if makes {
                    self.made.sent(&[definition]);
                }
                let ran = self.session.client.batch_execute(statement).await;
                ran.map_err(|error| {
                    if makes && error.as_db_error().is_some() {
                        self.made.refused(&[definition]);
                    }
                    let error = failed(self.session, &error, &definition.describe(), statement);
                    match definition.kind.as_str() {
                        "COLLATION" if error.hint_text().is_none() => error.hint(NO_COLLATION),
                        _ => error,
                    }
                })?;
            }
        }
        Ok(())
    }
}
