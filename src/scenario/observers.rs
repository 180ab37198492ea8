//! Who observes a drill besides the machine that runs it, and from where.

use super::settle::line;
use crate::secret::SecretRef;
use crate::yaml::Problem;
use serde::Deserialize;
use serde_saphyr::Spanned;

/// Somebody else who watches the service from where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObserverWish {
    /// What reports call it.
    pub name: String,
    /// The program that begins it and its arguments, such as `ssh`: its standard input and output are those of
    /// `davit observe --plan -`.
    pub command: Vec<String>,
    /// How the service is reached from there, where that is not the way of the target's `clients`.
    pub clients: Option<SecretRef>,
}

impl ObserverWish {
    /// Where it is, in a few words. Of its command only the program: the arguments may be anybody's.
    pub fn place(&self) -> String {
        format!("begun by {}", self.command.first().map_or("", String::as_str))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawObserver {
    name: String,
    command: Vec<String>,
    clients: Option<SecretRef>,
}

/// The longest name that leaves room for the rest of a line.
const NAME_MAX: usize = 40;

/// What the file says of observers, and what is wrong with it.
pub(super) fn settle(raw: Vec<Spanned<RawObserver>>, problems: &mut Vec<Problem>) -> Vec<ObserverWish> {
    let mut wishes: Vec<ObserverWish> = Vec::new();
    for raw in raw {
        let at = line(&raw);
        let RawObserver { name, command, clients } = raw.value;
        let mut wrong = |text: String, hint: &str| problems.push(Problem::new(at, text, Some(hint.to_owned())));
        // Its streams and its log are named after it.
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) || name.starts_with('.') {
            wrong(
                format!("{name:?} is no name of an observer"),
                "use up to 40 small letters, digits, dots and dashes: `office`",
            );
        } else if wishes.iter().any(|wish| wish.name == name) {
            wrong(
                format!("two observers are called {name:?}"),
                "give each its own name; reports tell them apart by it",
            );
        } else if command.first().is_none_or(String::is_empty) {
            wrong(
                format!("the observer {name:?} names no program"),
                "write `command: [ssh, HOST, davit, observe, --plan, \"-\"]`",
            );
        }
        wishes.push(ObserverWish { name, command, clients });
    }
    wishes
}
