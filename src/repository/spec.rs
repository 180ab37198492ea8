//! How a user names a point: by its id, or as `SOURCE@latest`, `SOURCE@latest-verified`, `SOURCE@<time>`.

use super::{PointSummary, Repository, Unread};
use crate::error::{Error, Result};
use crate::id::{PointId, SourceName};
use jiff::Timestamp;
use std::fmt;
use std::str::FromStr;

/// A point as its user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PointSpec {
    /// This one.
    Id(PointId),
    /// The newest of a source.
    Latest(SourceName),
    /// The newest of a source that was restored and compared.
    LatestVerified(SourceName),
    /// The newest of a source at or before this instant.
    At(SourceName, Timestamp),
}

impl FromStr for PointSpec {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let Some((source, which)) = text.rsplit_once('@') else {
            let id = text.parse::<PointId>().map_err(|_| {
                Error::input(format!("reading {text:?} as a recovery point")).hint(
                    "a point is an id such as 20261120T010000Z-k3f9ab, or SOURCE@latest, SOURCE@latest-verified, SOURCE@2026-11-20T01:00:00Z",
                )
            })?;
            return Ok(Self::Id(id));
        };
        let source: SourceName = source.parse()?;
        match which {
            "latest" => Ok(Self::Latest(source)),
            "latest-verified" => Ok(Self::LatestVerified(source)),
            time => match time.parse::<Timestamp>() {
                Ok(time) => Ok(Self::At(source, time)),
                // The parser's own words are about digits and designators; the hint shows what is wanted.
                Err(_) => Err(Error::input(format!("reading {time:?} as a time")).hint(
                    "after SOURCE@ comes latest, latest-verified, or a time with its zone such as 2026-11-20T01:00:00Z",
                )),
            },
        }
    }
}

impl fmt::Display for PointSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Latest(source) => write!(f, "{source}@latest"),
            Self::LatestVerified(source) => write!(f, "{source}@latest-verified"),
            Self::At(source, time) => write!(f, "{source}@{time}"),
        }
    }
}

impl Repository {
    /// Finds the point that is meant.
    pub async fn resolve(&self, spec: &PointSpec) -> Result<PointSummary> {
        let (source, wanted): (&SourceName, &dyn Fn(&PointSummary) -> bool) = match spec {
            PointSpec::Id(id) => return self.resolve_id(id).await,
            PointSpec::Latest(source) => (source, &|_| true),
            PointSpec::LatestVerified(source) => (source, &PointSummary::is_proven),
            PointSpec::At(source, time) => (source, &|point| point.snapshot_time <= *time),
        };
        let (points, unread) = self.points_and_unread(Some(source)).await?;
        let found = points.iter().find(|point| wanted(point));
        // Whoever asks for the newest must not be given an older one in silence.
        let newer = |one: &&Unread| match (found, spec) {
            (_, PointSpec::At(_, time)) if one.is_after(*time) => false,
            (Some(found), _) => one.follows(found),
            // None of the others was proven; that an older one may have been is no reason to look at it first.
            (None, PointSpec::LatestVerified(_)) => points.first().is_none_or(|newest| one.follows(newest)),
            (None, _) => true,
        };
        if let Some(newer) = unread.iter().filter(newer).max_by_key(|one| one.sequence) {
            let readable = match spec {
                PointSpec::LatestVerified(_) => found.or(points.first()),
                _ => found,
            };
            return Err(newer.newer(&format!("finding {spec}"), readable.map(PointSummary::point)));
        }
        if points.is_empty() && unread.is_empty() {
            return Err(self.unknown_source(source).await?);
        }
        points.into_iter().find(|point| wanted(point)).ok_or_else(|| {
            let error = Error::input(format!("finding {spec}: {source} has points, but none like that"));
            match spec {
                PointSpec::LatestVerified(_) => {
                    error.hint(format!("davit verify {source}@latest --depth restored proves the newest one"))
                }
                _ => error.hint(format!("davit points {source} lists what there is")),
            }
        })
    }

    async fn resolve_id(&self, id: &PointId) -> Result<PointSummary> {
        // A source that was rolled back or taken away hides no point of another one.
        let (points, unread, refusals) = self.points_of_each().await?;
        let found = points.into_iter().find(|point| point.link.point == *id);
        let found = found.ok_or_else(|| {
            let unread = unread.iter().flat_map(|(_, unread)| unread).find(|one| one.point == *id);
            match (unread, refusals.first()) {
                (Some(one), _) => one.is_meant(),
                (None, Some(refusal)) => {
                    refusal.error().during(format!("finding point {id}, which no other source has"))
                }
                (None, None) => Error::input(format!("finding point {id}: the repository has none of that id"))
                    .hint("davit points lists what there is"),
            }
        })?;
        self.meet_witness(&found.source)?;
        Ok(found)
    }

    /// That a source has no points, with the name that may be meant.
    pub async fn unknown_source(&self, source: &SourceName) -> Result<Error> {
        let mut sources = self.sources().await?;
        sources.retain(|known| known != source);
        sources.sort_by_cached_key(|known| strsim::damerau_levenshtein(known.as_str(), source.as_str()));
        let error = Error::input(format!("finding points of {source}: there are none"));
        let Some(nearest) = sources.first() else {
            return Ok(
                error.hint("davit backup makes the first one of a database, davit snapshot create of a namespace")
            );
        };
        // A third of the letters may be wrong; more than that is another name.
        let wrong = strsim::damerau_levenshtein(nearest.as_str(), source.as_str());
        if wrong <= nearest.as_str().chars().count().max(3) / 3 {
            return Ok(error.hint(format!("did you mean {nearest}?")));
        }
        let names: Vec<&str> = sources.iter().take(10).map(SourceName::as_str).collect();
        Ok(error.hint(format!("there are points of {}", names.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_and_prints_back() {
        for text in ["20261120T010000Z-k3f9ab", "shop@latest", "shop@latest-verified", "shop@2026-11-20T01:00:00Z"] {
            assert_eq!(text.parse::<PointSpec>().unwrap().to_string(), text);
        }
        let zoned = "shop@2026-11-20T02:00:00+01:00".parse::<PointSpec>().unwrap();
        assert_eq!(zoned, "shop@2026-11-20T01:00:00Z".parse().unwrap());
    }

    #[test]
    fn what_names_no_point_is_bad_input_with_the_grammar_as_hint() {
        for text in ["", "latest", "shop@", "shop@yesterday", "shop@2026-11-20T01:00:00", "@latest", "../x@latest"] {
            let error = text.parse::<PointSpec>().unwrap_err();
            assert_eq!(error.kind().exit_code(), 2, "{text}");
            assert!(error.hint_text().is_some(), "{text}");
        }
    }
}
