//! What a verification saw, object by object, and what that makes of the whole.

use super::super::object::Place;
use crate::cluster::{ApiError, Fault};
use serde::Serialize;
use std::collections::BTreeMap;

/// Objects by the reason why nothing is known of them.
pub type ByReason = BTreeMap<String, Vec<Place>>;

/// What was seen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Checked {
    /// Objects that were made, read back and are what was saved.
    pub live: u64,
    /// Objects that the server took in a dry run, as they were saved.
    pub dry_run: u64,
    /// Objects that no proof asks about, by the rule that says so: they do not count.
    pub not_checked: ByReason,
    /// Objects that should have been asked about and could not be: with one of them nothing is proven.
    pub undecided: ByReason,
    /// Objects that the server refused, that could not be restored, or that came back as something else.
    pub wrong: Vec<(Place, String)>,
}

/// What is known of one object.
#[derive(Debug)]
pub(super) enum Said {
    /// The server took it in a dry run, and it came back as it was saved.
    Took,
    /// It is not as it was saved, or cannot be restored.
    Wrong(String),
    /// By rule nobody asks about it.
    Unasked(String),
    /// It should have been asked about, and could not be.
    Open(String),
}

impl Checked {
    /// Whether all that can be proven is proven: nothing at all where that could not be decided. A proof in which not
    /// one object was asked about decides nothing.
    pub fn ok(&self) -> Option<bool> {
        if !self.wrong.is_empty() {
            return Some(false);
        }
        (self.undecided.is_empty() && self.live + self.dry_run > 0).then_some(true)
    }

    /// How many objects were not checked, for whatever reason.
    pub fn unchecked(&self) -> u64 {
        self.not_checked.values().chain(self.undecided.values()).map(|places| places.len() as u64).sum()
    }

    /// `120 live, 14 dry-run, 3 not checked`
    pub fn counts(&self) -> String {
        format!("{} live, {} dry-run, {} not checked", self.live, self.dry_run, self.unchecked())
    }

    /// Notes what is known of an object; the dry run of one that is to be made is only half of it.
    pub(super) fn note(&mut self, place: &Place, said: Said) {
        match said {
            Said::Took => self.dry_run += 1,
            Said::Wrong(why) => self.wrong.push((place.clone(), why)),
            Said::Unasked(why) => self.not_checked.entry(why).or_default().push(place.clone()),
            Said::Open(why) => self.undecided.entry(why).or_default().push(place.clone()),
        }
    }
}

impl Said {
    /// What a refusal says about the object. Where nobody could be asked, it says nothing.
    pub(super) fn of_refusal(why: &ApiError, doing: &str) -> Self {
        if is_no_answer(why) {
            return Self::Open(format!("{doing}{why}"));
        }
        if let Some(lacks) = why.lacks() {
            return Self::Open(format!("{doing}this account may not {lacks} (hint: the role davit-restore may)"));
        }
        if why.message.contains("does not support dry run") {
            // A webhook that says so is asked about nothing as long as it is there, by nobody.
            return Self::Unasked(format!("{doing}{why}"));
        }
        Self::Wrong(format!("{doing}{why}"))
    }
}

/// Whether no answer about the object came: nobody answers, the server is busy or broken, or does not know us, or the run
/// was stopped before it.
fn is_no_answer(why: &ApiError) -> bool {
    let never_came = why.code == 0 && why.fault == Fault::Other;
    never_came
        || matches!(
            why.fault,
            Fault::Unreachable | Fault::Unavailable | Fault::TooMany | Fault::Unauthorized | Fault::Interrupted
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(said: Vec<Said>) -> Checked {
        let mut checked = Checked::default();
        let place = Place::in_namespace("configmaps", "scratch", "a");
        for one in said {
            checked.note(&place, one);
        }
        checked
    }

    #[test]
    fn an_account_that_may_not_ask_says_nothing_of_the_object_and_admission_does() {
        let said = |message: &str| {
            let why = ApiError {
                fault: Fault::Forbidden,
                code: 403,
                reason: "Forbidden".to_owned(),
                message: message.to_owned(),
                retry_after: None,
                causes: Vec::new(),
            };
            checked(vec![Said::of_refusal(&why, "")])
        };
        let account =
            said(r#"pods is forbidden: User "a" cannot create resource "pods" in API group "" in the namespace "x""#);
        assert_eq!(account.ok(), None);
        let told: Vec<&String> = account.undecided.keys().collect();
        assert_eq!(told, ["this account may not create pods (hint: the role davit-restore may)"]);
        assert_eq!(said("pods \"a\" is forbidden: exceeded quota: few").ok(), Some(false));
    }

    #[test]
    fn a_request_that_the_end_of_the_run_cut_off_says_nothing_of_the_object() {
        let why = ApiError {
            fault: Fault::Other,
            code: 0,
            reason: String::new(),
            message: "the run was stopped".to_owned(),
            retry_after: None,
            causes: Vec::new(),
        };
        let stopped = checked(vec![Said::Took, Said::of_refusal(&why, "")]);
        assert_eq!((stopped.ok(), stopped.wrong.len()), (None, 0));
    }

    #[test]
    fn what_was_not_asked_is_never_ok_unless_a_rule_says_that_nobody_asks() {
        let text = || "why".to_owned();
        assert_eq!(checked(vec![]).ok(), None, "nothing was asked");
        assert_eq!(checked(vec![Said::Unasked(text())]).ok(), None);
        assert_eq!(checked(vec![Said::Took, Said::Unasked(text())]).ok(), Some(true));
        assert_eq!(checked(vec![Said::Took, Said::Open(text())]).ok(), None);
        assert_eq!(checked(vec![Said::Open(text()), Said::Wrong(text())]).ok(), Some(false));
        let all = checked(vec![Said::Took, Said::Unasked(text()), Said::Open(text())]);
        assert_eq!(all.counts(), "0 live, 1 dry-run, 2 not checked");
    }
}
