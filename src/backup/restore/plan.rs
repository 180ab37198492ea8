//! What a restore will do: read, checked and printable; nothing is changed.

use super::content::{Chunks, Content, Contents};
use super::definitions::{Definitions, Section, named_roles, render};
use super::feed::Feed;
use super::globals::Globals;
use super::in_place::{self, Undo};
use super::load::Supply;
use super::means::Means;
use super::request::{Existing, Part, Wanted};
use super::selection::{self, Selection};
use super::unfinished::{self, Left};
use super::{alike, listed, preflight};
use crate::backup::facts::{DatabaseFacts, PointFacts, StreamFacts};
use crate::backup::target::{Mode, Target};
use crate::error::{Error, Kind, Result};
use crate::postgres::pooler::refuse_pooler;
use crate::postgres::{ConnInfo, Session, catalog, connect};
use crate::repository::spec::PointSpec;
use crate::repository::{Damage, PointSummary};

/// A restore that may be done as asked. Print its [`summary`](Self::summary), then `run` it.
pub struct RestorePlan {
    pub(super) point: PointSummary,
    pub(super) wanted: Wanted,
    pub(super) facts: DatabaseFacts,
    pub(super) selection: Selection,
    pub(super) dump: Option<(StreamFacts, Chunks)>,
    pub(super) globals: Option<Globals>,
    pub(super) goal: Goal,
    /// Chunks that are known to be damaged, where that is allowed.
    pub(super) damaged: Vec<Damage>,
    pub(super) warnings: Vec<String>,
    /// What is to be done about roles without a password.
    pub(super) without_password: Option<String>,
}

/// Where it goes.
pub(super) enum Goal {
    /// A new database that is swapped in.
    Beside(Box<Target>),
    /// A database that is there and stays.
    InPlace(Box<Place>),
}

/// A database that is changed in place.
pub(super) struct Place {
    pub(super) conn: ConnInfo,
    pub(super) undo: Undo,
    /// What restores that were killed have left there.
    pub(super) left: Vec<Left>,
}

/// Looks at point and target and decides; changes nothing.
pub async fn plan(means: &Means, spec: &PointSpec, into: &ConnInfo, wanted: Wanted) -> Result<RestorePlan> {
    selection::contradictions(&wanted)?;
    let point = means.repository.resolve(spec).await?;
    point.must_be(crate::repository::manifest::PointKind::Database)?;
    let contents = load(means, &point).await?;
    let Contents { facts, globals, databases } = contents;
    let mut content = choose(databases, wanted.database.as_deref())?;
    let (database, dump) = (content.facts.clone(), content.dump.take());
    refuse_parts_of_a_dump(&wanted, dump.is_some())?;
    let globals = read_globals(means, globals, &wanted).await?;
    let definitions = definitions(means, &content, &facts, &wanted).await?;
    let selection = selection::select(content, definitions, &wanted)?;
    let goal = look_at_target(into, &wanted, &selection, &facts, &database).await?;
    let needs = needs(&facts, &database, &selection, dump.is_some(), globals.as_ref(), &wanted);
    let (missing, without_password) = {
        let session = goal.server(into).await?;
        let hidden = globals.as_ref().filter(|_| facts.passwords_hidden);
        (preflight::missing(session.as_ref(), &needs).await?, without_password(session.as_ref(), hidden).await?)
    };
    preflight::refuse(&missing, Kind::Refused)?;
    let chunks: Vec<&Chunks> = selection.chunks().chain(dump.as_ref().map(|(_, chunks)| chunks)).collect();
    let damaged = listed::damaged(means, &chunks).await?;
    if !wanted.allow_damage || dump.is_some() {
        listed::refuse(&damaged, dump.is_some())?;
    }
    let mut warnings = warnings(&goal, &database, &selection);
    warnings.extend(without_password.clone());
    let facts = database;
    Ok(RestorePlan { point, wanted, facts, selection, dump, globals, goal, damaged, warnings, without_password })
}

/// Roles that are made and cannot log in with a password until they get one, in words.
async fn without_password(server: &Session, globals: Option<&Globals>) -> Result<Option<String>> {
    let Some(globals) = globals else { return Ok(None) };
    let roles = globals.without_password(&globals.lacking(server).await?.roles);
    Ok((!roles.is_empty()).then(|| {
        format!(
            "the backup could not read passwords, so these roles come without one: {}; give each a new one with \
             ALTER ROLE … PASSWORD, or \\password in psql",
            roles.join(", ")
        )
    }))
}

/// Reads what a point holds; the signature is checked before anything in it is believed.
pub(in crate::backup) async fn load(means: &Means, point: &PointSummary) -> Result<Contents> {
    for epoch in &point.epochs {
        means.repository.refuse_wrong_reader(*epoch)?;
    }
    Contents::read(means.repository.load_point(&point.source, point.point()).await?)
}

/// The database that is meant.
pub(in crate::backup) fn choose(mut databases: Vec<Content>, wanted: Option<&str>) -> Result<Content> {
    let names: Vec<String> = databases.iter().map(|content| content.facts.database.clone()).collect();
    let Some(wanted) = wanted else {
        return match (databases.pop(), databases.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(Error::check("reading the point: it holds no database")),
            _ => Err(Error::input(format!("the point holds {} databases: {}", names.len(), names.join(", ")))
                .hint("name one with --database, and restore them one after another")),
        };
    };
    match names.iter().position(|name| name == wanted) {
        Some(place) => Ok(databases.swap_remove(place)),
        None => Err(Error::input(format!("finding database {wanted}: the point has none of that name"))
            .hint(format!("it holds {}", names.join(", ")))),
    }
}

fn refuse_parts_of_a_dump(wanted: &Wanted, is_dump: bool) -> Result<()> {
    let whole = wanted.tables.is_empty() && wanted.part == Part::Whole;
    if !is_dump || whole {
        return Ok(());
    }
    Err(Error::input("the point was taken by the stream engine: it is one dump and is restored as a whole")
        .hint("restore it into a new database, and copy what you need from there"))
}

async fn read_globals(means: &Means, chunks: Option<Chunks>, wanted: &Wanted) -> Result<Option<Globals>> {
    if !wanted.with_globals {
        return Ok(None);
    }
    let chunks = chunks.ok_or_else(|| {
        Error::input("--with-globals: the point holds no roles and tablespaces")
            .hint("they were left out by the backup")
    })?;
    Ok(Some(Globals::read(&whole(means, &chunks).await?)?))
}

/// Everything in some chunks.
pub(in crate::backup) async fn whole(means: &Means, chunks: &Chunks) -> Result<bytes::Bytes> {
    let feed = Feed::new(means.repository.clone(), false);
    feed.whole(Supply::of(&chunks.name, &chunks.ranges).drain()).await
}

/// The definitions, rendered from the archive as asked.
pub(in crate::backup) async fn definitions(
    means: &Means,
    content: &Content,
    facts: &PointFacts,
    wanted: &Wanted,
) -> Result<Definitions> {
    let Some(archive) = &content.archive else { return Ok(Definitions::default()) };
    let major = facts.client_version.split('.').next().and_then(|major| major.parse().ok());
    let tools = means.tools(major.unwrap_or(facts.server_version_num / 10_000))?;
    if let Some(hole) = tools.archive_hole() {
        let hint =
            "the archive is signed by your own backup, so it is read; do not use these tools for archives of others";
        means.progress.warn(hole.to_string(), Some(hint.to_owned()));
    }
    let archive = whole(means, archive).await?;
    let (pre, post) = tokio::try_join!(
        render(&tools, &archive, Section::PreData, &wanted.adjust, &means.cancel),
        render(&tools, &archive, Section::PostData, &wanted.adjust, &means.cancel),
    )?;
    let mut definitions = Definitions::read(&pre, &post)?;
    definitions.map_roles(&wanted.adjust.role_map);
    Ok(definitions)
}

async fn look_at_target(
    into: &ConnInfo,
    wanted: &Wanted,
    selection: &Selection,
    facts: &PointFacts,
    database: &DatabaseFacts,
) -> Result<Goal> {
    let in_place = wanted.existing == Existing::Fill && (wanted.part == Part::Rows || !wanted.tables.is_empty());
    if in_place {
        Box::pin(refuse_pooler(into)).await?;
        let session = Box::pin(connect(into, "restore")).await?;
        in_place::may_note(&session).await?;
        let left = Box::pin(unfinished::find(&session)).await?;
        let undo = match wanted.part {
            Part::Rows => in_place::look_for_tables(&session, &selection.tables, &left).await?,
            _ => in_place::look_for_room(&session, selection, &left).await?,
        };
        let conn = session.conn().clone();
        session.close().await;
        return Ok(Goal::InPlace(Box::new(Place { conn, undo, left })));
    }
    let mode = match &wanted.existing {
        Existing::Fill => {
            refuse_source(into, facts, database).await?;
            Mode::Empty
        }
        Existing::Create => Mode::Create,
        Existing::Replace(named) => Mode::Replace { named: named.clone() },
    };
    Ok(Goal::Beside(Box::new(Target::plan(into, mode).await?)))
}

/// A backup must not be poured over its own source.
async fn refuse_source(into: &ConnInfo, facts: &PointFacts, database: &DatabaseFacts) -> Result<()> {
    // Where there is no such database it is no source; why it cannot be reached is said by the look at the target.
    let Ok(session) = Box::pin(connect(into, "restore")).await else { return Ok(()) };
    let identity = catalog::identity(&session).await?;
    session.close().await;
    if identity.system_identifier != facts.system_identifier || identity.database_oid != database.oid {
        return Ok(());
    }
    let name = into.database();
    Err(Error::refused(format!("the target, database {name}, is the source of this point itself"))
        .hint(format!("restore beside it with --create and another name, or replace it with --replace {name}")))
}

fn needs(
    facts: &PointFacts,
    database: &DatabaseFacts,
    selection: &Selection,
    is_dump: bool,
    globals: Option<&Globals>,
    wanted: &Wanted,
) -> preflight::Needs {
    let mut needs = preflight::Needs { major: facts.server_version_num / 10_000, ..preflight::Needs::default() };
    needs.heap_bytes = selection.tables.iter().map(|table| table.heap_bytes).sum();
    if wanted.part == Part::Rows {
        return needs;
    }
    let new_database = wanted.tables.is_empty() || wanted.existing != Existing::Fill;
    needs.roles = selection.definitions.roles();
    needs.tablespaces = selection.definitions.tablespaces();
    let made = selection.definitions.extensions();
    needs.extensions =
        database.extensions.iter().filter(|extension| is_dump || made.contains(&extension.name)).cloned().collect();
    // Which of its roles own and which are only granted something, a dump does not say before it is played.
    if is_dump && !wanted.adjust.no_owner && !wanted.adjust.no_privileges {
        let map = &wanted.adjust.role_map;
        needs.roles.extend(database.roles.iter().map(|role| map.get(role).unwrap_or(role).clone()));
    }
    if new_database {
        let statements = alike::finishing(database, wanted);
        needs.roles.extend(statements.iter().flat_map(|statement| named_roles(statement)));
        let shape = alike::shape(database, wanted);
        needs.roles.extend(shape.owner);
        needs.tablespaces.extend(shape.tablespace);
    }
    if let Some(globals) = globals {
        needs.roles = &needs.roles - &globals.roles();
        needs.tablespaces = &needs.tablespaces - &globals.tablespaces();
    }
    needs
}

fn warnings(goal: &Goal, database: &DatabaseFacts, selection: &Selection) -> Vec<String> {
    let mut warnings: Vec<String> =
        database.not_included.iter().map(|what| format!("not in the backup: {what}")).collect();
    warnings.extend(database.left_out.iter().map(|left| {
        let what = if left.rows_only { "rows of " } else { "" };
        format!("left out of the backup: {what}{}", left.table)
    }));
    warnings.extend(selection.left_out.iter().map(|what| format!("not brought back: {what}")));
    match goal {
        Goal::Beside(target) => {
            let sessions = target.standing().map_or(0, |standing| standing.sessions);
            if sessions > 0 {
                warnings.push(format!("{sessions} sessions of database {} will be ended", target.name()));
            }
        }
        Goal::InPlace(place) => {
            let tables = place.undo.tables();
            let unsettled = place.left.iter().filter(|left| !left.is_settled_by(&tables));
            warnings.extend(unsettled.map(Left::warning));
        }
    }
    warnings
}

/// A session on the target's server, borrowed or opened.
pub(super) enum OnServer<'a> {
    Borrowed(&'a Session),
    Own(Box<Session>),
}

impl AsRef<Session> for OnServer<'_> {
    fn as_ref(&self) -> &Session {
        match self {
            Self::Borrowed(session) => session,
            Self::Own(session) => session,
        }
    }
}

impl Goal {
    /// A session on the target's server.
    pub(super) async fn server(&self, into: &ConnInfo) -> Result<OnServer<'_>> {
        Ok(match self {
            Self::Beside(target) => OnServer::Borrowed(target.server()),
            Self::InPlace(_) => OnServer::Own(Box::new(Box::pin(connect(into, "restore")).await?)),
        })
    }
}
