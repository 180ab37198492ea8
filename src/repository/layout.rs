//! Where each object of a repository lies; the only place that spells names.

use super::manifest::Chunk;
use crate::id::{ChunkId, Nonce, PointId, RunId, SourceName};
use crate::store::ObjectKey;

/// The charter: format, keys, settings.
pub fn charter() -> ObjectKey {
    ObjectKey::of("davit.json".to_owned())
}

/// The object a manifest's chunk line names.
pub fn chunk(chunk: &Chunk) -> ObjectKey {
    sealed_chunk(&chunk.id, &chunk.nonce)
}

/// The object of one sealing of a chunk.
pub fn sealed_chunk(id: &ChunkId, nonce: &Nonce) -> ObjectKey {
    ObjectKey::of(format!("{}{nonce}", sealings(id)))
}

/// The text all sealings of a chunk begin with.
pub fn sealings(id: &ChunkId) -> String {
    format!("chunks/{:02x}/{id}-", id.0[0])
}

/// Reads a chunk's name back; `None` if it is not one.
pub fn parse_chunk(key: &str) -> Option<(ChunkId, Nonce)> {
    let name = key.strip_prefix("chunks/")?.get(3..)?;
    let (id, nonce) = name.split_once('-')?;
    let parsed: (ChunkId, Nonce) = (id.parse().ok()?, nonce.parse().ok()?);
    (sealed_chunk(&parsed.0, &parsed.1).as_str() == key).then_some(parsed)
}

/// The folder of a source's points, with the `/`.
pub fn points(source: &SourceName) -> String {
    format!("points/{source}/")
}

/// What a run of `retain` took away of a source.
pub fn tombstones(source: &SourceName, run: &RunId) -> ObjectKey {
    ObjectKey::of(format!("tombstones/{source}/{run}"))
}

fn of_point(source: &SourceName, point: &PointId, name: &str) -> ObjectKey {
    ObjectKey::of(format!("points/{source}/{point}/{name}"))
}

/// A run has begun.
pub fn intent(source: &SourceName, point: &PointId) -> ObjectKey {
    of_point(source, point, "intent")
}

/// The manifest.
pub fn manifest(source: &SourceName, point: &PointId) -> ObjectKey {
    of_point(source, point, "manifest")
}

/// Its signature: the commit.
pub fn signature(source: &SourceName, point: &PointId) -> ObjectKey {
    of_point(source, point, "manifest.sig")
}

/// Evidence of one verification.
pub fn evidence(source: &SourceName, point: &PointId, run: &RunId) -> ObjectKey {
    of_point(source, point, &format!("verified/{run}"))
}

/// The newest sequence number and manifest hash of a source.
pub fn head(source: &SourceName) -> ObjectKey {
    ObjectKey::of(format!("heads/{source}"))
}

/// The folder of a source's catalogue, with the `/`.
pub fn catalogue(source: &SourceName) -> String {
    format!("catalog/{source}/")
}

/// One batch of a source's catalogue.
pub fn catalogue_batch(source: &SourceName, number: u64, full: bool) -> ObjectKey {
    let suffix = if full { ".full" } else { "" };
    ObjectKey::of(format!("catalog/{source}/{number:010}{suffix}"))
}

/// Reads a batch's name back: its number, and whether it replaces all before it.
pub fn parse_catalogue_batch(name: &str) -> Option<(u64, bool)> {
    let name = name.rsplit('/').next()?;
    let (digits, full) = match name.strip_suffix(".full") {
        Some(digits) => (digits, true),
        None => (name, false),
    };
    (digits.len() == 10).then_some(())?;
    Some((digits.parse().ok()?, full))
}

/// The folder of all journals, with the `/`.
pub const JOURNALS: &str = "journals/";

/// The folder of a run's event batches, with the `/`.
pub fn journal(run: &RunId) -> String {
    format!("{JOURNALS}{run}/")
}

/// One batch of a run's events.
pub fn journal_batch(run: &RunId, number: u64) -> ObjectKey {
    ObjectKey::of(format!("{}{number:06}", journal(run)))
}

/// Reads the name of a batch of events back: its run and its number.
pub fn parse_journal_batch(name: &str) -> Option<(RunId, u64)> {
    let (run, number) = name.strip_prefix(JOURNALS)?.split_once('/')?;
    let digits = number.len() == 6 && number.bytes().all(|digit| digit.is_ascii_digit());
    Some((run.parse().ok()?, Some(number).filter(|_| digits)?.parse().ok()?))
}

/// One batch of what a run has stored.
pub fn stored_batch(run: &RunId, number: u64) -> ObjectKey {
    ObjectKey::of(format!("{}{number:06}", stored_batches(run)))
}

/// The text all batches of what a run has stored begin with.
pub fn stored_batches(run: &RunId) -> String {
    format!("{}stored-", journal(run))
}

/// What one fault of a run needs to be undone.
pub fn fault_intent(run: &RunId, number: u32) -> ObjectKey {
    ObjectKey::of(format!("{}{number:04}", fault_intents_of(run)))
}

/// That it was undone, and what was seen then.
pub fn fault_undone(run: &RunId, number: u32) -> ObjectKey {
    ObjectKey::of(format!("{}{number:04}.undone", fault_intents_of(run)))
}

/// Somebody asks a run's faults to end.
pub fn fault_stop(run: &RunId) -> ObjectKey {
    ObjectKey::of(format!("{}stop", fault_intents_of(run)))
}

/// Somebody noticed a run's faults, or it is too late for that.
pub fn fault_ack(run: &RunId) -> ObjectKey {
    ObjectKey::of(format!("{}ack", fault_intents_of(run)))
}

/// The folder of a run's intents, with the `/`.
pub fn fault_intents_of(run: &RunId) -> String {
    format!("intents/{run}/")
}

/// The folder of all reports, with the `/`.
pub const REPORTS: &str = "reports/";

/// The report of one drill.
pub fn report(month: &str, run: &RunId) -> ObjectKey {
    ObjectKey::of(format!("{REPORTS}{month}/{run}"))
}

/// A pin on a point.
pub fn hold(point: &PointId) -> ObjectKey {
    ObjectKey::of(format!("holds/{point}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunks_name_reads_back_and_a_strangers_does_not() {
        let (id, nonce) = (ChunkId([7; 32]), Nonce([9; 8]));
        let key = sealed_chunk(&id, &nonce);
        assert_eq!(parse_chunk(key.as_str()), Some((id, nonce)));
        let misplaced = key.as_str().replace("chunks/07", "chunks/08");
        for name in ["chunks/07/x", "chunks/", "davit.json", "chunks/é/é", misplaced.as_str()] {
            assert_eq!(parse_chunk(name), None, "{name}");
        }
    }

    #[test]
    fn a_batch_of_events_reads_back_and_one_of_chunks_does_not() {
        let run = RunId::at(jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(parse_journal_batch(journal_batch(&run, 7).as_str()), Some((run.clone(), 7)));
        for name in [stored_batch(&run, 7).as_str(), "journals/x/000007", "journals/000007", "davit.json"] {
            assert_eq!(parse_journal_batch(name), None, "{name}");
        }
    }

    #[test]
    fn a_catalogue_batch_tells_its_number_and_whether_it_is_whole() {
        let source: SourceName = "shop".parse().unwrap();
        for full in [false, true] {
            let key = catalogue_batch(&source, 42, full);
            assert_eq!(parse_catalogue_batch(key.as_str()), Some((42, full)));
        }
        assert_eq!(parse_catalogue_batch("catalog/shop/42"), None);
    }
}
