//! What policy implies, found by asking the gates what they would say.

use hallpass_types::{
    ApprovalTally, Entitlement, EvidenceLevel, GrantDuration, PolicyAnswer, Principal,
};
use jiff::Timestamp;

use crate::gates::{activate_context, activate_question, request_context, request_question};
use crate::{Bundle, RequestFacts};

/// The most people that are tried: a policy that wants more cannot be met by anyone.
const MOST_PEOPLE: u32 = 6;

/// Durations that policies usually name, in seconds, longest first.
const RUNGS: [u32; 11] = [
    43_200, 28_800, 14_400, 7200, 3600, 1800, 900, 600, 300, 60, 5,
];

impl Bundle {
    /// The smallest tally that opens the activate gate: fewest people, then fewest for security,
    /// then fewest as owner, then the weakest evidence. `None` when no tally of up to six people does.
    pub fn approvals_required(
        &self,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> Option<ApprovalTally> {
        let prepared = self.prepare(&activate_question(facts)).ok()?;
        (0..=MOST_PEOPLE)
            .flat_map(tallies)
            .find(|tally| self.opens(&prepared, &activate_context(*tally, now)))
    }

    /// As [`Self::approvals_required`], where the activate gate has answered `without` any.
    pub fn approvals_beyond(
        &self,
        without: &PolicyAnswer,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> Option<ApprovalTally> {
        match without.allows() {
            true => Some(ApprovalTally::default()),
            false => self.approvals_required(facts, now),
        }
    }

    /// The longest duration that the request gate would allow without a ticket, never one that it
    /// refuses.
    ///
    /// Exact where allowing a duration means allowing every shorter one; otherwise the longest
    /// allowed around the usual durations.
    pub fn longest(
        &self,
        requester: &Principal,
        entitlement: &Entitlement,
        now: Timestamp,
    ) -> Option<GrantDuration> {
        let prepared = self
            .prepare(&request_question(requester, entitlement))
            .ok()?;
        let allowed = |seconds: u32| {
            let duration = GrantDuration::from_seconds(i64::from(seconds)).ok()?;
            let context = request_context((requester, entitlement), duration, None, now);
            self.opens(&prepared, &context).then_some(duration)
        };
        let mut refused = GrantDuration::MAX_SECONDS + 1;
        let mut found = None;
        for seconds in rungs(entitlement.max_duration.as_seconds()) {
            found = allowed(seconds);
            if found.is_some() {
                break;
            }
            refused = seconds;
        }
        let mut best = found?;
        while refused - best.as_seconds() > 1 {
            let middle = best.as_seconds() + (refused - best.as_seconds()) / 2;
            match allowed(middle) {
                Some(longer) => best = longer,
                None => refused = middle,
            }
        }
        Some(best)
    }
}

/// The asked duration, and those that policies usually name below it, longest first.
pub(crate) fn at_most(asked: GrantDuration) -> impl Iterator<Item = GrantDuration> {
    let below = RUNGS.into_iter().filter(move |r| *r < asked.as_seconds());
    let below = below.filter_map(|r| GrantDuration::from_seconds(i64::from(r)).ok());
    std::iter::once(asked).chain(below)
}

/// Every tally that `distinct` people can make, each counting in one capacity or both, with each
/// kind of evidence. Nobody needs none.
fn tallies(distinct: u32) -> impl Iterator<Item = ApprovalTally> {
    let levels: &[EvidenceLevel] = match distinct {
        0 => &[EvidenceLevel::Service],
        _ => &[EvidenceLevel::Service, EvidenceLevel::IdentityProvider],
    };
    (0..=distinct).flat_map(move |security| {
        (distinct - security..=distinct).flat_map(move |owner| {
            levels.iter().map(move |evidence| ApprovalTally {
                owner,
                security,
                distinct,
                evidence: *evidence,
            })
        })
    })
}

/// The usual durations with the entitlement's own limit among them.
fn rungs(limit: u32) -> Vec<u32> {
    let mut rungs: Vec<u32> = RUNGS.into_iter().chain([limit]).collect();
    rungs.sort_unstable_by(|a, b| b.cmp(a));
    rungs.dedup();
    rungs
}
