//! Which decisions count, and for how much.

use std::collections::BTreeMap;

use hallpass_types::{
    ApprovalTally, Capacity, GrantDuration, PolicyAnswer, PolicyOutcome, Principal, PrincipalId,
    Verdict,
};
use jiff::Timestamp;

use crate::what_if::at_most;
use crate::{Bundle, RequestFacts};

/// One decision as it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// Who decided.
    pub approver: &'a Principal,
    /// Yes or no.
    pub verdict: Verdict,
    /// When.
    pub made_at: Timestamp,
    /// For how long at most, where an approval is for less than was asked.
    pub at_most: Option<GrantDuration>,
}

impl<'a> From<(&'a Principal, Verdict, Timestamp)> for Said<'a> {
    fn from((approver, verdict, made_at): (&'a Principal, Verdict, Timestamp)) -> Self {
        Self {
            approver,
            verdict,
            made_at,
            at_most: None,
        }
    }
}

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
    /// The shortest that an approval which counts is for, where that is less than was asked.
    pub at_most: Option<GrantDuration>,
}

/// All that one person said.
#[derive(Default)]
struct Voice<'a> {
    /// As of the newest sign-in; more than one when tokens of one sign-in differ.
    newest: Vec<(&'a Principal, Timestamp)>,
    approves: bool,
    denies: bool,
    /// The shortest of their approvals.
    at_most: Option<GrantDuration>,
}

/// What an approval for less than the facts say is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shorter {
    /// It counts, and shortens the grant.
    Shortens,
    /// It does not reach so far.
    DoesNotCount,
}

impl Bundle {
    /// Weighs decisions, each as of the instant at which it was made: a sign-in that was fresh then
    /// stays fresh. The result depends neither on their order nor on repetitions.
    ///
    /// A person counts once, as of their newest sign-in, and only where the approve gate permits
    /// it. Someone who said both yes and no, said no, and may where any part of the time that was
    /// asked for is theirs to approve. An approval for less than was asked is an
    /// approval of that, and bounds what all of them together open.
    pub fn tally<'a>(
        &self,
        facts: &RequestFacts<'_>,
        decisions: impl IntoIterator<Item: Into<Said<'a>>>,
    ) -> Weighed {
        self.weigh_all(facts, decisions, Shorter::Shortens)
    }

    /// The same for a grant that is to be extended to `facts.duration` in all: an approval for less
    /// than that does not count for it.
    pub fn tally_extension<'a>(
        &self,
        facts: &RequestFacts<'_>,
        decisions: impl IntoIterator<Item: Into<Said<'a>>>,
    ) -> Weighed {
        self.weigh_all(facts, decisions, Shorter::DoesNotCount)
    }

    fn weigh_all<'a>(
        &self,
        facts: &RequestFacts<'_>,
        decisions: impl IntoIterator<Item: Into<Said<'a>>>,
        shorter: Shorter,
    ) -> Weighed {
        let mut voices: BTreeMap<&PrincipalId, Voice<'a>> = BTreeMap::new();
        for said in decisions {
            let said: Said<'a> = said.into();
            voices.entry(&said.approver.id).or_default().add(&said);
        }
        let mut weighed = Weighed::default();
        for (person, mut voice) in voices {
            voice.at_most = voice.at_most.filter(|least| *least < facts.duration);
            let bounded = voice.at_most.filter(|_| !voice.denies);
            if let Some(least) = bounded.filter(|_| shorter == Shorter::DoesNotCount) {
                let why = self.approved_less(person, least);
                weighed.not_counted.push((person.clone(), why));
                continue;
            }
            let weighed_for = |duration| {
                let of_voice = RequestFacts { duration, ..*facts };
                self.weigh(&of_voice, &voice)
            };
            let mut answer = weighed_for(bounded.unwrap_or(facts.duration));
            if voice.denies && answer.is_err() {
                let mut shorter = at_most(facts.duration).skip(1);
                let found = shorter.find_map(|duration| weighed_for(duration).ok());
                answer = found.map_or(answer, Ok);
            }
            let capacities = match answer {
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
                weighed.at_most = weighed.at_most.into_iter().chain(bounded).min();
            }
        }
        weighed
    }

    fn approved_less(&self, person: &PrincipalId, least: GrantDuration) -> PolicyAnswer {
        PolicyAnswer {
            gate: "at_most".to_owned(),
            outcome: PolicyOutcome::Deny,
            policy_ids: Vec::new(),
            messages: vec![format!("The approval of {person} is for at most {least}.")],
            errors: Vec::new(),
            policy_digest: self.digest().clone(),
            inputs: BTreeMap::new(),
        }
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
    fn add(&mut self, said: &Said<'a>) {
        let (approver, made_at) = (said.approver, said.made_at);
        match said.verdict {
            Verdict::Approve => {
                self.approves = true;
                self.at_most = self.at_most.into_iter().chain(said.at_most).min();
            }
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
