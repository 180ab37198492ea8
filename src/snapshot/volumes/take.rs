//! Saving the files of a namespace's volumes, one volume after another.

use super::claims::{Claim, Use};
use super::pod::{MOUNT, Mount, Mover, Open, Spec};
use super::users::{Terms, once};
use super::{Account, VolumeFacts, Volumes, cut};
use crate::clock::SharedClock;
use crate::cluster::{Cluster, ExecOutcome};
use crate::error::{Error, Result};
use crate::humane::counted;
use crate::repository::PointWriter;
use crate::repository::manifest::{Chunk, ObjectLine, Range};
use crate::rowsum::RowSum;
use crate::snapshot::facts::{Missing, kind as line};
use crate::snapshot::mover::Moved;
use serde_json::Value;

/// What the pipe between the mover and the chunks holds.
const PIPE: usize = 1 << 20;
/// Chunks in one line of the manifest.
const RANGE: usize = 64;

/// What saving volumes gave.
#[derive(Debug, Default)]
pub(in crate::snapshot) struct Taken {
    pub(in crate::snapshot) volumes: Vec<VolumeFacts>,
    pub(in crate::snapshot) missing: Vec<Missing>,
    pub(in crate::snapshot) notes: Vec<String>,
}

/// What is saved of which cluster, and into what.
pub(in crate::snapshot) struct Means<'a> {
    pub(in crate::snapshot) cluster: &'a Cluster,
    pub(in crate::snapshot) clock: &'a SharedClock,
    pub(in crate::snapshot) namespace: &'a str,
    pub(in crate::snapshot) writer: &'a PointWriter,
    pub(in crate::snapshot) open: &'a Open,
}

/// Saves the volumes of these claims. One that cannot be read is in what is given back; an error ends the run.
pub(in crate::snapshot) async fn take(
    means: &Means<'_>,
    how: &Volumes,
    claims: &[Claim],
    mut number: impl FnMut() -> u32,
) -> Result<Taken> {
    let mut taken = Taken::default();
    let Volumes::Files { image, pull_secrets: named } = how else { return Ok(taken) };
    for claim in claims {
        let what = format!("volume of claim {}", claim.name);
        match &claim.of {
            Use::LeftOut(why) => taken.notes.push(format!("{what} left out: {why}")),
            Use::Cannot(why) => taken.missing.push(Missing { what, why: why.clone() }),
            Use::Read { node, account, writers, tolerations, pull_secrets } => {
                let spec = Spec {
                    namespace: means.namespace,
                    mounts: vec![Mount { claim: &claim.name, account }],
                    beside: &[],
                    image,
                    node: node.as_deref(),
                    terms: &Terms { tolerations: tolerations.clone(), ..Terms::default() },
                    pull_secrets: once(named.iter().chain(pull_secrets).cloned().collect()),
                    read_only: true,
                    run: means.writer.run().as_str(),
                };
                match one(means, &spec).await? {
                    Ok((chunks, moved)) => {
                        taken.notes.extend(words(&what, writers, &moved));
                        if moved.failed > 0 {
                            taken.missing.push(Missing { what, why: unread(&moved) });
                        }
                        let facts = facts(claim, (image, named), account, writers, moved);
                        write(means.writer, number(), &facts, chunks).await?;
                        taken.volumes.push(facts);
                    }
                    Err(why) => taken.missing.push(Missing { what, why }),
                }
            }
        }
    }
    Ok(taken)
}

fn facts(
    claim: &Claim,
    (image, pull_secrets): (&str, &[String]),
    account: &Account,
    writers: &[String],
    moved: Moved,
) -> VolumeFacts {
    VolumeFacts {
        claim: claim.name.clone(),
        claim_uid: claim.uid.clone(),
        image: image.to_owned(),
        image_pull_secrets: pull_secrets.to_vec(),
        account: account.clone(),
        writers: writers.to_vec(),
        moved,
    }
}

fn unread(moved: &Moved) -> String {
    format!("{} of its files could not be read: {}", moved.failed, moved.examples.join("; "))
}

fn words(what: &str, writers: &[String], moved: &Moved) -> Option<String> {
    match (writers, moved.changed) {
        ([], 0) => None,
        ([], changed) => Some(format!("{what}: {} changed while it was read", counted(changed, "file"))),
        (writers, changed) => Some(format!(
            "{what}: {} could write while it was read, so it is as after a crash ({} seen to change)",
            writers.join(", "),
            counted(changed, "file")
        )),
    }
}

/// The files of one volume; the inner error is why they could not be had, the outer one ends the run.
async fn one(means: &Means<'_>, spec: &Spec<'_>) -> Result<Result<(Vec<Chunk>, Moved), String>> {
    let pod = match Mover::start(means.cluster, means.clock, spec, means.open).await {
        Ok(pod) => pod,
        Err(why) => return Ok(Err(why)),
    };
    let (mut entry, exit) = tokio::io::duplex(PIPE);
    let command = ["davit", "mover", "save", MOUNT].map(str::to_owned);
    let run = async {
        let outcome = pod.run(0, &command, None, &mut entry).await;
        // The end of the pipe is the end of the stream.
        drop(entry);
        outcome
    };
    let (outcome, chunks) = futures_util::join!(run, cut::store(exit, means.writer));
    let taken_away = pod.remove().await;
    // A store that failed broke the pipe; that is the cause, and not what the mover said of it.
    let chunks = chunks?;
    let moved = outcome.map_err(|why| format!("its mover: {why}")).and_then(|outcome| report(&outcome));
    Ok(moved.and_then(|moved| taken_away.map(|()| (chunks, moved))))
}

/// What a mover did, if it came to its end.
pub(super) fn report(outcome: &ExecOutcome) -> Result<Moved, String> {
    match Moved::find(&outcome.stderr) {
        Some(moved) if outcome.is_success() => Ok(moved),
        _ => {
            let said = outcome.stderr.lines().find_map(|line| line.split_once("error: "));
            Err(said.map_or_else(|| format!("its mover: {outcome}"), |(_, said)| said.to_owned()))
        }
    }
}

async fn write(writer: &PointWriter, number: u32, facts: &VolumeFacts, chunks: Vec<Chunk>) -> Result<()> {
    let mut ranges = 0;
    let bytes = chunks.iter().map(|chunk| chunk.bytes).sum();
    for part in chunks.chunks(RANGE) {
        writer.add_range(Range { object: number, range: ranges, pages: None, chunks: part.to_vec() }).await?;
        ranges += 1;
    }
    let details: Value =
        serde_json::to_value(facts).map_err(|why| Error::failed("describing a volume").because(why))?;
    let object = ObjectLine {
        object: number,
        kind: line::VOLUME.to_owned(),
        name: facts.claim.clone(),
        rows: RowSum::default(),
        bytes,
        ranges,
        chunks: chunks.len() as u64,
        details,
    };
    writer.add_object(object).await
}

#[cfg(test)]
mod tests {
    use super::{Moved, words};

    #[test]
    fn nobody_is_said_to_have_written_who_only_could() {
        let told = |writers: &[&str], changed| {
            let writers: Vec<String> = writers.iter().map(|one| (*one).to_owned()).collect();
            words("it", &writers, &Moved { changed, ..Moved::default() })
        };
        assert_eq!(told(&[], 0), None);
        assert_eq!(told(&[], 1).unwrap(), "it: 1 file changed while it was read");
        assert_eq!(
            told(&["keeper-0"], 0).unwrap(),
            "it: keeper-0 could write while it was read, so it is as after a crash (0 files seen to change)"
        );
    }
}
