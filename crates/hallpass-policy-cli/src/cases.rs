//! Cases in `tests/*.toml`: who, what, when, and the decision that is expected.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use hallpass_types::{
    ApprovalTally, Capacity, EntitlementId, EvidenceLevel, PolicyAnswer, Principal, Ticket,
};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use toml::Spanned;

use crate::cli::parse_duration;
use crate::errors::ToolError;
use crate::outlook::{self, Asked};
use crate::pack::Pack;
use crate::people::SignIn;

/// The instant of cases that do not name one: a working day.
const NOON: &str = "2026-11-18T12:00:00Z";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(default, rename = "case")]
    pub(crate) cases: Vec<Spanned<Case>>,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    gate: Gate,
    /// Who asks, decides or looks.
    who: String,
    what: Option<String>,
    #[serde(rename = "for")]
    duration: Option<String>,
    /// Whose request it is, where that is not `who`.
    requester: Option<String>,
    at: Option<Timestamp>,
    ticket: Option<String>,
    /// Whether the requester breaks the glass.
    #[serde(default)]
    break_glass: bool,
    mfa: Option<bool>,
    /// What shows that `who` decided: `identity_provider` unless said otherwise.
    evidence: Option<EvidenceLevel>,
    /// How long ago `who` has signed in.
    signed_in: Option<String>,
    #[serde(default)]
    approved_by: Vec<String>,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    expect: Expected,
    /// The policies that decide, all of them.
    by: Option<Vec<String>>,
    /// Words of the answer.
    says: Option<String>,
    /// In which capacities an approval counts.
    counts_as: Option<Vec<String>>,
    /// The fewest approvals that open it.
    needs: Option<Needs>,
    /// The longest that may be asked for.
    longest: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Gate {
    Request,
    Approve,
    Activate,
    View,
    Revoke,
    Review,
    ViewAll,
    Sweep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expected {
    Allow,
    Deny,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Needs {
    #[serde(default)]
    owner: u32,
    #[serde(default)]
    security: u32,
    distinct: u32,
}

/// How a case came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What the gate said, in words.
    pub(crate) got: String,
    /// What is not as expected; empty when it passed.
    pub(crate) wrong: Vec<String>,
}

impl Case {
    /// `alice request prod-reports 4h`.
    pub(crate) fn asks(&self) -> String {
        let gate = match self.gate {
            Gate::Request => "request",
            Gate::Approve => "approve",
            Gate::Activate => "activate",
            Gate::View => "view",
            Gate::Revoke => "revoke",
            Gate::Review => "review",
            Gate::ViewAll => "view_all",
            Gate::Sweep => "sweep",
        };
        let parts = [
            Some(self.who.as_str()),
            Some(gate),
            self.requester.as_deref(),
            self.what.as_deref(),
            self.duration.as_deref(),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn run(&self, pack: &Pack) -> Result<Outcome, ToolError> {
        let now = match self.at {
            Some(at) => at,
            None => NOON.parse().map_err(usage)?,
        };
        let sign_in = SignIn {
            mfa: self.mfa,
            evidence: self.evidence,
            age: self.signed_in.as_deref().map(age).transpose()?,
        };
        let who = pack.people.named(&self.who, now, sign_in)?;
        let mut wrong = Vec::new();
        let answer = match self.gate {
            Gate::ViewAll => pack.bundle.view_all(&who, now),
            Gate::Sweep => pack.bundle.sweep(&who, now),
            _ => {
                let asked = self.asked(pack, &who, now)?;
                self.look_ahead(pack, &asked, now, &mut wrong)?;
                self.answer(pack, &asked, &who, now, &mut wrong)?
            }
        };
        self.compare(&answer, &mut wrong);
        let verdict = if answer.allows() { "allow" } else { "deny" };
        let ids = match answer.policy_ids.as_slice() {
            [] => "no policy".to_owned(),
            ids => ids.join(", "),
        };
        Ok(Outcome {
            got: format!("{verdict} by {ids}"),
            wrong,
        })
    }

    /// The request that the case is about.
    fn asked(&self, pack: &Pack, who: &Principal, now: Timestamp) -> Result<Asked, ToolError> {
        let what = self
            .what
            .as_deref()
            .ok_or_else(|| usage("the case names no `what`"))?;
        let what = EntitlementId::parse(what).map_err(usage)?;
        let requester = match &self.requester {
            Some(name) => pack.people.named(name, now, SignIn::default())?,
            None if matches!(self.gate, Gate::Request | Gate::Activate) => who.clone(),
            None => return Err(usage("the case names no `requester`")),
        };
        let duration = self.duration.as_deref().unwrap_or("15m");
        let duration = parse_duration(duration).map_err(usage)?;
        let mut asked = Asked::new(&pack.bundle, requester, &what, &self.parameters, duration)?;
        asked.break_glass = self.break_glass;
        Ok(asked)
    }

    fn answer(
        &self,
        pack: &Pack,
        asked: &Asked,
        who: &Principal,
        now: Timestamp,
        wrong: &mut Vec<String>,
    ) -> Result<PolicyAnswer, ToolError> {
        let bundle = &pack.bundle;
        let facts = asked.facts();
        Ok(match self.gate {
            Gate::Request => {
                let ticket = self.ticket.as_deref().map(Ticket::parse).transpose();
                let ticket = ticket.map_err(usage)?;
                asked.request(bundle, ticket, now)?
            }
            Gate::Approve => {
                let capacities = bundle.capacities(&facts, who, now);
                if let Some(expected) = &self.counts_as {
                    let got: Vec<_> = capacities.iter().map(|(c, _)| word(*c)).collect();
                    if *expected != got {
                        wrong.push(format!("counts as {got:?}, not {expected:?}"));
                    }
                }
                bundle.why_not_approve(&facts, who, now)
            }
            Gate::View => bundle.view(who, &facts, now),
            Gate::Revoke => bundle.revoke(who, &facts, now),
            Gate::Review => bundle.review(who, &facts, now),
            _ => {
                let named = |name: &String| pack.people.named(name, now, SignIn::default());
                let approvers: Vec<_> = self
                    .approved_by
                    .iter()
                    .map(named)
                    .collect::<Result<_, _>>()?;
                let weighed = asked.weigh(bundle, &approvers, now);
                bundle.activate(&facts, weighed.tally, now)
            }
        })
    }

    fn look_ahead(
        &self,
        pack: &Pack,
        asked: &Asked,
        now: Timestamp,
        wrong: &mut Vec<String>,
    ) -> Result<(), ToolError> {
        if let Some(needs) = self.needs {
            let expected = ApprovalTally {
                owner: needs.owner,
                security: needs.security,
                distinct: needs.distinct,
                evidence: Default::default(),
            };
            let got = pack.bundle.approvals_required(&asked.facts(), now);
            let got = got.map(|tally| ApprovalTally {
                evidence: expected.evidence,
                ..tally
            });
            if got != Some(expected) {
                let got = got.map_or("more than anybody can give".to_owned(), outlook::people);
                wrong.push(format!("needs {got}, not {}", outlook::people(expected)));
            }
        }
        if let Some(longest) = &self.longest {
            let expected = parse_duration(longest).map_err(usage)?;
            let got = pack
                .bundle
                .longest(&asked.requester, &asked.entitlement, now);
            if got != Some(expected) {
                let got = got.map_or("nothing".to_owned(), |d| d.to_string());
                wrong.push(format!("at most {got}, not {expected}"));
            }
        }
        Ok(())
    }

    fn compare(&self, answer: &PolicyAnswer, wrong: &mut Vec<String>) {
        if answer.allows() != (self.expect == Expected::Allow) {
            let expected = match self.expect {
                Expected::Allow => "allow",
                Expected::Deny => "deny",
            };
            wrong.push(format!("expected {expected}: {}", answer.explain()));
        }
        if let Some(by) = &self.by {
            let mut by = by.clone();
            by.sort();
            if by != answer.policy_ids {
                wrong.push(format!("decided by {:?}, not {by:?}", answer.policy_ids));
            }
        }
        if let Some(says) = &self.says
            && !answer.explain().contains(says)
        {
            wrong.push(format!("says {:?}, not {says:?}", answer.explain()));
        }
    }
}

fn word(capacity: Capacity) -> String {
    outlook::capacity(capacity).to_owned()
}

fn age(text: &str) -> Result<SignedDuration, ToolError> {
    SignedDuration::from_str(text)
        .map_err(|_| usage("signed_in must be a duration such as \"13h\""))
}

fn usage(what: impl ToString) -> ToolError {
    ToolError::Usage(what.to_string())
}
