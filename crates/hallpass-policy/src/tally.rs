//! Which decisions count, and for how much.

use std::collections::BTreeMap;

use hallpass_types::{ApprovalTally, Capacity, PolicyAnswer, Principal, PrincipalId, Verdict};
use jiff::Timestamp;

use crate::{Bundle, RequestFacts};

/// Decisions, weighed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weighed {
    /// What the approvals that count add up to.
    pub tally: ApprovalTally,
    /// Whose approval counts, and in which capacities; sorted by person.
    pub counted: Vec<(PrincipalId, Vec<Capacity>)>,
    /// Whose decisions do not count, with why; sorted by person.
    pub not_counted: Vec<(PrincipalId, PolicyAnswer)>,
    /// A person whose deny counts; the first by name when there are several.
    pub denied_by: Option<PrincipalId>,
}

/// All that one person said.
#[derive(Default)]
struct Voice<'a> {
    /// As of the newest sign-in; more than one when tokens of one sign-in differ.
    newest: Vec<(&'a Principal, Timestamp)>,
    approves: bool,
    denies: bool,
}

impl Bundle {
    /// Weighs decisions, each as of the instant at which it was made: a sign-in that was fresh then
    /// stays fresh. The result depends neither on their order nor on repetitions.
    ///
    /// A person counts once, as of their newest sign-in, and only where the approve gate permits
    /// it. Someone who said both yes and no, said no.
    pub fn tally<'a>(
        &self,
        facts: &RequestFacts<'_>,
        decisions: impl IntoIterator<Item = (&'a Principal, Verdict, Timestamp)>,
    ) -> Weighed {
        let mut voices: BTreeMap<&PrincipalId, Voice<'a>> = BTreeMap::new();
        for (approver, verdict, made_at) in decisions {
            voices
                .entry(&approver.id)
                .or_default()
                .add(approver, verdict, made_at);
        }
        let mut weighed = Weighed::default();
        for (person, voice) in voices {
            let capacities = match self.weigh(facts, &voice) {
                Ok(capacities) => capacities,
                Err(why) => {
                    weighed.not_counted.push((person.clone(), *why));
                    continue;
                }
            };
            if voice.denies {
                weighed.denied_by.get_or_insert_with(|| person.clone());
            } else if voice.approves {
                let weakest = voice.newest.iter().map(|(p, _)| p.auth.evidence).min();
                let weakest = weakest.unwrap_or_default();
                weighed.tally.evidence = match weighed.tally.distinct {
                    0 => weakest,
                    _ => weighed.tally.evidence.min(weakest),
                };
                weighed.tally.distinct += 1;
                weighed.tally.owner += u32::from(capacities.contains(&Capacity::Owner));
                weighed.tally.security += u32::from(capacities.contains(&Capacity::Security));
                weighed.counted.push((person.clone(), capacities));
            }
        }
        weighed
    }

    /// The capacities that hold for every version of the person, or why there are none.
    fn weigh(
        &self,
        facts: &RequestFacts<'_>,
        voice: &Voice<'_>,
    ) -> Result<Vec<Capacity>, Box<PolicyAnswer>> {
        let mut common = Vec::new();
        let mut why: Option<PolicyAnswer> = None;
        for capacity in [Capacity::Owner, Capacity::Security] {
            let answers = voice
                .newest
                .iter()
                .map(|(p, at)| self.approve(facts, p, capacity, *at));
            let (_, refused): (Vec<_>, Vec<_>) = answers.partition(PolicyAnswer::allows);
            if refused.is_empty() {
                common.push(capacity);
            }
            why = why.into_iter().chain(refused).reduce(more_telling);
        }
        match why {
            Some(why) if common.is_empty() => Err(Box::new(why)),
            _ => Ok(common),
        }
    }
}

impl<'a> Voice<'a> {
    fn add(&mut self, approver: &'a Principal, verdict: Verdict, made_at: Timestamp) {
        match verdict {
            Verdict::Approve => self.approves = true,
            Verdict::Deny => self.denies = true,
        }
        let signed_in = |p: &Principal| p.auth.authenticated_at;
        match self.newest.first() {
            Some((known, _)) if signed_in(known) > signed_in(approver) => {}
            Some((known, _)) if signed_in(known) == signed_in(approver) => {
                if !self.newest.contains(&(approver, made_at)) {
                    self.newest.push((approver, made_at));
                }
            }
            _ => self.newest = vec![(approver, made_at)],
        }
    }
}

/// The answer that says more to people; on a tie the same one whichever comes first.
pub(crate) fn more_telling(a: PolicyAnswer, b: PolicyAnswer) -> PolicyAnswer {
    let weight = |x: &PolicyAnswer| x.messages.len() + x.policy_ids.len() + x.errors.len();
    let key = |x: &PolicyAnswer| {
        (
            std::cmp::Reverse(weight(x)),
            x.gate.clone(),
            x.inputs.clone(),
        )
    };
    if key(&b) < key(&a) { b } else { a }
}
