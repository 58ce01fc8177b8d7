//! What an opened gate obliges the service to do: words and routing, never numbers.

use std::collections::BTreeSet;

use hallpass_types::PolicyAnswer;

use crate::Bundle;

/// Groups that are owed something because of how access was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Duties {
    /// Groups to page at once (`@page`).
    pub page: BTreeSet<String>,
    /// Groups that must review it afterwards, until one of their members closes the review
    /// (`@review`).
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
}
