//! The two files libpq reads beside a connection text: the service file and the password file.

use super::parameters;
use super::syntax::Pairs;
use crate::error::{Error, Result};
use crate::secret::Secret;
use std::path::{Path, PathBuf};

/// The parameters of one service, from the first of `files` that has it.
pub(super) fn service(name: &str, files: &[PathBuf]) -> Result<Pairs> {
    let mut seen = Vec::new();
    for file in files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(Error::input(format!("reading the service file {}", file.display())).because(error));
            }
        };
        let sections = sections(&text, file)?;
        if let Some((_, pairs)) = sections.iter().find(|(section, _)| section == name) {
            return Ok(pairs.clone());
        }
        seen.extend(sections.into_iter().map(|(section, _)| section));
    }
    let looked = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    let error = Error::input(format!("reading the database connection: no service {name} in {looked}"));
    Err(match parameters::nearest(name, seen.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean service={near}?")),
        None => error
            .hint("a service file has [name] lines, each followed by key=value lines; PGSERVICEFILE names the file"),
    })
}

fn sections(text: &str, file: &Path) -> Result<Vec<(String, Pairs)>> {
    let mut sections: Vec<(String, Pairs)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let at = || format!("reading the service file {}, line {}", file.display(), number + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.push((name.to_owned(), Pairs::new()));
            continue;
        }
        let Some((_, pairs)) = sections.last_mut() else {
            return Err(Error::input(format!("{}: a setting stands before the first [service]", at())));
        };
        let (key, value) =
            line.split_once('=').ok_or_else(|| Error::input(format!("{}: this is not key=value", at())))?;
        if key == "service" || key == "servicefile" {
            return Err(Error::input(format!("{}: a service cannot name another service", at())));
        }
        parameters::known(key).map_err(|error| error.during(at()))?;
        pairs.push((key.to_owned(), value.to_owned()));
    }
    Ok(sections)
}

/// What a password file had to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PassFile {
    /// There is none.
    Absent,
    /// It was not read, and why; as in libpq this is no error until a password is asked for.
    Ignored(String),
    /// Its text.
    Read(Secret),
}

impl PassFile {
    /// Reads a password file, unless others could read it, too.
    pub(super) fn read(path: &Path) -> Self {
        let Ok(metadata) = std::fs::metadata(path) else {
            return Self::Absent;
        };
        if !metadata.is_file() {
            return Self::Ignored(format!("{} is not a plain file", path.display()));
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            return Self::Ignored(format!(
                "{} can be read by others (mode {mode:04o}): chmod 0600 {}",
                path.display(),
                path.display()
            ));
        }
        match std::fs::read_to_string(path) {
            Ok(text) => Self::Read(Secret::new(text)),
            Err(error) => Self::Ignored(format!("{}: {error}", path.display())),
        }
    }

    /// The password of the first line that fits; `hosts` are the names one server may be listed under.
    pub(super) fn password(&self, hosts: &[&str], port: u16, database: &str, user: &str) -> Option<Secret> {
        let Self::Read(text) = self else {
            return None;
        };
        let port = port.to_string();
        text.reveal().lines().filter(|line| !line.starts_with('#')).find_map(|line| {
            let fields = fields(line);
            let [host, line_port, line_database, line_user, password] = fields.as_slice() else {
                return None;
            };
            let fits = |field: &Field, wanted: &str| field.any || field.text == wanted;
            let matches = (host.any || hosts.contains(&host.text.as_str()))
                && fits(line_port, &port)
                && fits(line_database, database)
                && fits(line_user, user);
            (matches && !password.text.is_empty()).then(|| Secret::new(password.text.clone()))
        })
    }
}

struct Field {
    text: String,
    /// A bare `*`.
    any: bool,
}

/// The five fields of a line; a backslash makes a colon or a backslash plain, and the password takes the rest.
fn fields(line: &str) -> Vec<Field> {
    let mut fields = Vec::new();
    let (mut text, mut escaped) = (String::new(), false);
    let mut chars = line.trim_end_matches('\r').chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                escaped = true;
                text.extend(chars.next());
            }
            ':' if fields.len() < 4 => {
                fields.push(Field { any: text == "*" && !escaped, text: std::mem::take(&mut text) });
                escaped = false;
            }
            c => text.push(c),
        }
    }
    fields.push(Field { text, any: false });
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn the_first_line_that_fits_gives_the_password() {
        let file = file("# comment\ndb:5432:shop:me:no\\:1\n*:*:*:me:any:thing\ndb:5432:shop:me:late\n", 0o600);
        let passfile = PassFile::read(file.path());
        let find = |host: &str, user| passfile.password(&[host], 5432, "shop", user).map(|p| p.reveal().to_owned());
        assert_eq!(find("db", "me").as_deref(), Some("no:1"));
        assert_eq!(find("other", "me").as_deref(), Some("any:thing"));
        assert_eq!(find("db", "you"), None);
    }

    #[test]
    fn a_password_file_that_others_can_read_is_ignored_with_the_reason() {
        let file = file("*:*:*:*:x\n", 0o640);
        let PassFile::Ignored(why) = PassFile::read(file.path()) else { panic!("it was read") };
        assert!(why.contains("mode 0640") && why.contains("chmod 0600"), "{why}");
        assert_eq!(PassFile::read(Path::new("/nonexistent/pgpass")), PassFile::Absent);
    }

    #[test]
    fn services_are_found_by_name_and_missed_ones_suggested() {
        let file = file("# all\n[shop]\nhost=db\nport=6\n\n[stock]\nhost=other\n", 0o644);
        let files = [PathBuf::from("/nonexistent/service"), file.path().to_owned()];
        assert_eq!(service("shop", &files).unwrap(), [("host".into(), "db".into()), ("port".into(), "6".into())]);
        let error = service("shopp", &files).unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean service=shop?"));
    }

    #[test]
    fn a_misspelt_key_in_a_service_is_found_with_its_line() {
        let file = file("[shop]\nhots=db\n", 0o644);
        let error = service("shop", &[file.path().to_owned()]).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        assert_eq!(error.hint_text(), Some("did you mean host?"));
    }
}
