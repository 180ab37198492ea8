//! Versions of PostgreSQL's programs, and the one hole that decides whether an archive may be given to them.

use std::fmt;

/// Major and minor, such as 15.20.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The major version.
    pub major: u32,
    /// The patch level; 0 for betas.
    pub minor: u32,
}

impl Version {
    /// Reads `pg_dump (PostgreSQL) 15.20 (Debian …)`, `18beta1`, `9.6.24`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split_once("(PostgreSQL)").map_or(text, |(_, rest)| rest);
        let word = text.split_whitespace().next()?;
        let mut parts = word.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
        let major = parts.next()?.parse().ok()?;
        // `18beta1` has no minor; the number after the letters is the beta's.
        let released = word.chars().all(|c| c.is_ascii_digit() || c == '.');
        let minor = if released { parts.next().and_then(|part| part.parse().ok()).unwrap_or(0) } else { 0 };
        Some(Self { major, minor })
    }

    /// From `server_version_num`, such as 150020.
    pub fn of_server(version_num: u32) -> Self {
        Self { major: version_num / 10_000, minor: version_num % 10_000 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A known hole: an archive that is not plain text can run code as whoever runs `pg_restore`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveHole {
    /// Its name.
    pub cve: &'static str,
    /// What is installed.
    pub installed: Version,
    /// The first version without it; `None` for a major that gets no fixes any more.
    pub fixed: Option<Version>,
}

impl fmt::Display for ArchiveHole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pg_restore {} can be made to run code by a crafted archive ({})", self.installed, self.cve)?;
        match self.fixed {
            Some(fixed) => write!(f, ", fixed in {fixed}"),
            None => write!(f, ", and version {} gets no fixes any more", self.installed.major),
        }
    }
}

/// The releases of November 2026 that closed it.
const FIXED: [Version; 5] = [
    Version { major: 14, minor: 25 },
    Version { major: 15, minor: 20 },
    Version { major: 16, minor: 16 },
    Version { major: 17, minor: 12 },
    Version { major: 18, minor: 7 },
];

pub(super) fn archive_hole(installed: Version) -> Option<ArchiveHole> {
    let fixed = FIXED.into_iter().find(|fixed| fixed.major == installed.major);
    let open = match fixed {
        Some(fixed) => installed < fixed,
        None => installed.major < FIXED[0].major,
    };
    open.then_some(ArchiveHole { cve: "CVE-2026-116314", installed, fixed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_programs_print() {
        let read = |text| Version::parse(text).unwrap().to_string();
        assert_eq!(read("pg_restore (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"), "15.20");
        assert_eq!(read("postgres (PostgreSQL) 18beta1"), "18.0");
        assert_eq!(read("pg_dump (PostgreSQL) 19devel"), "19.0");
        assert_eq!(read("16.14"), "16.14");
        assert_eq!(Version::parse("pg_dump: not found"), None);
        assert_eq!(Version::of_server(150_020).to_string(), "15.20");
    }

    #[test]
    fn the_hole_is_open_before_the_fixed_minor_of_each_major() {
        for fixed in FIXED {
            assert_eq!(archive_hole(fixed), None);
            let before = Version { minor: fixed.minor - 1, ..fixed };
            assert_eq!(archive_hole(before).unwrap().fixed, Some(fixed));
        }
        assert_eq!(archive_hole(Version { major: 13, minor: 99 }).unwrap().fixed, None);
        assert_eq!(archive_hole(Version { major: 19, minor: 0 }), None);
    }
}
