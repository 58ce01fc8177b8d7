//! Whom a request was put to, how an approver bounds it, and the review that an exception owes.

use std::collections::BTreeSet;

use hallpass_evidence::Statement;
use hallpass_types::{Asked, Exception, GrantDuration, PrincipalKind, Review};
use jiff::Timestamp;

use super::RequestCore;

impl RequestCore {
    /// Whether nobody owes a review.
    pub fn is_reviewed(&self) -> bool {
        self.review.as_ref().is_none_or(|review| !review.is_open())
    }

    /// Records for how long an approver lets it be.
    pub fn shortened(&mut self, to: GrantDuration) {
        self.granted = Some(to);
    }

    /// Records whom the request was put to.
    pub fn asked(&mut self, groups: BTreeSet<String>, at: Timestamp) {
        self.asked.push(Asked { at, groups });
        self.touch(at);
    }

    /// Records that access opened by way of an exception, and that a review is owed where it is.
    pub fn excepted(&mut self, exception: Exception, at: Timestamp) {
        let known = self.review.take();
        let since = known.as_ref().map_or(at, |review| review.since);
        let exception = known
            .map(|r| r.exception)
            .unwrap_or_default()
            .and(exception);
        let needed = exception.needs_review();
        self.review = needed.then_some(Review {
            exception,
            since,
            closed: None,
        });
        self.touch(at);
    }

    /// Policy has said whether they may; this holds whatever policy says.
    pub(super) fn may_review(
        &self,
        statement: &Statement,
        same_person: bool,
    ) -> Result<(), (&'static str, String)> {
        let actor = &statement.actor;
        let phase = self.state.phase();
        if same_person {
            let why = "nobody reviews their own access, nor that of an agent of theirs";
            return Err(("own_request", why.to_owned()));
        }
        if actor.kind != PrincipalKind::Human || actor.acting_for.is_some() || !actor.auth.mfa {
            let why = "a review is closed by a person who has signed in with a second factor";
            return Err(("not_a_person", why.to_owned()));
        }
        if !phase.is_final() {
            let why = format!("the request is {phase}: a review is closed when access is over");
            return Err(("state", why));
        }
        if self.is_reviewed() {
            return Err(("state", "no review is open".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hallpass_evidence::Order;
    use hallpass_types::machine::{EndCause, Event};
    use hallpass_types::{Principal, Reason};

    use super::super::fixtures::{active, code, now, person, signed, statement};
    use super::*;

    #[test]
    fn a_review_is_closed_once_by_another_person_when_access_is_over() {
        let (mut core, spec) = active();
        let glass = Exception {
            break_glass: true,
            ..Default::default()
        };
        core.excepted(glass, now());
        let look = |who: Principal, id| {
            let order = Order::Review {
                reason: Reason::parse("rightly so").unwrap(),
            };
            statement(&spec, who, id, order)
        };
        let early = look(person("bob", None), 2);
        assert_eq!(code(core.hear("review", signed(&early), now())), "state");
        let (cause, at) = (EndCause::Expired, now());
        core.apply(Event::EndOrdered { cause, at }, at).unwrap();
        core.apply(Event::EndProved { at }, at).unwrap();
        let mut without_mfa = person("bob", None);
        without_mfa.auth.mfa = false;
        for (id, who, want) in [
            (3, person("alice", None), "own_request"),
            (4, person("helper", Some("alice")), "own_request"),
            (5, person("helper", Some("carol")), "not_a_person"),
            (6, without_mfa, "not_a_person"),
        ] {
            let order = look(who, id);
            assert_eq!(code(core.hear("review", signed(&order), now())), want);
            assert!(!core.is_reviewed());
        }
        let good = look(person("bob", None), 7);
        assert_eq!(code(core.hear("review", signed(&good), now())), "new");
        assert_eq!(code(core.hear("review", signed(&good), now())), "again");
        assert!(core.is_reviewed());
        let closed = core.snapshot().unwrap().review.unwrap().closed.unwrap();
        assert_eq!(closed.by.id.subject(), "bob");
        let late = look(person("carol", None), 8);
        assert_eq!(code(core.hear("review", signed(&late), now())), "state");
    }
}
