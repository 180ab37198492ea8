//! A source as a run finds it: what its head, its points' folders and its catalogue say together.

use super::catalogue::{Catalogue, Entry};
use super::chain::{Commit, HeadState, Link, PointFolder};
use super::{Repository, SIDE_BY_SIDE};
use crate::error::Result;
use crate::id::{PointId, SourceName};
use futures_util::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;

/// A source as a run finds it.
pub(super) struct Survey {
    pub(super) head: HeadState,
    pub(super) folders: BTreeMap<PointId, PointFolder>,
    pub(super) catalogue: Catalogue,
    /// Committed points that the catalogue does not know yet.
    pub(super) uncatalogued: Vec<Link>,
    /// The newest point: the head, or a signed one above it.
    pub(super) newest: Option<Link>,
}

impl Repository {
    /// Looks at a source: head, folders, catalogue, and committed points that the catalogue does not know.
    pub(super) async fn survey(&self, source: &SourceName) -> Result<Survey> {
        let (head, folders, catalogue) =
            futures_util::try_join!(self.head(source), self.point_folders(source), self.catalogue(source))?;
        let unknown: Vec<PointId> = folders
            .iter()
            .filter(|(point, folder)| folder.signature && !catalogue.knows(point))
            .map(|(point, _)| point.clone())
            .collect();
        let commits: Vec<Commit> = futures_util::stream::iter(unknown)
            .map(|point| async move { self.commit_of(source, &point).await })
            .buffered(SIDE_BY_SIDE)
            .try_collect()
            .await?;
        let uncatalogued: Vec<Link> = commits
            .into_iter()
            .filter_map(|commit| if let Commit::Signed(link) = commit { Some(link) } else { None })
            .collect();
        let newest = newest_of(&head, &catalogue, &uncatalogued);
        self.meet_newest(source, newest.as_ref().map_or(0, |link| link.sequence))?;
        Ok(Survey { head, folders, catalogue, uncatalogued, newest })
    }

    /// Puts points into the catalogue whose runs died between their signature and the catalogue. What fails here is
    /// tried again by the next run, and `points` reads the points themselves meanwhile.
    pub(super) async fn catalogue_strays(&self, source: &SourceName, survey: &mut Survey) {
        let mut entries = Vec::new();
        for link in &survey.uncatalogued {
            match self.summarise(source, &link.point).await {
                Ok(Some(summary)) => {
                    survey.catalogue.points.insert(link.point.clone(), summary.clone());
                    entries.push(Entry::Point(Box::new(summary)));
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%source, point = %link.point, %error, "a point cannot be listed"),
            }
        }
        if entries.is_empty() && survey.catalogue.damaged.is_empty() {
            return;
        }
        if let Err(error) = self.append_to_catalogue(source, entries).await {
            tracing::warn!(%source, %error, "the catalogue was not mended");
        }
    }
}

/// The newest point: the head, or a signed one above it.
fn newest_of(head: &HeadState, catalogue: &Catalogue, uncatalogued: &[Link]) -> Option<Link> {
    let head = match head {
        HeadState::Signed(head, _) => Some(Link {
            point: head.point.clone(),
            sequence: head.sequence,
            previous: None,
            manifest_sha256: head.manifest_sha256,
        }),
        HeadState::Absent | HeadState::Damaged(..) => None,
    };
    let known = head.into_iter().chain(catalogue.newest_link()).chain(uncatalogued.iter().cloned());
    known.max_by_key(|link| link.sequence)
}
