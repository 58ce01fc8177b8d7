//! What an opened gate obliges the service to do: words and routing, never numbers.

use std::collections::BTreeSet;

use hallpass_types::{ApprovalTally, Exception, PolicyAnswer};
use jiff::Timestamp;

use crate::{Bundle, RequestFacts};

/// Groups that are owed something because of how access was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Duties {
    /// Groups to page at once (`@page`).
    pub page: BTreeSet<String>,
    /// Groups that are asked to review it afterwards (`@review`).
    pub review: BTreeSet<String>,
}

impl Bundle {
    /// The duties of the policies that gave an answer. The answer must be this bundle's.
    ///
    /// Access that an ordinary permit opens as well was not opened by way of the exception: then
    /// there are none.
    pub fn duties(&self, answer: &PolicyAnswer) -> Duties {
        let mut duties = Duties::default();
        if !answer.allows() {
            return duties;
        }
        for id in &answer.policy_ids {
            let named = |key| {
                self.policies
                    .annotation(&cedar_policy::PolicyId::new(id), key)
            };
            let (page, review) = (named("page"), named("review"));
            if page.is_none() && review.is_none() {
                return Duties::default();
            }
            duties.page.extend(page.map(str::to_owned));
            duties.review.extend(review.map(str::to_owned));
        }
        duties
    }

    /// Whether an answer of the activate gate opened access by way of an exception, and what is
    /// owed for it: the duties of its policies, and a review of whatever opened only because the
    /// requester broke the glass. Where no policy says whom to page or ask, it is the owners.
    pub fn exception(
        &self,
        facts: &RequestFacts<'_>,
        tally: ApprovalTally,
        answer: &PolicyAnswer,
        now: Timestamp,
    ) -> Option<Exception> {
        if !answer.allows() {
            return None;
        }
        let unbroken = RequestFacts {
            break_glass: false,
            ..*facts
        };
        let break_glass = facts.break_glass && !self.activate(&unbroken, tally, now).allows();
        let Duties { page, review } = self.duties(answer);
        if !break_glass && page.is_empty() && review.is_empty() {
            return None;
        }
        let or_owners = |groups: BTreeSet<String>| match break_glass && groups.is_empty() {
            true => facts.entitlement.owners.iter().cloned().collect(),
            false => groups,
        };
        Some(Exception {
            break_glass,
            page: or_owners(page),
            review: or_owners(review),
        })
    }
}
