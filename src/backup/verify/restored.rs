//! Depth `restored`: the point is restored into a server of its own, and what is there is compared with what was
//! backed up.

use super::compare::{Comparison, Restored};
use super::report::VerifyReport;
use super::request::{Request, SqlCheck};
use super::scratch::{Scratch, of_the_place};
use super::{amcheck, checks, constraints};
use crate::backup::facts::{DatabaseFacts, PointFacts};
use crate::backup::restore::content::{Chunks, Content, Contents};
use crate::backup::restore::definitions::Definitions;
use crate::backup::restore::feed::Feed;
use crate::backup::restore::fill::{Filling, Hands};
use crate::backup::restore::globals::Globals;
use crate::backup::restore::selection::{self, Selection};
use crate::backup::restore::site::Site;
use crate::backup::restore::{Adjust, Means, Proof, Wanted, plan, preflight};
use crate::backup::target::{Beside, Mode, Shape, Target};
use crate::error::{Error, Result};
use crate::repository::{Check, PointSummary};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Restores and compares; fills in what it saw.
pub(super) async fn prove(
    means: &Means,
    request: &Request,
    point: &PointSummary,
    report: &mut VerifyReport,
) -> Result<()> {
    let Contents { facts, globals, mut databases } = plan::load(means, point).await?;
    if request.database.is_some() {
        databases = vec![plan::choose(databases, request.database.as_deref())?];
    }
    let globals = match globals {
        Some(chunks) => Some(Globals::read(&plan::whole(means, &chunks).await?)?),
        None => None,
    };
    let heap = databases.iter().flat_map(|content| &content.tables).map(|table| table.heap_bytes).sum();
    let mut scratch =
        Scratch::open(means, request, facts.server_version_num / 10_000, heap).await.map_err(of_the_place)?;
    let proof = Proving { means, request, facts: &facts };
    let outcome = proof.all(&mut scratch, globals.as_ref(), databases, report).await;
    let closed = scratch.close().await;
    outcome?;
    closed
}

struct Proving<'a> {
    means: &'a Means,
    request: &'a Request,
    facts: &'a PointFacts,
}

impl Proving<'_> {
    async fn all(
        &self,
        scratch: &mut Scratch,
        globals: Option<&Globals>,
        databases: Vec<Content>,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let named = databases.iter().flat_map(|content| content.facts.roles.iter().cloned()).collect();
        scratch.people(self.means, globals, &named).await?;
        for note in &scratch.notes {
            report.checks.push(Check { name: "place".to_owned(), ok: Some(true), detail: note.clone() });
        }
        for content in databases {
            Box::pin(self.database(scratch, content, report)).await?;
        }
        Ok(())
    }

    async fn database(&self, scratch: &Scratch, mut content: Content, report: &mut VerifyReport) -> Result<()> {
        let facts = content.facts.clone();
        let dump = content.dump.take();
        let wanted = Wanted::default();
        let definitions = plan::definitions(self.means, &content, self.facts, &wanted).await?;
        let selection = selection::select(content, definitions, &wanted)?;
        let target = Target::plan(&scratch.target(), Mode::Create).await.map_err(of_the_place)?;
        self.preflight(scratch, &target, &facts, &selection).await?;
        let same_major = target.version_num() / 10_000 == self.facts.server_version_num / 10_000;
        let beside = target.begin(&shape(&facts, scratch)).await.map_err(of_the_place)?;
        let outcome = self.in_database(scratch, &beside, selection, dump, facts, same_major, report).await;
        let gone = beside.abandon().await;
        outcome?;
        gone
    }

    #[expect(clippy::too_many_arguments, reason = "each is a different thing, and there is one caller")]
    async fn in_database(
        &self,
        scratch: &Scratch,
        beside: &Beside,
        selection: Selection,
        dump: Option<(crate::backup::facts::StreamFacts, Chunks)>,
        facts: DatabaseFacts,
        same_major: bool,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let (admin, worker) = (scratch.admin(beside.name()), scratch.worker(beside.name()));
        allow(beside, worker.user()).await?;
        // Now: later, an event trigger of the backup would run with it.
        let checker = amcheck::prepare(&admin, &selection.definitions).await?;
        let hands = |site: Site| Hands {
            site: Arc::new(site.reading_as(&facts.session_settings)),
            feed: Feed::new(self.means.repository.clone(), false),
            progress: self.means.progress.clone(),
            cancel: self.means.cancel.clone(),
        };
        let restored = Restored {
            hands: hands(Site::with_roles(admin.clone(), worker)),
            reading: hands(Site::new(admin.clone())),
            selection,
            facts: facts.clone(),
            same_major,
        };
        let (restored, filled) = if let Some((stream, chunks)) = dump {
            let filled =
                restored.hands.play(&stream, &chunks, &Adjust::default(), Proof::Sent, self.means.workers()).await?;
            let selection = Selection { tables: restored.hands.tables_of(&stream).await?, ..Selection::default() };
            (Restored { selection, ..restored }, filled)
        } else {
            let filled = restored.hands.fill(self.filling(&restored.selection)).await?;
            (restored, filled)
        };
        report.rows += filled.rows;
        Comparison { means: self.means, restored: &restored }.run(report).await?;
        report.checks.extend(constraints::look(&restored.hands.site, &restored.selection).await?);
        report.checks.push(amcheck::run(self.means, &admin, checker).await?);
        let own: Vec<&SqlCheck> = self.request.checks_of(&report.source).collect();
        report.checks.extend(checks::run(&restored.hands.site, &own).await?);
        Ok(())
    }

    async fn preflight(
        &self,
        scratch: &Scratch,
        target: &Target,
        facts: &DatabaseFacts,
        selection: &Selection,
    ) -> Result<()> {
        let made = selection.definitions.extensions();
        let mut needs = preflight::Needs {
            major: self.facts.server_version_num / 10_000,
            roles: selection.definitions.roles(),
            tablespaces: BTreeSet::new(),
            extensions: facts.extensions.iter().filter(|extension| made.contains(&extension.name)).cloned().collect(),
            heap_bytes: 0,
        };
        needs.roles.insert(facts.owner.clone());
        let missing = preflight::missing(target.server(), &needs).await?;
        let (roles, others): (Vec<String>, Vec<String>) =
            missing.into_iter().partition(|what| what.starts_with("role "));
        preflight::refuse(&others, crate::error::Kind::Undecided)?;
        if roles.is_empty() {
            return Ok(());
        }
        let named = roles.join(", ");
        // In our own server there are exactly the roles of the point: one that is missing there is missing in it.
        Err(if scratch.is_own() {
            Error::check(format!("the point lacks {named}, which its definitions name"))
        } else {
            Error::undecided(format!("the server lacks {named}")).hint("leave out --into, or make the roles there")
        })
    }

    fn filling(&self, selection: &Selection) -> Filling {
        Filling {
            definitions: for_scratch(selection.definitions.clone()),
            tables: selection.tables.clone(),
            rows: selection.rows.clone(),
            large_objects: selection.large_objects.clone(),
            sequences: selection.sequences.clone(),
            proof: Proof::Sent,
            jobs: self.means.workers(),
            into_existing: false,
            // A proof does not look away: PostgreSQL itself asks about every key.
            unseen: false,
        }
    }
}

/// Kinds of objects whose owner has to be a superuser, of which a throw-away server has only its own.
const OF_SUPERUSERS: [&str; 3] = ["FOREIGN DATA WRAPPER", "EVENT TRIGGER", "SUBSCRIPTION"];

/// The definitions as a throw-away server can have them: one place for everything, and no superusers but its own.
fn for_scratch(mut definitions: Definitions) -> Definitions {
    for entry in &mut definitions.entries {
        entry.settings.remove("default_tablespace");
        if OF_SUPERUSERS.contains(&entry.kind.as_str()) {
            entry.statements.retain(|statement| !statement.contains(" OWNER TO "));
        }
    }
    definitions
}

fn shape(facts: &DatabaseFacts, scratch: &Scratch) -> Shape {
    let owner = scratch.is_own().then(|| facts.owner.clone());
    Shape { tablespace: None, owner, ..Shape::from(facts) }
}

/// Whoever handles rows may use the database, whatever it allows to everybody.
async fn allow(beside: &Beside, worker: &str) -> Result<()> {
    use crate::postgres::quote::ident;
    let sql = format!("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}", ident(beside.name()), ident(worker));
    beside.server().execute("letting in whoever handles rows", &sql).await
}
